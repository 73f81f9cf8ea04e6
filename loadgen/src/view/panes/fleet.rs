//! Pane 2: is the fleet up? Every fleet by how far its nodes are, and the enrolments by step.

use ratatui::Frame;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::text::{Line, Span};
use ratatui::widgets::{Cell, Paragraph, Row, Table, Wrap};

use super::Pane;
use crate::measure::{FleetView, NodeState, RunState};
use crate::view::format::{count, percent};
use crate::view::look::Look;

/// A column: its heading and the states it adds up.
const COLUMNS: [(&str, &[NodeState]); 7] = [
    ("wait", &[NodeState::Waiting]),
    ("join", &[NodeState::Joining, NodeState::Joined]),
    (
        "enrol",
        &[NodeState::Arrived, NodeState::Csr, NodeState::Configured],
    ),
    ("restart", &[NodeState::Restarting, NodeState::Connecting]),
    ("up", &[NodeState::Connected, NodeState::Confirmed]),
    ("conf", &[NodeState::Confirmed]),
    ("down", &[NodeState::Down, NodeState::Stopped]),
];

/// Draws the pane.
pub(super) fn draw(frame: &mut Frame<'_>, area: Rect, state: &RunState, look: Look) {
    let block = look.pane(Pane::Fleet, "Fleet (nodes by state)");
    let inner = block.inner(area);
    frame.render_widget(block, area);
    let steps = steps(state);
    let rows = steps
        .chars()
        .count()
        .div_ceil(usize::from(inner.width.max(1)));
    let rows = u16::try_from(rows).unwrap_or(1);
    let [table_area, steps_area, bar_area] = Layout::vertical([
        Constraint::Min(1),
        Constraint::Length(rows),
        Constraint::Length(1),
    ])
    .areas(inner);
    frame.render_widget(table(state, look), table_area);
    frame.render_widget(Paragraph::new(steps).wrap(Wrap { trim: true }), steps_area);
    frame.render_widget(Paragraph::new(up_bar(state, look, inner.width)), bar_area);
}

/// Draws the two lines of a small screen.
pub(in crate::view) fn draw_small(frame: &mut Frame<'_>, area: Rect, state: &RunState, look: Look) {
    let block = look.pane(Pane::Fleet, "Fleet");
    let inner = block.inner(area);
    let mut figures = String::new();
    for (heading, states) in COLUMNS {
        let n = sum(state, states);
        if n > 0 {
            figures.push_str(&format!(" {heading} {}  ", count(n)));
        }
    }
    let lines = vec![
        up_bar(state, look, inner.width),
        if state.steps.is_empty() || inner.height > 2 {
            Line::from(figures)
        } else {
            Line::from(steps(state))
        },
    ];
    frame.render_widget(Paragraph::new(lines).block(block), area);
}

fn sum(state: &RunState, states: &[NodeState]) -> u64 {
    state.fleets.iter().map(|fleet| of(fleet, states)).sum()
}

fn of(fleet: &FleetView, states: &[NodeState]) -> u64 {
    states.iter().map(|state| fleet.of(*state)).sum()
}

fn table(state: &RunState, look: Look) -> Table<'static> {
    let right = |text: String| Cell::from(Line::from(text).right_aligned());
    let heading = ["fleet".to_owned(), "total".to_owned()]
        .into_iter()
        .chain(COLUMNS.iter().map(|(heading, _)| (*heading).to_owned()))
        .enumerate()
        .map(|(at, text)| {
            if at == 0 {
                Cell::from(text)
            } else {
                right(text)
            }
        });
    let row = |name: String, total: u64, cells: Vec<u64>| {
        // Without separators: seven columns of 50000 fit side by side.
        let figures = std::iter::once(total)
            .chain(cells)
            .map(|n| right(n.to_string()));
        Row::new(std::iter::once(Cell::from(name)).chain(figures))
    };
    let mut rows: Vec<Row<'static>> = state
        .fleets
        .iter()
        .map(|fleet| {
            let cells = COLUMNS
                .iter()
                .map(|(_, states)| of(fleet, states))
                .collect();
            row(fleet.name.clone(), fleet.total, cells)
        })
        .collect();
    if state.fleets.len() > 1 {
        let cells = COLUMNS
            .iter()
            .map(|(_, states)| sum(state, states))
            .collect();
        rows.push(row("all".to_owned(), state.nodes_up().1, cells));
    }
    let mut widths = vec![Constraint::Min(8), Constraint::Length(6)];
    widths.extend(COLUMNS.map(|(heading, _)| match heading.len() {
        7.. => Constraint::Length(8),
        _ => Constraint::Length(6),
    }));
    Table::new(rows, widths)
        .header(Row::new(heading).style(look.faint()))
        .column_spacing(0)
}

/// Enrolments by step, from the ledger; empty without a provisioner.
fn steps(state: &RunState) -> String {
    let moving = state.steps.iter().filter(|(_, n)| *n > 0);
    let words: Vec<String> = moving.map(|(step, n)| format!("{step} {n}")).collect();
    match (state.steps.is_empty(), words.is_empty()) {
        (true, _) => String::new(),
        (false, true) => "steps: nobody on the way".to_owned(),
        (false, false) => format!("steps: {}", words.join("  ")),
    }
}

fn up_bar(state: &RunState, look: Look, width: u16) -> Line<'static> {
    let (up, total) = state.nodes_up();
    if total == 0 {
        return Line::from(Span::styled("no nodes yet", look.faint()));
    }
    let ratio = up as f64 / total as f64;
    let text = format!("up {}/{} {} ", count(up), count(total), percent(ratio));
    let rest = usize::from(width).saturating_sub(text.chars().count());
    let style = if up == total {
        look.good()
    } else {
        ratatui::style::Style::new()
    };
    Line::from(vec![
        Span::raw(text),
        Span::styled(look.bar(ratio, rest), style),
    ])
}
