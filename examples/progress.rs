//! A long job tells how far it has got, warns, and sends its result in parts.
//!
//! Needs a server: `GEARMAN_SERVERS=localhost:4730 cargo run --example progress`

#![allow(clippy::print_stdout, reason = "an example shows what happens")]

use gearshard::client::{Client, Job, JobError, ServerAddress, Update, Worker};
use std::error::Error;

/// Runs the example with these servers; `show` is given a line for each update.
pub fn run(servers: Vec<ServerAddress>, mut show: impl FnMut(String)) -> Result<String, Box<dyn Error>> {
    let _worker = Worker::builder(servers.clone())
        .function("primes", |job| {
            let limit: u32 = std::str::from_utf8(job.workload())?.parse()?;
            if limit > 1000 {
                job.warning("this may take long")?;
            }
            for number in 2..=limit {
                if (2..number).all(|divisor| number % divisor != 0) {
                    // Sent at once: the client need not wait for the end.
                    job.data(format!("{number} "))?;
                }
                if number % (limit / 4).max(1) == 0 {
                    job.progress(number, limit)?;
                }
                if job.is_stopping() {
                    // Another worker begins anew.
                    return Err(JobError::Retry);
                }
            }
            Ok("")
        })
        .start()?;

    let client = Client::builder(servers).build()?;
    let mut primes = Vec::new();
    for update in client.submit(Job::new("primes", "2000"))? {
        match update? {
            Update::Created(handle) => show(format!("the server calls it {handle}")),
            Update::Progress { numerator, denominator } => show(format!("{numerator} of {denominator}")),
            Update::Warning(text) => show(format!("warning: {}", String::from_utf8_lossy(&text))),
            Update::Data(part) | Update::Complete(part) => primes.extend(part),
            // The connection went, and the job runs again.
            Update::Restarted => primes.clear(),
            _ => {}
        }
    }
    Ok(String::from_utf8(primes)?)
}

#[allow(dead_code, reason = "the tests call `run`")]
fn main() -> Result<(), Box<dyn Error>> {
    let primes = run(ServerAddress::from_environment()?, |line| println!("{line}"))?;
    println!("{primes}");
    Ok(())
}
