//! Foreign text made fit for a log line: no secrets, no control characters, no novel.

/// How much of a text is shown: its end, where programs say why they failed.
const LONGEST: usize = 4 * 1024;

/// The end of a program's text on one line, with private keys and the given secrets blacked out.
pub(super) fn shown(text: &[u8], secrets: &[&str]) -> String {
    let mut text = String::from_utf8_lossy(text).into_owned();
    for secret in secrets.iter().filter(|secret| secret.len() >= 4) {
        text = text.replace(secret, "[secret]");
    }
    let text = without_private_keys(&text);
    let mut line: String = text
        .trim()
        .chars()
        .map(|c| if c == '\n' { '⏎' } else { c })
        .map(|c| if c.is_control() { ' ' } else { c })
        .collect();
    if line.len() > LONGEST {
        let start = (line.len() - LONGEST..line.len())
            .find(|at| line.is_char_boundary(*at))
            .unwrap_or(line.len());
        line.replace_range(..start, "…");
    }
    line
}

/// Every block from `-----BEGIN … PRIVATE KEY` to its end, or to the end of the text.
fn without_private_keys(text: &str) -> String {
    const BEGIN: &str = "-----BEGIN ";
    const MARK: &str = "PRIVATE KEY-----";
    let mut kept = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find(BEGIN) {
        let (before, block) = rest.split_at(at);
        kept.push_str(before);
        let label = block.lines().next().unwrap_or_default();
        if !label.contains(MARK) {
            kept.push_str(BEGIN);
            rest = &block[BEGIN.len()..];
            continue;
        }
        kept.push_str("[private key]");
        let body = &block[label.len()..];
        rest = body.find(MARK).map_or("", |end| &body[end + MARK.len()..]);
    }
    kept.push_str(rest);
    kept
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
    }

    #[test]
    fn the_end_of_a_long_text_is_shown() {
        let text = format!("{}the end", "ä".repeat(LONGEST));
        let line = shown(text.as_bytes(), &[]);
        assert!(line.len() <= LONGEST + 4);
        assert!(line.starts_with('…') && line.ends_with("the end"));
    }

    proptest! {
        #[test]
        fn one_line_whatever_comes(text in proptest::collection::vec(any::<u8>(), 0..300)) {
            prop_assert!(!shown(&text, &["abcd"]).chars().any(char::is_control));
        }
    }
}
