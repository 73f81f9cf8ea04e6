//! Pane 1: where are we? Every phase with its bar, and the figures of the one that runs.

use ratatui::Frame;
use ratatui::layout::Rect;
use ratatui::text::{Line, Span};
use ratatui::widgets::Paragraph;

use super::Pane;
use crate::measure::{PhaseProgress, PhaseView, RunState};
use crate::view::format::{clock, count, span};
use crate::view::look::Look;

/// Draws the pane.
pub(super) fn draw(frame: &mut Frame<'_>, area: Rect, state: &RunState, look: Look) {
    let block = look.pane(Pane::Phases, "Phases");
    let inner = block.inner(area);
    let mut lines = vec![now(state, look)];
    let rows = usize::from(inner.height).saturating_sub(lines.len());
    let mut bars = rows_of(
        state.phases.iter().map(|phase| cell(phase, look)),
        inner.width,
    );
    // More phases than fit: the last rows are the ones still to come.
    let hidden = bars.len().saturating_sub(rows);
    let current = bars.iter().position(|row| row.running).unwrap_or(0);
    bars.drain(..hidden.min(current));
    bars.truncate(rows);
    lines.splice(0..0, bars.into_iter().map(|row| Line::from(row.spans)));
    frame.render_widget(Paragraph::new(lines).block(block), area);
}

/// Draws all phases on one line, for a small screen.
pub(in crate::view) fn strip(frame: &mut Frame<'_>, area: Rect, state: &RunState, look: Look) {
    let mut spans = vec![Span::raw(" ")];
    for phase in &state.phases {
        let (word, style) = look.phase(phase.state);
        let text = match phase.state {
            PhaseProgress::Queued => format!("[{}]", phase.name),
            PhaseProgress::Running => {
                let bar = look.bar(phase.ratio().unwrap_or(0.0), 7);
                format!("[{} {}]", phase.name, bar.trim_matches(['[', ']']))
            }
            _ => format!("[{} {word}]", phase.name),
        };
        spans.push(Span::styled(text, style));
    }
    frame.render_widget(Paragraph::new(Line::from(spans)), area);
}

/// What the running phase has to tell.
fn now(state: &RunState, look: Look) -> Line<'static> {
    let Some((_, phase)) = state.current_phase() else {
        return Line::from(state.doing.clone());
    };
    let mut spans = vec![
        Span::raw("now: "),
        Span::styled(phase.name.clone(), look.strong()),
    ];
    match (phase.of, phase.unit.as_str()) {
        // A note tells how much is done, and more.
        (0, _) => {}
        _ if !phase.note.is_empty() => {}
        (of, "µs") => spans.push(Span::raw(format!(
            "  {} of {}",
            clock(phase.done),
            clock(of)
        ))),
        (of, unit) => spans.push(Span::raw(format!(
            "  {} of {} {unit}",
            count(phase.done),
            count(of)
        ))),
    }
    if !phase.note.is_empty() {
        spans.push(Span::raw(format!("  {}", phase.note)));
    }
    Line::from(spans)
}

/// One phase: name, bar, time, state.
fn cell(phase: &PhaseView, look: Look) -> Cell {
    let (word, style) = look.phase(phase.state);
    let bar = look.bar(phase.ratio().unwrap_or(0.0), 10);
    let text = match phase.state {
        PhaseProgress::Queued | PhaseProgress::Skipped => format!("{} {bar} {word}   ", phase.name),
        PhaseProgress::Running => {
            let left = phase
                .expected_us
                .map_or_else(String::new, |us| format!(" of ~{}", span(us)));
            format!("{} {bar} {}{left}   ", phase.name, span(phase.elapsed_us))
        }
        _ => format!("{} {bar} {} {word}   ", phase.name, span(phase.elapsed_us)),
    };
    Cell {
        width: text.chars().count(),
        span: Span::styled(text, style),
        running: phase.state == PhaseProgress::Running,
    }
}

struct Cell {
    width: usize,
    span: Span<'static>,
    running: bool,
}

#[derive(Default)]
struct Row {
    width: usize,
    spans: Vec<Span<'static>>,
    running: bool,
}

/// Cells set in rows no wider than the pane.
fn rows_of(cells: impl Iterator<Item = Cell>, width: u16) -> Vec<Row> {
    let mut rows: Vec<Row> = Vec::new();
    for cell in cells {
        match rows.last_mut() {
            Some(row) if row.width + cell.width <= usize::from(width) => {
                row.width += cell.width;
                row.running |= cell.running;
                row.spans.push(cell.span);
            }
            _ => rows.push(Row {
                width: cell.width,
                running: cell.running,
                spans: vec![cell.span],
            }),
        }
    }
    rows
}
