//! Key spaces that change hands between Debian's gearmand and us.

use gearshard::client::{Client, Job};
use gearshard::protocol::packet::Command;
use gearshard::storage::rows::Engine as _;

use super::support::redis::Redis;
use super::support::{Connection, Process, Server, wait_until};
use super::{all_bytes, engine, key, read, row, rows};

fn gearmand(redis: &Redis) -> Server {
    Server::gearmand(&redis.server_args().each_ref().map(String::as_str))
}

#[test]
fn what_gearmand_has_written_is_read() {
    let redis = Redis::start(&[]);
    let mut server = gearmand(&redis);
    let client = Client::connect(&server.address().to_string()).unwrap();
    let large = [b'x'; 1000];
    let submit = |function: &str, unique: &str, data: &[u8]| {
        client.submit_background(Job::new(function, data).unique(unique)).unwrap();
    };
    submit("plain", "1", b"data");
    submit("bytes", "2", &all_bytes());
    submit("large", "3", &large);
    submit("empty", "4", b"");
    submit("dashed", "5-6", b"data");
    let mut tool = super::support::Peers::require().gearman();
    tool.args(["-h", "127.0.0.1", "-p", &server.port().to_string(), "-b", "-L", "-f", "with-hyphen", "low"]);
    Process::run(tool, b"").success();
    server.kill();
    let mut found = rows(&redis);
    found.sort_by(|one, other| one.function.cmp(&other.function));
    let tool = found.pop().unwrap();
    assert_eq!((&tool.function[..], &tool.data[..]), (&b"with-hyphen"[..], &b"low"[..]));
    assert_eq!(tool.key.len(), 36);
    assert_eq!(
        found,
        [
            row("bytes", "2", &all_bytes()),
            row("dashed", "5-6", b"data"),
            row("empty", "4", b""),
            row("large", "3", &large),
            row("plain", "1", b"data"),
        ]
    );
    // And is taken out.
    let gone: Vec<_> = found.iter().chain([&tool]).map(key).collect();
    engine(&redis).apply(&[], &gone).unwrap();
    assert_eq!(redis.keys(), [""; 0]);
}

#[test]
fn entries_of_older_and_newer_versions_are_read() {
    let redis = Redis::start(&[]);
    redis.cli(&["set", "_gear_-string-1-2", "old"]);
    redis.cli(&["hset", "_gear_-a-b-c", "data", "new", "priority", "1", "function", "a-b", "unique", "c"]);
    let expected = [row("a-b", "c", b"new"), row("string", "1-2", b"old")];
    assert_eq!(rows(&redis), expected);
    // Each can be put in again, and taken out.
    engine(&redis).apply(&expected, &[]).unwrap();
    assert_eq!(rows(&redis), expected);
    redis.cli(&["set", "_gear_-string-1-2", "old"]);
    let keys = expected.each_ref().map(key);
    engine(&redis).apply(&[], &keys).unwrap();
    assert_eq!(redis.keys(), [""; 0]);
}

#[test]
fn gearmand_reads_what_we_have_written_and_what_it_ends_is_over() {
    let redis = Redis::start(&[]);
    let mut later = row("later", "4", b"later");
    later.not_before_s = 4_000_000_000;
    let jobs =
        [row("plain", "1", b"data"), row("large", "2", &[b'x'; 1000]), row("dash", "3-4", b"x"), later];
    engine(&redis).apply(&jobs, &[]).unwrap();
    let mut server = gearmand(&redis);
    let mut worker = Connection::open(server.address());
    for job in &jobs {
        let function = String::from_utf8_lossy(&job.function).into_owned();
        assert_eq!(server.counts(&function), (1, 0, 0), "{function}");
        worker.send(Command::CanDo, &[&job.function], b"");
        worker.send(Command::GrabJob, &[], b"");
        let assigned = worker.expect(Command::JobAssign);
        assert_eq!(assigned.data, &job.data[..], "{function}");
        worker.send(Command::WorkComplete, &[&assigned.args[0]], b"");
        wait_until("it is over", || server.counts(&function) == (0, 0, 1));
    }
    server.kill();
    assert_eq!(redis.keys(), ["gearshard:_gear_"]);
    assert_eq!(read(&mut engine(&redis)), (Vec::new(), Vec::new()));
    // A note of ours that is left does not count for another job of gearmand's.
    redis.cli(&["hset", "_gear_-later-4", "data", "another", "priority", "1"]);
    assert_eq!(rows(&redis), [row("later", "4", b"another")]);
    // They go with the next batch of whoever has read them.
    let mut engine = engine(&redis);
    read(&mut engine);
    engine.apply(&[], &[key(&row("later", "4", b""))]).unwrap();
    assert_eq!(redis.keys(), [""; 0]);
}
