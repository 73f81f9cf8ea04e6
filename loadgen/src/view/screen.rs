//! The screen as a pure function: a state of the run and what was pressed so far → cells.
//!
//! 120 × 40 and more:
//!
//! ```text
//!  scenario  seed  run  T+07:47 of ~24:00  phase 4/7 steady                 ASSERT 8 ok 1 WARN
//! ┌1 Phases───────────────────────────────────────────────────────────────────────────────────┐
//! ┌2 Fleet────────────────────────────────────┐┌3 Rates───────────────────────────────────────┐
//! ┌4 Latency──────────────────────────────────────────────────────────────────────────────────┐
//! ┌5 Brokers──────────────────────────────────────────────┐┌6 Generator───────────────────────┐
//! ┌7 Asserts──────────────────────────────────┐┌8 Log─────────────────────────────────────────┐
//!  ? help  1-8 focus  e expand  tab next  space freeze  u basis  q end
//! ```
//!
//! From 80 × 24 on, one below the other: header, phases on a line, fleet, latency, brokers beside
//! generator, log with breached asserts; rates and the list of asserts are left out. Smaller than
//! that, the words of the line output.

use std::sync::Arc;

use ratatui::Frame;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::text::{Line, Span};
use ratatui::widgets::{Paragraph, Wrap};

use super::keys::Screen;
use super::lines;
use super::look::Look;
use super::panes::{Pane, fleet, generator, header, help, log, phases};
use crate::measure::RunState;

/// The least a screen needs, columns and rows; below it the line output is used.
pub const SMALLEST: (u16, u16) = (80, 24);
/// From here on there is room for every pane.
const LARGE: (u16, u16) = (120, 40);

impl Screen {
    /// Draws `state`, or the one the screen was frozen at.
    pub(super) fn draw(&self, frame: &mut Frame<'_>, state: &Arc<RunState>) {
        let state = self.frozen.as_ref().unwrap_or(state).as_ref();
        let area = frame.area();
        if area.width < SMALLEST.0 || area.height < SMALLEST.1 {
            too_small(frame, area, state);
            return;
        }
        let [top, body, bottom] = Layout::vertical([
            Constraint::Length(1),
            Constraint::Min(1),
            Constraint::Length(1),
        ])
        .areas(area);
        header::draw(frame, top, state, self.look, self.frozen.is_some());
        match self.look.focus {
            Some(pane) if self.expanded => pane.draw(frame, body, state, self.look),
            _ if area.width >= LARGE.0 && area.height >= LARGE.1 => {
                large(frame, body, state, self.look)
            }
            _ => small(frame, body, state, self.look),
        }
        frame.render_widget(Paragraph::new(self.foot()), bottom);
        if self.help {
            help::draw(frame, area, self.look);
        }
    }

    fn foot(&self) -> Line<'static> {
        if self.ending {
            let words =
                " ending: taking everything down and writing the results; again: end at once";
            return Line::from(Span::styled(words, self.look.warn()));
        }
        let words = " ? help  1-8 focus  tab next  e expand  space freeze  u latency basis  q end";
        Line::from(Span::styled(words, self.look.faint()))
    }
}

fn large(frame: &mut Frame<'_>, area: Rect, state: &RunState, look: Look) {
    let [phases, fleet, latency, brokers, rest] = Layout::vertical([
        Constraint::Length(5),
        Constraint::Length(9),
        Constraint::Length(8),
        Constraint::Length(7),
        Constraint::Min(9),
    ])
    .areas(area);
    let halves = Layout::horizontal([Constraint::Percentage(50), Constraint::Percentage(50)]);
    let [fleet, rates] = halves.areas(fleet);
    let [brokers, generator] =
        Layout::horizontal([Constraint::Percentage(60), Constraint::Percentage(40)]).areas(brokers);
    let [asserts, log] = halves.areas(rest);
    let places = [
        (Pane::Phases, phases),
        (Pane::Fleet, fleet),
        (Pane::Rates, rates),
        (Pane::Latency, latency),
        (Pane::Brokers, brokers),
        (Pane::Generator, generator),
        (Pane::Asserts, asserts),
        (Pane::Log, log),
    ];
    for (pane, place) in places {
        pane.draw(frame, place, state, look);
    }
}

fn small(frame: &mut Frame<'_>, area: Rect, state: &RunState, look: Look) {
    let [strip, fleet_area, latency, brokers, log_area] = Layout::vertical([
        Constraint::Length(1),
        Constraint::Length(4),
        Constraint::Length(6),
        Constraint::Length(6),
        Constraint::Min(5),
    ])
    .areas(area);
    phases::strip(frame, strip, state, look);
    fleet::draw_small(frame, fleet_area, state, look);
    Pane::Latency.draw(frame, latency, state, look);
    let [brokers, generator_area] =
        Layout::horizontal([Constraint::Percentage(58), Constraint::Percentage(42)]).areas(brokers);
    Pane::Brokers.draw(frame, brokers, state, look);
    generator::draw_small(frame, generator_area, state, look);
    log::draw_small(frame, log_area, state, look);
}

fn too_small(frame: &mut Frame<'_>, area: Rect, state: &RunState) {
    let (columns, rows) = SMALLEST;
    let text = vec![
        Line::from(format!("smaller than {columns}x{rows}: q ends")),
        Line::from(lines::progress(state)),
    ];
    frame.render_widget(Paragraph::new(text).wrap(Wrap { trim: true }), area);
}
