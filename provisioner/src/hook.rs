//! The hook: who decides about a node and has its certificate made.
//!
//! One trait, several transports: [`builtin`] signs with an authority of its own, [`exec`] runs a
//! helper program for each node, [`pool`] keeps helpers running and asks them line by line, [`http`]
//! asks a webhook or a certificate authority. A helper speaks the Choria provisioner's contract
//! ([`choria`]) or ours ([`contract`]; [`answerer`] is its other side). Those that ask somebody else
//! stand behind a [`guard`], which keeps the pace they can bear and leaves them alone while they
//! fail. Whatever a hook answers is
//! only a proposal: each certificate goes through [`crate::ca::judgement`] and each configuration
//! through [`crate::judge::configuration`] before a node sees it.

use std::collections::BTreeMap;
use std::time::Duration;

use async_trait::async_trait;
use jiff::Timestamp;
use rand::RngCore;

use crate::ca::ToBeSigned;
use crate::code::{Code, Refusal};
use crate::judge::{CsrReply, JudgedRequest};
use crate::secret::Secret;

pub mod answerer;
mod breaker;
pub mod builtin;
pub mod choria;
pub mod contract;
mod error;
pub mod exec;
mod grant;
pub mod guard;
pub mod http;
pub mod pool;
mod process;
mod program;
mod redact;

pub use breaker::Standing;
pub use builtin::BuiltinHook;
pub use error::HookError;
pub use exec::{ExecHook, ExecSettings, HelperContract};
pub use grant::GrantHook;
pub use guard::{Guarded, Pace};
pub use http::HttpHook;
pub use pool::{PoolHook, PoolSettings};

/// Everything a hook may know about a node. Never a private key, never the raw token.
#[derive(Clone, Debug)]
pub struct HookRequest {
    /// The judged request: the node's name and its public key.
    pub request: JudgedRequest,
    /// The node's reply to `gencsr`, for helpers that want it as it came.
    pub csr: CsrReply,
    /// The node's inventory: data the node says about itself, not to be trusted.
    pub inventory: serde_json::Value,
    /// The claims of the node's verified provisioning token, an object or null.
    pub claims: serde_json::Value,
    /// Which try this is for this node, counting from 1.
    pub attempt: u32,
    /// Which renewal of its certificate this is for its key; 0 for the first certificate.
    pub renewal: u32,
    /// The time of the decision.
    pub now: Timestamp,
}

/// A hook's answer: the decision and, in the hook's words, why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HookAnswer {
    /// What to do with the node.
    pub decision: Decision,
    /// A sentence for people, shown by `provisioner show`; empty when there was none.
    pub message: String,
    /// When a node that is put off may be asked about again, where the hook said so.
    pub retry_after: Option<Duration>,
}

impl HookAnswer {
    /// A decision without a date.
    #[must_use]
    pub const fn new(decision: Decision, message: String) -> Self {
        Self {
            decision,
            message,
            retry_after: None,
        }
    }
}

/// What to do with the node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Decision {
    /// Send it this certificate and configuration, once both are judged.
    Issue(Box<Issued>),
    /// Park it and ask again later.
    Defer,
    /// This request is refused for good.
    Refuse,
    /// Freeze the identity until a person decides.
    Quarantine,
    /// Have the node shut down.
    Shutdown,
}

/// What a hook proposes to send to a node; nothing of it is judged yet.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Issued {
    /// PEM certificates: the leaf and whatever the hook sent along. Empty where nodes get server tokens.
    pub certificate: String,
    /// The private key that goes with it, PEM, where an authority made that and may.
    pub key: Option<Secret>,
    /// What the hook wants in the server token, where nodes get those.
    pub server_claims: Option<serde_json::Map<String, serde_json::Value>>,
    /// PEM trust anchors the hook named, if it did; the configured ones are what is sent.
    pub ca: Option<String>,
    /// The directory of the TLS files on the node, if the hook named one.
    pub ssldir: Option<String>,
    /// The node's settings; without them the configured templates are used.
    pub configuration: Option<BTreeMap<String, String>>,
    /// Action policies by file name (`<agent>.policy`).
    pub action_policies: BTreeMap<String, String>,
    /// Open Policy Agent policies by file name (`<name>.rego`).
    pub opa_policies: BTreeMap<String, String>,
    /// The version the node should run before it is configured.
    pub upgrade: Option<String>,
    /// The configured target the node should be placed at.
    pub placement: Option<String>,
    /// The longest the certificate may live, where the hook wants less than policy allows.
    pub validity: Option<Duration>,
}

impl Issued {
    /// Whether the node can have what is proposed without its software being replaced, which is not
    /// done here.
    ///
    /// # Errors
    /// `hook.unsupported`.
    pub fn judge_upgrade(&self) -> Result<(), Refusal> {
        let Some(version) = &self.upgrade else {
            return Ok(());
        };
        let says = format!(
            "the hook wants the node upgraded to {version}, which this service does not do"
        );
        Err(Refusal::new(Code::HookUnsupported, says))
    }
}

/// Who decides about a node and has its certificate made.
///
/// The caller commits to its ledger between the two calls: first what [`Hook::prepare`] returned,
/// together with the fact that this key is being asked for, then the answer of [`Hook::decide`].
/// After a crash between the two it calls `decide` again with the recorded preparation if there
/// is one, and otherwise never asks for that key again (`ca.unknown_outcome`).
#[async_trait]
pub trait Hook: Send + Sync + std::fmt::Debug {
    /// What kind of hook this is, for logs and metrics: `built-in`, `exec`, `pool`.
    fn kind(&self) -> &'static str;

    /// Whether everything the hook needs on this machine is there; asks nobody.
    ///
    /// # Errors
    /// `hook.config` or `ca.config`, saying what to repair.
    fn self_test(&self) -> Result<(), HookError>;

    /// Whether whoever answers could do so now; asked before the service is ready, and again and
    /// again while nodes are to be asked back for renewal.
    ///
    /// # Errors
    /// A `hook.*` or `ca.*` code, saying who did not answer.
    async fn health(&self) -> Result<(), HookError> {
        Ok(())
    }

    /// How its breaker stands, where it has one.
    fn standing(&self) -> Option<Standing> {
        None
    }

    /// Whether an answer may name the target of a node; where none can, a node without one is
    /// refused before anything is signed for it.
    fn may_place(&self) -> bool {
        false
    }

    /// Fixes everything about the certificate that is not decided by the request, so that asking
    /// again gives the same certificate. `None` when this hook cannot promise that, as most cannot.
    ///
    /// # Errors
    /// `ca.config` when the authority cannot issue at that time.
    fn prepare(
        &self,
        _request: &HookRequest,
        _rng: &mut dyn RngCore,
    ) -> Result<Option<ToBeSigned>, HookError> {
        Ok(None)
    }

    /// Waits until the hook may be asked at all; nothing is sent.
    ///
    /// # Errors
    /// `ca.throttled` or `ca.unavailable` with the time after which to come back.
    async fn admit(&self) -> Result<(), HookError> {
        Ok(())
    }

    /// Decides about one node.
    ///
    /// # Errors
    /// A `hook.*` or `ca.*` code; nothing was decided, and [`HookError::unsigned`] says whether a
    /// certificate may exist all the same.
    async fn decide(
        &self,
        request: &HookRequest,
        prepared: Option<&ToBeSigned>,
    ) -> Result<HookAnswer, HookError>;

    /// Says what [`Hook::decide`] would, and has nothing signed: an `Issue` comes without a
    /// certificate. `None` when this hook can only be asked in earnest.
    ///
    /// # Errors
    /// As [`Hook::decide`].
    async fn rehearse(&self, _request: &HookRequest) -> Result<Option<HookAnswer>, HookError> {
        Ok(None)
    }
}
