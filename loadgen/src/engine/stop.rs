//! Lets a person end a run early: a measurement still gets its report, and those
//! that started servers end them first.

use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, OnceLock};

use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};

use crate::abort::Abort;

static REQUESTED: OnceLock<Arc<AtomicBool>> = OnceLock::new();

/// From now on the first SIGINT or SIGTERM asks for the end of the measurement;
/// the second ends the process.
pub(crate) fn listen() -> std::io::Result<()> {
    for signal in [SIGINT, SIGTERM] {
        // In this order: the first signal finds the flag not set yet.
        signal_hook::flag::register_conditional_shutdown(signal, 130, flag())?;
        signal_hook::flag::register(signal, flag())?;
    }
    Ok(())
}

/// For those with servers of their own, which nobody else would end: every SIGINT,
/// SIGTERM and SIGHUP only asks for the end.
pub(crate) fn listen_as_parent() -> std::io::Result<()> {
    for signal in [SIGINT, SIGTERM, SIGHUP] {
        signal_hook::flag::register(signal, flag())?;
    }
    Ok(())
}

fn flag() -> Arc<AtomicBool> {
    Arc::clone(REQUESTED.get_or_init(Arc::default))
}

/// Whether the measurement is to end.
pub(crate) fn requested() -> bool {
    REQUESTED.get().is_some_and(|requested| requested.load(Relaxed))
}

/// As [`requested`], for those who end gently once: the next signal asks again.
pub(crate) fn take() -> bool {
    REQUESTED.get().is_some_and(|requested| requested.swap(false, Relaxed))
}

/// Fails once the end was asked for.
pub(crate) fn check() -> Result<(), Abort> {
    if requested() { Err(Abort("interrupted".to_owned())) } else { Ok(()) }
}
