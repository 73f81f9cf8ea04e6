//! `[issuer]`: seed and token of whoever issues server tokens.

use jiff::Timestamp;
use server_core::trust::jwt::{self, Organization};
use server_core::words::UnixTime;

use super::Loader;
use crate::config;
use crate::issuer::TokenIssuer;

impl Loader {
    /// The issuer, proven to be the organization's or one it trusts now.
    pub(super) fn issuer(&mut self, rules: &config::Issuer) -> Option<TokenIssuer> {
        let seed = self.read_secret(&rules.seed);
        let name = rules.organization.value.clone();
        let issuer = match &rules.chain {
            None => {
                let made = jwt::Issuer::of_organization(&name, seed?.trim());
                let says = format!("({}) is no issuer's", rules.seed.value.display());
                self.keep(&rules.seed, &says, made)?
            }
            Some(chain) => {
                let token = self.read(&chain.token);
                let organization = Organization {
                    name,
                    key: chain.organization_key,
                };
                let now = UnixTime::from_secs(Timestamp::now().as_second());
                let made = jwt::Issuer::of_chain(organization, seed?.trim(), &token?, now);
                let (about, file) = match made {
                    Err(jwt::IssuerError::Seed(_)) => (&rules.seed, &rules.seed.value),
                    _ => (&chain.token, &chain.token.value),
                };
                let says = format!("({}) is no chain issuer's", file.display());
                self.keep(about, &says, made)?
            }
        };
        Some(TokenIssuer::new(issuer, rules.clone()))
    }
}
