//! Random scripts, played to gearmand 1.1.20 and to us: both must answer alike.
//!
//! A script is made up from a seed while it is played. Where the two differ, it
//! is cut down to what is needed and printed with both outputs. Differences
//! that are meant are listed, with a reason each, in [`exceptions`].
//!
//! `DIFFERENTIAL_SCRIPTS=N` plays N scripts, `DIFFERENTIAL_SEED=S` only that one.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
#![allow(clippy::print_stdout, reason = "the report of a run")]
#![allow(unreachable_pub, reason = "a test file is a crate of its own and exports nothing")]

#[path = "../support/mod.rs"]
mod support;

mod exceptions;
mod generate;
mod illegal;
mod model;
mod pair;
mod reply;
mod script;
mod shrink;

use exceptions::Exception;
use gearshard::protocol::packet::Command;
use generate::Generator;
use pair::{Pair, Trouble};
use script::Step;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use support::Kind;

/// Scripts after which a pair of servers is replaced: functions never go away,
/// and lists of all of them get long.
const SCRIPTS_PER_PAIR: u64 = 100;

/// More steps than any script takes.
const STEPS_MAX: usize = 1000;

/// How a pair of servers is set up.
#[derive(Clone, Copy, Debug)]
struct Setup {
    kind: Kind,
    shards: usize,
    attempts_max: Option<u32>,
}

impl Setup {
    // The seed says how, so that it is all that a replay needs.
    fn of(kind: Kind, block: u64) -> Self {
        let shards = if block.is_multiple_of(2) { 1 } else { 3 };
        let attempts_max = if block % 4 < 2 { None } else { Some(2) };
        Self { kind, shards, attempts_max }
    }

    fn start(self) -> Pair {
        let retries = self.attempts_max.map(|attempts| format!("--job-retries={attempts}"));
        Pair::start(self.kind, self.shards, &retries.iter().map(String::as_str).collect::<Vec<_>>())
    }
}

/// A script that did not go well.
struct Failure {
    seed: u64,
    name: String,
    setup: Setup,
    steps: Vec<Step>,
    trouble: Trouble,
}

/// Makes up and plays the script of `seed`.
fn play(pair: &mut Pair, setup: Setup, seed: u64) -> Result<usize, Failure> {
    let name = format!("s{seed}.");
    pair.begin(&name);
    let mut generator = Generator::new(seed, &name, setup.attempts_max);
    let mut steps = Vec::new();
    while let Some(step) = generator.next() {
        steps.push(step.clone());
        assert!(steps.len() < STEPS_MAX, "script {seed} does not end: {:#?}", &steps[steps.len() - 5..]);
        match pair.play(&step) {
            Ok(told) => generator.observe(&step, &told),
            Err(trouble) => return Err(Failure { seed, name, setup, steps, trouble }),
        }
    }
    Ok(steps.len())
}

/// Plays scripts with seeds from 0 to `scripts` and returns how many steps that took.
fn play_all(kind: Kind, scripts: u64) -> u64 {
    let blocks = AtomicU64::new(0);
    let steps = AtomicU64::new(0);
    let lost = AtomicU64::new(0);
    let failure = Mutex::new(None);
    std::thread::scope(|scope| {
        for _ in 0..std::thread::available_parallelism().map_or(2, usize::from).min(4) {
            scope.spawn(|| {
                loop {
                    let block = blocks.fetch_add(1, Ordering::Relaxed);
                    let first = block * SCRIPTS_PER_PAIR;
                    if first >= scripts || failure.lock().unwrap().is_some() {
                        return;
                    }
                    let setup = Setup::of(kind, block);
                    let mut pair = setup.start();
                    for seed in first..scripts.min(first + SCRIPTS_PER_PAIR) {
                        match play(&mut pair, setup, seed) {
                            Ok(played) => {
                                steps.fetch_add(played as u64, Ordering::Relaxed);
                            }
                            // She dies of some packets. We are to find out of which, but it is not our defect.
                            Err(Failure { trouble: Trouble::Reference(what), steps, .. }) => {
                                eprintln!(
                                    "gearmand did not survive script {seed}: {what}; last: {:?}",
                                    steps.last()
                                );
                                lost.fetch_add(1, Ordering::Relaxed);
                                pair = setup.start();
                            }
                            Err(found) => {
                                failure.lock().unwrap().get_or_insert(found);
                                return;
                            }
                        }
                    }
                }
            });
        }
    });
    if let Some(failure) = failure.into_inner().unwrap() {
        panic!("{}", shrink::report(failure));
    }
    assert!(lost.into_inner() <= scripts / 1000, "gearmand dies too often for the scripts to mean much");
    steps.into_inner()
}

/// What servers say; a thousand scripts bring all of it about.
const ANSWERS: [Command; 17] = [
    Command::Noop,
    Command::JobCreated,
    Command::NoJob,
    Command::JobAssign,
    Command::WorkStatus,
    Command::WorkComplete,
    Command::WorkFail,
    Command::EchoRes,
    Command::Error,
    Command::StatusRes,
    Command::WorkException,
    Command::OptionRes,
    Command::WorkData,
    Command::WorkWarning,
    Command::JobAssignUniq,
    Command::JobAssignAll,
    Command::StatusResUnique,
];

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|text| text.parse().unwrap_or_else(|_| panic!("{name} is to be a number")))
}

#[test]
fn the_reference_agrees_with_itself() {
    let steps = play_all(Kind::Gearmand, number("DIFFERENTIAL_SCRIPTS").unwrap_or(200));
    println!("gearmand agreed with itself over {steps} steps");
}

#[test]
fn both_servers_answer_random_scripts_alike() {
    if let Some(seed) = number("DIFFERENTIAL_SEED") {
        let setup = Setup::of(Kind::Gearshard, seed / SCRIPTS_PER_PAIR);
        if let Err(failure) = play(&mut setup.start(), setup, seed) {
            panic!("{}", shrink::report(failure));
        }
        return;
    }
    let scripts = number("DIFFERENTIAL_SCRIPTS").unwrap_or(10_000);
    let steps = play_all(Kind::Gearshard, scripts);
    let unheard: Vec<&str> =
        ANSWERS.iter().filter(|answer| !reply::heard(**answer)).map(|answer| answer.name()).collect();
    assert!(scripts < 1000 || unheard.is_empty(), "no script brought about {unheard:?}");
    println!("{scripts} scripts, {steps} steps: both servers answered alike, but for what is meant:");
    for exception in Exception::ALL {
        println!("  {:6} x {exception}", exception.times());
    }
}
