//! A load generator for any Gearman server.
//!
//! `options` says what to do, a `scenario` does it with the clients and workers
//! of the `engine`, and the `report` tells what came of it. The generator knows
//! the protocol and nothing of any particular server.

mod abort;
mod engine;
mod options;
mod process;
mod report;
mod scenario;

use std::process::ExitCode;

use clap::Parser;

use crate::options::Options;

fn main() -> ExitCode {
    let options = Options::parse();
    match scenario::run(&options).and_then(|report| {
        report.print(options.json())?;
        Ok(report.passed())
    }) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::from(1),
        Err(error) => {
            eprintln!("gearshard-loadgen: {}", error.0);
            ExitCode::from(2)
        }
    }
}
