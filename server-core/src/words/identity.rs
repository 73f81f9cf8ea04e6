//! Names of nodes and of collectives.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Longest name accepted, in bytes: the limit of a DNS name (RFC 1035, 2.3.4).
const MAX_LEN: usize = 253;

/// Why a text is no identity or collective.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum IdentityError {
    /// The text is empty.
    #[error("the name is empty")]
    Empty,
    /// The text is longer than 253 bytes.
    #[error("the name has {0} bytes, more than {MAX_LEN}")]
    TooLong(usize),
    /// The text holds a character other than letters, digits, `.`, `_`, `-`.
    #[error(
        "the name holds {0:?} at byte {1}; only ASCII letters, digits, '.', '_' and '-' are allowed"
    )]
    Character(char, usize),
    /// The text starts or ends with a dot, or holds two in a row.
    #[error("the name has an empty part: a dot at its start or end, or two dots in a row")]
    EmptyToken,
}

impl IdentityError {
    /// Stable name of this kind of error.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::Empty => "identity.empty",
            Self::TooLong(_) => "identity.too_long",
            Self::Character(..) => "identity.character",
            Self::EmptyToken => "identity.empty_token",
        }
    }
}

fn check(text: &str) -> Result<(), IdentityError> {
    if text.is_empty() {
        return Err(IdentityError::Empty);
    }
    if text.len() > MAX_LEN {
        return Err(IdentityError::TooLong(text.len()));
    }
    let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
    if let Some((at, c)) = text.char_indices().find(|(_, c)| !allowed(*c)) {
        return Err(IdentityError::Character(c, at));
    }
    if text.split('.').any(str::is_empty) {
        return Err(IdentityError::EmptyToken);
    }
    Ok(())
}

macro_rules! name_type {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub struct $name(Arc<str>);

        impl $name {
            /// Checks and keeps a name.
            ///
            /// # Errors
            /// When the text is not 1 to 253 bytes of `[A-Za-z0-9._-]` without empty dot-separated parts.
            pub fn parse(text: &str) -> Result<Self, IdentityError> {
                check(text).map(|()| Self(Arc::from(text)))
            }

            /// The name as text.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Debug::fmt(&*self.0, f)
            }
        }

        impl AsRef<str> for $name {
            fn as_ref(&self) -> &str {
                &self.0
            }
        }

        impl std::borrow::Borrow<str> for $name {
            fn borrow(&self) -> &str {
                &self.0
            }
        }

        impl FromStr for $name {
            type Err = IdentityError;
            fn from_str(text: &str) -> Result<Self, Self::Err> {
                Self::parse(text)
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(&self.0)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
                Self::parse(&text).map_err(serde::de::Error::custom)
            }
        }
    };
}

name_type! {
    /// The name of a node: safe as NATS subject tokens and as a file name. Clones are cheap.
    Identity
}
name_type! {
    /// The name of a collective, the first part of every subject its members use. Clones are cheap.
    Collective
}

impl Collective {
    /// The collective of nodes which have no configuration yet.
    #[must_use]
    pub fn provisioning() -> Self {
        Self(Arc::from("provisioning"))
    }

    /// The collective which Choria uses with protocol 2 when a configuration names none.
    #[must_use]
    pub fn choria() -> Self {
        Self(Arc::from("choria"))
    }

    /// The collective which Choria uses when a configuration names none.
    #[must_use]
    pub fn mcollective() -> Self {
        Self(Arc::from("mcollective"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refuses_what_would_leave_its_subject_or_its_folder() {
        for bad in [
            "", ".", "..", "a..b", ".a", "a.", "a b", "a*", "a.>", "a/b", "é", "a\0",
        ] {
            assert!(Identity::parse(bad).is_err(), "{bad:?}");
        }
        assert_eq!(
            Identity::parse(&"a".repeat(254)),
            Err(IdentityError::TooLong(254))
        );
        for good in ["web1.example.net", "a", "A_b-C.9", &"a".repeat(253)] {
            assert_eq!(Identity::parse(good).unwrap().as_str(), good);
        }
    }

    #[test]
    fn json_is_the_bare_text_and_is_checked() {
        let identity: Identity = serde_json::from_str(r#""web1""#).unwrap();
        assert_eq!(serde_json::to_string(&identity).unwrap(), r#""web1""#);
        assert!(serde_json::from_str::<Identity>(r#""web 1""#).is_err());
    }
}
