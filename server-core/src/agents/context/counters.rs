//! What a node counts, in the words of `rpcutil#daemon_stats` and a few of our own.

use std::sync::atomic::{AtomicU64, Ordering};

macro_rules! counters {
    ($($(#[$doc:meta])* $name:ident),+ $(,)?) => {
        /// Counters of one node.
        #[derive(Debug, Default)]
        pub struct Counters { $(pub(crate) $name: AtomicU64),+ }

        /// The counters at one moment.
        #[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
        pub struct CounterValues { $($(#[$doc])* pub $name: u64),+ }

        impl Counters {
            /// All counters now.
            #[must_use]
            pub fn values(&self) -> CounterValues {
                CounterValues { $($name: self.$name.load(Ordering::Relaxed)),+ }
            }
        }
    };
}

counters! {
    /// Messages received.
    total,
    /// Requests whose signature, caller, collective and time were accepted.
    validated,
    /// Requests refused: form, signature, caller or collective.
    unvalidated,
    /// Requests whose filter matched this node.
    passed,
    /// Requests whose filter did not.
    filtered,
    /// Requests with a compound filter, which match nothing.
    compound,
    /// Requests outside their time to live.
    ttlexpired,
    /// Replies published.
    replies,
    /// Lifecycle events published.
    events,
    /// Calls denied by policy.
    denied,
    /// Calls refused because too many were under way.
    busy,
    /// Requests for agents this node does not have.
    unknown_agent,
    /// Calls given up at their agent's timeout.
    timeouts,
    /// Answers that had nowhere to go: no usable reply subject, or the broker did not take them.
    unanswered,
    /// Messages lost because this node was too slow.
    dropped,
}

/// Adds one.
pub(crate) fn count(counter: &AtomicU64) {
    counter.fetch_add(1, Ordering::Relaxed);
}
