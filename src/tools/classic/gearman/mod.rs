//! `gearman`: submits jobs, or runs a command for each job, from a shell.
//!
//! [`options`] is the command line, [`client`] and [`worker`] the two modes,
//! [`command`] a worker's command, [`output`] what goes to standard output and
//! when, [`servers`] which servers are meant, [`trouble`] the words for what goes wrong.

mod client;
mod command;
mod options;
mod output;
mod servers;
mod trouble;
mod worker;

use std::ffi::OsString;
use std::io::{self, Write};
use std::process::ExitCode;

use crate::pid_file::PidFile;
use options::Usage;

/// Runs `gearman`; the first argument is its name.
pub(super) fn main(args: Vec<OsString>) -> ExitCode {
    let options = match options::read(args) {
        Ok(options) => options,
        Err(usage) => return explain(&usage),
    };
    if options.daemon && nix::unistd::daemon(true, false).is_err() {
        return ExitCode::FAILURE;
    }
    let pid_file = match options.pid_file.as_deref().filter(|path| !path.as_os_str().is_empty()) {
        None => None,
        // As the original: no word about it.
        Some(path) => match PidFile::create(path) {
            Ok(file) => Some(file),
            Err(_) => return ExitCode::FAILURE,
        },
    };
    let end = if options.worker { worker::run(&options) } else { client::run(&options) };
    drop(pid_file);
    end
}

fn explain(usage: &Usage) -> ExitCode {
    // Nobody may be there to read.
    let _ = if usage.to_stdout {
        io::stdout().lock().write_all(&usage.text)
    } else {
        io::stderr().lock().write_all(&usage.text)
    };
    if usage.asked_for { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
