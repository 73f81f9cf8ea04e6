//! Foreign text made fit for a log line: no secrets, no control characters, no novel.

use crate::code::brief;

/// How much of a text is shown: its end, where programs say why they failed. A sentence about it
/// has to have room around it.
const LONGEST: usize = 3 * 1024;
/// How much of a text is quoted that is only wrong.
const QUOTED: usize = 1024;
/// More than a private key has in PEM: after so much without its end something else was begun.
const LONGEST_KEY: usize = 16 * 1024;
/// The boundaries of a block of PEM, up to its label (RFC 7468 §2).
const BEGIN: &str = "-----BEGIN ";
const END: &str = "-----END ";

/// The end of a program's text on one line, with private keys and the given secrets blacked out.
pub(super) fn shown(text: &[u8], secrets: &[&str]) -> String {
    let mut text = String::from_utf8_lossy(text).into_owned();
    for secret in secrets.iter().filter(|secret| secret.len() >= 4) {
        text = text.replace(secret, "[secret]");
    }
    let mut line = one_line(&text);
    if line.len() > LONGEST {
        let start = (line.len() - LONGEST..line.len())
            .find(|at| line.is_char_boundary(*at))
            .unwrap_or(line.len());
        line.replace_range(..start, "…");
    }
    line
}

/// What is wrong with an answer, which may quote it at any length: begin and end are kept, for a
/// parser says first what it met and last where.
pub(super) fn quoted(what: &str) -> String {
    brief(one_line(what), QUOTED)
}

/// The text on one line, with private keys blacked out.
fn one_line(text: &str) -> String {
    without_private_keys(text)
        .trim()
        .chars()
        .map(|c| if c == '\n' { '⏎' } else { c })
        .map(|c| if c.is_control() { ' ' } else { c })
        .collect()
}

/// The text without its private keys. What is kept of a text may begin or end within one.
fn without_private_keys(text: &str) -> String {
    let begin = boundary(text, BEGIN).map(|(before, _)| before.len());
    let (hidden, rest) = match boundary(text, END) {
        Some((before, rest)) if begin.is_none_or(|begin| before.len() < begin) => {
            ("[private key]", rest)
        }
        _ => ("", text),
    };
    format!("{hidden}{}", Blackout::default().pass(rest))
}

/// Blacks private keys out of a text that comes piece by piece.
#[derive(Debug, Default)]
pub(super) struct Blackout {
    /// How much more is hidden at most: a key has begun and not ended.
    hidden: usize,
}

impl Blackout {
    /// The next piece, with every block from `-----BEGIN … PRIVATE KEY` to its end blacked out.
    pub(super) fn pass(&mut self, piece: &str) -> String {
        let mut rest = piece;
        if self.hidden > 0 {
            let Some((_, after)) = boundary(piece, END) else {
                self.hidden = self.hidden.saturating_sub(piece.len());
                return String::new();
            };
            (self.hidden, rest) = (0, after);
        }
        let mut kept = String::with_capacity(rest.len());
        while let Some((before, block)) = boundary(rest, BEGIN) {
            kept.push_str(before);
            kept.push_str("[private key]");
            let Some((_, after)) = boundary(block, END) else {
                self.hidden = LONGEST_KEY.saturating_sub(block.len());
                return kept;
            };
            rest = after;
        }
        kept.push_str(rest);
        kept
    }
}

/// What is before and after the first boundary of a private key that starts like this.
fn boundary<'t>(text: &'t str, start: &str) -> Option<(&'t str, &'t str)> {
    const DASHES: &str = "-----";
    text.match_indices(start).find_map(|(at, _)| {
        let (label, after) = text[at + start.len()..].split_once(DASHES)?;
        let is_key = label.contains("PRIVATE KEY") && !label.contains('\n');
        is_key.then(|| (&text[..at], after))
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn secrets_and_keys_are_blacked_out() {
        let text = b"token s3cret!\n-----BEGIN RSA PRIVATE KEY-----\nMIIE\n-----END RSA PRIVATE KEY-----\nbye";
        let line = shown(text, &["s3cret!"]);
        assert_eq!(line, "token [secret]⏎[private key]⏎bye");
        assert_eq!(
            shown(b"x -----BEGIN PRIVATE KEY-----\nMIIE", &[]),
            "x [private key]"
        );
        assert!(shown(b"-----BEGIN CERTIFICATE-----\nMIIE", &[]).contains("MIIE"));
        let tail = b"MIIE\n-----END EC PRIVATE KEY-----\nbye -----BEGIN PRIVATE KEY-----\nMIIF";
        assert_eq!(shown(tail, &[]), "[private key]\u{23ce}bye [private key]");
    }

    #[test]
    fn a_key_that_comes_line_by_line_is_blacked_out_to_its_end() {
        let text = "cannot load this:\n-----BEGIN PRIVATE KEY-----\nMIIE\nAbCd\n\
                    -----END PRIVATE KEY----- sorry\n-----BEGIN CERTIFICATE-----\nMIIC\n";
        let mut blackout = Blackout::default();
        let passed: String = text
            .split_inclusive('\n')
            .map(|line| blackout.pass(line))
            .collect();
        let wanted = "cannot load this:\n[private key] sorry\n-----BEGIN CERTIFICATE-----\nMIIC\n";
        assert_eq!(passed, wanted);
        // Who only speaks of keys is heard again.
        assert_eq!(
            blackout.pass("no -----BEGIN PRIVATE KEY----- in it\n"),
            "no [private key]"
        );
        let line = format!("{}\n", "x".repeat(99));
        let silent = (0..1_000).take_while(|_| blackout.pass(&line).is_empty());
        assert!(silent.count() < 200);
    }

    #[test]
    fn the_end_of_a_long_text_is_shown() {
        let text = format!("{}the end", "ä".repeat(LONGEST));
        let line = shown(text.as_bytes(), &[]);
        assert!(line.len() <= LONGEST + 4);
        assert!(line.starts_with('…') && line.ends_with("the end"));
    }

    #[test]
    fn of_what_is_wrong_begin_and_end_are_quoted() {
        let key = format!(
            "unknown field `{}`, expected one of `a` at line 1",
            "ä".repeat(9_999)
        );
        let said = quoted(&key);
        assert!(said.len() <= QUOTED, "{}", said.len());
        assert!(
            said.starts_with("unknown field `ä") && said.ends_with("` at line 1"),
            "{said}"
        );
        let leaked =
            "unknown variant `-----BEGIN PRIVATE KEY-----\nMIIE\n-----END PRIVATE KEY-----`";
        assert_eq!(quoted(leaked), "unknown variant `[private key]`");
    }

    proptest! {
        #[test]
        fn one_line_whatever_comes(text in proptest::collection::vec(any::<u8>(), 0..300)) {
            prop_assert!(!shown(&text, &["abcd"]).chars().any(char::is_control));
        }
    }
}
