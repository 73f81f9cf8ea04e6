//! Who is killed when: the same for the same seed.

use std::time::Duration;

use rand::Rng as _;
use rand::seq::IndexedRandom as _;
use server_core::words::Seed;

/// Time of a run for each of its kills: enough for what was killed to come back and be killed
/// amid its work again.
pub const FOR_EACH: Duration = Duration::from_secs(3);
/// No kill falls before the first nodes are under way.
const FIRST: Duration = Duration::from_millis(500);
/// The longest and shortest time something stays away.
const AWAY: std::ops::Range<Duration> = Duration::from_millis(100)..Duration::from_secs(3);

/// What enrols the fleet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shape {
    /// Provisioners; several share a ledger.
    pub provisioners: u32,
    /// Whether pooled helpers sign, in place of the built-in authority.
    pub helpers: bool,
}

/// The shapes in the order in which runs take them.
pub const SHAPES: [Shape; 4] = [
    Shape {
        provisioners: 1,
        helpers: false,
    },
    Shape {
        provisioners: 2,
        helpers: false,
    },
    Shape {
        provisioners: 1,
        helpers: true,
    },
    Shape {
        provisioners: 2,
        helpers: true,
    },
];

impl Shape {
    /// A word for people.
    #[must_use]
    pub fn word(self) -> String {
        let signer = if self.helpers {
            "pooled helpers"
        } else {
            "built-in authority"
        };
        match self.provisioners {
            1 => format!("1 provisioner, {signer}"),
            n => format!("{n} provisioners, {signer}"),
        }
    }

    fn targets(self) -> Vec<String> {
        let provisioners = (1..=self.provisioners).map(|n| format!("provisioner-{n}"));
        let brokers = ["provisioning", "hub"].map(str::to_owned);
        let helper = self.helpers.then(|| HELPER.to_owned());
        provisioners.chain(brokers).chain(helper).collect()
    }
}

/// The target that stands for some pooled helper.
pub const HELPER: &str = "helper";

/// One kill.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Kill {
    /// A provisioner, a broker, or [`HELPER`].
    pub target: String,
    /// When, after the first node arrives.
    pub at: Duration,
    /// How long it stays away; a helper is started again by its provisioner.
    pub away: Duration,
}

/// One run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    /// Which run, from 1.
    pub number: u64,
    /// What enrols.
    pub shape: Shape,
    /// Nodes.
    pub nodes: u64,
    /// How long they take to arrive.
    pub arrive: Duration,
    /// Who is killed, in order.
    pub kills: Vec<Kill>,
}

impl Plan {
    /// Run `number` of a fault run with this seed.
    #[must_use]
    pub fn new(seed: u64, number: u64, nodes: u64, kills: usize) -> Self {
        let mut rng = Seed(seed).stream(number);
        let shape = SHAPES[usize::try_from(number.saturating_sub(1)).unwrap_or(0) % SHAPES.len()];
        let targets = shape.targets();
        let arrive = FOR_EACH * u32::try_from(kills.max(1)).unwrap_or(u32::MAX);
        let mut kills: Vec<Kill> = (0..kills)
            .filter_map(|_| {
                Some(Kill {
                    target: targets.choose(&mut rng)?.clone(),
                    at: rng.random_range(FIRST..FIRST + arrive),
                    away: rng.random_range(AWAY),
                })
            })
            .collect();
        kills.sort_by_key(|kill| kill.at);
        Self {
            number,
            shape,
            nodes,
            arrive,
            kills,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_seed_kills_the_same_at_the_same_time() {
        for number in 1..=8 {
            let plan = Plan::new(7, number, 2_000, 10);
            assert_eq!(plan, Plan::new(7, number, 2_000, 10));
            assert_ne!(plan.kills, Plan::new(8, number, 2_000, 10).kills);
            assert_eq!(plan.kills.len(), 10);
            assert!(plan.kills.is_sorted_by_key(|kill| kill.at));
            let own = plan.shape.targets();
            assert!(plan.kills.iter().all(|kill| own.contains(&kill.target)));
        }
    }

    #[test]
    fn everything_is_killed_sooner_or_later() {
        let plans = (1..=20).map(|number| Plan::new(1, number, 2_000, 10));
        let killed: std::collections::BTreeSet<String> = plans
            .flat_map(|plan| plan.kills)
            .map(|kill| kill.target)
            .collect();
        let all = [
            HELPER,
            "hub",
            "provisioner-1",
            "provisioner-2",
            "provisioning",
        ];
        assert_eq!(killed.iter().map(String::as_str).collect::<Vec<_>>(), all);
    }
}
