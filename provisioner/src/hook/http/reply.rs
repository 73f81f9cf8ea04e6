//! What a server answered, as far as that is the same for all.

use std::time::Duration;

use bytes::Bytes;
use hyper::StatusCode;
use jiff::Timestamp;
use serde::de::DeserializeOwned;

use crate::code::Code;
use crate::hook::HookError;
use crate::hook::contract::LONGEST_PAUSE;
use crate::hook::redact::{quoted, shown};

/// How much of an error's body is shown.
const SHOWN: usize = 1024;

/// A whole answer.
#[derive(Debug)]
pub(super) struct Reply {
    pub(super) url: String,
    pub(super) status: StatusCode,
    pub(super) pause: Option<Duration>,
    pub(super) body: Bytes,
}

impl Reply {
    /// The answer, if the server took the question.
    ///
    /// # Errors
    /// What its status says. With 4xx nothing was signed; with 5xx nobody knows.
    pub(super) fn checked(self) -> Result<Self, HookError> {
        let status = self.status;
        let says = |what: &str| {
            let body = shown(self.body.get(..SHOWN).unwrap_or(&self.body), &[]);
            format!("{} answered {status}, {what}: \"{body}\"", self.url)
        };
        let unsigned = |code, what| Err(HookError::unsent(code, says(what)).after(self.pause));
        match status.as_u16() {
            200..=299 => Ok(self),
            300..=399 => unsigned(
                Code::CaConfig,
                "and redirects are not followed; write the address it redirects to as `url` in [ca]",
            ),
            401 | 403 => unsigned(
                Code::CaConfig,
                "our credentials in [ca] do not count there, or not for this",
            ),
            404 | 405 => unsigned(
                Code::CaConfig,
                "`url` in [ca], or a name below it, is not what it knows",
            ),
            429 => unsigned(Code::CaThrottled, "it asks for a slower pace"),
            400..=499 => unsigned(Code::CaRefused, "it will not certify this request"),
            _ => {
                let says = says("it cannot sign now");
                Err(HookError::new(Code::CaUnavailable, says).after(self.pause))
            }
        }
    }

    /// The body as JSON of this form.
    ///
    /// # Errors
    /// `hook.protocol`; the server may have signed.
    pub(super) fn json<T: DeserializeOwned>(&self) -> Result<T, HookError> {
        serde_json::from_slice(&self.body).map_err(|error| self.wrong(&error.to_string()))
    }

    /// An answer that is not what this kind of server answers; `what` may quote it.
    pub(super) fn wrong(&self, what: &str) -> HookError {
        let what = quoted(what);
        let says = format!("{} answered what it should not: {what}", self.url);
        HookError::new(Code::HookProtocol, says)
    }
}

/// The header `Retry-After`: seconds or a date (RFC 9110 §10.2.3), thirty days at most.
pub(super) fn retry_after(value: &str, now: Timestamp) -> Option<Duration> {
    let value = value.trim();
    if let Ok(seconds) = value.parse() {
        return Some(Duration::from_secs(seconds).min(LONGEST_PAUSE));
    }
    let then = jiff::fmt::rfc2822::DateTimeParser::new()
        .parse_timestamp(value)
        .ok()?;
    // A date that is past already asks for nothing.
    let pause = Duration::try_from(then.duration_since(now)).unwrap_or_default();
    Some(pause.min(LONGEST_PAUSE))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use super::*;

    #[test]
    fn retry_after_is_seconds_or_a_date() {
        let now: Timestamp = "1994-11-06T08:49:07Z".parse().unwrap();
        let read = |value| retry_after(value, now);
        assert_eq!(read("120"), Some(Duration::from_secs(120)));
        let date = "Sun, 06 Nov 1994 08:49:37 GMT";
        assert_eq!(read(date), Some(Duration::from_secs(30)));
        let past = "Sun, 06 Nov 1994 08:48:37 GMT";
        assert_eq!(read(past), Some(Duration::ZERO));
        assert_eq!(read("soon"), None);
        assert_eq!(read("-3"), None);
        for far in ["999999999999", "Sat, 06 Nov 2094 08:49:37 GMT"] {
            assert_eq!(read(far), Some(LONGEST_PAUSE), "{far}");
        }
    }

    #[test]
    fn what_a_server_should_not_say_is_quoted_short_and_on_one_line() {
        let odd = format!("\"{}\\n\\u001b[31mred\"", "x".repeat(100_000));
        let reply = Reply {
            url: "https://ca.example.net/sign".to_owned(),
            status: StatusCode::OK,
            pause: None,
            body: odd.into(),
        };
        let says = reply.json::<bool>().unwrap_err().message;
        assert!(says.len() < 5_000 && says.contains("https://ca.example.net/sign"));
        assert!(!says.contains(char::is_control), "{says:?}");
    }
}
