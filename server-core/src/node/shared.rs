//! What the nodes of one process have in common, kept once.

use std::collections::HashMap;
use std::num::NonZeroUsize;
use std::sync::{Arc, LazyLock, Mutex, PoisonError};

use lru::LruCache;

use crate::agents::policy::PolicyStore;
use crate::agents::{AgentSet, ProvisioningToken, Secret};
use crate::trust::jwt::Organization;
use crate::trust::tls::{KeyExchange, TlsClients};
use crate::trust::{CallerRules, TrustError, Verifier, jwt};
use crate::words::Clock;

/// Trust domains kept at once; a process has one or two.
const VERIFIERS: usize = 16;

/// Different provisioning tokens kept at once; a fleet has one or two.
const TOKENS: usize = 16;

/// Parsed policies, verifiers and agents for all nodes that are given the same `Shared`. A verifier
/// shared by a swarm remembers its last verdicts, so a broadcast is verified once, not once per node.
pub struct Shared {
    policies: PolicyStore,
    verifiers: Mutex<LruCache<VerifierKey, Arc<Verifier>>>,
    members: Mutex<Vec<(Vec<Organization>, Arc<Verifier>)>>,
    tokens: Mutex<LruCache<String, ProvisioningToken>>,
    insecure: Arc<Verifier>,
    tls: TlsClients,
    agents: Mutex<HashMap<BuiltIn, Arc<AgentSet>>>,
    verification: Verification,
}

/// How the nodes of a process verify what many of them receive alike.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Verification {
    /// Each for itself, as nodes in processes of their own do.
    #[default]
    Each,
    /// The same bytes once for all: compared with the last verified ones; filter, policy and reply
    /// stay each node's own, and so does the proof that a broker holds the key of its certificate.
    Shared,
}

/// Which built-in agents: those of provisioning mode, or so many of production mode, with or without
/// `choria_provision`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum BuiltIn {
    Provisioning,
    Production { count: usize, with_token: bool },
}

#[derive(PartialEq, Eq, Hash)]
struct VerifierKey {
    roots: String,
    allow: Vec<String>,
    privileged: Vec<String>,
}

impl Shared {
    /// For a process with one or a few nodes.
    #[must_use]
    pub fn new() -> Arc<Self> {
        Self::with(KeyExchange::Hybrid, Verification::Each)
    }

    /// What nodes have in common that were given nothing else.
    pub(super) fn of_process() -> Arc<Self> {
        static SHARED: LazyLock<Arc<Shared>> = LazyLock::new(Shared::new);
        Arc::clone(&SHARED)
    }

    /// For a process with thousands of nodes, which exchange keys without the hybrid.
    #[must_use]
    pub fn swarm(verification: Verification) -> Arc<Self> {
        Self::with(KeyExchange::Classical, verification)
    }

    fn with(key_exchange: KeyExchange, verification: Verification) -> Arc<Self> {
        let shared = verification == Verification::Shared;
        Arc::new(Self {
            policies: PolicyStore::default(),
            verifiers: Mutex::new(LruCache::new(
                NonZeroUsize::new(VERIFIERS).unwrap_or(NonZeroUsize::MIN),
            )),
            members: Mutex::default(),
            tokens: Mutex::new(LruCache::new(
                NonZeroUsize::new(TOKENS).unwrap_or(NonZeroUsize::MIN),
            )),
            insecure: Arc::new(Verifier::insecure().shared(shared)),
            tls: if shared {
                TlsClients::remembering(key_exchange)
            } else {
                TlsClients::new(key_exchange)
            },
            agents: Mutex::default(),
            verification,
        })
    }

    pub(super) fn policies(&self) -> &PolicyStore {
        &self.policies
    }

    pub(super) fn tls(&self) -> &TlsClients {
        &self.tls
    }

    pub(super) fn insecure(&self) -> Arc<Verifier> {
        Arc::clone(&self.insecure)
    }

    /// The verifier of a trust domain: roots and caller rules (patterns as configured; an empty list is
    /// the default).
    pub(super) fn verifier(
        &self,
        roots: &str,
        allow: &[&str],
        privileged: &[&str],
        clock: &Arc<dyn Clock>,
    ) -> Result<Arc<Verifier>, TrustError> {
        let owned = |texts: &[&str]| texts.iter().map(|&text| text.to_owned()).collect();
        let key = VerifierKey {
            roots: roots.to_owned(),
            allow: owned(allow),
            privileged: owned(privileged),
        };
        let mut verifiers = self
            .verifiers
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if let Some(verifier) = verifiers.get(&key) {
            return Ok(Arc::clone(verifier));
        }
        let mut rules = CallerRules::default();
        let given = CallerRules::new(allow, privileged)?;
        if !allow.is_empty() {
            rules.allow = given.allow;
        }
        if !privileged.is_empty() {
            rules.privileged = given.privileged;
        }
        let verifier = Verifier::new(roots, rules)?
            .shared(self.verification == Verification::Shared)
            .clock(Arc::clone(clock));
        let verifier = Arc::new(verifier);
        verifiers.put(key, Arc::clone(&verifier));
        Ok(verifier)
    }

    /// The verifier of these organizations' members.
    pub(super) fn members(
        &self,
        organizations: Vec<Organization>,
        clock: &Arc<dyn Clock>,
    ) -> Arc<Verifier> {
        let mut known = self.members.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, verifier)) = known.iter().find(|(of, _)| *of == organizations) {
            return Arc::clone(verifier);
        }
        let verifier = Verifier::members(organizations.clone())
            .shared(self.verification == Verification::Shared)
            .clock(Arc::clone(clock));
        let verifier = Arc::new(verifier);
        known.truncate(VERIFIERS - 1);
        known.insert(0, (organizations, Arc::clone(&verifier)));
        verifier
    }

    /// A provisioning token, read and not verified: a node cannot, brokers and provisioners do.
    pub(super) fn token(&self, text: &str) -> Result<ProvisioningToken, jwt::JwtError> {
        let known = || self.tokens.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(token) = known().get(text) {
            return Ok(token.clone());
        }
        let token = ProvisioningToken {
            claims: Arc::new(jwt::decode_unverified(text)?),
            text: Arc::new(Secret(text.to_owned())),
        };
        known().put(text.to_owned(), token.clone());
        Ok(token)
    }

    /// The built-in agents.
    pub(super) fn agents(&self, wanted: BuiltIn) -> Arc<AgentSet> {
        let mut agents = self.agents.lock().unwrap_or_else(PoisonError::into_inner);
        let set = agents.entry(wanted).or_insert_with(|| {
            Arc::new(match wanted {
                BuiltIn::Provisioning => AgentSet::provisioning(),
                BuiltIn::Production { count, with_token } => {
                    AgentSet::production(count, with_token)
                }
            })
        });
        Arc::clone(set)
    }
}
