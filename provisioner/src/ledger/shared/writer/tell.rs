//! What the audit log is told. The bucket is first here, so what it has taken and the log has not
//! is owed to the log: until that is told, nothing more is written. Of a write that nobody
//! acknowledged the bucket tells later whether it is owed.

use jiff::Timestamp;

use super::super::super::record::{Applied, Change};
use super::super::super::store::LedgerError;
use super::super::super::writer::Committed;
use super::super::turn::Turned;
use super::super::value::Stamp;
use super::Writer;
use crate::audit::{self, Anchor, Event};

/// A change that is in the bucket and not in the audit log.
pub(super) struct Untold {
    change: Change,
    applied: Applied,
    seen: Option<Committed>,
}

/// A write that may be in the bucket, and what is owed if it is.
pub(super) struct Doubt {
    stamp: Stamp,
    owed: Vec<Untold>,
}

impl Untold {
    fn of((change, applied, seen): Told<'_>) -> Self {
        Self {
            change: change.clone(),
            applied: applied.clone(),
            seen: seen.cloned(),
        }
    }

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
        if events.is_empty() && self.untold.is_empty() {
            return Ok(None);
        }
        let told = self.tell(&events);
        if told.is_err() {
            let owed = over.iter().flat_map(changes);
            self.untold.extend(owed.map(Untold::of));
        }
        told.map(Some)
    }

    /// Keeps what a turn may have written though nobody said so.
    pub(super) fn doubt(&mut self, turned: &Turned) {
        let Err(failed) = &turned.result else {
            return;
        };
        let Some(doubt) = &failed.doubt else {
            return;
        };
        self.resolve(&turned.identity, doubt.onto.as_ref());
        let changes = turned.jobs.iter().map(|(change, _)| change);
        let changes = changes.zip(&doubt.outcomes);
        let owed = changes.map(|(change, (applied, seen))| (change, applied, seen.as_ref()));
        let doubt = Doubt {
            stamp: doubt.stamp.clone(),
            owed: owed.map(Untold::of).collect(),
        };
        self.doubts.insert(turned.identity.clone(), doubt);
    }

    /// The bucket holds a write for this identity, or held it before another: what was in doubt is
    /// owed if it is that one, and else was never stored.
    pub(super) fn resolve(&mut self, identity: &str, found: Option<&Stamp>) {
        if let Some(doubt) = self.doubts.remove(identity)
            && found == Some(&doubt.stamp)
        {
            self.untold.extend(doubt.owed);
        }
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

type Told<'a> = (&'a Change, &'a Applied, Option<&'a Committed>);

/// The changes of a turn, with what became of each.
fn changes(turned: &Turned) -> impl Iterator<Item = Told<'_>> {
    let written = turned.result.as_ref().ok();
    let outcomes = written.into_iter().flat_map(|written| &written.outcomes);
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
