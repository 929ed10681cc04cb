//! The rate of events that an app's servers may publish.
//!
//! What is refused and with which words is decided by the API.

use std::num::NonZeroU32;

use crate::server::clock::Millis;

/// How long an app may have been silent to publish that much more at once: a second's worth.
const BURST_US: u64 = 1_000_000;

/// The events that were published, as the time that they use up at the allowed rate.
#[derive(Debug, Default)]
pub struct Rate {
    /// The time at which everything so far would have been published one by one, in microseconds.
    used_until_us: u64,
}

impl Rate {
    /// Takes `count` events at this time. They are allowed together if there is room for one: the following ones wait for
    /// what is too much.
    ///
    /// # Errors
    /// How many milliseconds later they would be allowed.
    pub fn take(&mut self, count: u32, per_second: NonZeroU32, now: Millis) -> Result<(), u64> {
        let now_us = now.0.saturating_mul(1000);
        let one_us = (1_000_000 / u64::from(per_second.get())).max(1);
        let used_until_us = self.used_until_us.max(now_us);
        let free_at_us = (used_until_us + one_us).saturating_sub(BURST_US.max(one_us));
        if free_at_us > now_us {
            return Err((free_at_us - now_us).div_ceil(1000));
        }
        self.used_until_us = used_until_us + one_us * u64::from(count);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn per_second(rate: u32) -> NonZeroU32 {
        NonZeroU32::new(rate).unwrap()
    }

    #[test]
    fn a_seconds_worth_is_allowed_at_once_and_the_next_one_when_there_is_room_for_it() {
        let mut rate = Rate::default();
        for _ in 0..10 {
            assert_eq!(rate.take(1, per_second(10), Millis(5000)), Ok(()));
        }
        assert_eq!(rate.take(1, per_second(10), Millis(5000)), Err(100));
        assert_eq!(rate.take(1, per_second(10), Millis(5099)), Err(1));
        assert_eq!(rate.take(1, per_second(10), Millis(5100)), Ok(()));
        assert_eq!(rate.take(1, per_second(10), Millis(5100)), Err(100));
    }

    #[test]
    fn a_batch_is_allowed_whole_and_paid_for_by_those_after_it() {
        let mut rate = Rate::default();
        assert_eq!(rate.take(10, per_second(1), Millis(0)), Ok(()));
        assert_eq!(rate.take(1, per_second(1), Millis(0)), Err(10_000));
        assert_eq!(rate.take(1, per_second(1), Millis(10_000)), Ok(()));
    }

    #[test]
    fn a_long_silence_saves_up_no_more_than_a_second() {
        let mut rate = Rate::default();
        assert_eq!(rate.take(1, per_second(2), Millis(0)), Ok(()));
        let later = Millis(3_600_000);
        assert_eq!(rate.take(1, per_second(2), later), Ok(()));
        assert_eq!(rate.take(1, per_second(2), later), Ok(()));
        assert_eq!(rate.take(1, per_second(2), later), Err(500));
    }

    #[test]
    fn over_a_long_time_the_rate_is_the_allowed_one() {
        let mut rate = Rate::default();
        let taken = (0..10_000).filter(|&ms| rate.take(1, per_second(50), Millis(ms)).is_ok()).count();
        assert_eq!(taken, 500 + 49, "ten seconds and the burst");
    }
}
