//! The verdict and the few figures that stand at the top.

use serde::Serialize;

use super::folder::Folder;
use crate::results::{Outcome, Summary, Verdict, sentence};
use crate::units::{Size, brief_duration, grouped};

/// How the run came out, as the page begins.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Headline {
    /// In capitals.
    word: &'static str,
    /// The same as a sign, for a quick look.
    sign: &'static str,
    /// A class of the style sheet.
    kind: &'static str,
    /// In a sentence.
    sentence: String,
    /// Why it is not a pass.
    reasons: Vec<String>,
}

impl Headline {
    pub(super) fn new(folder: &Folder) -> Self {
        match &folder.verdict {
            Some(verdict) => Self::of(verdict),
            None => Self {
                word: "NO VERDICT",
                sign: "?",
                kind: "open",
                sentence: "The run was killed, or it is still running: there is no verdict. What \
                           its folder holds is shown as far as it goes."
                    .to_owned(),
                reasons: Vec::new(),
            },
        }
    }

    fn of(verdict: &Verdict) -> Self {
        let (sign, kind) = match verdict.outcome {
            Outcome::Pass => ("✓", "good"),
            Outcome::Fail => ("✕", "bad"),
            Outcome::Error => ("✕", "bad"),
            Outcome::Invalid | Outcome::Aborted => ("!", "warn"),
            Outcome::Inconclusive => ("?", "open"),
        };
        let (held, asserts) = verdict.held();
        Self {
            word: verdict.outcome.headline(),
            sign,
            kind,
            sentence: sentence(verdict, held, asserts),
            reasons: verdict.reasons.clone(),
        }
    }
}

/// One figure at the top: `50,000` and what it is.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Figure {
    value: String,
    what: String,
}

/// The figures that say most of this run; what was not measured is left out.
pub(super) fn figures(summary: &Summary) -> Vec<Figure> {
    let mut figures = Vec::new();
    let mut put = |value: Option<String>, what: &str| {
        figures.extend(value.map(|value| Figure {
            value,
            what: what.to_owned(),
        }));
    };
    let time = |us: u64| brief_duration(std::time::Duration::from_micros(us));
    let nodes = &summary.nodes;
    put(
        nodes.connected.or(Some(nodes.planned)).map(grouped),
        if nodes.connected.is_some() {
            "nodes connected"
        } else {
            "nodes planned"
        },
    );
    let enrolment = summary.enrolment.as_ref();
    let enrolled = enrolment.and_then(|enrolment| enrolment.per_min);
    put(
        enrolled.map(|n| grouped(n.round() as u64)),
        "enrolled a minute",
    );
    let rounds = || summary.rounds.values();
    put(
        rounds().filter_map(|of| of.last_us.max).max().map(time),
        "slowest last reply of a round",
    );
    let asked = rounds().any(|of| of.expected > 0);
    let missing: u64 = rounds().map(|of| of.missing).sum();
    put(asked.then(|| grouped(missing)), "replies missing");
    let storms = summary.storms.iter();
    put(
        storms.filter_map(|of| of.fall_to_all_us).max().map(time),
        "from a fault until all were back",
    );
    let size = |bytes: Option<u64>| bytes.map(|bytes| Size(bytes).brief());
    put(size(summary.memory.rss_bytes_per_node), "memory a node");
    put(
        size(summary.memory.broker_rss_bytes_per_connection),
        "broker memory a connection",
    );
    put(summary.generator.health.clone(), "generator");
    figures
}
