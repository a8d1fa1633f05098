//! The fuzz targets on a stable compiler: a fixed corpus, then random inputs.
//!
//! Inputs come from seeds; a failing one is printed and can be run again with
//! `FUZZ_SEED=N`. `FUZZ_INPUTS=N` runs N random inputs for each target.

#![allow(clippy::unwrap_used, reason = "in a test a panic is the report")]
#![allow(clippy::print_stdout, reason = "the report of a run")]

#[path = "fuzz/targets.rs"]
mod targets;

use fastrand::Rng;
use gearshard::protocol::encode::encode;
use gearshard::protocol::packet::{Command, Magic};
use std::path::Path;

type Target = fn(&[u8]);

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|text| text.parse().unwrap_or_else(|_| panic!("{name} is to be a number")))
}

fn corpus() -> Vec<(String, Vec<u8>)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fuzz/corpus_seed");
    let mut files: Vec<_> = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    files.iter().map(|file| (file.display().to_string(), std::fs::read(file).unwrap())).collect()
}

/// Runs the corpus, then `inputs` random inputs: streams of packets and lines
/// that mostly make sense, broken in a few places.
fn run(target: Target, inputs: u64) {
    run_with(target, inputs, stream);
}

fn run_with(target: Target, inputs: u64, stream: fn(&mut Rng) -> Vec<u8>) {
    let corpus = corpus();
    assert!(corpus.len() >= 10, "the corpus is not where it should be");
    for (name, input) in &corpus {
        println!("{name}");
        target(input);
    }
    let seeds = number("FUZZ_SEED").map_or(0..number("FUZZ_INPUTS").unwrap_or(inputs), |seed| seed..seed + 1);
    for seed in seeds {
        let mut rng = Rng::with_seed(seed);
        let mut input = if rng.bool() { stream(&mut rng) } else { rng.choice(&corpus).unwrap().1.clone() };
        for _ in 0..rng.usize(0..4) {
            breakage(&mut rng, &mut input);
        }
        if std::panic::catch_unwind(|| target(&input)).is_err() {
            panic!("FUZZ_SEED={seed} fails: {}", input.escape_ascii());
        }
    }
}

fn stream(rng: &mut Rng) -> Vec<u8> {
    const WORDS: [&[u8]; 16] = [
        b"f",
        b"g",
        b"h",
        b"",
        b"@",
        b"u",
        b"-",
        b"H:f:1",
        b"1",
        b"-5",
        b"99999999999999999999",
        b"exceptions",
        b"1700000001",
        b"\xff\x00",
        b"a b",
        b"4294967296",
    ];
    const LINES: [&[u8]; 12] = [
        b"status",
        b"workers",
        b"show jobs",
        b"show unique jobs",
        b"prioritystatus",
        b"cancel job H:f:1",
        b"maxqueue f 1",
        b"create function x",
        b"drop function x",
        b"drop function h",
        b"a b c d e f",
        b"",
    ];
    let mut bytes = Vec::new();
    for _ in 0..rng.usize(1..20) {
        if rng.usize(0..8) == 0 {
            bytes.extend(*rng.choice(&LINES).unwrap());
            bytes.push(b'\n');
            continue;
        }
        let command = *rng.choice(Command::ALL).unwrap();
        let mut args: Vec<&[u8]> = (0..command.argc()).map(|_| *rng.choice(&WORDS).unwrap()).collect();
        // A result is mostly for a job that the connection has.
        if command.name().starts_with("WORK_") && rng.usize(0..4) > 0 {
            args[0] = b"@";
        }
        let long = vec![b'x'; rng.usize(0..300)];
        let data: &[u8] = if !command.has_data() {
            b""
        } else if rng.bool() {
            b"data"
        } else {
            &long
        };
        let magic = if rng.usize(0..30) == 0 { Magic::Response } else { Magic::Request };
        encode(&mut bytes, magic, command, &args, data);
    }
    bytes
}

/// What a server might say to clients and workers, after the byte that says how it is cut.
fn answers(rng: &mut Rng) -> Vec<u8> {
    use Command::{
        EchoRes, Error, JobAssign, JobAssignAll, JobAssignUniq, JobCreated, NoJob, Noop, OptionRes,
        StatusRes, StatusResUnique, WorkComplete, WorkData, WorkException, WorkFail, WorkStatus, WorkWarning,
    };
    const TO_CLIENTS: [Command; 11] = [
        JobCreated,
        JobCreated,
        JobCreated,
        JobCreated,
        EchoRes,
        StatusRes,
        StatusResUnique,
        OptionRes,
        Error,
        WorkData,
        WorkComplete,
    ];
    const WORK: [Command; 6] = [WorkData, WorkWarning, WorkStatus, WorkComplete, WorkFail, WorkException];
    const TO_WORKERS: [Command; 7] =
        [JobAssign, JobAssignUniq, JobAssignAll, NoJob, Noop, Error, JobAssignUniq];
    const WORDS: [&[u8]; 7] = [b"H:f:1", b"H:f:1", b"H:f:2", b"", b"1", b"99999999999999999999", b"-5"];
    let mut bytes = vec![rng.u8(..)];
    let to_worker = rng.bool();
    // Mostly in the order in which it was asked.
    let due = TO_CLIENTS.iter().take(8).map(Some).chain(std::iter::repeat(None));
    for due in due.take(rng.usize(1..24)) {
        let command = match (to_worker, due) {
            (true, _) => *rng.choice(&TO_WORKERS).unwrap(),
            (false, Some(&due)) if rng.usize(0..8) > 0 => due,
            (false, _) if rng.bool() => *rng.choice(&WORK).unwrap(),
            (false, _) => *rng.choice(&TO_CLIENTS).unwrap(),
        };
        let args: Vec<&[u8]> = (0..command.argc()).map(|_| *rng.choice(&WORDS).unwrap()).collect();
        let data: &[u8] = if command.has_data() { b"data" } else { b"" };
        encode(&mut bytes, Magic::Response, command, &args, data);
    }
    bytes
}

fn breakage(rng: &mut Rng, input: &mut Vec<u8>) {
    if input.is_empty() {
        return input.push(rng.u8(..));
    }
    let at = rng.usize(0..input.len());
    match rng.usize(0..5) {
        0 => input[at] ^= 1 << rng.u8(0..8),
        1 => input[at] = rng.u8(..),
        2 => input.truncate(at),
        3 => drop(input.drain(at..(at + rng.usize(1..16)).min(input.len()))),
        _ => {
            let part: Vec<u8> = input[at..(at + rng.usize(1..64)).min(input.len())].to_vec();
            input.splice(at..at, part);
        }
    }
}

#[test]
fn the_decoder_survives_anything() {
    run(targets::decoder, 200_000);
}

#[test]
fn a_server_may_answer_anything() {
    run_with(targets::answers, 100_000, answers);
}

#[test]
fn an_admin_line_may_be_anything() {
    run(targets::line, 200_000);
}

#[test]
fn a_connection_may_send_anything_to_a_shard() {
    run(targets::connection, 20_000);
}
