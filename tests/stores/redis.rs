//! gearmand's `redis`.

use std::collections::BTreeMap;

use gearshard::protocol::packet::Command;

use crate::support::redis::Redis as Engine;
use crate::support::{Server, wait_until};
use crate::talk::{background, drain, seen};
use crate::{Kind, Leaves, Rows, Times};

struct Redis(Engine);

impl Kind for Redis {
    const TIMES: Times = Times::All;

    fn start() -> Self {
        Self(Engine::start(&[]))
    }

    fn args(&self) -> Vec<String> {
        self.0.server_args().to_vec()
    }
}

impl Rows for Redis {
    const GEARMAND_READS_NULS: bool = false;

    fn gearmand_args(&self) -> Vec<String> {
        self.args()
    }

    fn rows(&self) -> usize {
        self.0.keys().iter().filter(|key| key.starts_with("_gear_-")).count()
    }

    fn spoil(&self) -> usize {
        let bad: [&[&str]; 5] = [
            &["hset", "_gear_-f-1", "priority", "1"],
            &["hset", "_gear_-f-2", "data", "x"],
            &["hset", "_gear_-f-3", "data", "x", "priority", "3"],
            &["rpush", "_gear_-f-4", "x"],
            &["hset", "_gear_-f", "data", "x", "priority", "1"],
        ];
        for row in bad {
            self.0.cli(row);
        }
        bad.len()
    }
}

impl Leaves for Redis {
    fn stop_engine(&mut self) {
        self.0.kill();
    }

    fn start_engine(&mut self) {
        self.0.restart();
    }
}

crate::suite!(redis, Redis);
crate::rows_suite!(redis_rows, Redis);
crate::leaving_suite!(redis_leaving, Redis);

#[test]
fn what_is_acknowledged_outlives_kills_of_redis() {
    const BURST: usize = 400;
    let mut store = Redis::start();
    let mut server = store.serve(2);
    let mut client = server.connect();
    let (mut acknowledged, mut refused) = (Vec::new(), 0);
    for round in 0..5 {
        let burst: Vec<String> = (0..BURST).map(|n| format!("{round}-{n}")).collect();
        for unique in &burst {
            client.send(Command::SubmitJobBg, &[b"f", unique.as_bytes()], unique.as_bytes());
        }
        for (at, unique) in burst.into_iter().enumerate() {
            if at == BURST / 8 * round {
                store.stop_engine();
            }
            match client.read_packet().command {
                Command::JobCreated => acknowledged.push(unique.into_bytes()),
                Command::Error => refused += 1,
                other => panic!("{other:?}"),
            }
        }
        store.start_engine();
        wait_until("jobs are taken again", || {
            client.send(Command::SubmitJobBg, &[b"probe", b""], b"");
            client.read_packet().command == Command::JobCreated
        });
    }
    assert_eq!(acknowledged.len() + refused, 5 * BURST);
    server.kill();
    store.stop_engine();
    store.start_engine();
    let ran = drain(&store.serve(2), &[b"f"]);
    let by_unique: BTreeMap<_, _> = ran.iter().map(|job| (&job.unique, job)).collect();
    assert_eq!(by_unique.len(), ran.len(), "no job ran twice");
    for unique in &acknowledged {
        assert_eq!(by_unique.get(unique), Some(&&seen(b"f", unique, unique)));
    }
}

#[test]
fn a_server_says_when_redis_is_not_as_safe_as_it_seems() {
    for (settings, expected) in [
        (&["--appendfsync", "everysec"][..], "appendfsync everysec"),
        (&["--appendonly", "no"], "appendonly off"),
    ] {
        let store = Redis(Engine::start(settings));
        let args = store.args();
        let args: Vec<&str> = args.iter().map(String::as_str).chain(["--verbose=WARNING"]).collect();
        let server = Server::gearshard(&args);
        assert!(server.log().contains(expected), "{}", server.log());
        background(&mut server.connect(), "f", "u", "x");
    }
}
