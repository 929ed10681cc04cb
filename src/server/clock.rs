//! The clock of a server in milliseconds, and durations on it.
//!
//! Nobody waits here, and no wall clock is kept.

use std::time::Duration;

/// Milliseconds since the server was made. Coarse on purpose: no rule here is finer than that.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Millis(pub u64);

/// A duration on this clock. One that no server lives to see is cut to a quarter of the clock's range.
pub fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX).min(u64::MAX / 4)
}
