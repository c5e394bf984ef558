//! Ticks at an exact rate, from a kernel timer in the runtime's own event loop: tokio's timers count milliseconds,
//! which at 5,000 records a second would send five at once.

use std::io;
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use rustix::time::{
    Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create, timerfd_settime,
};
use tokio::io::unix::AsyncFd;

use super::clients::now;

/// Says when records are due: record n at `start + n / rate`.
#[derive(Debug)]
pub(crate) struct Pacer {
    timer: AsyncFd<OwnedFd>,
    start: Instant,
    interval_ns: f64,
    next: u64,
}

impl Pacer {
    /// Starts now; call it within the runtime that will wait.
    pub(crate) fn start(rate: f64) -> io::Result<Pacer> {
        let interval_ns = 1e9 / rate;
        // The kernel ticks no faster than every 50 us; more than one record may be due at a tick then.
        let tick = Duration::from_nanos(interval_ns as u64).max(Duration::from_micros(50));
        let timer =
            timerfd_create(TimerfdClockId::Monotonic, TimerfdFlags::NONBLOCK | TimerfdFlags::CLOEXEC)?;
        let tick = Timespec { tv_sec: tick.as_secs() as i64, tv_nsec: i64::from(tick.subsec_nanos()) };
        let every = Itimerspec { it_interval: tick, it_value: tick };
        timerfd_settime(&timer, TimerfdTimerFlags::empty(), &every)?;
        // SAFETY: the descriptor is owned by the value, is the same for as long as that lives, and is closed only after
        // it was taken out of the event loop.
        let timer = unsafe { AsyncFd::register(timer) }?;
        Ok(Pacer { timer, start: now(), interval_ns, next: 0 })
    }

    /// Waits until the next record is due, and returns when that was.
    pub(crate) async fn next(&mut self) -> io::Result<Instant> {
        let due = self.start + Duration::from_nanos((self.next as f64 * self.interval_ns) as u64);
        while now() < due {
            let mut ready = self.timer.readable().await?;
            let mut expirations = [0; 8];
            match rustix::io::read(self.timer.get_ref(), &mut expirations) {
                Ok(_) | Err(rustix::io::Errno::AGAIN) => ready.clear_ready(),
                Err(error) => return Err(error.into()),
            }
        }
        self.next += 1;
        Ok(due)
    }
}
