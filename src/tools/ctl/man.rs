//! `gearctl man`: manual pages.

use std::io::{self, Write};
use std::path::PathBuf;

use clap::Args;
use clap_mangen::Man;

use super::failure::Failure;

/// Print the manual page, or write the pages of all subcommands to a directory
#[derive(Args, Debug)]
pub(super) struct Options {
    /// Write gearctl.1, gearctl-submit.1... to this directory
    #[arg(long, value_name = "DIRECTORY")]
    dir: Option<PathBuf>,
}

pub(super) fn run(options: &Options, command: clap::Command) -> Result<(), Failure> {
    if let Some(dir) = &options.dir {
        let unwritten =
            |error: io::Error| Failure::Usage(format!("cannot write to {}: {error}", dir.display()));
        std::fs::create_dir_all(dir).map_err(unwritten)?;
        return clap_mangen::generate_to(command, dir).map_err(unwritten);
    }
    let mut page = Vec::new();
    Man::new(command).render(&mut page)?;
    Ok(io::stdout().lock().write_all(&page)?)
}
