//! Errors in words.

use std::error::Error;

/// The whole chain of an error's causes in one line; what a cause repeats is said once.
#[must_use]
pub fn causes(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(inner) = cause {
        let says = inner.to_string();
        if !text.contains(&says) {
            text.push_str(": ");
            text.push_str(&says);
        }
        cause = inner.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::causes;

    #[derive(Debug, thiserror::Error)]
    #[error("{0}")]
    struct Link(&'static str, #[source] Option<Box<Self>>);

    #[test]
    fn every_cause_is_told_once() {
        let last = Link("refused", None);
        let middle = Link("connecting: refused", Some(Box::new(last)));
        let first = Link("no broker", Some(Box::new(middle)));
        assert_eq!(causes(&first), "no broker: connecting: refused");
    }
}
