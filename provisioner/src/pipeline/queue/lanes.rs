//! The lanes of the queue, and whose turn it is.

use std::collections::VecDeque;

use super::Ticket;
use crate::ledger::Source;

/// The lanes that take turns, in their order.
const LANES: [Source; 4] = [
    Source::Startup,
    Source::Ledger,
    Source::Sweep,
    Source::Alive,
];
/// The lane of those that were silent.
pub(super) const SILENT: usize = LANES.len();
/// One of them is taken after so many others.
pub(super) const PASSES: usize = 15;

/// The lane of a source.
pub(super) fn lane_of(source: Source) -> usize {
    LANES.iter().position(|own| *own == source).unwrap_or(0)
}

/// Tickets in the order in which they came, a lane each source.
#[derive(Debug, Default)]
pub(super) struct Lanes {
    lanes: [VecDeque<Ticket>; LANES.len() + 1],
    turn: usize,
    /// How many were taken since one of the silent was.
    passes: usize,
}

impl Lanes {
    pub(super) fn push(&mut self, lane: usize, ticket: Ticket) {
        self.lanes[lane].push_back(ticket);
    }

    /// The next ticket that is still good; the others on the way to it are let go.
    pub(super) fn take(&mut self, is_good: impl Fn(&Ticket, usize) -> bool) -> Option<Ticket> {
        let turn = self.turn;
        let turns = (0..LANES.len()).map(|step| (turn + step) % LANES.len());
        let silent_first = (self.passes >= PASSES).then_some(SILENT);
        let order = silent_first.into_iter().chain(turns).chain([SILENT]);
        for lane in order {
            while let Some(ticket) = self.lanes[lane].pop_front() {
                if is_good(&ticket, lane) {
                    self.took(lane);
                    return Some(ticket);
                }
            }
        }
        None
    }

    fn took(&mut self, lane: usize) {
        if lane == SILENT {
            self.passes = 0;
        } else {
            self.passes += 1;
            self.turn = (lane + 1) % LANES.len();
        }
    }

    /// The first of each lane, without those that were silent.
    pub(super) fn fronts(&self) -> impl Iterator<Item = (usize, &Ticket)> {
        let lanes = self.lanes.iter().take(LANES.len()).enumerate();
        lanes.filter_map(|(lane, tickets)| Some((lane, tickets.front()?)))
    }
}
