//! Trust by tokens: callers are members of an organization (Choria protocol 2, secure request).

use super::Rejected;
use super::jwt::{ClientClaims, MemberClaims as _, Organization, OrganizationKey, verify_member};
use crate::wire::{SignedRequest, decode_base64};
use crate::words::UnixTime;

/// The organizations whose members may send requests.
#[derive(Debug)]
pub(super) struct Members(pub(super) Vec<Organization>);

impl Members {
    /// Judges who sent a request that says it comes from `caller`.
    ///
    /// Without a delegator the caller's token has to allow it to manage the fleet on its own; with one it may also be
    /// one that others have to sign for. A delegator speaks for the caller whose token it sends, and for no other.
    pub(super) fn check(
        &self,
        signed: &SignedRequest,
        caller: &str,
        now: UnixTime,
    ) -> Result<(), Rejected> {
        let sent: ClientClaims = self.token(&signed.pubcert, caller, now)?;
        if sent.callerid != caller {
            return Err(Rejected::Name {
                caller: caller.to_owned(),
                names: vec![sent.callerid],
            });
        }
        let allowed = sent.permissions;
        let not_allowed = || {
            Err(Rejected::NotAllowed {
                caller: caller.to_owned(),
            })
        };
        let holder = match signed.delegator.as_str() {
            "" if allowed.fleet_management && !allowed.signed_fleet_management => sent,
            "" => return not_allowed(),
            delegator => {
                let delegator = self.token(delegator, caller, now)?;
                let speaks = delegator.permissions.authentication_delegator
                    && delegator.organization() == sent.organization();
                if !speaks || !(allowed.fleet_management || allowed.signed_fleet_management) {
                    return not_allowed();
                }
                delegator
            }
        };
        let wrong = |detail| Rejected::Signature {
            caller: caller.to_owned(),
            detail,
        };
        let signature = decode_base64(signed.signature.as_bytes())
            .ok_or_else(|| wrong("it is not base64 of the standard alphabet with padding"))?;
        let key = OrganizationKey::parse(&holder.standard.public_key)
            .map_err(|_| wrong("the token names no key to verify it with"))?;
        match key.verifies(signed.message.as_bytes(), &signature) {
            true => Ok(()),
            false => Err(wrong(
                "it was not made over this text by the key of the token",
            )),
        }
    }

    fn token(&self, text: &str, caller: &str, now: UnixTime) -> Result<ClientClaims, Rejected> {
        verify_member(text, &self.0, 0, now).map_err(|error| Rejected::Token {
            caller: caller.to_owned(),
            error,
        })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

    use std::path::PathBuf;
    use std::sync::Arc;

    use bytes::Bytes;
    use serde_json::Value;

    use super::super::jwt::{Credential, ServerClaims};
    use super::super::{TokenSigner, Verifier};
    use super::*;
    use crate::wire::{
        Envelope, Headers, Limits, Protocol, decode_reply, decode_request, encode_reply,
        encode_request, encode_signed_reply,
    };
    use crate::words::ManualClock;

    /// When the messages were captured.
    const CAPTURED: i64 = 1_795_395_100;

    fn path(name: &str) -> PathBuf {
        PathBuf::from(env!("CARGO_MANIFEST_DIR"))
            .join("tests/golden")
            .join(name)
    }

    fn text(name: &str) -> String {
        std::fs::read_to_string(path(name)).unwrap()
    }

    /// Captured messages whose name ends so, by name.
    fn captures(ending: &str) -> Vec<(String, Bytes)> {
        let mut names: Vec<_> = std::fs::read_dir(path("v2"))
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .filter(|name| name.ends_with(ending))
            .collect();
        names.sort();
        assert!(names.len() > 8, "{names:?}");
        let payload = |name: String| {
            let file: Value = serde_json::from_str(&text(&format!("v2/{name}"))).unwrap();
            let payload = file["payload"].as_str().unwrap().to_owned();
            (name, payload.into())
        };
        names.into_iter().map(payload).collect()
    }

    fn organization() -> Organization {
        Organization {
            name: "choria".to_owned(),
            key: OrganizationKey::parse(&text("org/org.public")).unwrap(),
        }
    }

    fn verifier(now: i64) -> Verifier {
        let clock = ManualClock::new(UnixTime::from_secs(now));
        Verifier::members(vec![organization()]).clock(Arc::new(clock))
    }

    fn signer(who: &str) -> TokenSigner {
        let file = |kind: &str| text(&format!("org/{who}.{kind}"));
        TokenSigner::new(&file("jwt"), &file("seed")).unwrap()
    }

    #[test]
    fn requests_of_the_original_are_verified_and_written_again_byte_for_byte() {
        let limits = Limits::default();
        for (name, payload) in captures(".request.json") {
            let Envelope {
                protocol,
                headers,
                body,
            } = decode_request(&payload, &limits).unwrap();
            assert_eq!(protocol, Protocol::V2);
            let mut request = body.request().unwrap();
            let verdict = verifier(CAPTURED).verify(&payload, &limits);
            let who = if name.contains("without-signer") {
                assert_eq!(verdict.unwrap_err().code(), "caller.not_allowed", "{name}");
                "bob"
            } else if name.contains("denied") {
                // Who may call what is for policies to say.
                verdict.unwrap();
                request.caller.rsplit('=').next().unwrap()
            } else {
                assert_eq!(verdict.unwrap().request.caller, "up=alice", "{name}");
                "alice"
            };
            let signer = signer(who);
            if request.agent == "discovery" {
                assert_eq!(request.payload, "ping");
                request.payload = "cGluZw==".into();
            }
            let written = encode_request(&request, &signer, &headers).unwrap();
            assert_eq!(written, payload, "{name}");
        }
    }

    #[test]
    fn replies_of_the_original_are_read_and_written_again_byte_for_byte() {
        for (name, payload) in captures(".reply.json") {
            let Envelope { headers, body, .. } =
                decode_reply(&payload, &Limits::default()).unwrap();
            if body.sender != "web1.example.net" {
                continue;
            }
            let (node, _) =
                Credential::new::<ServerClaims>(&text("org/web1.jwt"), &text("org/web1.seed"))
                    .unwrap();
            let written = encode_signed_reply(&body, &headers, &node).unwrap();
            assert_eq!(written, payload, "{name}");
            let unsigned = encode_reply(&body, Protocol::V2, &headers).unwrap();
            assert!(unsigned.len() < payload.len());
            assert_eq!(
                decode_reply(&unsigned, &Limits::default()).unwrap().body,
                body
            );
        }
    }

    #[test]
    fn what_a_token_does_not_cover_is_refused() {
        let limits = Limits::default();
        let (_, payload) = {
            let all = captures(".request.json");
            let found = all
                .into_iter()
                .find(|(name, _)| name == "rpc-ping.request.json");
            found.unwrap()
        };
        let code = |payload: &Bytes, now: i64| {
            let verdict = verifier(now).verify(payload, &limits);
            verdict.err().map(|rejected| rejected.code())
        };
        assert_eq!(code(&payload, CAPTURED), None);
        assert_eq!(code(&payload, 2_110_754_917), Some("caller.token"));
        let body = decode_request(&payload, &limits).unwrap().body;
        let request = body.request().unwrap();
        let changed = |caller: &str, who: &str| {
            let request = crate::wire::Request {
                caller: caller.to_owned(),
                ..request.clone()
            };
            encode_request(&request, &signer(who), &Headers::default()).unwrap()
        };
        assert_eq!(
            code(&changed("up=root", "alice"), CAPTURED),
            Some("caller.name")
        );
        assert_eq!(
            code(&changed("up=bob", "bob"), CAPTURED),
            Some("caller.not_allowed")
        );
        // Alice's token and signature around another text.
        let secure = |change: fn(&mut crate::wire::SignedRequest)| {
            let mut signed = body.clone();
            change(&mut signed);
            let members = Members(vec![organization()]);
            let checked = members.check(&signed, "up=alice", UnixTime::from_secs(CAPTURED));
            checked.err().map(|rejected| rejected.code())
        };
        assert_eq!(secure(|_| {}), None);
        assert_eq!(secure(|s| s.message.push(' ')), Some("caller.signature"));
        assert_eq!(
            secure(|s| s.signature = "insecure".to_owned()),
            Some("caller.signature")
        );
        assert_eq!(
            secure(|s| s.pubcert = text("org/web1.jwt")),
            Some("caller.token")
        );
        assert_eq!(
            secure(|s| s.delegator = text("org/bob.jwt")),
            Some("caller.not_allowed")
        );
        assert_eq!(
            secure(|s| s.delegator = text("org/signer.jwt")),
            Some("caller.signature")
        );
        let certificates = Verifier::insecure().verify(&payload, &limits);
        assert!(certificates.is_ok(), "whoever verifies nothing speaks both");
    }
}
