//! A refusal: a code and a sentence of bounded length.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{Class, Code};

/// Why something was not accepted: the code for machines, the sentence for people.
///
/// The sentence says who is at fault, what was seen and what to do; it never holds a secret and
/// never a control character of what was judged.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[error("{code}: {message}")]
pub struct Refusal {
    /// The stable code.
    pub code: Code,
    /// The sentence.
    pub message: String,
    /// How long whoever refused wants to be left alone, where it said so.
    #[serde(skip)]
    pub retry_after: Option<Duration>,
}

/// The longest sentence about why something was not accepted, bytes: it may quote what was judged,
/// and goes into the ledger.
pub const LONGEST_SENTENCE: usize = 4 * 1024;

/// The text in at most so many bytes. The middle is what is left out: sentences begin with what is wrong
/// and end with where.
pub(crate) fn brief(text: String, most: usize) -> String {
    const GAP: &str = " … ";
    if text.len() <= most {
        return text;
    }
    let half = most.saturating_sub(GAP.len()) / 2;
    let is_boundary = |at: &usize| text.is_char_boundary(*at);
    let begin = (0..=half).rev().find(is_boundary).unwrap_or(0);
    let rest = text.len() - half..text.len();
    let end = rest.into_iter().find(is_boundary).unwrap_or(text.len());
    format!("{}{GAP}{}", &text[..begin], &text[end..])
}

impl Refusal {
    /// A refusal with this code and sentence, which loses its middle beyond [`LONGEST_SENTENCE`].
    pub fn new(code: Code, message: impl Into<String>) -> Self {
        Self {
            code,
            message: brief(message.into(), LONGEST_SENTENCE),
            retry_after: None,
        }
    }

    /// The same, not to be tried again before this time has passed.
    #[must_use]
    pub const fn after(mut self, pause: Option<Duration>) -> Self {
        self.retry_after = pause;
        self
    }

    /// What it means for the node.
    #[must_use]
    pub const fn class(&self) -> Class {
        self.code.class()
    }
}
