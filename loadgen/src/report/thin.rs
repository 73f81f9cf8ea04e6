//! Fewer points that draw the same curve.

/// A value at a time, or at any other place on the horizontal axis.
pub(super) type Point = (f64, f64);

/// Most points of one curve.
pub const MOST_POINTS: usize = 400;

/// At most `most` of `points`, which are in order: the first, the last, and of equal buckets in
/// between the smallest and the largest. Points in the middle of a level stretch are left out.
pub(super) fn thin(points: &[Point], most: usize) -> Vec<Point> {
    let points = without_level_middles(points);
    let most = most.clamp(4, MOST_POINTS);
    let [first, inner @ .., last] = points.as_slice() else {
        return points;
    };
    if points.len() <= most {
        return points;
    }
    let buckets = (most - 2) / 2;
    let width = (last.0 - first.0) / buckets as f64;
    let bucket = |x: f64| (((x - first.0) / width) as usize).min(buckets - 1);
    let mut kept = vec![*first];
    for same in inner.chunk_by(|a, b| bucket(a.0) == bucket(b.0)) {
        let by_value = |a: &&Point, b: &&Point| a.1.total_cmp(&b.1);
        let low = same.iter().min_by(by_value);
        let high = same.iter().max_by(by_value);
        let mut ends: Vec<Point> = low.into_iter().chain(high).copied().collect();
        ends.sort_by(|a, b| a.0.total_cmp(&b.0));
        ends.dedup();
        kept.extend(ends);
    }
    kept.push(*last);
    kept
}

fn without_level_middles(points: &[Point]) -> Vec<Point> {
    let level = |at: usize| {
        let around = points.get(at.wrapping_sub(1)).zip(points.get(at + 1));
        around.is_some_and(|(before, after)| {
            before.1.to_bits() == points[at].1.to_bits()
                && after.1.to_bits() == points[at].1.to_bits()
        })
    };
    let kept = points.iter().enumerate().filter(|(at, _)| !level(*at));
    kept.map(|(_, point)| *point).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_level_stretch_keeps_its_ends() {
        let points: Vec<Point> = (0..9).map(|x| (f64::from(x), 5.0)).collect();
        assert_eq!(thin(&points, 100), [(0.0, 5.0), (8.0, 5.0)]);
        assert_eq!(thin(&[], 100), []);
        assert_eq!(thin(&[(1.0, 2.0)], 100), [(1.0, 2.0)]);
    }

    proptest! {
        #[test]
        fn keeps_order_ends_and_extremes(
            steps in proptest::collection::vec((0.0f64..10.0, -1e6f64..1e6), 2..3_000),
            most in 4usize..500,
        ) {
            let mut x = 0.0;
            let points: Vec<Point> = steps.iter().map(|(dx, y)| { x += dx; (x, *y) }).collect();
            let kept = thin(&points, most);
            prop_assert!(kept.len() <= most.min(MOST_POINTS));
            prop_assert!(kept.windows(2).all(|pair| pair[0].0 <= pair[1].0));
            prop_assert!(kept.iter().all(|point| points.contains(point)));
            prop_assert_eq!(kept.first(), points.first());
            prop_assert_eq!(kept.last(), points.last());
            let highest = |of: &[Point]| of.iter().map(|p| p.1).fold(f64::MIN, f64::max);
            let lowest = |of: &[Point]| of.iter().map(|p| p.1).fold(f64::MAX, f64::min);
            prop_assert_eq!(highest(&kept), highest(&points));
            prop_assert_eq!(lowest(&kept), lowest(&points));
        }
    }
}
