//! Server tokens: what a node shows to brokers where an organization vouches for it, instead of a
//! certificate.
//!
//! As with certificates nothing of a token comes from the node but its public key, a hook may ask for
//! less than the configuration allows and never for more, and a token is judged before a node sees
//! it. What is to be signed is fixed first ([`TokenIssuer::prepare`]) and gives the same token each
//! time it is signed.

use std::time::Duration;

use jiff::Timestamp;
use rand::RngCore;
use serde::Deserialize;
use serde_json::{Map, Value};
use server_core::trust::jwt::{
    self, JwtError, Organization, ServerClaims, ServerPermissions, StandardClaims, verify_member,
};
use server_core::words::UnixTime;

use crate::code::{Code, Refusal};
use crate::config;
use crate::judge::identity::quoted;

/// Seconds a token is valid before it was issued: the clocks of brokers and nodes may be late (rule 47).
const BACKDATED: i64 = 300;
/// Longest token, bytes: brokers read 4,096 of a CONNECT, which may hold it twice.
const LONGEST: usize = 1_900;

/// Issues and judges server tokens.
#[derive(Debug)]
pub struct TokenIssuer {
    issuer: jwt::Issuer,
    rules: config::Issuer,
}

/// A node and its public key, 64 hexadecimal digits.
#[derive(Clone, Copy, Debug)]
pub struct Holder<'a> {
    /// The node.
    pub identity: &'a str,
    /// Its key, of which it has proven that it has the private half.
    pub public_key: &'a str,
}

/// A token that was judged; only [`TokenIssuer::issue`] makes one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServerToken {
    text: String,
    id: String,
    not_after: Timestamp,
}

impl ServerToken {
    /// The token.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Its unique name (`jti`).
    #[must_use]
    pub fn id(&self) -> &str {
        &self.id
    }

    /// When it ends, by itself or with its issuer.
    #[must_use]
    pub const fn not_after(&self) -> Timestamp {
        self.not_after
    }
}

/// What a hook wants in a token (`server_claims`); what it does not name is as configured.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Wanted {
    identity: String,
    /// `null` too where the original's library leaves them out.
    collectives: Option<Vec<String>>,
    permissions: Option<ServerPermissions>,
    ou: String,
    pub_subjects: Option<Vec<String>>,
    public_key: String,
    exp: Option<i64>,
}

impl TokenIssuer {
    /// Issues what the rules allow.
    #[must_use]
    pub const fn new(issuer: jwt::Issuer, rules: config::Issuer) -> Self {
        Self { issuer, rules }
    }

    /// For whom it issues.
    #[must_use]
    pub const fn organization(&self) -> &Organization {
        self.issuer.organization()
    }

    /// When a chain issuer's own token ends.
    #[must_use]
    pub fn expires(&self) -> Option<Timestamp> {
        let end = self.issuer.expires()?;
        Timestamp::from_second(end).ok()
    }

    /// Whether it can issue at all at this time.
    ///
    /// # Errors
    /// `issuer.expired`.
    pub fn self_test(&self, now: Timestamp) -> Result<(), Refusal> {
        match self.expires() {
            Some(end) if end <= now => {
                let says = format!(
                    "the issuer's own token expired at {end}; [issuer] token needs a new one"
                );
                Err(Refusal::new(Code::IssuerExpired, says))
            }
            _ => Ok(()),
        }
    }

    /// Fixes everything about a node's token.
    ///
    /// # Errors
    /// `issuer.claims` when the hook wants more than is allowed, `hook.protocol` when its claims are none,
    /// `issuer.expired`.
    pub fn prepare(
        &self,
        holder: Holder<'_>,
        wanted: Option<&Map<String, Value>>,
        longest: Option<Duration>,
        now: Timestamp,
        rng: &mut dyn RngCore,
    ) -> Result<ServerClaims, Refusal> {
        let mut unique = [0; 16];
        rng.fill_bytes(&mut unique);
        self.fix(holder, wanted, longest, now, |validity| {
            let (key, at) = (holder.public_key, time(now));
            self.issuer
                .standard::<ServerClaims>(key, at, validity, unique)
        })
    }

    /// What [`TokenIssuer::prepare`] would fix and [`TokenIssuer::issue`] would sign, with nothing
    /// signed: its name and its place in a chain are blank.
    ///
    /// # Errors
    /// Those of both.
    pub fn rehearse(
        &self,
        holder: Holder<'_>,
        wanted: Option<&Map<String, Value>>,
        longest: Option<Duration>,
        now: Timestamp,
    ) -> Result<ServerClaims, Refusal> {
        let claims = self.fix(holder, wanted, longest, now, |validity| {
            let (key, at) = (holder.public_key, time(now));
            self.issuer
                .unsigned::<ServerClaims>(key, at, validity, [0; 16])
        })?;
        judge_length(length(&claims))?;
        Ok(claims)
    }

    fn fix(
        &self,
        holder: Holder<'_>,
        wanted: Option<&Map<String, Value>>,
        longest: Option<Duration>,
        now: Timestamp,
        standard: impl FnOnce(Duration) -> Result<StandardClaims, JwtError>,
    ) -> Result<ServerClaims, Refusal> {
        self.self_test(now)?;
        let wanted = match wanted {
            Some(claims) => {
                serde_json::from_value(Value::Object(claims.clone())).map_err(|error| {
                    let says = format!("the hook's server_claims cannot be read: {error}");
                    Refusal::new(Code::HookProtocol, says)
                })?
            }
            None => Wanted::default(),
        };
        self.judge_names(holder, &wanted)?;
        let validity = self.validity(&wanted, longest, now)?;
        let mut standard = standard(validity).map_err(|error| unusable(&error))?;
        standard.nbf = standard.nbf.map(|from| from - BACKDATED);
        Ok(ServerClaims {
            identity: holder.identity.to_owned(),
            collectives: self.collectives(wanted.collectives)?,
            permissions: self.permissions(wanted.permissions)?,
            ou: self.organization().name.clone(),
            pub_subjects: within("pub_subjects", wanted.pub_subjects, &self.rules.publish)?,
            standard,
        })
    }

    /// Signs what was prepared, and judges the token as those will who are shown it. The same claims
    /// give the same token.
    ///
    /// # Errors
    /// `issuer.expired`; `issuer.token` when it is not good for this node.
    pub fn issue(
        &self,
        holder: Holder<'_>,
        claims: &ServerClaims,
        now: Timestamp,
    ) -> Result<ServerToken, Refusal> {
        let text = self.issuer.sign(claims).map_err(|error| unusable(&error))?;
        judge_length(text.len())?;
        let known = std::slice::from_ref(self.organization());
        // What it was given a moment ago by another member's clock is good all the same.
        let read: ServerClaims =
            verify_member(&text, known, 60, time(now)).map_err(|error| unusable(&error))?;
        let wrong = |says: String| Err(Refusal::new(Code::IssuerToken, says));
        if read.identity != holder.identity {
            return wrong(format!("the token is for {}", quoted(&read.identity)));
        }
        if read.standard.public_key != holder.public_key {
            return wrong(format!(
                "the token is for the public key {}, and the node's is {}",
                read.standard.public_key, holder.public_key
            ));
        }
        let not_after = read.standard.expires().unwrap_or_default();
        match Timestamp::from_second(not_after) {
            Ok(not_after) => Ok(ServerToken {
                text,
                id: read.standard.jti,
                not_after,
            }),
            Err(error) => wrong(format!("the token ends outside of time: {error}")),
        }
    }

    /// Whether claims that were fixed before are such as `now` would be: by this issuer, and of no more
    /// than is allowed and wanted now.
    #[must_use]
    pub fn stands_by(before: &ServerClaims, now: &ServerClaims) -> bool {
        let within = |some: &[String], all: &[String]| some.iter().all(|one| all.contains(one));
        before.standard.iss == now.standard.iss
            && before.ou == now.ou
            && before.permissions == now.permissions
            && within(&before.collectives, &now.collectives)
            && within(&before.pub_subjects, &now.pub_subjects)
    }

    /// A node in no collective would never be seen.
    fn collectives(&self, wanted: Option<Vec<String>>) -> Result<Vec<String>, Refusal> {
        if wanted.as_ref().is_some_and(Vec::is_empty) {
            return Err(too_much("no collective at all".to_owned()));
        }
        within("collectives", wanted, &self.rules.collectives)
    }

    fn judge_names(&self, holder: Holder<'_>, wanted: &Wanted) -> Result<(), Refusal> {
        let fixed = [
            ("identity", &wanted.identity, holder.identity),
            ("ou", &wanted.ou, self.organization().name.as_str()),
            ("public_key", &wanted.public_key, holder.public_key),
        ];
        for (claim, value, own) in fixed {
            if !value.is_empty() && value != own {
                return Err(too_much(format!(
                    "{claim} = {}, and it is {}",
                    quoted(value),
                    quoted(own)
                )));
            }
        }
        Ok(())
    }

    fn validity(
        &self,
        wanted: &Wanted,
        longest: Option<Duration>,
        now: Timestamp,
    ) -> Result<Duration, Refusal> {
        let allowed = longest.map_or(self.rules.validity, |most| most.min(self.rules.validity));
        let Some(end) = wanted.exp else {
            return Ok(allowed);
        };
        match u64::try_from(end.saturating_sub(now.as_second())) {
            Ok(left) if left > 0 => Ok(allowed.min(Duration::from_secs(left))),
            _ => Err(too_much(format!("exp = {end}, which is over"))),
        }
    }

    fn permissions(&self, wanted: Option<ServerPermissions>) -> Result<ServerPermissions, Refusal> {
        let allowed = self.rules.permissions;
        let Some(wanted) = wanted else {
            return Ok(allowed);
        };
        let flags = [
            ("submission", wanted.submission, allowed.submission),
            ("streams", wanted.streams, allowed.streams),
            ("governor", wanted.governor, allowed.governor),
            ("service_host", wanted.service_host, allowed.service_host),
        ];
        match flags
            .iter()
            .find(|(_, wanted, allowed)| *wanted && !allowed)
        {
            Some((name, ..)) => Err(too_much(format!("the permission {name}"))),
            None => Ok(wanted),
        }
    }
}

/// What was asked for if that is allowed, and all that is where nothing was said.
fn within(
    claim: &str,
    wanted: Option<Vec<String>>,
    allowed: &[String],
) -> Result<Vec<String>, Refusal> {
    let Some(wanted) = wanted else {
        return Ok(allowed.to_vec());
    };
    match wanted.iter().find(|one| !allowed.contains(one)) {
        Some(other) => Err(too_much(format!("{} in {claim}", quoted(other)))),
        None => Ok(wanted),
    }
}

/// Length of the token that would be made of claims: header, claims and an Ed25519 signature in
/// base64, with dots between (RFC 7515 §3.1, RFC 8037 §3.1).
fn length(claims: &ServerClaims) -> usize {
    const HEADER: usize = r#"{"typ":"JWT","alg":"EdDSA"}"#.len();
    let claims = serde_json::to_vec(claims).map_or(0, |json| json.len());
    let encoded = |bytes| base64::encoded_len(bytes, false).unwrap_or(usize::MAX);
    [HEADER, claims, 64]
        .map(encoded)
        .iter()
        .fold(2, |sum: usize, part| sum.saturating_add(*part))
}

fn judge_length(length: usize) -> Result<(), Refusal> {
    if length <= LONGEST {
        return Ok(());
    }
    let says = format!(
        "the token would be {length} bytes, and no broker reads one of more than {LONGEST}: give it \
         fewer collectives or subjects"
    );
    Err(Refusal::new(Code::IssuerToken, says))
}

fn too_much(what: String) -> Refusal {
    let says = format!("the hook wants {what} in the server token, which [issuer] does not allow");
    Refusal::new(Code::IssuerClaims, says)
}

fn unusable(error: &JwtError) -> Refusal {
    let code = match error {
        JwtError::Expired(_) => Code::IssuerExpired,
        _ => Code::IssuerToken,
    };
    Refusal::new(code, error.to_string())
}

fn time(at: Timestamp) -> UnixTime {
    UnixTime::from_secs(at.as_second())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;

    #[test]
    fn the_length_of_a_token_is_known_before_it_is_signed() {
        let issuer = jwt::Issuer::of_organization("acme", &"5a".repeat(32)).unwrap();
        let now = UnixTime::from_secs(1_800_000_000);
        let day = Duration::from_secs(86_400);
        for collectives in 1..4 {
            let claims = ServerClaims {
                identity: "web1.example.net".to_owned(),
                collectives: vec!["choria".to_owned(); collectives],
                standard: issuer
                    .unsigned::<ServerClaims>(&"11".repeat(32), now, day, [0; 16])
                    .unwrap(),
                ..ServerClaims::default()
            };
            assert_eq!(length(&claims), issuer.sign(&claims).unwrap().len());
        }
    }
}
