//! Looks an expression's metric up among the phases, operations and metrics that exist.

use super::expression::{Expression, Parsed, Target, parse, parse_target};
use super::metrics::{Domain, METRICS, Metric, MetricId, Shape, Stat};
use crate::measure::OpKey;
use crate::scenario::suggestion;

/// What an assert can name: the operations of every phase, those kept from earlier ones included.
#[derive(Debug)]
pub(crate) struct Scope {
    /// Phase, operation, the word of its `do`.
    pub(crate) ops: Vec<(String, String, &'static str)>,
    /// The phase the assert is about.
    pub(crate) phase: Option<String>,
    /// Whether the assert names a baseline.
    pub(crate) has_baseline: bool,
}

/// Reads an expression and looks up what it names.
///
/// # Errors
/// What is wrong and what to write, to follow the expression.
pub(crate) fn resolve(text: &str, scope: &Scope) -> Result<Expression, String> {
    let parsed = parse(text)?;
    let (metric, target) = find(&parsed, scope)?;
    if matches!(target, Target::Baseline(_)) && !scope.has_baseline {
        return Err("compares with `baseline`, and this assert names none; \
             write baseline = \"results/…\" in it"
            .to_owned());
    }
    Ok(Expression {
        text: text.trim().to_owned(),
        metric,
        comparison: parsed.comparison,
        target,
    })
}

fn find(parsed: &Parsed<'_>, scope: &Scope) -> Result<(MetricId, Target), String> {
    let Some((prefix, rest)) = parsed.metric.split_once('.') else {
        return Err(format!(
            "`{}` is no metric; write what it is of, a dot and its name, as ping.missing",
            parsed.metric
        ));
    };
    let subjects = subjects(prefix, scope)?;
    let (name, stat) = split_stat(rest);
    let matching: Vec<(&Subject, &'static Metric)> = subjects
        .iter()
        .filter_map(|subject| Some((subject, lookup(subject.domain, name)?)))
        .collect();
    let (subject, metric) = match matching.as_slice() {
        [] => return Err(unknown_metric(prefix, name, &subjects)),
        [only] => *only,
        [first, ..] => {
            let all: Vec<String> = matching.iter().map(|(subject, _)| subject.name()).collect();
            let remedy = if scope.phase.is_none() {
                let phase = first.0.key.as_ref().map_or("", |key| &key.phase);
                format!("say which phase, as phase = \"{phase}\"")
            } else {
                format!(
                    "write the operation's name, as {}.{name}",
                    first.0.op_name()
                )
            };
            return Err(format!(
                "`{prefix}.{name}` could be that of {}; {remedy}",
                all.join(" or ")
            ));
        }
    };
    check_stat(parsed.metric, metric, stat)?;
    let target = parse_target(parsed.target, metric.unit)?;
    let id = MetricId {
        metric,
        op: subject.key.clone(),
        phase: scope.phase.clone(),
        stat,
    };
    Ok((id, target))
}

/// Something that has metrics.
#[derive(Debug)]
struct Subject {
    domain: Domain,
    key: Option<OpKey>,
}

impl Subject {
    fn name(&self) -> String {
        match &self.key {
            Some(key) => key.to_string(),
            None => self.op_name().to_owned(),
        }
    }

    fn op_name(&self) -> &str {
        match &self.key {
            Some(key) => &key.op,
            None => self.domain.prefix().unwrap_or_default(),
        }
    }
}

/// What a prefix may stand for: a domain, an operation, or all operations of a phase.
fn subjects(prefix: &str, scope: &Scope) -> Result<Vec<Subject>, String> {
    let domain = Domain::PREFIXED
        .into_iter()
        .find(|domain| domain.prefix() == Some(prefix));
    if let Some(domain) = domain {
        return Ok(vec![Subject { domain, key: None }]);
    }
    let in_scope = |phase: &String| scope.phase.as_ref().is_none_or(|wanted| wanted == phase);
    let pick = |wanted: &dyn Fn(&String, &String) -> bool| -> Vec<Subject> {
        let chosen = scope.ops.iter().filter(|(phase, op, _)| wanted(phase, op));
        chosen
            .filter_map(|(phase, op, word)| {
                Some(Subject {
                    domain: Domain::of_op(word)?,
                    key: Some(OpKey::new(phase.clone(), op.clone())),
                })
            })
            .collect()
    };
    let by_op = pick(&|phase, op| in_scope(phase) && op == prefix);
    if !by_op.is_empty() {
        return Ok(by_op);
    }
    let by_phase = pick(&|phase, _| in_scope(phase) && phase == prefix);
    if !by_phase.is_empty() {
        return Ok(by_phase);
    }
    Err(unknown_prefix(prefix, scope))
}

fn unknown_prefix(prefix: &str, scope: &Scope) -> String {
    let elsewhere = scope
        .ops
        .iter()
        .find(|(phase, op, _)| op == prefix || phase == prefix);
    if let (Some((phase, _, _)), Some(wanted)) = (elsewhere, &scope.phase) {
        return format!(
            "`{prefix}` does not run in phase {wanted}; write phase = \"{phase}\" for it"
        );
    }
    let mut names: Vec<&str> = Vec::new();
    for (phase, op, _) in &scope.ops {
        if scope.phase.as_ref().is_none_or(|wanted| wanted == phase) {
            names.extend([op.as_str(), phase.as_str()]);
        }
    }
    names.extend(Domain::PREFIXED.iter().filter_map(|domain| domain.prefix()));
    names.sort_unstable();
    names.dedup();
    let near = suggestion(prefix, "names", names);
    format!("`{prefix}` is no operation or phase here{near}")
}

fn unknown_metric(prefix: &str, name: &str, subjects: &[Subject]) -> String {
    let names: Vec<&str> = METRICS
        .iter()
        .filter(|metric| subjects.iter().any(|s| s.domain == metric.domain))
        .map(|metric| metric.name)
        .collect();
    let near = suggestion(name, &format!("metrics of {prefix}"), names);
    format!("`{prefix}` has no metric `{name}`{near}")
}

fn lookup(domain: Domain, name: &str) -> Option<&'static Metric> {
    METRICS
        .iter()
        .find(|metric| metric.domain == domain && (metric.name == name || metric.alias == name))
}

/// Tells `latency.p99.9` into the metric and its statistic. A name that is no statistic is left
/// with the metric, where the message about it names the nearest.
fn split_stat(rest: &str) -> (&str, Option<Stat>) {
    for (at, _) in rest.match_indices('.') {
        if let Some(stat) = Stat::parse(&rest[at + 1..]) {
            return (&rest[..at], Some(stat));
        }
    }
    (rest, None)
}

fn check_stat(written: &str, metric: &Metric, stat: Option<Stat>) -> Result<(), String> {
    match (metric.shape, stat) {
        (Shape::Distribution, None) => Err(format!(
            "`{written}` is a distribution; say which value of it: {written}.p99, .p50, .max, .mean"
        )),
        (Shape::Scalar, Some(stat)) => Err(format!(
            "`{}` is a single value and has no `{stat}`; leave it out",
            metric.name
        )),
        (shape, Some(stat)) if !stat.fits(shape) => Err(format!(
            "`{}` has no `{stat}`; write {}",
            metric.name,
            match shape {
                Shape::Gauge => "max, min, mean, first, last or delta",
                _ => "p50, p90, p99, p99.9, max, min, mean or count",
            }
        )),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::assert::Comparison;

    fn scope(phase: Option<&str>) -> Scope {
        let op = |phase: &str, op: &str, word| (phase.to_owned(), op.to_owned(), word);
        Scope {
            ops: vec![
                op("enrol", "provision", "provision"),
                op("enrol", "fault", "fault"),
                op("ping-all", "ping", "request"),
                op("steady", "canary", "request"),
                op("storm", "canary", "request"),
                op("storm", "event", "publish"),
            ],
            phase: phase.map(str::to_owned),
            has_baseline: false,
        }
    }

    fn error(text: &str, phase: Option<&str>) -> String {
        resolve(text, &scope(phase)).unwrap_err()
    }

    #[test]
    fn a_prefix_is_an_operation_a_phase_or_a_domain() {
        let by_phase = resolve("enrol.stuck == 0", &scope(Some("enrol"))).unwrap();
        assert_eq!(by_phase.metric.op, Some(OpKey::new("enrol", "provision")));
        let by_op = resolve("ping.duplicates == 0", &scope(None)).unwrap();
        assert_eq!(by_op.metric.op, Some(OpKey::new("ping-all", "ping")));
        assert_eq!(by_op.metric.metric.name, "duplicate");
        let kept = resolve("canary.missing == 0", &scope(Some("storm"))).unwrap();
        assert_eq!(kept.metric.op, Some(OpKey::new("storm", "canary")));
        let domain = resolve("gen.sched_lag.p99.9 <= 5ms", &scope(None)).unwrap();
        assert_eq!(domain.metric.op, None);
        assert_eq!(domain.comparison, Comparison::AtMost);
        assert_eq!(domain.target, Target::Value(5_000.0));
        assert_eq!(domain.metric.stat.unwrap().to_string(), "p99.9");
    }

    #[test]
    fn targets_are_read_in_the_unit_of_the_metric() {
        let target = |text| resolve(text, &scope(None)).unwrap().target;
        assert_eq!(target("provision.rate >= 6000/min"), Target::Value(100.0));
        assert_eq!(
            target("broker.mem_per_conn.max <= 40KiB"),
            Target::Value(40_960.0)
        );
        assert_eq!(
            target("enrol.confirmed_ratio >= 99.9 %"),
            Target::Value(0.999)
        );
        assert_eq!(
            target("ping.last_reply.max < 3.5s"),
            Target::Value(3_500_000.0)
        );
    }

    #[test]
    fn says_what_is_wrong_and_what_to_write() {
        let all = [
            error("ping.misssing == 0", None),
            error("pong.missing == 0", None),
            error("ping.missing == 0", Some("enrol")),
            error("canary.missing == 0", None),
            error("ping.last_reply <= 3s", None),
            error("ping.missing.max == 0", None),
            error("ping.last_reply.delta <= 3s", None),
            error("ping.last_reply.max <= 3", None),
            error("ping.missing", None),
            error("ping.missing =< 0", None),
            error("ping.missing == ", None),
            error("missing == 0", None),
            error("ping.last_reply.max <= baseline * 1.1", None),
        ];
        insta::assert_snapshot!(all.join("\n"));
    }
}
