//! A pseudo terminal with a program in it, seen as a person sees it.

use crate::support::{DEADLINE, wait_until};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{LocalModes, Winsize, tcgetattr, tcsetwinsize};
use std::ffi::OsStr;
use std::fs::File;
use std::io::{Read, Write};
use std::num::NonZero;
use std::os::unix::ffi::OsStrExt;
use std::process::{Child, Command, ExitStatus};
use std::sync::{Arc, Mutex};
use std::thread;
use vt100::Parser;

/// A program in a terminal of its own; killed when dropped.
pub(crate) struct Terminal {
    child: Child,
    keyboard: File,
    /// The program's side, which outlives it: how it leaves the terminal can be seen.
    line: File,
    screen: Arc<Mutex<Parser>>,
}

impl Terminal {
    /// Starts the program with the terminal as its controlling one.
    pub(crate) fn start(command: &Command, columns: u16, lines: u16) -> Self {
        let master = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC).unwrap();
        grantpt(&master).unwrap();
        unlockpt(&master).unwrap();
        let name = ptsname(&master, Vec::new()).unwrap();
        tcsetwinsize(&master, size(columns, lines)).unwrap();
        let keyboard = File::from(master);
        let line = File::options().read(true).write(true).open(OsStr::from_bytes(name.as_bytes())).unwrap();
        // It gets its process id: whoever starts it here leads no group, so setsid need not fork.
        let mut inside = Command::new("/usr/bin/setsid");
        inside
            .arg("--ctty")
            .arg(command.get_program())
            .args(command.get_args())
            .env("TERM", "xterm-256color");
        for (name, value) in command.get_envs() {
            match value {
                Some(value) => inside.env(name, value),
                None => inside.env_remove(name),
            };
        }
        let end = || line.try_clone().unwrap();
        let child = inside.stdin(end()).stdout(end()).stderr(end()).spawn().unwrap();
        let screen = Arc::new(Mutex::new(Parser::new(nonzero(lines), nonzero(columns), 0)));
        let (shown, mut output) = (Arc::clone(&screen), keyboard.try_clone().unwrap());
        thread::spawn(move || {
            let mut chunk = [0; 4096];
            // It ends with the last who has the terminal open.
            while let Ok(count @ 1..) = output.read(&mut chunk) {
                shown.lock().unwrap().process(&chunk[..count]);
            }
        });
        Self { child, keyboard, line, screen }
    }

    pub(crate) fn press(&mut self, keys: &str) {
        self.keyboard.write_all(keys.as_bytes()).unwrap();
    }

    pub(crate) fn resize(&self, columns: u16, lines: u16) {
        self.screen.lock().unwrap().screen_mut().set_size(nonzero(lines), nonzero(columns));
        tcsetwinsize(&self.keyboard, size(columns, lines)).unwrap();
    }

    /// What is on the screen, a string a line.
    pub(crate) fn lines(&self) -> Vec<String> {
        let parser = self.screen.lock().unwrap();
        let (_, columns) = parser.screen().size();
        parser.screen().rows(0, columns.get()).collect()
    }

    /// Waits until the screen is as it should be, and gives it.
    #[track_caller]
    pub(crate) fn wait_for(&mut self, what: &str, holds: impl Fn(&[String]) -> bool) -> Vec<String> {
        let start = std::time::Instant::now();
        loop {
            let lines = self.lines();
            if holds(&lines) {
                return lines;
            }
            let ended = self.child.try_wait().unwrap();
            let text = lines.join("\n");
            assert!(ended.is_none() && start.elapsed() < DEADLINE, "no {what} ({ended:?}):\n{text}");
            thread::sleep(std::time::Duration::from_millis(5));
        }
    }

    /// As [`wait_for`](Self::wait_for), of a program that may have ended by then.
    pub(crate) fn wait_for_last(&self, what: &str, holds: impl Fn(&[String]) -> bool) {
        wait_until(what, || holds(&self.lines()));
    }

    pub(crate) fn signal(&self, name: &str) {
        let kill = format!("kill -s {name} {}", self.child.id());
        assert!(Command::new("/bin/sh").arg("-c").arg(kill).status().unwrap().success());
    }

    /// Waits for the end, after which the terminal must be as it was before.
    #[track_caller]
    pub(crate) fn end(mut self) -> ExitStatus {
        wait_until("the program ends", || self.child.try_wait().unwrap().is_some());
        let modes = tcgetattr(&self.line).unwrap().local_modes;
        assert!(modes.contains(LocalModes::ICANON | LocalModes::ECHO | LocalModes::ISIG), "{modes:?}");
        wait_until("the screen is given back", || {
            let parser = self.screen.lock().unwrap();
            !parser.screen().alternate_screen() && !parser.screen().hide_cursor()
        });
        self.child.wait().unwrap()
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn nonzero(number: u16) -> NonZero<u16> {
    NonZero::new(number).expect("a screen has lines and columns")
}

fn size(columns: u16, lines: u16) -> Winsize {
    Winsize { ws_row: lines, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 }
}
