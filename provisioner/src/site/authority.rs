//! `[ca]`: the hook with everything it needs, and what its certificates are held against.

use std::sync::Arc;

use server_core::trust::tls;
use server_core::words::Seed;

use super::{Certificates, Issues, Loader};
use crate::ca::pkcs11::{Pin, TokenSettings};
use crate::ca::{Authority, CertificatePolicy, KeySource, TrustStore};
use crate::config::{
    AcmeConfig, Backend, CaKey, CaKind, Config, Helper, Http, HttpApi, Passphrase, SecretSource,
};
use crate::hook::exec::Program;
use crate::hook::http::{
    Acme, AcmeSettings, Api, Cfssl, DnsCommand, ExternalAccount, HttpClient, StepCa, Target, Vault,
    Webhook,
};
use crate::hook::{
    BuiltinHook, ExecHook, ExecSettings, GrantHook, Guarded, Hook, HttpHook, PoolHook, PoolSettings,
};
use crate::secret::Secret;

/// The account at an ACME server, in the state folder.
const ACCOUNT: &str = "acme-account.json";

/// Who decides, and what nodes get.
pub(super) struct Signing {
    pub(super) hook: Arc<dyn Hook>,
    pub(super) issues: Issues,
}

/// What certificates are held against, whoever signs them.
fn certificates(config: &Config, trust: TrustStore, authority: Option<Arc<Authority>>) -> Issues {
    Issues::Certificates(Box::new(Certificates {
        authority,
        trust,
        policy: CertificatePolicy {
            max_lifetime: config.ca.validity,
            ..CertificatePolicy::default()
        },
    }))
}

impl Loader {
    pub(super) fn ca(&mut self, config: &Config) -> Option<Signing> {
        let hook: Option<Arc<dyn Hook>> = match &config.ca.kind {
            CaKind::BuiltIn { .. } => return self.built_in(config),
            CaKind::Granted => Some(Arc::new(GrantHook)),
            CaKind::Exec {
                helper,
                contract,
                backend,
            } => {
                let hook = ExecHook::new(ExecSettings {
                    program: program(helper),
                    timeout: helper.timeout,
                    contract: contract.clone(),
                });
                Some(guarded(hook, backend))
            }
            CaKind::Pool {
                helper,
                helpers,
                in_flight,
                start_timeout,
                backend,
            } => {
                let settings = PoolSettings {
                    program: program(helper),
                    profile: helper.profile.clone(),
                    helpers: *helpers,
                    in_flight: *in_flight,
                    timeout: helper.timeout,
                    start_timeout: *start_timeout,
                };
                Some(guarded(PoolHook::new(settings, Seed::from_os()), backend))
            }
            CaKind::Http(http) => self.http(http, config),
        };
        let issues = match &config.issuer {
            Some(rules) => Issues::Tokens(Box::new(self.issuer(rules)?)),
            None => certificates(config, self.trust(config)?, None),
        };
        Some(Signing {
            hook: hook?,
            issues,
        })
    }

    fn built_in(&mut self, config: &Config) -> Option<Signing> {
        let (CaKind::BuiltIn { certificate, key }, Some(roots)) =
            (&config.ca.kind, &config.ca.roots)
        else {
            return None;
        };
        let texts = (
            self.read(certificate),
            self.read(roots),
            self.key_source(key, config),
        );
        let (Some(text), Some(roots), Some(source)) = texts else {
            return None;
        };
        let authority = Authority::with_key(&text, &source, &roots, config.ca.validity, false);
        let authority = match key {
            CaKey::File { .. } => self.keep(certificate, "cannot be used", authority)?,
            CaKey::Token { uri, .. } => self.keep(uri, "cannot be used", authority)?,
        };
        let crl = config.ca.crl.as_ref();
        let authority = authority.with_crl_url(crl.and_then(|crl| crl.url.clone()));
        if let Some(crl) = crl {
            self.keep(&crl.file, "cannot be signed", authority.may_sign_lists());
            let folder = crl.file.value.parent();
            if folder.is_some_and(|folder| !folder.as_os_str().is_empty() && !folder.is_dir()) {
                let says = format!(
                    "({}) is in no folder that is there",
                    crl.file.value.display()
                );
                self.mistakes.push(crl.file.mistake(says));
            }
        }
        let authority = Arc::new(authority);
        let trust = authority.trust().clone();
        Some(Signing {
            hook: Arc::new(BuiltinHook::new(Arc::clone(&authority))),
            issues: certificates(config, trust, Some(authority)),
        })
    }

    /// Where the private key is, with what opens it.
    fn key_source(&mut self, key: &CaKey, config: &Config) -> Option<KeySource> {
        match key {
            CaKey::File { file, passphrase } => {
                let passphrase = match passphrase {
                    Some(source) => Some(self.passphrase(source)?),
                    None => None,
                };
                self.read(file)?;
                Some(KeySource::File {
                    path: file.value.clone(),
                    passphrase,
                })
            }
            CaKey::Token { uri, pin } => {
                let pin = match pin {
                    None => Pin::None,
                    Some(source) => {
                        let pin = self.passphrase(source)?;
                        match source {
                            // Read again for each login: it may be exchanged while we run.
                            Passphrase::Secret(SecretSource::File(file)) => {
                                Pin::File(file.value.clone())
                            }
                            _ => Pin::Text(pin),
                        }
                    }
                };
                // One more than certificates at once, for lists of revoked ones.
                let sessions = config.limits.ca + 1;
                let settings = TokenSettings::new(uri.value.clone(), pin, sessions);
                let settings = self.keep(uri, "cannot be used", settings);
                settings.map(KeySource::Token)
            }
        }
    }

    fn passphrase(&mut self, source: &Passphrase) -> Option<Secret> {
        match source {
            Passphrase::Secret(source) => self.secret(source),
            Passphrase::Env(variable) => {
                let value = std::env::var(&variable.value).map(Secret::new);
                let says = format!("names the variable {}", variable.value);
                self.keep(variable, &says, value)
            }
        }
    }

    /// What the certificates of somebody else's authority are held against.
    fn trust(&mut self, config: &Config) -> Option<TrustStore> {
        let file = config.ca.roots.as_ref()?;
        let roots = self.read(file);
        let between = match &config.ca.intermediates {
            Some(file) => self.read(file)?,
            None => String::new(),
        };
        let trust = TrustStore::from_pem(&roots?, &between);
        self.keep(file, "holds no trust anchor", trust)
    }

    fn http(&mut self, http: &Http, config: &Config) -> Option<Arc<dyn Hook>> {
        let client = self.client(http);
        let validity = config.ca.validity;
        match &http.api {
            HttpApi::Webhook {
                secret,
                token,
                profile,
            } => {
                let secret = self.secret(secret);
                let token = token.as_ref().map(|token| self.secret(token));
                let token = token.map_or(Some(None), |token| token.map(Some));
                let api = Webhook::new(&secret?, token?.as_ref(), profile.clone());
                Some(asked(client?, api, &http.backend))
            }
            HttpApi::Cfssl {
                profile,
                label,
                secret,
            } => {
                let key = secret.as_ref().map(|secret| self.secret(secret));
                let key = key.map_or(Some(None), |key| key.map(Some))?;
                let key = key.as_ref().map(Secret::reveal);
                let api = Cfssl::new(profile.clone(), label.clone(), key);
                let api = match secret {
                    Some(SecretSource::File(file)) => self.keep(file, "cannot be the key", api),
                    _ => self.keep(
                        &http.url,
                        "goes with a `secret` that cannot be the key",
                        api,
                    ),
                };
                Some(asked(client?, api?, &http.backend))
            }
            HttpApi::Vault {
                mount,
                role,
                namespace,
                token,
            } => {
                let api = Vault {
                    mount: mount.trim_matches('/').to_owned(),
                    role: role.clone(),
                    namespace: namespace.clone(),
                    token: self.secret(token)?,
                    validity,
                };
                Some(asked(client?, api, &http.backend))
            }
            HttpApi::Acme(acme) => {
                let api = Acme::new(self.acme(acme, http, config)?);
                Some(asked(client?, api, &http.backend))
            }
            HttpApi::StepCa { provisioner, key } => {
                let text = self.read(key)?;
                let api = StepCa::new(provisioner.clone(), &text, validity);
                let api = self.keep(key, "cannot be the provisioner's", api);
                Some(asked(client?, api?, &http.backend))
            }
        }
    }

    fn acme(&mut self, acme: &AcmeConfig, http: &Http, config: &Config) -> Option<AcmeSettings> {
        let external = match &acme.external {
            None => None,
            Some((kid, key)) => {
                let key = self.secret(key)?;
                let account = ExternalAccount::new(kid.value.clone(), key);
                Some(self.keep(kid, "goes with an `eab_key` that", account)?)
            }
        };
        let own = config.state_dir.join(ACCOUNT);
        let account = acme.account.as_ref().map(|file| file.value.clone());
        if http.url.value.ends_with('/') {
            let says = "is the address of the directory, and ends without a slash";
            self.mistakes.push(http.url.mistake(says));
        }
        Some(AcmeSettings {
            account: account.unwrap_or(own),
            contact: acme.contact.clone(),
            terms_agreed: acme.terms_agreed,
            external,
            profile: acme.profile.clone(),
            dns: acme.dns.as_ref().map(|dns| DnsCommand {
                program: Program {
                    command: dns.command.value.clone(),
                    environment: dns.environment.clone(),
                },
                timeout: dns.timeout,
                wait: dns.wait,
            }),
            order_timeout: acme.order_timeout,
        })
    }

    fn client(&mut self, http: &Http) -> Option<HttpClient> {
        let target = self.keep(&http.url, "cannot be asked", Target::parse(&http.url.value));
        let tls = match (&http.server_ca, &http.client) {
            // Plain HTTP, on this machine: nobody is verified, and nothing leaves it.
            (None, _) => tls::anonymous(),
            (Some(roots), None) => {
                let text = self.read(roots)?;
                self.keep(roots, "holds no roots", tls::server_verified(&text))?
            }
            (Some(roots), Some((certificate, key))) => {
                let texts = (self.read(roots), self.read(certificate), self.read(key));
                let (Some(roots), Some(chain), Some(key)) = texts else {
                    return None;
                };
                let tls = tls::mutual(&roots, &chain, &key);
                self.keep(certificate, "with its key gives no TLS", tls)?
            }
        };
        Some(HttpClient::new(target?, tls, http.timeout))
    }
}

fn program(helper: &Helper) -> Program {
    Program {
        command: helper.command.value.clone(),
        environment: helper.environment.clone(),
    }
}

fn asked(client: HttpClient, api: impl Api + 'static, backend: &Backend) -> Arc<dyn Hook> {
    guarded(HttpHook::new(client, api), backend)
}

/// A hook outside this process never stands alone.
fn guarded(hook: impl Hook + 'static, backend: &Backend) -> Arc<dyn Hook> {
    let Backend { breaker, pace } = *backend;
    Arc::new(Guarded::new(hook, breaker, pace, Seed::from_os()))
}
