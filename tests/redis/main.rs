//! Jobs in Redis, seen from both sides: what we and Debian's gearmand write, the other can read.

#![cfg(feature = "redis")]
#![allow(clippy::unwrap_used, reason = "in a test a panic is the report")]

#[path = "../support/mod.rs"]
mod support;

mod gearmand;

use std::time::Instant;

use gearshard::queue::job::Priority;
use gearshard::storage::rows::redis::Redis as Engine;
use gearshard::storage::rows::{Engine as _, EngineError, Key, Row};
use support::redis::Redis;
use support::rows::{key, row};
use support::{DEADLINE, wait_until};

fn engine(redis: &Redis) -> Engine {
    Engine::open("127.0.0.1", redis.port(), "", "_gear_").unwrap()
}

/// Every row, and what is told of the bad ones.
fn read(engine: &mut Engine) -> (Vec<Row<'static>>, Vec<(String, String)>) {
    let (mut rows, mut bad) = (Vec::new(), Vec::new());
    engine
        .read(&mut |found| match found {
            Ok(row) => rows.push(row),
            Err(found) => bad.push((found.row, found.what)),
        })
        .unwrap();
    (rows, bad)
}

fn rows(redis: &Redis) -> Vec<Row<'static>> {
    let (rows, bad) = read(&mut engine(redis));
    assert_eq!(bad, []);
    rows
}

/// Every byte there is, and the data of a hash that Redis no longer keeps in order.
fn all_bytes() -> Vec<u8> {
    (0..=255).cycle().take(1000).collect()
}

#[test]
fn every_byte_and_time_and_the_order_survive_a_kill() {
    let mut redis = Redis::start(&[]);
    let mut jobs: Vec<Row<'_>> =
        (0..300).map(|n| row(["a", "b-c", ""][n % 3], &format!("{n}"), b"data")).collect();
    jobs[0].function = all_bytes()[..256].to_vec().into();
    jobs[1].key = all_bytes()[..64].to_vec().into();
    jobs[2].data = all_bytes().into();
    jobs[3].data = b"".as_slice().into();
    jobs[4].key = b"".as_slice().into();
    jobs[5].not_before_s = u64::MAX;
    for (n, job) in jobs.iter_mut().enumerate() {
        job.priority = Priority::FROM_HIGH[n % 3];
    }
    let mut one = engine(&redis);
    one.apply(&jobs[..100], &[]).unwrap();
    one.apply(&jobs[100..200], &[]).unwrap();
    engine(&redis).apply(&jobs[200..], &[]).unwrap();
    redis.kill();
    redis.restart();
    assert_eq!(rows(&redis), jobs);
    let gone: Vec<Key> = jobs.iter().take(250).map(key).collect();
    engine(&redis).apply(&[], &gone).unwrap();
    redis.kill();
    redis.restart();
    assert_eq!(rows(&redis), jobs[250..]);
    let gone: Vec<Key> = jobs.iter().map(key).collect();
    engine(&redis).apply(&[], &gone).unwrap();
    assert_eq!(redis.keys(), [""; 0], "nothing is left behind");
}

#[test]
fn a_batch_that_is_done_again_changes_nothing_and_new_data_takes_the_place_of_old() {
    let redis = Redis::start(&[]);
    let mut one = engine(&redis);
    let jobs = [row("f", "1", b"one"), row("f", "2", b"two"), row("a-b", "c", b"three")];
    for _ in 0..2 {
        one.apply(&jobs, &[key(&row("f", "0", b""))]).unwrap();
        assert_eq!(rows(&redis), jobs);
    }
    let changed = [row("f", "1", b"other"), row("a-b", "c", b"another")];
    one.apply(&changed, &[key(&jobs[1])]).unwrap();
    assert_eq!(rows(&redis), changed);
}

#[test]
fn jobs_whose_keys_would_be_the_same_are_kept_apart() {
    let redis = Redis::start(&[]);
    let (one, other) = (row("a-b", "c", b"one"), row("a", "b-c", b"other"));
    let again = [row("a", "b-c-d", b"1"), row("a-b", "c-d", b"2")];
    for pair in [[one.clone(), other.clone()], [other.clone(), one.clone()], again] {
        for batches in [vec![&pair[..]], vec![&pair[..1], &pair[1..]]] {
            for left in [0, 1] {
                let mut engine = engine(&redis);
                for batch in &batches {
                    engine.apply(batch, &[]).unwrap();
                }
                assert_eq!(rows(&redis), pair);
                engine.apply(&[], &[key(&pair[1 - left])]).unwrap();
                assert_eq!(rows(&redis), pair[left..=left]);
                // It stays one job when it is put in once more, though gearmand's key is free for it.
                engine.apply(&pair[left..=left], &[]).unwrap();
                assert_eq!(rows(&redis), pair[left..=left]);
                engine.apply(&[], &[key(&pair[left])]).unwrap();
                assert_eq!(redis.keys(), [""; 0]);
            }
        }
    }
    // Nor does the end of one that is not there end the other, whoever wrote it.
    redis.cli(&["hmset", "_gear_-a-b-c", "data", "x", "priority", "1"]);
    engine(&redis).apply(&[], &[key(&one)]).unwrap();
    assert_eq!(rows(&redis), [row("a", "b-c", b"x")]);
    engine(&redis).apply(std::slice::from_ref(&one), &[]).unwrap();
    assert_eq!(rows(&redis), [row("a", "b-c", b"x"), one]);
    engine(&redis).apply(&[], &[key(&other)]).unwrap();
    assert_eq!(redis.keys(), ["_gear_-a-b-c=3", "gearshard:_gear_"]);
}

#[test]
fn no_choice_of_names_takes_the_key_of_another_job() {
    let redis = Redis::start(&[]);
    let mut engine = engine(&redis);
    // The last one's unique makes gearmand's key what the second one gets instead of its own.
    let jobs = [row("a-b", "c", b"one"), row("a", "b-c", b"two"), row("a", "b-c=1", b"three")];
    engine.apply(&jobs[..2], &[]).unwrap();
    engine.apply(&jobs[2..], &[]).unwrap();
    assert_eq!(rows(&redis), jobs);
    for left in [1, 2] {
        engine.apply(&[], &[key(&jobs[left - 1])]).unwrap();
        assert_eq!(rows(&redis), jobs[left..]);
    }
    // In this order the third one has its own key, and both of the second one are taken.
    engine.apply(&[], &[key(&jobs[2])]).unwrap();
    engine.apply(&[jobs[0].clone(), jobs[2].clone()], &[]).unwrap();
    let error = engine.apply(&jobs[1..2], &[]).unwrap_err();
    assert!(matches!(error, EngineError::Refused(_)), "{error}");
    engine.apply(&[], &[key(&jobs[1])]).unwrap();
    assert_eq!(rows(&redis), [jobs[0].clone(), jobs[2].clone()]);
}

#[test]
fn what_is_no_job_is_told_and_left_alone() {
    let redis = Redis::start(&[]);
    let bad = [
        (vec!["hset", "_gear_-f-1", "priority", "1"], "it has no field data"),
        (vec!["hset", "_gear_-f-2", "data", "x"], "it has no field priority"),
        (vec!["hset", "_gear_-f-3", "data", "x", "priority", "3"], "its priority is not 0, 1 or 2"),
        (vec!["hset", "_gear_-f-4", "data", "x", "priority", "one"], "its priority is not 0, 1 or 2"),
        (vec!["rpush", "_gear_-f-5", "x"], "it is neither a hash nor a string"),
        (
            vec!["hset", "_gear_-f", "data", "x", "priority", "1"],
            "its key does not have the form prefix-function-unique",
        ),
    ];
    bad.iter().for_each(|(command, _)| drop(redis.cli(command)));
    // Of others, though their keys begin like ours.
    redis.cli(&["set", "_gear_", "x"]);
    redis.cli(&["set", "_gear_2-f-1", "x"]);
    let good = row("f", "6", b"good");
    engine(&redis).apply(std::slice::from_ref(&good), &[]).unwrap();
    let before = redis.keys();
    let (found, mut told) = read(&mut engine(&redis));
    assert_eq!(found, [good]);
    told.sort();
    let mut expected: Vec<_> =
        bad.iter().map(|(command, what)| (format!("key {}", command[1]), (*what).to_owned())).collect();
    expected.sort();
    assert_eq!(told, expected);
    assert_eq!(redis.keys(), before);
}

#[test]
fn glob_characters_in_a_prefix_are_letters() {
    let redis = Redis::start(&[]);
    for prefix in ["p*", "p?", "[p]", "p\\", "pp", "gearshard:", ""] {
        let mut engine = Engine::open("127.0.0.1", redis.port(), "", prefix).unwrap();
        let job = row("f", "1", prefix.as_bytes());
        engine.apply(std::slice::from_ref(&job), &[]).unwrap();
        assert_eq!(read(&mut engine), (vec![job], Vec::new()), "{prefix}");
    }
}

#[test]
fn many_and_large_jobs_are_read_back_in_order() {
    let redis = Redis::start(&[]);
    let large = vec![7; 3 << 20];
    let jobs: Vec<Row<'_>> =
        (0..5000).map(|n| row("f", &format!("{n}-u"), if n % 1000 == 999 { &large } else { b"x" })).collect();
    let mut engine = engine(&redis);
    engine.apply(&jobs, &[]).unwrap();
    assert!(rows(&redis) == jobs, "5000 jobs");
    let gone: Vec<Key> = jobs.iter().map(key).collect();
    engine.apply(&[], &gone).unwrap();
    assert_eq!(redis.keys(), [""; 0]);
}

#[test]
fn a_password_is_given_and_a_wrong_one_is_told() {
    let redis = Redis::start(&["--requirepass", "secret"]);
    let open = |password| Engine::open("127.0.0.1", redis.port(), password, "_gear_");
    let mut engine = open("secret").unwrap();
    engine.apply(&[row("f", "1", b"x")], &[]).unwrap();
    for (password, expected) in [("", "NOAUTH"), ("wrong", "assword")] {
        let error = open(password).unwrap_err().to_string();
        assert!(error.contains(expected) && error.contains("127.0.0.1"), "{error}");
    }
}

#[test]
fn a_server_that_is_gone_is_lost_and_used_again_when_it_is_back() {
    let mut redis = Redis::start(&[]);
    let mut engine = engine(&redis);
    let jobs = [row("f", "1", b"x"), row("f-g", "2", b"x")];
    redis.kill();
    for _ in 0..2 {
        let error = engine.apply(&jobs, &[]).unwrap_err();
        assert!(matches!(error, EngineError::Lost(_)), "{error}");
    }
    assert!(matches!(engine.connect(), Err(EngineError::Lost(_))));
    redis.restart();
    engine.connect().unwrap();
    engine.apply(&jobs, &[]).unwrap();
    assert_eq!(rows(&redis), jobs);
    // One that hangs is waited for, but not for long.
    redis.process().signal("STOP");
    let start = Instant::now();
    assert!(matches!(engine.apply(&[], &[key(&jobs[0])]), Err(EngineError::Lost(_))));
    assert!(matches!(engine.connect(), Err(EngineError::Lost(_))));
    assert!(start.elapsed() < DEADLINE / 2);
    redis.process().signal("CONT");
    wait_until("it answers again", || engine.connect().is_ok());
    engine.apply(&[], &[key(&jobs[0])]).unwrap();
    assert_eq!(rows(&redis), jobs[1..]);
}

#[test]
fn a_server_without_memory_or_leave_refuses_and_changes_nothing() {
    let redis = Redis::start(&[]);
    let mut engine = engine(&redis);
    let kept = row("f", "1", b"x");
    engine.apply(std::slice::from_ref(&kept), &[]).unwrap();
    redis.cli(&["config", "set", "maxmemory", "1"]);
    let error = engine.apply(&[row("f", "2", b"x")], &[key(&kept)]).unwrap_err();
    assert!(matches!(&error, EngineError::Refused(what) if what.contains("OOM")), "{error}");
    // What ends jobs needs no memory.
    engine.apply(&[], &[key(&row("f", "3", b"x"))]).unwrap();
    redis.cli(&["config", "set", "maxmemory", "0"]);
    assert_eq!(rows(&redis), std::slice::from_ref(&kept));
    redis.cli(&["acl", "setuser", "default", "-hmset"]);
    let error = engine.apply(&[row("f", "2", b"x")], &[key(&kept)]).unwrap_err();
    assert!(matches!(&error, EngineError::Refused(what) if what.contains("NOPERM")), "{error}");
    assert_eq!(rows(&redis), [kept]);
}

#[test]
fn settings_that_make_jobs_less_safe_are_told() {
    let redis = Redis::start(&[]);
    let mut engine = engine(&redis);
    assert_eq!(engine.warnings().unwrap(), [""; 0]);
    redis.cli(&["config", "set", "maxmemory", "1gb"]);
    redis.cli(&["config", "set", "maxmemory-policy", "allkeys-lru"]);
    redis.cli(&["config", "set", "appendfsync", "everysec"]);
    let told = engine.warnings().unwrap();
    assert!(told[0].contains("appendfsync everysec") && told[1].contains("allkeys-lru"), "{told:?}");
    redis.cli(&["config", "set", "appendonly", "no"]);
    let told = engine.warnings().unwrap();
    assert!(told[0].contains("appendonly off") && told.len() == 2, "{told:?}");
    redis.cli(&["acl", "setuser", "default", "-config"]);
    let told = engine.warnings().unwrap();
    assert!(told.len() == 1 && told[0].contains("does not say"), "{told:?}");
    assert_eq!(read(&mut engine), (Vec::new(), Vec::new()));
}
