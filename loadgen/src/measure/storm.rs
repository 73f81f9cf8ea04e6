//! Mass reconnects: what one fault on brokers did to the nodes, from the merged counts of links.

use super::links::{Links, TICK_US};

/// A fault on brokers, as it fell.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Fall {
    /// Phase that asked for it.
    pub phase: String,
    /// Name of the operation.
    pub op: String,
    /// What was done, e.g. `kill`.
    pub kind: String,
    /// The brokers it was done to.
    pub targets: Vec<String>,
    /// Whether it was done to their links: their nodes keep their connections.
    pub on_links: bool,
    /// When, µs from the run's start.
    pub at_us: u64,
    /// When the last of them was up again, µs from the run's start.
    pub up_us: Option<u64>,
    /// When its phase was over, µs from the run's start.
    pub phase_end_us: Option<u64>,
}

/// A mass reconnect: what one broker fault did to the nodes. Times count from the fall unless they
/// say otherwise.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Storm {
    /// Phase it belongs to.
    pub phase: String,
    /// Name of the operation.
    pub op: String,
    /// What was done, e.g. `kill`.
    pub kind: String,
    /// The brokers it was done to.
    pub targets: Vec<String>,
    /// When the brokers went away, µs from the run's start.
    pub at_us: u64,
    /// How long they were away, µs; `None` while they are.
    pub down_us: Option<u64>,
    /// Nodes that lost their connection, or left it because its end was announced.
    pub affected: u64,
    /// Of these, how many left before they were cut.
    pub moved: u64,
    /// Nodes that came back.
    pub back: u64,
    /// From the brokers' return to the last node's, µs; 0 when everybody was back before, from the
    /// fall where the brokers stay away; `None` as long as somebody is missing.
    pub time_to_all_us: Option<u64>,
    /// From the fall to the last node's return, µs; `None` as long as somebody is missing.
    pub fall_to_all_us: Option<u64>,
    /// From the brokers' return to the first node's after it, µs.
    pub first_back_after_up_us: Option<u64>,
    /// When half, 90 % and 99 % of the affected were back, µs.
    pub back_p50_us: Option<u64>,
    /// See `back_p50_us`.
    pub back_p90_us: Option<u64>,
    /// See `back_p50_us`.
    pub back_p99_us: Option<u64>,
    /// Dials by the affected nodes.
    pub attempts: u64,
    /// Of these, how many failed.
    pub failed: u64,
    /// How it went, from the fall on.
    pub curve: Vec<CurvePoint>,
}

impl Storm {
    /// Dials by each affected node.
    pub fn attempts_per_node(&self) -> Option<f64> {
        (self.affected > 0).then(|| self.attempts as f64 / self.affected as f64)
    }

    /// Whether the fleet is as it was before.
    pub fn is_over(&self) -> bool {
        self.back >= self.affected && self.down_us.is_some()
    }
}

/// Where a storm stands, everything counted since the fall.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CurvePoint {
    /// Since the fall, µs.
    pub t_us: u64,
    /// Connections lost.
    pub lost: u64,
    /// Returns.
    pub back: u64,
    /// Nodes that are away now.
    pub down: u64,
    /// Dials.
    pub attempts: u64,
    /// Dials that failed.
    pub failed: u64,
}

/// The storms of these faults, in their order.
pub(super) fn storms(falls: &[Fall], links: &Links) -> Vec<Storm> {
    let each = falls.iter().map(|fall| {
        // What comes after the next fall is the next storm's, unless that takes nobody's
        // connection and makes none.
        let later = falls.iter().filter(|other| other.at_us > fall.at_us);
        let later = later.filter(|other| fall.on_links || !other.on_links);
        storm(fall, later.map(|other| other.at_us).min(), links)
    });
    each.collect()
}

fn storm(fall: &Fall, next_us: Option<u64>, links: &Links) -> Storm {
    let mut storm = Storm {
        phase: fall.phase.clone(),
        op: fall.op.clone(),
        kind: fall.kind.clone(),
        targets: fall.targets.clone(),
        at_us: fall.at_us,
        down_us: fall.up_us.map(|up| up.saturating_sub(fall.at_us)),
        ..Storm::default()
    };
    let first_tick = Links::tick(fall.at_us);
    let mut now = CurvePoint::default();
    let mut returns = Vec::new();
    let mut again = 0;
    let mut last_back_us = None;
    for (tick, counts) in links.since(fall.at_us) {
        let over = fall.phase_end_us.is_some_and(|end| tick * TICK_US > end);
        if next_us.is_some_and(|next| tick >= Links::tick(next)) || (over && now.down == 0) {
            break;
        }
        now.lost += counts.lost;
        now.back += counts.back;
        now.attempts += counts.attempts;
        now.failed += counts.failed;
        now.down = now.lost.saturating_sub(now.back);
        now.t_us = ((tick + 1) * TICK_US).saturating_sub(fall.at_us);
        storm.curve.push(now);
        storm.moved += counts.moved;
        let of_this_storm = counts.again.range(first_tick..).map(|(_, n)| n);
        again += of_this_storm.sum::<u64>();
        if let Some(at) = counts.last_back_us {
            last_back_us = Some(at);
            returns.push((at, now.back));
        }
    }
    storm.affected = now.lost.saturating_sub(again);
    storm.back = storm.affected.saturating_sub(now.down);
    storm.attempts = now.attempts;
    storm.failed = now.failed;
    let since_fall = |at: u64| at.saturating_sub(fall.at_us);
    if storm.affected > 0 {
        storm.fall_to_all_us = last_back_us.filter(|_| now.down == 0).map(since_fall);
        let from = fall.up_us.unwrap_or(fall.at_us);
        let last = last_back_us.filter(|_| now.down == 0);
        storm.time_to_all_us = last.map(|at| at.saturating_sub(from));
        let share = |percent: u64| {
            let enough = (storm.affected * percent).div_ceil(100);
            let reached = returns.iter().find(|(_, back)| *back >= enough);
            reached.map(|(at, _)| since_fall(*at))
        };
        storm.back_p50_us = share(50);
        storm.back_p90_us = share(90);
        storm.back_p99_us = share(99);
    }
    storm.first_back_after_up_us = fall.up_us.and_then(|up| {
        let after = returns.iter().find(|(at, _)| *at >= up);
        after.map(|(at, _)| at - up)
    });
    storm
}

/// A curve with one point per step of 100 ms, or of a second where it is longer than two minutes,
/// from the fall until nothing more happened.
pub fn even_curve(storm: &Storm) -> Vec<CurvePoint> {
    const LONG_US: u64 = 120_000_000;
    let end = storm.curve.last().map_or(0, |point| point.t_us);
    let end = end.max(storm.down_us.unwrap_or_default());
    let step = if end > LONG_US { 1_000_000 } else { 100_000 };
    let mut points = Vec::new();
    let mut known = storm.curve.iter().peekable();
    let mut now = CurvePoint::default();
    for number in 0..=end.div_ceil(step) {
        let t_us = number * step;
        while let Some(point) = known.next_if(|point| point.t_us <= t_us) {
            now = *point;
        }
        points.push(CurvePoint { t_us, ..now });
    }
    points
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn fall(at_us: u64, up_us: Option<u64>) -> Fall {
        Fall {
            phase: "storm".to_owned(),
            at_us,
            up_us,
            ..Fall::default()
        }
    }

    fn back(links: &mut Links, at_us: u64) {
        let tick = links.at(at_us);
        tick.back += 1;
        tick.last_back_us = tick.last_back_us.max(Some(at_us));
    }

    #[test]
    fn a_storm_is_told_from_its_fall_and_from_the_brokers_return() {
        let mut links = Links::default();
        links.at(1_005_000).lost = 4;
        links.at(2_000_000).attempts = 3;
        links.at(2_000_000).failed = 3;
        for at in [4_000_000, 4_500_000, 6_000_000, 7_123_456] {
            links.at(at).attempts += 1;
            back(&mut links, at);
        }
        let [storm] = &storms(&[fall(1_000_000, Some(5_000_000))], &links)[..] else {
            panic!("one fall, one storm")
        };
        assert_eq!((storm.affected, storm.back, storm.attempts), (4, 4, 7));
        assert_eq!(storm.down_us, Some(4_000_000));
        assert_eq!(storm.time_to_all_us, Some(2_123_456));
        assert_eq!(storm.fall_to_all_us, Some(6_123_456));
        assert_eq!(storm.first_back_after_up_us, Some(1_000_000));
        assert_eq!(storm.back_p50_us, Some(3_500_000));
        assert_eq!(storm.attempts_per_node(), Some(1.75));
        let curve = even_curve(storm);
        assert_eq!(curve.len(), 63);
        assert_eq!((curve[10].t_us, curve[10].down), (1_000_000, 4));
    }

    #[test]
    fn a_node_that_is_lost_twice_is_one_node_and_another_storm_has_its_own() {
        let mut links = Links::default();
        links.at(1_000_000).lost = 2;
        back(&mut links, 1_500_000);
        links.at(2_000_000).lost = 1;
        links.at(2_000_000).again.insert(100, 1);
        back(&mut links, 2_500_000);
        back(&mut links, 2_600_000);
        links.at(9_000_000).lost = 2;
        links.at(9_000_000).again.insert(200, 2);
        let falls = [fall(1_000_000, None), fall(9_000_000, None)];
        let storms = storms(&falls, &links);
        assert_eq!((storms[0].affected, storms[0].back), (2, 2));
        assert_eq!(storms[0].time_to_all_us, Some(1_600_000));
        assert_eq!((storms[1].affected, storms[1].back), (2, 0));
        assert_eq!(storms[1].time_to_all_us, None);
    }

    #[test]
    fn what_happens_long_after_the_phase_is_no_part_of_the_storm() {
        let mut links = Links::default();
        links.at(1_000_000).lost = 1;
        back(&mut links, 3_000_000);
        links.at(60_000_000).lost = 5;
        let fall = Fall {
            phase_end_us: Some(2_000_000),
            ..fall(1_000_000, Some(1_500_000))
        };
        let [storm] = &storms(&[fall], &links)[..] else {
            panic!("one fall, one storm")
        };
        assert_eq!((storm.affected, storm.fall_to_all_us), (1, Some(2_000_000)));
    }

    proptest! {
        /// However losses and returns fall, cumulative counts never shrink and nobody comes back
        /// who was not lost.
        #[test]
        fn curves_are_monotone(stays in proptest::collection::vec((0_u64..5_000_000, 0_u64..9_000_000), 1..60)) {
            let mut links = Links::default();
            for (after, away) in &stays {
                links.at(1_000_000 + after).lost += 1;
                back(&mut links, 1_000_000 + after + away);
            }
            let storm = &storms(&[fall(1_000_000, None)], &links)[0];
            prop_assert_eq!(storm.affected, stays.len() as u64);
            prop_assert_eq!(storm.back, storm.affected);
            let last = stays.iter().map(|(after, away)| after + away).max();
            prop_assert_eq!(storm.fall_to_all_us, last);
            prop_assert!(storm.back_p50_us <= storm.back_p90_us && storm.back_p90_us <= storm.back_p99_us);
            let even = even_curve(storm);
            for pair in storm.curve.windows(2).chain(even.windows(2)) {
                prop_assert!(pair[0].lost <= pair[1].lost && pair[0].back <= pair[1].back);
                prop_assert!(pair[0].t_us < pair[1].t_us);
            }
            prop_assert_eq!(even.last().map(|p| p.down), Some(0));
        }
    }
}
