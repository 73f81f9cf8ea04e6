//! The panes of the screen, one file each. A pane gets the state and where to draw, nothing else.

pub(super) mod asserts;
pub(super) mod brokers;
pub(super) mod fleet;
pub(super) mod generator;
pub(super) mod header;
pub(super) mod help;
pub(super) mod latency;
pub(super) mod log;
pub(super) mod phases;
pub(super) mod rates;

use ratatui::Frame;
use ratatui::layout::Rect;

use super::look::Look;
use crate::measure::RunState;

/// A pane, by the question it answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Pane {
    /// Where are we?
    Phases,
    /// Is the fleet up, and who is on the way?
    Fleet,
    /// How fast is everything happening?
    Rates,
    /// How long does it take?
    Latency,
    /// How are the brokers?
    Brokers,
    /// Is it me?
    Generator,
    /// Is it good enough?
    Asserts,
    /// What was said?
    Log,
}

impl Pane {
    /// Every pane in the order of its number.
    pub(super) const ALL: [Self; 8] = [
        Self::Phases,
        Self::Fleet,
        Self::Rates,
        Self::Latency,
        Self::Brokers,
        Self::Generator,
        Self::Asserts,
        Self::Log,
    ];

    /// Its number on screen and its key, from 1.
    pub(super) fn number(self) -> usize {
        Self::ALL.iter().position(|pane| *pane == self).unwrap_or(0) + 1
    }

    /// The pane with a number.
    pub(super) fn numbered(number: usize) -> Option<Self> {
        Self::ALL.get(number.checked_sub(1)?).copied()
    }

    /// The next pane, going round.
    pub(super) fn next(self) -> Self {
        Self::ALL[self.number() % Self::ALL.len()]
    }

    /// Draws the pane.
    pub(super) fn draw(self, frame: &mut Frame<'_>, area: Rect, state: &RunState, look: Look) {
        match self {
            Self::Phases => phases::draw(frame, area, state, look),
            Self::Fleet => fleet::draw(frame, area, state, look),
            Self::Rates => rates::draw(frame, area, state, look),
            Self::Latency => latency::draw(frame, area, state, look),
            Self::Brokers => brokers::draw(frame, area, state, look),
            Self::Generator => generator::draw(frame, area, state, look),
            Self::Asserts => asserts::draw(frame, area, state, look),
            Self::Log => log::draw(frame, area, state, look),
        }
    }
}
