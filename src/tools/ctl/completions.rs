//! `gearctl completions`: what a shell needs to complete the command line.

use std::io::{self, Write};

use clap::Args;
use clap_complete::Shell;

use super::failure::Failure;

/// Print completions for a shell
///
/// For bash: gearctl completions bash > ~/.local/share/bash-completion/completions/gearctl
#[derive(Args, Debug)]
pub(super) struct Options {
    /// The shell
    shell: Shell,
}

pub(super) fn run(options: &Options, mut command: clap::Command) -> Result<(), Failure> {
    let name = command.get_name().to_owned();
    // `generate` panics where the output cannot be written.
    let mut script = Vec::new();
    clap_complete::generate(options.shell, &mut command, name, &mut script);
    Ok(io::stdout().lock().write_all(&script)?)
}
