//! Whose requests are acted on.

use regex::Regex;

use super::TrustError;

/// Which certificate names may send requests.
///
/// The defaults are those of the original: callers end in `.mcollective` or `.choria`, privileged ones in
/// `.privileged.mcollective` or `.privileged.choria`.
#[derive(Debug, Clone)]
pub struct CallerRules {
    /// A caller's name must match one of these.
    pub allow: Vec<Regex>,
    /// A certificate with a name that matches one of these may speak for any caller.
    pub privileged: Vec<Regex>,
}

impl CallerRules {
    /// Rules from regular expressions, which may be enclosed in slashes.
    ///
    /// # Errors
    /// When a text is no regular expression.
    pub fn new<S: AsRef<str>>(allow: &[S], privileged: &[S]) -> Result<Self, TrustError> {
        let compile = |texts: &[S]| -> Result<Vec<Regex>, TrustError> {
            texts.iter().map(|text| pattern(text.as_ref())).collect()
        };
        Ok(Self {
            allow: compile(allow)?,
            privileged: compile(privileged)?,
        })
    }

    pub(super) fn allows(&self, name: &str) -> bool {
        self.allow.iter().any(|pattern| pattern.is_match(name))
    }

    pub(super) fn is_privileged<'a>(&self, mut names: impl Iterator<Item = &'a str>) -> bool {
        names.any(|name| self.privileged.iter().any(|pattern| pattern.is_match(name)))
    }
}

fn pattern(text: &str) -> Result<Regex, TrustError> {
    let inner = text
        .strip_prefix('/')
        .and_then(|rest| rest.strip_suffix('/'));
    Regex::new(inner.unwrap_or(text)).map_err(|error| TrustError::Pattern {
        pattern: text.to_owned(),
        detail: error.to_string(),
    })
}

impl Default for CallerRules {
    #[expect(
        clippy::expect_used,
        reason = "these patterns are constants, and a test compiles them"
    )]
    fn default() -> Self {
        Self::new(
            &[r"\.mcollective$", r"\.choria$"],
            &[r"\.privileged\.mcollective$", r"\.privileged\.choria$"],
        )
        .expect("constant patterns compile")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn defaults_are_those_of_the_original() {
        let rules = CallerRules::default();
        assert!(rules.allows("alice.mcollective"));
        assert!(!rules.allows("alice.mcollective.example.net"));
        assert!(!rules.allows("web1.example.net"));
        assert!(rules.is_privileged(["signer.privileged.choria"].into_iter()));
        assert!(!rules.is_privileged(["alice.mcollective"].into_iter()));
    }

    #[test]
    fn slashes_around_a_pattern_are_taken_off() {
        let rules = CallerRules::new(&["/^ops-/"], &[]).unwrap();
        assert!(rules.allows("ops-1"));
        assert_eq!(
            CallerRules::new(&["("], &[]).unwrap_err().code(),
            "trust.pattern"
        );
    }
}
