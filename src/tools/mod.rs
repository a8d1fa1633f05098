//! Tools for a terminal: seeing and steering what runs on any Gearman server.
//!
//! Built upon [`client`](crate::client) alone: what a tool does, a program can do.
//! `ctl` holds `gearctl`, one file for each of its subcommands; `classic` the
//! tools that have been there before, under their own names.

mod classic;
mod ctl;

use std::ffi::{OsStr, OsString};
use std::path::Path;
use std::process::ExitCode;

/// Runs the tool that these arguments ask for; the first is the name that the program was called by.
///
/// A classic tool is meant when the program is called by its name, or has the name as its first argument.
pub fn main_from_args(args: impl Iterator<Item = OsString>) -> ExitCode {
    let args: Vec<OsString> = args.collect();
    for skipped in 0..args.len().min(2) {
        let name = Path::new(&args[skipped]).file_name().and_then(OsStr::to_str).unwrap_or_default();
        if let Some(code) = classic::main(name, args[skipped..].to_vec()) {
            return code;
        }
    }
    ctl::main(args.into_iter())
}
