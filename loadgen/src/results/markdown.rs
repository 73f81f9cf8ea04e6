//! `summary.md`: what happened, in a page.

mod enrolment;

use std::fmt::Write as _;
use std::time::Duration;

use enrolment::{write_enrolment, write_renewal};

use super::{Latency, Manifest, Outcome, RoundsSummary, Summary, Verdict};
use crate::assert::AssertState;
use crate::plan::Plan;
use crate::units::{Size, brief_duration, grouped};

/// The summary as a page for people.
pub fn summary_page(
    manifest: &Manifest,
    plan: &Plan,
    verdict: &Verdict,
    summary: &Summary,
) -> String {
    let mut page = String::new();
    // Writing into a string cannot fail.
    let _ = write_page(&mut page, manifest, plan, verdict, summary);
    page
}

fn write_page(
    page: &mut String,
    manifest: &Manifest,
    plan: &Plan,
    verdict: &Verdict,
    summary: &Summary,
) -> std::fmt::Result {
    let (held, asserts) = verdict.held();
    writeln!(
        page,
        "# {}: {}\n",
        verdict.outcome.headline(),
        summary.scenario
    )?;
    if !plan.scenario.about.is_empty() {
        writeln!(page, "{}\n", plan.scenario.about)?;
    }
    writeln!(page, "{}\n", sentence(verdict, held, asserts))?;
    for reason in &verdict.reasons {
        writeln!(page, "- {reason}")?;
    }
    if !verdict.reasons.is_empty() {
        writeln!(page)?;
    }
    writeln!(
        page,
        "Run `{}`, seed {}, {}{}; {} nodes, formation {}.\n",
        summary.run,
        manifest.scenario.seed,
        manifest.started.strftime("%Y-%m-%d %H:%M UTC"),
        manifest
            .duration_us
            .map(|us| format!(", {}", time(us)))
            .unwrap_or_default(),
        grouped(plan.nodes),
        plan.formation,
    )?;
    write_asserts(page, verdict)?;
    write_phases(page, plan, summary)?;
    if let Some(enrolment) = &summary.enrolment {
        write_enrolment(page, enrolment, &summary.nodes)?;
    }
    if let Some(renewal) = &summary.renewal {
        write_renewal(page, renewal)?;
    }
    write_rounds(page, plan, summary)?;
    super::storms::write_storms(page, summary)?;
    write_costs(page, summary)?;
    write_generator(page, manifest, verdict, summary)?;
    write_reproduce(page, manifest)
}

/// How the run came out, in a sentence.
pub(crate) fn sentence(verdict: &Verdict, held: usize, asserts: usize) -> String {
    let count = format!("{held} of {asserts} asserts held");
    match verdict.outcome {
        Outcome::Pass => format!("{count}."),
        Outcome::Fail => format!("{count}. It fails because:"),
        Outcome::Aborted => format!("It ended before its end; {count} until then."),
        Outcome::Invalid => {
            "The measurement cannot be trusted, whatever its asserts say. Why:".to_owned()
        }
        Outcome::Inconclusive => format!("{count}; of others too little was measured to judge:"),
        Outcome::Error => "It did not run to its end. Why:".to_owned(),
    }
}

fn write_asserts(page: &mut String, verdict: &Verdict) -> std::fmt::Result {
    if verdict.asserts.is_empty() {
        return Ok(());
    }
    writeln!(
        page,
        "## Asserts\n\n|  | assert | phase | value | samples |\n|---|---|---|---|---|"
    )?;
    for assert in &verdict.asserts {
        let word = match assert.state {
            AssertState::Ok => "ok",
            AssertState::Failed => "**FAILED**",
            AssertState::Warned => "warning",
            AssertState::Inconclusive => "unclear",
        };
        writeln!(
            page,
            "| {word} | `{}` | {} | {} | {} |",
            assert.that,
            assert.phase.as_deref().unwrap_or("whole run"),
            assert.shown_with_baseline(),
            grouped(assert.samples)
        )?;
    }
    writeln!(page)
}

fn write_phases(page: &mut String, plan: &Plan, summary: &Summary) -> std::fmt::Result {
    writeln!(
        page,
        "## Phases\n\n| phase | what | op | started | errors | late | p50 | p99 | max |\n\
         |---|---|---|---|---|---|---|---|---|"
    )?;
    for phase in &plan.phases {
        let prefix = format!("{}/", phase.name);
        let ops: Vec<_> = summary
            .ops
            .iter()
            .filter(|(key, _)| key.starts_with(&prefix))
            .collect();
        if ops.is_empty() {
            writeln!(page, "| {} | {} | | | | | | | |", phase.name, phase.what)?;
        }
        for (index, (key, op)) in ops.into_iter().enumerate() {
            let (name, what) = match index {
                0 => (phase.name.as_str(), phase.what.as_str()),
                _ => ("", ""),
            };
            let latency = &op.latency_us.intended;
            writeln!(
                page,
                "| {name} | {what} | {} | {} | {} | {} | {} | {} | {} |",
                &key[prefix.len()..],
                grouped(op.count),
                grouped(op.errors),
                grouped(op.late),
                optional(latency.p50),
                optional(latency.p99),
                optional(latency.max),
            )?;
        }
    }
    writeln!(
        page,
        "\nLatencies are told from the *intended* start of each operation; `-` is a percentile the \
         sample is too small for.\n"
    )
}

fn write_latency(page: &mut String, name: &str, count: &str, of: &Latency) -> std::fmt::Result {
    writeln!(
        page,
        "| {name} | {count} | {} | {} | {} | {} |",
        optional(of.p50),
        optional(of.p90),
        optional(of.p99),
        optional(of.max)
    )
}

fn write_rounds(page: &mut String, plan: &Plan, summary: &Summary) -> std::fmt::Result {
    if summary.rounds.is_empty() {
        return Ok(());
    }
    writeln!(
        page,
        "## Rounds\n\n| op | rounds | replies | missing | duplicate | late | failed | first reply p50 | \
         last reply p50 | last reply max |\n|---|---|---|---|---|---|---|---|---|---|"
    )?;
    let in_order = plan.phases.iter().flat_map(|phase| {
        let prefix = format!("{}/", phase.name);
        let rounds = summary.rounds.iter();
        rounds.filter(move |(key, _)| key.starts_with(&prefix))
    });
    for (key, round) in in_order {
        let RoundsSummary {
            rounds,
            expected,
            replies,
            missing,
            duplicate,
            late,
            failed,
            first_us,
            last_us,
            ..
        } = round;
        writeln!(
            page,
            "| {key} | {rounds} | {} of {} | {missing} | {duplicate} | {late} | {failed} | {} | {} | {} |",
            grouped(*replies),
            grouped(*expected),
            optional(first_us.p50),
            optional(last_us.p50),
            optional(last_us.max),
        )?;
    }
    writeln!(page)?;
    let interrupted: u64 = summary.rounds.values().map(|round| round.interrupted).sum();
    if interrupted > 0 {
        writeln!(
            page,
            "{interrupted} more rounds are left out: loadgen's own connection was lost during them.\n"
        )?;
    }
    Ok(())
}

fn write_costs(page: &mut String, summary: &Summary) -> std::fmt::Result {
    let size = |bytes: Option<u64>| bytes.map_or("-".to_owned(), |bytes| Size(bytes).brief());
    let seconds = |s: Option<f64>| s.map_or("-".to_owned(), |s| format!("{s:.1} s"));
    let (memory, cpu) = (&summary.memory, &summary.cpu_s);
    writeln!(
        page,
        "## Memory and CPU\n\n|  | memory | each | CPU |\n|---|---|---|---|\n\
         | nodes | {} | {} a node | {} |\n\
         | brokers | {} | {} a connection | {} |\n\
         | provisioners | {} | | {} |\n",
        size(memory.nodes_rss_bytes),
        size(memory.rss_bytes_per_node),
        seconds(cpu.nodes),
        size(memory.brokers_rss_bytes),
        size(memory.broker_rss_bytes_per_connection),
        seconds(cpu.brokers),
        size(memory.provisioners_rss_bytes),
        seconds(cpu.provisioners),
    )
}

fn write_generator(
    page: &mut String,
    manifest: &Manifest,
    verdict: &Verdict,
    summary: &Summary,
) -> std::fmt::Result {
    let generator = &summary.generator;
    let percent = |n: Option<f64>| n.map_or("-".to_owned(), |n| format!("{n:.1} %"));
    writeln!(
        page,
        "## Was the generator the limit?\n\n{}: CPU at most {} of a core, timers late p99 {}, {} of sends late, \
         at most {}{} descriptors open.\n",
        generator.health.as_deref().unwrap_or("not measured"),
        percent(generator.cpu_pct_max),
        optional(generator.sched_lag_p99_us),
        percent(generator.late_sends_pct),
        generator.descriptors_max.map_or("-".to_owned(), grouped),
        manifest
            .host
            .descriptors
            .map(|n| format!(" of {}", grouped(n)))
            .unwrap_or_default(),
    )?;
    let broken: Vec<&str> = verdict
        .limits
        .iter()
        .filter(|limit| limit.broken)
        .map(|limit| limit.name.as_str())
        .collect();
    if !broken.is_empty() {
        writeln!(page, "Limits breached: {}.\n", broken.join(", "))?;
    }
    if manifest.colocated {
        writeln!(
            page,
            "Nodes, brokers and generator shared this machine; compare such figures with each other, \
             not with a network's.\n"
        )?;
    }
    Ok(())
}

fn write_reproduce(page: &mut String, manifest: &Manifest) -> std::fmt::Result {
    let host = &manifest.host;
    writeln!(
        page,
        "## Run it again\n\n```\n{}\n```\n\n{} {} ({}), plan `{}`, {}, {} cores, {}, {}.",
        manifest.command.join(" "),
        manifest.tool.name,
        manifest.tool.version,
        manifest.tool.profile,
        &manifest.scenario.plan_sha256[..12.min(manifest.scenario.plan_sha256.len())],
        host.cpu_model.as_deref().unwrap_or("unknown processor"),
        host.cores.map_or("?".to_owned(), grouped),
        host.memory_bytes
            .map_or("?".to_owned(), |bytes| Size(bytes).brief()),
        host.kernel.as_deref().unwrap_or("unknown system"),
    )
}

pub(super) fn time(us: u64) -> String {
    brief_duration(Duration::from_micros(us))
}

pub(super) fn optional(us: Option<u64>) -> String {
    us.map_or("-".to_owned(), time)
}
