//! How long a scenario goes on, for those that may go on for as long as one likes.

use std::time::Duration;

use clap::Args;

use crate::engine::fleet::Extent;
use crate::options::values::{count, seconds};

/// How much is measured.
#[derive(Args, Clone, Debug)]
pub(crate) struct Length {
    /// How many to measure; the default is to measure for --duration
    #[arg(long, value_name = "N", value_parser = count, conflicts_with = "duration", help_heading = "Extent")]
    pub(crate) count: Option<u64>,
    /// Seconds to measure; 0 measures until it is interrupted
    #[arg(long, value_name = "SECONDS", default_value_t = 5.0, value_parser = seconds, help_heading = "Extent")]
    pub(crate) duration: f64,
    /// Seconds before the measurement, not counted
    #[arg(long, value_name = "SECONDS", default_value_t = 1.0, value_parser = seconds, help_heading = "Extent")]
    pub(crate) warmup: f64,
}

impl Length {
    /// What is measured.
    pub(crate) fn extent(&self) -> Extent {
        match self.count {
            Some(jobs) => Extent::Jobs(jobs),
            None if self.duration <= 0.0 => Extent::ENDLESS,
            None => Extent::Time(Duration::from_secs_f64(self.duration)),
        }
    }

    /// What goes before, if anything does.
    pub(crate) fn warmup(&self) -> Option<Extent> {
        (self.warmup > 0.0).then(|| Extent::Time(Duration::from_secs_f64(self.warmup)))
    }
}
