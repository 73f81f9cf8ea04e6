//! A PEM splitter that accepts one thing only: a single canonical request and nothing around it.
//!
//! Lenient PEM readers disagree about what stands between two markers; a request on which two
//! readers could disagree is refused here (RFC 7468, strict form, LF line ends, 64 columns).

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::code::{Code, Refusal};

const BEGIN: &str = "-----BEGIN CERTIFICATE REQUEST-----";
const END: &str = "-----END CERTIFICATE REQUEST-----";
const COLUMNS: usize = 64;

/// The most a request in PEM may be.
pub(crate) const MAX_PEM: usize = 16 * 1024;
/// The most a request in DER may be.
pub(crate) const MAX_DER: usize = 8 * 1024;

/// The DER bytes of the one request in `pem`.
///
/// # Errors
/// `csr.too_large` or `csr.pem_format`.
pub(crate) fn request_der(pem: &[u8]) -> Result<Vec<u8>, Refusal> {
    if pem.len() > MAX_PEM {
        return Err(too_large(pem.len(), MAX_PEM, "bytes of PEM"));
    }
    let text = std::str::from_utf8(pem)
        .ok()
        .filter(|text| text.is_ascii())
        .ok_or_else(|| refuse("it is not text in ASCII"))?;
    if text.contains('\r') {
        return Err(refuse("its lines end in CR LF; they must end in LF alone"));
    }
    let body = between_the_markers(text)?;
    let lines: Vec<&str> = body.split('\n').collect();
    if lines.iter().any(|line| line.contains(':')) {
        return Err(refuse("it has headers inside the block"));
    }
    let (last, full) = lines
        .split_last()
        .ok_or_else(|| refuse("the block is empty"))?;
    if full.iter().any(|line| line.len() != COLUMNS) || last.is_empty() || last.len() > COLUMNS {
        return Err(refuse("its lines are not 64 columns of base64"));
    }
    let der = STANDARD
        .decode(lines.concat())
        .map_err(|error| refuse(&format!("its base64 is wrong: {error}")))?;
    if der.len() > MAX_DER {
        return Err(too_large(der.len(), MAX_DER, "bytes of DER"));
    }
    Ok(der)
}

/// What stands between the two markers, without the line ends beside them.
fn between_the_markers(text: &str) -> Result<&str, Refusal> {
    match text.matches("-----BEGIN ").count() {
        0 => return Err(refuse("it is not PEM: there is no BEGIN line")),
        1 => {}
        blocks => return Err(refuse(&format!("it holds {blocks} PEM blocks"))),
    }
    let Some(rest) = text.strip_prefix(BEGIN) else {
        return Err(if text.contains(BEGIN) {
            refuse("text stands before the block")
        } else {
            refuse("its block is not labelled CERTIFICATE REQUEST")
        });
    };
    let rest = rest
        .strip_prefix('\n')
        .ok_or_else(|| refuse("something follows on the BEGIN line"))?;
    let (body, after) = rest
        .split_once(END)
        .ok_or_else(|| refuse("the block has no END line of the same label"))?;
    if !matches!(after, "" | "\n") {
        return Err(refuse("text stands after the block"));
    }
    body.strip_suffix('\n')
        .ok_or_else(|| refuse("the END line is not a line of its own"))
}

fn refuse(what: &str) -> Refusal {
    Refusal::new(
        Code::CsrPemFormat,
        format!(
            "the request must be exactly one canonical PEM block CERTIFICATE REQUEST, but {what} \
             (rule 13)"
        ),
    )
}

fn too_large(seen: usize, limit: usize, unit: &str) -> Refusal {
    Refusal::new(
        Code::CsrTooLarge,
        format!("the request is {seen} {unit}; more than {limit} is never read (rule 12)"),
    )
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use proptest::prelude::*;

    use super::*;

    fn pem(der: &[u8]) -> String {
        let encoded = STANDARD.encode(der);
        let lines: Vec<&str> = encoded
            .as_bytes()
            .chunks(COLUMNS)
            .map(|line| std::str::from_utf8(line).unwrap())
            .collect();
        format!("{BEGIN}\n{}\n{END}\n", lines.join("\n"))
    }

    fn code(text: &str) -> Code {
        request_der(text.as_bytes()).unwrap_err().code
    }

    proptest! {
        #[test]
        fn canonical_blocks_read_back(der in proptest::collection::vec(any::<u8>(), 1..500)) {
            let text = pem(&der);
            prop_assert_eq!(request_der(text.as_bytes()).unwrap(), der.clone());
            prop_assert_eq!(request_der(text.trim_end().as_bytes()).unwrap(), der);
        }

        #[test]
        fn nothing_panics(bytes in proptest::collection::vec(any::<u8>(), 0..600)) {
            let _ = request_der(&bytes);
        }
    }

    #[test]
    fn one_block_and_nothing_around_it() {
        let good = pem(&[7; 100]);
        for bad in [
            String::new(),
            "nonsense".to_owned(),
            format!("hello\n{good}"),
            format!("\n{good}"),
            format!("{good}hello"),
            format!("{good}\n"),
            format!("{good}{good}"),
            good.replace("CERTIFICATE REQUEST", "NEW CERTIFICATE REQUEST"),
            good.replace("CERTIFICATE REQUEST", "CERTIFICATE"),
            good.replace("-----BEGIN", "----- BEGIN"),
            good.replace("-----END CERTIFICATE REQUEST", "-----END CERTIFICATE"),
            good.replacen('\n', "\nProc-Type: 4,ENCRYPTED\n\n", 1),
            good.replace('\n', "\r\n"),
            good.replace("Bwc", "Bw c"),
            good.replace(END, ""),
            format!("{BEGIN}\n{END}\n"),
            format!("{BEGIN}\n\n{END}\n"),
        ] {
            assert_eq!(code(&bad), Code::CsrPemFormat, "{bad}");
        }
    }

    #[test]
    fn base64_is_canonical() {
        // "QQ==" is the letter A; "QR==" decodes to the same with a spare bit set.
        assert!(request_der(format!("{BEGIN}\nQQ==\n{END}\n").as_bytes()).is_ok());
        assert_eq!(code(&format!("{BEGIN}\nQR==\n{END}\n")), Code::CsrPemFormat);
        assert_eq!(code(&format!("{BEGIN}\nQQ\n{END}\n")), Code::CsrPemFormat);
    }

    #[test]
    fn sizes_are_limited_before_anything_is_decoded() {
        assert_eq!(code(&"x".repeat(MAX_PEM + 1)), Code::CsrTooLarge);
        assert_eq!(code(&pem(&vec![0; MAX_DER + 1])), Code::CsrTooLarge);
        assert!(request_der(pem(&vec![0; MAX_DER]).as_bytes()).is_ok());
    }
}
