//! Jobs and where they wait: functions, priorities, the unique index.
//!
//! Knows nothing of packets, connections' roles or shards.

pub mod body;
pub mod job;
pub mod name;
