//! A whole farm in one process: server, worker and client.
//!
//! `cargo run --example embedded`

#![allow(clippy::print_stdout, reason = "an example shows what happens")]

use gearshard::client::{Client, Job, Worker};
use gearshard::server::{Listen, Options, Server};
use std::error::Error;

/// Runs the example.
pub fn run() -> Result<String, Box<dyn Error>> {
    // Port 0 takes a free one.
    let listen = vec![Listen::Host { host: "127.0.0.1".to_owned(), port: 0 }];
    let server = Server::bind(Options { listen, shards: 2, ..Options::default() })?;
    let address = server.local_addresses()[0].to_string();
    let control = server.control();
    let serving = std::thread::spawn(move || server.run());

    let worker = Worker::builder_for(&address)?
        .function("shout", |job| Ok(job.workload().to_ascii_uppercase()))
        .start()?;
    let loud = Client::connect(&address)?.run(Job::new("shout", "hello"))?;

    worker.stop();
    worker.join();
    control.stop();
    serving.join().expect("the server does not panic")?;
    Ok(String::from_utf8(loud)?)
}

#[allow(dead_code, reason = "the tests call `run`")]
fn main() -> Result<(), Box<dyn Error>> {
    println!("{}", run()?);
    Ok(())
}
