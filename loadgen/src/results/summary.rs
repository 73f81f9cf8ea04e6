//! `summary.json`: the figures of a run. Durations are whole microseconds (`_us`), sizes bytes.

mod build;

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize, Serializer};

use crate::measure::{FaultRecord, FleetOutcome, Hist, Quantile, Storm};

/// `summary.json`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Summary {
    /// Version of this file.
    pub schema: u32,
    /// Identifier of the run.
    pub run: String,
    /// Name of the scenario.
    pub scenario: String,
    /// Nodes, counted.
    pub nodes: NodesSummary,
    /// Enrolment, from the provisioner's ledger; `null` when nothing was enrolled.
    pub enrolment: Option<EnrolmentSummary>,
    /// Certificates renewed; `null` where none were to be.
    #[serde(default)]
    pub renewal: Option<RenewalSummary>,
    /// First connections; `null` when none were counted.
    pub connect: Option<ConnectSummary>,
    /// Fan-outs by `phase/op`.
    pub rounds: BTreeMap<String, RoundsSummary>,
    /// Operations by `phase/op`.
    pub ops: BTreeMap<String, OpSummary>,
    /// Memory at its highest.
    pub memory: MemorySummary,
    /// CPU seconds.
    pub cpu_s: CpuSummary,
    /// Mass reconnects.
    pub storms: Vec<StormSummary>,
    /// Faults.
    pub faults: Vec<FaultSummary>,
    /// How the generator itself did.
    pub generator: GeneratorSummary,
}

/// Nodes, counted.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct NodesSummary {
    /// Nodes of the scenario.
    pub planned: u64,
    /// Most of them on the production network at one moment.
    pub connected: Option<u64>,
    /// Confirmed by the provisioner.
    pub confirmed: Option<u64>,
    /// Expected to be confirmed and not.
    pub stuck: Option<u64>,
}

/// Enrolment.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct EnrolmentSummary {
    /// Nodes that were confirmed.
    pub confirmed: u64,
    /// Confirmed per minute, from the first event to the last confirmation.
    pub per_min: Option<f64>,
    /// From the first startup event to the last confirmation.
    pub first_event_to_last_confirm_us: Option<u64>,
    /// Certificates that were issued.
    pub certificates_issued: Option<u64>,
    /// Public keys with more than one certificate.
    pub keys_signed_twice: Option<u64>,
    /// From a node's event to the restart request.
    pub to_restart_us: Option<Latency>,
    /// From a node's event to its confirmation.
    pub to_confirmed_us: Option<Latency>,
    /// Refusals, failures and retries by code.
    pub errors: BTreeMap<String, u64>,
    /// What came of each fleet; empty where every node was to be confirmed.
    #[serde(default)]
    pub outcomes: Vec<FleetOutcome>,
    /// Each step by name, in their order.
    pub steps: Steps,
}

/// Certificates renewed, as the nodes saw it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct RenewalSummary {
    /// Times a node was asked back, by the provisioner's ledger; `null` where that is not known.
    pub asked: Option<u64>,
    /// Nodes expected to be confirmed that were not at the end, by the provisioner's ledger; `null`
    /// where that is not known.
    #[serde(default)]
    pub unsettled: Option<u64>,
    /// Times an enrolled node left the production network to be enrolled again.
    pub left: u64,
    /// Times such a node was back, configured anew, and answered there.
    pub back: u64,
    /// Nodes that were back at least once.
    pub renewed: u64,
    /// Renewals of nodes that had been renewed before.
    pub repeated: u64,
    /// Times a node left before the time of renewal of its certificate; `null` where somebody else
    /// decides how long certificates are valid.
    pub early: Option<u64>,
    /// Times a node was back only after its certificate before had ended; `null` likewise.
    pub late: Option<u64>,
    /// From a node's leaving production to its first answer there.
    pub away_us: Latency,
}

/// Steps by name, in the order they are taken.
#[derive(Clone, Debug, Default, PartialEq, JsonSchema)]
#[schemars(with = "BTreeMap<String, StepSummary>")]
pub struct Steps(pub Vec<(String, StepSummary)>);

impl Serialize for Steps {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.iter().map(|(name, step)| (name, step)))
    }
}

impl<'de> Deserialize<'de> for Steps {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let map = serde_json::Map::deserialize(deserializer)?;
        let steps = map.into_iter().map(|(name, value)| {
            let step = serde_json::from_value(value).map_err(serde::de::Error::custom)?;
            Ok((name, step))
        });
        steps.collect::<Result<_, _>>().map(Self)
    }
}

/// One step of enrolment.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct StepSummary {
    /// How often it was taken.
    pub count: u64,
    /// How long it took.
    pub latency_us: Latency,
}

/// Percentiles in microseconds; `null` where the sample is too small.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Latency {
    /// Median.
    pub p50: Option<u64>,
    /// 90th percentile.
    pub p90: Option<u64>,
    /// 99th percentile.
    pub p99: Option<u64>,
    /// Largest.
    pub max: Option<u64>,
}

impl Latency {
    fn of(hist: Option<&Hist>) -> Self {
        hist.map_or(Self::default(), |hist| Self {
            p50: hist.quantile(Quantile::P50),
            p90: hist.quantile(Quantile::P90),
            p99: hist.quantile(Quantile::P99),
            max: hist.max(),
        })
    }
}

/// First connections.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ConnectSummary {
    /// Connections that came up.
    pub ok: u64,
    /// Connections that did not.
    pub errors: u64,
    /// From the first dial to the last connection.
    pub duration_us: Option<u64>,
    /// Dials, failed ones included.
    pub attempts: Option<u64>,
    /// TCP connect, name resolution included.
    #[serde(default)]
    pub tcp_us: Latency,
    /// TLS handshake.
    #[serde(default)]
    pub tls_us: Latency,
    /// The broker's greeting, authentication and first answer.
    #[serde(default)]
    pub nats_us: Latency,
}

/// The rounds of one operation, warm-up left out.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct RoundsSummary {
    /// How many rounds.
    pub rounds: u64,
    /// Replies that should have come.
    pub expected: u64,
    /// Replies that came, each node once a round.
    pub replies: u64,
    /// Expected replies that did not come in time.
    pub missing: u64,
    /// Further rounds that are left out, as loadgen's own connection was lost during them.
    #[serde(default)]
    pub interrupted: u64,
    /// Second and further replies of a node.
    pub duplicate: u64,
    /// Replies after their round was closed.
    pub late: u64,
    /// Replies with an error status.
    pub failed: u64,
    /// Replies of nodes nobody asked.
    pub unknown: u64,
    /// From sending to the first reply.
    pub first_us: FirstLast,
    /// From sending to the last reply.
    pub last_us: FirstLast,
}

/// Median and largest, microseconds.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct FirstLast {
    /// Median.
    pub p50: Option<u64>,
    /// Largest.
    pub max: Option<u64>,
}

/// One operation.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct OpSummary {
    /// How many were started.
    pub count: u64,
    /// How many ended in an error.
    pub errors: u64,
    /// How many were late.
    pub late: u64,
    /// Ended as they should, per second.
    pub rate_per_s: Option<f64>,
    /// Latency on both bases.
    pub latency_us: LatencyBases,
    /// Errors by kind.
    pub errors_by_kind: BTreeMap<String, u64>,
}

/// Latency from the intended and from the actual start.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct LatencyBases {
    /// From the intended start.
    pub intended: Latency,
    /// From the actual start.
    pub actual: Latency,
}

/// Memory at its highest, bytes.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct MemorySummary {
    /// All node processes.
    pub nodes_rss_bytes: Option<u64>,
    /// One node.
    pub rss_bytes_per_node: Option<u64>,
    /// All brokers.
    pub brokers_rss_bytes: Option<u64>,
    /// One broker's connection.
    pub broker_rss_bytes_per_connection: Option<u64>,
    /// All provisioners.
    pub provisioners_rss_bytes: Option<u64>,
}

/// CPU seconds.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct CpuSummary {
    /// All node processes.
    pub nodes: Option<f64>,
    /// All brokers.
    pub brokers: Option<f64>,
    /// All provisioners.
    pub provisioners: Option<f64>,
}

/// One mass reconnect. Times count from the fall unless they say otherwise.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct StormSummary {
    /// The phase it belongs to.
    pub phase: String,
    /// What was done.
    pub kind: String,
    /// To which brokers.
    pub targets: Vec<String>,
    /// When the brokers went, from the run's start.
    pub at_us: u64,
    /// How long they were away; `null` when they stayed away.
    pub down_us: Option<u64>,
    /// Nodes that lost their connection, or left it because its end was announced.
    pub affected: u64,
    /// Of these, nodes that left before they were cut.
    pub moved: u64,
    /// Nodes that came back.
    pub back: u64,
    /// From the brokers' return to the last node's: 0 when all were back before, from the fall where
    /// the brokers stayed away, `null` when somebody stayed away.
    pub time_to_all_us: Option<u64>,
    /// From the fall to the last node's return.
    pub fall_to_all_us: Option<u64>,
    /// From the brokers' return to the first node's after it.
    pub first_back_after_up_us: Option<u64>,
    /// When half, 90 %, 99 % and all of them were back.
    pub back_us: Latency,
    /// Dials by the affected nodes.
    pub attempts: Option<u64>,
    /// Of these, how many failed.
    pub failed: Option<u64>,
    /// Dials by each affected node.
    pub attempts_per_node: Option<f64>,
}

impl From<&Storm> for StormSummary {
    fn from(storm: &Storm) -> Self {
        Self {
            phase: storm.phase.clone(),
            kind: storm.kind.clone(),
            targets: storm.targets.clone(),
            at_us: storm.at_us,
            down_us: storm.down_us,
            affected: storm.affected,
            moved: storm.moved,
            back: storm.back,
            time_to_all_us: storm.time_to_all_us,
            fall_to_all_us: storm.fall_to_all_us,
            first_back_after_up_us: storm.first_back_after_up_us,
            back_us: Latency {
                p50: storm.back_p50_us,
                p90: storm.back_p90_us,
                p99: storm.back_p99_us,
                max: storm.fall_to_all_us,
            },
            attempts: Some(storm.attempts),
            failed: Some(storm.failed),
            attempts_per_node: storm.attempts_per_node(),
        }
    }
}

/// One fault.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct FaultSummary {
    /// The phase it belongs to.
    pub phase: String,
    /// What was done.
    pub kind: String,
    /// To whom.
    pub target: String,
    /// When, from the run's start; `null` when it never came to it.
    pub at_us: Option<u64>,
    /// How long the target was away.
    pub down_us: Option<u64>,
    /// From the return of links until their brokers were linked again; `null` for faults that fall
    /// on no links.
    #[serde(default)]
    pub relinked_us: Option<u64>,
    /// Whether it fell where it was meant to.
    pub happened: bool,
    /// What was seen.
    pub note: String,
}

impl From<&FaultRecord> for FaultSummary {
    fn from(fault: &FaultRecord) -> Self {
        Self {
            phase: fault.phase.clone(),
            kind: fault.kind.clone(),
            target: fault.target.clone(),
            at_us: fault.at_us,
            down_us: fault.down_us,
            relinked_us: fault.relinked_us,
            happened: fault.happened,
            note: fault.note.clone(),
        }
    }
}

/// How the generator itself did, while open-paced operations were running.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct GeneratorSummary {
    /// `healthy`, or `limited` when it breached a limit; `null` when it was not measured.
    pub health: Option<String>,
    /// How late its timers fired, 99th percentile.
    pub sched_lag_p99_us: Option<u64>,
    /// CPU of the busiest worker, percent of one core.
    pub cpu_pct_max: Option<f64>,
    /// Share of sends that were late, percent.
    pub late_sends_pct: Option<f64>,
    /// Most descriptors a worker had open.
    pub descriptors_max: Option<u64>,
}
