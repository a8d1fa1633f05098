//! The terminal while `top` has it.

use std::io::{self, Stdout, Write};

use crossterm::cursor::{Hide, MoveTo, Show};
use crossterm::style::{Attribute, Color, Print, ResetColor, SetAttribute, SetForegroundColor};
use crossterm::terminal::{
    BeginSynchronizedUpdate, Clear, ClearType, DisableLineWrap, EnableLineWrap, EndSynchronizedUpdate,
    EnterAlternateScreen, LeaveAlternateScreen, disable_raw_mode, enable_raw_mode, size,
};
use crossterm::{execute, queue};

use super::view::{Line, Look};

/// The whole terminal, given back as it was when dropped.
pub(in crate::tools) struct Screen {
    out: Stdout,
}

impl Screen {
    pub(in crate::tools) fn open() -> io::Result<Self> {
        enable_raw_mode()?;
        // From here on dropping it gives the terminal back.
        let mut screen = Self { out: io::stdout() };
        execute!(screen.out, EnterAlternateScreen, Hide, DisableLineWrap, Clear(ClearType::All))?;
        Ok(screen)
    }

    /// Columns and lines.
    pub(in crate::tools) fn size() -> io::Result<(usize, usize)> {
        let (width, height) = size()?;
        Ok((width.into(), height.into()))
    }

    /// Draws all lines; each is as wide as the screen.
    pub(in crate::tools) fn draw(&mut self, lines: &[Line]) -> io::Result<()> {
        queue!(self.out, BeginSynchronizedUpdate)?;
        for (number, line) in (0..).zip(lines) {
            queue!(self.out, MoveTo(0, number))?;
            match line.look {
                Look::Plain => {}
                Look::Heading => queue!(self.out, SetAttribute(Attribute::Reverse))?,
                Look::Bad => queue!(self.out, SetForegroundColor(Color::Red))?,
                Look::Keys => queue!(self.out, SetAttribute(Attribute::Dim))?,
            }
            queue!(self.out, Print(&line.text), SetAttribute(Attribute::Reset), ResetColor)?;
        }
        queue!(self.out, EndSynchronizedUpdate)?;
        self.out.flush()
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        // The terminal may be gone; then there is nothing to give back.
        let _ = execute!(self.out, EnableLineWrap, Show, LeaveAlternateScreen);
        let _ = disable_raw_mode();
    }
}
