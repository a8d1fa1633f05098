//! Clients and workers that speak the protocols of other servers, so that those
//! can be measured with the same engine: NATS, Redis and beanstalkd.
//!
//! Written here, and not taken from client libraries: those block a thread for
//! each connection or bring a runtime of their own, and then their cost and not
//! the server's would be compared. What is needed of each protocol is a handful of
//! commands; each file begins with them. No answer goes unread: payloads are checked
//! byte by byte as those of Gearman jobs are, and every error is a fault.
//!
//! What each does is near to what a Gearman server does, and not the same:
//!
//! | | a request is | it is lost when |
//! |---|---|---|
//! | [`nats`] | two messages, to one of a queue group and to an inbox; nothing is kept | nobody listens, or somebody who does dies |
//! | [`redis`] | two list elements, pushed and popped | whoever popped it dies |
//! | [`beanstalkd`] | two jobs, each put, reserved and deleted | the server dies |

pub(crate) mod beanstalkd;
pub(crate) mod nats;
pub(crate) mod redis;
mod requests;
mod wire;

use crate::engine::conversation::Greeting;

/// Which server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Protocol {
    /// NATS: messages to a queue group of subscribers, answered to an inbox.
    Nats,
    /// Redis, or what speaks its protocol: LPUSH and BRPOP on lists.
    Redis,
    /// beanstalkd: put, reserve and delete.
    Beanstalkd,
}

impl Protocol {
    /// How a conversation begins.
    pub(crate) fn greeting(self) -> Greeting {
        match self {
            Self::Nats => nats::greeting(),
            Self::Redis => redis::greeting(),
            Self::Beanstalkd => beanstalkd::greeting(),
        }
    }
}

/// What is done with a job.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Work {
    /// As `fg`: a client asks, a worker sends the payload back, the client has it.
    Fg,
    /// As `flow`: a client puts it in, a worker takes it; the client hears only that it is in.
    Flow,
}

/// Bytes of the name of a list or tube: a job that is to be answered begins with
/// that of its client's.
const NAME_BYTES: usize = 14;

/// The list or tube of a run's jobs, or of a client's results.
fn queue_name(tag: u32, client: Option<u32>) -> Vec<u8> {
    let name = match client {
        None => format!("{tag:08x}.jobs_"),
        Some(client) => format!("{tag:08x}.{client:05x}"),
    };
    assert_eq!(name.len(), NAME_BYTES, "a million clients are more than there are ports");
    name.into_bytes()
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn names_have_one_length_and_tell_runs_and_clients_apart() {
        let names = [(1, None), (2, None), (1, Some(0)), (1, Some(0xf_ffff)), (u32::MAX, Some(0))];
        let names: HashSet<Vec<u8>> =
            names.into_iter().map(|(tag, client)| queue_name(tag, client)).collect();
        assert_eq!(names.len(), 5);
    }
}
