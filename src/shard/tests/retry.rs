//! Retry policies, back-off and dead letters.

use super::*;
use crate::protocol::retry::Cause;

const START_S: u64 = 1_000_000;

impl Script {
    fn with_policy(settings: Settings, policy: &str) -> (Self, ConnId) {
        let mut script = Self::new(settings);
        let operator = script.open(0);
        assert_eq!(script.line(operator, &format!("retry f {policy}")), "OK\r\n");
        (script, operator)
    }

    /// A worker of `f` that takes its next job; the handle.
    fn taken(&mut self, timeout: bool) -> (ConnId, String) {
        let worker = self.open(0);
        if timeout {
            self.send(worker, Command::CanDoTimeout, &["f", "1000"], "");
        } else {
            self.send(worker, Command::CanDo, &["f"], "");
        }
        self.send(worker, Command::GrabJob, &[], "");
        let handle = self.handle_of(worker);
        (worker, handle)
    }

    fn grabs_nothing(&mut self) -> bool {
        let worker = self.open(0);
        self.send(worker, Command::CanDo, &["f"], "");
        self.send(worker, Command::GrabJob, &[], "");
        let got = self.got(worker);
        self.close(worker);
        got == ["NO_JOB"]
    }

    /// Lines of `show dead` without the handle.
    fn dead(&mut self, operator: ConnId) -> Vec<String> {
        let text = self.line(operator, "show dead");
        let lines = text.lines().filter(|&line| line != ".");
        lines.map(|line| line.split_once('\t').unwrap().1.to_owned()).collect()
    }

    /// What came of the job in hand.
    fn run_to(&mut self, cause: Cause) {
        let (worker, handle) = self.taken(cause == Cause::Timeout);
        match cause {
            Cause::Lost => {}
            Cause::Timeout => self.later(1_000_000),
            Cause::Fail => self.send(worker, Command::WorkFail, &[&handle], ""),
            Cause::Exception => self.send(worker, Command::WorkException, &[&handle], "why"),
        }
        self.close(worker);
    }
}

#[test]
fn a_job_that_fails_is_tried_as_often_as_allowed_and_nobody_hears_before() {
    let (mut s, operator) = Script::with_policy(Settings::default(), "attempts=3,on=fail");
    let (submitter, client) = (s.open(0), s.open(0));
    s.send(submitter, Command::SubmitJobBg, &["f", "u"], "work");
    // A client that joins a background job waits for its last attempt.
    s.send(client, Command::SubmitJob, &["f", "u"], "work");
    s.got(client);
    for cause in [Cause::Fail, Cause::Exception] {
        s.run_to(cause);
        assert_eq!(s.got(client), [""; 0], "it is tried again");
    }
    s.run_to(Cause::Fail);
    assert_eq!(s.got(client), ["WORK_FAIL h"]);
    assert_eq!(s.dead(operator), ["f\tu\t3\tfail\t1000000\t4"]);
    let counts = s.shards[0].counts();
    assert_eq!((counts.jobs, counts.dead, counts.requeued, counts.died, counts.failed), (0, 1, 2, 1, 0));
}

#[test]
fn every_cause_is_told_from_the_others() {
    for cause in Cause::ALL {
        let (mut s, operator) = Script::with_policy(Settings::default(), "attempts=1,on=lost,timeout,fail");
        let client = s.open(0);
        s.send(client, Command::SubmitJobBg, &["f", ""], "w");
        s.run_to(cause);
        let at_s = START_S + u64::from(cause == Cause::Timeout);
        assert_eq!(s.dead(operator), [format!("f\t\t1\t{cause}\t{at_s}\t1")]);
        assert!(s.grabs_nothing());
    }
}

#[test]
fn what_a_policy_does_not_mind_ends_as_it_always_did() {
    let settings = || Settings { retries: Retries::Attempts(1), ..Settings::default() };
    let (mut s, operator) = Script::with_policy(settings(), "attempts=2");
    let client = s.open(0);
    s.send(client, Command::SubmitJobBg, &["f", ""], "w");
    s.run_to(Cause::Lost);
    // WORK_FAIL is an answer, even on the first of two attempts.
    s.run_to(Cause::Fail);
    assert_eq!((s.dead(operator).len(), s.shards[0].counts().failed), (0, 1));
    // What is not to be tried again dies at once.
    assert_eq!(s.line(operator, "retry f attempts=9,on=fail"), "OK\r\n");
    s.send(client, Command::SubmitJobBg, &["f", ""], "w");
    s.run_to(Cause::Lost);
    assert_eq!(s.dead(operator), ["f\t\t1\tlost\t1000000\t1"]);
    // Without its policy the function is under --job-retries again.
    assert_eq!(s.line(operator, "retry f off"), "OK\r\n");
    s.send(client, Command::SubmitJobBg, &["f", ""], "w");
    s.run_to(Cause::Lost);
    assert_eq!((s.dead(operator).len(), s.shards[0].counts().dropped), (1, 1));
}

#[test]
fn a_foreground_job_is_never_a_dead_letter_and_its_failure_is_the_end() {
    let (mut s, operator) = Script::with_policy(Settings::default(), "attempts=2,on=lost,fail");
    let client = s.open(0);
    s.send(client, Command::SubmitJob, &["f", ""], "w");
    s.run_to(Cause::Fail);
    assert_eq!(s.got(client), ["JOB_CREATED h", "WORK_FAIL h"]);
    s.send(client, Command::SubmitJob, &["f", ""], "w");
    s.run_to(Cause::Lost);
    assert_eq!(s.got(client), ["JOB_CREATED h"]);
    s.run_to(Cause::Lost);
    assert_eq!((s.got(client), s.dead(operator).len()), (vec!["WORK_FAIL h".to_owned()], 0));
}

#[test]
fn then_drop_leaves_nothing() {
    let (mut s, operator) = Script::with_policy(Settings::default(), "attempts=1,on=lost,fail,then=drop");
    let client = s.open(0);
    for cause in [Cause::Lost, Cause::Fail] {
        s.send(client, Command::SubmitJobBg, &["f", ""], "w");
        s.run_to(cause);
    }
    let counts = s.shards[0].counts();
    assert_eq!((s.dead(operator).len(), counts.dropped, counts.failed, counts.job_bytes), (0, 1, 1, 0));
}

#[test]
fn the_policy_for_every_function_yields_to_one_of_its_own() {
    let settings = Settings { shards: 2, ..Settings::default() };
    let mut s = Script::new(settings);
    let operator = s.open(0);
    assert_eq!(s.line(operator, "retry * attempts=7"), "OK\r\n");
    let (near, far) = (function_of(0), function_of(1));
    assert_eq!(s.line(operator, &format!("retry {far} attempts=1,backoff=5s")), "OK\r\n");
    let listed = format!(
        "*\tattempts=7,on=lost,timeout,then=dead\n{far}\tattempts=1,on=lost,timeout,backoff=5s,max-backoff=3600s,then=dead\n.\n"
    );
    assert_eq!(s.line(operator, "show retries"), listed);
    for function in [&near, &far] {
        s.send(operator, Command::SubmitJobBg, &[function, ""], "w");
        s.deliver_all();
        s.got(operator);
        let worker = s.open(0);
        s.send(worker, Command::CanDo, &[function], "");
        s.deliver_all();
        s.send(worker, Command::GrabJob, &[], "");
        s.deliver_all();
        assert_eq!(s.got(worker).len(), 1);
        s.close(worker);
        s.deliver_all();
    }
    assert_eq!(s.dead(operator), [format!("{far}\t\t1\tlost\t1000000\t1")]);
    assert!(s.line(operator, "retry f attempts=0").starts_with("ERR INVALID_POLICY attempts='0'"));
}

#[test]
fn a_job_waits_longer_before_every_attempt_and_is_never_early() {
    let (mut s, operator) = Script::with_policy(Settings::default(), "attempts=9,backoff=2s,max-backoff=5s");
    let client = s.open(0);
    s.later(300_000);
    s.send(client, Command::SubmitJobBg, &["f", ""], "w");
    for wait_us in [2_000_000, 4_000_000, 5_000_000, 5_000_000] {
        s.run_to(Cause::Lost);
        assert!(s.line(operator, "status").starts_with("f\t1\t0\t0"), "it counts as waiting");
        let wait_us = wait_us + 1_000_000 - s.now.unix_us % 1_000_000;
        let wait_us = if wait_us % 1_000_000 == 0 { wait_us - 1_000_000 } else { wait_us };
        s.later(wait_us - 1);
        assert!(s.grabs_nothing(), "{wait_us} us are not over");
        let sleeper = s.sleeping_worker(0, "f");
        s.later(1);
        assert_eq!(s.got(sleeper), ["NOOP"]);
        s.close(sleeper);
        s.later(300_000);
    }
}

#[test]
fn a_foreground_job_that_waits_for_its_next_attempt_goes_with_its_client() {
    let (mut s, _) = Script::with_policy(Settings::default(), "attempts=9,backoff=2s");
    let client = s.open(0);
    s.send(client, Command::SubmitJob, &["f", "u"], "w");
    s.run_to(Cause::Lost);
    s.close(client);
    assert_eq!((s.shards[0].counts().jobs, s.shards[0].counts().job_bytes), (0, 0));
    assert_eq!(s.shards[0].deadline(s.now), None);
}

/// A function with one dead letter of unique `u`; its handle.
fn one_letter(settings: Settings) -> (Script, ConnId, String) {
    let (mut s, operator) = Script::with_policy(settings, "attempts=1");
    let client = s.open(0);
    s.send(client, Command::SubmitJobBg, &["f", "u"], "first");
    let (worker, handle) = s.taken(false);
    s.close(worker);
    s.got(client);
    assert_eq!(s.dead(operator).len(), 1);
    (s, operator, handle)
}

#[test]
fn a_dead_letter_is_no_job() {
    let (mut s, operator, handle) = one_letter(Settings::default());
    assert_eq!(s.line(operator, "status"), "f\t0\t0\t0\n.\n");
    assert_eq!(s.line(operator, "show jobs"), ".\n");
    assert_eq!(s.line(operator, "show unique jobs"), ".\n");
    assert_eq!(s.line(operator, &format!("cancel job {handle}")), "ERR UNKNOWN_JOB\r\n");
    let client = s.open(0);
    s.send(client, Command::GetStatus, &[&handle], "");
    assert_eq!(s.got(client), ["STATUS_RES h 0 0 0 0"]);
    s.send(client, Command::GetStatusUnique, &["u"], "");
    assert_eq!(s.got(client), ["STATUS_RES_UNIQUE u 0 0 0 0 0"]);
    s.send(client, Command::SubmitJobBg, &["f", "u"], "second");
    assert_eq!(s.shards[0].counts().coalesced, 0, "a submit makes a new job");
    let (worker, other) = s.taken(false);
    assert_ne!(handle, other);
    s.send(worker, Command::WorkComplete, &[&other], "");
    assert!(s.grabs_nothing());
}

#[test]
fn a_requeued_letter_is_a_job_under_its_old_handle_that_has_never_been_tried() {
    let (mut s, operator, handle) = one_letter(Settings::default());
    let sleeper = s.sleeping_worker(0, "f");
    assert_eq!(s.line(operator, &format!("requeue dead {handle}")), "OK 1\r\n");
    assert_eq!(s.got(sleeper), ["NOOP"]);
    assert_eq!(s.line(operator, "show jobs"), format!("{handle}\t0\t0\t1\n.\n"));
    assert_eq!(s.line(operator, &format!("requeue dead {handle}")), "ERR UNKNOWN_JOB\r\n");
    let client = s.open(0);
    s.send(client, Command::SubmitJobBg, &["f", "u"], "second");
    assert_eq!(s.handle_of(client), handle, "a submit joins it");
    let (worker, again) = s.taken(false);
    assert_eq!(again, handle);
    s.close(worker);
    assert_eq!(s.dead(operator), ["f\tu\t1\tlost\t1000000\t5"], "attempts have started anew");
    let counts = s.shards[0].counts();
    assert_eq!((counts.died, counts.revived, counts.dead, counts.jobs), (2, 1, 1, 0));
}

#[test]
fn a_requeued_letter_joins_the_job_with_its_unique_unless_that_is_a_foreground_job() {
    let (mut s, operator, _) = one_letter(Settings::default());
    let client = s.open(0);
    s.send(client, Command::SubmitJob, &["f", "u"], "fg");
    assert_eq!(s.line(operator, "requeue dead f"), "OK 0\r\n");
    assert_eq!(s.dead(operator).len(), 1, "it does not go with somebody else's client");
    s.send(client, Command::SubmitJobBg, &["f", "u"], "bg");
    assert_eq!(s.line(operator, "requeue dead *"), "OK 1\r\n");
    assert_eq!((s.dead(operator).len(), s.shards[0].counts().jobs), (0, 1));
}

#[test]
fn letters_are_purged_by_handle_function_and_all_at_once() {
    let (mut s, operator, handle) = one_letter(Settings::default());
    assert_eq!(s.line(operator, "purge dead g"), "OK 0\r\n");
    assert_eq!(s.line(operator, "purge dead H:localhost:77"), "ERR UNKNOWN_JOB\r\n");
    assert_eq!(s.line(operator, &format!("purge dead {handle}")), "OK 1\r\n");
    for (which, purged) in [("f", "OK 2\r\n"), ("*", "OK 2\r\n"), ("*", "OK 0\r\n")] {
        if purged == "OK 2\r\n" {
            let client = s.open(0);
            for _ in 0..2 {
                s.send(client, Command::SubmitJobBg, &["f", ""], "w");
                s.run_to(Cause::Lost);
            }
        }
        assert_eq!(s.line(operator, &format!("purge dead {which}")), purged);
    }
    let counts = s.shards[0].counts();
    assert_eq!((counts.dead, counts.purged, counts.job_bytes), (0, 5, 0));
}

#[test]
fn a_function_keeps_the_newest_of_too_many_dead_letters() {
    let settings = Settings { dead_max: 2, ..Settings::default() };
    let (mut s, operator) = Script::with_policy(settings, "attempts=1");
    let client = s.open(0);
    for name in ["a", "b", "c", "d"] {
        s.send(client, Command::SubmitJobBg, &["f", name], "w");
        s.run_to(Cause::Lost);
    }
    let left: Vec<String> = s.dead(operator).iter().map(|line| line[2..3].to_owned()).collect();
    assert_eq!(left, ["c", "d"]);
    assert_eq!((s.shards[0].counts().purged, s.shards[0].counts().died), (2, 4));
}

#[test]
fn a_dropped_function_takes_its_dead_letters_along() {
    let (mut s, operator, _) = one_letter(Settings::default());
    assert_eq!(s.line(operator, "drop function f"), "OK\r\n");
    assert_eq!((s.dead(operator).len(), s.shards[0].counts().job_bytes), (0, 0));
}

#[test]
fn names_with_any_bytes_stay_in_their_columns() {
    let (mut s, operator) = Script::with_policy(Settings::default(), "off");
    assert_eq!(s.line(operator, "retry * attempts=1"), "OK\r\n");
    let (client, worker) = (s.open(0), s.open(0));
    s.send(client, Command::SubmitJobBg, &["a\tb\n", "u\\"], "w");
    s.send(worker, Command::CanDo, &["a\tb\n"], "");
    s.send(worker, Command::GrabJob, &[], "");
    s.close(worker);
    assert_eq!(s.dead(operator), ["a\\x09b\\x0a\tu\\x5c\t1\tlost\t1000000\t1"]);
}

fn states(s: &mut Script) -> Vec<String> {
    let changes = s.outs[0].stored.drain(..).map(|change| match change {
        Change::Added(job) => format!("added {}", job.losses),
        Change::Altered { state, .. } => {
            let death = state.death.map(|death| format!(" {} {}", death.cause, death.at_s));
            format!("altered {} {}{}", state.losses, state.not_before_s, death.unwrap_or_default())
        }
        Change::Removed { .. } => "removed".to_owned(),
    });
    changes.collect()
}

#[test]
fn every_turn_of_a_durable_job_is_stored_and_orders_are_confirmed_when_they_are() {
    let durable = Settings { durable: true, ..Settings::default() };
    let (mut s, operator) = Script::with_policy(durable, "attempts=2,on=lost,fail,backoff=3s");
    let client = s.open(0);
    s.send(client, Command::SubmitJobBg, &["f", "u"], "w");
    s.run_to(Cause::Lost);
    s.later(3_000_000);
    s.run_to(Cause::Fail);
    assert_eq!(states(&mut s), ["added 0", "altered 1 1000003", "altered 2 0 fail 1000003"]);
    s.confirm(&changes(3));
    assert_eq!(s.line(operator, "requeue dead *"), "", "it is not stored yet");
    assert_eq!(states(&mut s), ["altered 0 0"]);
    s.confirm(&changes(4));
    assert_eq!(s.line(operator, "purge dead *"), "OK 1\r\nOK 0\r\n");
    s.run_to(Cause::Fail);
    s.later(3_000_000);
    s.run_to(Cause::Fail);
    s.confirm(&changes(6));
    assert_eq!(s.line(operator, "purge dead *"), "");
    assert_eq!(states(&mut s).last().unwrap(), "removed");
    s.confirm(&changes(7));
    assert_eq!(s.line(operator, "show dead"), "OK 1\r\n.\n");
}

#[test]
fn a_letter_joins_only_what_the_store_has() {
    let durable = Settings { durable: true, ..Settings::default() };
    let (mut s, operator, _) = one_letter(durable);
    s.confirm(&changes(2));
    let client = s.open(0);
    s.send(client, Command::SubmitJobBg, &["f", "u"], "again");
    assert_eq!(s.line(operator, "requeue dead *"), "", "the answer waits with that of the submit");
    s.confirm(&changes(3));
    assert_eq!(s.line(operator, "show dead f").lines().count(), 3, "it has stayed");
    assert_eq!(s.line(operator, "requeue dead *"), "");
    s.confirm(&changes(4));
    assert_eq!(s.line(operator, "show dead f"), "OK 1\r\n.\n");
}

#[test]
fn what_a_store_gives_back_is_as_it_was() {
    let durable = || Settings { durable: true, ..Settings::default() };
    let (mut s, _, handle) = one_letter(durable());
    let client = s.open(0);
    s.send(client, Command::SubmitJobBg, &["f", "later"], "w");
    let mut jobs: Vec<StoredJob> = Vec::new();
    for change in std::mem::take(&mut s.outs[0].stored) {
        match change {
            Change::Added(job) => jobs.push(job),
            Change::Altered { state, .. } => jobs = vec![jobs[0].clone().with(state)],
            Change::Removed { .. } => panic!("nothing is over"),
        }
    }
    jobs[1] = jobs[1].clone().with(RetryState { losses: 4, not_before_s: START_S + 9, death: None });
    let mut s = Script::new(durable());
    for job in jobs {
        s.shards[0].restore(s.now, job, &mut s.outs[0]);
    }
    let operator = s.open(0);
    assert_eq!(s.dead(operator), ["f\tu\t1\tlost\t1000000\t5"]);
    assert!(s.grabs_nothing());
    assert!(s.line(operator, "show jobs").contains("\t4\t0\t1\n"));
    s.later(9_000_000);
    let (worker, later) = s.taken(false);
    s.send(worker, Command::WorkComplete, &[&later], "");
    s.line(operator, "requeue dead *");
    assert_eq!(s.taken(false).1, handle);
}
