//! Divides the nodes of a run among its fleets, exactly.

/// How much of the nodes a fleet takes.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Share {
    /// So many nodes, on top of what is shared out (or out of it, where there is a rest).
    Nodes(u64),
    /// So many percent of the total.
    Percent(f64),
    /// What the others leave of the total.
    Rest,
}

/// Why the nodes cannot be divided.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum ShareError {
    /// The percentages add up to more than 100.
    TooMuch(f64),
    /// The percentages add up to less than 100 and nobody takes the rest.
    TooLittle(f64),
    /// Two fleets take the rest.
    TwoRests,
    /// The others leave nothing, by so many nodes or exactly.
    NothingLeft,
}

/// Nodes for each share, in the same order.
///
/// Percentages are dealt out by the largest remainder, so that no node is lost or invented: the
/// sum over all percentages is `total` times their sum, rounded once.
///
/// # Errors
/// When the shares do not make up the total.
pub fn split(total: u64, shares: &[Share]) -> Result<Vec<u64>, ShareError> {
    let percents: Vec<f64> = shares.iter().filter_map(percent).collect();
    let sum: f64 = percents.iter().sum();
    let fixed: u64 = shares
        .iter()
        .map(|share| match share {
            Share::Nodes(nodes) => *nodes,
            Share::Percent(_) | Share::Rest => 0,
        })
        .sum();
    let rests = shares.iter().filter(|share| **share == Share::Rest).count();
    // A hair of tolerance: 33.3 + 33.3 + 33.4 is 100 for everybody who writes it.
    match rests {
        _ if sum > 100.0 + 1e-9 => return Err(ShareError::TooMuch(sum)),
        0 if !percents.is_empty() && fixed == 0 && sum < 100.0 - 1e-9 => {
            return Err(ShareError::TooLittle(sum));
        }
        2.. => return Err(ShareError::TwoRests),
        _ => {}
    }
    let mut dealt = largest_remainder(total, &percents).into_iter();
    let mut nodes = Vec::with_capacity(shares.len());
    for share in shares {
        nodes.push(match share {
            Share::Nodes(nodes) => *nodes,
            Share::Percent(_) => dealt.next().unwrap_or_default(),
            Share::Rest => 0,
        });
    }
    if let Some(rest) = shares.iter().position(|share| *share == Share::Rest) {
        let taken: u64 = nodes.iter().sum();
        nodes[rest] = total
            .checked_sub(taken)
            .filter(|left| *left > 0)
            .ok_or(ShareError::NothingLeft)?;
    }
    Ok(nodes)
}

fn percent(share: &Share) -> Option<f64> {
    match share {
        Share::Percent(percent) => Some(*percent),
        Share::Nodes(_) | Share::Rest => None,
    }
}

fn largest_remainder(total: u64, percents: &[f64]) -> Vec<u64> {
    let quotas: Vec<f64> = percents.iter().map(|p| total as f64 * p / 100.0).collect();
    let mut nodes: Vec<u64> = quotas.iter().map(|quota| quota.floor() as u64).collect();
    let whole = quotas.iter().sum::<f64>().round() as u64;
    let mut order: Vec<usize> = (0..quotas.len()).collect();
    order.sort_by(|a, b| quotas[*b].fract().total_cmp(&quotas[*a].fract()));
    let missing = whole.saturating_sub(nodes.iter().sum());
    for index in order.into_iter().cycle().take(missing as usize) {
        nodes[index] += 1;
    }
    nodes
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn divides_as_people_would() {
        use Share::{Nodes, Percent, Rest};
        assert_eq!(
            split(50_000, &[Percent(60.0), Percent(40.0)]),
            Ok(vec![30_000, 20_000])
        );
        assert_eq!(
            split(100, &[Percent(33.3), Percent(33.3), Percent(33.4)]),
            Ok(vec![33, 33, 34])
        );
        assert_eq!(
            split(20_000, &[Percent(20.0), Rest]),
            Ok(vec![4_000, 16_000])
        );
        assert_eq!(split(9, &[Percent(0.0), Rest]), Ok(vec![0, 9]));
        assert_eq!(split(1_000, &[Nodes(10), Rest]), Ok(vec![10, 990]));
        assert_eq!(
            split(0, &[Nodes(10), Nodes(5)]),
            Ok(vec![10, 5]),
            "no shares, no total"
        );
        assert_eq!(
            split(9, &[Percent(60.0), Percent(50.0)]),
            Err(ShareError::TooMuch(110.0))
        );
        assert_eq!(split(9, &[Percent(60.0)]), Err(ShareError::TooLittle(60.0)));
        assert_eq!(split(9, &[Rest, Rest]), Err(ShareError::TwoRests));
        assert_eq!(split(9, &[Nodes(9), Rest]), Err(ShareError::NothingLeft));
    }

    proptest! {
        #[test]
        fn no_node_is_lost_and_nobody_is_off_by_more_than_one(
            total in 1u64..1_000_000,
            weights in prop::collection::vec(1u32..1_000, 1..12),
        ) {
            let sum: u32 = weights.iter().sum();
            let shares: Vec<Share> = weights
                .iter()
                .map(|weight| Share::Percent(f64::from(*weight) * 100.0 / f64::from(sum)))
                .collect();
            let nodes = split(total, &shares).unwrap();
            prop_assert_eq!(nodes.iter().sum::<u64>(), total);
            for (nodes, weight) in nodes.iter().zip(&weights) {
                let quota = total as f64 * f64::from(*weight) / f64::from(sum);
                prop_assert!((*nodes as f64 - quota).abs() < 1.001, "{nodes} of {quota}");
            }
        }
    }
}
