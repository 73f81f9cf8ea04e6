//! Metrics for Prometheus: one histogram a step, setbacks by code, the queue, the hook.
//!
//! Steps and setbacks are counted from what the ledger has made durable, so a
//! metric never tells of something a kill could take back. Counters whose labels are known
//! beforehand are there from the start, at zero: an alert on an increase would not see the first.

mod enrolment;
mod hook;
mod queue;

use std::sync::Arc;

use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::{Registry, Unit};

pub use enrolment::EnrolmentMetrics;
pub use hook::HookMetrics;
pub use queue::QueueMetrics;

/// Every metric of the service; cheap to clone.
#[derive(Clone, Debug)]
pub struct Metrics {
    registry: Arc<Registry>,
    /// What becomes of nodes.
    pub enrolment: EnrolmentMetrics,
    /// The nodes there are now.
    pub queue: QueueMetrics,
    /// What is asked of the hook.
    pub hook: HookMetrics,
    /// What goes on beside the enrolments.
    pub service: ServiceMetrics,
}

/// The service itself, and what it does beside enrolling.
#[derive(Clone, Debug, Default)]
pub struct ServiceMetrics {
    /// 1 when nodes can be enrolled.
    pub ready: Gauge,
    /// 1 when no new node is taken up.
    pub paused: Gauge,
    /// 1 when this service leads the election it stands in.
    pub leads: Gauge,
    /// Enrolled nodes that may be asked back to renew their certificates now.
    renewals_due: Gauge,
    /// Enrolled nodes whose certificates are to be renewed and that wait for a person.
    renewals_waiting: Gauge,
    /// End of the list of revoked certificates, seconds since 1970; 0 when none is made.
    pub list_until: Gauge,
    /// Last line of the audit log that a stream was told.
    pub told: Gauge,
    /// 1 while a stream cannot be told.
    pub untold: Gauge,
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
        let enrolment = EnrolmentMetrics::register(&mut registry);
        let queue = QueueMetrics::register(&mut registry);
        let hook = HookMetrics::register(&mut registry);
        let service = ServiceMetrics::register(&mut registry);
        Self {
            registry: Arc::new(registry),
            enrolment,
            queue,
            hook,
            service,
        }
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

impl ServiceMetrics {
    fn register(registry: &mut Registry) -> Self {
        let metrics = Self::default();
        let mut gauge = |name: &str, help: &str, gauge: &Gauge| {
            registry.register(name, help, gauge.clone());
        };
        gauge("ready", "1 when nodes can be enrolled", &metrics.ready);
        let help = "1 when an operator has paused the service";
        gauge("paused", help, &metrics.paused);
        let help = "1 when the service leads the election it stands in";
        gauge("election_leads", help, &metrics.leads);
        let help = "Nodes that may be asked back to renew their certificates now";
        gauge("renewals_due", help, &metrics.renewals_due);
        let help = "Nodes whose renewal waits for approval or for another provisioning token";
        gauge("renewals_waiting", help, &metrics.renewals_waiting);
        let help = "Last line of the audit log that the stream of events was told";
        gauge("events_told", help, &metrics.told);
        let help = "1 while the stream of events cannot be told";
        gauge("events_stuck", help, &metrics.untold);
        let (help, until) = (
            "When the list of revoked certificates ends, Unix time",
            metrics.list_until.clone(),
        );
        registry.register_with_unit("list_until", help, Unit::Seconds, until);
        metrics
    }

    /// Tells how many renewals are due, and how many wait for a person.
    pub(crate) fn renewals(&self, due: usize, waiting: usize) {
        let count = |n: usize| i64::try_from(n).unwrap_or(i64::MAX);
        self.renewals_due.set(count(due));
        self.renewals_waiting.set(count(waiting));
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::code::Code;
    use crate::hook::{Decision, HookAnswer, HookError, Standing};
    use crate::ledger::{Committed, Reason, Revocation, Source};
    use crate::step::{State, Step};

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
        metrics.enrolment.committed(&[
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
            "provisioner_setbacks_total{code=\"key.reused\"} 0",
            "provisioner_dropped_total{code=\"identity.banned\"} 0",
            "provisioner_arrivals_total{source=\"sweep\"} 0",
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
        metrics.enrolment.dropped(Code::EventStale);
        metrics.enrolment.arrived(Source::Startup);
        metrics.enrolment.committed(&[Committed {
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
