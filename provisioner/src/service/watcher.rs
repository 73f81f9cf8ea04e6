//! What the ledger's writer tells metrics and readiness.

use std::sync::Arc;

use crate::ledger::{Committed, LedgerError, Observer};
use crate::metrics::Metrics;
use crate::ready::{Part, Readiness};

/// Watches the ledger for metrics and readiness.
pub(super) struct Watcher {
    metrics: Metrics,
    ready: Arc<Readiness>,
}

impl Watcher {
    pub(super) fn new(metrics: &Metrics, ready: &Arc<Readiness>) -> Self {
        Self {
            metrics: metrics.clone(),
            ready: Arc::clone(ready),
        }
    }
}

impl Observer for Watcher {
    fn committed(&self, batch: &[Committed]) {
        self.metrics.enrolment.committed(batch);
        if self.ready.met(Part::Ledger) {
            tracing::info!("ledger and audit log can be written");
        }
    }

    fn failed(&self, error: &LedgerError) {
        self.metrics.enrolment.dropped(error.code());
        self.ready
            .missed(Part::Ledger, format!("{}: {error}", error.code()));
    }
}
