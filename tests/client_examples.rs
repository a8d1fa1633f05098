//! The examples do what they say.

#![cfg(all(feature = "client", feature = "server"))]
#![allow(clippy::unwrap_used, reason = "in a test a panic is the report")]
#![allow(unreachable_pub, reason = "the examples are programs")]

#[path = "../examples/embedded.rs"]
mod embedded;
#[path = "../examples/failover.rs"]
mod failover;
#[path = "../examples/progress.rs"]
mod progress;
#[path = "../examples/reverse.rs"]
mod reverse;
mod support;
#[path = "../examples/thumbnails.rs"]
mod thumbnails;
#[path = "../examples/word_count.rs"]
mod word_count;

use support::Server;

fn servers() -> [Server; 2] {
    [Server::gearshard(&[]), Server::gearmand(&[])]
}

#[test]
fn embedded() {
    assert_eq!(embedded::run().unwrap(), "HELLO");
}

#[test]
fn reverse() {
    for server in servers() {
        assert_eq!(reverse::run(vec![server.address().into()]).unwrap(), "!dlroW olleH");
    }
}

#[test]
fn thumbnails() {
    for server in servers() {
        let thumbnails = thumbnails::run(vec![server.address().into()]).unwrap();
        assert_eq!(thumbnails.len(), 20);
        assert!(thumbnails.iter().all(|thumbnail| thumbnail.len() == 8 + 160 * 120));
        // The mean of 0..=3 and three rows more, each one larger.
        assert_eq!((thumbnails[0][8], thumbnails[5][8]), (3, 8));
    }
}

#[test]
fn word_count() {
    for server in servers() {
        let expected = "and 2\ndone 2\njob 3\nswallowed 1\nthe 5\nwas 2\nwith 1\nworm 2\n";
        assert_eq!(word_count::run(vec![server.address().into()]).unwrap(), expected);
    }
}

#[test]
fn progress() {
    for server in servers() {
        let mut lines = Vec::new();
        let primes = progress::run(vec![server.address().into()], |line| lines.push(line)).unwrap();
        assert!(primes.starts_with("2 3 5 7 11 ") && primes.ends_with(" 1997 1999 "), "{primes}");
        let expected =
            ["warning: this may take long", "500 of 2000", "1000 of 2000", "1500 of 2000", "2000 of 2000"];
        assert_eq!(lines[1..], expected);
    }
}

#[test]
fn failover() {
    let [ours, theirs] = servers();
    let addresses = vec![ours.address().into(), theirs.address().into()];
    assert_eq!(failover::run(addresses, 1000).unwrap(), 332_833_500);
}
