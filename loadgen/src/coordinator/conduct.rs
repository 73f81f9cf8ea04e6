//! The conductor: hears workers, ledger, brokers and faults, and tells the machine.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use tokio::sync::{mpsc, watch};
use tokio::time::{MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

use crate::assert::AbortWatch;
use crate::control::crew::Member;
use crate::formation::monitor::Monitor;
use crate::measure::{BrokerSample, BrokerView, FaultView, PhaseView, Stage, Totals};
use crate::message::WorkerProgress;
use crate::provisioner::{NodeReport, Status};
use crate::results::Ending;

use super::board::Board;
use super::drive::Drive;
use super::faults::{Away, Faults, Means};
use super::ledger::Expected;
use super::machine::{Effect, Input, Machine, PhaseRules};
use super::outcomes::Outcomes;
use super::roll::Roll;
use super::usage::UsageWatch;
use super::views::{Look, broker_views, phase_views, show_broker};
use super::watch::{BrokerSeen, brokers, ledger as watch_ledger, nodes as watch_nodes};
use super::workers::WorkerSeen;

/// How often the machine is told how far things are.
const TICK: Duration = Duration::from_millis(100);
/// How long after it is told a phase begins: by then every worker has heard of it.
pub(super) const LEAD: Duration = Duration::from_millis(100);

/// Everything that is known of a run while it runs.
pub(super) struct Conductor<'a> {
    pub(super) drive: Drive<'a>,
    pub(super) machine: Machine,
    pub(super) roll: Roll,
    pub(super) members: BTreeMap<u32, Member>,
    pub(super) progress: BTreeMap<u32, WorkerProgress>,
    pub(super) workers: BTreeMap<u32, WorkerSeen>,
    pub(super) phases: Vec<PhaseView>,
    pub(super) totals: Totals,
    pub(super) board: Board,
    pub(super) faults: Faults,
    pub(super) means: Means,
    pub(super) ledger: Option<watch::Receiver<Option<Arc<Status>>>>,
    pub(super) closely: Arc<AtomicBool>,
    /// What is expected of the fleets, where not all are to be confirmed.
    pub(super) outcomes: Option<Outcomes>,
    /// What the provisioner says of each node, as long as somebody waits for them to settle.
    pub(super) nodes: Option<watch::Receiver<Arc<Vec<NodeReport>>>>,
    pub(super) settling: Arc<AtomicBool>,
    pub(super) broker_looks: mpsc::Receiver<Vec<BrokerSeen>>,
    pub(super) brokers: Vec<BrokerView>,
    /// What every broker said of itself last.
    pub(super) looks: BTreeMap<String, Look>,
    pub(super) usage: UsageWatch,
    pub(super) expected: Expected,
    pub(super) ending: Option<Ending>,
    /// Asserts that may end the run early.
    pub(super) aborts: AbortWatch,
    /// Brokers that a fault has in its hands, and how they are.
    pub(super) away: BTreeMap<String, &'static str>,
    pub(super) struck: Vec<FaultView>,
    pub(super) spoilt: Vec<String>,
    pub(super) stage: Stage,
    pub(super) doing: String,
    pub(super) stopping: bool,
    pub(super) holding_since: Option<Duration>,
    pub(super) drawn_at: Option<Duration>,
    pub(super) done: bool,
}

impl<'a> Conductor<'a> {
    /// A conductor that has heard nothing yet.
    pub(super) fn new(drive: Drive<'a>, beside: &CancellationToken) -> Self {
        let scenario = &drive.plan.scenario;
        let renews = scenario.provisioner.renewal.is_some();
        let timed = scenario.provisioner.renewed_after().is_some();
        let rules = scenario.phases.iter().map(PhaseRules::from).collect();
        let closely = Arc::new(AtomicBool::new(false));
        let provisioners = drive.site.provisioners_by_name();
        let ledger = drive
            .site
            .status_command()
            .map(|command| watch_ledger(command, Arc::clone(&closely), beside.clone()));
        let (outcomes, settling) = (Outcomes::of(&drive.plan), Arc::new(AtomicBool::new(false)));
        let nodes = drive
            .site
            .status_command()
            .filter(|_| outcomes.is_some())
            .map(|command| watch_nodes(command, Arc::clone(&settling), beside.clone()));
        let monitors: Vec<(String, Monitor)> = drive
            .site
            .formation
            .posts()
            .filter_map(|post| Some((post.name.clone(), post.monitor?)))
            .collect();
        let means = Means {
            brokers: drive.site.formation.brokers_by_name(),
            provisioners,
            away: Away::default(),
            links: drive.site.formation.relayed().to_vec(),
            to_enrol: drive.plan.expected_confirmed,
            mark: drive.mark.clone(),
            clock: drive.clock,
        };
        Self {
            machine: Machine::new(drive.workers, rules, LEAD),
            roll: Roll::default(),
            members: BTreeMap::new(),
            progress: BTreeMap::new(),
            workers: BTreeMap::new(),
            phases: phase_views(&drive.plan),
            totals: match renews {
                true => Totals::with_renewals(timed),
                false => Totals::new(),
            },
            board: Board::new(drive.run),
            faults: Faults::default(),
            means,
            ledger,
            closely,
            outcomes,
            nodes,
            settling,
            broker_looks: brokers(monitors, beside.clone()),
            brokers: broker_views(drive.site),
            looks: BTreeMap::new(),
            usage: UsageWatch::default(),
            expected: Expected::of(&drive.plan),
            ending: None,
            aborts: AbortWatch::default(),
            away: BTreeMap::new(),
            struck: Vec::new(),
            spoilt: Vec::new(),
            stage: Stage::Running,
            doing: gathering(&drive),
            stopping: false,
            holding_since: None,
            drawn_at: None,
            done: false,
            drive,
        }
    }

    /// Goes on until every node has ended.
    pub(super) async fn conduct(&mut self) {
        let mut ticks = interval(TICK);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
        while !self.done {
            tokio::select! {
                event = self.drive.crew.next() => self.hear(event).await,
                Some(seen) = self.broker_looks.recv() => self.look(seen),
                news = self.faults.news() => self.fault_news(news).await,
                _ = ticks.tick() => self.tick().await,
                () = self.drive.stop.cancelled(), if !self.stopping => self.asked_to_stop().await,
            }
        }
    }

    async fn asked_to_stop(&mut self) {
        // Ending a fleet that is held up is how it is meant to end.
        if self.holding_since.is_none() {
            self.ending.get_or_insert(Ending::Interrupted);
        }
        self.stop().await;
    }

    pub(super) async fn stop(&mut self) {
        self.stopping = true;
        self.doing = "taking everything down".to_owned();
        if self.holding_since.take().is_some() {
            return self.perform(Effect::Drain).await;
        }
        self.step(Input::Stop).await;
    }

    pub(super) async fn fail(&mut self, ending: Ending) {
        self.ending.get_or_insert(ending);
        if !self.stopping {
            self.stop().await;
        }
    }

    fn look(&mut self, seen: Vec<BrokerSeen>) {
        let (phase, at_us) = (self.phase_name(), self.drive.clock.now_us());
        let mut connections = 0;
        for seen in seen {
            let view = self.brokers.iter_mut().find(|view| view.name == seen.name);
            let Some(view) = view else { continue };
            let Some(look) = seen.look else {
                view.state = self.away.get(&seen.name).unwrap_or(&"down").to_string();
                continue;
            };
            show_broker(view, &look, self.looks.get(&seen.name));
            let varz = &look.varz;
            connections += varz.connections;
            if let Some(word) = self.away.get(&seen.name) {
                view.state = (*word).to_owned();
            }
            let sample = BrokerSample {
                connections: Some(varz.connections),
                subscriptions: Some(varz.subscriptions),
                mem_bytes: Some(varz.mem),
                slow_consumers: Some(varz.slow_consumers),
                cpu_pct: Some(varz.cpu),
            };
            self.totals.absorb_broker(&phase, &seen.name, &sample);
            self.drive
                .chronicle
                .broker(at_us, &phase, &seen.name, &sample);
            self.looks.insert(seen.name, look);
        }
        let pids = self.drive.site.pids();
        self.usage.beside(&pids, connections);
    }
}

/// What is being done until the first phase begins.
fn gathering(drive: &Drive<'_>) -> String {
    match drive.crew.invitation() {
        Some(invitation) => format!("waiting for workers; run there: {invitation}"),
        None => String::new(),
    }
}
