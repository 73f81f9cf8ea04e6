//! Pane 7: is it good enough? Breaches first.

use ratatui::Frame;
use ratatui::layout::{Constraint, Rect};
use ratatui::text::{Line, Span};
use ratatui::widgets::{Cell, Row, Table};

use super::Pane;
use crate::measure::{AssertView, RunState, TargetState};
use crate::view::format::UNKNOWN;
use crate::view::look::Look;

/// Draws the pane.
pub(super) fn draw(frame: &mut Frame<'_>, area: Rect, state: &RunState, look: Look) {
    let block = look.pane(Pane::Asserts, "Asserts");
    let mut asserts: Vec<&AssertView> = state.asserts.iter().collect();
    asserts.sort_by_key(|assert| !is_breach(assert.state));
    let rows = asserts.into_iter().map(|assert| {
        let (word, style) = look.target(assert.state);
        // An assert that waits says for whom.
        let value = match (assert.state, &assert.value) {
            (TargetState::Waiting, _) => assert.phase.clone(),
            (_, Some(value)) => value.clone(),
            (_, None) => UNKNOWN.to_owned(),
        };
        Row::new([
            Cell::from(Span::styled(word, style)),
            Cell::from(assert.that.clone()),
            Cell::from(Line::from(value).right_aligned()),
        ])
    });
    let widths = [
        Constraint::Length(5),
        Constraint::Min(20),
        Constraint::Length(12),
    ];
    frame.render_widget(
        Table::new(rows, widths).column_spacing(0).block(block),
        area,
    );
}

fn is_breach(state: TargetState) -> bool {
    matches!(
        state,
        TargetState::Failed | TargetState::Warned | TargetState::Inconclusive
    )
}

/// The breaches as lines, for a screen without room for the pane.
pub(in crate::view) fn breaches(state: &RunState, look: Look) -> Vec<Line<'static>> {
    let breaches = state
        .asserts
        .iter()
        .filter(|assert| is_breach(assert.state));
    let lines = breaches.map(|assert| {
        let (word, style) = look.target(assert.state);
        let value = assert.value.as_deref().unwrap_or(UNKNOWN);
        Line::from(Span::styled(
            format!("{word} {} ({value})", assert.that),
            style,
        ))
    });
    lines.collect()
}
