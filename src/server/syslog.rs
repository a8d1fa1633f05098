//! Syslog, over the system's datagram socket.
//!
//! The log file is the log; syslog gets copies. So a syslog daemon that is slow
//! or away never holds the server up: what it does not take is counted and told
//! to it when it takes messages again.

use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::{io, process};

use jiff::Timestamp;
use jiff::tz::TimeZone;
use parking_lot::Mutex;

use super::log::Level;

const SOCKET: &str = "/dev/log";
/// gearmand logs as an ordinary program (`LOG_USER`) of this name.
const FACILITY_USER: u8 = 1;
const IDENT: &str = "gearmand";

/// Where copies of log lines go.
pub(super) struct Syslog {
    path: PathBuf,
    state: Mutex<State>,
}

/// Whether somebody takes messages.
pub(super) fn is_there() -> bool {
    UnixDatagram::unbound().and_then(|socket| socket.connect(SOCKET)).is_ok()
}

#[derive(Default)]
struct State {
    socket: Option<UnixDatagram>,
    lost: u64,
}

impl Syslog {
    pub(super) fn new() -> Self {
        Self::at(Path::new(SOCKET))
    }

    fn at(path: &Path) -> Self {
        Self { path: path.to_owned(), state: Mutex::default() }
    }

    /// Sends a copy of a line, without the time zone's help for the reader.
    pub(super) fn send(&self, level: Level, text: &str, zone: &TimeZone) {
        let mut state = self.state.lock();
        if state.lost > 0 {
            let notice = format!("{} messages were not taken", state.lost);
            if self.pass(&mut state, &message(Level::Warning, &notice, zone)).is_ok() {
                state.lost = 0;
            }
        }
        if self.pass(&mut state, &message(level, text, zone)).is_err() {
            state.lost += 1;
        }
    }

    /// Sends, and connects anew once when the daemon was restarted.
    fn pass(&self, state: &mut State, message: &str) -> io::Result<()> {
        if let Some(socket) = &state.socket {
            match socket.send(message.as_bytes()) {
                Ok(_) => return Ok(()),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Err(error),
                Err(_) => state.socket = None,
            }
        }
        let socket = UnixDatagram::unbound()?;
        socket.connect(&self.path)?;
        socket.set_nonblocking(true)?;
        socket.send(message.as_bytes())?;
        state.socket = Some(socket);
        Ok(())
    }
}

/// `<priority>Nov 21 10:09:41 gearmand[123]: text`
fn message(level: Level, text: &str, zone: &TimeZone) -> String {
    let priority = FACILITY_USER << 3 | severity(level);
    let now = Timestamp::now().to_zoned(zone.clone());
    format!("<{priority}>{} {IDENT}[{}]: {text}", now.strftime("%b %e %H:%M:%S"), process::id())
}

const fn severity(level: Level) -> u8 {
    match level {
        // The gravest of syslog is shown to everybody who is logged in.
        Level::Alert => 1,
        Level::Fatal | Level::Critical => 2,
        Level::Error => 3,
        Level::Warning => 4,
        Level::Notice => 5,
        Level::Info => 6,
        Level::Debug => 7,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_survive_a_restart_of_the_daemon() {
        let path = std::env::temp_dir().join(format!("gearshard-syslog-{}", process::id()));
        let syslog = Syslog::at(&path);
        let receive = |daemon: &UnixDatagram| {
            let mut buffer = [0; 512];
            let length = daemon.recv(&mut buffer).unwrap();
            String::from_utf8(buffer[..length].to_vec()).unwrap()
        };
        syslog.send(Level::Error, "nobody there", &TimeZone::UTC);
        let daemon = UnixDatagram::bind(&path).unwrap();
        syslog.send(Level::Info, "first", &TimeZone::UTC);
        assert!(receive(&daemon).ends_with("]: 1 messages were not taken"));
        let first = receive(&daemon);
        assert!(first.starts_with("<14>") && first.contains(" gearmand["), "{first}");
        assert!(first.ends_with("]: first"), "{first}");
        drop(daemon);
        std::fs::remove_file(&path).unwrap();
        let daemon = UnixDatagram::bind(&path).unwrap();
        syslog.send(Level::Alert, "second", &TimeZone::UTC);
        let second = receive(&daemon);
        std::fs::remove_file(&path).unwrap();
        assert!(second.starts_with("<9>") && second.ends_with("]: second"), "{second}");
    }
}
