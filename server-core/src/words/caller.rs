//! Who sent a request.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

/// Why a text is no caller id.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "the caller id {0:?} is not of the form provider=name, with a provider of lower case letters and a name of letters, digits, '.', '_' and '-'"
)]
pub struct CallerIdError(String);

/// A caller id such as `choria=alice.mcollective`.
///
/// The whole text must have the form `provider=name`. The original tolerates anything behind the name, which then
/// reaches the authorizer; here such a caller id is refused.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct CallerId {
    text: Arc<str>,
    name_at: usize,
}

impl CallerId {
    /// Checks and keeps a caller id.
    ///
    /// # Errors
    /// When the text does not match `^[a-z]+=[A-Za-z0-9_.-]+$` completely, or has more than 512 bytes.
    pub fn parse(text: &str) -> Result<Self, CallerIdError> {
        let error = || CallerIdError(text.chars().take(80).collect());
        let (provider, name) = text.split_once('=').ok_or_else(error)?;
        let provider_ok = !provider.is_empty() && provider.bytes().all(|b| b.is_ascii_lowercase());
        let name_ok = !name.is_empty()
            && name
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-'));
        if !provider_ok || !name_ok || text.len() > 512 {
            return Err(error());
        }
        Ok(Self {
            text: Arc::from(text),
            name_at: provider.len() + 1,
        })
    }

    /// The caller id of a token's holder, which its organization vouches for whatever its form.
    ///
    /// # Errors
    /// When the text is empty, has more than 512 bytes or holds control characters.
    pub fn of_token(text: &str) -> Result<Self, CallerIdError> {
        if let Ok(formed) = Self::parse(text) {
            return Ok(formed);
        }
        if text.is_empty() || text.len() > 512 || text.chars().any(char::is_control) {
            return Err(CallerIdError(text.chars().take(80).collect()));
        }
        Ok(Self {
            text: Arc::from(text),
            name_at: 0,
        })
    }

    /// The caller id of a certificate's holder: `choria=<name>`.
    ///
    /// # Errors
    /// When the name holds characters that no caller id may hold.
    pub fn of_certificate(name: &str) -> Result<Self, CallerIdError> {
        Self::parse(&format!("choria={name}"))
    }

    /// The part before the equals sign: who vouches for the name. Empty where there is none.
    #[must_use]
    pub fn provider(&self) -> &str {
        &self.text[..self.name_at.saturating_sub(1)]
    }

    /// The part behind the equals sign: for certificates, the certificate's name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.text[self.name_at..]
    }

    /// The whole caller id.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }
}

impl fmt::Display for CallerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.text)
    }
}

impl fmt::Debug for CallerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&*self.text, f)
    }
}

impl FromStr for CallerId {
    type Err = CallerIdError;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::parse(text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_whole_text_must_match() {
        let alice = CallerId::parse("choria=alice.mcollective").unwrap();
        assert_eq!(
            (alice.provider(), alice.name()),
            ("choria", "alice.mcollective")
        );
        for bad in [
            "choria=alice.mcollective@x",
            "choria=alice.mcollective extra",
            "CHORIA=alice",
            "alice",
            "=alice",
            "choria=",
            "choria=a=b",
            "choria=a\n",
        ] {
            assert!(CallerId::parse(bad).is_err(), "{bad:?}");
        }
    }
}
