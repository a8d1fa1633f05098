//! One seed from the first event to the empty server.

use gearshard::shard::message::Refusal;

use crate::client::{Client, Operator};
use crate::dead;
use crate::link::{Link, LinkId};
use crate::options::Options;
use crate::rest;
use crate::rules::ensure;
use crate::worker::Worker;
use crate::world::{PATIENCE_US, World};

/// The world and who acts in it.
pub(crate) struct Play {
    pub(crate) world: World,
    workers: Vec<Worker>,
    clients: Vec<Client>,
    operators: Vec<Operator>,
    /// Asks what there is, at rest.
    auditor: LinkId,
}

impl Play {
    pub(crate) fn new(options: Options, told: bool) -> Self {
        let mut world = World::new(options, told);
        let workers = (0..world.options.workers).map(|_| Worker::new(&mut world)).collect();
        let clients = (0..world.options.clients).map(|_| Client::default()).collect();
        let operators = (0..world.options.operators).map(|_| Operator::default()).collect();
        let home = world.rng.usize(..world.shards());
        let auditor = world.open(home);
        Self { world, workers, clients, operators, auditor }
    }

    pub(crate) fn run(&mut self) {
        for event in 1..=self.world.options.events {
            self.event();
            if event % self.world.options.rest_every == 0 {
                let patient = self.world.rng.bool();
                self.rest(patient);
            }
        }
        self.finish();
    }

    /// One thing happens, wherever chance has it.
    fn event(&mut self) {
        let world = &mut self.world;
        match world.rng.u8(..100) {
            0..=49 => {
                if !world.step() {
                    self.act();
                }
            }
            50..=94 => self.act(),
            95..=97 => {
                let us = world.rng.u64(1..5_000);
                world.pass(us);
            }
            98 => self.pass_much(),
            _ => self.turn_of_fate(),
        }
    }

    fn act(&mut self) {
        let (workers, clients) = (self.workers.len(), self.clients.len());
        let all = workers + clients + self.operators.len();
        let world = &mut self.world;
        let at = world.rng.usize(..all);
        if at < workers {
            self.workers[at].step(world);
        } else if at < workers + clients {
            self.clients[at - workers].step(world);
        } else {
            self.operators[at - workers - clients].step(world);
        }
    }

    fn pass_much(&mut self) {
        let world = &mut self.world;
        // A job whose time is up before its worker hears of it cannot be told
        // from outside from one that it never got.
        let held_back = world.options.mixed && world.model.links.iter().any(Link::owes_a_grab);
        if world.options.timeouts && (held_back || world.assignment_on_its_way()) {
            return;
        }
        let ahead = world.deadline().map(|due| due.saturating_sub(world.model.now.mono_us));
        let us = match (ahead, world.rng.u8(..3)) {
            (Some(ahead), 0 | 1) => ahead + world.rng.u64(..3),
            _ => world.rng.u64(10_000..700_000),
        };
        world.pass(us);
    }

    fn turn_of_fate(&mut self) {
        let world = &mut self.world;
        let unix_us = world.model.now.unix_us;
        match world.rng.u8(..6) {
            0 if world.options.clock_jumps => {
                let by = world.rng.u64(..10_000_000);
                let back = world.rng.bool();
                world.set_unix(if back { unix_us - by } else { unix_us + by });
            }
            1 if world.options.draining => world.refuse_submits(Some(Refusal::Draining)),
            2 | 3 if world.options.draining => world.refuse_submits(None),
            _ => {}
        }
    }

    /// Lets everything come to its end that is on its way, and nothing begin.
    fn quiet(&mut self) {
        loop {
            self.world.run_until_quiet();
            let before = self.world.model.tick;
            self.read_all();
            if self.world.model.tick == before && !self.world.step() {
                let Some(us) = self.world.open_grab_ends_in_us() else { return };
                self.world.pass(us);
            }
        }
    }

    fn read_all(&mut self) {
        let world = &mut self.world;
        self.workers.iter_mut().for_each(|worker| worker.read(world, usize::MAX));
        self.clients.iter_mut().for_each(|client| client.read(world, usize::MAX));
        self.operators.iter_mut().for_each(|operator| operator.read(world));
    }

    /// Comes to rest, for `patient` without any wake that is still due.
    fn rest(&mut self, patient: bool) {
        self.quiet();
        let mut left = 2 * self.workers.len() + 8;
        while patient && left > 0 {
            left -= 1;
            let now_us = self.world.model.now.mono_us;
            let Some(due) = self.world.deadline().filter(|&due| due <= now_us + 2 * PATIENCE_US) else {
                break;
            };
            self.world.pass(due.saturating_sub(now_us));
            self.quiet();
        }
        rest::check(&mut self.world, self.auditor, patient);
    }

    /// The workers that are left are replaced by orderly ones, who do all that
    /// there is; then everybody leaves, and nothing must be left.
    fn finish(&mut self) {
        self.rest(true);
        self.world.model.ending = true;
        self.world.refuse_submits(None);
        let world = &mut self.world;
        if world.rng.bool() {
            self.workers.iter_mut().for_each(|worker| worker.leave(world));
        }
        for home in 0..world.shards() {
            let mut worker = Worker::orderly();
            worker.connect_to(world, home);
            self.workers.push(worker);
        }
        self.work_off();
        self.work_off_later();
        let world = &mut self.world;
        self.workers.iter_mut().for_each(|worker| worker.leave(world));
        self.quiet();
        self.rest(true);
        // What only a timed out or vanished worker held needs one more.
        let world = &mut self.world;
        let mut last = Worker::orderly();
        last.connect_to(world, 0);
        self.workers.push(last);
        self.work_off();
        self.work_off_later();
        let world = &mut self.world;
        self.clients.iter_mut().for_each(|client| client.leave(world));
        self.operators
            .iter_mut()
            .for_each(|operator| operator.link.take().into_iter().for_each(|link| world.hang_up(link)));
        self.workers.iter_mut().for_each(|worker| worker.leave(world));
        self.rest(true);
        let jobs: u64 = (0..self.world.shards()).map(|at| self.world.shard(at).counts().jobs).sum();
        ensure!(jobs == 0, NoJobLeftOver, "{jobs} jobs are left after all was done");
        dead::purge_all(&mut self.world, self.auditor);
        self.world.hang_up(self.auditor);
        self.world.run_until_quiet();
        for at in 0..self.world.shards() {
            let counts = self.world.shard(at).counts();
            ensure!(counts.job_bytes == 0, MemoryReturned, "shard {at}: {counts:?}");
            ensure!(counts.connections == 0, CountersAddUp, "shard {at}: {counts:?}");
        }
    }

    /// The same when what is for later has come, and all that is tried again.
    fn work_off_later(&mut self) {
        let Some(policy) = self.world.options.policy else {
            let world = &mut self.world;
            world.set_unix(world.model.now.unix_us + 60_000_000);
            return self.work_off();
        };
        for _ in 0..=policy.attempts {
            self.world.pass(60_000_000);
            self.work_off();
        }
    }

    /// Orderly workers act until all of them sleep and nothing happens.
    fn work_off(&mut self) {
        let most = self.world.steps + 100_000;
        loop {
            let before = self.world.model.tick;
            self.world.run_until_quiet();
            let world = &mut self.world;
            for worker in self.workers.iter_mut().filter(|worker| worker.orderly) {
                for _ in 0..4 {
                    worker.step(world);
                }
            }
            self.clients.iter_mut().for_each(|client| client.read(world, usize::MAX));
            self.operators.iter_mut().for_each(|operator| operator.read(world));
            self.workers.iter_mut().for_each(|worker| worker.read(world, usize::MAX));
            if self.world.model.tick == before {
                let now_us = self.world.model.now.mono_us;
                let due = self.world.deadline().filter(|&due| due <= now_us + 2 * PATIENCE_US);
                let Some(due) = due else { break };
                self.world.pass(due.saturating_sub(now_us));
            }
            ensure!(self.world.steps < most, QuietComes, "orderly workers find no end");
        }
        self.rest(true);
    }
}
