//! What all processes of a run use, at its highest.

use std::collections::BTreeMap;

use crate::measure::{Totals, WorkerHealth};
use crate::resources::Usage;

/// A process started beside the workers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pid {
    /// Its name: `hub-1`, `provisioner-1`.
    pub name: String,
    /// Its id.
    pub pid: u32,
    /// Whether it is a broker; a provisioner otherwise.
    pub broker: bool,
}

/// Follows memory and CPU of everything.
#[derive(Debug, Default)]
pub struct UsageWatch {
    /// Per worker: resident memory before its nodes, at its highest, and CPU so far.
    workers: BTreeMap<u32, WorkerUse>,
    brokers_rss: Option<u64>,
    provisioners_rss: Option<u64>,
    /// Memory per connection when there were most.
    per_connection: Option<u64>,
    /// Most connections seen.
    connections: u64,
    /// CPU by process id, as a restarted process begins again at nothing.
    cpu: BTreeMap<(bool, u32), f64>,
}

#[derive(Clone, Copy, Debug, Default)]
struct WorkerUse {
    empty: Option<u64>,
    most: Option<u64>,
    cpu_s: Option<f64>,
}

impl UsageWatch {
    /// Takes note of a worker.
    pub fn nodes(&mut self, worker: u32, health: &WorkerHealth) {
        let own = self.workers.entry(worker).or_default();
        own.empty = own.empty.or(health.rss_bytes);
        own.most = own.most.max(health.rss_bytes);
        own.cpu_s = health.cpu_s.or(own.cpu_s);
    }

    /// Takes note of the processes beside the workers.
    ///
    /// `connections` are those of the brokers that are up: one that is away has no memory either.
    pub fn beside(&mut self, pids: &[Pid], connections: u64) {
        let mut brokers = Usage::default();
        let mut provisioners = Usage::default();
        for process in pids {
            let usage = Usage::of(process.pid);
            if let Some(cpu_s) = usage.cpu_s {
                self.cpu.insert((process.broker, process.pid), cpu_s);
            }
            let sum = if process.broker {
                &mut brokers
            } else {
                &mut provisioners
            };
            *sum = sum.plus(usage);
        }
        self.brokers_rss = self.brokers_rss.max(brokers.rss_bytes);
        self.provisioners_rss = self.provisioners_rss.max(provisioners.rss_bytes);
        // Few connections tell of the broker's own size, not of theirs; and a broker gives memory
        // back long after its connections are gone.
        if connections >= self.connections.max(100)
            && let Some(rss) = brokers.rss_bytes
        {
            self.connections = connections;
            self.per_connection = Some(rss / connections);
        }
    }

    /// Writes everything into the totals.
    pub fn settle(&self, totals: &mut Totals) {
        let sum = |pick: fn(&WorkerUse) -> Option<u64>| -> Option<u64> {
            self.workers.values().map(pick).sum()
        };
        let nodes = totals.connected_most.unwrap_or_default();
        let memory = &mut totals.memory;
        memory.nodes_rss_bytes = sum(|own| own.most).filter(|bytes| *bytes > 0);
        let grown = sum(|own| own.most)
            .zip(sum(|own| own.empty))
            .map(|(most, empty)| most.saturating_sub(empty));
        // A few nodes tell of the process's own size, not of theirs.
        let enough = grown.filter(|_| nodes >= 100);
        memory.rss_bytes_per_node = enough.and_then(|grown| grown.checked_div(nodes));
        memory.brokers_rss_bytes = self.brokers_rss;
        memory.broker_rss_bytes_per_connection = self.per_connection;
        memory.provisioners_rss_bytes = self.provisioners_rss;
        totals.cpu_nodes_s = self.workers.values().map(|own| own.cpu_s).sum();
        totals.cpu_brokers_s = self.cpu_of(true);
        totals.cpu_provisioners_s = self.cpu_of(false);
    }

    fn cpu_of(&self, broker: bool) -> Option<f64> {
        let own = self.cpu.iter().filter(|((kind, _), _)| *kind == broker);
        let each: Vec<f64> = own.map(|(_, cpu_s)| *cpu_s).collect();
        (!each.is_empty()).then(|| each.iter().sum())
    }
}
