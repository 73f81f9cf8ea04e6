//! Pane 4: how long does it take? Percentiles by operation; one that the sample is too small for
//! is a dash.

use ratatui::Frame;
use ratatui::layout::{Constraint, Rect};
use ratatui::style::Style;
use ratatui::text::{Line, Span};
use ratatui::widgets::{Cell, Row, Table};

use super::Pane;
use crate::measure::{OpView, Quantiles, RunState};
use crate::view::format::{UNKNOWN, count, ms};
use crate::view::look::{Basis, Look};

/// Draws the pane.
pub(super) fn draw(frame: &mut Frame<'_>, area: Rect, state: &RunState, look: Look) {
    let wide = area.width >= 110;
    let block = look.pane(
        Pane::Latency,
        &format!("Latency (ms, {})", look.basis.word()),
    );
    let visible = usize::from(block.inner(area).height).saturating_sub(1);
    // The newest operations are the ones being watched.
    let skipped = state.ops.len().saturating_sub(visible);
    let rows = state.ops.iter().skip(skipped).map(|op| row(op, wide, look));
    let heading: &[&str] = if wide {
        &[
            "operation",
            "n",
            "p50",
            "p90",
            "p99",
            "p99.9",
            "max",
            "err",
            "late",
            " target",
            "",
        ]
    } else {
        &[
            "operation",
            "n",
            "p50",
            "p99",
            "max",
            "err",
            "late",
            " target",
            "",
        ]
    };
    let header = heading.iter().enumerate().map(|(at, text)| {
        let line = Line::from(*text);
        let left = at == 0 || at + 2 >= heading.len();
        Cell::from(if left { line } else { line.right_aligned() })
    });
    let widths: Vec<Constraint> = if wide {
        std::iter::once(Constraint::Length(20))
            .chain([Constraint::Length(9); 6])
            .chain([Constraint::Length(6), Constraint::Length(6)])
            .chain([Constraint::Min(12), Constraint::Length(5)])
            .collect()
    } else {
        std::iter::once(Constraint::Length(18))
            .chain([Constraint::Length(8); 4])
            .chain([Constraint::Length(5), Constraint::Length(5)])
            .chain([Constraint::Min(10), Constraint::Length(5)])
            .collect()
    };
    let table = Table::new(rows, widths)
        .header(Row::new(header).style(look.faint()))
        .column_spacing(0)
        .block(block);
    frame.render_widget(table, area);
}

fn row(op: &OpView, wide: bool, look: Look) -> Row<'static> {
    let figures: &Quantiles = match look.basis {
        Basis::Intended => &op.intended,
        Basis::Actual => &op.actual,
    };
    let mut right = vec![count(figures.count), ms(figures.p50)];
    if wide {
        right.push(ms(figures.p90));
    }
    right.push(ms(figures.p99));
    if wide {
        right.push(ms(figures.p999));
    }
    right.push(ms(figures.max));
    let flagged = |n: u64| {
        let style = if n > 0 { look.warn() } else { Style::new() };
        Cell::from(Line::from(Span::styled(count(n), style)).right_aligned())
    };
    let (word, style) = look.target(op.target_state);
    let (target, word) = match &op.target {
        Some(target) => (format!(" {target}"), word),
        None => (format!(" {UNKNOWN}"), ""),
    };
    Row::new(
        std::iter::once(Cell::from(op.name.clone()))
            .chain(
                right
                    .into_iter()
                    .map(|text| Cell::from(Line::from(text).right_aligned())),
            )
            .chain([flagged(op.errors), flagged(op.late)])
            .chain([Cell::from(target), Cell::from(Span::styled(word, style))]),
    )
}
