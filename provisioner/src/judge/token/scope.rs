//! What a token may be used for: by which nodes, where, and by how many.
//!
//! The limits are in the token itself, signed with the rest, as the object `muster` of its
//! `extensions`: a claim the original keeps for the provisioner and passes on untouched.

use std::collections::BTreeMap;

use regex::Regex;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use server_core::trust::jwt::ProvisioningClaims;

use crate::code::{Code, Refusal};
use crate::judge::identity::quoted;
use crate::placement::look;

/// The extension that holds the limits.
pub const EXTENSION: &str = "muster";
/// The most nodes a counted token is for; a token for more is one for all.
pub const MAX_USES: u32 = 1_000;
/// The most patterns and facts that are looked at.
const MAX_LIMITS: usize = 32;

/// The limits of a token; the default has none.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Scope {
    /// How many identities it enrols; 1 is a one-time token.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub uses: Option<u32>,
    /// Names it is for; `*` stands for any part of one label.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub identities: Vec<String>,
    /// Facts its node has to have, by their path.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub facts: BTreeMap<String, String>,
}

impl Scope {
    /// The limits a token claims. What is not understood is an error: a limit that is misspelt
    /// must not be none.
    ///
    /// # Errors
    /// A sentence about what is wrong.
    pub fn of(claims: &ProvisioningClaims) -> Result<Self, String> {
        let found = claims
            .extensions
            .as_ref()
            .and_then(|all| all.get(EXTENSION));
        let Some(found) = found else {
            return Ok(Self::default());
        };
        if !found.is_object() {
            return Err(format!("its extension {EXTENSION} is no object"));
        }
        let scope: Self = serde_json::from_value(found.clone())
            .map_err(|error| format!("its extension {EXTENSION} cannot be read: {error}"))?;
        scope.check()?;
        Ok(scope)
    }

    /// Whether the limits make sense.
    ///
    /// # Errors
    /// A sentence about what is wrong.
    pub fn check(&self) -> Result<(), String> {
        if let Some(uses) = self.uses
            && !(1..=MAX_USES).contains(&uses)
        {
            return Err(format!(
                "a token is for 1 to {MAX_USES} nodes, not {uses}; for more leave the number away"
            ));
        }
        if self.identities.len().max(self.facts.len()) > MAX_LIMITS {
            return Err(format!("more than {MAX_LIMITS} patterns or facts"));
        }
        self.identities
            .iter()
            .try_for_each(|one| pattern(one).map(drop))
    }

    /// Whether there is any limit.
    #[must_use]
    pub fn is_limited(&self) -> bool {
        *self != Self::default()
    }

    /// Whether the token is for this node. Facts are what the node says of itself: they keep a
    /// token from being used elsewhere by mistake, not by somebody who lies.
    ///
    /// # Errors
    /// `token.scope`.
    pub fn admits(&self, identity: &str, inventory: &Value) -> Result<(), Refusal> {
        let refused = |says: String| {
            let says = format!("the provisioning token is refused: {says} (rule 24)");
            Err(Refusal::new(Code::TokenScope, says))
        };
        let named = |one: &String| pattern(one).is_ok_and(|name| name.is_match(identity));
        if !self.identities.is_empty() && !self.identities.iter().any(named) {
            return refused(format!("it is for {}", self.identities.join(", ")));
        }
        let facts = inventory.get("facts").unwrap_or(&Value::Null);
        for (path, wanted) in &self.facts {
            match look(facts, path) {
                Some(found) if found == *wanted => {}
                Some(found) => {
                    let found = quoted(&found);
                    return refused(format!(
                        "it is for nodes whose fact {path} is {wanted:?}; this one's is {found}"
                    ));
                }
                None => {
                    return refused(format!(
                        "it is for nodes whose fact {path} is {wanted:?}; this one has no such fact"
                    ));
                }
            }
        }
        Ok(())
    }

    /// The limits in a few words; empty where there are none.
    #[must_use]
    pub fn says(&self) -> String {
        let uses = match self.uses {
            None => None,
            Some(1) => Some("for one node".to_owned()),
            Some(uses) => Some(format!("for {uses} nodes")),
        };
        let names = (!self.identities.is_empty())
            .then(|| format!("for the name {}", self.identities.join(" or ")));
        let facts = self
            .facts
            .iter()
            .map(|(path, value)| format!("for {path}={value}"));
        let all: Vec<_> = uses.into_iter().chain(names).chain(facts).collect();
        all.join(", ")
    }
}

/// A pattern of names. A `*` never crosses a dot, so that `web-*.example.net` is not for
/// `web-1.attacker.example.net`.
fn pattern(text: &str) -> Result<Regex, String> {
    let plain =
        |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b".-*_".contains(&byte);
    if text.is_empty() || text.len() > 253 || !text.bytes().all(plain) {
        return Err(format!(
            "{text:?} is no pattern of names; write it like web-*.example.net, in lower case"
        ));
    }
    let inner = regex::escape(text).replace(r"\*", "[^.]*");
    Regex::new(&format!("^{inner}$")).map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn named(names: &[&str]) -> Scope {
        Scope {
            identities: names.iter().map(|&name| name.to_owned()).collect(),
            ..Scope::default()
        }
    }

    #[test]
    fn a_name_outside_the_pattern_is_out_of_scope() {
        let scope = named(&["web-*.example.net", "db1.example.net"]);
        let none = json!({});
        for fits in ["web-1.example.net", "web-.example.net", "db1.example.net"] {
            assert_eq!(scope.admits(fits, &none), Ok(()), "{fits}");
        }
        for other in [
            "web-1.evil.example.net",
            "xweb-1.example.net",
            "web-1.example.net.evil",
            "web-1xexample.net",
            "db2.example.net",
        ] {
            let refusal = scope.admits(other, &none).unwrap_err();
            assert_eq!(refusal.code, Code::TokenScope, "{other}");
        }
    }

    #[test]
    fn every_fact_has_to_be_as_the_token_says() {
        let scope = Scope {
            facts: BTreeMap::from([("place.site".to_owned(), "ams".to_owned())]),
            ..Scope::default()
        };
        let with = |facts: Value| {
            scope
                .admits("n1", &json!({ "facts": facts }))
                .map_err(|r| r.code)
        };
        assert_eq!(with(json!({ "place": { "site": "ams" } })), Ok(()));
        for wrong in [
            json!({ "place": { "site": "nyc" } }),
            json!({}),
            Value::Null,
        ] {
            assert_eq!(with(wrong), Err(Code::TokenScope));
        }
        assert!(scope.admits("n1", &Value::Null).is_err());
    }

    #[test]
    fn a_limit_that_is_not_understood_is_none_that_is_ignored() {
        let of = |limits: Value| {
            let extensions = json!({ EXTENSION: limits }).as_object().cloned();
            Scope::of(&ProvisioningClaims {
                extensions,
                ..ProvisioningClaims::default()
            })
        };
        assert_eq!(of(json!({ "uses": 1 })).unwrap().uses, Some(1));
        for wrong in [
            json!({ "use": 1 }),
            json!({ "uses": 0 }),
            json!({ "uses": 1_001 }),
            json!({ "identities": ["Web*"] }),
            json!({ "identities": [""] }),
            json!([]),
        ] {
            assert!(of(wrong.clone()).is_err(), "{wrong}");
        }
        assert!(
            !Scope::of(&ProvisioningClaims::default())
                .unwrap()
                .is_limited()
        );
    }

    proptest! {
        #[test]
        fn a_name_fits_itself_and_a_star_fits_one_label(name in "[a-z0-9-]{1,20}", tail in "[a-z0-9.-]{1,20}") {
            let whole = format!("{name}.{tail}");
            prop_assert!(named(&[&whole]).admits(&whole, &Value::Null).is_ok());
            let star = named(&[&format!("*.{tail}")]);
            prop_assert!(star.admits(&whole, &Value::Null).is_ok());
            let deeper = format!("a.{whole}");
            prop_assert!(star.admits(&deeper, &Value::Null).is_err());
        }
    }
}
