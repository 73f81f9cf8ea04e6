//! Metrics of the queue: how many nodes there are now, and how long they wait.

use std::sync::atomic::AtomicU64;

use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::{Registry, Unit};

/// The nodes that are not enrolled yet; cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct QueueMetrics {
    /// Nodes waiting for a place.
    pub waiting: Gauge,
    /// Nodes being enrolled or awaited.
    pub working: Gauge,
    /// Nodes parked.
    pub parked: Gauge,
    /// Nodes waiting or parked that never answered.
    pub hearsay: Gauge,
    /// How long the first in the queue has waited, seconds.
    pub oldest: Gauge<f64, AtomicU64>,
}

impl QueueMetrics {
    /// All of them, at zero.
    pub(super) fn register(registry: &mut Registry) -> Self {
        let metrics = Self::default();
        let help = "Nodes waiting for a place";
        registry.register("queue_waiting", help, metrics.waiting.clone());
        let help = "Nodes being enrolled or awaited";
        registry.register("queue_working", help, metrics.working.clone());
        registry.register("queue_parked", "Nodes parked", metrics.parked.clone());
        let help = "Nodes waiting or parked that never answered";
        registry.register("queue_hearsay", help, metrics.hearsay.clone());
        let (help, oldest) = (
            "How long the first node in the queue has waited",
            metrics.oldest.clone(),
        );
        registry.register_with_unit("queue_oldest", help, Unit::Seconds, oldest);
        metrics
    }
}
