//! Short plays without chance in them, for rules that say exactly what
//! happens. Each is played with one to eight shards.

use gearshard::queue::job::Priority;
use gearshard::shard::settings::{Retries, Wakeup};

use crate::ask::{Ask, Grab, Load, Unique, Work};
use crate::link::{LinkId, News};
use crate::model::{Fate, RunId, Submit};
use crate::options::{Loss, Options};
use crate::world::{PATIENCE_US, World};

fn world(shards: u16, functions: u8) -> World {
    let options = Options {
        shards,
        functions,
        wakeup: Wakeup::OnePerJob,
        retries: Retries::Unlimited,
        client_loss: Loss::Never,
        congestion: false,
        epochs: true,
        open_replies_max: 4096,
        grab_open_us: 0,
        ..Options::of(u64::from(shards), 0)
    };
    World::new(options, false)
}

fn worker(world: &mut World, home: usize, functions: &[u8]) -> LinkId {
    let link = world.open(home % world.shards());
    for &function in functions {
        world.send(link, Ask::CanDo { function, timeout_ms: 0 });
    }
    world.run_until_quiet();
    link
}

fn submit(world: &mut World, link: LinkId, function: u8, priority: Priority, not_before_s: u64) {
    let id = world.model.submits.len();
    world.model.submits.push(Submit {
        link,
        sent: 0,
        function,
        unique: Unique::Empty,
        load: Load::Tag(id),
        priority,
        background: true,
        reducer: false,
        not_before_s,
        fate: Fate::Sent,
        read: None,
        ended: false,
        data: None,
        unix_max_us: 0,
    });
    world.send(link, Ask::Submit(id));
    world.run_until_quiet();
    while world.read(link).is_some() {}
}

/// The function and priority that a grab gets.
fn grab(world: &mut World, link: LinkId) -> Option<(u8, Priority)> {
    world.send(link, Ask::Grab { kind: Grab::Plain, sent: 0 });
    world.run_until_quiet();
    loop {
        match world.read(link).expect("a grab is answered") {
            News::Noop => {}
            News::NoJob => return None,
            News::Assigned { number, .. } => {
                let job = &world.model.jobs[&number];
                return Some((job.function, world.model.priorities(job).0));
            }
            news => panic!("{news:?}"),
        }
    }
}

fn sleep(world: &mut World, link: LinkId) {
    world.send(link, Ask::PreSleep);
    world.run_until_quiet();
}

#[test]
fn priorities_are_global_over_functions_and_owners() {
    use Priority::{High, Low, Normal};
    for shards in 1..=8 {
        let mut world = world(shards, 2);
        let client = world.open(0);
        for (function, priority) in [(0, Low), (0, Normal), (1, High), (1, Normal), (0, High), (1, Low)] {
            submit(&mut world, client, function, priority, 0);
        }
        let link = worker(&mut world, 1, &[0, 1]);
        let order: Vec<_> = std::iter::from_fn(|| grab(&mut world, link)).collect();
        let expected = [(1, High), (0, High), (1, Normal), (0, Normal), (1, Low), (0, Low)];
        assert_eq!(order, expected, "{shards} shards");
    }
}

#[test]
fn functions_of_one_priority_take_turns_over_owners() {
    for shards in 1..=8 {
        let mut world = world(shards, 3);
        let client = world.open(0);
        for function in [0, 0, 0, 1, 1, 1, 2, 2, 2] {
            submit(&mut world, client, function, Priority::Normal, 0);
        }
        let link = worker(&mut world, 2, &[0, 1, 2]);
        let order: Vec<_> =
            std::iter::from_fn(|| grab(&mut world, link)).map(|(function, _)| function).collect();
        assert_eq!(order, [2, 1, 0, 2, 1, 0, 2, 1, 0], "{shards} shards");
    }
}

#[test]
fn one_job_wakes_one_of_many_sleepers_and_the_next_after_patience() {
    for shards in 1..=8 {
        let mut world = world(shards, 1);
        let links: Vec<_> = (0..100).map(|home| worker(&mut world, home, &[0])).collect();
        for &link in &links {
            sleep(&mut world, link);
        }
        assert_eq!(world.model.noops, 0);
        let client = world.open(0);
        submit(&mut world, client, 0, Priority::Normal, 0);
        assert_eq!(world.model.noops, 1, "{shards} shards");
        for woken in 2..=links.len() as u64 {
            world.pass(PATIENCE_US);
            world.run_until_quiet();
            assert_eq!(world.model.noops, woken, "{shards} shards: nobody comes, so one more is woken");
        }
        world.pass(10 * PATIENCE_US);
        world.run_until_quiet();
        assert_eq!(world.model.noops, links.len() as u64, "nobody is woken twice");
    }
}

#[test]
fn many_jobs_wake_as_many_sleepers() {
    for shards in 1..=8 {
        let mut world = world(shards, 1);
        let links: Vec<_> = (0..40).map(|home| worker(&mut world, home, &[0])).collect();
        for &link in &links {
            sleep(&mut world, link);
        }
        let client = world.open(0);
        for jobs in 1..=25 {
            submit(&mut world, client, 0, Priority::Normal, 0);
            assert_eq!(world.model.noops, jobs, "{shards} shards");
        }
    }
}

#[test]
fn future_jobs_keep_nobody_busy_and_wake_a_sleeper_when_due() {
    for shards in 1..=8 {
        let mut world = world(shards, 2);
        let link = worker(&mut world, 1, &[0, 1]);
        let client = world.open(0);
        let due_s = world.model.now.unix_us / 1_000_000 + 5;
        submit(&mut world, client, 0, Priority::Normal, due_s);
        submit(&mut world, client, 1, Priority::Normal, due_s);
        assert_eq!(grab(&mut world, link), None);
        sleep(&mut world, link);
        while world.model.now.unix_us < due_s * 1_000_000 {
            assert_eq!(world.model.noops, 0, "{shards} shards: too early");
            world.pass(100_000);
            world.run_until_quiet();
        }
        assert_eq!(world.model.noops, 1, "{shards} shards");
        assert!(grab(&mut world, link).is_some() && grab(&mut world, link).is_some());
        assert_eq!(grab(&mut world, link), None);
    }
}

#[test]
fn a_worker_alone_never_asks_in_vain() {
    for shards in 1..=8 {
        let mut world = world(shards, 3);
        let link = worker(&mut world, 1, &[0, 1, 2]);
        let client = world.open(0);
        for priority in [Priority::Low, Priority::High, Priority::Normal, Priority::Low] {
            for function in 0..3 {
                submit(&mut world, client, function, priority, 0);
            }
        }
        for _ in 0..12 {
            assert!(grab(&mut world, link).is_some());
        }
        assert_eq!(grab(&mut world, link), None);
        let missed: u64 = (0..world.shards()).map(|at| world.shard(at).counts().missed).sum();
        assert_eq!(missed, 0, "{shards} shards: what is left comes with every job");
        sleep(&mut world, link);
        assert_eq!(world.model.noops, 0, "{shards} shards: nothing is left");
    }
}

const OPEN_US: u64 = 1_000;

fn world_with_open_grabs(shards: u16, functions: u8) -> World {
    let World { options, .. } = world(shards, functions);
    World::new(Options { grab_open_us: OPEN_US, ..options }, false)
}

/// A worker that has done so many jobs, one every `gap_us`.
fn busy_worker(world: &mut World, client: LinkId, functions: &[u8], gap_us: u64) -> LinkId {
    let link = worker(world, 1, functions);
    for _ in 0..40 {
        submit(world, client, functions[0], Priority::Normal, 0);
        assert!(grab(world, link).is_some());
        world.pass(gap_us);
    }
    link
}

fn ask(world: &mut World, link: LinkId) {
    world.send(link, Ask::Grab { kind: Grab::Plain, sent: 0 });
    world.run_until_quiet();
}

#[test]
fn a_grab_stays_open_where_jobs_come_quickly() {
    for shards in 1..=8 {
        let mut world = world_with_open_grabs(shards, 2);
        let client = world.open(0);
        let sleeper = worker(&mut world, 1, &[0, 1]);
        let links = [(); 2].map(|()| busy_worker(&mut world, client, &[0, 1], 100));
        let noops = world.model.noops;
        sleep(&mut world, sleeper);
        for link in links {
            ask(&mut world, link);
            assert!(world.read(link).is_none(), "{shards} shards: it is answered with a job");
        }
        // Also one of the function that has been quiet.
        for (link, function) in links.into_iter().zip([1, 0]) {
            submit(&mut world, client, function, Priority::Low, 0);
            let Some(News::Assigned { number, .. }) = world.read(link) else {
                panic!("{shards} shards: the first to ask gets the first job")
            };
            assert_eq!(world.model.jobs[&number].function, function);
        }
        assert_eq!(world.model.noops, noops, "{shards} shards: the sleeper sleeps on");
        submit(&mut world, client, 0, Priority::Normal, 0);
        assert_eq!(world.model.noops, noops + 1, "{shards} shards: nobody else asks");
    }
}

#[test]
fn an_open_grab_is_answered_when_its_moment_is_over() {
    for shards in 1..=8 {
        let mut world = world_with_open_grabs(shards, 1);
        let client = world.open(0);
        let link = busy_worker(&mut world, client, &[0], 100);
        ask(&mut world, link);
        world.pass(OPEN_US - 1);
        world.run_until_quiet();
        assert!(world.read(link).is_none(), "{shards} shards: too early");
        world.pass(1);
        world.run_until_quiet();
        assert!(matches!(world.read(link), Some(News::NoJob)), "{shards} shards");
        assert_eq!(
            grab(&mut world, link),
            None,
            "{shards} shards: none came for so long that none is expected"
        );
    }
}

#[test]
fn a_grab_is_answered_at_once_where_jobs_come_slowly() {
    for shards in 1..=8 {
        let mut world = world_with_open_grabs(shards, 1);
        let client = world.open(0);
        let link = busy_worker(&mut world, client, &[0], OPEN_US + 100);
        assert_eq!(grab(&mut world, link), None, "{shards} shards");
    }
}

#[test]
fn results_and_further_grabs_are_taken_in_while_a_grab_is_open() {
    for shards in 1..=8 {
        let mut world = world_with_open_grabs(shards, 1);
        let client = world.open(0);
        let link = busy_worker(&mut world, client, &[0], 100);
        let (number, run) = held_job(&mut world, client, link);
        for _ in 0..3 {
            ask(&mut world, link);
        }
        world.send(link, Ask::Work { number, run: Some(run), what: Work::Complete });
        world.run_until_quiet();
        assert!(!world.model.live.contains(&number), "{shards} shards: the result waits");
        assert!(world.read(link).is_none(), "{shards} shards: it is answered with a job");
        submit(&mut world, client, 0, Priority::Normal, 0);
        submit(&mut world, client, 0, Priority::Normal, 0);
        for _ in 0..2 {
            assert!(matches!(world.read(link), Some(News::Assigned { .. })), "{shards} shards");
        }
        assert!(world.read(link).is_none(), "{shards} shards: one is still open");
        sleep(&mut world, link);
        assert!(matches!(world.read(link), Some(News::NoJob)), "{shards} shards: it is about to sleep");
    }
}

fn held_job(world: &mut World, client: LinkId, link: LinkId) -> (u64, RunId) {
    submit(world, client, 0, Priority::Normal, 0);
    ask(world, link);
    match world.read(link) {
        Some(News::Assigned { number, run }) => (number, run),
        news => panic!("{news:?}"),
    }
}
