//! A worker that reverses texts, and a client that has one reversed.
//!
//! Needs a server: `GEARMAN_SERVERS=localhost:4730 cargo run --example reverse`

#![allow(clippy::print_stdout, reason = "an example shows what happens")]

use gearshard::client::{Client, Job, ServerAddress, Worker};
use std::error::Error;

/// Runs the example with these servers.
pub fn run(servers: Vec<ServerAddress>) -> Result<String, Box<dyn Error>> {
    let worker = Worker::builder(servers.clone())
        .function("reverse", |job| {
            // Errors become exceptions, which the client is told of.
            let text = std::str::from_utf8(job.workload())?;
            Ok(text.chars().rev().collect::<String>())
        })
        .start()?;

    let client = Client::builder(servers).build()?;
    let reversed = client.run(Job::new("reverse", "Hello World!"))?;

    worker.stop();
    worker.join();
    Ok(String::from_utf8(reversed)?)
}

#[allow(dead_code, reason = "the tests call `run`")]
fn main() -> Result<(), Box<dyn Error>> {
    println!("{}", run(ServerAddress::from_environment()?)?);
    Ok(())
}
