//! Pane 3: how fast is everything happening? Each rate now, and over the last two minutes.

use ratatui::Frame;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::text::Line;
use ratatui::widgets::{Paragraph, Sparkline};

use super::Pane;
use crate::measure::{RateView, RunState};
use crate::view::format::rate;
use crate::view::look::Look;

/// Draws the pane.
pub(super) fn draw(frame: &mut Frame<'_>, area: Rect, state: &RunState, look: Look) {
    let block = look.pane(Pane::Rates, "Rates, last 2 min");
    let inner = block.inner(area);
    frame.render_widget(block, area);
    for (row, value) in inner.rows().zip(&state.rates) {
        let [text, graph] =
            Layout::horizontal([Constraint::Length(20), Constraint::Min(1)]).areas(row);
        let words = format!("{:<11}{:>7}", format!("{}/s", value.name), rate(value.now));
        frame.render_widget(Paragraph::new(Line::from(words)), text);
        let bars = bars(value, usize::from(graph.width));
        let graph_widget = Sparkline::default()
            .bar_set(look.bars())
            .style(look.good())
            .data(bars);
        frame.render_widget(graph_widget, graph);
    }
}

/// The history squeezed into `width` columns, each the highest of its seconds: a short peak stays
/// visible. Tenths, so that a rate below one is not nothing.
fn bars(value: &RateView, width: usize) -> Vec<u64> {
    let history = &value.history;
    if width == 0 || history.is_empty() {
        return Vec::new();
    }
    let per_bar = history.len().div_ceil(width).max(1);
    // Cut from the end: the newest bar is always the same number of seconds.
    let mut bars: Vec<u64> = history
        .rchunks(per_bar)
        .map(|seconds| seconds.iter().copied().fold(0.0, f64::max))
        .map(|highest| (highest * 10.0).round() as u64)
        .collect();
    bars.reverse();
    bars
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn squeezing_keeps_the_peaks_and_the_end() {
        let mut value = RateView {
            name: "replies".into(),
            now: 0.3,
            history: vec![0.0; 120],
        };
        value.history[60] = 500.0;
        value.history[119] = 0.3;
        let squeezed = bars(&value, 40);
        assert_eq!(squeezed.len(), 40);
        assert_eq!(squeezed.iter().max(), Some(&5_000));
        assert_eq!(squeezed.last(), Some(&3));
        assert_eq!(bars(&value, 0), Vec::<u64>::new());
    }
}
