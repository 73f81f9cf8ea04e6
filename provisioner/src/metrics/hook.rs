//! Metrics of the hook: what was asked, what came of it, how long it took, and whether it is left
//! alone.

use std::time::Duration;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::{Registry, Unit};

use crate::code::Code;
use crate::hook::{Decision, HookAnswer, HookError, Standing};

/// Bucket bounds of questions, seconds: from a signature of our own to an order at an ACME server.
/// The alerts' thresholds, 5 and 30, are among them: within a bucket a quantile is a guess.
const BUCKETS: [f64; 16] = [
    0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0,
    60.0,
];

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct Kind {
    hook: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct Outcome {
    hook: &'static str,
    outcome: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct Unasked {
    hook: &'static str,
    code: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct State {
    hook: &'static str,
    state: &'static str,
}

/// The metrics of hooks, by kind; cheap to clone.
#[derive(Clone, Debug)]
pub struct HookMetrics {
    requests: Family<Outcome, Counter>,
    unasked: Family<Unasked, Counter>,
    duration: Family<Kind, Histogram>,
    in_flight: Family<Kind, Gauge>,
    breaker: Family<State, Gauge>,
}

impl HookMetrics {
    /// All of them, of no hook yet.
    pub(super) fn register(registry: &mut Registry) -> Self {
        let metrics = Self {
            requests: Family::default(),
            unasked: Family::default(),
            duration: Family::new_with_constructor(|| Histogram::new(BUCKETS)),
            in_flight: Family::default(),
            breaker: Family::default(),
        };
        let help = "Questions to the hook about nodes, by its decision or the code of its failure";
        registry.register("hook_requests", help, metrics.requests.clone());
        let help =
            "Nodes put off without asking the hook, which is left alone or would be asked too fast";
        registry.register("hook_unasked", help, metrics.unasked.clone());
        let help = "How long the hook took to answer, or to fail";
        let durations = metrics.duration.clone();
        registry.register_with_unit("hook_request_duration", help, Unit::Seconds, durations);
        let help = "Questions to the hook that are not answered yet";
        registry.register("hook_in_flight", help, metrics.in_flight.clone());
        let help =
            "1 for the state of the breaker before the hook: closed, open, trying or throttled";
        registry.register("hook_breaker", help, metrics.breaker.clone());
        metrics
    }

    /// A question is asked; it is in flight until what is returned is dropped.
    pub(crate) fn asked(&self, hook: &'static str) -> InFlight {
        let gauge = self.in_flight.get_or_create(&Kind { hook }).clone();
        gauge.inc();
        InFlight(gauge)
    }

    /// A question was answered, or was not.
    pub(crate) fn answered(
        &self,
        hook: &'static str,
        answer: &Result<HookAnswer, HookError>,
        took: Duration,
    ) {
        let outcome = match answer {
            Ok(answer) => word(&answer.decision),
            Err(error) => error.code.as_str(),
        };
        self.requests
            .get_or_create(&Outcome { hook, outcome })
            .inc();
        let durations = self.duration.get_or_create(&Kind { hook });
        durations.observe(took.as_secs_f64());
    }

    /// Nobody was asked.
    pub(crate) fn unasked(&self, hook: &'static str, code: Code) {
        let code = code.as_str();
        self.unasked.get_or_create(&Unasked { hook, code }).inc();
    }

    /// Tells the state of the breaker.
    pub(crate) fn standing(&self, hook: &'static str, now: Standing) {
        for standing in Standing::ALL {
            let state = standing.as_str();
            let gauge = self.breaker.get_or_create(&State { hook, state });
            gauge.set(i64::from(standing == now));
        }
    }
}

const fn word(decision: &Decision) -> &'static str {
    match decision {
        Decision::Issue(_) => "issue",
        Decision::Defer => "defer",
        Decision::Refuse => "refuse",
        Decision::Quarantine => "quarantine",
        Decision::Shutdown => "shutdown",
    }
}

/// A question that is not answered yet, or given up.
#[derive(Debug)]
pub(crate) struct InFlight(Gauge);

impl Drop for InFlight {
    fn drop(&mut self) {
        self.0.dec();
    }
}
