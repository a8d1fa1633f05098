//! What is checked when nothing is on its way: the admin lists against the
//! model, and everything that only rest can show.

use std::collections::BTreeMap;

use gearshard::queue::change::{Death, RetryState};
use gearshard::queue::job::Priority;

use crate::ask::{Admin, Ask, parse_function};
use crate::client::ask_for_status;
use crate::dead;
use crate::link::{Expected, LinkId, News};
use crate::model::{Fate, Model, State, tell};
use crate::rules::{broken, ensure};
use crate::world::World;

/// One line of `show jobs`.
#[derive(Clone, Copy, Debug)]
struct Row {
    losses: u32,
    dead: bool,
    background: bool,
}

/// Compares what the shards say with what the model knows. Everybody has read
/// everything and all shards are quiet.
pub(crate) fn check(world: &mut World, auditor: LinkId, patience_passed: bool) {
    nothing_is_due(&world.model);
    let lists = ask_lists(world, auditor);
    let [status, priorities, jobs, uniques, workers, letters] = &lists;
    let letters = dead::read(&world.model, letters);
    compare_store(world, jobs, &letters);
    let ghosts = compare_jobs(&mut world.model, jobs);
    dead::compare(&mut world.model, &letters);
    compare_ends(&world.model);
    compare_status(&mut world.model, status, priorities, ghosts);
    compare_uniques(&world.model, uniques, ghosts);
    compare_workers(&world.model, workers);
    compare_counts(world, jobs.len());
    see_everything(&mut world.model);
    world.model.dropping.fill(false);
    world.model.astray.fill(false);
    world.model.unseen_losses.fill(false);
    if patience_passed {
        nobody_sleeps_beside_work(&world.model);
    }
    world.model.resting = true;
    for _ in 0..3 {
        ask_for_status(world, auditor);
    }
    world.run_until_quiet();
    while world.read(auditor).is_some() {}
    world.model.resting = false;
    dead::order(world, auditor);
}

fn nothing_is_due(model: &Model) {
    for (id, link) in model.links.iter().enumerate().filter(|(_, link)| link.open) {
        ensure!(!link.held, NoneHeldAtRest, "link {id} is held");
        for expected in &link.expected {
            match expected {
                Expected::WorkError { must: true } => {
                    broken!(WorkOnlyFromHolder, "link {id} got no JOB_NOT_FOUND")
                }
                Expected::WorkError { must: false } => {}
                due => broken!(EveryRequestAnswered, "link {id} still waits for {due:?}"),
            }
        }
    }
}

fn ask_lists(world: &mut World, auditor: LinkId) -> [Vec<String>; 6] {
    let questions = [
        Admin::Status,
        Admin::PriorityStatus,
        Admin::ShowJobs,
        Admin::ShowUniqueJobs,
        Admin::Workers,
        Admin::ShowDead,
    ];
    for admin in questions {
        world.send(auditor, Ask::Admin(admin));
    }
    world.run_until_quiet();
    let mut answers = Vec::new();
    while let Some(news) = world.read(auditor) {
        if let News::Text(mut lines) = news {
            lines.pop();
            answers.push(lines);
        }
    }
    match answers.try_into() {
        Ok(answers) => answers,
        Err(answers) => broken!(EveryRequestAnswered, "six lists were asked for: {answers:?}"),
    }
}

fn numbers(line: &str) -> Vec<u64> {
    line.split('\t').skip(1).map(|field| field.parse().expect("a number")).collect()
}

/// At rest a store has the background jobs and the dead letters, and nothing else.
fn compare_store(world: &World, lines: &[String], letters: &BTreeMap<u64, (u16, Death)>) {
    let Some(kept) = world.kept() else { return };
    let mut listed = BTreeMap::new();
    for line in lines {
        let handle = line.split('\t').next().expect("a handle");
        let number = world.model.prefix.parse(handle.as_bytes()).expect("a handle");
        let [losses, _, background] = numbers(line)[..] else { panic!("four columns: {line}") };
        if background == 1 {
            let losses = u16::try_from(losses).expect("few losses");
            // Nobody lists the time that a job waits for; that it is not run before is seen elsewhere.
            let not_before_s = kept.get(&number).map_or(0, |state| state.not_before_s);
            listed.insert(number, RetryState { losses, not_before_s, death: None });
        }
    }
    for (&number, &(losses, death)) in letters {
        listed.insert(number, RetryState { losses, not_before_s: 0, death: Some(death) });
    }
    ensure!(kept == listed, StoreEqualsJobs, "stored: {kept:?}, listed: {listed:?}");
}

/// Settles the state of every job by `show jobs`. How many jobs are there
/// that only a lost submit explains.
fn compare_jobs(model: &mut Model, lines: &[String]) -> usize {
    let mut rows: BTreeMap<u64, Row> = BTreeMap::new();
    for line in lines {
        let handle = line.split('\t').next().expect("a handle");
        let number = model.prefix.parse(handle.as_bytes()).expect("a handle");
        let [losses, dead, background] = numbers(line)[..] else { panic!("four columns: {line}") };
        let losses = u32::try_from(losses).expect("few losses");
        let row = Row { losses, dead: dead == 1, background: background == 1 };
        let before = rows.insert(number, row);
        ensure!(before.is_none(), ShowJobsEqualsModel, "job {number} is listed twice");
    }
    for number in model.live.clone() {
        let row = rows.remove(&number);
        settle(model, number, row);
    }
    let mut ghosts = 0;
    for (number, row) in rows {
        ensure!(!model.jobs.contains_key(&number), NoJobLeftOver, "job {number} has ended: {row:?}");
        ensure!(row.background, AbandonedIsGone, "job {number} has no client: {row:?}");
        ghosts += 1;
    }
    let lost = model.unseen.iter().filter(|&&submit| model.submits[submit].background).count();
    ensure!(ghosts <= lost, NoJobOutOfNothing, "{ghosts} jobs without a submit, {lost} submits were lost");
    one_job_for_one_unique(model);
    ghosts
}

fn settle(model: &mut Model, number: u64, row: Option<Row>) {
    let now = model.now;
    let tick = model.next_tick();
    let job = &model.jobs[&number];
    tell!(model, "  rest: job {number} {:?} attempts {} is {row:?}", job.state, job.attempts);
    count_unseen_losses(model, number, row);
    let job = &model.jobs[&number];
    let attempts = job.attempts;
    let wanted = model.is_background(job) || model.waiters(job).next().is_some();
    let may_be_wanted = wanted || model.may_be_background(job);
    let spent = model.retries_max.is_some_and(|max| attempts >= max);
    match (job.state, row) {
        (State::Waiting, None) => broken!(NoJobLost, "job {number} waited and is gone"),
        (State::Waiting, Some(row)) => {
            ensure!(!row.dead, ShowJobsEqualsModel, "job {number} waits, but is dead");
            ensure!(
                row.losses == attempts,
                RequeuedAfterLoss,
                "job {number} lost {attempts} workers, but {} are counted",
                row.losses
            );
        }
        (State::Running(run), row) => {
            let held = &model.runs[run];
            let (may, must) = (held.may_have_timed_out(now), held.has_timed_out(now));
            match row {
                Some(row) if row.losses + 1 == attempts => {
                    ensure!(!must, TimeoutObeyed, "job {number} is out of time and still runs");
                    let dead_ok = !wanted || job.cancelled.is_some();
                    ensure!(!row.dead || dead_ok, NoJobLost, "job {number} is dead, but wanted");
                    let alive_ok = may_be_wanted && job.cancelled.is_none();
                    ensure!(row.dead || alive_ok, AbandonedIsGone, "job {number} is wanted by nobody");
                    model.job(number).dead = row.dead;
                }
                Some(row) => {
                    ensure!(
                        may && row.losses == attempts && !spent,
                        TimeoutObeyed,
                        "job {number} runs its attempt {attempts}: {row:?}"
                    );
                    lost_to_time(model, number, run);
                }
                None => {
                    let gone = may && (spent || !wanted || job.cancelled.is_some());
                    ensure!(gone, NoJobLost, "job {number} ran and is gone");
                    model.runs[run].lost = true;
                    let surely = spent && wanted && !model.jobs[&number].may_fail;
                    model.given_up(number, surely);
                    over(model, number, tick);
                }
            }
        }
        (State::Unsure, None) => over(model, number, tick),
        (State::Unsure, Some(row)) => {
            ensure!(job.cancelled.is_none(), CancelledIsGone, "job {number} is there: {row:?}");
            ensure!(may_be_wanted, AbandonedIsGone, "job {number} is wanted by nobody: {row:?}");
            ensure!(
                row.losses == attempts && !row.dead,
                NoJobLeftOver,
                "job {number} has had a result, or waits after {attempts} attempts: {row:?}"
            );
            let timed = model.runs.iter_mut().filter(|run| run.number == number);
            timed.for_each(|run| run.lost = true);
            model.job(number).state = State::Waiting;
            model.job(number).moved = true;
            let last = model.runs.iter().rposition(|run| run.number == number);
            if let (None, Some(run)) = (model.jobs[&number].wait, last) {
                model.back_off(number, run);
            }
        }
        (State::Ended, _) => unreachable!("ended jobs are not live"),
    }
    if let Some(row) = row {
        check_background(model, number, row);
    }
}

/// What a worker lost that was never sent the job can only be learnt here.
fn count_unseen_losses(model: &mut Model, number: u64, row: Option<Row>) {
    // A run whose time may be up may be among the losses already.
    let counts = match model.jobs[&number].state {
        State::Running(run) => !model.runs[run].may_have_timed_out(model.now),
        _ => false,
    };
    let job = model.job(number);
    if let (true, Some(row)) = (std::mem::take(&mut job.lost_unseen), row) {
        job.attempts = job.attempts.max(row.losses + u32::from(counts));
    }
}

fn check_background(model: &Model, number: u64, row: Row) {
    let job = &model.jobs[&number];
    let known = model.is_background(job);
    let fits = row.dead || row.background == known || (row.background && model.may_be_background(job));
    ensure!(fits, ShowJobsEqualsModel, "job {number} is background: {known}, {row:?}");
}

fn lost_to_time(model: &mut Model, number: u64, run: usize) {
    model.runs[run].lost = true;
    model.back_off(number, run);
    let job = model.job(number);
    job.state = State::Waiting;
    job.moved = true;
    job.progress = (0, 0);
}

fn over(model: &mut Model, number: u64, tick: u64) {
    model.end(number);
    model.job(number).over.get_or_insert(tick);
}

fn one_job_for_one_unique(model: &Model) {
    let mut keys = Vec::new();
    for number in &model.live {
        let job = &model.jobs[number];
        if let Some(key) = job.key.filter(|_| job.can_be_joined()) {
            ensure!(!keys.contains(&key), OneJobForOneUnique, "{key:?} has two jobs, one is {number}");
            keys.push(key);
        }
    }
}

/// Whoever waited for a job that has ended has been told.
fn compare_ends(model: &Model) {
    for (id, submit) in model.submits.iter().enumerate() {
        let waits = !submit.background && !submit.ended && model.links[submit.link].open;
        if let (Fate::Created(number), true) = (submit.fate, waits) {
            let state = model.jobs[&number].state;
            ensure!(
                state != State::Ended,
                EndHeardByEveryWaiter,
                "submit {id} still waits for job {number}, which is gone"
            );
        }
    }
}

fn compare_status(model: &mut Model, status: &[String], priorities: &[String], ghosts: usize) {
    let mut unexplained = 0;
    let mut seen = vec![false; model.exists.len()];
    for line in status {
        let name = line.split('\t').next().expect("a name");
        let function = parse_function(name.as_bytes()).expect("a function of ours");
        let [total, running, workers] = numbers(line)[..] else { panic!("four columns: {line}") };
        seen[usize::from(function)] = true;
        let of_function = || {
            model.live.iter().map(|number| &model.jobs[number]).filter(move |job| job.function == function)
        };
        let known = of_function().count() as u64;
        ensure!(total >= known, StatusEqualsModel, "{line:?}, but {known} jobs are known");
        unexplained += usize::try_from(total - known).expect("few jobs");
        let run = of_function().filter(|job| matches!(job.state, State::Running(_))).count() as u64;
        ensure!(running == run, StatusEqualsModel, "{line:?}, but {run} jobs run");
        let serving = model.links.iter().filter(|link| link.open && link.serves(function)).count() as u64;
        ensure!(workers == serving, StatusEqualsModel, "{line:?}, but {serving} workers serve");
        let lanes = priorities.iter().find(|line| line.split('\t').next() == Some(name));
        let Some(lanes) = lanes else { broken!(PriorityStatusEqualsModel, "{name} is missing") };
        compare_lanes(model, function, lanes, total - running, total > known);
        if let Some((limit, base)) = model.limits[usize::from(function)] {
            let base = *base.as_ref().unwrap_or(&usize::MAX);
            ensure!(
                total <= u64::from(limit).max(base as u64),
                MaxqueueObeyed,
                "{line:?}, but the limit is {limit}, from when there were {base}"
            );
            if base == usize::MAX {
                let now = usize::try_from(total).expect("few jobs");
                model.limits[usize::from(function)] = Some((limit, Some(now)));
            }
        }
    }
    ensure!(unexplained == ghosts, StatusEqualsModel, "{unexplained} jobs too many, not {ghosts}");
    for number in &model.live {
        let function = model.jobs[number].function;
        ensure!(seen[usize::from(function)], StatusEqualsModel, "f{function} is missing, with job {number}");
    }
    model.exists = seen;
}

fn compare_lanes(model: &Model, function: u8, line: &str, queued: u64, ghosts: bool) {
    let [high, normal, low, _] = numbers(line)[..] else { panic!("five columns: {line}") };
    ensure!(high + normal + low == queued, PriorityStatusEqualsModel, "{line:?}, but {queued} jobs wait");
    let mut lanes = [0; 3];
    for number in &model.live {
        let job = &model.jobs[number];
        let (least, most) = model.priorities(job);
        if job.function != function || job.state != State::Waiting {
            continue;
        }
        if least != most || ghosts {
            return;
        }
        lanes[match most {
            Priority::High => 0,
            Priority::Normal => 1,
            Priority::Low => 2,
        }] += 1;
    }
    ensure!(ghosts || lanes == [high, normal, low], PriorityStatusEqualsModel, "{line:?}, but {lanes:?}");
}

fn compare_uniques(model: &Model, lines: &[String], ghosts: usize) {
    let mut lines = lines.to_vec();
    for number in &model.live {
        let job = &model.jobs[number];
        let unique = String::from_utf8(model.submits[job.makers[0]].unique.bytes()).expect("a text");
        let Some(at) = lines.iter().position(|line| *line == unique) else {
            broken!(ShowUniqueJobsEqualsModel, "{unique:?} of job {number} is missing");
        };
        lines.swap_remove(at);
    }
    ensure!(lines.len() == ghosts, ShowUniqueJobsEqualsModel, "{lines:?} too many");
}

fn compare_workers(model: &Model, lines: &[String]) {
    let mut listed = vec![false; model.links.len()];
    for line in lines {
        let mut words = line.split(' ');
        let id: usize = words.next().and_then(|fd| fd.parse().ok()).expect("a number");
        let mut functions: Vec<u8> =
            words.skip(3).map(|name| parse_function(name.as_bytes()).expect("a function")).collect();
        functions.sort_unstable();
        let mut expected: Vec<u8> = model.links[id].registered.iter().map(|&(served, _)| served).collect();
        expected.sort_unstable();
        ensure!(
            model.links[id].open && !listed[id] && functions == expected,
            WorkersEqualsModel,
            "{line:?}, but link {id} serves {expected:?}"
        );
        listed[id] = true;
    }
    for (id, link) in model.links.iter().enumerate() {
        ensure!(listed[id] == link.open, WorkersEqualsModel, "link {id} is missing");
    }
}

fn compare_counts(world: &World, jobs: usize) {
    let mut total = 0;
    let mut noops = 0;
    let (mut letters, mut died) = (0, 0);
    for at in 0..world.shards() {
        let counts = world.shard(at).counts();
        total += counts.jobs;
        noops += counts.noops;
        let ended = counts.submitted + counts.revived - counts.jobs;
        let results = counts.completed + counts.failed + counts.dropped + counts.died;
        // A job that ends unheard was counted when its clients left.
        ensure!(
            results <= ended && ended <= results + counts.abandoned + counts.cancelled,
            CountersAddUp,
            "shard {at}: {counts:?}"
        );
        letters += counts.dead;
        died += counts.died - counts.revived - counts.purged;
        ensure!(
            (counts.jobs + counts.dead == 0) == (counts.job_bytes == 0),
            MemoryReturned,
            "shard {at}: {counts:?}"
        );
        ensure!(counts.open_replies == 0, CountersAddUp, "shard {at}: {counts:?}");
        let open = world.model.links.iter().filter(|link| link.open && link.home == at).count();
        ensure!(counts.connections == open as u64, CountersAddUp, "shard {at} has {open}: {counts:?}");
    }
    ensure!(total == jobs as u64, CountersAddUp, "{total} jobs counted, {jobs} listed");
    let (listed, joined) = (world.model.letters.len() as u64, world.model.letters_joined);
    ensure!(letters == listed && died - joined == listed, CountersAddUp, "{letters}, {died}, not {listed}");
    ensure!(noops == world.model.noops, CountersAddUp, "{noops} NOOPs counted, {} seen", world.model.noops);
}

/// Nothing is on its way: what waits and is due could be grabbed.
fn see_everything(model: &mut Model) {
    let now_s = model.now.unix_us / 1_000_000;
    let tick = model.next_tick();
    for number in model.live.clone() {
        let due = model.not_before_s(&model.jobs[&number]) <= now_s && model.has_waited(number);
        let job = &model.jobs[&number];
        if job.state == State::Waiting && due {
            model.judge(job, "and still waits");
            model.job(number).visible.get_or_insert(tick);
        }
    }
}

fn nobody_sleeps_beside_work(model: &Model) {
    for number in &model.live {
        let job = &model.jobs[number];
        if job.state != State::Waiting || job.visible.is_none() {
            continue;
        }
        for (id, link) in model.links.iter().enumerate() {
            let sleeps = link.open && link.asleep && !link.woken && link.serves(job.function);
            ensure!(!sleeps, NoLostWakeup, "link {id} sleeps beside job {number} of f{}", job.function);
        }
    }
}
