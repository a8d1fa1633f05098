//! Other servers, doing what is nearest to `fg` and `flow`.

use std::sync::Arc;

use clap::Args;

use super::length::Length;
use super::{Measure, new_run, with_fleet};
use crate::abort::Abort;
use crate::engine::conversation::Greeting;
use crate::engine::fleet::{Fleet, Target};
use crate::engine::plan::Picks;
use crate::engine::progress::Unit;
use crate::engine::role::Order;
use crate::engine::run::{Run, Uniques};
use crate::neighbour::nats::Inbox;
use crate::neighbour::{Protocol, Work, beanstalkd, nats, redis};
use crate::options::values::{payload_bytes, positive};
use crate::options::{Clients, Common};
use crate::report::Report;

/// `neighbour`
#[derive(Args, Debug)]
pub(crate) struct Neighbour {
    /// Which server it is
    #[arg(value_enum, value_name = "PROTOCOL")]
    pub(crate) protocol: Protocol,
    #[command(flatten)]
    pub(crate) common: Common,
    /// What is done with a job
    #[arg(long, value_enum, default_value = "fg", help_heading = "Jobs")]
    pub(crate) work: Work,
    /// Bytes of payload, at least 16
    #[arg(long, value_name = "BYTES", default_value_t = 64, value_parser = payload_bytes, help_heading = "Jobs")]
    pub(crate) size: usize,
    #[command(flatten)]
    pub(crate) clients: Clients,
    /// Worker connections
    #[arg(long, value_name = "M", default_value_t = 16, value_parser = positive, help_heading = "Clients and workers")]
    pub(crate) workers: u32,
    /// Redis: take up to N jobs or results at once, with BLMPOP (Redis 7) instead of BRPOP
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = positive, help_heading = "Clients and workers")]
    pub(crate) batch: u32,
    /// NATS: a reply subject of its own for each request, as the official clients do, instead of one for each client
    #[arg(long, help_heading = "Clients and workers")]
    pub(crate) inbox_per_request: bool,
    #[command(flatten)]
    pub(crate) length: Length,
}

impl Measure for Neighbour {
    fn common(&self) -> &Common {
        &self.common
    }

    fn greeting(&self) -> Result<Greeting, Abort> {
        let refused = match self.protocol {
            Protocol::Nats if self.work == Work::Flow => {
                "NATS keeps no jobs without JetStream: --work fg only"
            }
            Protocol::Nats | Protocol::Beanstalkd if self.batch > 1 => "--batch is for Redis",
            Protocol::Redis | Protocol::Beanstalkd if self.inbox_per_request => {
                "--inbox-per-request is for NATS"
            }
            _ => return Ok(self.protocol.greeting()),
        };
        Err(Abort(refused.to_owned()))
    }

    fn run(&self, target: Target, report: &mut Report) -> Result<(), Abort> {
        let (phase, unit) = match self.work {
            Work::Fg => ("foreground", Unit::Answered),
            Work::Flow => ("flow", Unit::Ran),
        };
        let run = Arc::new(new_run(Picks::one(self.size), Picks::one(Vec::new()), Uniques::None));
        with_fleet(&run, target, report, |fleet, report| {
            self.seat(fleet, &run)?;
            // No barrier: Redis and beanstalkd answer none to those who wait for jobs.
            fleet.until(Unit::Echoed, 0, &[Order::Work])?;
            if let Some(warmup) = self.length.warmup() {
                fleet.submit(warmup, unit)?;
            }
            report.phase(phase, &fleet.submit(self.length.extent(), unit)?);
            Ok(())
        })
    }
}

impl Neighbour {
    fn seat(&self, fleet: &mut Fleet, run: &Run) -> Result<(), Abort> {
        let (tag, work, batch) = (run.payloads.run(), self.work, self.batch);
        let (workers, clients) = (0..self.workers, 0..self.clients.clients);
        let in_flight = self.clients.inflight;
        match self.protocol {
            Protocol::Nats => {
                let inboxes = if self.inbox_per_request { Inbox::Request } else { Inbox::Client };
                fleet.seat(workers.map(|_| nats::Worker::new(tag)))?;
                fleet.seat(clients.map(|client| nats::Client::new(tag, client, in_flight, inboxes)))
            }
            Protocol::Redis => {
                fleet.seat(workers.map(|_| redis::Worker::new(tag, work, batch)))?;
                fleet.seat(clients.map(|client| redis::Client::new(tag, client, in_flight, work, batch)))
            }
            Protocol::Beanstalkd => {
                fleet.seat(workers.map(|_| beanstalkd::Worker::new(tag, work)))?;
                fleet.seat(clients.map(|client| beanstalkd::Client::new(tag, client, in_flight, work)))
            }
        }
    }
}
