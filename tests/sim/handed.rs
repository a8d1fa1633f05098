//! What the model learns when a shard is handed a request.

use std::rc::Rc;

use crate::ask::{Admin, Ask, Work};
use crate::link::{Asked, Expected, LinkId};
use crate::model::{Fate, Model, RunId, State, tell};

impl Model {
    /// `ask` of `link` is about to be handed to its home.
    pub(crate) fn handed(&mut self, link: LinkId, ask: &Ask) {
        let tick = self.next_tick();
        tell!(self, "handed: link {link} {ask:?}");
        match *ask {
            Ask::CanDo { function, timeout_ms } => {
                if !self.links[link].serves(function) {
                    Rc::make_mut(&mut self.links[link].registered).push((function, timeout_ms));
                }
            }
            Ask::CantDo { function } => self.withdrawn(link, |served| served == function),
            Ask::Reset => self.withdrawn(link, |_| true),
            Ask::PreSleep => {
                self.links[link].asleep = true;
                self.links[link].woken = false;
            }
            Ask::Grab { kind, sent } => {
                let handed_us = self.oldest_us;
                let link = &mut self.links[link];
                link.asleep = false;
                let functions = Rc::clone(&link.registered);
                link.expected.push_back(Expected::Grab(Asked { kind, sent, functions, handed_us }));
            }
            Ask::Submit(submit) => {
                self.submits[submit].fate = Fate::Handed;
                self.unseen.push(submit);
                self.links[link].expected.push_back(Expected::Submit(submit));
            }
            Ask::Work { number, run, what } => self.worked(link, number, run, what),
            Ask::GetStatus { number } => self.links[link].expected.push_back(Expected::Status { number }),
            Ask::GetStatusUnique { unique } => {
                self.links[link].expected.push_back(Expected::StatusUnique { unique });
            }
            Ask::Echo(number) => self.links[link].expected.push_back(Expected::Echo(number)),
            Ask::Exceptions => {
                self.links[link].exceptions = true;
                self.links[link].expected.push_back(Expected::Option);
            }
            Ask::Admin(admin) => self.ordered(link, admin, tick),
            Ask::Broken => {}
        }
    }

    fn withdrawn(&mut self, link: LinkId, of: impl Fn(u8) -> bool + Copy) {
        let before = self.links[link].registered.clone();
        let gone: Vec<_> = before.iter().copied().filter(|&(function, _)| of(function)).collect();
        Rc::make_mut(&mut self.links[link].registered).retain(|&(function, _)| !of(function));
        if self.links[link].owes_a_grab() {
            self.disturb(&gone, false);
        }
        self.lose_runs(link, |function| gone.iter().any(|&(served, _)| served == function));
    }

    fn worked(&mut self, link: LinkId, number: u64, run: Option<RunId>, what: Work) {
        let Some(job) = self.jobs.get(&number) else {
            // A number that no job has.
            self.links[link].expected.push_back(Expected::WorkError { must: true });
            return;
        };
        let holds = match job.state {
            State::Running(held) => self.runs[held].link == link,
            _ => false,
        };
        if !holds {
            // The job may have been cancelled, or its time may be up, without this worker's home knowing yet.
            let racing = run.is_some_and(|run| {
                let run = &self.runs[run];
                run.link == link
                    && !run.lost
                    && (run.timeout_us > 0 || job.cancelled.is_some() || job.may_fail)
            });
            self.links[link].expected.push_back(Expected::WorkError { must: !racing });
            return;
        }
        let State::Running(held) = job.state else { unreachable!("checked above") };
        let timed = self.runs[held].timeout_us > 0;
        let race = timed || job.cancelled.is_some() || job.may_fail;
        if timed {
            self.links[link].expected.push_back(Expected::WorkError { must: false });
        }
        self.accepted(number, run.unwrap_or(held), what, race);
    }

    fn accepted(&mut self, number: u64, run: RunId, what: Work, race: bool) {
        let job = self.job(number);
        match what {
            Work::Data(sequence) => {
                self.runs[run].data_handed = sequence;
            }
            Work::Warning => {}
            Work::Status(numerator, denominator) => job.progress = (numerator, denominator),
            Work::Complete => job.completes.push(run),
            Work::Fail => {}
            Work::Exception => job.exceptions.push(run),
        }
        if matches!(what, Work::Fail | Work::Exception) {
            return self.failed(number, run, race);
        }
        if what.is_last() {
            if race {
                self.back_off(number, run);
                self.job(number).state = State::Unsure;
            } else {
                self.end(number);
            }
        }
    }

    fn ordered(&mut self, link: LinkId, admin: Admin, handed: u64) {
        match admin {
            Admin::Cancel(number) => {
                if let Some(job) = self.jobs.get_mut(&number) {
                    job.may_fail = true;
                }
            }
            Admin::Drop(function) => {
                self.exists[usize::from(function)] = false;
                self.dropping[usize::from(function)] = true;
                for at in 0..self.live.len() {
                    let number = self.live[at];
                    let job = self.job(number);
                    if job.function == function {
                        job.may_fail = true;
                    }
                }
            }
            Admin::Maxqueue(function, limit) => {
                self.limited[usize::from(function)] |= limit.is_some();
            }
            _ => {}
        }
        self.links[link].expected.push_back(Expected::Admin { admin, handed });
    }
}
