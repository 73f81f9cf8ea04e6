//! Rows of the picture that do not depend on what was measured.

use crate::measure::{BrokerView, FleetView, PhaseView};
use crate::message::WorkerProgress;
use crate::plan::Plan;
use crate::site::Site;

/// Every phase, queued.
pub(super) fn phase_views(plan: &Plan) -> Vec<PhaseView> {
    let phases = plan.scenario.phases.iter().zip(&plan.phases);
    let views = phases.map(|(phase, planned)| PhaseView {
        name: phase.name.clone(),
        expected_us: planned.expected_us,
        ..PhaseView::default()
    });
    views.collect()
}

/// The brokers as they are when everything is ready.
pub(super) fn broker_views(site: &Site) -> Vec<BrokerView> {
    let views = site.formation.posts().map(|post| BrokerView {
        name: post.name.clone(),
        tier: post.tier.clone(),
        address: post.url(),
        state: "up".to_owned(),
        ..BrokerView::default()
    });
    views.collect()
}

/// Every fleet's nodes by state, over all workers.
pub(super) fn fleet_views<'a>(
    progress: impl Iterator<Item = &'a WorkerProgress>,
) -> Vec<FleetView> {
    let mut views: Vec<FleetView> = Vec::new();
    for counts in progress.flat_map(|progress| &progress.fleets) {
        let found = views.iter().position(|view| view.name == counts.fleet);
        let place = found.unwrap_or_else(|| {
            views.push(FleetView {
                name: counts.fleet.clone(),
                ..FleetView::default()
            });
            views.len() - 1
        });
        if let Some(view) = views.get_mut(place) {
            view.total += counts.total();
            for (state, n) in &counts.nodes {
                *view.nodes.entry(*state).or_default() += n;
            }
        }
    }
    views
}
