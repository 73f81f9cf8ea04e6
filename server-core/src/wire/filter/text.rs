//! Fact filters as people write them on a command line.

use std::str::FromStr;

use super::{FactFilter, Operator};

/// Why a text is no fact filter.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "{0:?} is no fact filter; write fact, operator and value, with one of the operators == = != <= < >= > =~"
)]
pub struct FilterTextError(String);

/// All spellings of operators; those of two characters come first.
const SPELLINGS: &[(&str, Operator)] = &[
    ("<=", Operator::LessOrEqual),
    ("=<", Operator::LessOrEqual),
    (">=", Operator::GreaterOrEqual),
    ("=>", Operator::GreaterOrEqual),
    ("!=", Operator::NotEqual),
    ("=~", Operator::Matches),
    ("==", Operator::Equal),
    ("=", Operator::Equal),
    ("<", Operator::Less),
    (">", Operator::Greater),
];

impl FromStr for FactFilter {
    type Err = FilterTextError;

    /// The right-most operator separates fact and value; a value in slashes makes it a regular expression.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let error = || FilterTextError(text.to_owned());
        let (at, spelling, operator) = SPELLINGS
            .iter()
            .filter_map(|(spelling, operator)| {
                text.rfind(spelling).map(|at| (at, *spelling, *operator))
            })
            // Among operators that end at the same place the longer one was meant: `>=`, not `=`.
            .max_by_key(|(at, spelling, _)| (at + spelling.len(), spelling.len()))
            .ok_or_else(error)?;
        let fact = text[..at].trim();
        let value = text[at + spelling.len()..].trim();
        if fact.is_empty() || value.is_empty() {
            return Err(error());
        }
        let is_regex = value.len() > 2 && value.starts_with('/') && value.ends_with('/');
        Ok(Self {
            fact: fact.to_owned(),
            operator: if is_regex {
                Operator::Matches
            } else {
                operator
            },
            value: value.to_owned(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_right_most_operator_counts() {
        use Operator::{Equal, Greater, GreaterOrEqual, LessOrEqual, Matches, NotEqual};
        for (text, fact, operator, value) in [
            ("os.family=RedHat", "os.family", Equal, "RedHat"),
            ("os.family==RedHat", "os.family", Equal, "RedHat"),
            ("cpus >= 4", "cpus", GreaterOrEqual, "4"),
            ("cpus=>4", "cpus", GreaterOrEqual, "4"),
            ("cpus=<4", "cpus", LessOrEqual, "4"),
            ("cpus>4", "cpus", Greater, "4"),
            ("dc!=lon", "dc", NotEqual, "lon"),
            ("dc=~^lo", "dc", Matches, "^lo"),
            ("dc=/^lo/", "dc", Matches, "/^lo/"),
            ("a=b=c", "a=b", Equal, "c"),
        ] {
            let want = FactFilter {
                fact: fact.into(),
                operator,
                value: value.into(),
            };
            assert_eq!(text.parse(), Ok(want), "{text}");
        }
        for bad in ["", "=", "a=", "=b", "no operator", "a~b"] {
            assert!(bad.parse::<FactFilter>().is_err(), "{bad:?}");
        }
    }
}
