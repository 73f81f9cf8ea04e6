//! Even, proportional, within bounds, and stable when targets come and go.

#![allow(clippy::unwrap_used, clippy::cast_precision_loss, reason = "tests")]

use std::collections::BTreeMap;

use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;

const NODES: usize = 3_000;

fn names(n: usize) -> Vec<String> {
    (0..n).map(|n| format!("target-{n}")).collect()
}

fn placement(targets: &[String], rules: Vec<Rule>) -> Placement {
    let target = |name: &String| {
        let target = Target {
            name: name.clone(),
            weight: 1,
            ..Target::default()
        };
        (name.clone(), target)
    };
    Placement {
        targets: targets.iter().map(target).collect(),
        rules,
        quarantine: None,
    }
}

fn node<'a>(identity: &'a str, inventory: &'a Value, claims: &'a Value) -> Candidate<'a> {
    Candidate {
        identity,
        inventory,
        claims,
        before: None,
    }
}

/// The target of each of many nodes.
fn spread(placement: &Placement, seed: u32) -> Vec<String> {
    let null = Value::Null;
    let place = |n| {
        let identity = format!("node-{seed}-{n}.example.net");
        let chosen = placement.choose(node(&identity, &null, &null), |_| 0);
        chosen.unwrap().name.clone()
    };
    (0..NODES).map(place).collect()
}

fn count(spread: &[String]) -> BTreeMap<&str, usize> {
    let mut counts = BTreeMap::new();
    for name in spread {
        *counts.entry(name.as_str()).or_default() += 1;
    }
    counts
}

/// Whether a count is what chance makes of this share: five standard deviations.
fn is_share(count: usize, share: f64) -> bool {
    let (mean, n) = (share * NODES as f64, NODES as f64);
    (count as f64 - mean).abs() <= 5.0 * (n * share * (1.0 - share)).sqrt() + 1.0
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn by_hash_it_is_even_and_a_new_target_takes_its_share_only(targets in 1_usize..9, seed: u32) {
        let all = names(targets + 1);
        let few = placement(&all, vec![Rule::Hash(all[..targets].to_vec())]);
        let more = placement(&all, vec![Rule::Hash(all.clone())]);
        let (before, after) = (spread(&few, seed), spread(&more, seed));
        for (_, n) in count(&before) {
            prop_assert!(is_share(n, 1.0 / targets as f64), "{n} of {NODES}");
        }
        let moved: Vec<_> = before.iter().zip(&after).filter(|(a, b)| a != b).collect();
        prop_assert!(moved.iter().all(|(_, to)| **to == all[targets]));
        prop_assert!(is_share(moved.len(), 1.0 / (targets + 1) as f64), "{} moved", moved.len());
    }

    #[test]
    fn by_weight_each_has_its_share(weights in prop::collection::vec(1_u32..20, 2..6), seed: u32) {
        let all = names(weights.len());
        let mut placement = placement(&all, vec![Rule::Weight(all.clone())]);
        for (name, weight) in all.iter().zip(&weights) {
            placement.targets.get_mut(name).unwrap().weight = *weight;
        }
        let sum = f64::from(weights.iter().sum::<u32>());
        let spread = spread(&placement, seed);
        let counts = count(&spread);
        for (name, weight) in all.iter().zip(&weights) {
            let n = counts.get(name.as_str()).copied().unwrap_or(0);
            prop_assert!(is_share(n, f64::from(*weight) / sum), "{name} of {weight}: {n}");
        }
    }

    #[test]
    fn by_capacity_all_fill_alike_and_none_overflows(
        capacities in prop::collection::vec(0_u64..40, 1..6), nodes in 0_u64..200
    ) {
        let all = names(capacities.len());
        let mut placement = placement(&all, vec![Rule::Capacity(all.clone())]);
        for (name, capacity) in all.iter().zip(&capacities) {
            placement.targets.get_mut(name).unwrap().capacity = Some(*capacity);
        }
        let null = Value::Null;
        let mut placed: BTreeMap<String, u64> = BTreeMap::new();
        for n in 0..nodes {
            let identity = format!("n{n}");
            let at = |name: &str| placed.get(name).copied().unwrap_or(0);
            let chosen = placement.choose(node(&identity, &null, &null), at);
            prop_assert_eq!(chosen.is_some(), n < capacities.iter().sum::<u64>());
            if let Some(target) = chosen {
                *placed.entry(target.name.clone()).or_default() += 1;
            }
        }
        let free = |(name, capacity): (&String, &u64)| {
            let used = placed.get(name).copied().unwrap_or(0);
            assert!(used <= *capacity);
            (*capacity > 0).then(|| (*capacity - used) as f64 / *capacity as f64)
        };
        let shares: Vec<f64> = all.iter().zip(&capacities).filter_map(free).collect();
        let least = capacities.iter().copied().filter(|c| *c > 0).min().unwrap_or(1) as f64;
        let (low, high) = (
            shares.iter().copied().fold(1.0, f64::min),
            shares.iter().copied().fold(0.0, f64::max),
        );
        prop_assert!(shares.is_empty() || high - low <= 1.0 / least + 1e-9, "{shares:?}");
    }
}

#[test]
fn the_first_rule_that_knows_a_target_decides() {
    let all = names(4);
    let map = |value: &str, target: &str| BTreeMap::from([(value.to_owned(), target.to_owned())]);
    let value = |of, path: &str, targets| Rule::Value {
        of,
        path: path.to_owned(),
        targets,
    };
    let mut placement = placement(
        &all,
        vec![
            value(Source::Claim, "extensions.rack", map("r12", "target-0")),
            value(Source::Fact, "site.name", map("ams", "target-1")),
            value(Source::Fact, "cpus", map("64", "target-2")),
        ],
    );
    let place = |placement: &Placement, facts: Value, claims: Value| {
        let inventory = json!({ "facts": facts });
        let chosen = placement.choose(node("n1", &inventory, &claims), |_| 0);
        chosen.map(|target| target.name.clone())
    };
    let rack = json!({ "extensions": { "rack": "r12" } });
    let ams = json!({ "site": { "name": "ams" }, "cpus": 64 });
    let at = |n: usize| Some(format!("target-{n}"));
    assert_eq!(place(&placement, ams.clone(), rack), at(0));
    assert_eq!(place(&placement, ams.clone(), json!({})), at(1));
    assert_eq!(place(&placement, json!({ "cpus": 64 }), json!({})), at(2));
    assert_eq!(place(&placement, json!({ "site": "ams" }), json!({})), None);
    placement.quarantine = at(3);
    assert_eq!(place(&placement, json!({}), Value::Null), at(3));
    placement.rules.push(Rule::Static("target-1".to_owned()));
    assert_eq!(place(&placement, json!({}), Value::Null), at(1));
}

#[test]
fn a_node_that_has_a_place_keeps_it_though_all_are_full() {
    let all = names(2);
    let mut placement = placement(&all, vec![Rule::Capacity(all.clone())]);
    for target in placement.targets.values_mut() {
        target.capacity = Some(1);
    }
    let null = Value::Null;
    let mut known = node("n1", &null, &null);
    assert!(placement.choose(known, |_| 1).is_none());
    known.before = Some("target-1");
    assert_eq!(placement.choose(known, |_| 1).unwrap().name, "target-1");
    known.before = Some("target-9");
    assert!(placement.choose(known, |_| 1).is_none());
}

#[test]
fn what_a_hook_names_has_to_be_there() {
    let placement = placement(&names(2), Vec::new());
    assert_eq!(placement.named("target-1").unwrap().name, "target-1");
    let refused = placement.named("target-\n7").unwrap_err();
    assert_eq!(refused.code, Code::HookUnknownTarget);
    assert!(
        refused
            .message
            .contains("\"target-7\", and the targets are target-0, target-1")
    );
}
