//! The queues of a server, as the tools of mod_gearman see them.

use std::ffi::OsString;
use std::io::{self, ErrorKind, Write};
use std::time::Duration;

use super::getopt::Getopt;
use crate::client::admin::{AdminError, FunctionStatus};
use crate::client::{Admin, InvalidAddress, ServerAddress};

/// A queue that mod_gearman's own client makes; it is not shown while it is empty.
const DUMMY: &[u8] = b"dummy";

/// What a server has.
#[derive(Debug)]
pub(super) struct Queues {
    /// By name.
    pub(super) queues: Vec<FunctionStatus>,
    pub(super) version: String,
}

/// Asks a server for its queues.
///
/// # Errors
/// What to tell people.
pub(super) fn queues(server: &ServerAddress, timeout: Duration) -> Result<Queues, String> {
    let mut admin = Admin::new(server.clone(), timeout);
    let asked = admin.status().and_then(|queues| Ok(Queues { queues, version: admin.version()? }));
    let mut found = asked.map_err(|error| words(server, &error))?;
    found.queues.retain(|queue| queue.name != DUMMY || queue.total > 0);
    found.queues.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(found)
}

fn words(server: &ServerAddress, error: &AdminError) -> String {
    match error {
        AdminError::Unreachable { error, .. } => {
            let reason = if error.kind() == ErrorKind::ConnectionRefused {
                "Connection refused".to_owned()
            } else {
                error.to_string()
            };
            format!("failed to connect to {server} - {reason}")
        }
        AdminError::Garbage { .. } => format!("got no valid data from {server}"),
        error => error.to_string(),
    }
}

/// Reads `HOST[:PORT]`.
///
/// # Errors
/// When it is not the address of a server.
pub(super) fn address(text: &[u8]) -> Result<ServerAddress, InvalidAddress> {
    String::from_utf8_lossy(text).parse()
}

/// The options of a tool of mod_gearman: its name, and what follows.
pub(super) fn options(letters: &'static str, args: Vec<OsString>) -> (String, Getopt) {
    let mut args = args.into_iter();
    let name = args.next().unwrap_or_default().to_string_lossy().into_owned();
    (name, Getopt::new(letters, args))
}

/// Says what is wrong with an option: on standard error as `getopt` does, and on standard output, which is
/// what monitoring shows.
pub(super) fn bad_option(name: &str, letter: u8, reason: &str) {
    let letter = char::from(letter);
    // Nobody may be there to read.
    let _ = writeln!(io::stderr().lock(), "{name}: {reason} -- '{letter}'");
    let _ = writeln!(io::stdout().lock(), "Error - No such option: `{letter}'\n");
}
