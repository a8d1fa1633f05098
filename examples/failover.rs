//! Several servers: the worker serves all of them, and jobs whose server goes
//! are submitted to the next one.
//!
//! Start two servers, run this, and stop and start one of them meanwhile:
//! `GEARMAN_SERVERS=localhost:4730,localhost:4731 cargo run --example failover`

#![allow(clippy::print_stdout, reason = "an example shows what happens")]

use gearshard::client::{Client, Job, OnLoss, ServerAddress, Spread, Worker};
use std::error::Error;
use std::time::Duration;

/// Runs the example with these servers and so many jobs.
pub fn run(servers: Vec<ServerAddress>, jobs: u64) -> Result<u64, Box<dyn Error>> {
    let _worker = Worker::builder(servers.clone())
        .concurrency(2)
        .reconnect(Duration::from_millis(50), Duration::from_secs(5))
        .on_notice(|notice| println!("worker: {notice}"))
        .function("square", |job| {
            let number: u64 = std::str::from_utf8(job.workload())?.parse()?;
            Ok((number * number).to_string())
        })
        .start()?;

    let client = Client::builder(servers)
        // The job's unique decides on the server, so that jobs coalesce whoever submits them.
        .spread(Spread::ByUnique)
        .on_loss(OnLoss::Resubmit(100))
        // When no server answers, try for a minute before giving up.
        .patience(Duration::from_secs(60))
        .build()?;
    let squares = (0..jobs).map(|number| Job::new("square", number.to_string()).unique(number.to_string()));
    let mut sum = 0;
    for (_, result) in client.run_all(squares, 10) {
        sum += String::from_utf8(result?)?.parse::<u64>()?;
    }
    Ok(sum)
}

#[allow(dead_code, reason = "the tests call `run`")]
fn main() -> Result<(), Box<dyn Error>> {
    let sum = run(ServerAddress::from_environment()?, 1_000_000)?;
    println!("the sum of all squares below a million squared is {sum}");
    Ok(())
}
