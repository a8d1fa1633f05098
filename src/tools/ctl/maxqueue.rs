//! `gearctl maxqueue`: how many jobs a function may have.

use clap::Args;

use super::failure::Failure;
use super::fleet::Servers;
use super::text::shown;
use crate::client::Admin;

/// Limit how many jobs a function may have: submits over it are refused
///
/// The limit counts waiting and running jobs of all priorities, and holds until the server ends.
#[derive(Args, Debug)]
pub(super) struct Options {
    /// The function
    function: String,

    /// One limit for all priorities, or three for high, normal and low; `none` or 0 is no limit
    #[arg(value_name = "LIMIT", required = true, num_args = 1..=3, value_parser = limit)]
    limits: Vec<u32>,

    /// Make the function known first; a server keeps no limit for one that it does not know
    #[arg(long)]
    create: bool,
}

fn limit(text: &str) -> Result<u32, String> {
    if text == "none" {
        return Ok(0);
    }
    // Servers read it as a signed number.
    let number = text.parse().ok().filter(|number| *number <= i32::MAX.unsigned_abs());
    number.ok_or_else(|| "write a number of jobs, or none".to_owned())
}

pub(super) fn run(options: &Options, servers: &Servers) -> Result<(), Failure> {
    let [high, normal, low] = match options.limits[..] {
        [all] => [all; 3],
        [high, normal, low] => [high, normal, low],
        _ => return Err(Failure::Usage("write one limit, or three for high, normal and low".to_owned())),
    };
    let mut last = None;
    for (_, answer) in servers.fleet()?.ask(|admin| limit_on(admin, options, [high, normal, low])) {
        last = answer.err().map(Failure::told).or(last);
    }
    last.map_or(Ok(()), Err)
}

fn limit_on(admin: &mut Admin, options: &Options, [high, normal, low]: [u32; 3]) -> Result<(), Failure> {
    let name = options.function.as_bytes();
    if options.create {
        admin.create_function(name)?;
    } else if admin.status()?.iter().all(|function| function.name != name) {
        let (server, name) = (admin.server(), shown(name));
        return Err(Failure::Refused(format!("{server} has no function {name}; --create makes it known")));
    }
    Ok(admin.maxqueue(name, high, normal, low)?)
}
