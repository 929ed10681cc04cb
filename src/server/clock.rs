//! The times of a server: its own clock in milliseconds, durations on it, and the wall clock in the formats that are sent.
//!
//! Nothing waits here.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// Milliseconds since the server was created. No rule of the server needs a finer time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Millis(pub u64);

/// The clock of a server: it begins when the server is created.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    started: Instant,
}

impl Clock {
    /// A clock that begins now.
    pub fn start() -> Self {
        Self { started: Instant::now() }
    }

    /// The time. A loop reads it when its wait ends and when its flush phase begins.
    pub fn now(&self) -> Millis {
        Millis(self.elapsed().as_millis() as u64)
    }

    /// The same, to the nanosecond.
    pub fn elapsed(&self) -> Duration {
        self.started.elapsed()
    }

    /// The wall clock's time when the server was created, in milliseconds since 1970, by what the wall clock says now: it
    /// changes when that clock is set.
    pub fn began_unix_ms(&self) -> u64 {
        unix_ms().saturating_sub(self.now().0)
    }

    /// How long it is until then.
    pub fn until(&self, then: Millis) -> Duration {
        (self.started + Duration::from_millis(then.0)).saturating_duration_since(Instant::now())
    }
}

/// A duration in milliseconds, at most a quarter of the clock's range, so that sums do not overflow.
pub fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX).min(u64::MAX / 4)
}

/// Milliseconds since 1970.
pub fn unix_ms() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_millis() as u64
}

/// The value of a `Date` field (RFC 9110 §6.6.1).
pub fn http_date() -> String {
    httpdate::fmt_http_date(SystemTime::now())
}
