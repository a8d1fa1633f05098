//! Tools for a terminal: seeing and steering what runs on any Gearman server.
//!
//! Built upon [`client`](crate::client) alone: what a tool does, a program can do.
//! `ctl` holds `gearctl`, one file for each of its subcommands.

mod ctl;

use std::ffi::OsString;
use std::process::ExitCode;

/// Runs the tool that these arguments ask for; the first is the name that the program was called by.
pub fn main_from_args(args: impl Iterator<Item = OsString>) -> ExitCode {
    ctl::main(args)
}
