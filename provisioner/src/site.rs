//! Everything the configuration names, loaded and proven to fit together.
//!
//! Loading reads files and asks nobody; a mistake carries the place of the key
//! that names the file.

mod authority;
mod caller;
mod issuer;

use std::path::Path;
use std::sync::Arc;

use rustls::ClientConfig;
use server_core::trust::jwt::{self, Credential, JwtKey, NamedKey, Rules};
use server_core::trust::{RequestSigner as _, tls};
use server_core::words::{CallerId, Collective, Identity, subject};
use zeroize::Zeroizing;

use crate::ca::{Authority, CertificatePolicy, TrustStore};
use crate::config::{Caller, Config, Located, Mistake, Mistakes, Place, SecretSource, Tls};
use crate::hook::Hook;
use crate::issuer::TokenIssuer;
use crate::secret::Secret;
use crate::template::{self, Templates};
use authority::Signing;
pub use caller::Signer;

/// What the steps work with.
#[derive(Debug)]
pub struct Site {
    /// The configuration it was loaded from.
    pub config: Config,
    /// The sender nodes see.
    pub identity: Identity,
    /// Signs every request.
    pub signer: Arc<Signer>,
    /// The network of nodes without credentials.
    pub provisioning: Attachment,
    /// The network of enrolled nodes.
    pub production: Attachment,
    /// Keys of provisioning tokens.
    pub token_keys: Vec<NamedKey>,
    /// What a provisioning token must satisfy.
    pub token_rules: Rules,
    /// The claim `cht` nodes want to see.
    pub node_token: Secret,
    /// Who signs.
    pub hook: Arc<dyn Hook>,
    /// What nodes get.
    pub issues: Issues,
    /// What nodes are sent.
    pub templates: Templates,
}

/// What nodes get to show on the production network.
#[derive(Debug)]
pub enum Issues {
    /// Certificates of an authority.
    Certificates(Box<Certificates>),
    /// Server tokens of an organization.
    Tokens(Box<TokenIssuer>),
}

/// What certificates are held against.
#[derive(Debug)]
pub struct Certificates {
    /// The authority whose key is here, where that is who signs.
    pub authority: Option<Arc<Authority>>,
    /// What returned certificates are judged by.
    pub trust: TrustStore,
    /// The same, in numbers.
    pub policy: CertificatePolicy,
}

impl Site {
    /// The authority whose key is here, where that is who signs.
    #[must_use]
    pub fn authority(&self) -> Option<&Arc<Authority>> {
        match &self.issues {
            Issues::Certificates(certificates) => certificates.authority.as_ref(),
            Issues::Tokens(_) => None,
        }
    }
}

/// How one network is reached.
#[derive(Clone, Debug)]
pub struct Attachment {
    /// Broker URLs.
    pub servers: Vec<String>,
    /// The collective that is spoken to.
    pub collective: Collective,
    /// Transport security.
    pub tls: Option<Arc<ClientConfig>>,
    /// NATS user.
    pub user: Option<String>,
    /// NATS password.
    pub password: Option<Secret>,
    /// The service's token, where it has one.
    pub credential: Option<Arc<Credential>>,
    /// What the subjects of replies begin with, where brokers let the holder of the token read those alone.
    pub inbox: Option<String>,
}

/// Gathers mistakes while a site is loaded.
struct Loader {
    mistakes: Vec<Mistake>,
}

impl Site {
    /// Loads what the configuration names.
    ///
    /// # Errors
    /// Every mistake in one go.
    pub fn load(config: Config) -> Result<Self, Mistakes> {
        let file = config.file.clone();
        let mut loader = Loader {
            mistakes: Vec::new(),
        };
        match loader.site(config) {
            Some(site) if loader.mistakes.is_empty() => Ok(site),
            _ => {
                let mut list = loader.mistakes;
                list.sort();
                Err(Mistakes { file, list })
            }
        }
    }
}

/// The keys and rules of `[token]`, without anything else.
///
/// # Errors
/// Every key file that cannot be used.
pub fn token_keys(config: &Config) -> Result<(Vec<NamedKey>, Rules), Mistakes> {
    let mut loader = Loader {
        mistakes: Vec::new(),
    };
    let keys = loader.token_keys(config);
    if loader.mistakes.is_empty() {
        return Ok((keys, token_rules(config)));
    }
    Err(Mistakes {
        file: config.file.clone(),
        list: loader.mistakes,
    })
}

/// Where a caller may read replies ("Choria client permissions").
fn inbox(collective: &Collective, caller: &str) -> Option<String> {
    let caller = CallerId::of_token(caller).ok()?;
    let replies = subject::replies(collective, &caller);
    replies.strip_suffix(".*").map(str::to_owned)
}

fn token_rules(config: &Config) -> Rules {
    Rules {
        issuers: config.token.issuers.clone(),
        audience: config.token.audience.clone(),
        leeway_secs: config.token.leeway.as_secs(),
    }
}

impl Loader {
    /// The site, or nothing after at least one mistake. Everything is looked at
    /// before the first `?`.
    fn site(&mut self, config: Config) -> Option<Site> {
        let signer = self.signer(&config).map(Arc::new);
        let credential = signer.as_ref().and_then(|signer| signer.credential());
        let provisioning = self.provisioning(&config, credential);
        let production = self.production(&config, credential);
        let inbox = |mut network: Attachment| {
            let signer = signer
                .as_ref()
                .filter(|signer| signer.credential().is_some());
            network.inbox = signer.and_then(|signer| inbox(&network.collective, signer.caller()));
            network
        };
        let (provisioning, production) = (provisioning.map(inbox), production.map(inbox));
        let token_keys = self.token_keys(&config);
        let node_token = self.secret(&config.token.node_token).map(node_token);
        let ca = self.ca(&config);
        let defaults = match &ca {
            Some(Signing {
                issues: Issues::Tokens(issuer),
                ..
            }) => template::token_defaults(issuer.organization()),
            _ => template::certificate_defaults(),
        };
        let templates = Templates::parse(&config.node, &config.placement, &defaults);
        let templates = templates.map_err(|m| self.mistakes.extend(m)).ok();
        let signer = signer?;
        let identity = self.identity(&config, &signer);
        let Signing { hook, issues } = ca?;
        self.understood(&config, &signer, matches!(issues, Issues::Tokens(_)));
        if let Issues::Tokens(issuer) = &issues {
            self.heeded(&config, &signer, issuer.organization());
        }
        Some(Site {
            identity: identity?,
            signer,
            provisioning: provisioning?,
            production: production?,
            token_keys,
            token_rules: token_rules(&config),
            node_token: node_token?,
            hook,
            issues,
            templates: templates?,
            config,
        })
    }

    fn provisioning(
        &mut self,
        config: &Config,
        credential: Option<&Arc<Credential>>,
    ) -> Option<Attachment> {
        let from = &config.provisioning;
        let collective = self.collective(&from.collective);
        let password = match &from.password {
            Some(source) => Some(self.secret(source)?),
            None => None,
        };
        let tls = match &from.tls {
            Tls::None => None,
            Tls::Anonymous => Some(tls::anonymous()),
            Tls::Verified(ca) => {
                let roots = self.read(ca)?;
                Some(self.keep(ca, "holds no roots", tls::server_verified(&roots))?)
            }
        };
        Some(Attachment {
            servers: from.servers.clone(),
            collective: collective?,
            tls,
            user: from.user.clone(),
            password,
            credential: credential.cloned(),
            inbox: None,
        })
    }

    fn production(
        &mut self,
        config: &Config,
        credential: Option<&Arc<Credential>>,
    ) -> Option<Attachment> {
        let from = &config.production;
        let collective = self.collective(&from.collective);
        let roots = self.read(&from.ca)?;
        let tls = match &from.caller {
            Caller::Certificate { certificate, key } => {
                // Missing files of certificate and key are told by `signer`.
                let chain = std::fs::read_to_string(&certificate.value).ok()?;
                let key = std::fs::read_to_string(&key.value).ok()?;
                let tls = tls::mutual(&roots, &chain, &key);
                self.keep(&from.ca, "with certificate and key gives no TLS", tls)?
            }
            Caller::Token { .. } => {
                self.keep(&from.ca, "holds no roots", tls::server_verified(&roots))?
            }
        };
        Some(Attachment {
            servers: from.servers.clone(),
            collective: collective?,
            tls: Some(tls),
            user: None,
            password: None,
            credential: credential.cloned(),
            inbox: None,
        })
    }

    fn token_keys(&mut self, config: &Config) -> Vec<NamedKey> {
        let mut keys = Vec::new();
        for key in &config.token.keys {
            let Some(text) = self.read(&key.file) else {
                continue;
            };
            if let Some(parsed) = self.keep(&key.file, "is no public key", JwtKey::parse(&text)) {
                let name = key.name.clone();
                keys.push(NamedKey { name, key: parsed });
            }
        }
        keys
    }

    fn collective(&mut self, name: &Located<String>) -> Option<Collective> {
        self.keep(name, "is no collective", Collective::parse(&name.value))
    }

    fn secret(&mut self, source: &SecretSource) -> Option<Secret> {
        match source {
            SecretSource::Text(secret) => Some(secret.clone()),
            SecretSource::File(file) => {
                let text = self.read(file)?;
                let line = text.lines().next().unwrap_or_default().trim_end();
                if line.is_empty() {
                    let says = format!("({}) is empty", file.value.display());
                    self.mistakes.push(file.mistake(says));
                    return None;
                }
                Some(Secret::new(line.to_owned()))
            }
        }
    }

    fn read(&mut self, file: &Located<std::path::PathBuf>) -> Option<String> {
        match std::fs::read_to_string(&file.value) {
            Ok(text) => Some(text),
            Err(error) => {
                let says = format!("names {}: {error}", shown(&file.value));
                self.mistakes.push(file.mistake(says));
                None
            }
        }
    }

    /// A file that nobody but its owner may read.
    fn read_secret(&mut self, file: &Located<std::path::PathBuf>) -> Option<Zeroizing<String>> {
        let text = crate::ca::read_secret(&file.value).map_err(|refusal| refusal.message);
        self.keep(file, "cannot be used", text)
    }

    /// The value, or a mistake about the key it came from.
    fn keep<T, V, E: std::fmt::Display>(
        &mut self,
        about: &Located<V>,
        says: &str,
        result: Result<T, E>,
    ) -> Option<T> {
        match result {
            Ok(value) => Some(value),
            Err(error) => {
                let mistake = about.mistake(format!("{says}: {error}"));
                let known = mistake.place != Place::default();
                let place = if known {
                    mistake.place
                } else {
                    Place { line: 1, column: 1 }
                };
                self.mistakes.push(Mistake { place, ..mistake });
                None
            }
        }
    }
}

/// The claim `cht`, where the configuration names the whole token nodes have.
fn node_token(text: Secret) -> Secret {
    match jwt::decode_unverified(text.reveal()) {
        Ok(claims) => Secret::new(claims.cht),
        Err(_) => text,
    }
}

fn shown(path: &Path) -> std::path::Display<'_> {
    path.display()
}
