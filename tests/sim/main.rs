//! The simulation: shards, clients, workers and operators under a seeded
//! scheduler, with every rule of `rules.rs` checked as they go.
//!
//! `GEARSHARD_SEEDS` and `GEARSHARD_EVENTS` make it longer (or start at
//! `GEARSHARD_FIRST_SEED`); `GEARSHARD_SEED` tells the story of one seed.

mod ask;
mod client;
mod dead;
mod handed;
mod link;
mod model;
mod options;
mod play;
mod rest;
mod rules;
mod scenarios;
mod store;
mod worker;
mod world;
mod written;

use std::any::Any;
use std::cell::RefCell;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use options::Options;
use play::Play;

/// Events of one seed.
const EVENTS: usize = 1_000;
/// Seeds of a test run, whatever the profile; fewer by `GEARSHARD_SEEDS`.
const SEEDS: u64 = 20_000;
/// A seed takes milliseconds; one that takes this long has no end.
const ENDLESS: Duration = Duration::from_secs(60);
/// Lines of the story that a failure shows.
const LINES: usize = 60;

thread_local! {
    /// Where the last panic of a play came from.
    static LAST_PANIC: RefCell<Option<String>> = const { RefCell::new(None) };
}

fn number_from_env(name: &str) -> Option<u64> {
    let text = std::env::var(name).ok()?;
    Some(text.parse().unwrap_or_else(|_| panic!("{name} is not a number: {text}")))
}

fn message_of(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().cloned();
    text.or_else(|| panic.downcast_ref::<&str>().map(|&text| text.to_owned())).unwrap_or_default()
}

/// Plays one seed; its story if it was to be told, and what broke.
fn play(seed: u64, events: usize, told: bool) -> (Vec<String>, Result<u64, String>) {
    let mut play = Play::new(Options::of(seed, events), told);
    let outcome = catch_unwind(AssertUnwindSafe(|| play.run()));
    let story = play.world.model.story.take().unwrap_or_default();
    let assigned = play.world.model.assigned;
    (
        story,
        outcome.map(|()| assigned).map_err(|panic| {
            let place = LAST_PANIC.with_borrow_mut(Option::take).unwrap_or_default();
            format!("{} (at {place})", message_of(&*panic))
        }),
    )
}

/// Panics are caught and told with their seed; their place is kept for that.
fn keep_panics_quiet() {
    std::panic::set_hook(Box::new(|info| {
        if std::thread::current().name() == Some("play") {
            let place = info.location().map(ToString::to_string);
            LAST_PANIC.with_borrow_mut(|last| *last = place);
        } else {
            eprintln!("{info}");
        }
    }));
}

/// Plays one seed on its own and tells the last of its story if it fails.
fn replay(seed: u64, events: usize) -> Result<(), String> {
    std::thread::Builder::new()
        .name("play".to_owned())
        .spawn(move || {
            let (story, outcome) = play(seed, events, true);
            outcome.map(|_| ()).map_err(|broken| {
                let all = std::env::var_os("GEARSHARD_SEED").is_some();
                let from = if all { 0 } else { story.len().saturating_sub(LINES) };
                format!(
                    "{}\n{:#?}\n\nseed {seed} broke a rule: {broken}\nto see all of it: \
                     GEARSHARD_SEED={seed} GEARSHARD_EVENTS={events} cargo test --release --test sim replay -- --nocapture\n",
                    story[from..].join("\n"),
                    Options::of(seed, events)
                )
            })
        })
        .expect("a thread can be started")
        .join()
        .expect("panics of a play are caught")
}

/// A shard that talks to itself for ever cannot be stopped from outside: says
/// which seed it was and ends the process.
fn give_up_on_endless(on: &[Option<(u64, Instant)>], events: usize) {
    let most = ENDLESS * u32::try_from(1 + events / 10_000).unwrap_or(u32::MAX);
    for (seed, since) in on.iter().flatten() {
        if since.elapsed() > most {
            eprintln!(
                "\nseed {seed} broke a rule: [QuietComes] a shard does not come back from a call\nto see it: \
                 GEARSHARD_SEED={seed} GEARSHARD_EVENTS={events} cargo test --release --test sim replay -- --nocapture"
            );
            std::process::exit(101);
        }
    }
}

#[test]
fn every_rule_holds_in_every_seed() {
    keep_panics_quiet();
    let seeds = number_from_env("GEARSHARD_SEEDS").unwrap_or(SEEDS);
    let events =
        number_from_env("GEARSHARD_EVENTS").map_or(EVENTS, |events| usize::try_from(events).unwrap());
    let first = number_from_env("GEARSHARD_FIRST_SEED").unwrap_or(0);
    let threads = std::thread::available_parallelism().map_or(1, usize::from).min(8);
    let (next, failed, assigned) = (AtomicU64::new(first), AtomicU64::new(u64::MAX), AtomicU64::new(0));
    let stop = AtomicBool::new(false);
    let on = Mutex::new(vec![None; threads]);
    std::thread::scope(|scope| {
        let mut plays = Vec::new();
        for thread in 0..threads {
            let (next, failed, assigned, stop, on) = (&next, &failed, &assigned, &stop, &on);
            let run = move || {
                while !stop.load(Ordering::Relaxed) {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= first + seeds {
                        break;
                    }
                    on.lock().unwrap()[thread] = Some((seed, Instant::now()));
                    match play(seed, events, false).1 {
                        Ok(count) => assigned.fetch_add(count, Ordering::Relaxed),
                        Err(_) => {
                            stop.store(true, Ordering::Relaxed);
                            failed.fetch_min(seed, Ordering::Relaxed)
                        }
                    };
                }
                on.lock().unwrap()[thread] = None;
            };
            plays.push(std::thread::Builder::new().name("play".to_owned()).spawn_scoped(scope, run).unwrap());
        }
        while plays.iter().any(|play| !play.is_finished()) {
            std::thread::sleep(Duration::from_millis(20));
            give_up_on_endless(&on.lock().unwrap(), events);
        }
    });
    let failed = failed.into_inner();
    if failed != u64::MAX {
        let told = replay(failed, events).expect_err("a seed fails every time");
        panic!("{told}");
    }
    let assigned = assigned.into_inner();
    eprintln!("{seeds} seeds of {events} events, {assigned} assignments");
    assert!(assigned > seeds, "a simulation in which hardly anything runs shows nothing");
}

#[test]
fn replay_one_seed() {
    let Some(seed) = number_from_env("GEARSHARD_SEED") else { return };
    keep_panics_quiet();
    let events =
        number_from_env("GEARSHARD_EVENTS").map_or(EVENTS, |events| usize::try_from(events).unwrap());
    if let Err(told) = replay(seed, events) {
        panic!("{told}");
    }
}

/// Seeds that once showed something, by what they showed.
#[test]
fn found_seeds_hold() {
    keep_panics_quiet();
    let found = [
        ("a job held back behind another reply is lost before it is sent", 685),
        ("a job out of time comes back to its worker, which has just left", 504_637),
        ("a worker goes on with a job that it has lost and got again", 10_441),
        ("a job is made known after an assignment of it went astray", 2_824),
    ];
    for (what, seed) in found {
        if let Err(told) = replay(seed, EVENTS) {
            panic!("{what}: {told}");
        }
    }
}
