//! `latency.hlog` as curves: percentiles over the run's time, merged and never averaged.

use std::collections::BTreeMap;

use hdrhistogram::serialization::interval_log::{IntervalLogIterator, LogEntry};

use super::thin::Point;
use crate::measure::{Hist, Quantile, Series};

/// Most buckets of one operation; each is at least a second long.
const BUCKETS: f64 = 100.0;

/// Latencies of one operation over time, µs; a percentile is left out where a bucket has too few
/// samples for it.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Latencies {
    /// What is measured, in words.
    pub(super) what: &'static str,
    pub(super) p50: Vec<Point>,
    pub(super) p99: Vec<Point>,
    pub(super) max: Vec<Point>,
}

/// What is shown of an operation: the first of these that it has.
const SHOWN: [(Series, &str); 4] = [
    (Series::Reply, "each reply, from sending the request"),
    (Series::Intended, "from the intended start"),
    (Series::EndToEnd, "from publishing to delivery"),
    (Series::Actual, "from the actual start"),
];

struct Interval<'a> {
    from: f64,
    to: f64,
    encoded: &'a str,
}

/// The latencies of each operation, phases put together.
pub(super) fn latencies(log: &[u8]) -> BTreeMap<String, Latencies> {
    let mut ops: BTreeMap<String, BTreeMap<String, Vec<Interval<'_>>>> = BTreeMap::new();
    // A killed run may end within a line: what is before it counts.
    for entry in IntervalLogIterator::new(log).map_while(Result::ok) {
        let LogEntry::Interval(interval) = entry else {
            continue;
        };
        let tag = interval
            .tag()
            .map(|tag| tag.as_str().to_owned())
            .unwrap_or_default();
        let mut parts = tag.rsplit('/');
        let (Some(series), Some(op)) = (parts.next(), parts.next()) else {
            continue;
        };
        let from = interval.start_timestamp().as_secs_f64();
        let of = ops.entry(op.to_owned()).or_default();
        of.entry(series.to_owned()).or_default().push(Interval {
            from,
            to: from + interval.duration().as_secs_f64(),
            encoded: interval.encoded_histogram(),
        });
    }
    let shown = ops.into_iter().filter_map(|(op, mut series)| {
        let (intervals, what) = SHOWN.iter().find_map(|(wanted, what)| {
            let intervals = series.remove(wanted.tag())?;
            Some((intervals, *what))
        })?;
        Some((op, over_time(intervals, what)))
    });
    shown.collect()
}

fn over_time(mut intervals: Vec<Interval<'_>>, what: &'static str) -> Latencies {
    intervals.sort_by(|a, b| a.to.total_cmp(&b.to));
    let first = intervals
        .iter()
        .map(|interval| interval.from)
        .fold(f64::MAX, f64::min);
    let last = intervals.last().map_or(first, |interval| interval.to);
    let width = ((last - first) / BUCKETS).ceil().max(1.0);
    let bucket = |interval: &Interval<'_>| ((interval.to - first) / width - 1e-3) as u64;
    let mut curves = Latencies {
        what,
        ..Latencies::default()
    };
    for together in intervals.chunk_by(|a, b| bucket(a) == bucket(b)) {
        let mut merged = Hist::new();
        let read = together
            .iter()
            .filter_map(|interval| Hist::from_base64(interval.encoded).ok());
        read.for_each(|hist| merged.merge(&hist));
        let at = together.last().map_or(first, |interval| interval.to);
        let put = |curve: &mut Vec<Point>, us: Option<u64>| {
            curve.extend(us.map(|us| (at, us as f64)));
        };
        put(&mut curves.p50, merged.quantile(Quantile::P50));
        put(&mut curves.p99, merged.quantile(Quantile::P99));
        put(&mut curves.max, merged.max());
    }
    curves
}
