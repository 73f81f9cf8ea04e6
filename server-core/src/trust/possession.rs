//! What an enrolled node signs with its key to prove that it has it now: a certificate request of
//! long ago proves only that somebody once had.

/// Digits a nonce has at most.
const LONGEST: usize = 64;
/// Digits a nonce has at least.
const SHORTEST: usize = 32;
/// Nothing else that is signed with a node's key begins so: no request, no certificate request and
/// no handshake of TLS.
const CONTEXT: &str = "muster: the key of an enrolled node, now\n";

/// The bytes to be signed for a node and a nonce of hexadecimal digits; nothing for what is no nonce.
#[must_use]
pub fn message(identity: &str, nonce: &str) -> Option<Vec<u8>> {
    let digits = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
    let sound = (SHORTEST..=LONGEST).contains(&nonce.len()) && nonce.bytes().all(digits);
    sound.then(|| format!("{CONTEXT}{identity}\n{nonce}").into_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_node_signs_nothing_but_a_nonce() {
        let nonce = "0123456789abcdef".repeat(2);
        assert!(message("n1", &nonce).is_some_and(|bytes| bytes.starts_with(CONTEXT.as_bytes())));
        for wrong in [
            "",
            "0123",
            &nonce.to_uppercase(),
            &nonce.repeat(3),
            &format!("{nonce}\n"),
        ] {
            assert_eq!(message("n1", wrong), None, "{wrong:?}");
        }
    }
}
