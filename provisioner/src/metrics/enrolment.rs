//! Metrics of enrolments: steps, setbacks, arrivals, placements, revocations.

use std::collections::BTreeMap;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::{Registry, Unit};

use crate::code::Code;
use crate::ledger::{Committed, Reason, Source};
use crate::step::Step;

/// Bucket bounds of the steps, seconds: from what a local flush takes to what a
/// node takes that has to be waited for, or waits itself among a hundred thousand.
const BUCKETS: [f64; 18] = [
    0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 15.0, 60.0, 120.0,
    300.0, 900.0, 3_600.0,
];

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct StepLabel {
    step: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct CodeLabel {
    code: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct SourceLabel {
    source: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct TargetLabel {
    target: String,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct ReasonLabel {
    reason: &'static str,
}

/// What became of nodes; cheap to clone.
#[derive(Clone, Debug)]
pub struct EnrolmentMetrics {
    durations: Family<StepLabel, Histogram>,
    steps: Family<StepLabel, Counter>,
    setbacks: Family<CodeLabel, Counter>,
    dropped: Family<CodeLabel, Counter>,
    arrivals: Family<SourceLabel, Counter>,
    placements: Family<TargetLabel, Counter>,
    revocations: Family<ReasonLabel, Counter>,
}

impl EnrolmentMetrics {
    /// All of them, at zero.
    pub(super) fn register(registry: &mut Registry) -> Self {
        let metrics = Self {
            durations: Family::new_with_constructor(|| Histogram::new(BUCKETS)),
            steps: Family::default(),
            setbacks: Family::default(),
            dropped: Family::default(),
            arrivals: Family::default(),
            placements: Family::default(),
            revocations: Family::default(),
        };
        let help = "Time an enrolment step took, from entry to entry of the ledger";
        let durations = metrics.durations.clone();
        registry.register_with_unit("step_duration", help, Unit::Seconds, durations);
        let help = "Enrolment steps completed";
        registry.register("steps", help, metrics.steps.clone());
        let help = "Enrolments set back, by code";
        registry.register("setbacks", help, metrics.setbacks.clone());
        let help = "Events and arrivals not taken in, by code";
        registry.register("dropped", help, metrics.dropped.clone());
        let help = "Nodes heard of, by source";
        registry.register("arrivals", help, metrics.arrivals.clone());
        let help = "Nodes placed with a new certificate, by target";
        registry.register("placements", help, metrics.placements.clone());
        let help = "Certificates revoked, by reason";
        registry.register("revocations", help, metrics.revocations.clone());
        metrics.begin_at_zero();
        metrics
    }

    fn begin_at_zero(&self) {
        for &step in Step::ALL {
            drop(self.durations.get_or_create(&StepLabel::of(step)));
            drop(self.steps.get_or_create(&StepLabel::of(step)));
        }
        for &code in Code::ALL {
            drop(self.setbacks.get_or_create(&CodeLabel::of(code)));
            drop(self.dropped.get_or_create(&CodeLabel::of(code)));
        }
        for &source in Source::ALL {
            drop(self.arrivals.get_or_create(&SourceLabel::of(source)));
        }
        for &reason in Reason::ALL {
            drop(self.revocations.get_or_create(&ReasonLabel::of(reason)));
        }
    }

    /// Counts what has become durable.
    pub fn committed(&self, batch: &[Committed]) {
        for change in batch {
            if let Some((step, took_us)) = change.completed {
                self.steps.get_or_create(&StepLabel::of(step)).inc();
                if let Some(us) = took_us {
                    // Exact for any duration below 285 years.
                    #[expect(clippy::cast_precision_loss, reason = "see above")]
                    let seconds = us as f64 / 1e6;
                    let durations = self.durations.get_or_create(&StepLabel::of(step));
                    durations.observe(seconds);
                }
            }
            if let Some(target) = &change.placed {
                let target = target.clone();
                self.placements.get_or_create(&TargetLabel { target }).inc();
            }
            for revoked in &change.revoked {
                let reason = ReasonLabel::of(revoked.reason);
                self.revocations.get_or_create(&reason).inc();
            }
            if let Some((_, _, code)) = change.setback {
                self.setbacks.get_or_create(&CodeLabel::of(code)).inc();
            }
        }
    }

    /// Counts an event or arrival that was not taken in.
    pub fn dropped(&self, code: Code) {
        self.dropped.get_or_create(&CodeLabel::of(code)).inc();
    }

    /// What was not taken in so far, by code.
    #[must_use]
    pub fn dropped_so_far(&self) -> BTreeMap<String, u64> {
        let count = |&code: &Code| {
            let count = self.dropped.get(&CodeLabel::of(code))?.get();
            (count > 0).then(|| (code.to_string(), count))
        };
        Code::ALL.iter().filter_map(count).collect()
    }

    /// Counts a node heard of.
    pub fn arrived(&self, source: Source) {
        self.arrivals.get_or_create(&SourceLabel::of(source)).inc();
    }
}

impl StepLabel {
    const fn of(step: Step) -> Self {
        let step = step.as_str();
        Self { step }
    }
}

impl CodeLabel {
    const fn of(code: Code) -> Self {
        let code = code.as_str();
        Self { code }
    }
}

impl SourceLabel {
    const fn of(source: Source) -> Self {
        let source = source.as_str();
        Self { source }
    }
}

impl ReasonLabel {
    const fn of(reason: Reason) -> Self {
        let reason = reason.as_str();
        Self { reason }
    }
}
