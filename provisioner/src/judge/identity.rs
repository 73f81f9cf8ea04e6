//! The grammar of a name that may be enrolled: a lower-case host name in ASCII.
//!
//! Stricter than what may travel on the network: `[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?` between
//! single dots, at most 64 bytes because it becomes a common name (RFC 5280, `ub-common-name`).

use crate::code::{Code, Refusal};

/// The longest common name a certificate may hold (RFC 5280, `ub-common-name`).
const MAX_COMMON_NAME: usize = 64;
/// The longest label of a host name (RFC 1035).
const MAX_LABEL: usize = 63;

/// Judges a name by the grammar above; `whose` names it in the message ("this node's identity").
///
/// # Errors
/// `identity.syntax`, saying which rule the name breaks and where.
pub fn judge_name(name: &str, whose: &str, punycode: bool) -> Result<(), Refusal> {
    let refuse = |what: String| {
        Err(Refusal::new(
            Code::IdentitySyntax,
            format!(
                "{whose} {} {what}; a name is lower-case letters, digits and hyphens between \
                 single dots, at most {MAX_COMMON_NAME} characters (rules 15 and 16)",
                quoted(name)
            ),
        ))
    };
    if name.is_empty() {
        return refuse("is empty".to_owned());
    }
    if let Some(odd) = name.chars().find(|&c| !allowed(c)) {
        return refuse(format!("holds {}", describe(odd)));
    }
    if name.len() > MAX_COMMON_NAME {
        return refuse(format!("is {} characters long", name.len()));
    }
    for label in name.split('.') {
        if label.is_empty() {
            return refuse("has an empty part: a dot at an end, or two in a row".to_owned());
        }
        if label.len() > MAX_LABEL {
            return refuse(format!("has a part of more than {MAX_LABEL} characters"));
        }
        if label.starts_with('-') || label.ends_with('-') {
            return refuse(format!("has the part \"{label}\" with a hyphen at its end"));
        }
        if label.starts_with("xn--") && !punycode {
            return refuse(format!(
                "has the part \"{label}\", an encoded international name, which is not enabled"
            ));
        }
    }
    Ok(())
}

const fn allowed(c: char) -> bool {
    matches!(c, 'a'..='z' | '0'..='9' | '-' | '.')
}

/// What a character is, without repeating anything a terminal or a reader could stumble over.
fn describe(c: char) -> String {
    match c {
        'A'..='Z' => format!("the upper-case letter {c}"),
        ' ' => "a space".to_owned(),
        '!'..='~' => format!("the character {c}"),
        _ => format!("the character U+{:04X}", u32::from(c)),
    }
}

/// A foreign text for a message: quoted, escaped to ASCII, cut to a readable length.
pub(crate) fn quoted(text: &str) -> String {
    const LONGEST: usize = 80;
    let mut shown: String = text.chars().take(LONGEST).collect();
    if shown.len() < text.len() {
        shown.push('…');
        return format!("\"{}\"", shown.escape_default()).replace("\\u{2026}", "…");
    }
    format!("\"{}\"", shown.escape_default())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use proptest::prelude::*;

    use super::*;

    fn judge(name: &str) -> Result<(), Refusal> {
        judge_name(name, "the identity", false)
    }

    #[test]
    fn host_names_pass() {
        for name in [
            "a",
            "node1",
            "n1.example.net",
            "10-0-0-1.rack.example",
            "1.2",
        ] {
            assert_eq!(judge(name), Ok(()), "{name}");
        }
        let longest = format!("{}.example.net", "a".repeat(52));
        assert_eq!(longest.len(), 64);
        assert_eq!(judge(&longest), Ok(()));
    }

    #[test]
    fn everything_else_is_refused_with_the_same_code() {
        let long_label = format!("{}.a", "a".repeat(64));
        let long = format!("{}.example.net", "a".repeat(53));
        for name in [
            "",
            ".",
            "a.",
            ".a",
            "a..b",
            "-a",
            "a-",
            "a.-b",
            "A.example.net",
            "*.example.net",
            "node_1",
            "a b",
            "a\0b",
            "a\nb",
            "../../etc/passwd",
            "n\u{43e}de1",
            "\u{202e}node1",
            "xn--nde-1na.example",
            ">",
            "choria=a",
            &long_label,
            &long,
        ] {
            assert_eq!(
                judge(name).map_err(|refusal| refusal.code),
                Err(Code::IdentitySyntax),
                "{name:?}"
            );
        }
    }

    #[test]
    fn encoded_international_names_can_be_enabled() {
        assert_eq!(
            judge_name("xn--nde-1na.example", "the identity", true),
            Ok(())
        );
    }

    proptest! {
        #[test]
        fn agrees_with_the_grammar_as_written(name in "[a-z0-9A-Z*_.-]{0,70}|\\PC{0,10}") {
            let grammar = regex::Regex::new(
                r"^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?(\.[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?)*\z",
            ).unwrap();
            let expected = grammar.is_match(&name)
                && name.len() <= 64
                && !name.split('.').any(|label| label.starts_with("xn--"));
            prop_assert_eq!(judge(&name).is_ok(), expected);
        }

        #[test]
        fn a_message_never_repeats_control_characters(name in "(?s).{0,100}") {
            if let Err(refusal) = judge(&name) {
                prop_assert!(!refusal.message.chars().any(char::is_control));
                prop_assert!(refusal.message.len() < 1_200);
            }
        }
    }
}
