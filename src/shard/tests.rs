//! Short scripts for one shard, and for two that talk; each name is the rule.

use std::collections::VecDeque;
use std::sync::Arc;

use super::ids::{ConnId, Now, ShardId};
use super::message::Message;
use super::outbox::{Event, Outbox, Tail, Urgency};
use super::placement::owner_of;
use super::settings::{Retries, Settings, Wakeup};
use super::{Peer, Shard};
use crate::protocol::decode::{Frame, decode};
use crate::protocol::encode::encode;
use crate::protocol::packet::{Command, Magic};
use crate::queue::change::{Change, NotKept, Progress, RetryState, StoredJob};

mod retry;

/// What a shard has asked for.
#[derive(Default)]
struct Recorder {
    written: Vec<(ConnId, Vec<u8>)>,
    sent: VecDeque<(ShardId, Message)>,
    held: Vec<(ConnId, bool)>,
    closed: Vec<ConnId>,
    stored: Vec<Change>,
    read: Vec<u64>,
}

impl Outbox for Recorder {
    fn write(&mut self, conn: ConnId, _: Urgency, head: &[u8], tail: Option<Tail<'_>>) {
        let tail = tail.as_ref().map_or(&b""[..], Tail::bytes);
        self.written.push((conn, [head, tail].concat()));
    }
    fn send(&mut self, to: ShardId, message: Message) {
        self.sent.push_back((to, message));
    }
    fn store(&mut self, change: Change) {
        self.stored.push(change);
    }
    fn read(&mut self, numbers: Vec<u64>) {
        self.read.extend(numbers);
    }
    fn close(&mut self, conn: ConnId) {
        self.closed.push(conn);
    }
    fn hold(&mut self, conn: ConnId) {
        self.held.push((conn, true));
    }
    fn resume(&mut self, conn: ConnId) {
        self.held.push((conn, false));
    }
    fn event(&mut self, _: Event<'_>) {}
}

/// Some shards whose messages arrive when the script says so.
struct Script {
    shards: Vec<Shard>,
    outs: Vec<Recorder>,
    now: Now,
}

impl Script {
    fn new(settings: Settings) -> Self {
        let settings = Arc::new(settings);
        let shards =
            (0..settings.shards).map(|id| Shard::new(ShardId(id), settings.clone())).collect::<Vec<_>>();
        let outs = shards.iter().map(|_| Recorder::default()).collect();
        Self { shards, outs, now: Now { mono_us: 0, unix_us: 1_000_000_000_000 } }
    }

    fn one() -> Self {
        Self::new(Settings::default())
    }

    fn open(&mut self, shard: usize) -> ConnId {
        self.shards[shard].open(Peer { fd: 7, address: "127.0.0.1".into() }).unwrap()
    }

    fn send(&mut self, conn: ConnId, command: Command, args: &[&str], data: &str) {
        let args: Vec<&[u8]> = args.iter().map(|arg| arg.as_bytes()).collect();
        let mut bytes = Vec::new();
        encode(&mut bytes, Magic::Request, command, &args, data.as_bytes());
        let Ok(Some((frame, _))) = decode(&bytes, u32::MAX) else { panic!("a whole packet") };
        let at = conn.shard().index();
        self.shards[at].frame(self.now, conn, frame, &mut self.outs[at]);
    }

    fn line(&mut self, conn: ConnId, line: &str) -> String {
        let at = conn.shard().index();
        self.shards[at].frame(self.now, conn, Frame::Line(line.as_bytes()), &mut self.outs[at]);
        self.deliver_all();
        let text = self.outs[at].written.iter().filter(|(to, _)| *to == conn);
        let text = text.map(|(_, bytes)| String::from_utf8(bytes.clone()).unwrap()).collect();
        self.outs[at].written.retain(|(to, _)| *to != conn);
        text
    }

    fn close(&mut self, conn: ConnId) {
        let at = conn.shard().index();
        self.shards[at].close(self.now, conn, &mut self.outs[at]);
    }

    fn later(&mut self, us: u64) {
        self.now = self.now.plus_us(us);
        for (shard, out) in self.shards.iter_mut().zip(&mut self.outs) {
            shard.expire(self.now, out);
        }
        self.deliver_all();
    }

    fn deliver_from(&mut self, shard: usize) {
        let from = ShardId(shard as u16);
        for (to, message) in std::mem::take(&mut self.outs[shard].sent) {
            self.shards[to.index()].receive(self.now, from, message, &mut self.outs[to.index()]);
        }
    }

    fn deliver_all(&mut self) {
        while self.outs.iter().any(|out| !out.sent.is_empty()) {
            for shard in 0..self.shards.len() {
                self.deliver_from(shard);
            }
        }
    }

    /// What a connection was sent since it was last asked, readably: command,
    /// arguments and data; handles become `h`.
    fn got(&mut self, conn: ConnId) -> Vec<String> {
        let out = &mut self.outs[conn.shard().index()];
        let mut got = Vec::new();
        for (_, bytes) in out.written.extract_if(.., |(to, _)| *to == conn) {
            let Ok(Some((Frame::Binary(packet), used))) = decode(&bytes, u32::MAX) else {
                panic!("{bytes:?}")
            };
            assert_eq!(used, bytes.len());
            let mut words = vec![packet.command.name().to_owned()];
            for arg in packet.args.iter().take(packet.command.argc()).chain([&packet.data]) {
                let word = String::from_utf8(arg.to_vec()).unwrap();
                words.push(if word.starts_with("H:") { "h".to_owned() } else { word });
            }
            got.push(words.join(" ").trim_end().to_owned());
        }
        got
    }

    fn sleeping_worker(&mut self, shard: usize, function: &str) -> ConnId {
        let worker = self.open(shard);
        self.send(worker, Command::CanDo, &[function], "");
        self.send(worker, Command::PreSleep, &[], "");
        self.deliver_all();
        worker
    }

    fn handle_of(&mut self, conn: ConnId) -> String {
        let out = &mut self.outs[conn.shard().index()];
        let at = out.written.iter().position(|(to, _)| *to == conn).unwrap();
        let (_, bytes) = out.written.remove(at);
        let Ok(Some((Frame::Binary(packet), _))) = decode(&bytes, u32::MAX) else { panic!("{bytes:?}") };
        String::from_utf8(packet.args[0].to_vec()).unwrap()
    }
}

/// A function that this one of two shards owns.
fn function_of(shard: u16) -> String {
    let names = (0..).map(|n| format!("f{n}"));
    names.into_iter().find(|name| owner_of(name.as_bytes(), 2) == ShardId(shard)).unwrap()
}

#[test]
fn a_foreground_job_goes_to_a_woken_worker_and_back() {
    let mut script = Script::one();
    let worker = script.sleeping_worker(0, "f");
    let client = script.open(0);
    script.send(client, Command::SubmitJob, &["f", "u"], "work");
    assert_eq!(script.got(worker), ["NOOP"]);
    script.send(worker, Command::GrabJobUniq, &[], "");
    let handle = script.handle_of(client);
    assert_eq!(script.got(worker), ["JOB_ASSIGN_UNIQ h f u work"]);
    script.send(worker, Command::WorkStatus, &[&handle, "1", "2"], "");
    script.send(worker, Command::WorkData, &[&handle], "some");
    script.send(worker, Command::WorkComplete, &[&handle], "done");
    assert_eq!(script.got(client), ["WORK_STATUS h 1 2", "WORK_DATA h some", "WORK_COMPLETE h done"]);
    script.send(worker, Command::WorkComplete, &[&handle], "again");
    assert_eq!(script.got(worker), ["ERROR JOB_NOT_FOUND Job given in work result not found"]);
    let counts = script.shards[0].counts();
    assert_eq!((counts.jobs, counts.job_bytes, counts.open_replies, counts.completed), (0, 0, 0, 1));
}

#[test]
fn one_job_wakes_one_of_many_sleepers_and_the_next_one_after_patience() {
    let mut script = Script::one();
    let workers: Vec<ConnId> = (0..5).map(|_| script.sleeping_worker(0, "f")).collect();
    let client = script.open(0);
    script.send(client, Command::SubmitJobBg, &["f", ""], "");
    assert_eq!(script.got(workers[0]), ["NOOP"]);
    assert!(workers[1..].iter().all(|&worker| script.got(worker).is_empty()));
    script.later(50_000);
    assert_eq!(script.got(workers[1]), ["NOOP"]);
    script.close(workers[1]);
    assert_eq!(script.got(workers[2]), ["NOOP"]);
    script.send(workers[2], Command::GrabJob, &[], "");
    assert_eq!(script.got(workers[2]).len(), 1);
    script.later(1_000_000);
    assert!(script.got(workers[3]).is_empty(), "the job is taken");
}

#[test]
fn every_sleeper_is_woken_when_that_is_asked_for() {
    let mut script = Script::new(Settings { wakeup: Wakeup::All, ..Settings::default() });
    let workers: Vec<ConnId> = (0..3).map(|_| script.sleeping_worker(0, "f")).collect();
    let client = script.open(0);
    for _ in 0..2 {
        script.send(client, Command::SubmitJobBg, &["f", ""], "");
    }
    for &worker in &workers {
        assert_eq!(script.got(worker), ["NOOP"], "and only once");
        script.send(worker, Command::GrabJob, &[], "");
    }
    assert_eq!(script.got(workers[2]), ["NO_JOB"]);
}

#[test]
fn replies_of_two_owners_keep_the_order_of_their_requests() {
    let mut script = Script::new(Settings { shards: 2, ..Settings::default() });
    let (near, far) = (function_of(0), function_of(1));
    let client = script.open(0);
    let worker = script.open(0);
    script.send(worker, Command::CanDo, &[&near], "");
    script.send(client, Command::SubmitJob, &[&far, "far"], "");
    script.send(client, Command::SubmitJob, &[&near, "near"], "");
    script.send(worker, Command::GrabJob, &[], "");
    let handle = script.handle_of(worker);
    script.send(worker, Command::WorkComplete, &[&handle], "done");
    assert!(script.got(client).is_empty(), "the first job has not been answered");
    script.deliver_all();
    assert_eq!(script.got(client), ["JOB_CREATED h", "JOB_CREATED h", "WORK_COMPLETE h done"]);
}

#[test]
fn a_grab_waits_for_the_first_news_of_a_function() {
    let mut script = Script::new(Settings { shards: 2, ..Settings::default() });
    let far = function_of(1);
    let client = script.open(1);
    script.send(client, Command::SubmitJobBg, &[&far, ""], "w");
    let worker = script.open(0);
    script.send(worker, Command::CanDo, &[&far], "");
    script.send(worker, Command::GrabJob, &[], "");
    assert_eq!(script.outs[0].held, [(worker, true)]);
    script.deliver_all();
    assert_eq!(script.got(worker), [format!("JOB_ASSIGN h {far} w")]);
    assert_eq!(script.outs[0].held, [(worker, true), (worker, false)]);
}

#[test]
fn an_assignment_that_finds_its_worker_gone_is_no_attempt() {
    let settings = Settings { shards: 2, retries: Retries::Attempts(1), ..Settings::default() };
    let mut script = Script::new(settings);
    let far = function_of(1);
    let client = script.open(1);
    script.send(client, Command::SubmitJob, &[&far, ""], "w");
    for _ in 0..2 {
        let worker = script.open(0);
        script.send(worker, Command::CanDo, &[&far], "");
        script.deliver_all();
        script.send(worker, Command::GrabJob, &[], "");
        script.deliver_from(0);
        script.close(worker);
        script.deliver_all();
    }
    assert_eq!(script.got(client), ["JOB_CREATED h"]);
    assert_eq!(script.line(client, "status"), format!("{far}\t1\t0\t0\n.\n"));
}

#[test]
fn a_client_that_leaves_takes_its_foreground_job_along_at_once() {
    let mut script = Script::one();
    let client = script.open(0);
    script.send(client, Command::SubmitJob, &["f", "u"], "");
    script.close(client);
    assert_eq!(script.shards[0].counts().jobs, 0);
    let other = script.open(0);
    script.send(other, Command::SubmitJob, &["f", "u"], "");
    assert_eq!(script.shards[0].counts().coalesced, 0, "nothing joins an abandoned job");
}

#[test]
fn a_client_may_come_back_to_a_running_job_but_it_is_not_run_again_for_nobody() {
    let mut script = Script::one();
    let (worker, client) = (script.open(0), script.open(0));
    script.send(worker, Command::CanDo, &["f"], "");
    script.send(client, Command::SubmitJob, &["f", "u"], "w");
    script.send(worker, Command::GrabJob, &[], "");
    script.close(client);
    let other = script.open(0);
    script.send(other, Command::SubmitJob, &["f", "u"], "w");
    assert_eq!(script.shards[0].counts().coalesced, 1);
    script.close(other);
    script.close(worker);
    assert_eq!(script.shards[0].counts().jobs, 0);
}

#[test]
fn a_background_job_outlives_the_foreground_client_that_joined_it() {
    let mut script = Script::one();
    let (background, foreground) = (script.open(0), script.open(0));
    for (first, second) in
        [(Command::SubmitJobBg, Command::SubmitJob), (Command::SubmitJob, Command::SubmitJobBg)]
    {
        script.send(background, first, &["f", "u"], "");
        script.send(foreground, second, &["f", "u"], "");
    }
    script.close(foreground);
    script.close(background);
    let counts = script.shards[0].counts();
    assert_eq!((counts.jobs, counts.coalesced), (1, 3));
}

#[test]
fn a_job_out_of_time_goes_to_another_worker_and_its_late_result_counts_nothing() {
    let mut script = Script::one();
    let client = script.open(0);
    let (slow, other) = (script.open(0), script.open(0));
    for worker in [slow, other] {
        script.send(worker, Command::CanDoTimeout, &["f", "5"], "");
    }
    script.send(client, Command::SubmitJob, &["f", ""], "");
    script.send(slow, Command::GrabJob, &[], "");
    let handle = script.handle_of(slow);
    script.later(999_999);
    assert_eq!(script.line(other, "status"), "f\t1\t1\t2\n.\n");
    script.later(1);
    script.send(slow, Command::WorkComplete, &[&handle], "late");
    assert_eq!(script.got(slow), ["ERROR JOB_NOT_FOUND Job given in work result not found"]);
    script.send(other, Command::GrabJob, &[], "");
    script.send(other, Command::WorkComplete, &[&handle], "in time");
    assert_eq!(script.got(client), ["JOB_CREATED h", "WORK_COMPLETE h in time"]);
    assert_eq!(script.shards[0].deadline(script.now), None, "no timer outlives its job");
}

#[test]
fn a_producer_is_paused_while_its_client_does_not_read() {
    let mut script = Script::new(Settings { shards: 2, ..Settings::default() });
    let near = function_of(0);
    let client = script.open(0);
    let worker = script.open(1);
    script.send(client, Command::SubmitJob, &[&near, ""], "");
    script.send(worker, Command::CanDo, &[&near], "");
    script.deliver_all();
    script.send(worker, Command::GrabJob, &[], "");
    script.deliver_all();
    let handle = script.handle_of(worker);
    script.outs[1].held.clear();
    let now = script.now;
    script.shards[0].congested(now, client, true, &mut script.outs[0]);
    for _ in 0..2 {
        script.send(worker, Command::WorkData, &[&handle], "x");
        script.deliver_all();
    }
    assert_eq!(script.outs[1].held, [(worker, true)]);
    script.shards[0].congested(now, client, false, &mut script.outs[0]);
    script.deliver_all();
    assert_eq!(script.outs[1].held, [(worker, true), (worker, false)]);
}

#[test]
fn an_epoch_job_wakes_a_sleeper_when_its_time_has_come_and_not_before() {
    let mut script = Script::one();
    let worker = script.sleeping_worker(0, "f");
    let client = script.open(0);
    let due_s = script.now.unix_us / 1_000_000 + 2;
    script.send(client, Command::SubmitJobEpoch, &["f", "u", &due_s.to_string()], "w");
    script.later(1_999_999);
    assert!(script.got(worker).is_empty());
    assert!(script.shards[0].deadline(script.now) <= Some(script.now.mono_us + 1));
    script.later(1);
    assert_eq!(script.got(worker), ["NOOP"]);
}

#[test]
fn dropping_a_function_fails_what_waits_in_it() {
    let mut script = Script::one();
    let (client, admin) = (script.open(0), script.open(0));
    script.send(client, Command::SubmitJob, &["f", "u"], "");
    assert_eq!(script.line(admin, "drop function f"), "OK\r\n");
    assert_eq!(script.got(client), ["JOB_CREATED h", "WORK_FAIL h"]);
    assert_eq!(script.line(admin, "status"), ".\n");
    assert_eq!(script.line(admin, "drop function f"), "ERR function not found\r\n");
}

#[test]
fn a_run_that_was_lost_is_not_lost_again_with_the_next_one() {
    let settings = Settings { shards: 2, retries: Retries::Attempts(2), ..Settings::default() };
    let mut script = Script::new(settings);
    let far = function_of(1);
    let (client, worker) = (script.open(1), script.open(0));
    script.send(client, Command::SubmitJob, &[&far, ""], "w");
    script.send(worker, Command::CanDoTimeout, &[&far, "1000"], "");
    script.deliver_all();
    script.send(worker, Command::GrabJob, &[], "");
    script.deliver_all();
    // It grabs again and is gone, as the time of its job runs out at the owner:
    // the grab is answered with the same job, whose first run is given up after that.
    script.send(client, Command::SubmitJobBg, &[&far, ""], "other");
    script.deliver_from(1);
    script.send(client, Command::CanDo, &[&far], "");
    script.send(client, Command::GrabJob, &[], "");
    script.send(worker, Command::GrabJob, &[], "");
    script.close(worker);
    script.now = script.now.plus_us(1_000_000);
    let now = script.now;
    script.shards[1].expire(now, &mut script.outs[1]);
    script.deliver_all();
    assert_eq!(script.shards[1].counts().jobs, 2);
    assert_eq!((script.shards[1].counts().requeued, script.shards[1].counts().dropped), (1, 0));
}

impl Script {
    fn durable() -> Self {
        Self::new(Settings { durable: true, ..Settings::default() })
    }

    /// What the store was handed, readably.
    fn stored(&mut self) -> Vec<String> {
        let changes = self.outs[0].stored.iter();
        let words = changes.map(|change| match change {
            Change::Added(job) => format!("added {}", String::from_utf8_lossy(job.workload())),
            Change::Altered { state, .. } => format!("lost {}", state.losses),
            Change::Removed { .. } => "removed".to_owned(),
        });
        words.collect()
    }

    fn number_of(&self, added: usize) -> u64 {
        let Change::Added(job) = &self.outs[0].stored[added] else { panic!("an added job") };
        job.number
    }

    fn confirm(&mut self, progress: &Progress) {
        self.shards[0].stored(self.now, progress, &mut self.outs[0]);
    }
}

fn changes(changes: u64) -> Progress {
    Progress { changes, ..Progress::default() }
}

#[test]
fn a_background_job_is_acknowledged_when_it_is_stored_and_may_run_before() {
    let mut s = Script::durable();
    let worker = s.sleeping_worker(0, "f");
    let client = s.open(0);
    s.send(client, Command::SubmitJobBg, &["f", "u"], "bg");
    s.send(client, Command::SubmitJob, &["f", "v"], "fg");
    assert_eq!(s.got(client), [""; 0], "the second answer waits for the first");
    assert_eq!(s.got(worker), ["NOOP"]);
    s.send(worker, Command::GrabJob, &[], "");
    let handle = s.handle_of(worker);
    s.send(worker, Command::WorkComplete, &[&handle], "done");
    assert_eq!(s.stored(), ["added bg", "removed"]);
    s.confirm(&changes(1));
    assert_eq!(s.got(client), ["JOB_CREATED h", "JOB_CREATED h"]);
    s.confirm(&changes(2));
    assert_eq!(s.got(client), [""; 0]);
}

#[test]
fn a_foreground_job_that_a_background_submit_joins_is_stored_from_then_on() {
    let mut s = Script::durable();
    let (one, other) = (s.open(0), s.open(0));
    s.send(one, Command::SubmitJob, &["f", "same"], "x");
    assert_eq!((s.got(one), s.stored()), (vec!["JOB_CREATED h".to_owned()], vec![]));
    s.send(other, Command::SubmitJobBg, &["f", "same"], "x");
    s.send(one, Command::SubmitJobBg, &["f", "same"], "x");
    assert_eq!((s.got(other), s.got(one)), (vec![], vec![]), "both wait for the store");
    assert_eq!(s.stored(), ["added x"], "once");
    s.confirm(&changes(1));
    assert_eq!((s.got(other).len(), s.got(one).len()), (1, 1));
    s.close(one);
    assert_eq!(s.line(other, "status"), "f\t1\t0\t0\n.\n");
}

#[test]
fn losses_and_ends_of_stored_jobs_are_stored() {
    let mut s = Script::durable();
    let client = s.open(0);
    s.send(client, Command::SubmitJobBg, &["f", "u"], "x");
    let worker = s.sleeping_worker(0, "f");
    s.send(worker, Command::GrabJob, &[], "");
    s.close(worker);
    s.confirm(&changes(2));
    let handle = s.handle_of(client);
    assert_eq!(s.line(client, &format!("cancel job {handle}")), "OK\r\n");
    s.send(client, Command::SubmitJobBg, &["g", "u"], "y");
    assert_eq!(s.line(client, "drop function g"), "", "it waits behind the answer to the submit");
    assert_eq!(s.stored(), ["added x", "lost 1", "removed", "added y", "removed"]);
}

#[test]
fn without_space_a_background_job_is_refused_and_what_else_there_is_goes_on() {
    let mut s = Script::durable();
    let (client, other) = (s.open(0), s.open(0));
    s.send(client, Command::SubmitJobBg, &["f", "u"], "x");
    s.send(client, Command::SubmitJobBg, &["f", "v"], "y");
    s.send(other, Command::SubmitJob, &["f", "v"], "y");
    assert_eq!(s.got(other), ["JOB_CREATED h"]);
    let refused = [0, 1].map(|at| (s.number_of(at), NotKept::Full)).to_vec();
    s.confirm(&Progress { changes: 2, refused, closed: Some(NotKept::Full) });
    let error = "ERROR QUEUE_ERROR Disk of the durable queue is full, submit again later";
    assert_eq!(s.got(client), [error, error]);
    assert_eq!(s.line(client, "status"), "f\t1\t0\t0\n.\n", "the one that a client waits for stays");
    s.send(client, Command::SubmitJobBg, &["f", "w"], "z");
    assert_eq!(s.got(client), [error], "at once");
    s.send(client, Command::SubmitJob, &["f", "w"], "z");
    assert_eq!(s.got(client), ["JOB_CREATED h"]);
    s.confirm(&changes(2));
    s.send(client, Command::SubmitJobBg, &["f", "q"], "q");
    assert_eq!(s.stored(), ["added x", "added y", "added q"]);
    let refused = vec![(s.number_of(2), NotKept::Unfit("Time is too late"))];
    s.confirm(&Progress { changes: 3, refused, closed: None });
    assert_eq!(s.got(client), ["ERROR QUEUE_ERROR Time is too late"]);
}

#[test]
fn a_stored_job_comes_back_as_it_was() {
    let mut s = Script::durable();
    let client = s.open(0);
    s.send(client, Command::SubmitReduceJobBackground, &["f", "u", "sum", "0"], "x");
    s.send(client, Command::SubmitJobEpoch, &["f", "late", "2000000"], "y");
    s.send(client, Command::SubmitJobHighBg, &["f", "first"], "z");
    let stored: Vec<Change> = std::mem::take(&mut s.outs[0].stored);
    let mut s = Script::durable();
    for change in stored {
        let Change::Added(mut job) = change else { panic!("only added") };
        job.losses = 3;
        s.shards[0].skip_numbers(job.number);
        s.shards[0].restore(s.now, job, &mut s.outs[0]);
    }
    let client = s.open(0);
    assert_eq!(s.line(client, "prioritystatus"), "f\t1\t2\t0\t0\n.\n");
    assert!(s.line(client, "show jobs").lines().all(|line| line == "." || line.ends_with("\t3\t0\t1")));
    let worker = s.sleeping_worker(0, "f");
    assert_eq!(s.got(worker), ["NOOP"]);
    s.send(worker, Command::GrabJob, &[], "");
    s.send(worker, Command::GrabJobAll, &[], "");
    s.send(worker, Command::GrabJob, &[], "");
    assert_eq!(s.got(worker), ["JOB_ASSIGN h f z", "JOB_ASSIGN_ALL h f u sum x", "NO_JOB"]);
    assert_eq!(s.stored(), [""; 0], "nothing is stored anew");
}
