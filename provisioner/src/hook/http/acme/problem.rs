//! What an ACME server's errors mean for a node (RFC 8555 §6.7, RFC 7807).

use std::time::Instant;

use instant_acme::{Error, Problem};

use crate::code::Code;
use crate::hook::HookError;
use crate::hook::contract::LONGEST_PAUSE;
use crate::hook::http::reply::Reply;
use crate::hook::redact::{quoted, shown};

/// The prefix of the types RFC 8555 defines.
const PREFIX: &str = "urn:ietf:params:acme:error:";
/// A number that was used before; the library asks again by itself.
const BAD_NONCE: &str = "badNonce";

/// An answer that is for the library to read, or why it is an error.
///
/// # Errors
/// The code for the type of the problem; for what is none, that of the status.
pub(in crate::hook::http) fn judged(reply: Reply) -> Result<Reply, HookError> {
    if !reply.status.is_client_error() {
        return reply.checked();
    }
    let problem = serde_json::from_slice::<Problem>(&reply.body).ok();
    let kind = problem.as_ref().and_then(kind);
    if kind == Some(BAD_NONCE) {
        return Ok(reply);
    }
    let (Some(problem), Some(code)) = (&problem, kind.and_then(code)) else {
        return reply.checked();
    };
    let says = format!(
        "{} answered {}: {}",
        reply.url,
        reply.status,
        words(problem)
    );
    Err(HookError::unsent(code, says).after(reply.pause))
}

/// What the library could not do.
pub(super) fn error(error: Error) -> HookError {
    let protocol = |what: String| {
        let what = quoted(&what);
        let says = format!("the ACME server answered what it should not: {what}");
        HookError::new(Code::HookProtocol, says)
    };
    match error {
        Error::Other(inner) => match inner.downcast::<HookError>() {
            Ok(error) => *error,
            Err(other) => protocol(other.to_string()),
        },
        Error::Api(problem) => {
            let code = kind(&problem).and_then(code).unwrap_or(Code::CaUnavailable);
            let says = format!("the ACME server says: {}", words(&problem));
            HookError::new(code, says)
        }
        Error::Timeout(then) => {
            let pause = then.map(|then| then.saturating_duration_since(Instant::now()));
            let says = "the ACME server was not done with the order within `order_timeout`";
            let pause = pause.map(|pause| pause.min(LONGEST_PAUSE));
            HookError::new(Code::CaUnavailable, says).after(pause)
        }
        Error::Crypto | Error::KeyRejected => HookError::unsent(
            Code::CaConfig,
            "the account's key cannot sign; move the file of `account` in [ca] away for a new one",
        ),
        other => protocol(other.to_string()),
    }
}

/// The type, without what all of them begin with.
fn kind(problem: &Problem) -> Option<&str> {
    problem.r#type.as_deref()?.strip_prefix(PREFIX)
}

/// Whose fault it is; none where the status of the answer knows better.
fn code(kind: &str) -> Option<Code> {
    Some(match kind {
        "rateLimited" => Code::CaThrottled,
        "badCSR"
        | "badPublicKey"
        | "rejectedIdentifier"
        | "unsupportedIdentifier"
        | "caa"
        | "unauthorized"
        | "compound"
        | "invalidProfile" => Code::CaRefused,
        "accountDoesNotExist"
        | "externalAccountRequired"
        | "userActionRequired"
        | "invalidContact"
        | "unsupportedContact"
        | "badSignatureAlgorithm" => Code::CaConfig,
        // Proofs that were not seen, and what passes by itself.
        "dns" | "connection" | "incorrectResponse" | "tls" | "serverInternal" | "orderNotReady"
        | BAD_NONCE => Code::CaUnavailable,
        _ => return None,
    })
}

fn words(problem: &Problem) -> String {
    let hint = match kind(problem) {
        Some("accountDoesNotExist") => {
            "; move the file of `account` in [ca] away, and another account is made"
        }
        Some("externalAccountRequired") => "; see `eab_kid` and `eab_key_file` in [ca]",
        Some("userActionRequired") => "; see `terms_of_service_agreed` in [ca]",
        _ => "",
    };
    format!("{}{hint}", shown(problem.to_string().as_bytes(), &[]))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use std::time::Duration;

    use hyper::StatusCode;

    use super::*;

    fn answer(status: u16, kind: &str) -> Reply {
        let body = format!(r#"{{"type": "{PREFIX}{kind}", "detail": "no\nsuch \u001b thing"}}"#);
        Reply {
            url: "https://acme.example.net/order".to_owned(),
            status: StatusCode::from_u16(status).unwrap(),
            pause: Some(Duration::from_secs(7)),
            body: body.into(),
        }
    }

    #[test]
    fn a_type_says_more_than_a_status() {
        for (status, kind, wanted) in [
            (403, "rateLimited", Code::CaThrottled),
            (429, "rateLimited", Code::CaThrottled),
            (400, "badCSR", Code::CaRefused),
            (403, "rejectedIdentifier", Code::CaRefused),
            (400, "accountDoesNotExist", Code::CaConfig),
            (403, "externalAccountRequired", Code::CaConfig),
            (400, "malformed", Code::CaRefused),
            (403, "somethingNew", Code::CaConfig),
            (404, "malformed", Code::CaConfig),
        ] {
            let error = judged(answer(status, kind)).unwrap_err();
            assert_eq!(error.code, wanted, "{status} {kind}");
            assert!(error.unsigned, "{status} {kind}");
            assert_eq!(error.retry_after, Some(Duration::from_secs(7)));
            assert!(!error.message.contains(char::is_control), "{error}");
        }
        let broken = judged(answer(500, "serverInternal")).unwrap_err();
        assert_eq!(broken.code, Code::CaUnavailable);
        assert!(!broken.unsigned, "nobody knows");
        let again = judged(answer(400, BAD_NONCE)).unwrap();
        assert_eq!(again.status, StatusCode::BAD_REQUEST);
    }
}
