//! Queues that move between gearmand and us.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::thread;

use gearshard::protocol::packet::Command;

use crate::Rows;
use crate::support::{Kind, Server, wait_until};
use crate::talk::{Seen, background, drain, seen, submit};

const CLIENTS: usize = 4;
/// Jobs that gearmand has acknowledged when it is killed, at least.
const ACKNOWLEDGED: usize = 300;

fn gearmand<K: Rows>(store: &K) -> Server {
    let args = store.gearmand_args();
    Server::start(Kind::Gearmand, &args.iter().map(String::as_str).collect::<Vec<_>>())
}

fn job(client: usize, number: usize) -> Seen {
    let unique = format!("{client}-{number}");
    let data: Vec<u8> = (0..number % 300).map(|at| (at * 7 + number) as u8).chain([1]).collect();
    seen(b"f", unique.as_bytes(), &data)
}

pub(crate) fn what_gearmand_has_acknowledged_before_a_kill_is_picked_up<K: Rows>() {
    let store = K::start();
    let mut theirs = gearmand(&store);
    let acknowledged = Mutex::new(Vec::new());
    thread::scope(|scope| {
        for client in 0..CLIENTS {
            let (acknowledged, address) = (&acknowledged, theirs.address());
            scope.spawn(move || {
                let mut connection = crate::support::Connection::open(address);
                for number in 0.. {
                    let job = job(client, number);
                    let args: [&[u8]; 2] = [&job.function, &job.unique];
                    let mut bytes = Vec::new();
                    let magic = gearshard::protocol::packet::Magic::Request;
                    gearshard::protocol::encode::encode(
                        &mut bytes,
                        magic,
                        Command::SubmitJobBg,
                        &args,
                        &job.data,
                    );
                    if connection.try_send_bytes(&bytes).is_err() {
                        return;
                    }
                    match connection.poll_packet(crate::support::DEADLINE) {
                        Some(reply) if reply.command == Command::JobCreated => {
                            acknowledged.lock().unwrap().push(job);
                        }
                        Some(other) => panic!("{other:?}"),
                        None => return,
                    }
                }
            });
        }
        wait_until("gearmand has acknowledged some", || acknowledged.lock().unwrap().len() >= ACKNOWLEDGED);
        theirs.kill();
    });
    let acknowledged = acknowledged.into_inner().unwrap();
    let mut server = store.serve(2);
    let ran = drain(&server, &[b"f"]);
    let by_unique: BTreeMap<_, _> = ran.iter().map(|job| (&job.unique, job)).collect();
    assert_eq!(by_unique.len(), ran.len(), "no job ran twice");
    for job in &acknowledged {
        assert_eq!(by_unique.get(&job.unique), Some(&job));
    }
    // At most what each client had sent and was not answered.
    assert!(ran.len() <= acknowledged.len() + CLIENTS);
    server.stop();
    assert_eq!(store.rows(), 0);
}

pub(crate) fn what_is_left_is_picked_up_by_gearmand<K: Rows>() {
    let store = K::start();
    let mut server = store.serve(2);
    let mut client = server.connect();
    let mut expected: Vec<Seen> = (1..200).map(|number| job(0, number)).collect();
    for job in &mut expected {
        if !K::GEARMAND_READS_NULS {
            job.data.iter_mut().for_each(|byte| *byte = (*byte).max(1));
        }
        submit(&mut client, Command::SubmitJobBg, job);
    }
    for data in ["one", "two"] {
        background(&mut client, "f", "", data);
        background(&mut client, "f", "-", data);
    }
    server.kill();
    let mut theirs = gearmand(&store);
    // They are read before gearmand answers, but to be safe from its threads:
    wait_until("gearmand has read them", || theirs.counts("f").0 == 203);
    let ran = drain(&theirs, &[b"f"]);
    let (made, mut ran): (Vec<Seen>, Vec<Seen>) =
        ran.into_iter().partition(|job| job.unique.starts_with(b"gearshard:"));
    let mut data: Vec<&[u8]> = made.iter().map(|job| &job.data[..]).collect();
    data.sort_unstable();
    assert_eq!(data, [b"one", b"one", b"two", b"two"]);
    expected.sort();
    ran.sort();
    assert_eq!(ran, expected);
    theirs.stop();
    assert_eq!(store.rows(), 0, "and gearmand takes them out");
}
