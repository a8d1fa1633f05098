//! Short scripts for the queue; each name is the rule.

use super::*;
use crate::queue::name::Name;

const WORKER: Party = Party::new(1);
const NO_DEADLINE: u64 = u64::MAX;

struct Script {
    queue: Queue,
    function: u32,
    number: u64,
}

impl Script {
    fn new() -> Self {
        let mut queue = Queue::default();
        let function = queue.functions.insert(Name::from(&b"f"[..]));
        Self { queue, function, number: 0 }
    }

    fn add(&mut self, priority: Priority, unique: &str, workload: &str, not_before_s: u64) -> u64 {
        self.number += 1;
        let new = NewJob {
            function: self.function,
            number: self.number,
            body: Body::joined(&[unique.as_bytes(), workload.as_bytes()], None),
            unique_bytes: unique.len() as u16,
            reducer_bytes: 0,
            priority,
            standing: Standing::Background,
            not_before_s,
            filing: self.queue.filing(self.function, unique.as_bytes(), workload.as_bytes()),
        };
        self.queue.add(new, 100);
        self.number
    }

    fn find_same(&self, function: u32, unique: &[u8], workload: &[u8]) -> Option<u32> {
        self.queue.find_same(function, self.queue.filing(function, unique, workload), unique, workload)
    }

    fn take(&mut self) -> Option<u64> {
        let best = self.queue.functions[self.function].best()?;
        let at = self.queue.take(self.function, best, WORKER, NO_DEADLINE)?;
        Some(self.queue.job(at).number)
    }

    fn at(&self, number: u64) -> u32 {
        self.queue.find(number).expect("the job is there")
    }
}

#[test]
fn high_priority_is_taken_before_earlier_normal_and_fifo_within() {
    let mut script = Script::new();
    let low = script.add(Priority::Low, "", "", 0);
    let first = script.add(Priority::Normal, "", "", 0);
    let second = script.add(Priority::Normal, "", "", 0);
    let high = script.add(Priority::High, "", "", 0);
    let order: Vec<u64> = std::iter::from_fn(|| script.take()).collect();
    assert_eq!(order, [high, first, second, low]);
}

#[test]
fn a_requeued_job_goes_to_the_tail_and_a_restored_one_to_its_place() {
    let mut script = Script::new();
    let jobs: Vec<u64> = (0..3).map(|_| script.add(Priority::Normal, "", "", 0)).collect();
    assert_eq!(script.take(), Some(jobs[0]));
    script.queue.restore(script.at(jobs[0]));
    assert_eq!(script.take(), Some(jobs[0]));
    script.queue.requeue(script.at(jobs[0]));
    assert_eq!(script.queue.job(script.at(jobs[0])).losses, 1);
    let order: Vec<u64> = std::iter::from_fn(|| script.take()).collect();
    assert_eq!(order, [jobs[1], jobs[2], jobs[0]]);
}

#[test]
fn an_epoch_job_waits_for_its_time_and_then_takes_its_place_by_age() {
    let mut script = Script::new();
    let first = script.add(Priority::Normal, "", "", 0);
    let epoch = script.add(Priority::Normal, "", "", 200);
    let last = script.add(Priority::Normal, "", "", 0);
    assert_eq!(script.queue.next_due_s(), Some(200));
    assert_eq!(script.queue.release_due(199), None);
    assert_eq!(script.queue.functions[script.function].runnable(), 2);
    assert_eq!(script.queue.functions[script.function].total(), 3);
    assert_eq!(script.queue.release_due(200), Some(script.function));
    let order: Vec<u64> = std::iter::from_fn(|| script.take()).collect();
    assert_eq!(order, [first, epoch, last]);
}

#[test]
fn uniques_coalesce_within_a_function_until_the_job_ends() {
    let mut script = Script::new();
    let other = script.queue.functions.insert(Name::from(&b"g"[..]));
    let job = script.add(Priority::Normal, "u", "data", 0);
    assert_eq!(script.find_same(script.function, b"u", b"else"), Some(script.at(job)));
    assert_eq!(script.find_same(other, b"u", b"data"), None);
    assert_eq!(script.find_same(script.function, b"", b"data"), None);
    script.take();
    assert!(script.find_same(script.function, b"u", b"").is_some(), "running jobs coalesce too");
    script.queue.kill_running(script.at(job));
    assert!(script.find_same(script.function, b"u", b"").is_none(), "dead jobs never do");
    script.queue.remove(script.at(job));
    assert!(script.queue.is_empty());
}

#[test]
fn a_dash_coalesces_by_workload_and_never_when_that_is_empty() {
    let mut script = Script::new();
    let job = script.add(Priority::Normal, "-", "same", 0);
    script.add(Priority::Normal, "-", "", 0);
    let f = script.function;
    assert_eq!(script.find_same(f, b"-", b"same"), Some(script.at(job)));
    assert_eq!(script.find_same(f, b"-", b"other"), None);
    assert_eq!(script.find_same(f, b"-", b""), None);
    assert_eq!(script.find_same(f, b"same", b"x"), None);
    assert_eq!(script.queue.find_unique(b"-"), None);
}

#[test]
fn a_job_under_its_own_workload_is_joined_by_a_dash() {
    let mut script = Script::new();
    let job = script.add(Priority::Normal, "same", "same", 0);
    assert_eq!(script.find_same(script.function, b"-", b"same"), Some(script.at(job)));
}

#[test]
fn the_limit_counts_waiting_and_running_jobs_of_all_priorities() {
    let mut script = Script::new();
    script.queue.functions[script.function].limits = [0, 2, 1];
    script.add(Priority::Low, "", "", 0);
    assert!(script.queue.functions[script.function].is_full(Priority::High));
    assert!(!script.queue.functions[script.function].is_full(Priority::Normal));
    script.take();
    script.add(Priority::Low, "", "", 0);
    assert!(script.queue.functions[script.function].is_full(Priority::Normal));
    assert!(!script.queue.functions[script.function].is_full(Priority::Low));
}

#[test]
fn deadlines_belong_to_the_run_and_end_with_it() {
    let mut script = Script::new();
    let job = script.add(Priority::Normal, "", "", 0);
    script.queue.take(script.function, Priority::Normal, WORKER, 50);
    assert_eq!((script.queue.overdue(49), script.queue.next_deadline_us()), (None, Some(50)));
    assert_eq!(script.queue.overdue(50), Some(script.at(job)));
    script.queue.requeue(script.at(job));
    assert_eq!((script.queue.overdue(u64::MAX), script.queue.next_deadline_us()), (None, None));
}

#[test]
fn removal_from_any_state_leaves_nothing_behind() {
    let mut script = Script::new();
    for state in 0..4 {
        let job = script.add(Priority::Normal, "u", "w", if state == 1 { 200 } else { 0 });
        match state {
            2 => assert_eq!(script.take(), Some(job)),
            3 => {
                assert_eq!(script.take(), Some(job));
                script.queue.restore(script.at(job));
            }
            _ => {}
        }
        script.queue.remove(script.at(job));
        assert_eq!((script.queue.len(), script.queue.bytes()), (0, 0));
        assert_eq!(script.queue.functions[script.function].total(), 0);
        assert_eq!(script.queue.functions[script.function].best(), None);
        assert_eq!((script.queue.find(job), script.queue.next_due_s()), (None, None));
        assert_eq!(script.queue.find_unique(b"u"), None);
    }
}

#[test]
fn jobs_leave_the_middle_of_a_lane() {
    let mut script = Script::new();
    let jobs: Vec<u64> = (0..5).map(|_| script.add(Priority::Normal, "", "", 0)).collect();
    for at in [2, 0, 4] {
        script.queue.remove(script.at(jobs[at]));
    }
    let new = script.add(Priority::Normal, "", "", 0);
    let order: Vec<u64> = std::iter::from_fn(|| script.take()).collect();
    assert_eq!(order, [jobs[1], jobs[3], new]);
}

#[test]
fn the_newest_job_answers_for_a_unique_in_several_functions() {
    let mut script = Script::new();
    script.add(Priority::Normal, "u", "", 0);
    script.function = script.queue.functions.insert(Name::from(&b"g"[..]));
    let newer = script.add(Priority::Normal, "u", "", 0);
    assert_eq!(script.queue.find_unique(b"u"), Some(script.at(newer)));
}

#[test]
fn bodies_of_a_deep_queue_are_packed_until_their_turn() {
    const JOBS: u64 = 10_000;
    let mut script = Script::new();
    let text = |number: u64| (format!("unique {number}"), format!("workload {number}"));
    for number in 1..=JOBS {
        let (unique, workload) = text(number);
        let due_s = if number % 100 == 0 { 200 } else { 0 };
        assert_eq!(script.add(Priority::Normal, &unique, &workload, due_s), number);
    }
    let packed = |job: &Job| matches!(job.stored, Stored::Packed(_));
    assert!(script.queue.jobs.iter().filter(|(_, job)| packed(job)).count() as u64 >= JOBS - 1100);
    // Some leave the middle, most are taken, those that are left move together.
    for number in (1..JOBS).filter(|number| number % 7 == 3) {
        script.queue.remove(script.at(number));
    }
    while let Some(number) = script.take() {
        let at = script.at(number);
        let (unique, workload) = text(number);
        assert_eq!(**script.queue.job(at).shared_body(), *format!("{unique}\0{workload}").as_bytes());
        script.queue.remove(at);
    }
    let left: Vec<u64> = (1..=JOBS).filter(|number| number % 100 == 0 && number % 7 != 3).collect();
    assert_eq!(script.queue.len(), left.len());
    for &number in &left {
        let (unique, workload) = text(number);
        let at = script.find_same(script.function, unique.as_bytes(), b"").expect("it waits");
        assert_eq!(script.queue.job(at).number, number);
        assert_eq!(script.queue.job(at).workload(), workload.as_bytes());
        script.queue.remove(at);
    }
    assert_eq!((script.queue.len(), script.queue.bytes(), script.queue.parties.len()), (0, 0, 0));
}
