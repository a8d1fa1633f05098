//! Log levels and the sink that log lines go to.

use std::fmt;
use std::sync::Arc;

/// How serious a line is, under gearmand's names; the first is the gravest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Level {
    /// The server cannot go on.
    Fatal,
    /// Someone has to act at once.
    Alert,
    /// Part of the server does not work.
    Critical,
    /// An operation failed.
    Error,
    /// Something is wrong, and the server copes.
    Warning,
    /// Normal, but worth knowing.
    Notice,
    /// The course of things: connections, listeners.
    Info,
    /// For finding faults, in peers above all.
    Debug,
}

/// Where log lines go. The sink drops lines of levels that are off before it
/// formats them.
pub type Log = Arc<dyn Fn(Level, fmt::Arguments<'_>) + Send + Sync>;
