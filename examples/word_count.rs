//! Map/reduce: a text is split into lines, their words are counted wherever
//! there are workers, and the counts become one list.
//!
//! Needs a server: `GEARMAN_SERVERS=localhost:4730 cargo run --example word_count`

#![allow(clippy::print_stdout, reason = "an example shows what happens")]

use gearshard::client::{Client, Job, JobError, MapReduce, ServerAddress, Worker};
use std::collections::BTreeMap;
use std::error::Error;

const TEXT: &str = "\
The Worm swallowed the Job,
and the Job was done,
and the Worm was done with the Job.";

/// `word count` a line, in the order of the words.
fn list(counts: &BTreeMap<String, u64>) -> String {
    counts.iter().map(|(word, count)| format!("{word} {count}\n")).collect()
}

fn count(text: &str) -> BTreeMap<String, u64> {
    let mut counts = BTreeMap::new();
    for word in text.split(|letter: char| !letter.is_alphanumeric()).filter(|word| !word.is_empty()) {
        *counts.entry(word.to_lowercase()).or_default() += 1;
    }
    counts
}

fn merge(lists: Vec<Vec<u8>>) -> Result<String, JobError> {
    let mut total = BTreeMap::new();
    for part in lists {
        for line in std::str::from_utf8(&part)?.lines() {
            let (word, count) = line.split_once(' ').ok_or_else(|| JobError::exception("no count"))?;
            *total.entry(word.to_owned()).or_default() += count.parse::<u64>()?;
        }
    }
    Ok(list(&total))
}

/// Runs the example with these servers.
pub fn run(servers: Vec<ServerAddress>) -> Result<String, Box<dyn Error>> {
    let client = Client::builder(servers.clone()).build()?;
    let lines = |text: &[u8]| text.split(|&byte| byte == b'\n').map(<[u8]>::to_vec).collect();
    let _splitter = Worker::builder(servers.clone())
        .serve("word count", None, MapReduce::new(client.clone(), lines, merge))
        .start()?;
    let _counters = Worker::builder(servers)
        .concurrency(4)
        .function("word count of a line", |job| Ok(list(&count(std::str::from_utf8(job.workload())?))))
        .start()?;

    let counts = client.run(Job::new("word count", TEXT).reducer("word count of a line"))?;
    Ok(String::from_utf8(counts)?)
}

#[allow(dead_code, reason = "the tests call `run`")]
fn main() -> Result<(), Box<dyn Error>> {
    print!("{}", run(ServerAddress::from_environment()?)?);
    Ok(())
}
