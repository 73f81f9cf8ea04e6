//! RPC agents: a request comes in, an answer goes out.
//!
//! Agents hold no state of a node: one instance serves every node of a process. What belongs to one
//! node (its provisioning lock, its secret, its storage) is reached through the [`AgentContext`].
//! Authorization happens before any agent code and is denied unless a policy allows it.

mod answer;
mod context;
mod metadata;

pub mod policy;

mod choria_provision;
mod choria_util;
mod discovery;
mod muster;
mod rpcutil;
mod set;

pub use answer::{Answer, Call, Next, Outcome};
pub use context::{AgentContext, CounterValues, Counters, Facts, Mode, Surroundings};
pub use metadata::Metadata;
pub use set::AgentSet;

pub(crate) use choria_provision::ProvisionState;
pub(crate) use context::{ProvisioningToken, Rehearsal, Secret, count};

use async_trait::async_trait;

/// One agent. Implementations are shared by every node that carries them.
#[async_trait]
pub trait Agent: Send + Sync {
    /// Name, version, timeout and actions.
    fn metadata(&self) -> &Metadata;

    /// Whether action policies apply. Only the discovery agent, which has no actions, says no.
    fn authorized_by_policy(&self) -> bool {
        true
    }

    /// Answers one call. The runtime has checked the action against [`Metadata::actions`] and the
    /// caller against the node's policies, and gives up after [`Metadata::timeout`].
    async fn handle(&self, context: &AgentContext<'_>, call: &Call) -> Answer;
}
