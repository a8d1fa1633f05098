//! The tools for a terminal, in one binary: `gearctl`, and whatever else it is called as.

use std::process::ExitCode;

fn main() -> ExitCode {
    gearshard::tools::main_from_args(std::env::args_os())
}
