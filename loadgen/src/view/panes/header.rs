//! The first line: which run, since when, where in it, and how the asserts stand.

use ratatui::Frame;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::text::{Line, Span};
use ratatui::widgets::Paragraph;

use crate::measure::{RunState, Stage, TargetState};
use crate::view::format::clock;
use crate::view::look::Look;

/// Draws the header on one line; `frozen` says that the screen stands still on request.
pub(in crate::view) fn draw(
    frame: &mut Frame<'_>,
    area: Rect,
    state: &RunState,
    look: Look,
    frozen: bool,
) {
    let right = asserts(state, look);
    let taken: usize = right.iter().map(Span::width).sum();
    let taken = u16::try_from(taken).unwrap_or(u16::MAX);
    let [left_area, right_area] =
        Layout::horizontal([Constraint::Min(1), Constraint::Length(taken)]).areas(area);

    // The most important first: what does not fit is cut off at the end.
    let expected = state.expected_us.map(clock);
    let expected = expected.map_or_else(String::new, |expected| format!(" of ~{expected}"));
    let mut left = vec![
        Span::styled(format!(" {}", state.scenario), look.strong()),
        Span::raw(format!("  T+{}{expected}", clock(state.elapsed_us))),
        Span::raw(format!("  {}", place(state))),
    ];
    if frozen {
        left.push(Span::styled("  FROZEN", look.warn()));
    }
    if area.width >= 120 {
        let words = format!("  seed {}  run {}", state.seed, state.run);
        left.push(Span::styled(words, look.faint()));
    }
    frame.render_widget(Paragraph::new(Line::from(left)), left_area);
    frame.render_widget(Paragraph::new(Line::from(right)), right_area);
}

/// Where the run is: a phase, or what happens before and after them.
pub(in crate::view) fn place(state: &RunState) -> String {
    match (state.current_phase(), state.stage) {
        (Some((number, phase)), Stage::Running) => {
            format!("phase {number}/{} {}", state.phases.len(), phase.name)
        }
        (_, stage) => {
            let word = stage_word(stage);
            match state.doing.as_str() {
                "" => word.to_owned(),
                doing => format!("{word}: {doing}"),
            }
        }
    }
}

/// The word for a stage.
pub(in crate::view) fn stage_word(stage: Stage) -> &'static str {
    match stage {
        Stage::Preflight => "preflight",
        Stage::Starting => "starting",
        Stage::Running => "running",
        Stage::Holding => "up",
        Stage::Stopping => "stopping",
        Stage::Done => "done",
    }
}

/// How many asserts stand where; what has none is left out.
fn asserts(state: &RunState, look: Look) -> Vec<Span<'static>> {
    if state.asserts.is_empty() {
        return Vec::new();
    }
    let of = |wanted: TargetState| {
        state
            .asserts
            .iter()
            .filter(|assert| assert.state == wanted)
            .count()
    };
    let open = of(TargetState::Waiting) + of(TargetState::Live);
    let mut spans = vec![Span::raw("ASSERT")];
    let states = [
        (of(TargetState::Ok), "ok", look.good()),
        (of(TargetState::Warned), "WARN", look.warn()),
        (of(TargetState::Failed), "FAIL", look.bad()),
        (of(TargetState::Inconclusive), "few", look.warn()),
        (open, "open", look.faint()),
    ];
    for (n, word, style) in states {
        if n > 0 {
            spans.push(Span::styled(format!(" {n} {word}"), style));
        }
    }
    spans.push(Span::raw(" "));
    spans
}
