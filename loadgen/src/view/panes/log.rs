//! Pane 8: what was said? The latest lines; the whole log is in a file.

use ratatui::Frame;
use ratatui::layout::Rect;
use ratatui::text::{Line, Span};
use ratatui::widgets::Paragraph;

use super::{Pane, asserts};
use crate::measure::{LogLine, RunState};
use crate::view::format::clock;
use crate::view::look::Look;

/// Draws the pane.
pub(super) fn draw(frame: &mut Frame<'_>, area: Rect, state: &RunState, look: Look) {
    let block = look.pane(Pane::Log, "Log");
    let lines = latest(state, look, usize::from(block.inner(area).height));
    frame.render_widget(Paragraph::new(lines).block(block), area);
}

/// Draws the pane with the breached asserts above the log, for a small screen.
pub(in crate::view) fn draw_small(frame: &mut Frame<'_>, area: Rect, state: &RunState, look: Look) {
    let block = look.pane(Pane::Log, "Log / warnings");
    let room = usize::from(block.inner(area).height);
    let mut lines = asserts::breaches(state, look);
    lines.truncate(room.saturating_sub(1));
    lines.extend(latest(state, look, room - lines.len()));
    frame.render_widget(Paragraph::new(lines).block(block), area);
}

fn latest(state: &RunState, look: Look, room: usize) -> Vec<Line<'static>> {
    let skipped = state.log.len().saturating_sub(room);
    let lines = state.log.iter().skip(skipped);
    lines.map(|line| one(line, look)).collect()
}

fn one(line: &LogLine, look: Look) -> Line<'static> {
    let (letter, style) = look.level(line.level);
    // A line from a node may hold anything; control characters would move the cursor.
    let text: String = line
        .text
        .chars()
        .map(|c| if c.is_control() { ' ' } else { c })
        .collect();
    Line::from(vec![
        Span::styled(format!("{} ", clock(line.at_us)), look.faint()),
        Span::styled(format!("{letter} "), style),
        Span::styled(text, style),
    ])
}
