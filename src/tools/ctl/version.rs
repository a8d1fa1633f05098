//! `gearctl version`: versions of the servers and of this program.

use clap::Args;
use serde::Serialize;

use super::failure::Failure;
use super::fleet::Servers;
use super::listing::{Listing, Row};
use super::table::{Heading, Side};
use super::text::shown;
use crate::client::admin::AdminError;

/// Versions of the servers, their process ids and log levels; `gearctl --version` is this program's
#[derive(Args, Debug)]
pub(super) struct Options {
    #[command(flatten)]
    listing: Listing,
}

#[derive(Serialize)]
struct Version {
    version: String,
    pid: u32,
    log_level: String,
}

impl Row for Version {
    const HEADINGS: &'static [Heading] =
        &[("VERSION", Side::Left), ("PID", Side::Right), ("LOG", Side::Left)];

    fn cells(&self) -> Vec<String> {
        vec![self.version.clone(), self.pid.to_string(), self.log_level.clone()]
    }
}

pub(super) fn run(options: &Options, servers: &Servers) -> Result<(), Failure> {
    options.listing.run(servers, |admin| {
        Ok::<_, AdminError>(vec![Version {
            version: shown(admin.version()?.as_bytes()),
            pid: admin.getpid()?,
            log_level: shown(admin.verbose()?.as_bytes()),
        }])
    })
}
