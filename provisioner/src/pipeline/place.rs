//! The place of a node that is being enrolled: chosen before anything is signed, and kept free
//! until the ledger counts it.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::csr::Requested;
use super::{Context, Stop};
use crate::code::Refusal;
use crate::ledger::LedgerError;
use crate::placement::{Candidate, nowhere};

/// Places that are promised and not counted by the ledger yet, by target.
#[derive(Debug, Default)]
pub(crate) struct Places(Mutex<BTreeMap<String, u64>>);

impl Places {
    fn promised(&self) -> MutexGuard<'_, BTreeMap<String, u64>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A place that is kept free while this lives.
#[derive(Debug)]
pub(crate) struct Place<'a> {
    places: &'a Places,
    target: String,
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        let mut promised = self.places.promised();
        if let Some(count) = promised.get_mut(&self.target) {
            *count = count.saturating_sub(1);
        }
    }
}

/// The place the rules have for a node, if they have one.
pub(crate) fn by_rule<'c>(
    context: &'c Context,
    requested: &Requested,
) -> Result<Option<Place<'c>>, Stop> {
    let placement = &context.site.config.placement;
    if !placement.is_used() {
        return Ok(None);
    }
    let inspected = &requested.inspected;
    let known = context.enrolment(inspected.node())?;
    let candidate = Candidate {
        identity: inspected.node().as_str(),
        inventory: &inspected.inventory,
        claims: &inspected.claims,
        before: known.as_ref().and_then(|known| known.target.as_deref()),
    };
    let places = &context.placed;
    // Held over the choice, so that the last place of a target is promised once.
    let mut promised = places.promised();
    let mut failed: Option<LedgerError> = None;
    let chosen = placement.choose(candidate, |target| {
        let counted = context.ledger.store().placed(target);
        let counted = counted.unwrap_or_else(|error| {
            failed = Some(error);
            u64::MAX
        });
        counted.saturating_add(promised.get(target).copied().unwrap_or(0))
    });
    let target = chosen.map(|target| target.name.clone());
    if let Some(error) = failed {
        return Err(error.into());
    }
    Ok(target.map(|target| {
        *promised.entry(target.clone()).or_default() += 1;
        Place { places, target }
    }))
}

/// The target of a node: what the hook named, or what the rules chose; none where nodes are not
/// placed.
pub(crate) fn settled(
    context: &Context,
    by_hook: Option<&str>,
    by_rule: Option<&Place<'_>>,
) -> Result<Option<String>, Refusal> {
    let placement = &context.site.config.placement;
    match (by_hook, by_rule) {
        (Some(name), _) => Ok(Some(placement.named(name)?.name.clone())),
        (None, Some(place)) => Ok(Some(place.target.clone())),
        (None, None) if placement.is_used() => Err(nowhere()),
        (None, None) => Ok(None),
    }
}
