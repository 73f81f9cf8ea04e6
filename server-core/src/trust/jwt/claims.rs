//! What a provisioning token says.

use std::fmt;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// The claims of a provisioning token, in the original's order.
#[derive(Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct ProvisioningClaims {
    /// The shared token which a node wants to see before it obeys a provisioner.
    pub cht: String,
    /// Whether requests are signed.
    #[serde(default)]
    pub chs: bool,
    /// URLs of brokers, separated by commas.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub chu: String,
    /// The domain whose SRV records name brokers.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub chsrv: String,
    /// Whether a node without another instruction enters provisioning mode.
    #[serde(default)]
    pub chpd: bool,
    /// The file with registration data.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub chrd: String,
    /// The file with facts.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub chf: String,
    /// User name for the broker.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub chusr: String,
    /// Password for the broker.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub chpwd: String,
    /// Anything, for the provisioner.
    #[serde(default)]
    pub extensions: Option<Map<String, Value>>,
    /// The organization.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub ou: String,
    /// Whether protocol 2 is used.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub v2: bool,
    /// Whether the node may be updated while provisioning.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub update: bool,
    /// What the token is for: [`PURPOSE`](super::PURPOSE).
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub purpose: String,
    /// Who issued it.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub iss: String,
    /// Whom it is about: [`PURPOSE`](super::PURPOSE).
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub sub: String,
    /// For whom it is; the original has none.
    #[serde(default, skip_serializing_if = "Audience::is_empty")]
    pub aud: Audience,
    /// Second since the epoch from which on it is not valid.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exp: Option<i64>,
    /// Second since the epoch before which it is not valid.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub nbf: Option<i64>,
    /// Second since the epoch when it was issued.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub iat: Option<i64>,
    /// Its unique name.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub jti: String,
}

/// The audience of a token: none, one, or several.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Audience {
    /// A single one.
    One(String),
    /// Any number.
    Many(Vec<String>),
}

impl Default for Audience {
    fn default() -> Self {
        Self::Many(Vec::new())
    }
}

impl Audience {
    pub(super) fn is_empty(&self) -> bool {
        matches!(self, Self::Many(all) if all.is_empty())
    }

    pub(super) fn contains(&self, wanted: &str) -> bool {
        match self {
            Self::One(one) => one == wanted,
            Self::Many(all) => all.iter().any(|one| one == wanted),
        }
    }
}

/// Shows neither the shared token nor the password.
impl fmt::Debug for ProvisioningClaims {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ProvisioningClaims")
            .field("chs", &self.chs)
            .field("chu", &self.chu)
            .field("chsrv", &self.chsrv)
            .field("chpd", &self.chpd)
            .field("chusr", &self.chusr)
            .field("iss", &self.iss)
            .field("exp", &self.exp)
            .field("jti", &self.jti)
            .finish_non_exhaustive()
    }
}

impl ProvisioningClaims {
    /// The broker URLs as a list.
    #[must_use]
    pub fn servers(&self) -> Vec<String> {
        let urls = self
            .chu
            .split(',')
            .map(str::trim)
            .filter(|url| !url.is_empty());
        urls.map(str::to_owned).collect()
    }
}
