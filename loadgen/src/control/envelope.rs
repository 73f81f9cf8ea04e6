//! How every control message is wrapped: JSON with the protocol's number and the sender's release
//! in front, which can be read whatever the rest looks like.

use bytes::Bytes;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use thiserror::Error;

use super::{PROTOCOL, release};

/// A control message that cannot be taken.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum EnvelopeError {
    /// It is of another release of loadgen.
    #[error(
        "it is loadgen {theirs} (control protocol {protocol}), this is loadgen {} (control protocol \
         {PROTOCOL}): install the same loadgen on both machines",
        release()
    )]
    OtherRelease {
        /// The sender's release.
        theirs: String,
        /// The sender's protocol.
        protocol: u32,
    },
    /// It cannot be read.
    #[error("a control message cannot be read: {0}")]
    Unreadable(String),
}

#[derive(Serialize)]
struct Sealed<'a, M> {
    protocol: u32,
    release: &'a str,
    message: &'a M,
}

#[derive(Deserialize)]
struct Opened<'a> {
    protocol: u32,
    release: String,
    #[serde(borrow, default)]
    message: Option<&'a RawValue>,
}

/// Wraps a message.
///
/// # Errors
/// When the message cannot be written as JSON.
pub fn seal<M: Serialize>(message: &M) -> Result<Bytes, EnvelopeError> {
    seal_as(PROTOCOL, &release(), message)
}

/// Wraps a message as another release would.
///
/// # Errors
/// When the message cannot be written as JSON.
pub fn seal_as<M: Serialize>(
    protocol: u32,
    release: &str,
    message: &M,
) -> Result<Bytes, EnvelopeError> {
    let sealed = Sealed {
        protocol,
        release,
        message,
    };
    let written = serde_json::to_vec(&sealed);
    written
        .map(Bytes::from)
        .map_err(|error| EnvelopeError::Unreadable(error.to_string()))
}

/// Unwraps a message of the same release.
///
/// # Errors
/// [`EnvelopeError::OtherRelease`] before anything else of it is looked at.
pub fn open<M: DeserializeOwned>(bytes: &[u8]) -> Result<M, EnvelopeError> {
    let unreadable = |error: serde_json::Error| EnvelopeError::Unreadable(error.to_string());
    let opened: Opened<'_> = serde_json::from_slice(bytes).map_err(unreadable)?;
    if opened.protocol != PROTOCOL || opened.release != release() {
        return Err(EnvelopeError::OtherRelease {
            theirs: opened.release,
            protocol: opened.protocol,
        });
    }
    let message = opened.message.map_or("null", RawValue::get);
    serde_json::from_str(message).map_err(unreadable)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;

    #[test]
    fn a_message_comes_back_and_another_release_is_known_whatever_it_says() {
        let sealed = seal(&vec![1_u32, 2]).unwrap();
        assert_eq!(open::<Vec<u32>>(&sealed), Ok(vec![1, 2]));
        for (protocol, theirs) in [(PROTOCOL + 1, release()), (PROTOCOL, "9.9.9".to_owned())] {
            let sealed = seal_as(protocol, &theirs, &"what is this").unwrap();
            let refused = open::<Vec<u32>>(&sealed).unwrap_err();
            assert_eq!(refused, EnvelopeError::OtherRelease { theirs, protocol });
            assert!(refused.to_string().contains("install the same loadgen"));
        }
        for broken in ["", "{}", "[]", r#"{"protocol":1,"release":7}"#] {
            let read = open::<Vec<u32>>(broken.as_bytes());
            assert!(
                matches!(read, Err(EnvelopeError::Unreadable(_))),
                "{broken}"
            );
        }
    }
}
