//! The collectives of those who are enrolled: the provisioner looks for all of them in one.

use super::model::{Fleet, Provisioner};
use super::read::Context;
use super::words::{Manage, Start};

/// Every collective that nodes to be enrolled are in, each once; what all of them are in comes first,
/// otherwise in the order of the fleets.
pub fn collectives(fleets: &[Fleet]) -> Vec<String> {
    let mut all: Vec<String> = Vec::new();
    for collective in enrolled(fleets).flat_map(|fleet| &fleet.collectives) {
        if !all.contains(collective) {
            all.push(collective.clone());
        }
    }
    all.sort_by_key(|name| !enrolled(fleets).all(|fleet| fleet.collectives.contains(name)));
    all
}

fn enrolled(fleets: &[Fleet]) -> impl Iterator<Item = &Fleet> {
    let unprovisioned = |fleet: &&Fleet| fleet.start == Start::Unprovisioned;
    fleets.iter().filter(unprovisioned)
}

/// Refuses fleets of which one would never be found on production.
pub(super) fn check_collectives(provisioner: &Provisioner, fleets: &[Fleet], cx: &mut Context) {
    if provisioner.manage != Manage::Local {
        return;
    }
    let all = collectives(fleets);
    let Some(common) = all.first() else {
        return;
    };
    if let Some(fleet) = enrolled(fleets).find(|fleet| !fleet.collectives.contains(common)) {
        let message = format!(
            "fleet `{}` is not in the collective `{common}`, and no other one is common to all \
             fleets that are enrolled; the provisioner looks for nodes in one, so give them one",
            fleet.name
        );
        cx.findings.mistake_at(fleet.location.clone(), message);
    }
}
