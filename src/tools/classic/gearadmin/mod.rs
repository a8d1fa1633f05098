//! `gearadmin`: lists and orders for one server.

mod options;

use std::ffi::OsString;
use std::io::{self, Write};
use std::os::unix::ffi::OsStringExt;
use std::process::ExitCode;
use std::time::Duration;

use super::hosts;
use crate::client::admin::AdminError;
use crate::client::{Admin, ServerAddress};
use options::Options;

/// How long a server may take to answer. The original waits for ever, and takes for the
/// whole of a list what has come when nothing comes for 5 ms.
const TIMEOUT: Duration = Duration::from_secs(60);

/// How the program ends before it is through.
enum Failure {
    /// With a message.
    Told(String),
    /// Its output cannot be written.
    Output,
}

/// Runs `gearadmin`; the first argument is its name.
pub(super) fn main(args: Vec<OsString>) -> ExitCode {
    let mut args = args.into_iter().map(OsString::into_vec);
    let name = args.next().unwrap_or_default();
    let done = match options::read(args) {
        Err(wrong) => {
            print(&[&*name, b" : ", &wrong, b"\n\n", options::HELP.as_bytes(), b"\n"].concat(), false)
        }
        Ok(options) if options.help => print(format!("{}\n", options::HELP).as_bytes(), true),
        Ok(options) if options.lines.is_empty() => {
            let text = format!("No option execution operation given.\n\n{}\n", options::HELP);
            print(text.as_bytes(), false)
        }
        Ok(options) => ask(&options).map(|()| true),
    };
    match done {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) | Err(Failure::Output) => ExitCode::FAILURE,
        Err(Failure::Told(text)) => {
            complain(text.as_bytes());
            ExitCode::FAILURE
        }
    }
}

fn print(text: &[u8], good: bool) -> Result<bool, Failure> {
    let mut output = io::stdout().lock();
    output.write_all(text).and_then(|()| output.flush()).map_err(|_| Failure::Output)?;
    Ok(good)
}

fn complain(text: &[u8]) {
    // Nobody may be there to read.
    let _ = io::stderr().lock().write_all(&[b"Error: ", text, b"\n"].concat());
}

fn ask(options: &Options) -> Result<(), Failure> {
    let Options { host, port, .. } = options;
    if options.tls {
        // What was to be sealed must not travel in the open.
        return Err(Failure::Told("TLS (-S) is not supported; leave it out or use a tunnel".to_owned()));
    }
    let nowhere = |text: &str| Failure::Told(format!("Failed to connect on {host}:{port} with {text}"));
    // As the C library: the port is looked at first.
    let number = hosts::port(port).map_err(nowhere)?;
    hosts::look_up(host).map_err(|text| nowhere(&text))?;
    let mut admin = Admin::new(ServerAddress::Tcp { host: host.clone(), port: number }, TIMEOUT);
    for line in &options.lines {
        let answer = admin.raw(line).map_err(|error| Failure::Told(words(host, &error)))?;
        show(&answer)?;
    }
    Ok(())
}

fn words(host: &str, error: &AdminError) -> String {
    match error {
        AdminError::Unreachable { .. } => format!("Error connecting to {host}.\n"),
        AdminError::Lost { error: None, .. } | AdminError::Garbage { .. } => {
            format!("Socket was shutdown while reading from {host}")
        }
        AdminError::Lost { .. } => format!("Error occurred while reading data from {host}"),
        error => error.to_string(),
    }
}

// As the original: a refusal goes to standard error and is no failure.
fn show(answer: &[u8]) -> Result<(), Failure> {
    let shown = match answer {
        b"OK\r\n" => b"OK\n",
        [b'O', b'K', b' ', text @ ..] => text,
        [b'E', b'R', b'R', b' ', text @ ..] => {
            complain(text.strip_suffix(b"\n").unwrap_or(text));
            return Ok(());
        }
        text => text,
    };
    print(shown, true).map(drop)
}
