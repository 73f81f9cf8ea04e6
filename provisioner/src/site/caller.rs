//! Who the service is: the holder of a certificate, or of a client token of an organization.

use std::sync::Arc;

use jiff::Timestamp;
use server_core::trust::jwt::{ClientClaims, Credential, Organization, verify_member};
use server_core::trust::{
    CertificateSigner, InsecureSigner, RequestSigner, SignError, Signed, TokenSigner,
};
use server_core::wire::Protocol;
use server_core::words::{CallerId, Identity, UnixTime};

use super::{Loader, Site};
use crate::config::{Caller, Config, Located};

/// Signs every request of the service.
#[derive(Debug)]
pub enum Signer {
    /// With the key of a certificate, in protocol 1.
    Certificate(CertificateSigner),
    /// With the key of a client token, in protocol 2.
    Token(TokenSigner),
}

impl Signer {
    fn of(&self) -> &dyn RequestSigner {
        match self {
            Self::Certificate(signer) => signer,
            Self::Token(signer) => signer,
        }
    }

    /// What proves the same to brokers, where that is a token.
    #[must_use]
    pub fn credential(&self) -> Option<&Arc<Credential>> {
        match self {
            Self::Certificate(_) => None,
            Self::Token(signer) => Some(signer.credential()),
        }
    }
}

impl Site {
    /// Who signs what nodes in provisioning mode are asked. They know no authority yet and verify no
    /// request (the original neither), so on protocol 1, where signing was a third of what a node cost
    /// this service, there is no signature unless the configuration says `signed`.
    pub(crate) fn provisioning_signer(&self) -> Arc<dyn RequestSigner> {
        match &*self.signer {
            Signer::Certificate(signer) if !self.config.provisioning.signed => {
                Arc::new(InsecureSigner {
                    caller: signer.caller().to_owned(),
                })
            }
            _ => Arc::clone(&self.signer) as _,
        }
    }
}

impl RequestSigner for Signer {
    fn caller(&self) -> &str {
        self.of().caller()
    }

    fn protocol(&self) -> Protocol {
        self.of().protocol()
    }

    fn sign(&self, message: &[u8]) -> Result<Signed, SignError> {
        self.of().sign(message)
    }
}

impl Loader {
    pub(super) fn signer(&mut self, config: &Config) -> Option<Signer> {
        let says = "cannot sign requests";
        match &config.production.caller {
            Caller::Certificate { certificate, key } => {
                let texts = (self.read(certificate), self.read(key));
                let signer = CertificateSigner::from_pem(&texts.0?, &texts.1?);
                let signer = self.keep(certificate, says, signer)?;
                Some(Signer::Certificate(signer))
            }
            Caller::Token { token, seed } => {
                let texts = (self.read(token), self.read_secret(seed));
                let signer = TokenSigner::new(&texts.0?, &texts.1?);
                let says = format!("({}) {says}", token.value.display());
                Some(Signer::Token(self.keep(token, &says, signer)?))
            }
        }
    }

    /// Whether nodes will speak the protocol of who signs: what they are told decides that.
    pub(super) fn understood(&mut self, config: &Config, signer: &Signer, tokens: bool) {
        const PROVIDER: &str = "plugin.security.provider";
        let told = config.node.settings.iter().find(|(key, _)| key == PROVIDER);
        let told = told.map(|(_, value)| value.value.as_str());
        let provider = told.unwrap_or(if tokens { "choria" } else { "file" });
        let says = match (signer, provider) {
            (Signer::Certificate(_), "choria") => {
                "is a certificate's, and enrolled nodes would answer tokens only (protocol 2): name \
                 `token` and `seed` in [network.production], or set \
                 \"plugin.security.provider\" = \"file\" in [node.settings]"
            }
            (Signer::Token(_), "file") => {
                "is a token's, and enrolled nodes would answer certificates only (protocol 1): name \
                 `certificate` and `key` in [network.production], or set \
                 \"plugin.security.provider\" = \"choria\" in [node.settings]"
            }
            _ => return,
        };
        let about = match &config.production.caller {
            Caller::Certificate { key, .. } => key,
            Caller::Token { seed, .. } => seed,
        };
        self.mistakes.push(about.mistake(says.to_owned()));
    }

    /// Whether nodes of the organization would heed who signs, found out before a node is asked.
    pub(super) fn heeded(&mut self, config: &Config, signer: &Signer, by: &Organization) {
        let (Caller::Token { token, .. }, Signer::Token(signer)) =
            (&config.production.caller, signer)
        else {
            return;
        };
        let now = UnixTime::from_secs(Timestamp::now().as_second());
        let known = std::slice::from_ref(by);
        let claims = verify_member::<ClientClaims>(signer.credential().token(), known, 0, now);
        let says = format!("({}) is of no use", token.value.display());
        let Some(claims) = self.keep(token, &says, claims) else {
            return;
        };
        let allowed = claims.permissions;
        if !allowed.fleet_management || allowed.signed_fleet_management {
            let says = format!(
                "({}) has to have the permission fleet_management, and not signed_fleet_management: \
                 nodes answer nobody else",
                token.value.display()
            );
            self.mistakes.push(token.mistake(says));
        }
    }

    pub(super) fn identity(&mut self, config: &Config, signer: &Signer) -> Option<Identity> {
        if let Some(name) = &config.identity {
            return self.keep(name, "is no identity", Identity::parse(&name.value));
        }
        let caller = CallerId::of_token(signer.caller());
        let name = caller.as_ref().map_or("", CallerId::name);
        let (about, says): (&Located<_>, _) = match &config.production.caller {
            Caller::Certificate { certificate, .. } => (
                certificate,
                "has a common name that is no identity; set `identity`",
            ),
            Caller::Token { token, .. } => {
                (token, "has a caller id that is no identity; set `identity`")
            }
        };
        self.keep(about, says, Identity::parse(name))
    }
}
