//! What a floor measurement comes to.

use std::time::Duration;

use serde::Serialize;

/// What one run of either side measured.
#[derive(Clone, Debug)]
pub struct Measured {
    /// Time to connect and subscribe everybody.
    pub connect: Duration,
    /// Last reply of each round.
    pub last: Vec<Duration>,
    /// Replies that did not come, and connections that were lost.
    pub lost: u64,
    /// Resident memory of everything that is there for a connection, bytes.
    pub rss_per_connection: u64,
}

/// The last line of `make floor`.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Report {
    /// Nodes, and bare connections.
    pub nodes: usize,
    /// Our time to connect everybody divided by the bare client's.
    pub connect_ratio: f64,
    /// Our last reply divided by the bare client's, medians of all rounds.
    pub last_reply_ratio: f64,
    /// Memory of one of our nodes, everything included.
    pub rss_per_node_bytes: u64,
    /// Memory of a bare connection.
    pub bare_rss_per_connection_bytes: u64,
    /// Replies and connections that either side lost.
    pub lost: u64,
}

impl Report {
    /// Compares our runs with the bare ones.
    #[must_use]
    pub fn of(nodes: usize, bare: &[Measured], ours: &[Measured]) -> Self {
        let connect = |runs: &[Measured]| median(runs.iter().map(|run| run.connect));
        let last = |runs: &[Measured]| median(runs.iter().flat_map(|run| run.last.clone()));
        let rss = |runs: &[Measured]| {
            let each = runs.iter().map(|run| run.rss_per_connection);
            each.max().unwrap_or_default()
        };
        let all = bare.iter().chain(ours);
        Self {
            nodes,
            connect_ratio: ratio(connect(ours), connect(bare)),
            last_reply_ratio: ratio(last(ours), last(bare)),
            rss_per_node_bytes: rss(ours),
            bare_rss_per_connection_bytes: rss(bare),
            lost: all.map(|run| run.lost).sum(),
        }
    }
}

/// The middle of them; between the two in the middle when there are as many on both sides.
#[must_use]
pub fn median(times: impl Iterator<Item = Duration>) -> Duration {
    let mut sorted: Vec<Duration> = times.collect();
    sorted.sort_unstable();
    let upper = sorted.len() / 2;
    let lower = sorted.len().saturating_sub(1) / 2;
    match (sorted.get(lower), sorted.get(upper)) {
        (Some(lower), Some(upper)) => (*lower + *upper) / 2,
        _ => Duration::ZERO,
    }
}

fn ratio(ours: Duration, bare: Duration) -> f64 {
    let ratio = ours.as_secs_f64() / bare.as_secs_f64();
    (ratio * 1_000.0).round() / 1_000.0
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(connect: u64, last: &[u64], lost: u64, rss: u64) -> Measured {
        Measured {
            connect: Duration::from_millis(connect),
            last: last.iter().copied().map(Duration::from_millis).collect(),
            lost,
            rss_per_connection: rss,
        }
    }

    #[test]
    fn a_report_compares_medians_and_adds_losses() {
        let bare = [run(100, &[10, 30], 0, 1), run(300, &[20], 1, 2)];
        let ours = [run(200, &[40, 40], 0, 9), run(400, &[70], 2, 8)];
        let report = Report::of(5, &bare, &ours);
        assert_eq!((report.connect_ratio, report.last_reply_ratio), (1.5, 2.0));
        assert_eq!((report.rss_per_node_bytes, report.lost), (9, 3));
        assert_eq!(report.bare_rss_per_connection_bytes, 2);
        let line = serde_json::to_string(&report).unwrap_or_default();
        assert!(
            line.starts_with("{\"nodes\":5,\"connect_ratio\":1.5,"),
            "{line}"
        );
    }
}
