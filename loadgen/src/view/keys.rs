//! What was pressed so far: pure, from key to the screen's own state.

use std::sync::Arc;

use ratatui::crossterm::event::{KeyCode, KeyEvent, KeyEventKind, KeyModifiers};

use super::look::{Basis, Look};
use super::panes::Pane;
use crate::measure::RunState;

/// The screen's own state: how it looks, and what was pressed.
#[derive(Clone, Debug)]
pub(super) struct Screen {
    /// How it looks.
    pub(super) look: Look,
    /// The pane with the focus fills the screen.
    pub(super) expanded: bool,
    /// The keys are shown.
    pub(super) help: bool,
    /// The state the screen was frozen at.
    pub(super) frozen: Option<Arc<RunState>>,
    /// The end of the run was asked for.
    pub(super) ending: bool,
}

/// What a key asks of the run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Wish {
    /// Nothing: it concerned the screen alone.
    Nothing,
    /// End the run in order.
    End,
    /// End at once.
    EndAtOnce,
}

impl Screen {
    /// A screen on which nothing was pressed.
    pub(super) fn new(look: Look) -> Self {
        Self {
            look,
            expanded: false,
            help: false,
            frozen: None,
            ending: false,
        }
    }

    /// Takes a key; `now` is what the screen shows at that moment.
    pub(super) fn press(&mut self, key: KeyEvent, now: &Arc<RunState>) -> Wish {
        if key.kind == KeyEventKind::Release {
            return Wish::Nothing;
        }
        let ctrl_c =
            key.code == KeyCode::Char('c') && key.modifiers.contains(KeyModifiers::CONTROL);
        match key.code {
            _ if ctrl_c => return self.end(),
            KeyCode::Char('q') => return self.end(),
            KeyCode::Char('?') => self.help = !self.help,
            KeyCode::Esc if self.help => self.help = false,
            KeyCode::Esc => (self.look.focus, self.expanded) = (None, false),
            KeyCode::Char(digit @ '1'..='8') => {
                self.look.focus = digit.to_digit(10).and_then(|n| Pane::numbered(n as usize));
            }
            KeyCode::Tab => {
                self.look.focus = Some(self.look.focus.map_or(Pane::Phases, Pane::next))
            }
            KeyCode::Char('e') | KeyCode::Enter => {
                self.look.focus.get_or_insert(Pane::Log);
                self.expanded = !self.expanded;
            }
            KeyCode::Char(' ') => {
                self.frozen = match self.frozen {
                    None => Some(Arc::clone(now)),
                    Some(_) => None,
                };
            }
            KeyCode::Char('u') => {
                self.look.basis = match self.look.basis {
                    Basis::Intended => Basis::Actual,
                    Basis::Actual => Basis::Intended,
                };
            }
            _ => {}
        }
        Wish::Nothing
    }

    fn end(&mut self) -> Wish {
        // What happens while things are taken down is worth seeing.
        self.frozen = None;
        if std::mem::replace(&mut self.ending, true) {
            Wish::EndAtOnce
        } else {
            Wish::End
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(code: KeyCode) -> KeyEvent {
        KeyEvent::new(code, KeyModifiers::NONE)
    }

    fn screen() -> (Screen, Arc<RunState>) {
        (Screen::new(Look::from_env(|_| None)), Arc::default())
    }

    #[test]
    fn q_and_ctrl_c_end_in_order_and_then_at_once() {
        let ctrl_c = KeyEvent::new(KeyCode::Char('c'), KeyModifiers::CONTROL);
        for first in [key(KeyCode::Char('q')), ctrl_c] {
            let (mut screen, now) = screen();
            assert_eq!(screen.press(key(KeyCode::Char('c')), &now), Wish::Nothing);
            assert_eq!(screen.press(first, &now), Wish::End);
            assert_eq!(screen.press(ctrl_c, &now), Wish::EndAtOnce);
        }
    }

    #[test]
    fn ending_thaws_the_screen() {
        let (mut screen, now) = screen();
        screen.press(key(KeyCode::Char(' ')), &now);
        assert!(screen.frozen.is_some());
        screen.press(key(KeyCode::Char('q')), &now);
        assert!(screen.frozen.is_none());
    }

    #[test]
    fn the_focus_goes_round_and_a_pane_expands() {
        let (mut screen, now) = screen();
        screen.press(key(KeyCode::Char('8')), &now);
        assert_eq!(screen.look.focus, Some(Pane::Log));
        screen.press(key(KeyCode::Tab), &now);
        assert_eq!(screen.look.focus, Some(Pane::Phases));
        screen.press(key(KeyCode::Char('e')), &now);
        assert!(screen.expanded);
        screen.press(key(KeyCode::Esc), &now);
        assert!(!screen.expanded && screen.look.focus.is_none());
    }
}
