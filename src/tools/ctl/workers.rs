//! `gearctl workers`: who is connected to the servers, and what they serve.

use clap::Args;
use serde::Serialize;

use super::failure::Failure;
use super::fleet::Servers;
use super::listing::{Listing, Row};
use super::pattern::chosen;
use super::table::{Heading, Side};
use super::text::shown;
use crate::client::admin::{AdminError, Peer};

/// Workers, where they are, and the functions that they serve
#[derive(Args, Debug)]
pub(super) struct Options {
    /// Only workers of these functions, `*` for anything
    #[arg(value_name = "FUNCTION")]
    functions: Vec<String>,

    /// Show connections that serve nothing too: clients and administrators
    #[arg(short, long, conflicts_with = "functions")]
    all: bool,

    #[command(flatten)]
    listing: Listing,
}

#[derive(Serialize)]
struct Worker {
    fd: i64,
    address: String,
    id: String,
    functions: Vec<String>,
}

impl Row for Worker {
    const HEADINGS: &'static [Heading] =
        &[("FD", Side::Right), ("ADDRESS", Side::Left), ("ID", Side::Left), ("FUNCTIONS", Side::Left)];

    fn cells(&self) -> Vec<String> {
        vec![self.fd.to_string(), self.address.clone(), self.id.clone(), self.functions.join(" ")]
    }
}

pub(super) fn run(options: &Options, servers: &Servers) -> Result<(), Failure> {
    options.listing.run(servers, |admin| {
        let mut peers = admin.workers()?;
        peers.retain(|peer| {
            let serves = peer.functions.iter().any(|name| chosen(&options.functions, name));
            serves || options.all
        });
        peers.sort_by_key(|peer| peer.fd);
        let row = |peer: Peer| Worker {
            fd: peer.fd,
            address: shown(peer.address.as_bytes()),
            id: shown(&peer.id),
            functions: peer.functions.iter().map(|name| shown(name)).collect(),
        };
        Ok::<_, AdminError>(peers.into_iter().map(row).collect())
    })
}
