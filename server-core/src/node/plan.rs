//! From the files in storage to everything one life of a node needs. Reads, and changes nothing.

use std::sync::Arc;
use std::time::Duration;

use rustls::ClientConfig;

use super::config::{NodeConfig, Security};
use super::shared::BuiltIn;
use super::{Mode, NodeError, PROVISIONING_JWT, SERVER_CONF, ServerConf, Shared, Storage};
use crate::agents::policy::Policies;
use crate::agents::{Agent, AgentSet, Facts, ProvisioningToken};
use crate::server_conf::with_scheme;
use crate::trust::Verifier;
use crate::trust::jwt::Credential;
use crate::words::{Clock, Collective, Identity};

mod credential;
mod files;

use credential::Provider;

/// What the program gave the node, unchanged over its lives.
pub(super) struct Given {
    pub(super) config: NodeConfig,
    pub(super) storage: Arc<dyn Storage>,
    pub(super) shared: Arc<Shared>,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) agents: Vec<Arc<dyn Agent>>,
    pub(super) facts: Option<Arc<Facts>>,
}

/// One life of a node, ready to begin.
pub(super) struct Plan {
    pub(super) mode: Mode,
    pub(super) identity: Identity,
    pub(super) collectives: Vec<Collective>,
    pub(super) servers: Vec<String>,
    pub(super) tls: Option<Arc<ClientConfig>>,
    /// What a node without a certificate shows to the broker.
    pub(super) credential: Option<Arc<Credential>>,
    pub(super) connect_timeout: Duration,
    pub(super) verifier: Arc<Verifier>,
    pub(super) authorization: Authorization,
    pub(super) agents: Arc<AgentSet>,
    pub(super) facts: Arc<Facts>,
    pub(super) classes: Arc<[String]>,
    pub(super) conf: ServerConf,
    pub(super) provisioning: Option<ProvisioningToken>,
}

/// Who may call what.
pub(super) enum Authorization {
    /// Anyone anything: provisioning mode, or switched off by the configuration.
    Off,
    /// By policy, default deny.
    Policy {
        policies: Policies,
        /// The policy asked for agents without one of their own.
        fallback: Option<String>,
    },
}

/// Reads the storage and decides.
pub(super) fn load(given: &Given) -> Result<Plan, NodeError> {
    let storage = given.storage.as_ref();
    let conf = files::text(storage, SERVER_CONF)?.map(|text| ServerConf::parse(&text));
    let token = provisioning_token(given)?;
    match mode(given, conf.as_ref(), token.as_ref())? {
        Mode::Provisioning => provisioning(given, conf.unwrap_or_default(), token),
        Mode::Production => production(given, conf.unwrap_or_default(), token),
    }
}

/// A configuration says which, or the token's default does; without a configuration only the token can. A node that
/// has nothing good to show to the production network is to be provisioned anew, where it can be.
fn mode(
    given: &Given,
    conf: Option<&ServerConf>,
    token: Option<&ProvisioningToken>,
) -> Result<Mode, NodeError> {
    let storage = given.storage.as_ref();
    let wanted = conf.and_then(|conf| conf.flag("plugin.choria.server.provision"));
    match (conf, token) {
        (None, None) => Err(NodeError::Nothing {
            conf: storage.describe(SERVER_CONF),
            token: storage.describe(PROVISIONING_JWT),
        }),
        (None, Some(_)) => Ok(Mode::Provisioning),
        (Some(_), None) => Ok(Mode::Production),
        (Some(conf), Some(_)) if !is_enrolled(given, conf) => Ok(Mode::Provisioning),
        (Some(_), Some(token)) => Ok(match wanted.unwrap_or(token.claims.chpd) {
            true => Mode::Provisioning,
            false => Mode::Production,
        }),
    }
}

/// Whether the server token of a node is good, where it should have one.
fn is_enrolled(given: &Given, conf: &ServerConf) -> bool {
    let Ok(provider) = Provider::of(conf) else {
        return true;
    };
    match credential::load(given, conf, provider) {
        Err(error @ NodeError::Credential { .. }) => {
            tracing::warn!(node = %given.config.identity, %error, "to be provisioned again");
            false
        }
        _ => true,
    }
}

fn provisioning_token(given: &Given) -> Result<Option<ProvisioningToken>, NodeError> {
    let storage = given.storage.as_ref();
    let Some(text) = files::text(storage, PROVISIONING_JWT)? else {
        return Ok(None);
    };
    let token = given.shared.token(text.trim());
    token.map(Some).map_err(|error| NodeError::Token {
        path: storage.describe(PROVISIONING_JWT),
        error,
    })
}

fn provisioning(
    given: &Given,
    conf: ServerConf,
    token: Option<ProvisioningToken>,
) -> Result<Plan, NodeError> {
    let storage = given.storage.as_ref();
    let claims = token.as_ref().map(|token| Arc::clone(&token.claims));
    let claims = claims.unwrap_or_default();
    let servers: Vec<String> = claims
        .servers()
        .iter()
        .map(|one| with_scheme(one))
        .collect();
    if servers.is_empty() {
        return Err(NodeError::NoBroker(match claims.chsrv.as_str() {
            "" => "the provisioning token has no claim chu".to_owned(),
            domain => format!(
                "the provisioning token names the domain {domain:?} (chsrv); SRV records are not \
                 looked up, name the brokers in chu"
            ),
        }));
    }
    let facts = match (claims.chf.as_str(), &given.facts) {
        (_, Some(facts)) => Arc::clone(facts),
        ("", None) => Arc::default(),
        (path, None) => Arc::new(files::facts(storage, path)),
    };
    Ok(Plan {
        mode: Mode::Provisioning,
        identity: given.config.identity.clone(),
        collectives: vec![Collective::provisioning()],
        servers,
        tls: match given.config.security {
            Security::Certificates => Some(given.shared.tls().anonymous()),
            Security::SignedRequests | Security::Insecure => None,
        },
        credential: None,
        connect_timeout: given.config.connect_timeout,
        verifier: given.shared.insecure(),
        authorization: Authorization::Off,
        agents: given.shared.agents(BuiltIn::Provisioning),
        facts,
        classes: Arc::from([]),
        conf,
        provisioning: token,
    })
}

fn production(
    given: &Given,
    conf: ServerConf,
    token: Option<ProvisioningToken>,
) -> Result<Plan, NodeError> {
    let storage = given.storage.as_ref();
    let config = &given.config;
    let mut servers = conf.brokers();
    if servers.is_empty() {
        servers = config.servers.iter().map(|one| with_scheme(one)).collect();
    }
    if servers.is_empty() {
        return Err(NodeError::NoBroker(format!(
            "{} has no plugin.choria.middleware_hosts",
            storage.describe(SERVER_CONF)
        )));
    }
    let provider = Provider::of(&conf)?;
    let credential = credential::load(given, &conf, provider)?;
    let (tls, verifier) = security(given, &conf, provider)?;
    let mut collectives = conf.collectives()?;
    if collectives.is_empty() {
        collectives = match provider {
            Provider::Organization => vec![Collective::choria()],
            Provider::Certificate | Provider::Anonymous => config.collectives.clone(),
        };
    }
    let built_in = given.shared.agents(BuiltIn::Production {
        count: config.agents,
        with_token: token.is_some(),
    });
    let agents = match given.agents.as_slice() {
        [] => built_in,
        own => {
            let mut set = AgentSet::clone(&built_in);
            own.iter().for_each(|agent| set.add(Arc::clone(agent)));
            Arc::new(set)
        }
    };
    Ok(Plan {
        mode: Mode::Production,
        identity: conf.identity()?.unwrap_or_else(|| config.identity.clone()),
        collectives,
        servers,
        tls,
        credential,
        connect_timeout: conf
            .duration("plugin.choria.network.connect_timeout")?
            .unwrap_or(config.connect_timeout)
            .min(Duration::from_secs(120)),
        verifier,
        authorization: authorization(given, &conf)?,
        agents,
        facts: match &given.facts {
            Some(facts) => Arc::clone(facts),
            None => Arc::new(files::production_facts(storage, &conf)),
        },
        classes: files::classes(storage, &conf)?,
        conf,
        provisioning: token,
    })
}

/// TLS towards the broker, and the judge of requests.
fn security(
    given: &Given,
    conf: &ServerConf,
    provider: Provider,
) -> Result<(Option<Arc<ClientConfig>>, Arc<Verifier>), NodeError> {
    let encrypted = given.config.security == Security::Certificates;
    Ok(match (given.config.security, provider) {
        (Security::Insecure, _) => (None, given.shared.insecure()),
        (_, Provider::Anonymous) => {
            tracing::warn!(
                node = %given.config.identity,
                "plugin.security.server_anon_tls is set: requests are not verified, the broker's \
                 permissions decide who may send them"
            );
            let tls = encrypted.then(|| given.shared.tls().anonymous());
            (tls, given.shared.insecure())
        }
        (_, Provider::Organization) => {
            let tls = encrypted.then(|| files::organization_tls(given, conf));
            let organizations = credential::organizations(conf)?;
            (
                tls.transpose()?,
                given.shared.members(organizations, &given.clock),
            )
        }
        (Security::SignedRequests, Provider::Certificate) => {
            (None, files::trust(given, conf)?.verifier()?)
        }
        (Security::Certificates, Provider::Certificate) => {
            let trust = files::trust(given, conf)?;
            (Some(trust.tls()?), trust.verifier()?)
        }
    })
}

fn authorization(given: &Given, conf: &ServerConf) -> Result<Authorization, NodeError> {
    if conf.flag("rpcauthorization") == Some(false) {
        return Ok(Authorization::Off);
    }
    if let Some(provider) = conf.get("rpcauthprovider")
        && !provider.eq_ignore_ascii_case("action_policy")
    {
        return Err(NodeError::Unsupported(format!(
            "rpcauthprovider = {provider}"
        )));
    }
    let fallback = conf
        .flag("plugin.actionpolicy.enable_default")
        .unwrap_or_default()
        .then(|| {
            conf.get("plugin.actionpolicy.default_name")
                .unwrap_or("default")
        });
    Ok(Authorization::Policy {
        policies: given.shared.policies().load(given.storage.as_ref())?,
        fallback: fallback.map(str::to_owned),
    })
}
