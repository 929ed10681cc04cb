//! The messages that a loop's connections have sent lately, and which of them has to wait.
//!
//! How a rate is kept is in `limits`; which connections have a pace is in `pacing`.

use std::collections::HashMap;

use crate::server::clock::Millis;
use crate::server::limits::{Pace, UsedUntil};

/// A connection that waits is read again after this many milliseconds at least, so that one that sends all the time costs 20
/// turns a second, not one for each message.
const WAIT_MIN_MS: u64 = 50;

/// The messages that this loop's connections have sent lately. A connection that has sent nothing for the time of the burst
/// is not here: an idle connection costs nothing.
#[derive(Debug)]
pub struct Throttle {
    pace: Option<Pace>,
    used: HashMap<u64, UsedUntil>,
}

impl Throttle {
    /// At this pace, or without a limit.
    pub fn new(pace: Option<Pace>) -> Self {
        Self { pace, used: HashMap::new() }
    }

    /// Counts a message of a connection, by the number of its key.
    pub fn note(&mut self, owner: u64, now: Millis) {
        let Some(pace) = self.pace else { return };
        if self.used.len() == self.used.capacity() {
            self.used.retain(|_, used| !used.is_past(now));
            self.used.shrink_to(2 * self.used.len());
        }
        let used = self.used.entry(owner).or_default();
        *used = pace.spend(*used, now);
    }

    /// Until when a connection has to wait.
    pub fn waits_until(&self, owner: u64, now: Millis) -> Option<Millis> {
        let free_at = self.pace?.free_at(*self.used.get(&owner)?);
        (free_at > now).then(|| free_at.max(Millis(now.0 + WAIT_MIN_MS)))
    }

    /// Whether a connection has used up half of its burst.
    pub fn is_low(&self, owner: u64, now: Millis) -> bool {
        self.pace.is_some_and(|pace| self.used.get(&owner).is_some_and(|&used| pace.is_low(used, now)))
    }

    /// A connection is gone.
    pub fn forget(&mut self, owner: u64) {
        self.used.remove(&owner);
    }
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroU32;
    use std::time::Duration;

    use super::*;
    use crate::config::Rate;

    fn throttle(count: u32) -> Throttle {
        let rate = Rate { count: NonZeroU32::new(count).unwrap(), per: Duration::from_secs(1) };
        Throttle::new(Some(Pace::new(rate, 2)))
    }

    #[test]
    fn a_burst_passes_and_then_one_waits_for_a_batch_and_not_for_each_message() {
        let mut throttle = throttle(100);
        for _ in 0..199 {
            throttle.note(7, Millis(1000));
        }
        assert_eq!(throttle.waits_until(7, Millis(1000)), None);
        throttle.note(7, Millis(1000));
        assert_eq!(throttle.waits_until(7, Millis(1000)), Some(Millis(1050)));
        assert_eq!(throttle.waits_until(8, Millis(1000)), None, "another connection has its own");
        for _ in 0..5 {
            assert_eq!(throttle.waits_until(7, Millis(1050)), None);
            throttle.note(7, Millis(1050));
        }
        assert_eq!(throttle.waits_until(7, Millis(1050)), Some(Millis(1100)));
    }

    #[test]
    fn a_pace_slower_than_the_shortest_wait_is_waited_for() {
        let mut throttle = throttle(1);
        (0..2).for_each(|_| throttle.note(7, Millis(0)));
        assert_eq!(throttle.waits_until(7, Millis(0)), Some(Millis(1000)));
    }

    #[test]
    fn who_has_been_silent_is_not_remembered() {
        let mut throttle = throttle(100);
        for owner in 0..10_000 {
            throttle.note(owner, Millis(owner * 10));
        }
        assert!(throttle.used.len() < 100, "{}", throttle.used.len());
        assert!(throttle.used.capacity() < 1000, "{}", throttle.used.capacity());
        throttle.note(3, Millis(200_000));
        throttle.forget(3);
        assert!(!throttle.used.contains_key(&3));
    }

    #[test]
    fn without_a_limit_nothing_is_kept() {
        let mut throttle = Throttle::new(None);
        (0..1000).for_each(|_| throttle.note(7, Millis(0)));
        assert_eq!((throttle.waits_until(7, Millis(0)), throttle.used.len()), (None, 0));
    }
}
