//! The plan as a page for people.

use std::fmt::Write as _;
use std::time::Duration;

use comfy_table::{ContentArrangement, Table, presets};

use super::{Plan, PlannedBroker, Survivors};
use crate::preflight::DESCRIPTORS_BESIDES;
use crate::scenario::{Issues, Manage, Role, Tls};
use crate::units::{Size, brief_duration, grouped};

/// The plan as text, for so many workers; `descriptors` is what a process may have.
pub fn show(plan: &Plan, workers: u32, descriptors: Option<u64>) -> String {
    let mut page = String::new();
    // Writing into a string cannot fail.
    let _ = write_page(&mut page, plan, workers, descriptors);
    page
}

fn write_page(
    page: &mut String,
    plan: &Plan,
    workers: u32,
    descriptors: Option<u64>,
) -> std::fmt::Result {
    let scenario = &plan.scenario;
    if !scenario.about.is_empty() {
        writeln!(page, "{}: {}", scenario.name, scenario.about)?;
    }
    writeln!(
        page,
        "{} nodes on {} (formation {}), seed {}",
        grouped(plan.nodes),
        networks(plan),
        plan.formation,
        scenario.seed
    )?;
    if !plan.provisioners.is_empty() {
        let whose = match scenario.provisioner.manage {
            Manage::External => ", somebody else's",
            _ => "",
        };
        let what = match scenario.provisioner.issues {
            Issues::Tokens => ", with server tokens",
            Issues::Certificates => "",
        };
        let who = plan.provisioners.join(", ");
        writeln!(page, "enrolled by {who}{whose}{what}")?;
    }
    writeln!(page)?;
    let mut fleets = table([
        "fleet",
        "nodes",
        "begins",
        "attach",
        "subscriptions",
        "behaviour",
    ]);
    for fleet in &scenario.fleets {
        fleets.add_row([
            fleet.name.clone(),
            grouped(fleet.nodes),
            fleet.start.to_string(),
            fleet.attach.clone(),
            format!("{} each", fleet.subscriptions()),
            fleet.behaviour.to_string(),
        ]);
    }
    writeln!(page, "{}\n", trimmed(&fleets))?;
    let mut phases = table(["phase", "what", "until", "about"]);
    for phase in &plan.phases {
        phases.add_row([
            phase.name.clone(),
            phase.what.clone(),
            phase.until.clone(),
            phase.expected_us.map_or("?".to_owned(), about),
        ]);
    }
    writeln!(page, "{}", trimmed(&phases))?;
    if let Some(us) = plan.expected_us {
        writeln!(page, "  in all about {}", about(us))?;
    }
    writeln!(page)?;
    let mut brokers = table([
        "broker",
        "nodes",
        "connections",
        "subscriptions",
        "descriptors",
        "links",
    ]);
    for broker in &plan.brokers {
        brokers.add_row([
            broker.name.clone(),
            grouped(broker.nodes),
            grouped(broker.connections),
            grouped(broker.subscriptions),
            grouped(broker.descriptors),
            grouped(broker.links),
        ]);
    }
    writeln!(page, "{}\n", trimmed(&brokers))?;
    write_needs(page, plan, workers, descriptors)?;
    for survivors in &plan.survivors {
        write_survivors(page, survivors)?;
    }
    let relayed = scenario.relayed_links();
    if !relayed.is_empty() {
        let links: Vec<String> = relayed.iter().map(ToString::to_string).collect();
        writeln!(page, "relayed, for their faults: {}", links.join(", "))?;
    }
    Ok(())
}

fn write_needs(
    page: &mut String,
    plan: &Plan,
    workers: u32,
    descriptors: Option<u64>,
) -> std::fmt::Result {
    let needs = plan.needs(workers);
    let each = needs.connections_per_worker + DESCRIPTORS_BESIDES;
    let limit = match descriptors {
        Some(limit) if each > limit => format!(" (limit {} each: too many)", grouped(limit)),
        Some(limit) => format!(" (limit {} each)", grouped(limit)),
        None => String::new(),
    };
    let workers = match workers {
        1 => "1 worker".to_owned(),
        n => format!("{n} workers"),
    };
    let memory = plan.memory;
    writeln!(
        page,
        "needs: {workers} × {} descriptors{limit}  memory ≈ {} nodes + {} brokers + {} provisioners",
        grouped(each),
        Size(memory.nodes_bytes).brief(),
        Size(memory.brokers_bytes).brief(),
        Size(memory.provisioners_bytes).brief(),
    )?;
    let peaks: Vec<String> = plan
        .phases
        .iter()
        .flat_map(|phase| &phase.ops)
        .filter_map(|op| {
            let per_s = op.peak_per_s?;
            Some(format!("{} {}/s", op.name, (per_s * 10.0).round() / 10.0))
        })
        .collect();
    if !peaks.is_empty() {
        writeln!(page, "peaks: {}", peaks.join(", "))?;
    }
    Ok(())
}

fn write_survivors(page: &mut String, survivors: &Survivors) -> std::fmt::Result {
    let down = survivors.down.join(", ");
    let Some(each) = survivors.each else {
        return writeln!(
            page,
            "survivors: with {down} down no broker of {} stays; only the return is judged ({})",
            survivors.tier, survivors.phase
        );
    };
    let limit = match (survivors.limit, survivors.fits) {
        (Some(limit), Some(true)) => format!("their limit is {}  ok", grouped(limit)),
        (Some(limit), _) => format!("their limit is {}: TOO MANY", grouped(limit)),
        (None, _) => "no limit is set".to_owned(),
    };
    writeln!(
        page,
        "survivors: with {down} down, {} on each of {}; {limit} ({})",
        grouped(each),
        survivors.staying,
        survivors.phase
    )
}

/// `3 brokers (hub-1..3), mutual TLS` for each network.
fn networks(plan: &Plan) -> String {
    let mut words = Vec::new();
    for tier in &plan.scenario.topology.tiers {
        let brokers: Vec<&PlannedBroker> = plan
            .brokers
            .iter()
            .filter(|broker| broker.tier == tier.name)
            .collect();
        let name = match brokers.len() {
            1 => format!("1 broker ({}-1)", tier.name),
            n => format!("{n} brokers ({}-1..{n})", tier.name),
        };
        let tls = match tier.tls {
            Tls::Mutual => "mutual TLS",
            Tls::Server => "TLS",
            Tls::None => "plain TCP",
        };
        let role = match tier.role {
            Role::Production => "",
            Role::Provisioning => " for enrolment",
        };
        words.push(format!("{name}{role}, {tls}"));
    }
    words.join("; ")
}

fn about(us: u64) -> String {
    let duration = Duration::from_micros(us);
    let rounded = match duration.as_secs() {
        0..10 => Duration::from_millis((us / 1_000 + 50) / 100 * 100),
        _ => Duration::from_secs((us + 500_000) / 1_000_000),
    };
    brief_duration(rounded)
}

fn table<const N: usize>(header: [&str; N]) -> Table {
    let mut table = Table::new();
    table
        .load_style(presets::NOTHING)
        .set_content_arrangement(ContentArrangement::Disabled)
        .set_header(header);
    table
}

fn trimmed(table: &Table) -> String {
    let lines: Vec<String> = table
        .lines()
        .map(|line| format!(" {}", line.trim_end()))
        .collect();
    lines.join("\n")
}
