//! Whole screens, drawn to memory at the two sizes that matter.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

use ratatui::Terminal;
use ratatui::backend::TestBackend;
use ratatui::crossterm::event::{KeyCode, KeyEvent, KeyModifiers};

use super::keys::Screen;
use super::look::Look;
use super::*;
use crate::measure::{GeneratorHealth, PhaseProgress, Stage};

fn look(unicode: bool) -> Look {
    Look::from_env(|name| (name == "LANG" && unicode).then(|| "C.UTF-8".to_owned()))
}

fn drawn(screen: &Screen, state: RunState, (columns, rows): (u16, u16)) -> String {
    let mut terminal = Terminal::new(TestBackend::new(columns, rows)).unwrap();
    let state = Arc::new(state);
    terminal.draw(|frame| screen.draw(frame, &state)).unwrap();
    let buffer = terminal.backend().buffer().clone();
    let width = usize::from(columns);
    let rows = buffer.content.chunks(width).map(|row| {
        let row: String = row.iter().map(|cell| cell.symbol()).collect();
        row.trim_end().to_owned()
    });
    rows.collect::<Vec<_>>().join("\n")
}

fn press(screen: &mut Screen, code: KeyCode) {
    screen.press(KeyEvent::new(code, KeyModifiers::NONE), &Arc::default());
}

#[test]
fn the_large_screen() {
    let screen = Screen::new(look(true));
    insta::assert_snapshot!("large", drawn(&screen, sample::enrolling(), (120, 40)));
}

#[test]
fn the_small_screen() {
    let screen = Screen::new(look(true));
    insta::assert_snapshot!("small", drawn(&screen, sample::enrolling(), (80, 24)));
}

#[test]
fn ascii_where_the_locale_knows_no_more() {
    let screen = Screen::new(look(false));
    for size in [(120, 40), (80, 24)] {
        let text = drawn(&screen, sample::pinging(), size);
        assert!(text.is_ascii(), "{text}");
    }
    insta::assert_snapshot!("ascii", drawn(&screen, sample::pinging(), (120, 40)));
}

#[test]
fn a_state_without_anything_in_it_is_drawn_too() {
    let screen = Screen::new(look(true));
    for size in [(120, 40), (200, 60), (80, 24), (40, 10), (1, 1)] {
        drawn(&screen, RunState::default(), size);
    }
    let text = drawn(&screen, RunState::default(), (80, 24));
    assert!(
        text.contains("no nodes yet") && text.contains("nothing measured yet"),
        "{text}"
    );
}

#[test]
fn a_pane_fills_the_screen_and_help_lies_over_it() {
    let mut screen = Screen::new(look(true));
    press(&mut screen, KeyCode::Char('6'));
    press(&mut screen, KeyCode::Char('e'));
    let text = drawn(&screen, sample::enrolling(), (80, 24));
    assert!(
        text.contains("*6 Generator") && !text.contains("Brokers"),
        "{text}"
    );
    press(&mut screen, KeyCode::Char('?'));
    let text = drawn(&screen, sample::enrolling(), (80, 24));
    assert!(text.contains("end the run, write the results"), "{text}");
}

#[test]
fn a_limited_generator_and_a_failed_phase_are_told_in_words() {
    let mut state = sample::pinging();
    state.health = GeneratorHealth::Limited("lag p99 80 ms > 50 ms".into());
    state.phases[2].state = PhaseProgress::Failed;
    for size in [(120, 40), (80, 24)] {
        let text = drawn(&Screen::new(look(false)), state.clone(), size);
        assert!(text.contains("LIMITED: lag p99 80 ms"), "{text}");
        assert!(text.contains("FAILED"), "{text}");
    }
}

#[test]
fn frozen_means_that_the_screen_stands_still() {
    let mut screen = Screen::new(look(true));
    screen.press(
        KeyEvent::new(KeyCode::Char(' '), KeyModifiers::NONE),
        &Arc::new(sample::enrolling()),
    );
    let text = drawn(&screen, sample::pinging(), (120, 40));
    assert!(
        text.contains("FROZEN") && text.contains("phase 2/4 enrol"),
        "{text}"
    );
}

#[test]
fn service_time_is_another_figure() {
    let mut screen = Screen::new(look(true));
    let intended = drawn(&screen, sample::enrolling(), (120, 40));
    press(&mut screen, KeyCode::Char('u'));
    let actual = drawn(&screen, sample::enrolling(), (120, 40));
    assert!(intended.contains("2400.0") && !actual.contains("2400.0"));
    assert!(actual.contains("service time") && actual.contains("1200.0"));
}

#[test]
fn auto_is_live_only_where_it_can_be_seen() {
    let (mode, note) = Mode::Auto.resolve_for(true, Some((120, 40)));
    assert_eq!((mode, note), (Mode::Live, None));
    assert_eq!(
        Mode::Auto.resolve_for(false, Some((120, 40))).0,
        Mode::Lines
    );
    let (mode, note) = Mode::Auto.resolve_for(true, Some((79, 24)));
    assert_eq!(mode, Mode::Lines);
    assert!(note.unwrap().contains("79x24"));
    assert_eq!(Mode::Json.resolve_for(true, None).0, Mode::Json);
}

#[test]
fn a_view_ends_when_told_and_not_before() {
    let (sender, states) = watch::channel(Arc::new(RunState::default()));
    let stop = CancellationToken::new();
    let progress = Progress::start(Mode::Lines, states, stop.clone()).unwrap();
    stop.cancel();
    sender
        .send(Arc::new(RunState {
            stage: Stage::Done,
            ..RunState::default()
        }))
        .unwrap();
    progress.finish();
}
