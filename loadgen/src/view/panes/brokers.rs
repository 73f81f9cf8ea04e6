//! Pane 5: how are the brokers?

use ratatui::Frame;
use ratatui::layout::{Constraint, Rect};
use ratatui::style::Style;
use ratatui::text::{Line, Span};
use ratatui::widgets::{Cell, Row, Table};

use super::Pane;
use crate::measure::{BrokerView, RunState};
use crate::view::format::{bytes, count, known, rate};
use crate::view::look::Look;

/// Draws the pane.
pub(super) fn draw(frame: &mut Frame<'_>, area: Rect, state: &RunState, look: Look) {
    let wide = area.width >= 70;
    let block = look.pane(Pane::Brokers, "Brokers");
    let columns: &[(&str, u16)] = if wide {
        &[
            ("conns", 7),
            ("subs", 7),
            ("in/s", 7),
            ("out/s", 7),
            ("slow", 5),
            ("mem", 8),
            ("cpu%", 5),
        ]
    } else {
        &[("conns", 6), ("out/s", 7), ("mem", 8), ("cpu%", 5)]
    };
    let header = std::iter::once(Cell::from("name"))
        .chain(
            columns
                .iter()
                .map(|(name, _)| Cell::from(Line::from(*name).right_aligned())),
        )
        .chain([Cell::from(" state")]);
    let widths = std::iter::once(Constraint::Min(8))
        .chain(columns.iter().map(|(_, width)| Constraint::Length(*width)))
        .chain([Constraint::Length(if wide { 10 } else { 6 })]);
    let rows = state.brokers.iter().map(|broker| row(broker, wide, look));
    let table = Table::new(rows, widths)
        .header(Row::new(header).style(look.faint()))
        .column_spacing(0)
        .block(block);
    frame.render_widget(table, area);
}

fn row(broker: &BrokerView, wide: bool, look: Look) -> Row<'static> {
    let is_slow = broker.slow_consumers.unwrap_or(0) > 0;
    let right = |text: String, style: Style| {
        Cell::from(Line::from(Span::styled(text, style)).right_aligned())
    };
    let plain = |text: String| right(text, Style::new());
    let mut cells = vec![
        Cell::from(broker.name.clone()),
        plain(known(broker.connections, count)),
    ];
    if wide {
        cells.push(plain(known(broker.subscriptions, count)));
        cells.push(plain(known(broker.in_per_s, rate)));
    }
    cells.push(plain(known(broker.out_per_s, rate)));
    if wide {
        let style = if is_slow { look.warn() } else { Style::new() };
        cells.push(right(known(broker.slow_consumers, count), style));
    }
    cells.push(plain(known(broker.mem_bytes, bytes)));
    cells.push(plain(known(broker.cpu_pct, |cpu| format!("{cpu:.0}"))));
    let (state, style) = match broker.state.as_str() {
        // Without a column for them, slow consumers are the state that matters.
        "up" if is_slow && !wide => ("SLOW", look.warn()),
        "up" => ("up", look.good()),
        "starting" => ("starting", Style::new()),
        other => (other, look.bad()),
    };
    cells.push(Cell::from(Span::styled(format!(" {state}"), style)));
    Row::new(cells)
}
