//! What stands in a cell of a table: counts, times, sizes, and the ways of not being known.

use serde::Serialize;

use crate::results::Latency;
use crate::units::{Size, brief_duration, grouped};

/// A cell; `kind` is a class of the style sheet.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(super) struct Cell {
    pub(super) text: String,
    pub(super) kind: &'static str,
}

pub(super) fn text(text: impl Into<String>) -> Cell {
    Cell {
        text: text.into(),
        kind: "",
    }
}

pub(super) fn code(text: &str) -> Cell {
    Cell {
        text: text.to_owned(),
        kind: "code",
    }
}

pub(super) fn figure(text: impl Into<String>) -> Cell {
    Cell {
        text: text.into(),
        kind: "num",
    }
}

pub(super) fn few() -> Cell {
    Cell {
        text: "too few samples".to_owned(),
        kind: "few",
    }
}

pub(super) fn nothing() -> Cell {
    Cell {
        text: "–".to_owned(),
        kind: "few",
    }
}

pub(super) fn time(us: u64) -> String {
    brief_duration(std::time::Duration::from_micros(us))
}

pub(super) fn known(us: Option<u64>) -> Cell {
    us.map_or_else(nothing, |us| figure(time(us)))
}

pub(super) fn count(n: Option<u64>) -> Cell {
    n.map_or_else(nothing, |n| figure(grouped(n)))
}

/// A count that should be 0.
pub(super) fn fault(n: u64) -> Cell {
    Cell {
        text: grouped(n),
        kind: if n > 0 { "num warn" } else { "num" },
    }
}

pub(super) fn size(bytes: Option<u64>) -> Cell {
    bytes.map_or_else(nothing, |bytes| figure(Size(bytes).brief()))
}

/// A percentile: where there is a largest value and no percentile, the sample was too small.
pub(super) fn percentile(value: Option<u64>, of: &Latency) -> Cell {
    match (value, of.max) {
        (Some(us), _) => figure(time(us)),
        (None, Some(_)) => few(),
        (None, None) => nothing(),
    }
}

pub(super) fn percentiles(of: &Latency) -> [Cell; 4] {
    [
        percentile(of.p50, of),
        percentile(of.p90, of),
        percentile(of.p99, of),
        percentile(of.max, of),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_percentile_of_too_few_samples_is_said_to_be_one() {
        let some = Latency {
            p50: Some(1_500),
            max: Some(9_000),
            ..Latency::default()
        };
        let told = percentiles(&some).map(|cell| (cell.text, cell.kind));
        let want = [
            ("1.5ms", "num"),
            ("too few samples", "few"),
            ("too few samples", "few"),
            ("9ms", "num"),
        ];
        assert_eq!(told, want.map(|(text, kind)| (text.to_owned(), kind)));
        assert_eq!(
            percentiles(&Latency::default()),
            [(); 4].map(|()| nothing())
        );
    }
}
