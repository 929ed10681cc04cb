//! When the keys at a URL are fetched again: every ten minutes, and sooner where a token names a key that nobody knows.
//!
//! Nothing is fetched here; times are in milliseconds of the caller's clock.

/// How often a set of keys is fetched, in milliseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pace {
    /// After a success. 10 minutes: a removed key is good for no longer, and an identity provider that rotates its keys shows
    /// the next one hours before.
    pub every_ms: u64,
    /// Fetches are this far apart, whatever comes in: anybody may send a token with a key's name that nobody knows. 30 s.
    pub apart_ms: u64,
    /// The same until there was a first set, without which no token is good. 5 s.
    pub apart_at_first_ms: u64,
}

impl Default for Pace {
    fn default() -> Self {
        Self { every_ms: 10 * 60 * 1000, apart_ms: 30 * 1000, apart_at_first_ms: 5 * 1000 }
    }
}

/// The times of the fetches of one set.
///
/// Invariant: the next fetch is due no sooner after the last than [`Pace::apart_ms`], or [`Pace::apart_at_first_ms`] if none
/// has succeeded.
#[derive(Clone, Copy, Debug)]
pub struct Refresh {
    pace: Pace,
    attempted_ms: u64,
    due_ms: u64,
    has_succeeded: bool,
}

impl Refresh {
    /// Nothing was fetched: the first is due now.
    #[must_use]
    pub fn new(pace: Pace, now_ms: u64) -> Self {
        Self { pace, attempted_ms: now_ms, due_ms: now_ms, has_succeeded: false }
    }

    /// When the next fetch is to be made.
    #[must_use]
    pub fn due_ms(&self) -> u64 {
        self.due_ms
    }

    /// A fetch was made, and the keys were good or not.
    pub fn note_attempt(&mut self, now_ms: u64, is_success: bool) {
        self.has_succeeded |= is_success;
        self.attempted_ms = now_ms;
        self.due_ms = if is_success { now_ms.saturating_add(self.pace.every_ms) } else { self.soonest_ms() };
    }

    /// A token names a key that is not there. Whether the next fetch is due sooner now.
    pub fn note_unknown(&mut self, now_ms: u64) -> bool {
        let due_ms = now_ms.max(self.soonest_ms());
        let is_sooner = due_ms < self.due_ms;
        self.due_ms = self.due_ms.min(due_ms);
        is_sooner
    }

    fn soonest_ms(&self) -> u64 {
        let Pace { apart_ms, apart_at_first_ms, .. } = self.pace;
        self.attempted_ms.saturating_add(if self.has_succeeded { apart_ms } else { apart_at_first_ms })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINUTE: u64 = 60 * 1000;

    fn after(is_success: bool) -> Refresh {
        let mut refresh = Refresh::new(Pace::default(), 0);
        assert_eq!(refresh.due_ms(), 0);
        refresh.note_attempt(0, is_success);
        refresh
    }

    #[test]
    fn a_set_is_fetched_every_ten_minutes() {
        let mut refresh = after(true);
        assert_eq!(refresh.due_ms(), 10 * MINUTE);
        refresh.note_attempt(11 * MINUTE, true);
        assert_eq!(refresh.due_ms(), 21 * MINUTE);
    }

    #[test]
    fn a_fetch_that_failed_is_repeated_after_half_a_minute_and_sooner_until_there_was_one() {
        let mut refresh = after(false);
        assert_eq!(refresh.due_ms(), 5_000);
        refresh.note_attempt(5_000, false);
        assert_eq!(refresh.due_ms(), 10_000);
        refresh.note_attempt(10_000, true);
        refresh.note_attempt(MINUTE, false);
        assert_eq!(refresh.due_ms(), MINUTE + 30_000);
    }

    #[test]
    fn an_unknown_key_brings_the_next_fetch_forward() {
        let mut refresh = after(true);
        assert!(refresh.note_unknown(5 * MINUTE));
        assert_eq!(refresh.due_ms(), 5 * MINUTE, "at once");
        assert!(!refresh.note_unknown(5 * MINUTE + 1), "it is due already");
        refresh.note_attempt(5 * MINUTE, true);
        assert!(refresh.note_unknown(5 * MINUTE + 1));
        assert_eq!(refresh.due_ms(), 5 * MINUTE + 30_000, "not sooner after the last");
    }

    #[test]
    fn strangers_who_send_unknown_keys_all_the_time_cause_a_fetch_in_half_a_minute() {
        for is_success in [true, false] {
            let (mut refresh, mut fetches) = (after(true), 0);
            for now_ms in (0..10 * MINUTE).step_by(10) {
                refresh.note_unknown(now_ms);
                if refresh.due_ms() <= now_ms {
                    refresh.note_attempt(now_ms, is_success);
                    fetches += 1;
                }
            }
            assert_eq!(fetches, 19);
        }
    }
}
