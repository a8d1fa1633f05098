//! Rules for stores in another process.

use gearshard::protocol::packet::Command;

use crate::Leaves;
pub(crate) use crate::engine_kills::nothing_acknowledged_is_lost_when_the_engine_is_killed_under_load;
use crate::support::{Connection, wait_until};
use crate::talk::{background, drain, grab, refusal, seen, worker};

/// Submits until it is acknowledged: the engine is back.
fn wait_for_engine(client: &mut Connection) {
    wait_until("the engine is back", || {
        client.send(Command::SubmitJobBg, &[b"probe", b"probe"], b"");
        client.read_packet().command == Command::JobCreated
    });
}

pub(crate) fn without_the_engine_background_jobs_are_refused_and_all_else_goes_on<K: Leaves>() {
    let mut store = K::start();
    let mut server = store.serve(2);
    let mut client = server.connect();
    background(&mut client, "f", "before", "x");
    store.stop_engine();
    for _ in 0..3 {
        let text = refusal(&mut client, Command::SubmitJobBg, &[b"f", b"meanwhile"]);
        assert!(text.contains("cannot be reached"), "{text}");
    }
    let mut foreground = server.connect();
    foreground.send(Command::SubmitJob, &[b"g", b""], b"x");
    foreground.expect(Command::JobCreated);
    assert_eq!(drain(&server, &[b"g"]).len(), 1);
    foreground.expect(Command::WorkComplete);
    assert!(server.log().contains("The durable queue is away"), "{}", server.log());
    store.start_engine();
    wait_for_engine(&mut client);
    background(&mut client, "f", "after", "x");
    server.kill();
    let server = store.serve(2);
    let mut ran = drain(&server, &[b"f"]);
    ran.sort();
    assert_eq!(ran, [b"after".as_slice(), b"before"].map(|unique| seen(b"f", unique, b"x")));
}

pub(crate) fn what_ends_while_the_engine_is_away_is_over_when_it_is_back<K: Leaves>() {
    let mut store = K::start();
    let mut server = store.serve(2);
    let mut client = server.connect();
    background(&mut client, "f", "over", "x");
    background(&mut client, "f", "stays", "x");
    store.stop_engine();
    let mut worker = worker(&server, &[b"f"]);
    let (handle, job) = grab(&mut worker).unwrap();
    worker.send(Command::WorkComplete, &[&handle], b"");
    worker.settle();
    store.start_engine();
    wait_for_engine(&mut client);
    wait_until("the row goes that is owed", || store.rows() == 2);
    server.kill();
    let ran = drain(&store.serve(2), &[b"f"]);
    assert!(ran.len() == 1 && ran[0] != job, "{ran:?}");
}
