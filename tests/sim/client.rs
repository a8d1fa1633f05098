//! Clients and operators.

use gearshard::queue::job::Priority;

use crate::ask::{Admin, Ask, Load, Unique};
use crate::link::{LinkId, News};
use crate::model::{Fate, Submit, SubmitId};
use crate::options::Loss;
use crate::worker::pick;
use crate::world::World;

/// A client and its connection, if it has one.
#[derive(Default)]
pub(crate) struct Client {
    pub(crate) link: Option<LinkId>,
    unanswered: usize,
    /// Reads seldom.
    slow: bool,
}

impl Client {
    pub(crate) fn read(&mut self, world: &mut World, most: usize) {
        let Some(link) = self.link else { return };
        for _ in 0..most {
            let Some(news) = world.read(link) else { break };
            if matches!(news, News::Created(_) | News::Refused) {
                self.unanswered -= 1;
            }
        }
    }

    pub(crate) fn step(&mut self, world: &mut World) {
        let Some(link) = self.link else {
            let home = world.rng.usize(..world.shards());
            self.slow = world.options.congestion && world.rng.bool();
            let link = world.open(home);
            self.link = Some(link);
            if world.rng.u8(..3) == 0 {
                world.send(link, Ask::Exceptions);
            }
            return;
        };
        if !self.slow || world.rng.u8(..8) == 0 {
            let most = world.rng.usize(..=4);
            self.read(world, most);
        }
        if !world.model.links[link].open || world.model.links[link].closing {
            *self = Self::default();
            return;
        }
        match world.rng.u8(..40) {
            0..=24 => self.submit_some(world, link),
            25..=27 => ask_for_status(world, link),
            28 => {
                let number = world.rng.u32(..1000);
                world.send(link, Ask::Echo(number));
            }
            29 => self.leave_maybe(world),
            30 if world.options.bad_input && world.rng.u8(..4) == 0 => world.send(link, Ask::Broken),
            _ => {}
        }
    }

    fn submit_some(&mut self, world: &mut World, link: LinkId) {
        for _ in 0..[1, 1, 1, 2, 5][world.rng.usize(..5)] {
            if crowded(world) {
                return;
            }
            let submit = submit(world, link);
            world.send(link, Ask::Submit(submit));
            self.unanswered += 1;
        }
    }

    fn leave_maybe(&mut self, world: &mut World) {
        let leaves = match world.options.client_loss {
            Loss::Never => false,
            Loss::Answered => self.unanswered == 0,
            Loss::Crash => true,
        };
        if leaves {
            self.leave(world);
        }
    }

    pub(crate) fn leave(&mut self, world: &mut World) {
        if let Some(link) = self.link {
            world.hang_up(link);
        }
        *self = Self::default();
    }
}

/// Whether there are as many jobs as there shall be.
pub(crate) fn crowded(world: &World) -> bool {
    world.model.live.len() + world.model.unseen.len() >= world.options.depth
}

/// A random submit, known to the model.
pub(crate) fn submit(world: &mut World, link: LinkId) -> SubmitId {
    let id = world.model.submits.len();
    let now_s = world.model.now.unix_us / 1_000_000;
    let options = &world.options;
    let rng = &mut world.rng;
    let epoch = options.epochs && rng.u8(..6) == 0;
    let reducer = !epoch && rng.u8(..12) == 0;
    let priority = if epoch || reducer {
        Priority::Normal
    } else {
        [Priority::Low, Priority::Normal, Priority::High][rng.usize(..3)]
    };
    let unique = match rng.u8(..10) {
        0..=3 => Unique::Empty,
        4 | 5 => Unique::Dash,
        _ => Unique::Named(rng.u8(..options.uniques)),
    };
    let load = match unique {
        Unique::Dash if rng.u8(..4) > 0 => Load::Shared(rng.u8(..options.uniques)),
        Unique::Dash if rng.u8(..8) == 0 => Load::Empty,
        _ => Load::Tag(id),
    };
    let submit = Submit {
        link,
        sent: 0,
        function: rng.u8(..options.functions),
        unique,
        load,
        priority,
        background: epoch || rng.bool(),
        reducer,
        not_before_s: if epoch { now_s + rng.u64(..4) } else { 0 },
        fate: Fate::Sent,
        read: None,
        ended: false,
        data: None,
        unix_max_us: 0,
    };
    world.model.submits.push(submit);
    id
}

/// GET_STATUS or GET_STATUS_UNIQUE of something that may be there.
pub(crate) fn ask_for_status(world: &mut World, link: LinkId) {
    if world.rng.bool() {
        let number = pick(&mut world.rng, &world.model.live).unwrap_or(7);
        world.send(link, Ask::GetStatus { number });
    } else {
        let unique = match world.rng.u8(..8) {
            0 => Unique::Empty,
            1 => Unique::Dash,
            _ => Unique::Named(world.rng.u8(..world.options.uniques)),
        };
        world.send(link, Ask::GetStatusUnique { unique });
    }
}

/// Someone who types admin lines.
#[derive(Default)]
pub(crate) struct Operator {
    pub(crate) link: Option<LinkId>,
}

impl Operator {
    pub(crate) fn read(&mut self, world: &mut World) {
        let Some(link) = self.link else { return };
        while world.read(link).is_some() {}
    }

    pub(crate) fn step(&mut self, world: &mut World) {
        self.read(world);
        let Some(link) = self.link else {
            let home = world.rng.usize(..world.shards());
            self.link = Some(world.open(home));
            return;
        };
        let options = &world.options;
        let (cancels, limits, drops) = (options.cancels, options.limits, options.drops);
        let rng = &mut world.rng;
        let function = rng.u8(..options.functions);
        let admin = match rng.u8(..24) {
            0..=3 if cancels => {
                let Some(number) = pick(rng, &world.model.live) else { return };
                Admin::Cancel(number)
            }
            4 | 5 if limits => Admin::Maxqueue(function, rng.bool().then(|| rng.u32(..4))),
            6 | 7 if drops => Admin::Drop(function),
            8 => Admin::Create(function),
            9 => Admin::Version,
            10 => Admin::Unknown,
            11 => Admin::Status,
            12 => Admin::PriorityStatus,
            13 => Admin::ShowJobs,
            14 => Admin::Workers,
            _ => return,
        };
        world.send(link, Ask::Admin(admin));
    }
}
