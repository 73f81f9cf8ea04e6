//! Placement: which of the configured targets a node is sent to. Pure: what a rule needs to know
//! of the node and of how full targets are comes as an argument.
//!
//! Rules are tried in their order, and the first that knows a target for the node decides. A hook
//! may name a target instead. Spreading is by rendezvous hashing: each target draws a number for
//! each name, and the highest wins; so a target that is added takes its share from all others
//! and moves nobody else, and one that is removed gives only its own nodes away.

use std::collections::BTreeMap;

use aws_lc_rs::digest::{SHA256, digest};
use serde_json::Value;

use crate::code::{Code, Refusal};
use crate::config::Located;

/// Where nodes may be sent.
#[derive(Clone, Debug, Default)]
pub struct Target {
    /// Its name.
    pub name: String,
    /// Its brokers.
    pub servers: Vec<String>,
    /// The collectives of its nodes; those of `[node.settings]` where there are none.
    pub collectives: Vec<String>,
    /// A word for what its brokers are, for templates.
    pub tier: Option<String>,
    /// Settings its nodes have beside or instead of those of `[node.settings]`.
    pub settings: Vec<(String, Located<String>)>,
    /// Its share by weight, compared to the others'.
    pub weight: u32,
    /// How many nodes it has room for, where a rule goes by that.
    pub capacity: Option<u64>,
}

/// What a rule looks at in a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// What the node says of itself: not to be trusted.
    Fact,
    /// A claim of its provisioning token, which its signer vouches for.
    Claim,
}

/// How a target is chosen.
#[derive(Clone, Debug)]
pub enum Rule {
    /// Every node goes to this one.
    Static(String),
    /// By a fact or claim: its path, and the target of each value.
    Value {
        /// Where it is looked for.
        of: Source,
        /// Names with dots between them.
        path: String,
        /// The target of each value.
        targets: BTreeMap<String, String>,
    },
    /// Evenly, by the node's name.
    Hash(Vec<String>),
    /// By the node's name, each target as often as its weight says.
    Weight(Vec<String>),
    /// To the one with the largest free share of its capacity.
    Capacity(Vec<String>),
}

/// The targets and the rules.
#[derive(Clone, Debug, Default)]
pub struct Placement {
    /// Targets by name.
    pub targets: BTreeMap<String, Target>,
    /// Rules, first to last.
    pub rules: Vec<Rule>,
    /// The target of nodes no rule has one for.
    pub quarantine: Option<String>,
}

/// What is known of a node that is to be placed.
#[derive(Clone, Copy, Debug)]
pub struct Candidate<'a> {
    /// Its name.
    pub identity: &'a str,
    /// Its inventory; `facts` is a part of it.
    pub inventory: &'a Value,
    /// The claims of its token.
    pub claims: &'a Value,
    /// The target it has been at so far.
    pub before: Option<&'a str>,
}

impl Placement {
    /// Whether nodes are placed at all.
    #[must_use]
    pub fn is_used(&self) -> bool {
        !self.rules.is_empty() || self.quarantine.is_some()
    }

    /// The target the rules choose, if they have one for the node. `placed` says how many nodes
    /// a target has.
    #[must_use]
    pub fn choose(
        &self,
        node: Candidate<'_>,
        mut placed: impl FnMut(&str) -> u64,
    ) -> Option<&Target> {
        let chosen = self.rules.iter().find_map(|rule| match rule {
            Rule::Static(target) => Some(target.as_str()),
            Rule::Value { of, path, targets } => {
                let value = match of {
                    Source::Fact => look(node.inventory.get("facts")?, path),
                    Source::Claim => look(node.claims, path),
                };
                targets.get(&value?).map(String::as_str)
            }
            Rule::Hash(targets) => highest(targets, node.identity, |_| 1),
            Rule::Weight(targets) => highest(targets, node.identity, |name| {
                self.targets.get(name).map_or(0, |target| target.weight)
            }),
            Rule::Capacity(targets) => self.freest(targets, node, &mut placed),
        });
        let chosen = chosen.or(self.quarantine.as_deref());
        chosen.and_then(|name| self.targets.get(name))
    }

    /// The target a hook named.
    ///
    /// # Errors
    /// `hook.unknown_target` when there is none of that name.
    pub fn named(&self, name: &str) -> Result<&Target, Refusal> {
        self.targets.get(name).ok_or_else(|| {
            let shown: String = name.chars().filter(|c| !c.is_control()).take(64).collect();
            let known: Vec<_> = self.targets.keys().map(String::as_str).collect();
            let known = match known.as_slice() {
                [] => "[placement.targets] has none".to_owned(),
                names => format!("the targets are {}", names.join(", ")),
            };
            let says = format!("the hook wants the node placed at {shown:?}, and {known}");
            Refusal::new(Code::HookUnknownTarget, says)
        })
    }

    /// Where a node stays that has a place already; otherwise where most is free.
    fn freest<'t>(
        &self,
        targets: &'t [String],
        node: Candidate<'_>,
        placed: &mut impl FnMut(&str) -> u64,
    ) -> Option<&'t str> {
        if let Some(stays) = targets
            .iter()
            .find(|name| node.before == Some(name.as_str()))
        {
            return Some(stays);
        }
        let free = targets.iter().filter_map(|name| {
            let capacity = self.targets.get(name)?.capacity?;
            let free = capacity
                .checked_sub(placed(name))
                .filter(|free| *free > 0)?;
            Some((name, free, capacity))
        });
        // Fractions are compared without rounding; of equal ones the first in the list wins.
        let most = free.reduce(|best, next| {
            let (best_share, next_share) = (
                u128::from(best.1) * u128::from(next.2),
                u128::from(next.1) * u128::from(best.2),
            );
            if next_share > best_share { next } else { best }
        });
        most.map(|(name, ..)| name.as_str())
    }
}

/// The refusal of a node that no rule and no hook has a target for.
#[must_use]
pub fn nowhere() -> Refusal {
    Refusal::new(
        Code::PlacementNone,
        "no rule of [placement] has a target for it, or all of them are full, and there is no \
         quarantine target",
    )
}

/// The text of a value, by names with dots between them.
pub(crate) fn look(mut value: &Value, path: &str) -> Option<String> {
    for name in path.split('.') {
        value = value.get(name)?;
    }
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Bool(_) | Value::Number(_) => Some(value.to_string()),
        Value::Null | Value::Array(_) | Value::Object(_) => None,
    }
}

/// The target that draws the highest number for a name. With weights the number is the time until
/// the target's first event at that rate, and the earliest wins: the same for equal weights.
fn highest<'t>(
    targets: &'t [String],
    identity: &str,
    weight: impl Fn(&str) -> u32,
) -> Option<&'t str> {
    let drawn = targets.iter().map(|name| {
        let time = -draw(name, identity).ln() / f64::from(weight(name));
        (time, name.as_str())
    });
    let best = drawn.min_by(|a, b| a.0.total_cmp(&b.0).then_with(|| a.1.cmp(b.1)));
    best.map(|(_, name)| name)
}

/// A number between 0 and 1, neither of them, for a target and a name.
pub(crate) fn draw(target: &str, identity: &str) -> f64 {
    let hash = digest(
        &SHA256,
        &[target.as_bytes(), b"\0", identity.as_bytes()].concat(),
    );
    let mut bits = [0; 8];
    bits.copy_from_slice(&hash.as_ref()[..8]);
    // As many bits as a double holds exactly, in the middle of each step.
    #[expect(clippy::cast_precision_loss, reason = "53 bits fit")]
    let number = (u64::from_be_bytes(bits) >> 11) as f64;
    (number + 0.5) / 9_007_199_254_740_992.0
}

#[cfg(test)]
mod tests;
