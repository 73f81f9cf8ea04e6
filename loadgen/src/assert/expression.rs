//! The grammar of an assert: `metric.stat op value`.

use std::fmt;

use serde::{Serialize, Serializer};

use super::metrics::{MetricId, Unit};
use crate::units::{Rate, Size, parse_duration};

/// How two values are compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Comparison {
    /// `<=`
    AtMost,
    /// `<`
    Below,
    /// `>=`
    AtLeast,
    /// `>`
    Above,
    /// `==`
    Equal,
    /// `!=`
    Unequal,
}

impl Comparison {
    /// Every one with its sign, the longer signs first so that they are found first.
    const SIGNS: [(&'static str, Self); 6] = [
        ("<=", Self::AtMost),
        (">=", Self::AtLeast),
        ("==", Self::Equal),
        ("!=", Self::Unequal),
        ("<", Self::Below),
        (">", Self::Above),
    ];

    /// Whether it holds between a measured value and its target.
    pub fn holds(self, value: f64, target: f64) -> bool {
        match self {
            Self::AtMost => value <= target,
            Self::Below => value < target,
            Self::AtLeast => value >= target,
            Self::Above => value > target,
            Self::Equal => value == target,
            Self::Unequal => value != target,
        }
    }
}

impl fmt::Display for Comparison {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sign = Self::SIGNS.iter().find(|(_, this)| this == self);
        f.write_str(sign.map_or("", |(sign, _)| sign))
    }
}

/// What a value is compared with.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Target {
    /// A value in the metric's unit.
    Value(f64),
    /// So many times the same metric of the baseline run.
    Baseline(f64),
}

/// An assert that names things which exist.
#[derive(Clone, Debug, PartialEq)]
pub struct Expression {
    /// As it was written.
    pub text: String,
    /// What is measured.
    pub metric: MetricId,
    /// How it is compared.
    pub comparison: Comparison,
    /// With what.
    pub target: Target,
}

impl Serialize for Expression {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.text)
    }
}

/// An expression whose parts are told apart and not yet looked up.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Parsed<'t> {
    /// `ping.last_reply.max`
    pub(crate) metric: &'t str,
    pub(crate) comparison: Comparison,
    /// `3.5s`
    pub(crate) target: &'t str,
}

/// Tells the parts of an expression apart.
pub(crate) fn parse(text: &str) -> Result<Parsed<'_>, String> {
    const HELP: &str = "write metric.stat op value, as ping.last_reply.max <= 3.5s";
    let at = text
        .find(['<', '>', '=', '!'])
        .ok_or_else(|| format!("compares nothing; {HELP}"))?;
    let (metric, rest) = text.split_at(at);
    let Some((sign, comparison)) = Comparison::SIGNS
        .into_iter()
        .find(|(sign, _)| rest.starts_with(sign))
    else {
        return Err("compares with a sign that is not one of <= < >= > == !=".to_owned());
    };
    let (metric, target) = (metric.trim(), rest[sign.len()..].trim());
    if metric.is_empty() || target.is_empty() || target.starts_with(['<', '>', '=', '!']) {
        return Err(format!("is not whole; {HELP}"));
    }
    Ok(Parsed {
        metric,
        comparison,
        target,
    })
}

/// Reads the right-hand side in the unit of the metric.
pub(crate) fn parse_target(text: &str, unit: Unit) -> Result<Target, String> {
    if let Some(rest) = text.strip_prefix("baseline") {
        let rest = rest.trim();
        if rest.is_empty() {
            return Ok(Target::Baseline(1.0));
        }
        let factor = rest.strip_prefix('*').map(str::trim);
        return factor
            .and_then(|factor| factor.parse().ok())
            .map(Target::Baseline)
            .ok_or_else(|| "write baseline, or baseline * 1.15".to_owned());
    }
    let plain = || text.replace('_', "").parse::<f64>().ok();
    // Shifting the point in the text keeps 99.9 % the same number as 0.999.
    let percent = |shift: &str| {
        let number = text.strip_suffix('%')?.trim_end();
        format!("{number}{shift}").parse::<f64>().ok()
    };
    let value = match unit {
        Unit::Duration => parse_duration(text)
            .ok()
            .map(|duration| duration.as_nanos() as f64 / 1e3)
            .or_else(|| plain().filter(|n| *n == 0.0)),
        Unit::Rate => Rate::parse(text)
            .ok()
            .filter(|rate| !rate.per_node)
            .map(|rate| rate.events_per_second(1))
            .or_else(|| plain().filter(|n| *n == 0.0)),
        Unit::Size => Size::parse(text)
            .ok()
            .map(|size| size.0 as f64)
            .or_else(|| plain().filter(|n| *n == 0.0)),
        Unit::Percent => percent("").or_else(plain),
        Unit::Ratio => percent("e-2").or_else(plain),
        Unit::Count => plain(),
    };
    value
        .filter(|n| n.is_finite())
        .map(Target::Value)
        .ok_or_else(|| {
            let what = match unit {
                Unit::Duration => "a duration",
                Unit::Rate => "a rate",
                Unit::Size => "a size",
                Unit::Percent => "a percentage",
                Unit::Ratio => "a share of one",
                Unit::Count => "a number",
            };
            format!("`{text}` is not {what}; write one, as {}", unit.example())
        })
}
