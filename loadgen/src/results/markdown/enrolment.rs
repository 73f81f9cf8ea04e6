//! What the page for people says of enrolment.

use std::fmt::Write as _;

use super::{grouped, time, write_latency};
use crate::measure::FleetOutcome;
use crate::results::{EnrolmentSummary, NodesSummary, RenewalSummary};

pub(super) fn write_enrolment(
    page: &mut String,
    enrolment: &EnrolmentSummary,
    nodes: &NodesSummary,
) -> std::fmt::Result {
    writeln!(page, "## Enrolment\n")?;
    let rate = enrolment
        .per_min
        .map(|n| format!(", {} a minute", grouped(n.round() as u64)));
    let span = enrolment.first_event_to_last_confirm_us.map(|us| {
        format!(
            " in {} from the first event to the last confirmation",
            time(us)
        )
    });
    writeln!(
        page,
        "{} nodes confirmed{}{}; {} stuck. {} certificates issued, {} keys signed twice.\n",
        grouped(enrolment.confirmed),
        span.unwrap_or_default(),
        rate.unwrap_or_default(),
        nodes.stuck.map_or("-".to_owned(), grouped),
        enrolment
            .certificates_issued
            .map_or("-".to_owned(), grouped),
        enrolment.keys_signed_twice.map_or("-".to_owned(), grouped),
    )?;
    writeln!(
        page,
        "| step | count | p50 | p90 | p99 | max |\n|---|---|---|---|---|---|"
    )?;
    for (name, step) in &enrolment.steps.0 {
        write_latency(page, name, &grouped(step.count), &step.latency_us)?;
    }
    let whole = [
        ("event → restart request", &enrolment.to_restart_us),
        ("event → confirmed", &enrolment.to_confirmed_us),
    ];
    for (name, latency) in whole {
        if let Some(latency) = latency {
            write_latency(page, name, "", latency)?;
        }
    }
    writeln!(
        page,
        "\nA node waits at least 2 s between the restart request and its restart: the protocol's \
         own delay, part of `confirm`.\n"
    )?;
    if !enrolment.errors.is_empty() {
        let errors: Vec<String> = enrolment
            .errors
            .iter()
            .map(|(code, n)| format!("`{code}` {n}"))
            .collect();
        writeln!(page, "Setbacks: {}.\n", errors.join(", "))?;
    }
    write_outcomes(page, &enrolment.outcomes)
}

pub(super) fn write_renewal(page: &mut String, renewal: &RenewalSummary) -> std::fmt::Result {
    let told = |n: Option<u64>| n.map_or("-".to_owned(), grouped);
    writeln!(
        page,
        "## Renewal\n\n{} nodes back with a new certificate, asked back {} times; {} renewed more \
         than once, {} before their time, {} after the end of the certificate before; {} not \
         confirmed at the end.\n",
        grouped(renewal.renewed),
        told(renewal.asked),
        grouped(renewal.repeated),
        told(renewal.early),
        told(renewal.late),
        told(renewal.unsettled),
    )?;
    writeln!(
        page,
        "| | count | p50 | p90 | p99 | max |\n|---|---|---|---|---|---|"
    )?;
    let count = grouped(renewal.back);
    write_latency(page, "away from production", &count, &renewal.away_us)?;
    writeln!(page)
}

fn write_outcomes(page: &mut String, fleets: &[FleetOutcome]) -> std::fmt::Result {
    if fleets.is_empty() {
        return Ok(());
    }
    writeln!(
        page,
        "| fleet | nodes | should be | are | what came of them |\n|---|---|---|---|---|"
    )?;
    for of in fleets {
        let found = of.found.iter();
        let found: Vec<String> = found.map(|(what, n)| format!("{n} {what}")).collect();
        writeln!(
            page,
            "| {} | {} | {} | {} | {} |",
            of.fleet,
            grouped(of.nodes),
            of.expected(),
            grouped(of.as_expected),
            found.join(", ")
        )?;
    }
    writeln!(page)
}
