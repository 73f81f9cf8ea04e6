//! What an observer makes of a node's events.

use std::sync::Arc;

use server_core::node::{Mode, NodeEvent, NodeObserver};
use server_core::words::Identity;

use crate::worker::cell::{Cell, Seen};

/// Tells a cell what its node tells.
pub(super) struct Watcher(pub(super) Arc<Cell>);

impl NodeObserver for Watcher {
    fn event(&self, node: &Identity, event: NodeEvent) {
        let production = |mode| mode == Mode::Production;
        let seen = match event {
            NodeEvent::Dialing { .. } => Seen::Dialing,
            NodeEvent::Dialed { took, .. } => Seen::Dialled { took },
            NodeEvent::DialFailed { why, .. } => {
                tracing::debug!(node = %node, why, "a dial failed");
                Seen::DialFailed
            }
            NodeEvent::Subscribed { mode, .. } | NodeEvent::Reconnected { mode, .. } => {
                Seen::Subscribed {
                    production: production(mode),
                }
            }
            NodeEvent::Announced { mode } => Seen::Announced {
                production: production(mode),
            },
            NodeEvent::CsrMade => Seen::CsrMade,
            NodeEvent::Configured => Seen::Configured,
            NodeEvent::Restarting { .. } => Seen::Restarting,
            NodeEvent::Disconnected => Seen::Disconnected,
            NodeEvent::Answered { agent, .. } if &*agent == "discovery" => Seen::AnsweredDiscovery,
            _ => return,
        };
        self.0.saw(seen);
    }
}
