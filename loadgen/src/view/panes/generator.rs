//! Pane 6: is it me? What tells whether the generator measures the target or itself.

use ratatui::Frame;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::text::{Line, Span};
use ratatui::widgets::{Cell, Paragraph, Row, Table, Wrap};

use super::Pane;
use crate::measure::{GeneratorHealth, RunState, WorkerView};
use crate::view::format::{UNKNOWN, bytes, count, known, span};
use crate::view::look::Look;

/// Draws the pane: a line for each worker, then the judgement.
pub(super) fn draw(frame: &mut Frame<'_>, area: Rect, state: &RunState, look: Look) {
    let block = look.pane(Pane::Generator, "Generator (is it me?)");
    let inner = block.inner(area);
    frame.render_widget(block, area);
    let [table_area, foot] =
        Layout::vertical([Constraint::Min(1), Constraint::Length(1)]).areas(inner);
    let right = |text: String| Cell::from(Line::from(text).right_aligned());
    let header = ["w", "nodes", "cpu%", "lag99", "rss", "fds/limit"];
    let rows = state.workers.iter().map(|worker| {
        Row::new([
            right(worker.worker.to_string()),
            right(count(worker.nodes)),
            right(known(worker.cpu_pct, |cpu| format!("{cpu:.0}"))),
            right(known(worker.sched_lag_p99_us, span)),
            right(known(worker.rss_bytes, bytes)),
            right(descriptors(worker)),
        ])
    });
    let widths = [
        Constraint::Length(2),
        Constraint::Length(7),
        Constraint::Length(5),
        Constraint::Length(8),
        Constraint::Length(8),
        Constraint::Min(12),
    ];
    let table = Table::new(rows, widths)
        .header(Row::new(header.map(|text| right(text.to_owned()))).style(look.faint()))
        .column_spacing(0);
    frame.render_widget(table, table_area);
    frame.render_widget(Paragraph::new(verdict(state, look)), foot);
}

/// Draws the figures of all workers together, for a small screen.
pub(in crate::view) fn draw_small(frame: &mut Frame<'_>, area: Rect, state: &RunState, look: Look) {
    let block = look.pane(Pane::Generator, "Generator");
    let worst =
        |figure: fn(&WorkerView) -> Option<u64>| state.workers.iter().filter_map(figure).max();
    let cpu = state
        .workers
        .iter()
        .filter_map(|worker| worker.cpu_pct)
        .reduce(f64::max);
    let rss: u64 = state
        .workers
        .iter()
        .filter_map(|worker| worker.rss_bytes)
        .sum();
    let fds = state.workers.iter().max_by_key(|worker| worker.descriptors);
    let late: u64 = state.ops.iter().map(|op| op.late).sum();
    let lines = vec![
        Line::from(format!(
            "cpu {}  rss {}",
            known(cpu, |cpu| format!("{cpu:.0} %")),
            if rss == 0 {
                UNKNOWN.to_owned()
            } else {
                bytes(rss)
            }
        )),
        Line::from(format!(
            "lag p99 {}  late {}",
            known(worst(|worker| worker.sched_lag_p99_us), span),
            count(late)
        )),
        Line::from(format!(
            "fds {}",
            fds.map_or_else(|| UNKNOWN.to_owned(), descriptors)
        )),
        verdict(state, look),
    ];
    frame.render_widget(
        Paragraph::new(lines)
            .wrap(Wrap { trim: false })
            .block(block),
        area,
    );
}

fn descriptors(worker: &WorkerView) -> String {
    format!(
        "{}/{}",
        known(worker.descriptors, count),
        known(worker.descriptors_limit, count)
    )
}

fn verdict(state: &RunState, look: Look) -> Line<'static> {
    match &state.health {
        GeneratorHealth::Unknown => Line::from(Span::styled("nothing measured yet", look.faint())),
        GeneratorHealth::Healthy => Line::from(Span::styled("HEALTHY", look.good())),
        GeneratorHealth::Limited(why) => {
            Line::from(Span::styled(format!("LIMITED: {why}"), look.bad()))
        }
    }
}
