//! The keys, over everything else.

use ratatui::Frame;
use ratatui::layout::{Constraint, Flex, Layout, Rect};
use ratatui::text::Line;
use ratatui::widgets::{Block, Borders, Clear, Paragraph};

use crate::view::look::Look;

const KEYS: [(&str, &str); 8] = [
    ("?", "this help"),
    ("1-8", "focus a pane"),
    ("tab", "focus the next pane"),
    ("e", "expand the pane with the focus, and back"),
    ("space", "freeze the screen; the run goes on"),
    ("u", "latency from intended start, or service time"),
    ("q ctrl-c", "end the run, write the results"),
    ("", "a second time: end at once"),
];

/// Draws the help in the middle of the screen.
pub(in crate::view) fn draw(frame: &mut Frame<'_>, screen: Rect, look: Look) {
    let height = u16::try_from(KEYS.len())
        .unwrap_or(u16::MAX)
        .saturating_add(2);
    let [row] = Layout::vertical([Constraint::Length(height)])
        .flex(Flex::Center)
        .areas(screen);
    let [area] = Layout::horizontal([Constraint::Length(60)])
        .flex(Flex::Center)
        .areas(row);
    let lines = KEYS.map(|(key, meaning)| Line::from(format!(" {key:<9} {meaning}")));
    let block = Block::new()
        .borders(Borders::ALL)
        .border_set(look.frame())
        .border_style(look.strong())
        .title(" Keys ");
    frame.render_widget(Clear, area);
    frame.render_widget(Paragraph::new(lines.to_vec()).block(block), area);
}
