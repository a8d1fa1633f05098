//! A load generator for any Gearman server.
//!
//! `options` says what to do, a `scenario` does it with the clients and workers
//! of the `engine`, and the `report` tells what came of it. The generator knows
//! the protocol and nothing of any particular server.

mod abort;
mod compare;
mod engine;
mod neighbour;
mod options;
mod process;
mod relay;
mod report;
mod scenario;
mod server;

use std::process::ExitCode;

use clap::Parser;

use crate::abort::Abort;
use crate::options::{CommandLine, Program, Scenario};

fn main() -> ExitCode {
    let outcome = match CommandLine::parse().program {
        Program::Load(scenario) => load(&scenario),
        Program::Report(options) => report::stored::show(&options),
        Program::Relay(options) => relay::run(&options).map(|()| true),
        Program::Compare(options) => compare::run(&options),
    };
    match outcome {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::from(1),
        Err(error) => {
            eprintln!("gearshard-loadgen: {}", error.0);
            ExitCode::from(2)
        }
    }
}

fn load(scenario: &Scenario) -> Result<bool, Abort> {
    let output = &scenario.named().1.common().output;
    output.check()?;
    let report = scenario::run(scenario)?;
    let passed = report.passed();
    output.write(&[(report.server.clone(), vec![report])])?;
    Ok(passed)
}
