//! Rows of the picture that do not depend on what was measured.

use std::time::Instant;

use crate::formation::monitor::Varz;
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

/// What a broker said of itself, and when.
#[derive(Clone, Debug)]
pub(super) struct Look {
    pub(super) at: Instant,
    pub(super) varz: Varz,
}

/// Brings a broker's row up to date. Its rates are since the look before, however long ago that
/// was; a broker that began to count anew has none.
pub(super) fn show_broker(view: &mut BrokerView, look: &Look, before: Option<&Look>) {
    let varz = &look.varz;
    let per_s = |pick: fn(&Varz) -> u64| {
        let before = before?;
        let seconds = look.at.duration_since(before.at).as_secs_f64();
        let counted = pick(varz).checked_sub(pick(&before.varz))?;
        (seconds > 0.0).then(|| counted as f64 / seconds)
    };
    view.state = "up".to_owned();
    view.connections = Some(varz.connections);
    view.subscriptions = Some(varz.subscriptions);
    view.in_per_s = per_s(|varz| varz.in_msgs);
    view.out_per_s = per_s(|varz| varz.out_msgs);
    view.slow_consumers = Some(varz.slow_consumers);
    view.mem_bytes = Some(varz.mem);
    view.cpu_pct = Some(varz.cpu);
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

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn rates_are_since_the_look_before_however_long_ago() {
        let began = Instant::now();
        let look = |seconds, in_msgs| Look {
            at: began + Duration::from_secs(seconds),
            varz: Varz {
                in_msgs,
                ..Varz::default()
            },
        };
        let mut view = BrokerView::default();
        show_broker(&mut view, &look(0, 1_000), None);
        assert_eq!(view.in_per_s, None);
        // Three looks were missed.
        show_broker(&mut view, &look(8, 9_000), Some(&look(0, 1_000)));
        assert_eq!(view.in_per_s, Some(1_000.0));
        // It was restarted.
        show_broker(&mut view, &look(10, 50), Some(&look(8, 9_000)));
        assert_eq!(view.in_per_s, None);
    }
}
