//! How the screen looks on this terminal: colour or not, line drawing or ASCII.
//!
//! Nothing is told by colour alone: every state is also a word or a sign.

use ratatui::style::{Color, Modifier, Style};
use ratatui::symbols::{bar, border};
use ratatui::text::Span;
use ratatui::widgets::{Block, Borders};

use super::panes::Pane;
use crate::measure::{Level, PhaseProgress, TargetState};

/// Corners and edges from ASCII.
const ASCII_BORDER: border::Set<'static> = border::Set {
    top_left: "+",
    top_right: "+",
    bottom_left: "+",
    bottom_right: "+",
    vertical_left: "|",
    vertical_right: "|",
    horizontal_top: "-",
    horizontal_bottom: "-",
};

/// Bar heights from ASCII.
const ASCII_BARS: bar::Set<'static> = bar::Set {
    full: "#",
    seven_eighths: "#",
    three_quarters: "=",
    five_eighths: "=",
    half: "-",
    three_eighths: "-",
    one_quarter: ".",
    one_eighth: "_",
    empty: " ",
};

/// From which start a latency is counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Basis {
    /// From when the operation was meant to start: what a user would have waited.
    #[default]
    Intended,
    /// From when it really started: service time.
    Actual,
}

impl Basis {
    /// The word for it.
    pub(super) fn word(self) -> &'static str {
        match self {
            Self::Intended => "from intended start",
            Self::Actual => "service time",
        }
    }
}

/// What the terminal can show, and which way of looking was chosen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Look {
    /// Colours may be used.
    pub(super) colour: bool,
    /// The locale is UTF-8.
    pub(super) unicode: bool,
    /// Which latency is shown.
    pub(super) basis: Basis,
    /// The pane with the focus.
    pub(super) focus: Option<Pane>,
}

impl Look {
    /// What the environment says: `NO_COLOR` (<https://no-color.org>), and the locale variables in
    /// the order of POSIX.
    pub(super) fn from_env(var: impl Fn(&str) -> Option<String>) -> Self {
        let set = |name: &str| var(name).filter(|value| !value.is_empty());
        let locale = ["LC_ALL", "LC_CTYPE", "LANG"].into_iter().find_map(set);
        let locale = locale.unwrap_or_default().to_ascii_lowercase();
        Self {
            colour: set("NO_COLOR").is_none(),
            unicode: locale.contains("utf-8") || locale.contains("utf8"),
            basis: Basis::default(),
            focus: None,
        }
    }

    fn tinted(self, colour: Color) -> Style {
        if self.colour {
            Style::new().fg(colour)
        } else {
            Style::new()
        }
    }

    /// Good.
    pub(super) fn good(self) -> Style {
        self.tinted(Color::Green)
    }

    /// Worth a look.
    pub(super) fn warn(self) -> Style {
        self.tinted(Color::Yellow).add_modifier(Modifier::BOLD)
    }

    /// Bad.
    pub(super) fn bad(self) -> Style {
        self.tinted(Color::Red).add_modifier(Modifier::BOLD)
    }

    /// Less important than what stands around it.
    pub(super) fn faint(self) -> Style {
        self.tinted(Color::DarkGray)
    }

    /// Headings.
    pub(super) fn strong(self) -> Style {
        Style::new().add_modifier(Modifier::BOLD)
    }

    /// The frame of a pane, with its number and name; the one with the focus stands out.
    pub(super) fn pane(self, pane: Pane, title: &str) -> Block<'static> {
        let focused = self.focus == Some(pane);
        let mark = if focused { "*" } else { "" };
        Block::new()
            .borders(Borders::ALL)
            .border_set(self.frame())
            .border_style(if focused { self.strong() } else { self.faint() })
            .title(Span::styled(
                format!("{mark}{} {title} ", pane.number()),
                self.strong(),
            ))
    }

    /// Corners and edges.
    pub(super) fn frame(self) -> border::Set<'static> {
        if self.unicode {
            border::PLAIN
        } else {
            ASCII_BORDER
        }
    }

    /// A bar of `width` cells, brackets included.
    pub(super) fn bar(self, ratio: f64, width: usize) -> String {
        let inner = width.saturating_sub(2);
        // Full only when done: 99.9 % must not look like the end.
        let filled = ((ratio.clamp(0.0, 1.0) * inner as f64).floor() as usize).min(inner);
        let (full, empty) = if self.unicode {
            ("█", "░")
        } else {
            ("#", ".")
        };
        format!("[{}{}]", full.repeat(filled), empty.repeat(inner - filled))
    }

    /// Bar heights for rates over time.
    pub(super) fn bars(self) -> bar::Set<'static> {
        if self.unicode {
            bar::NINE_LEVELS
        } else {
            ASCII_BARS
        }
    }

    /// A phase's state: word and style.
    pub(super) fn phase(self, state: PhaseProgress) -> (&'static str, Style) {
        match state {
            PhaseProgress::Queued => ("queued", self.faint()),
            PhaseProgress::Running => ("running", self.strong()),
            PhaseProgress::Ok => ("ok", self.good()),
            PhaseProgress::Failed => ("FAILED", self.bad()),
            PhaseProgress::Skipped => ("skipped", self.faint()),
        }
    }

    /// A target's state: word and style.
    pub(super) fn target(self, state: TargetState) -> (&'static str, Style) {
        match state {
            TargetState::Waiting => ("wait", self.faint()),
            TargetState::Live => ("live", Style::new()),
            TargetState::Ok => ("ok", self.good()),
            TargetState::Warned => ("WARN", self.warn()),
            TargetState::Failed => ("FAIL", self.bad()),
            TargetState::Inconclusive => ("few", self.warn()),
        }
    }

    /// A log line's level: letter and style.
    pub(super) fn level(self, level: Level) -> (&'static str, Style) {
        match level {
            Level::Info => ("I", Style::new()),
            Level::Warn => ("W", self.warn()),
            Level::Error => ("E", self.bad()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(vars: &[(&str, &str)]) -> Look {
        Look::from_env(|name| {
            let found = vars.iter().find(|(key, _)| *key == name);
            found.map(|(_, value)| (*value).to_owned())
        })
    }

    #[test]
    fn the_environment_decides_on_colour_and_line_drawing() {
        assert!(!with(&[]).unicode, "the C locale is ASCII");
        assert!(with(&[("LANG", "de_DE.UTF-8")]).unicode);
        assert!(with(&[("LC_ALL", ""), ("LC_CTYPE", "C.utf8")]).unicode);
        assert!(!with(&[("LC_ALL", "C"), ("LANG", "en_US.UTF-8")]).unicode);
        assert!(with(&[("NO_COLOR", "")]).colour, "empty means unset");
        assert!(!with(&[("NO_COLOR", "1")]).colour);
    }

    #[test]
    fn a_bar_is_full_only_at_the_end() {
        let look = with(&[]);
        assert_eq!(look.bar(0.5, 10), "[####....]");
        assert_eq!(look.bar(0.999, 10), "[#######.]");
        assert_eq!(look.bar(1.0, 10), "[########]");
        assert_eq!(look.bar(7.0, 3), "[#]");
    }
}
