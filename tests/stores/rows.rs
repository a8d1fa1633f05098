//! Rules for stores with a row for each job.

use gearshard::protocol::packet::Command;

use crate::Rows;
pub(crate) use crate::gearmand::{
    what_gearmand_has_acknowledged_before_a_kill_is_picked_up, what_is_left_is_picked_up_by_gearmand,
};
use crate::support::wait_until;
use crate::talk::{background, drain, grab, refusal, seen, worker};

pub(crate) fn a_row_goes_with_its_job_however_that_ends<K: Rows>() {
    let store = K::start();
    let server = store.serve(2);
    let mut client = server.connect();
    let gone = |what: &str| wait_until(what, || store.rows() == 0);
    for end in [Command::WorkComplete, Command::WorkFail] {
        background(&mut client, "f", "u", "x");
        assert_eq!(store.rows(), 1, "what is acknowledged is there");
        let mut worker = worker(&server, &[b"f"]);
        let (handle, _) = grab(&mut worker).unwrap();
        worker.send(end, &[&handle], b"");
        gone("the row of a job that has ended goes");
    }
    let running = background(&mut client, "f", "u", "x");
    let mut worker = worker(&server, &[b"f"]);
    grab(&mut worker).unwrap();
    client.ask(&format!("cancel job {running}"));
    gone("the row of a cancelled job goes");
    drop(worker);
    background(&mut client, "other", "", "x");
    assert_eq!(client.ask("drop function other"), "OK\r");
    gone("the rows of a dropped function go");
}

pub(crate) fn a_job_that_joins_another_writes_nothing<K: Rows>() {
    let store = K::start();
    let server = store.serve(2);
    let mut client = server.connect();
    let first = background(&mut client, "f", "u", "first");
    for _ in 0..3 {
        assert_eq!(background(&mut client, "f", "u", "other"), first);
    }
    assert_eq!(store.rows(), 1);
    assert_eq!(drain(&server, &[b"f"]), [seen(b"f", b"u", b"first")]);
}

pub(crate) fn rows_that_are_no_jobs_are_told_and_left_alone<K: Rows>() {
    let store = K::start();
    let mut server = store.serve(2);
    background(&mut server.connect(), "f", "u", "x");
    server.stop();
    let bad = store.spoil();
    let server = store.serve(2);
    let told = server.log().lines().filter(|line| line.contains("Left alone in the durable queue")).count();
    assert_eq!(told, bad, "{}", server.log());
    assert_eq!(drain(&server, &[b"f"]), [seen(b"f", b"u", b"x")]);
    wait_until("the row of the job goes", || store.rows() == bad);
}

pub(crate) fn a_unique_like_a_made_key_is_refused<K: Rows>() {
    let store = K::start();
    let server = store.serve(2);
    let mut client = server.connect();
    let text = refusal(&mut client, Command::SubmitJobBg, &[b"f", b"gearshard::0006000000000001"]);
    assert!(text.contains("choose another"), "{text}");
    assert_eq!((store.rows(), server.counts("f").0), (0, 0));
}
