//! The judgement of a node's provisioning token.

use jiff::Timestamp;
use server_core::trust::jwt::{self, JwtError, NamedKey, ProvisioningClaims, Rules};
use server_core::words::UnixTime;

use super::identity::quoted;
use super::request::sha256;
use crate::code::{Code, Refusal};
use crate::ledger::TokenUse;

pub mod scope;

pub use scope::Scope;

/// A token that was accepted: who signed it and what it claims. Only [`judge`] makes one.
#[derive(Clone, Debug, PartialEq)]
pub struct JudgedToken {
    key: String,
    claims: ProvisioningClaims,
    scope: Scope,
}

impl JudgedToken {
    /// The name of the configured key that signed the token.
    #[must_use]
    pub fn key(&self) -> &str {
        &self.key
    }

    /// What the token claims. It holds the fleet's shared token: never log it.
    #[must_use]
    pub const fn claims(&self) -> &ProvisioningClaims {
        &self.claims
    }

    /// What it may be used for.
    #[must_use]
    pub const fn scope(&self) -> &Scope {
        &self.scope
    }

    /// The end of its time.
    #[must_use]
    pub fn until(&self) -> Option<Timestamp> {
        let second = self.claims.exp?;
        Timestamp::from_second(second).ok()
    }

    /// The use of it that the ledger has to count; none where it is for any number of nodes.
    #[must_use]
    pub fn counted(&self) -> Option<TokenUse> {
        let uses = self.scope.uses?;
        let what = [self.claims.iss.as_str(), &self.claims.jti].join("\0");
        let id = hex::encode(sha256(what.as_bytes()));
        Some(TokenUse { id, uses })
    }
}

/// Judges the token a node showed: size, algorithm, signature, issuer, purpose, time, and whether
/// its limits can be understood. Whether they are kept is judged where the node is known.
///
/// # Errors
/// A `jwt.*` code, or `token.expired` for one with limits.
pub fn judge(
    token: &str,
    keys: &[NamedKey],
    rules: &Rules,
    now: Timestamp,
) -> Result<JudgedToken, Refusal> {
    let now = UnixTime::from_secs(now.as_second());
    let verified = jwt::verify(token, keys, rules, now);
    let (key, claims) = verified.map_err(|error| refusal(&error, token))?;
    let scope = Scope::of(&claims).map_err(|what| told(Code::JwtClaims, what))?;
    Ok(JudgedToken {
        key: key.to_owned(),
        claims,
        scope,
    })
}

/// Whether a token whose signature is good claims limits.
fn is_limited(token: &str) -> bool {
    jwt::decode_unverified(token)
        .is_ok_and(|claims| Scope::of(&claims).map_or(true, |scope| scope.is_limited()))
}

fn refusal(error: &JwtError, token: &str) -> Refusal {
    let (code, what) = match error {
        JwtError::Form(_) => (Code::JwtForm, error.to_string()),
        JwtError::Algorithm(algorithm) => (
            Code::JwtAlg,
            format!(
                "it says it is signed with {}, which fits none of the configured keys",
                quoted(algorithm)
            ),
        ),
        JwtError::Signature => (
            Code::JwtSignature,
            "it is signed by none of the configured keys; a token from another site, or a key \
             missing in [token] keys"
                .to_owned(),
        ),
        JwtError::Issuer { found, .. } => (
            Code::JwtIssuer,
            format!(
                "its issuer is {}, which is not in the configured list",
                quoted(found)
            ),
        ),
        JwtError::Expired(what) if is_limited(token) => (Code::TokenExpired, what.clone()),
        JwtError::Expired(what) => (Code::JwtExpired, what.clone()),
        JwtError::Claims(what) => (Code::JwtClaims, what.clone()),
        _ => (Code::JwtClaims, error.to_string()),
    };
    told(code, what)
}

fn told(code: Code, what: String) -> Refusal {
    let what: String = what
        .chars()
        .map(|c| if c.is_control() { ' ' } else { c })
        .collect();
    Refusal::new(
        code,
        format!("the provisioning token is refused: {what} (rule 25)"),
    )
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use proptest::prelude::*;
    use server_core::trust::jwt::{CHORIA_ISSUER, JwtKey, PURPOSE, SigningKey, issue};
    use server_core::trust::{KeyAlgorithm, KeyPair};

    use super::*;

    const NOW: i64 = 1_800_000_000;

    fn signer(algorithm: KeyAlgorithm) -> SigningKey {
        SigningKey::new(&KeyPair::generate(algorithm).unwrap()).unwrap()
    }

    fn named(signer: &SigningKey) -> NamedKey {
        NamedKey {
            name: "factory".to_owned(),
            key: JwtKey::parse(signer.public_pem()).unwrap(),
        }
    }

    fn claims() -> ProvisioningClaims {
        ProvisioningClaims {
            cht: "s3cret".to_owned(),
            purpose: PURPOSE.to_owned(),
            sub: PURPOSE.to_owned(),
            iss: CHORIA_ISSUER.to_owned(),
            jti: "one".to_owned(),
            exp: Some(NOW + 3_600),
            nbf: Some(NOW - 10),
            ..ProvisioningClaims::default()
        }
    }

    fn code(claims: &ProvisioningClaims) -> Option<Code> {
        let signer = signer(KeyAlgorithm::Ed25519);
        let token = issue(claims, &signer).unwrap();
        let now = Timestamp::from_second(NOW).unwrap();
        judge(&token, &[named(&signer)], &Rules::default(), now)
            .err()
            .map(|refusal| refusal.code)
    }

    #[test]
    fn tokens_of_both_kinds_of_key_pass_and_name_their_key() {
        for algorithm in [KeyAlgorithm::Ed25519, KeyAlgorithm::Rsa2048] {
            let signer = signer(algorithm);
            let token = issue(&claims(), &signer).unwrap();
            let now = Timestamp::from_second(NOW).unwrap();
            let judged = judge(&token, &[named(&signer)], &Rules::default(), now).unwrap();
            assert_eq!(judged.key(), "factory");
            assert_eq!(judged.claims().cht, "s3cret");
        }
    }

    #[test]
    fn each_rule_has_its_code() {
        assert_eq!(code(&claims()), None);
        let with = |change: fn(&mut ProvisioningClaims)| {
            let mut claims = claims();
            change(&mut claims);
            code(&claims)
        };
        assert_eq!(with(|c| c.iss = "me".into()), Some(Code::JwtIssuer));
        assert_eq!(with(|c| c.exp = Some(NOW - 61)), Some(Code::JwtExpired));
        assert_eq!(with(|c| c.exp = Some(NOW - 59)), None);
        assert_eq!(with(|c| c.nbf = Some(NOW + 61)), Some(Code::JwtExpired));
        assert_eq!(with(|c| c.exp = None), Some(Code::JwtClaims));
        assert_eq!(with(|c| c.jti = String::new()), Some(Code::JwtClaims));
        assert_eq!(
            with(|c| c.purpose = "choria_server".into()),
            Some(Code::JwtClaims)
        );
    }

    #[test]
    fn limits_are_read_and_a_limited_token_that_is_over_says_so() {
        let limited = |uses: serde_json::Value, exp| {
            let mut claims = claims();
            let extensions = serde_json::json!({ "muster": { "uses": uses } });
            (claims.extensions, claims.exp) = (extensions.as_object().cloned(), Some(exp));
            claims
        };
        let signer = signer(KeyAlgorithm::Ed25519);
        let token = issue(&limited(2.into(), NOW + 60), &signer).unwrap();
        let now = Timestamp::from_second(NOW).unwrap();
        let judged = judge(&token, &[named(&signer)], &Rules::default(), now).unwrap();
        let counted = judged.counted().unwrap();
        assert_eq!((counted.uses, counted.id.len()), (2, 64));
        assert_eq!(judged.scope().says(), "for 2 nodes");
        assert_eq!(code(&limited(1.into(), NOW - 61)), Some(Code::TokenExpired));
        assert_eq!(code(&limited("x".into(), NOW + 61)), Some(Code::JwtClaims));
    }

    #[test]
    fn a_stranger_s_token_and_a_wrong_algorithm_are_told_apart() {
        let (ours, other) = (signer(KeyAlgorithm::Ed25519), signer(KeyAlgorithm::Ed25519));
        let rsa = signer(KeyAlgorithm::Rsa2048);
        let now = Timestamp::from_second(NOW).unwrap();
        let judge = |token: &str| {
            judge(token, &[named(&ours)], &Rules::default(), now)
                .unwrap_err()
                .code
        };
        assert_eq!(
            judge(&issue(&claims(), &other).unwrap()),
            Code::JwtSignature
        );
        assert_eq!(judge(&issue(&claims(), &rsa).unwrap()), Code::JwtAlg);
        // {"alg":"none"}.{}. and HS256 over the public key's text.
        assert_eq!(judge("eyJhbGciOiJub25lIn0.e30."), Code::JwtAlg);
        assert_eq!(judge("eyJhbGciOiJIUzI1NiJ9.e30.AAAA"), Code::JwtAlg);
        assert_eq!(judge("not a token"), Code::JwtForm);
        assert_eq!(judge(&"a".repeat(9_000)), Code::JwtForm);
    }

    proptest! {
        #[test]
        fn no_text_panics_or_leaks_control_characters(token in "(?s).{0,300}") {
            let now = Timestamp::from_second(NOW).unwrap();
            let refusal = judge(&token, &[], &Rules::default(), now).unwrap_err();
            prop_assert!(!refusal.message.chars().any(char::is_control));
        }
    }
}
