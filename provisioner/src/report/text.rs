//! Reports for people. Plain text: no colour, no assumption about a terminal.

mod show;
mod status;

use std::io::{self, Write};
use std::time::Duration;

use comfy_table::{ContentArrangement, Table, presets};
use jiff::Timestamp;

use super::Node;
pub use show::print_show;
pub use status::print_status;

/// Prints a list of nodes.
///
/// # Errors
/// The output is gone.
pub fn print_nodes(out: &mut dyn Write, nodes: &[Node], now: Timestamp) -> io::Result<()> {
    if nodes.is_empty() {
        return writeln!(out, "no nodes");
    }
    let mut table = plain_table([
        "IDENTITY", "STATE", "STEP", "SINCE", "TRIES", "CODE", "SAYS",
    ]);
    for node in nodes {
        table.add_row([
            node.identity.clone(),
            node.state.to_string(),
            node.step.to_string(),
            between(node.since, now),
            node.tries.to_string(),
            node.code.map(|c| c.to_string()).unwrap_or_default(),
            node.says.chars().take(100).collect(),
        ]);
    }
    writeln!(out, "{}", trimmed(&table))
}

fn plain_table<const N: usize>(header: [&str; N]) -> Table {
    let mut table = Table::new();
    table
        .load_style(presets::NOTHING)
        .set_content_arrangement(ContentArrangement::Disabled)
        .set_header(header);
    table
}

/// Lines without the blanks a table ends them with.
fn trimmed(table: &Table) -> String {
    let lines: Vec<_> = table.lines().map(|line| line.trim().to_owned()).collect();
    lines.join("\n")
}

fn micros(us: u64) -> String {
    match us {
        0..1_000 => format!("{us} us"),
        1_000..10_000_000 => format!("{}.{} ms", us / 1_000, us % 1_000 / 100),
        _ => format!("{} s", us / 1_000_000),
    }
}

fn between(from: Timestamp, to: Timestamp) -> String {
    let span = Duration::try_from(to.duration_since(from)).unwrap_or_default();
    let whole = Duration::from_secs(span.as_secs());
    humantime::format_duration(whole)
        .to_string()
        .replace(' ', "")
}
