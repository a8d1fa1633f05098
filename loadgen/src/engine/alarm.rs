//! Wakes a thread's poll at a moment, to microseconds.
//!
//! The timeout of `epoll_wait` counts in milliseconds, so on Linux a timer is one
//! more descriptor to poll; elsewhere the poll's own timeout is fine enough.

use std::io;
use std::time::{Duration, Instant};

use mio::{Registry, Token};

/// The token that the alarm rings with.
pub(crate) const ALARM: Token = Token(usize::MAX - 1);

/// A moment so near is not worth a timer.
const NEAR: Duration = Duration::from_micros(2);

pub(crate) struct Alarm {
    #[cfg(target_os = "linux")]
    timer: std::os::fd::OwnedFd,
    /// What the timer is set to.
    #[cfg(target_os = "linux")]
    set: Option<Instant>,
}

#[cfg(target_os = "linux")]
impl Alarm {
    pub(crate) fn new(registry: &Registry) -> io::Result<Self> {
        use std::os::fd::AsRawFd;

        use rustix::time::{TimerfdClockId, TimerfdFlags, timerfd_create};

        let flags = TimerfdFlags::NONBLOCK | TimerfdFlags::CLOEXEC;
        let timer = timerfd_create(TimerfdClockId::Monotonic, flags)?;
        // Edge-triggered, so that a timer which has rung need not be read.
        registry.register(&mut mio::unix::SourceFd(&timer.as_raw_fd()), ALARM, mio::Interest::READABLE)?;
        Ok(Self { timer, set: None })
    }

    /// Rings at `moment`; returns the timeout to poll with.
    pub(crate) fn at(&mut self, moment: Instant) -> io::Result<Option<Duration>> {
        use rustix::time::{Itimerspec, TimerfdTimerFlags, Timespec, timerfd_settime};

        let left = moment.saturating_duration_since(Instant::now());
        if left < NEAR {
            return Ok(Some(Duration::ZERO));
        }
        if self.set != Some(moment) {
            let once = Timespec { tv_sec: 0, tv_nsec: 0 };
            let value = Timespec::try_from(left).map_err(|_| io::Error::other("a moment too far away"))?;
            let spec = Itimerspec { it_interval: once, it_value: value };
            timerfd_settime(&self.timer, TimerfdTimerFlags::empty(), &spec)?;
            self.set = Some(moment);
        }
        Ok(None)
    }
}

#[cfg(not(target_os = "linux"))]
impl Alarm {
    #[allow(clippy::unnecessary_wraps, reason = "as on Linux")]
    pub(crate) fn new(_registry: &Registry) -> io::Result<Self> {
        Ok(Self {})
    }

    #[allow(clippy::unnecessary_wraps, clippy::unused_self, reason = "as on Linux")]
    pub(crate) fn at(&mut self, moment: Instant) -> io::Result<Option<Duration>> {
        let left = moment.saturating_duration_since(Instant::now());
        Ok(Some(if left < NEAR { Duration::ZERO } else { left }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_rings_after_its_moment_and_not_before() {
        let mut poll = mio::Poll::new().unwrap();
        let mut alarm = Alarm::new(poll.registry()).unwrap();
        let mut events = mio::Events::with_capacity(4);
        for wait_us in [0, 200, 1500, 3000] {
            let moment = Instant::now() + Duration::from_micros(wait_us);
            while Instant::now() < moment {
                let timeout = alarm.at(moment).unwrap();
                poll.poll(&mut events, timeout).unwrap();
            }
            let rang = events.iter().any(|event| event.token() == ALARM);
            assert!(rang || wait_us < 1000 || !cfg!(target_os = "linux"), "{wait_us} us");
        }
    }
}
