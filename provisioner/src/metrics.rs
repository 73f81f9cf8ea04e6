//! Metrics for Prometheus: one histogram a step, setbacks by code, the queue, the hook.
//!
//! Steps and setbacks are counted from what the ledger has made durable, so a
//! metric never tells of something a kill could take back.

mod hook;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::AtomicI64;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::{Registry, Unit};

use crate::code::Code;
use crate::ledger::{Committed, Source};
use crate::step::Step;
pub use hook::HookMetrics;

/// Bucket bounds of the steps, seconds: from what a local flush takes to what a
/// node that has to be waited for takes.
const BUCKETS: [f64; 14] = [
    0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 15.0, 60.0,
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

/// Every metric of the service; cheap to clone.
#[derive(Clone, Debug)]
pub struct Metrics {
    registry: Arc<Registry>,
    steps: Family<StepLabel, Histogram>,
    done: Family<StepLabel, Counter>,
    setbacks: Family<CodeLabel, Counter>,
    dropped: Family<CodeLabel, Counter>,
    arrivals: Family<SourceLabel, Counter>,
    placements: Family<TargetLabel, Counter>,
    revocations: Family<ReasonLabel, Counter>,
    /// Enrolled nodes that may be asked back to renew their certificates now.
    renewals_due: Gauge,
    /// Enrolled nodes whose certificates are to be renewed and that wait for a person.
    renewals_waiting: Gauge,
    /// What is asked of the hook.
    pub hook: HookMetrics,
    /// End of the list of revoked certificates, seconds since 1970; 0 when none is made.
    pub list_until: Gauge,
    /// Last line of the audit log that a stream was told.
    pub told: Gauge,
    /// 1 while a stream cannot be told.
    pub untold: Gauge,
    /// 1 when this service leads the election it stands in.
    pub leads: Gauge,
    /// Nodes waiting for a place.
    pub waiting: Gauge,
    /// Nodes being enrolled or awaited.
    pub working: Gauge,
    /// Nodes parked.
    pub parked: Gauge,
    /// Nodes waiting or parked that never answered.
    pub hearsay: Gauge,
    /// 1 when no new node is taken up.
    pub paused: Gauge,
    /// How long the first in the queue has waited, seconds.
    pub oldest: Gauge<f64, std::sync::atomic::AtomicU64>,
    /// 1 when ready.
    pub ready: Gauge<i64, AtomicI64>,
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}

impl Metrics {
    /// All of them, at zero.
    #[must_use]
    pub fn new() -> Self {
        let mut registry = Registry::with_prefix("provisioner");
        let steps =
            Family::<StepLabel, Histogram>::new_with_constructor(|| Histogram::new(BUCKETS));
        let done = Family::default();
        let setbacks = Family::default();
        let dropped = Family::default();
        let arrivals = Family::default();
        let placements = Family::default();
        let revocations = Family::default();
        let (renewals_due, renewals_waiting) = (Gauge::default(), Gauge::default());
        let help = "Nodes that may be asked back to renew their certificates now";
        registry.register("renewals_due", help, renewals_due.clone());
        let help = "Nodes whose renewal waits for approval or for another provisioning token";
        registry.register("renewals_waiting", help, renewals_waiting.clone());
        let hook = HookMetrics::register(&mut registry);
        let list_until = Gauge::default();
        let (waiting, working, parked) = (Gauge::default(), Gauge::default(), Gauge::default());
        let (oldest, ready) = (Gauge::default(), Gauge::default());
        let (hearsay, paused) = (Gauge::default(), Gauge::default());
        let help = "Time an enrolment step took, from entry to entry of the ledger";
        registry.register_with_unit("step_duration", help, Unit::Seconds, steps.clone());
        registry.register("steps", "Enrolment steps completed", done.clone());
        registry.register("setbacks", "Enrolments set back, by code", setbacks.clone());
        let help = "Events and arrivals not taken in, by code";
        registry.register("dropped", help, dropped.clone());
        registry.register("arrivals", "Nodes heard of, by source", arrivals.clone());
        let help = "Nodes placed with a new certificate, by target";
        registry.register("placements", help, placements.clone());
        let help = "Certificates revoked, by reason";
        registry.register("revocations", help, revocations.clone());
        let help = "When the list of revoked certificates ends, Unix time";
        registry.register_with_unit("list_until", help, Unit::Seconds, list_until.clone());
        registry.register(
            "queue_waiting",
            "Nodes waiting for a place",
            waiting.clone(),
        );
        registry.register(
            "queue_working",
            "Nodes being enrolled or awaited",
            working.clone(),
        );
        registry.register("queue_parked", "Nodes parked", parked.clone());
        let help = "How long the first node in the queue has waited";
        registry.register_with_unit("queue_oldest", help, Unit::Seconds, oldest.clone());
        let help = "Nodes waiting or parked that never answered";
        registry.register("queue_hearsay", help, hearsay.clone());
        let help = "1 when an operator has paused the service";
        registry.register("paused", help, paused.clone());
        registry.register("ready", "1 when nodes can be enrolled", ready.clone());
        let (told, untold, leads) = (Gauge::default(), Gauge::default(), Gauge::default());
        let help = "Last line of the audit log that the stream of events was told";
        registry.register("events_told", help, told.clone());
        let help = "1 while the stream of events cannot be told";
        registry.register("events_stuck", help, untold.clone());
        let help = "1 when the service leads the election it stands in";
        registry.register("election_leads", help, leads.clone());
        for step in Step::ALL {
            let label = StepLabel {
                step: step.as_str(),
            };
            drop(steps.get_or_create(&label));
            drop(done.get_or_create(&label));
        }
        Self {
            registry: Arc::new(registry),
            steps,
            done,
            setbacks,
            dropped,
            arrivals,
            placements,
            revocations,
            renewals_due,
            renewals_waiting,
            hook,
            list_until,
            told,
            untold,
            leads,
            waiting,
            working,
            parked,
            hearsay,
            paused,
            oldest,
            ready,
        }
    }

    /// Counts what has become durable.
    pub fn committed(&self, batch: &[Committed]) {
        for change in batch {
            if let Some((step, took_us)) = change.completed {
                let label = StepLabel {
                    step: step.as_str(),
                };
                self.done.get_or_create(&label).inc();
                if let Some(us) = took_us {
                    // Exact for any duration below 285 years.
                    #[expect(clippy::cast_precision_loss, reason = "see above")]
                    let seconds = us as f64 / 1e6;
                    self.steps.get_or_create(&label).observe(seconds);
                }
            }
            if let Some(target) = &change.placed {
                let target = target.clone();
                self.placements.get_or_create(&TargetLabel { target }).inc();
            }
            for revoked in &change.revoked {
                let label = ReasonLabel {
                    reason: revoked.reason.as_str(),
                };
                self.revocations.get_or_create(&label).inc();
            }
            if let Some((_, _, code)) = change.setback {
                let label = CodeLabel {
                    code: code.as_str(),
                };
                self.setbacks.get_or_create(&label).inc();
            }
        }
    }

    /// Tells how many renewals are due, and how many wait for a person.
    pub(crate) fn renewals(&self, due: usize, waiting: usize) {
        let count = |n: usize| i64::try_from(n).unwrap_or(i64::MAX);
        self.renewals_due.set(count(due));
        self.renewals_waiting.set(count(waiting));
    }

    /// Counts an event or arrival that was not taken in.
    pub fn dropped(&self, code: Code) {
        let label = CodeLabel {
            code: code.as_str(),
        };
        self.dropped.get_or_create(&label).inc();
    }

    /// What was not taken in so far, by code.
    #[must_use]
    pub fn dropped_so_far(&self) -> BTreeMap<String, u64> {
        let count = |code: &Code| {
            let label = CodeLabel {
                code: code.as_str(),
            };
            Some((code.to_string(), self.dropped.get(&label)?.get()))
        };
        Code::ALL.iter().filter_map(count).collect()
    }

    /// Counts a node heard of.
    pub fn arrived(&self, source: Source) {
        let label = SourceLabel {
            source: source.as_str(),
        };
        self.arrivals.get_or_create(&label).inc();
    }

    /// Everything, in the `OpenMetrics` text format.
    #[must_use]
    pub fn text(&self) -> String {
        let mut text = String::new();
        // Writing to a string cannot fail.
        let _ = encode(&mut text, &self.registry);
        text
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::hook::{Decision, HookAnswer, HookError, Standing};
    use crate::ledger::{Reason, Revocation};
    use crate::step::State;

    fn revocation() -> Revocation {
        Revocation {
            identity: "n1".to_owned(),
            key: "k1".to_owned(),
            serial: "s1".to_owned(),
            not_after: None,
            at: jiff::Timestamp::UNIX_EPOCH,
            reason: Reason::Superseded,
        }
    }

    #[test]
    fn steps_and_setbacks_are_told_by_name() {
        let metrics = Metrics::new();
        metrics.committed(&[
            Committed {
                identity: "n1".to_owned(),
                completed: Some((Step::Csr, Some(30_000))),
                setback: None,
                placed: None,
                revoked: Vec::new(),
            },
            Committed {
                identity: "n2".to_owned(),
                completed: None,
                setback: Some((Step::Inspect, State::Parked, Code::RpcTimeout)),
                placed: None,
                revoked: Vec::new(),
            },
        ]);
        let text = metrics.text();
        for line in [
            "provisioner_step_duration_seconds_bucket{le=\"0.05\",step=\"csr\"} 1",
            "provisioner_steps_total{step=\"csr\"} 1",
            "provisioner_steps_total{step=\"confirm\"} 0",
            "provisioner_setbacks_total{code=\"rpc.timeout\"} 1",
            "provisioner_ready 0",
        ] {
            assert!(text.contains(line), "{line} is not in\n{text}");
        }
    }

    #[test]
    fn what_becomes_of_questions_to_the_hook_is_told_by_kind() {
        let metrics = Metrics::new();
        let second = Duration::from_secs(1);
        let asked = [(); 2].map(|()| metrics.hook.asked("vault"));
        let refused = Ok(HookAnswer::new(Decision::Refuse, String::new()));
        metrics.hook.answered("vault", &refused, second);
        let hung = Err(HookError::new(Code::CaUnavailable, "silent"));
        metrics.hook.answered("vault", &hung, second * 10);
        metrics.hook.unasked("vault", Code::CaThrottled);
        metrics.hook.standing("vault", Standing::Closed);
        metrics.hook.standing("vault", Standing::Open);
        let wanted = [
            "hook_requests_total{hook=\"vault\",outcome=\"refuse\"} 1",
            "hook_requests_total{hook=\"vault\",outcome=\"ca.unavailable\"} 1",
            "hook_unasked_total{hook=\"vault\",code=\"ca.throttled\"} 1",
            "hook_request_duration_seconds_count{hook=\"vault\"} 2",
            "hook_request_duration_seconds_bucket{le=\"1.0\",hook=\"vault\"} 1",
            "hook_in_flight{hook=\"vault\"} 2",
            "hook_breaker{hook=\"vault\",state=\"open\"} 1",
            "hook_breaker{hook=\"vault\",state=\"closed\"} 0",
        ];
        let text = metrics.text();
        for line in wanted.map(|line| format!("provisioner_{line}\n")) {
            assert!(text.contains(&line), "{line} is not in\n{text}");
        }
        drop(asked);
        let text = metrics.text();
        assert!(text.contains("hook_in_flight{hook=\"vault\"} 0"), "{text}");
    }

    /// What is shipped for Grafana and Prometheus speaks of metrics that exist, and
    /// of all of them; and of codes that exist.
    #[test]
    fn dashboard_and_alerts_name_what_there_is() {
        let dashboard = include_str!("../../deploy/grafana/muster-provisioner.json");
        let alerts = include_str!("../../deploy/prometheus/muster-alerts.yaml");
        assert!(serde_json::from_str::<serde_json::Value>(dashboard).is_ok());
        let metrics = Metrics::new();
        metrics.dropped(Code::EventStale);
        metrics.arrived(Source::Startup);
        metrics.committed(&[Committed {
            identity: "n1".to_owned(),
            completed: None,
            setback: Some((Step::Inspect, State::Parked, Code::RpcTimeout)),
            placed: Some("west".to_owned()),
            revoked: vec![revocation()],
        }]);
        drop(metrics.hook.asked("vault"));
        let slow = Err(HookError::new(Code::CaThrottled, "slower"));
        metrics.hook.answered("vault", &slow, Duration::ZERO);
        metrics.hook.unasked("vault", Code::CaThrottled);
        metrics.hook.standing("vault", Standing::Throttled);
        let text = metrics.text();
        let mut served = std::collections::BTreeSet::new();
        for line in text.lines().filter_map(|line| line.strip_prefix("# TYPE ")) {
            let mut words = line.split(' ');
            let (name, kind) = (words.next().unwrap_or(""), words.next().unwrap_or(""));
            let suffix = match kind {
                "counter" => "_total",
                "histogram" => "_bucket",
                _ => "",
            };
            served.insert(format!("{name}{suffix}"));
        }
        let shipped = [dashboard, alerts].join("\n");
        let is_word = |c: char| c.is_ascii_lowercase() || c == '_';
        let named: std::collections::BTreeSet<String> = shipped
            .split(|c| !is_word(c))
            .filter(|word| word.starts_with("provisioner_"))
            .map(str::to_owned)
            .collect();
        assert_eq!(named, served);
        for list in alerts.split("code=~\"").skip(1) {
            let list = list.split('"').next().unwrap_or("");
            for code in list.split('|').filter(|code| !code.contains('*')) {
                assert!(code.parse::<Code>().is_ok(), "{code} is no code");
            }
        }
    }
}
