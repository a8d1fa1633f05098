//! Workers: orderly ones, and ones that stall, die, or speak out of turn.

use fastrand::Rng;

use crate::ask::{Ask, Grab, Work};
use crate::client::{crowded, submit};
use crate::link::{LinkId, News};
use crate::model::RunId;
use crate::world::World;

/// How a worker behaves for all its life.
#[derive(Clone, Debug)]
struct Habits {
    grab: Grab,
    /// Grabs that it sends at once.
    pipelined: usize,
    /// Grabs only after a NOOP.
    waits_for_noop: bool,
    /// Never sleeps, but asks again and again.
    polls: bool,
    /// Sends PRE_SLEEP in one go with the grab before it.
    sleeps_ahead: bool,
    /// Jobs that it takes before it finishes one.
    hands: usize,
    timeout: bool,
}

/// One worker and its connection, if it has one.
pub(crate) struct Worker {
    habits: Habits,
    pub(crate) link: Option<LinkId>,
    registered: Vec<u8>,
    held: Vec<(u64, RunId)>,
    unanswered: usize,
    asleep: bool,
    woken: bool,
    stalled: bool,
    /// Its last grab found nothing.
    idle: bool,
    /// Withdraws nothing, dies never, works all off.
    pub(crate) orderly: bool,
}

impl Worker {
    pub(crate) fn new(world: &mut World) -> Self {
        let timeouts = world.options.timeouts;
        let rng = &mut world.rng;
        let habits = Habits {
            grab: [Grab::Plain, Grab::Uniq, Grab::All][rng.usize(..3)],
            pipelined: [1, 1, 1, 2, 3][rng.usize(..5)],
            waits_for_noop: rng.u8(..5) == 0,
            polls: rng.u8(..4) == 0,
            sleeps_ahead: rng.u8(..6) == 0,
            hands: [1, 1, 2, 4][rng.usize(..4)],
            timeout: timeouts && rng.bool(),
        };
        Self::with(habits, false)
    }

    /// A worker that does what there is to do.
    pub(crate) fn orderly() -> Self {
        let habits = Habits {
            grab: Grab::All,
            pipelined: 1,
            waits_for_noop: false,
            polls: false,
            sleeps_ahead: false,
            hands: 1,
            timeout: false,
        };
        Self::with(habits, true)
    }

    fn with(habits: Habits, orderly: bool) -> Self {
        Self {
            habits,
            link: None,
            registered: Vec::new(),
            held: Vec::new(),
            unanswered: 0,
            asleep: false,
            woken: false,
            stalled: false,
            idle: false,
            orderly,
        }
    }

    /// Reads what is there, without acting on it.
    pub(crate) fn read(&mut self, world: &mut World, most: usize) {
        let Some(link) = self.link else { return };
        for _ in 0..most {
            let Some(news) = world.read(link) else { break };
            match news {
                News::Noop => {
                    self.woken = true;
                    self.stalled = !self.orderly && world.rng.u8(..100) < world.options.stalls;
                }
                News::NoJob => {
                    self.unanswered -= 1;
                    self.idle = true;
                }
                News::Assigned { number, run } => {
                    self.unanswered -= 1;
                    self.idle = false;
                    self.held.retain(|&(held, _)| held != number);
                    self.held.push((number, run));
                }
                News::Created(_) | News::Refused | News::NotFound | News::Other | News::Text(..) => {}
            }
        }
    }

    pub(crate) fn step(&mut self, world: &mut World) {
        let most = world.rng.usize(..=3);
        self.read(world, most);
        let Some(link) = self.link else {
            return self.connect(world);
        };
        if !world.model.links[link].open || world.model.links[link].closing {
            return self.forget();
        }
        let busy = self.held.len() >= self.habits.hands || (!self.held.is_empty() && world.rng.bool());
        if busy && (self.orderly || world.rng.u8(..10) < 7) {
            return self.work(world, link);
        }
        if !self.orderly && self.whim(world, link) {
            return;
        }
        if self.stalled && world.rng.u8(..30) > 0 {
            return;
        }
        self.grab_or_sleep(world, link);
    }

    fn connect(&mut self, world: &mut World) {
        let home = world.rng.usize(..world.shards());
        self.connect_to(world, home);
    }

    pub(crate) fn connect_to(&mut self, world: &mut World, home: usize) {
        let link = world.open(home);
        self.link = Some(link);
        let all = world.options.functions;
        if self.orderly {
            for function in 0..all {
                self.can_do(world, link, function, 0);
            }
            return;
        }
        let most = world.options.functions_of_worker;
        let count = if most > 40 { world.rng.u8(41..=most) } else { world.rng.u8(1..=most) };
        for _ in 0..count {
            self.learn(world, link);
        }
        if self.habits.waits_for_noop || world.rng.u8(..8) == 0 {
            self.sleep(world, link);
        }
    }

    fn learn(&mut self, world: &mut World, link: LinkId) {
        let function = world.rng.u8(..world.options.functions);
        let timeout_ms = if self.habits.timeout { [0, 1, 1000, 1500][world.rng.usize(..4)] } else { 0 };
        // The time of a function is not changed while a grab may be on its way.
        if !self.registered.contains(&function) {
            self.can_do(world, link, function, timeout_ms);
        }
    }

    fn can_do(&mut self, world: &mut World, link: LinkId, function: u8, timeout_ms: u32) {
        self.registered.push(function);
        world.send(link, Ask::CanDo { function, timeout_ms });
    }

    /// Something unexpected, now and then. Whether it did something.
    fn whim(&mut self, world: &mut World, link: LinkId) -> bool {
        let options = &world.options;
        let (losses, withdrawals, rogues) = (options.worker_loss, options.withdrawals, options.rogues);
        let (bad_input, mixed) = (options.bad_input, options.mixed);
        // A job held back behind another reply could be given up before it is sent.
        let withdrawals = withdrawals && (!mixed || self.unanswered == 0);
        let rng = &mut world.rng;
        if rng.u8(..100) < losses {
            world.hang_up(link);
            self.forget();
            return true;
        }
        match rng.u8(..60) {
            0 | 1 if withdrawals => self.withdraw(world, link),
            2 if withdrawals => {
                self.registered.clear();
                world.send(link, Ask::Reset);
            }
            3 | 4 if withdrawals => self.learn(world, link),
            5 | 6 if rogues && self.unanswered == 0 => return self.speak_of_others(world, link),
            7 => {
                let number = rng.u32(..1000);
                world.send(link, Ask::Echo(number));
            }
            8 if !self.registered.is_empty() => {
                // Once more, with the same time.
                let function = self.registered[rng.usize(..self.registered.len())];
                if world.model.links[link].registered.contains(&(function, 0)) {
                    world.send(link, Ask::CanDo { function, timeout_ms: 0 });
                }
            }
            9 if self.asleep => self.sleep(world, link),
            10 if bad_input && rng.u8(..4) == 0 => world.send(link, Ask::Broken),
            11..=13 if mixed && !crowded(world) => {
                let submit = submit(world, link);
                world.send(link, Ask::Submit(submit));
            }
            _ => return false,
        }
        true
    }

    fn withdraw(&mut self, world: &mut World, link: LinkId) {
        if self.registered.is_empty() {
            return;
        }
        let at = world.rng.usize(..self.registered.len());
        let function = self.registered.swap_remove(at);
        world.send(link, Ask::CantDo { function });
    }

    /// Says something of a job that another worker has, or nobody.
    fn speak_of_others(&mut self, world: &mut World, link: LinkId) -> bool {
        let Some(number) = pick(&mut world.rng, &world.model.live) else { return false };
        let mine = world.model.runs.iter().any(|run| run.link == link && run.number == number);
        if mine {
            return false;
        }
        let what = [Work::Complete, Work::Fail, Work::Data(1), Work::Exception, Work::Status(1, 2)]
            [world.rng.usize(..5)];
        world.send(link, Ask::Work { number, run: None, what });
        true
    }

    fn work(&mut self, world: &mut World, link: LinkId) {
        let at = world.rng.usize(..self.held.len());
        let (number, run) = self.held[at];
        let rng = &mut world.rng;
        let what = match rng.u8(..10) {
            0 | 1 if !self.orderly => {
                let run = &mut world.model.runs[run];
                run.data_sent += 1;
                Work::Data(run.data_sent)
            }
            2 if !self.orderly => Work::Status(rng.u32(..100), 100),
            3 if !self.orderly => Work::Warning,
            4 => Work::Fail,
            5 => Work::Exception,
            _ => Work::Complete,
        };
        world.send(link, Ask::Work { number, run: Some(run), what });
        if what.is_last() {
            self.held.swap_remove(at);
        }
    }

    fn grab_or_sleep(&mut self, world: &mut World, link: LinkId) {
        if self.unanswered > 0 || self.held.len() >= self.habits.hands {
            return;
        }
        if self.asleep && !self.woken {
            return;
        }
        if self.idle && !self.asleep && !self.habits.polls {
            self.idle = false;
            return self.sleep(world, link);
        }
        if self.habits.waits_for_noop && !self.woken {
            return self.sleep(world, link);
        }
        let grabs = self.habits.pipelined;
        for _ in 0..grabs {
            world.send(link, Ask::Grab { kind: self.habits.grab, sent: 0 });
        }
        self.unanswered = grabs;
        (self.asleep, self.woken, self.stalled, self.idle) = (false, false, false, false);
        if self.habits.sleeps_ahead && !self.orderly {
            self.sleep(world, link);
        }
    }

    fn sleep(&mut self, world: &mut World, link: LinkId) {
        world.send(link, Ask::PreSleep);
        (self.asleep, self.woken) = (true, false);
    }

    /// Closes the connection, if there is one.
    pub(crate) fn leave(&mut self, world: &mut World) {
        if let Some(link) = self.link {
            world.hang_up(link);
        }
        self.forget();
    }

    fn forget(&mut self) {
        let orderly = self.orderly;
        *self = Self::with(self.habits.clone(), orderly);
    }
}

pub(crate) fn pick<T: Copy>(rng: &mut Rng, from: &[T]) -> Option<T> {
    (!from.is_empty()).then(|| from[rng.usize(..from.len())])
}
