//! `gearctl retry`: how the jobs of functions are tried again.

use clap::Args;
use serde::Serialize;

use super::failure::Failure;
use super::fleet::Servers;
use super::listing::{Listing, Row};
use super::table::{Heading, Side};
use super::text::shown;
use crate::client::admin::{AdminError, RetryPolicy, Then};
use crate::protocol::retry;

/// Show how the jobs of functions are tried again, or say so for one (gearshard servers only)
///
/// A policy is one word, with commas between: attempts=N (how often a job is run at most),
/// on=lost,timeout,fail (after what; fail is WORK_FAIL of background jobs), backoff=TIME and
/// max-backoff=TIME (the wait before an attempt, which doubles), then=dead or then=drop (whether a
/// background job is kept as a dead letter in the end). It outlives the server where jobs do.
#[derive(Args, Debug)]
pub(super) struct Options {
    /// The function; `*` is every function without a policy of its own
    #[arg(requires = "policy")]
    function: Option<String>,

    /// Its policy from now on, such as attempts=5,backoff=1s; `off` takes it away
    #[arg(value_parser = retry::parse, conflicts_with_all = ["json", "watch"])]
    policy: Option<Setting>,

    #[command(flatten)]
    listing: Listing,
}

/// A policy, or none.
type Setting = Option<RetryPolicy>;

#[derive(Serialize)]
struct Policy {
    function: String,
    attempts: u16,
    on: Vec<&'static str>,
    backoff_s: u32,
    max_backoff_s: u32,
    then: &'static str,
}

impl Policy {
    fn new(function: &[u8], policy: &RetryPolicy) -> Self {
        let causes = [(policy.on.lost, "lost"), (policy.on.timeout, "timeout"), (policy.on.fail, "fail")];
        Self {
            function: shown(function),
            attempts: policy.attempts,
            on: causes.into_iter().filter(|(is_on, _)| *is_on).map(|(_, name)| name).collect(),
            backoff_s: policy.backoff_s,
            max_backoff_s: policy.max_backoff_s,
            then: match policy.then {
                Then::Dead => "dead",
                Then::Drop => "drop",
            },
        }
    }
}

impl Row for Policy {
    const HEADINGS: &'static [Heading] = &[
        ("FUNCTION", Side::Left),
        ("ATTEMPTS", Side::Right),
        ("ON", Side::Left),
        ("BACKOFF", Side::Right),
        ("MAX BACKOFF", Side::Right),
        ("THEN", Side::Left),
    ];

    fn cells(&self) -> Vec<String> {
        let seconds = |seconds| if self.backoff_s == 0 { "-".to_owned() } else { format!("{seconds}s") };
        vec![
            self.function.clone(),
            self.attempts.to_string(),
            self.on.join(","),
            seconds(self.backoff_s),
            seconds(self.max_backoff_s),
            self.then.to_owned(),
        ]
    }
}

pub(super) fn run(options: &Options, servers: &Servers) -> Result<(), Failure> {
    let (Some(function), Some(policy)) = (&options.function, options.policy) else {
        return options.listing.run(servers, |admin| {
            let policies = admin.show_retries()?;
            Ok::<_, AdminError>(policies.iter().map(|(name, policy)| Policy::new(name, policy)).collect())
        });
    };
    let answers = servers.fleet()?.ask(|admin| admin.set_retry(function, policy));
    let failed = answers.into_iter().filter_map(|(_, answer)| answer.err());
    failed.map(|error| Failure::from(error).told()).last().map_or(Ok(()), Err)
}
