//! Everything a run has measured so far: the one thing asserts, results and views read.

use std::collections::BTreeMap;

use super::gauge::Gauge;
use super::storm::{Fall, Storm, storms};
use super::{
    Counter, Counters, Enrolment, FleetCounts, Hist, Links, OpDelta, OpKey, Renewals, Round,
    Series, Snapshot,
};

/// Merged numbers of a run. The coordinator owns one and feeds it; nothing else writes to it.
#[derive(Clone, Debug, Default)]
pub struct Totals {
    /// What each operation did, by phase and operation.
    pub ops: BTreeMap<OpKey, OpTotal>,
    /// What the provisioner's ledger says of the enrolments.
    pub enrolment: Option<Enrolment>,
    /// First connections to the production network, where they are counted apart from the
    /// operations that made them (a node that is enrolled connects in the course of it).
    pub connect: Option<ConnectTotals>,
    /// Most nodes on the production network at one moment.
    pub connected_most: Option<u64>,
    /// Per phase, how the generator itself did.
    pub generator: BTreeMap<String, GeneratorTotals>,
    /// Per phase and broker, what the brokers reported.
    pub brokers: BTreeMap<String, BTreeMap<String, BrokerTotals>>,
    /// Certificates renewed, where that is wanted or happened.
    pub renewals: Option<Renewals>,
    /// Faults in the order they were asked for.
    pub faults: Vec<FaultRecord>,
    /// Faults on brokers as they fell.
    pub falls: Vec<Fall>,
    /// Connections lost and made again.
    pub links: Links,
    /// Mass reconnects, one per fall; as of the last [`Totals::follow_storms`].
    pub storms: Vec<Storm>,
    /// Memory at its highest.
    pub memory: Memory,
    /// CPU seconds of all node processes.
    pub cpu_nodes_s: Option<f64>,
    /// CPU seconds of all brokers we started.
    pub cpu_brokers_s: Option<f64>,
    /// CPU seconds of all provisioners we started.
    pub cpu_provisioners_s: Option<f64>,
    workers: BTreeMap<u32, LastSeen>,
}

/// The latest state a worker told of.
#[derive(Clone, Debug, Default)]
struct LastSeen {
    next_seq: u64,
    fleets: Vec<FleetCounts>,
}

impl Totals {
    /// Nothing measured yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// The same where renewals are wanted: none is a figure then. With their time known, it is told
    /// from the start how many came too early or too late.
    pub fn with_renewals(timed: bool) -> Self {
        Self {
            renewals: Some(Renewals::none(timed)),
            ..Self::default()
        }
    }

    /// Adds a snapshot taken while `phase` was running. Returns how many snapshots of that worker
    /// were lost before it: anything but 0 means that numbers are missing.
    pub fn absorb(&mut self, phase: &str, snapshot: &Snapshot) -> u64 {
        for (key, delta) in &snapshot.ops {
            self.ops.entry(key.clone()).or_default().absorb(delta);
        }
        self.links.merge(&snapshot.links);
        if let Some(renewals) = &snapshot.renewals {
            self.renewals.get_or_insert_default().merge(renewals);
        }
        let late: u64 = snapshot
            .ops
            .values()
            .map(|op| op.counters.of(Counter::Late))
            .sum();
        let started: u64 = snapshot
            .ops
            .values()
            .map(|op| op.counters.of(Counter::Started))
            .sum();
        self.generator
            .entry(phase.to_owned())
            .or_default()
            .absorb(snapshot, started, late);

        let worker = self.workers.entry(snapshot.worker).or_default();
        let lost = snapshot.seq.saturating_sub(worker.next_seq);
        worker.next_seq = snapshot.seq.saturating_add(1);
        worker.fleets.clone_from(&snapshot.fleets);
        let up: u64 = self
            .workers
            .values()
            .flat_map(|worker| &worker.fleets)
            .map(FleetCounts::up)
            .sum();
        self.connected_most = Some(self.connected_most.unwrap_or_default().max(up));
        lost
    }

    /// Adds what one broker reported while `phase` was running.
    pub fn absorb_broker(&mut self, phase: &str, broker: &str, sample: &BrokerSample) {
        self.brokers
            .entry(phase.to_owned())
            .or_default()
            .entry(broker.to_owned())
            .or_default()
            .absorb(sample);
    }

    /// Tells when an operation ran, µs from the run's start; its rates are computed from it.
    pub fn set_window(&mut self, key: &OpKey, started_us: u64, ended_us: u64) {
        let op = self.ops.entry(key.clone()).or_default();
        op.started_us = Some(op.started_us.map_or(started_us, |at| at.min(started_us)));
        op.ended_us = Some(op.ended_us.map_or(ended_us, |at| at.max(ended_us)));
    }

    /// Brings the storms up to date with what is known of falls and links.
    pub fn follow_storms(&mut self) {
        self.storms = storms(&self.falls, &self.links);
    }

    /// Nodes by fleet and state now, all workers together, fleets in name order.
    pub fn fleets(&self) -> Vec<FleetCounts> {
        let mut merged: BTreeMap<&str, FleetCounts> = BTreeMap::new();
        for counts in self.workers.values().flat_map(|worker| &worker.fleets) {
            let entry = merged.entry(&counts.fleet).or_insert_with(|| FleetCounts {
                fleet: counts.fleet.clone(),
                ..FleetCounts::default()
            });
            for (state, n) in &counts.nodes {
                *entry.nodes.entry(*state).or_default() += n;
            }
            entry.confirmed += counts.confirmed;
        }
        merged.into_values().collect()
    }

    /// The generator's health over the phases that match.
    pub fn generator_over(&self, mut wanted: impl FnMut(&str) -> bool) -> GeneratorTotals {
        let mut all = GeneratorTotals::default();
        for (_, totals) in self.generator.iter().filter(|(phase, _)| wanted(phase)) {
            all.merge(totals);
        }
        all
    }
}

/// Everything one operation did.
#[derive(Clone, Debug, Default)]
pub struct OpTotal {
    /// Counts.
    pub counters: Counters,
    /// Distributions.
    pub series: BTreeMap<Series, Hist>,
    /// Errors by kind.
    pub errors: BTreeMap<String, u64>,
    /// Rounds, warm-up ones included.
    pub rounds: Vec<Round>,
    /// Start, µs from the run's start.
    pub started_us: Option<u64>,
    /// End, µs from the run's start.
    pub ended_us: Option<u64>,
}

impl OpTotal {
    fn absorb(&mut self, delta: &OpDelta) {
        self.counters.merge(&delta.counters);
        for (series, hist) in &delta.series {
            self.series.entry(*series).or_default().merge(hist);
        }
        for (kind, n) in &delta.errors {
            *self.errors.entry(kind.clone()).or_default() += n;
        }
        self.rounds.extend_from_slice(&delta.rounds);
    }

    /// How long it ran, µs.
    pub fn duration_us(&self) -> Option<u64> {
        Some(self.ended_us?.saturating_sub(self.started_us?))
    }

    /// Operations that ended as they should, per second of the time it ran.
    pub fn rate_per_s(&self) -> Option<f64> {
        let ended = self
            .counters
            .get(Counter::Ok)
            .or_else(|| self.counters.get(Counter::Started))?;
        let seconds = self.duration_us()? as f64 / 1e6;
        (seconds > 0.0).then(|| ended as f64 / seconds)
    }
}

/// First connections of all nodes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ConnectTotals {
    /// Connections that came up.
    pub ok: u64,
    /// Connections that did not.
    pub errors: u64,
    /// From the first dial to the last connection, µs.
    pub duration_us: Option<u64>,
    /// Dials, failed ones included.
    pub attempts: Option<u64>,
}

/// The generator's own health during one phase.
#[derive(Clone, Debug, Default)]
pub struct GeneratorTotals {
    /// How late timers fired while an open-paced operation was running.
    pub sched_lag: Hist,
    /// How late timers fired the rest of the time: reported, not judged.
    pub sched_lag_unjudged: Hist,
    /// CPU of the busiest worker while an open-paced operation was running, percent of one core.
    pub cpu_pct: Gauge,
    /// Highest share of its descriptors any worker used, percent.
    pub fd_use_pct: Gauge,
    /// Most descriptors any worker had open.
    pub descriptors: Gauge,
    /// Sends started.
    pub sends: u64,
    /// Sends that were late.
    pub late_sends: u64,
}

impl GeneratorTotals {
    fn absorb(&mut self, snapshot: &Snapshot, sends: u64, late: u64) {
        let health = &snapshot.health;
        self.sched_lag.merge(&health.sched_lag);
        self.sched_lag_unjudged.merge(&health.sched_lag_unjudged);
        if health.judged {
            self.cpu_pct.record(health.cpu_pct);
        }
        self.descriptors
            .record(health.descriptors.map(|n| n as f64));
        if let (Some(open), Some(limit)) = (health.descriptors, health.descriptors_limit) {
            self.fd_use_pct
                .record((limit > 0).then(|| open as f64 * 100.0 / limit as f64));
        }
        self.sends += sends;
        self.late_sends += late;
    }

    fn merge(&mut self, other: &Self) {
        self.sched_lag.merge(&other.sched_lag);
        self.sched_lag_unjudged.merge(&other.sched_lag_unjudged);
        self.cpu_pct.merge(&other.cpu_pct);
        self.fd_use_pct.merge(&other.fd_use_pct);
        self.descriptors.merge(&other.descriptors);
        self.sends += other.sends;
        self.late_sends += other.late_sends;
    }

    /// Share of sends that were late, percent; `None` when nothing was sent.
    pub fn late_sends_pct(&self) -> Option<f64> {
        (self.sends > 0).then(|| self.late_sends as f64 * 100.0 / self.sends as f64)
    }
}

/// What one broker reported at one moment (`/varz` and the process itself).
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct BrokerSample {
    /// Client connections.
    pub connections: Option<u64>,
    /// Subscriptions.
    pub subscriptions: Option<u64>,
    /// Resident memory, bytes.
    pub mem_bytes: Option<u64>,
    /// Slow consumers since it started.
    pub slow_consumers: Option<u64>,
    /// CPU, percent of one core.
    pub cpu_pct: Option<f64>,
}

/// One broker during one phase.
#[derive(Clone, Debug, Default)]
pub struct BrokerTotals {
    /// Client connections.
    pub connections: Gauge,
    /// Subscriptions.
    pub subscriptions: Gauge,
    /// Resident memory, bytes.
    pub mem_bytes: Gauge,
    /// Resident memory over connections, bytes; only where it has at least 100 of them.
    pub mem_per_conn: Gauge,
    /// Slow consumers since it started.
    pub slow_consumers: Gauge,
    /// CPU, percent of one core.
    pub cpu_pct: Gauge,
}

impl BrokerTotals {
    fn absorb(&mut self, sample: &BrokerSample) {
        let as_f64 = |n: Option<u64>| n.map(|n| n as f64);
        self.connections.record(as_f64(sample.connections));
        self.subscriptions.record(as_f64(sample.subscriptions));
        self.mem_bytes.record(as_f64(sample.mem_bytes));
        self.slow_consumers.record(as_f64(sample.slow_consumers));
        self.cpu_pct.record(sample.cpu_pct);
        if let (Some(mem), Some(connections @ 100..)) = (sample.mem_bytes, sample.connections) {
            self.mem_per_conn
                .record(Some(mem as f64 / connections as f64));
        }
    }
}

/// A fault the scenario asked for, and whether it fell where it was meant to.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct FaultRecord {
    /// Phase and operation that asked for it.
    pub phase: String,
    /// Name of the operation.
    pub op: String,
    /// What was done, e.g. `kill`.
    pub kind: String,
    /// What it was done to, e.g. `provisioner-1`.
    pub target: String,
    /// When, µs from the run's start; `None` when it never came to it.
    pub at_us: Option<u64>,
    /// How long the target was away, µs.
    pub down_us: Option<u64>,
    /// From the return of links until their brokers were linked again, µs.
    pub relinked_us: Option<u64>,
    /// Whether it fell where it was meant to. When not, the run is invalid.
    pub happened: bool,
    /// What was seen: how far things were when it fell, or why it did not.
    pub note: String,
}

/// Memory at its highest, bytes; `None` where it was not measured.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Memory {
    /// All node processes together.
    pub nodes_rss_bytes: Option<u64>,
    /// Growth of the node processes over their empty size, by node.
    pub rss_bytes_per_node: Option<u64>,
    /// All brokers we started together.
    pub brokers_rss_bytes: Option<u64>,
    /// Brokers' memory over their connections.
    pub broker_rss_bytes_per_connection: Option<u64>,
    /// All provisioners we started together.
    pub provisioners_rss_bytes: Option<u64>,
}
