//! What the audit log is told. The bucket is first here, so what it has taken and the log has not
//! is owed to the log: until that is told, nothing more is written.

use jiff::Timestamp;

use super::super::super::record::{Applied, Change};
use super::super::super::store::LedgerError;
use super::super::super::writer::Committed;
use super::super::turn::Turned;
use super::Writer;
use crate::audit::{self, Anchor, Event};

/// A change that is in the bucket and not in the audit log.
pub(super) struct Untold {
    change: Change,
    applied: Applied,
    seen: Option<Committed>,
}

impl Untold {
    fn events(&self) -> impl Iterator<Item = (Timestamp, Event<'_>)> {
        told(&self.change, &self.applied, self.seen.as_ref())
    }
}

impl Writer {
    /// Tells the audit log, and before that what is owed to it; whatever is not in it is told to
    /// nobody and leaves nobody.
    pub(super) fn tell(
        &mut self,
        events: &[(Timestamp, Event<'_>)],
    ) -> Result<Anchor, LedgerError> {
        let owed = self.untold.iter().flat_map(Untold::events);
        let all: Vec<_> = owed.chain(events.iter().cloned()).collect();
        let anchor = self.audit.append(&all)?;
        let seen: Vec<_> = self.untold.drain(..).filter_map(|owed| owed.seen).collect();
        if !seen.is_empty() {
            self.observer.committed(&seen);
        }
        Ok(anchor)
    }

    /// Whether what is written now can be told afterwards.
    pub(super) fn can_tell(&mut self) -> Result<(), LedgerError> {
        if self.untold.is_empty() {
            return Ok(self.audit.check_room()?);
        }
        let anchor = self.tell(&[])?;
        self.absorb(&[], Some(&anchor))
    }

    /// Tells what turns have done; where that fails it is owed.
    pub(super) fn tell_turns(&mut self, over: &[Turned]) -> Result<Option<Anchor>, LedgerError> {
        let events: Vec<_> = over
            .iter()
            .flat_map(changes)
            .flat_map(|c| told(c.0, c.1, c.2))
            .collect();
        if events.is_empty() {
            return Ok(None);
        }
        let told = self.tell(&events);
        if told.is_err() {
            let owed = over.iter().flat_map(changes);
            let owed = owed.map(|(change, applied, seen)| Untold {
                change: change.clone(),
                applied: applied.clone(),
                seen: seen.cloned(),
            });
            self.untold.extend(owed);
        }
        told.map(Some)
    }

    /// The service ends: what is still owed is at least said.
    pub(super) fn close(&mut self) {
        if let Err(error) = self.can_tell() {
            for (_, event) in self.untold.iter().flat_map(Untold::events) {
                tracing::error!(%error, ?event, "the audit log was never told");
            }
        }
        self.audit.close();
    }
}

type Outcome<'a> = (&'a Change, &'a Applied, Option<&'a Committed>);

/// The changes of a turn, with what became of each.
fn changes(turned: &Turned) -> impl Iterator<Item = Outcome<'_>> {
    let outcomes = turned.result.as_ref().ok().map(|(_, outcomes)| outcomes);
    let outcomes = outcomes.into_iter().flatten();
    let changes = turned.jobs.iter().map(|(change, _)| change);
    changes
        .zip(outcomes)
        .map(|(change, (applied, seen))| (change, applied, seen.as_ref()))
}

fn told<'a>(
    change: &'a Change,
    applied: &'a Applied,
    seen: Option<&'a Committed>,
) -> impl Iterator<Item = (Timestamp, Event<'a>)> {
    let events = audit::events(change, applied, seen);
    events.map(|event| (change.at, event))
}
