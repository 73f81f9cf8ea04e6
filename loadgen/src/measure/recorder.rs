//! Where a worker counts between two snapshots.

use std::collections::BTreeMap;
use std::time::Duration;

use super::{Counter, OpDelta, OpKey, Round, Series};

/// Kinds of errors told apart per operation and snapshot; the rest is counted as `other`.
const ERROR_KINDS: usize = 32;

/// Collects what operations do until the next snapshot takes it.
///
/// One recorder belongs to one thread or sits behind one lock; recorders of several threads are
/// merged by absorbing their snapshots.
#[derive(Debug, Default)]
pub struct Recorder {
    ops: BTreeMap<OpKey, OpDelta>,
}

impl Recorder {
    /// An empty recorder.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds `n` to a counter; 0 marks it as measured.
    pub fn count(&mut self, key: &OpKey, counter: Counter, n: u64) {
        self.op(key).counters.add(counter, n);
    }

    /// Adds one sample to a distribution.
    pub fn time(&mut self, key: &OpKey, series: Series, value: Duration) {
        self.op(key).series.entry(series).or_default().record(value);
    }

    /// Counts one error under its kind: a short stable word such as `tls` or `timeout`.
    pub fn error(&mut self, key: &OpKey, kind: &str) {
        let op = self.op(key);
        op.counters.add(Counter::Errors, 1);
        let known = op.errors.contains_key(kind) || op.errors.len() < ERROR_KINDS;
        let kind = if known { kind } else { "other" };
        *op.errors.entry(kind.to_owned()).or_default() += 1;
    }

    /// Records a closed round with its counters and its two latencies. `intended` and `sent` in
    /// the round are from the run's start. A warm-up round is kept apart from all of these, and so is one
    /// that was interrupted on our side.
    pub fn round(&mut self, key: &OpKey, round: Round) {
        let op = self.op(key);
        if round.interrupted && !round.warmup {
            op.counters.add(Counter::Interrupted, 1);
        } else if !round.warmup {
            let counts = [
                (Counter::Started, 1),
                (Counter::Ok, u64::from(round.missing == 0)),
                (Counter::Errors, u64::from(round.missing > 0)),
                (Counter::Late, 0),
                (Counter::Interrupted, 0),
                (Counter::Expected, round.expected),
                (Counter::Replies, round.replies),
                (Counter::Missing, round.missing),
                (Counter::Duplicate, round.duplicate),
                (Counter::LateReplies, round.late),
                (Counter::Failed, round.failed),
                (Counter::Unknown, round.unknown),
            ];
            for (counter, n) in counts {
                op.counters.add(counter, n);
            }
            let lag = round.sent_us.saturating_sub(round.intended_us);
            let samples = [
                (Series::FirstReply, round.first_us),
                (Series::LastReply, round.last_us),
                (Series::Actual, round.last_us),
                (Series::Intended, round.last_us.map(|last| last + lag)),
            ];
            for (series, value) in samples {
                if let Some(value) = value {
                    op.series.entry(series).or_default().record_us(value);
                }
            }
        }
        op.rounds.push(round);
    }

    /// Takes everything since the last call, leaving the recorder empty.
    pub fn take(&mut self) -> BTreeMap<OpKey, OpDelta> {
        std::mem::take(&mut self.ops)
    }

    fn op(&mut self, key: &OpKey) -> &mut OpDelta {
        self.ops.entry(key.clone()).or_default()
    }
}
