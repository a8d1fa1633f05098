//! What a busy site does: foreground and background jobs of all priorities,
//! small and large, over many functions of which some are asked for more.

use std::sync::Arc;

use clap::Args;

use super::length::Length;
use super::load::{Open, Side};
use super::{Measure, new_run, with_fleet};
use crate::abort::Abort;
use crate::engine::client::Mode;
use crate::engine::fleet::{Fleet, Target};
use crate::engine::plan::{Kind, Picks};
use crate::engine::progress::Unit;
use crate::options::values::{payload_bytes, positive};
use crate::options::{Clients, Common, Names, Workers};
use crate::report::Report;

/// `mixed`
#[derive(Args, Debug)]
pub(crate) struct Mixed {
    #[command(flatten)]
    pub(crate) common: Common,
    /// Kinds of jobs and their weights: fg, high, low, bg, high-bg, low-bg
    #[arg(long, value_name = "KIND=WEIGHT,...", default_value = "fg=70,bg=20,high=5,low=5", value_parser = mix, help_heading = "Jobs")]
    pub(crate) mix: Weighted<Kind>,
    /// Bytes of payload and their weights, each size at least 16
    #[arg(long, value_name = "BYTES:WEIGHT,...", default_value = "64:80,4k:15,64k:5", value_parser = sizes, help_heading = "Jobs")]
    pub(crate) sizes: Weighted<usize>,
    /// Functions; every worker has them all
    #[arg(long, value_name = "N", default_value_t = 100, value_parser = positive, help_heading = "Jobs")]
    pub(crate) functions: u32,
    /// Skew of the jobs over the functions, after Zipf: function K is asked for K^-S as often as the first; 0 for evenly
    #[arg(long, value_name = "S", default_value_t = 1.0, value_parser = skew, help_heading = "Jobs")]
    pub(crate) skew: f64,
    #[command(flatten)]
    pub(crate) names: Names,
    #[command(flatten)]
    pub(crate) clients: Clients,
    #[command(flatten)]
    pub(crate) workers: Workers,
    /// Which side runs here; the other may run on another host, with the same options for jobs
    #[arg(long, value_enum, default_value = "both", help_heading = "Clients and workers")]
    pub(crate) side: Side,
    #[command(flatten)]
    pub(crate) open: Open,
    #[command(flatten)]
    pub(crate) length: Length,
}

/// Values and how often each is wanted beside the others.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Weighted<T>(pub(super) Vec<(T, f64)>);

/// Let the choices of kind, size and function be independent of each other.
pub(super) const KIND_SALT: u64 = 0x6b69_6e64;
pub(super) const SIZE_SALT: u64 = 0x7369_7a65;
const FUNCTION_SALT: u64 = 0x6675_6e63;

impl Measure for Mixed {
    fn common(&self) -> &Common {
        &self.common
    }

    fn run(&self, target: Target, report: &mut Report) -> Result<(), Abort> {
        let functions = (0..self.functions)
            .map(|index| {
                let name = format!("{}-{index}", self.names.function).into_bytes();
                (name, f64::from(index + 1).powf(-self.skew))
            })
            .collect();
        let mut run = new_run(
            Picks::weighted(SIZE_SALT, self.sizes.0.clone()),
            Picks::weighted(FUNCTION_SALT, functions),
            self.names.unique,
        );
        run.kinds = Picks::weighted(KIND_SALT, self.mix.0.clone());
        let run = Arc::new(self.side.run(run.in_parts()));
        with_fleet(&run, target, report, |fleet, report| {
            let workers = self.workers.roles(0..self.functions as usize);
            let clients = self.clients.roles(Mode::Planned);
            if !self.side.begin(fleet, report, workers, clients, self.length.extent())? {
                return Ok(());
            }
            self.open.warm_up(fleet, Unit::Done, self.length.warmup())?;
            // Nobody waits for background jobs, but none may be missing.
            let all_run = |fleet: &mut Fleet| if self.side.works() { fleet.all_run() } else { Ok(()) };
            all_run(fleet)?;
            self.open.measure(fleet, report, "mixed", Unit::Done, self.length.extent())?;
            all_run(fleet)
        })
    }
}

fn mix(text: &str) -> Result<Weighted<Kind>, String> {
    weighted(text, '=', |name| {
        let kind = Kind::NAMED.into_iter().find(|(known, _)| *known == name);
        let all = || Kind::NAMED.map(|(known, _)| known).join(", ");
        kind.map(|(_, kind)| kind).ok_or_else(|| format!("is not one of {}", all()))
    })
}

pub(super) fn sizes(text: &str) -> Result<Weighted<usize>, String> {
    weighted(text, ':', payload_bytes)
}

fn weighted<T>(
    text: &str,
    separator: char,
    value: impl Fn(&str) -> Result<T, String>,
) -> Result<Weighted<T>, String> {
    let mut all = Vec::new();
    for part in text.split(',') {
        let (name, weight) = part.split_once(separator).unwrap_or((part, "1"));
        let weight = match weight.parse::<f64>() {
            Ok(weight) if (0.0..1e9).contains(&weight) => weight,
            _ => return Err(format!("{part:?}: the weight {weight:?} is not a number from 0 up")),
        };
        all.push((value(name).map_err(|error| format!("{name:?}: {error}"))?, weight));
    }
    if all.iter().all(|(_, weight)| *weight == 0.0) {
        return Err("all weights are 0".to_owned());
    }
    Ok(Weighted(all))
}

fn skew(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(skew) if (0.0..=10.0).contains(&skew) => Ok(skew),
        _ => Err("is not a number from 0 to 10".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::plan::Level;

    #[test]
    fn a_mix_is_kinds_with_weights() {
        let high = Kind { background: false, level: Level::High };
        assert_eq!(mix("fg=3,high=0.5"), Ok(Weighted(vec![(Kind::FOREGROUND, 3.0), (high, 0.5)])));
        assert_eq!(mix("bg"), Ok(Weighted(vec![(Kind::BACKGROUND, 1.0)])));
        assert_eq!(sizes("64:80,4k:15"), Ok(Weighted(vec![(64, 80.0), (4000, 15.0)])));
        for wrong in ["", "fg=", "fg=-1", "fg=x", "fg=0", "medium=1", "fg=1,,bg=2"] {
            assert!(mix(wrong).is_err(), "{wrong:?}");
        }
        assert!(sizes("8:1").unwrap_err().contains("needs 16 bytes"));
        assert!(skew("-1").is_err() && skew("NaN").is_err() && skew("0").is_ok());
    }
}
