//! What the keys do.

use std::io;
use std::time::Duration;

use crossterm::event::{self, Event, KeyCode, KeyEvent, KeyEventKind, KeyModifiers};

use super::view::{Column, View};

/// How many rows a page is.
const PAGE: usize = 10;

/// What follows from a key.
pub(super) enum Next {
    End,
    /// The screen has to be drawn anew.
    Changed,
    Nothing,
}

/// Waits for keys, and does what they say.
pub(super) fn next(patience: Duration, view: &mut View) -> io::Result<Next> {
    if !event::poll(patience)? {
        return Ok(Next::Nothing);
    }
    Ok(match event::read()? {
        Event::Key(key) if key.kind != KeyEventKind::Release => press(key, view),
        Event::Resize(..) => Next::Changed,
        _ => Next::Nothing,
    })
}

fn press(key: KeyEvent, view: &mut View) -> Next {
    if key.modifiers.contains(KeyModifiers::CONTROL) {
        return if matches!(key.code, KeyCode::Char('c' | 'd')) { Next::End } else { Next::Nothing };
    }
    match key.code {
        KeyCode::Char('q') | KeyCode::Esc => return Next::End,
        KeyCode::Char('1') => view.sort_by(Column::Function),
        KeyCode::Char('2') => view.sort_by(Column::Server),
        KeyCode::Char('3') => view.sort_by(Column::Waiting),
        KeyCode::Char('4') => view.sort_by(Column::Running),
        KeyCode::Char('5') => view.sort_by(Column::Workers),
        KeyCode::Char('6') => view.sort_by(Column::In),
        KeyCode::Char('7') => view.sort_by(Column::Done),
        KeyCode::Char('8') => view.sort_by(Column::Oldest),
        KeyCode::Left | KeyCode::Char('h') => view.sort_beside(false),
        KeyCode::Right | KeyCode::Char('l') => view.sort_beside(true),
        KeyCode::Char('r') => view.is_reversed = !view.is_reversed,
        KeyCode::Char('i') => view.hides_idle = !view.hides_idle,
        KeyCode::Char('m') => view.is_merged = !view.is_merged,
        KeyCode::Char('p' | ' ') => view.is_paused = !view.is_paused,
        KeyCode::Up | KeyCode::Char('k') => view.above = view.above.saturating_sub(1),
        KeyCode::Down | KeyCode::Char('j') => view.above = view.above.saturating_add(1),
        KeyCode::PageUp => view.above = view.above.saturating_sub(PAGE),
        KeyCode::PageDown => view.above = view.above.saturating_add(PAGE),
        KeyCode::Home => view.above = 0,
        KeyCode::End => view.above = usize::MAX,
        _ => return Next::Nothing,
    }
    Next::Changed
}
