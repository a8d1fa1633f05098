//! The tools that people know, under their own names: `gearman` and `gearadmin` of
//! gearmand, `gearman_top` and `check_gearman` of mod_gearman.
//!
//! The first two are drop-ins for those of gearmand 1.1.20: the same flags, the same
//! bytes on both outputs and the same exit codes, odd ones included. What is
//! not the same is listed in `tests/classic_tools/deviations.rs`, each with its reason: where the
//! original crashes, hangs or loses data. The code is our own; what it prints comes from watching
//! Debian's binaries, and for mod_gearman's tools, which Debian 12 lacks, from their published sources.
//! `gearctl` is the tool for new scripts.

mod check_gearman;
mod gearadmin;
mod gearman;
mod gearman_top;
mod getopt;
mod hosts;
mod queues;

use std::ffi::OsString;
use std::process::ExitCode;

/// Runs the tool with this name, if there is one. The first of the arguments is the
/// name that the program was called by, path and all.
pub(super) fn main(name: &str, args: Vec<OsString>) -> Option<ExitCode> {
    let tool = match name {
        "gearman" => gearman::main,
        "gearadmin" => gearadmin::main,
        "gearman_top" => gearman_top::main,
        "check_gearman" => check_gearman::main,
        _ => return None,
    };
    Some(tool(args))
}
