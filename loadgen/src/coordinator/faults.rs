//! Faults: when each is due, and what is heard of those under way.

mod links;
mod strike;

use std::collections::BTreeSet;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use tokio::sync::{Mutex, mpsc};
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::formation::broker::Broker;
use crate::formation::relay::Relayed;
use crate::guard::RunMark;
use crate::measure::{Fall, FaultRecord, micros};
use crate::provisioner::{Provisioner, Status};
use crate::scenario::{Action, FaultKind, FaultOf, FaultOp, Moment, Phase, ProgressStep};
use crate::worker::clock::RunClock;

/// News of faults that may wait to be heard.
const NEWS: usize = 64;
/// Once everything is up again, nodes may take this long to tell how they took it.
const SETTLES: Duration = Duration::from_millis(500);

/// What is heard of a fault.
#[derive(Debug)]
pub enum News {
    /// It falls now.
    Fell(Fallen),
    /// It is over.
    Over(FaultEnd),
}

/// A fault that falls.
#[derive(Debug)]
pub struct Fallen {
    /// What is done.
    pub kind: FaultKind,
    /// When and to whom.
    pub fall: Fall,
    /// Whether its targets are brokers.
    pub brokers: bool,
}

/// What a fault came to, and what else went wrong with it.
#[derive(Debug)]
pub struct FaultEnd {
    /// What is told of it, for each target.
    pub records: Vec<FaultRecord>,
    /// When it fell; `None` when it did not.
    pub at_us: Option<u64>,
    /// When every target was up again; `None` for those that stay away.
    pub up_us: Option<u64>,
    /// A target did not come back.
    pub fatal: Option<String>,
}

/// The faults of the running phase.
#[derive(Debug)]
pub struct Faults {
    waiting: Vec<Waiting>,
    under_way: JoinSet<()>,
    teller: mpsc::Sender<News>,
    news: mpsc::Receiver<News>,
    last_end: Option<Instant>,
}

#[derive(Clone, Debug)]
struct Waiting {
    phase: String,
    op: String,
    fault: FaultOp,
}

impl Waiting {
    /// The fault as it falls.
    fn fallen(&self, at: Duration) -> Fallen {
        let kind = self.fault.kind;
        Fallen {
            kind,
            brokers: self.fault.of == FaultOf::Brokers,
            fall: Fall {
                phase: self.phase.clone(),
                op: self.op.clone(),
                kind: kind.word().to_owned(),
                targets: self.fault.targets.clone(),
                at_us: micros(at),
                on_links: matches!(kind, FaultKind::CutLink | FaultKind::SlowLink),
                ..Fall::default()
            },
        }
    }

    /// What is told of one of its targets.
    fn record(&self, target: &str) -> FaultRecord {
        FaultRecord {
            phase: self.phase.clone(),
            op: self.op.clone(),
            kind: self.fault.kind.word().to_owned(),
            target: target.to_owned(),
            ..FaultRecord::default()
        }
    }
}

/// The brokers that nobody can count on, by name.
#[derive(Clone, Debug, Default)]
pub struct Away(Arc<std::sync::Mutex<BTreeSet<String>>>);

impl Away {
    fn with<T>(&self, act: impl FnOnce(&mut BTreeSet<String>) -> T) -> T {
        act(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// What faults are done with.
#[derive(Clone, Debug)]
pub struct Means {
    /// The brokers by name.
    pub brokers: Vec<(String, Arc<Mutex<Broker>>)>,
    /// The provisioners by name.
    pub provisioners: Vec<(String, Arc<Mutex<Provisioner>>)>,
    /// Brokers that are in the hands of a fault, or were left dead by one.
    pub away: Away,
    /// The links between brokers that are relayed.
    pub links: Vec<Relayed>,
    /// Nodes that are to be enrolled and confirmed.
    pub to_enrol: u64,
    /// Marks what is started again.
    pub mark: RunMark,
    /// The time of the run.
    pub clock: RunClock,
}

impl Default for Faults {
    fn default() -> Self {
        let (teller, news) = mpsc::channel(NEWS);
        Self {
            waiting: Vec::new(),
            under_way: JoinSet::new(),
            teller,
            news,
            last_end: None,
        }
    }
}

impl Faults {
    /// The faults that a phase asks for.
    pub fn begin(&mut self, phase: &Phase) {
        for op in &phase.ops {
            if let Action::Fault(fault) = &op.action {
                self.waiting.push(Waiting {
                    phase: phase.name.clone(),
                    op: op.name.clone(),
                    fault: fault.clone(),
                });
            }
        }
    }

    /// Whether a fault is due at a time still to come, under way, or only just over. One that waits
    /// for a progress does not hold the phase up: what it waits for may never come.
    pub fn open(&self) -> bool {
        let timed = |waiting: &Waiting| matches!(waiting.fault.at, Moment::After(_));
        !self.under_way.is_empty()
            || self.last_end.is_some_and(|end| end.elapsed() < SETTLES)
            || self.waiting.iter().any(timed)
    }

    /// Whether the progress of enrolments must be looked at closely.
    pub fn watch_progress(&self) -> bool {
        let progress = |waiting: &Waiting| matches!(waiting.fault.at, Moment::Progress { .. });
        self.waiting.iter().any(progress)
    }

    /// Does what is due, `elapsed` after the phase began.
    pub fn fire(&mut self, elapsed: Duration, status: Option<&Status>, means: &Means) {
        let due = |waiting: &mut Waiting| match &waiting.fault.at {
            Moment::After(at) => elapsed >= *at,
            Moment::Progress { step, percent } => status.is_some_and(|status| {
                let done = status.completed(step.step()) as f64;
                done >= percent / 100.0 * means.to_enrol as f64
            }),
        };
        for waiting in self.waiting.extract_if(.., due) {
            let (means, teller) = (means.clone(), self.teller.clone());
            match waiting.fault.link.clone() {
                Some(link) => self
                    .under_way
                    .spawn(links::strike(waiting, link, means, teller)),
                None => self.under_way.spawn(strike::strike(waiting, means, teller)),
            };
        }
    }

    /// The next thing heard of a fault; waits for ever when none is under way.
    pub async fn news(&mut self) -> News {
        loop {
            tokio::select! {
                biased;
                Some(news) = self.news.recv() => {
                    if matches!(news, News::Over(_)) {
                        self.last_end = Some(Instant::now());
                    }
                    return news;
                }
                Some(Err(error)) = self.under_way.join_next() => {
                    tracing::error!(%error, "a fault broke off");
                }
                else => std::future::pending::<()>().await,
            }
        }
    }

    /// What never came to pass, as the phase is over; faults under way go on.
    pub fn missed(&mut self) -> Vec<FaultRecord> {
        let missed = self.waiting.drain(..).map(|waiting| FaultRecord {
            note: match &waiting.fault.at {
                Moment::After(at) => format!("the phase was over before {at:?}"),
                Moment::Progress { step, percent } => {
                    format!("the phase was over before {percent} % were {}", word(*step))
                }
            },
            ..waiting.record(&waiting.fault.target)
        });
        missed.collect()
    }
}

fn word(step: ProgressStep) -> &'static str {
    let all = ProgressStep::ALL;
    let found = all.iter().find(|(own, ..)| *own == step);
    found.map_or("", |(_, word, _)| word)
}
