//! What runs a load: connections that act as clients and workers, on the
//! generator's threads, and the books that are kept of every job.
//!
//! A [`fleet`] seats [`conversation`]s on its crews' threads and leads them through
//! phases; all share one [`run`]. Those with a Gearman server are [`role`]s, such as
//! [`client`] and [`worker`].

pub(crate) mod alarm;
pub(crate) mod arrivals;
pub(crate) mod client;
pub(crate) mod connection;
pub(crate) mod conversation;
mod crew;
pub(crate) mod fleet;
pub(crate) mod ledger;
pub(crate) mod parts;
pub(crate) mod payload;
pub(crate) mod plan;
pub(crate) mod progress;
pub(crate) mod role;
pub(crate) mod run;
pub(crate) mod sample;
pub(crate) mod stop;
pub(crate) mod watch;
pub(crate) mod worker;
