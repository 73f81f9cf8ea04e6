//! What a node tells the program it runs in.

use std::time::Duration;

use super::{Ended, Mode};
use crate::bus::{DialProgress, DialStep, Took};
use crate::wire::rpc::StatusCode;
use crate::words::Identity;
use std::sync::Arc;

/// Hears what happens to nodes; one observer may serve a whole swarm.
pub trait NodeObserver: Send + Sync {
    /// Called from the node's own task: it must not block, and the node waits while it runs.
    fn event(&self, node: &Identity, event: NodeEvent);
}

/// One moment in a node's life.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum NodeEvent {
    /// An attempt to connect begins, at first or again.
    Dialing {
        /// Which network.
        mode: Mode,
    },
    /// An attempt to connect succeeded. Told by dialers that see the layers apart.
    Dialed {
        /// Which network.
        mode: Mode,
        /// What each layer took.
        took: Took,
    },
    /// An attempt to connect failed; another follows.
    DialFailed {
        /// Which network.
        mode: Mode,
        /// Stable word for the reason.
        code: &'static str,
        /// The reason.
        why: String,
    },
    /// Connected for the first time in this life.
    Connected {
        /// Which network.
        mode: Mode,
        /// The broker's address.
        server: String,
        /// From the first attempt, waiting included.
        took: Duration,
    },
    /// Connected again after a loss.
    Reconnected {
        /// Which network.
        mode: Mode,
        /// The broker's address.
        server: String,
        /// From the loss.
        took: Duration,
    },
    /// All subscriptions are made.
    Subscribed {
        /// Which network.
        mode: Mode,
        /// How many.
        count: usize,
    },
    /// The startup event is published.
    Announced {
        /// Which network.
        mode: Mode,
    },
    /// A key and a request for its certificate were made.
    CsrMade,
    /// A configuration was taken.
    Configured,
    /// A restart was promised.
    Restarting {
        /// The delay.
        after: Duration,
    },
    /// The connection was lost.
    Disconnected,
    /// A call was answered.
    Answered {
        /// The agent.
        agent: Arc<str>,
        /// The status; `None` for answers that are not of the RPC form.
        code: Option<StatusCode>,
    },
    /// A message was not acted on.
    Dropped {
        /// Stable word for the reason.
        code: &'static str,
    },
    /// The node's run is over.
    Ended {
        /// How.
        how: Ended,
    },
}

/// An observer that hears nothing.
pub(super) struct Nobody;

impl NodeObserver for Nobody {
    fn event(&self, _: &Identity, _: NodeEvent) {}
}

/// Passes the dialler's steps on as events.
pub(super) struct DialObserver {
    pub(super) identity: Identity,
    pub(super) mode: Mode,
    pub(super) observer: Arc<dyn NodeObserver>,
}

impl DialProgress for DialObserver {
    fn step(&self, step: DialStep<'_>) {
        let mode = self.mode;
        let event = match step {
            DialStep::Attempt { .. } => NodeEvent::Dialing { mode },
            DialStep::Failed(error) => {
                tracing::info!(node = %self.identity, network = mode.as_str(), code = error.code(),
                    %error, "not connected yet");
                NodeEvent::DialFailed {
                    mode,
                    code: error.code(),
                    why: error.to_string(),
                }
            }
            // Of its connection the node itself tells, once it has it in hand.
            DialStep::Connected { took, .. } => NodeEvent::Dialed { mode, took },
        };
        self.observer.event(&self.identity, event);
    }
}
