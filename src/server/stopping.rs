//! How far the stop of a server has come, from the lame duck to the end.
//!
//! What a loop does about it is in its own room.

use std::sync::atomic::{AtomicU8, AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use crate::server::clock::{Millis, millis};

/// How far the stop has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Stop {
    /// The server runs.
    No,
    /// It answers 503 at /readyz and serves everything else, for the configured time.
    LameDuck,
    /// It closes every connection, spread over the configured time.
    Drain,
    /// It ends at once.
    Now,
}

impl Stop {
    /// Whether connections are being closed.
    pub fn is_leaving(self) -> bool {
        self >= Self::Drain
    }
}

/// The state of the stop, shared by all loops. Its changes wake nobody: that is the caller's.
#[derive(Debug)]
pub struct Stopping {
    stop: AtomicU8,
    /// When the lame duck ends and the drain begins, in milliseconds. The first request to stop sets it.
    drain_at: AtomicU64,
    /// The number of loops that have not ended.
    loops_left: AtomicUsize,
}

impl Stopping {
    /// A server of that many loops that runs.
    pub fn new(loops: usize) -> Self {
        let (stop, drain_at) = (AtomicU8::new(Stop::No as u8), AtomicU64::new(u64::MAX));
        Self { stop, drain_at, loops_left: AtomicUsize::new(loops) }
    }

    /// How far the stop has come.
    pub fn stop(&self) -> Stop {
        match self.stop.load(Ordering::SeqCst) {
            0 => Stop::No,
            1 => Stop::LameDuck,
            2 => Stop::Drain,
            _ => Stop::Now,
        }
    }

    /// Stops as far as that. A stop that is further already stays as it is.
    pub fn request(&self, stop: Stop) {
        self.stop.fetch_max(stop as u8, Ordering::SeqCst);
    }

    /// Begins the stop: with the lame duck if that has a length, otherwise with the drain. The first call sets the time.
    pub fn begin(&self, lame_duck: Duration, now: Millis) {
        if lame_duck.is_zero() {
            return self.request(Stop::Drain);
        }
        self.drain_at.fetch_min(now.0.saturating_add(millis(lame_duck)), Ordering::SeqCst);
        self.request(Stop::LameDuck);
    }

    /// Begins the drain now; false if the server is not a lame duck.
    pub fn end_lame_duck(&self) -> bool {
        let (from, to) = (Stop::LameDuck as u8, Stop::Drain as u8);
        self.stop.compare_exchange(from, to, Ordering::SeqCst, Ordering::SeqCst).is_ok()
    }

    /// When the drain begins, if the server is a lame duck.
    pub fn drain_at(&self) -> Option<Millis> {
        (self.stop() == Stop::LameDuck).then(|| Millis(self.drain_at.load(Ordering::SeqCst)))
    }

    /// Whether all loops but one have ended.
    pub fn is_last_loop(&self) -> bool {
        self.loops_left.load(Ordering::SeqCst) <= 1
    }

    /// A loop has ended.
    pub fn end_loop(&self) {
        self.loops_left.fetch_sub(1, Ordering::SeqCst);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LONG: Duration = Duration::from_secs(600);

    #[test]
    fn a_second_request_to_stop_does_not_restart_the_lame_duck() {
        let stopping = Stopping::new(1);
        assert_eq!(stopping.drain_at(), None);
        stopping.begin(Duration::from_millis(1), Millis(0));
        stopping.begin(LONG, Millis(0));
        assert_eq!(stopping.stop(), Stop::LameDuck);
        assert!(stopping.drain_at().unwrap().0 < 600_000);
    }

    #[test]
    fn a_lame_duck_is_ended_once() {
        let stopping = Stopping::new(1);
        assert!(!stopping.end_lame_duck(), "it is not a lame duck yet");
        assert_eq!(stopping.stop(), Stop::No);
        stopping.begin(LONG, Millis(0));
        assert!(stopping.end_lame_duck());
        assert_eq!((stopping.stop(), stopping.drain_at()), (Stop::Drain, None));
        assert!(!stopping.end_lame_duck(), "it is not a lame duck any more");
    }

    #[test]
    fn a_stop_does_not_become_less_urgent() {
        let stopping = Stopping::new(1);
        assert_eq!(stopping.stop(), Stop::No);
        stopping.request(Stop::Now);
        stopping.request(Stop::Drain);
        assert_eq!(stopping.stop(), Stop::Now);
    }
}
