//! How many nodes are asked at all, and how long an answer may take.
//!
//! A node is only asked when a place is likely to be free once it answers: as
//! many questions are out as answers are expected for the free places, by the
//! share of questions that were answered lately. So a fleet that comes up at
//! once is not asked all at once, and dead nodes, which need no place, are asked
//! in greater numbers without holding the others up.
//!
//! The time an answer may take follows the answers: where the slowest of late
//! took long, so may the next, up to a limit. Otherwise a busy network would be
//! taken for dead nodes, and asking again would make it busier.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::{Notify, OwnedSemaphorePermit};

/// Weight of one outcome in the share of questions answered.
const WEIGHT: f64 = 1.0 / 64.0;
/// The share is never taken for less, however dead the fleet seems.
const LEAST_SHARE: f64 = 0.02;
/// Nodes that may have answered and wait for a place, so that no place is idle.
const AHEAD: f64 = 32.0;
/// An answer may take this often as long as the slowest of late.
const PATIENCE: u32 = 3;
/// How fast the slowest answer is forgotten, per answer.
const FORGET: f64 = 0.98;

/// The figures; pure.
#[derive(Debug)]
pub(crate) struct Admission {
    asking: usize,
    waiting: usize,
    share: f64,
    slowest: Duration,
}

impl Default for Admission {
    fn default() -> Self {
        Self {
            asking: 0,
            waiting: 0,
            share: 1.0,
            slowest: Duration::ZERO,
        }
    }
}

impl Admission {
    /// Whether another node may be asked, with so many places free.
    pub(crate) fn is_open(&self, free: usize) -> bool {
        // Counts of nodes: far below what a float holds exactly.
        #[expect(clippy::cast_precision_loss, reason = "see above")]
        let [asking, waiting, free] = [self.asking, self.waiting, free].map(|n| n as f64);
        asking * self.share.max(LEAST_SHARE) + waiting < free + AHEAD
    }

    /// Whether most of those who are asked answer.
    pub(crate) fn is_believable(&self) -> bool {
        self.share > 0.5
    }

    /// How long an answer may take: `least`, or more where answers are slow, up to `most`.
    pub(crate) fn limit(&self, least: Duration, most: Duration) -> Duration {
        self.slowest
            .saturating_mul(PATIENCE)
            .clamp(least, most.max(least))
    }

    /// An answer came, in time or late.
    pub(crate) fn sample(&mut self, took: Duration) {
        self.slowest = self.slowest.mul_f64(FORGET).max(took);
    }

    fn outcome(&mut self, answered: bool) {
        self.share += WEIGHT * (f64::from(u8::from(answered)) - self.share);
    }
}

/// The figures, shared.
#[derive(Clone, Debug)]
pub(crate) struct Gate {
    figures: Arc<Mutex<Admission>>,
    changed: Arc<Notify>,
}

impl Gate {
    /// A gate that notifies when it may have opened.
    pub(crate) fn new(changed: Arc<Notify>) -> Self {
        let figures = Arc::default();
        Self { figures, changed }
    }

    pub(crate) fn with<T>(&self, act: impl FnOnce(&mut Admission) -> T) -> T {
        act(&mut self.figures.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Begins to ask a node.
    pub(crate) fn enter(&self, permit: OwnedSemaphorePermit) -> Probe {
        self.with(|figures| figures.asking += 1);
        Probe {
            gate: self.clone(),
            answered: false,
            _permit: permit,
        }
    }
}

/// A node's place among those being asked, until it has a place among those
/// being enrolled or is given up.
#[derive(Debug)]
pub(crate) struct Probe {
    gate: Gate,
    answered: bool,
    _permit: OwnedSemaphorePermit,
}

impl Probe {
    /// The node answered and waits for a place.
    pub(crate) fn answered(&mut self, took: Duration) {
        self.answered = true;
        self.gate.with(|figures| {
            figures.asking -= 1;
            figures.waiting += 1;
            figures.outcome(true);
            figures.sample(took);
        });
    }

    /// The node did not answer.
    pub(crate) fn silent(self) {
        self.gate.with(|figures| figures.outcome(false));
    }

    pub(crate) const fn gate(&self) -> &Gate {
        &self.gate
    }
}

impl Drop for Probe {
    fn drop(&mut self) {
        let answered = self.answered;
        self.gate.with(|figures| {
            let count = if answered {
                &mut figures.waiting
            } else {
                &mut figures.asking
            };
            *count -= 1;
        });
        self.gate.changed.notify_one();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// How many can be asked before the gate closes.
    fn room(mut figures: Admission, free: usize) -> usize {
        let begin = figures.asking;
        while figures.is_open(free) {
            figures.asking += 1;
        }
        figures.asking - begin
    }

    #[test]
    fn live_nodes_are_asked_for_the_places_there_are() {
        assert_eq!(room(Admission::default(), 256), 288);
        assert_eq!(room(Admission::default(), 0), 32);
        let waiting = Admission {
            waiting: 32,
            ..Admission::default()
        };
        assert_eq!(room(waiting, 0), 0);
    }

    #[test]
    fn dead_nodes_do_not_keep_live_ones_out() {
        let mut figures = Admission::default();
        for _ in 0..400 {
            figures.outcome(false);
        }
        assert!(room(figures, 64) >= 1_000);
        let mut mixed = Admission::default();
        for n in 0..1_000 {
            mixed.outcome(n % 5 != 0);
        }
        let room = room(mixed, 256);
        assert!((330..400).contains(&room), "{room}");
    }

    #[test]
    fn slow_answers_make_patient() {
        let (least, most) = (Duration::from_secs(2), Duration::from_secs(20));
        let mut figures = Admission::default();
        assert_eq!(figures.limit(least, most), least);
        figures.sample(Duration::from_secs(4));
        assert_eq!(figures.limit(least, most), Duration::from_secs(12));
        figures.sample(Duration::from_secs(60));
        assert_eq!(figures.limit(least, most), most);
        for _ in 0..500 {
            figures.sample(Duration::from_millis(5));
        }
        assert_eq!(figures.limit(least, most), least);
    }
}
