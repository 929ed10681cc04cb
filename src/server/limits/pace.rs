//! A rate with a burst: how much of it is used up, as a time.
//!
//! What is allowed or delayed is the caller's, and so is the time.

use std::time::Duration;

use crate::config::Rate;
use crate::server::clock::Millis;

/// No rate's time is longer: sums do not overflow.
const PER_MAX_US: u64 = 1 << 60;

/// A rate, as the time that one unit of it uses up. What is used up is kept as one number, the time at which everything so
/// far would have been done at the rate (a token bucket by another name):
///
/// ```text
///             |<------ burst ------>|
///   ----------+-----------+---------+---> time
///            now      used until
///                         |<- one ->|     room for one more
/// ```
///
/// A time that has passed is the same as none: who has not used anything needs no number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pace {
    one_us: u64,
    burst_us: u64,
}

/// How much is used up, in microseconds of the server's clock.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct UsedUntil(u64);

impl Pace {
    /// At most `times` what the rate allows in its time at once, and no less than one.
    pub fn new(rate: Rate, times: u32) -> Self {
        let per_us = micros(rate.per).min(PER_MAX_US);
        // Below a microsecond it is not told apart.
        let one_us = (per_us / u64::from(rate.count.get())).max(1);
        Self { one_us, burst_us: per_us.saturating_mul(times.into()).min(PER_MAX_US).max(one_us) }
    }

    /// Uses one, whether there is room or not.
    pub fn spend(&self, used: UsedUntil, now: Millis) -> UsedUntil {
        UsedUntil(used.0.max(now_us(now)).saturating_add(self.one_us))
    }

    /// When there is room for one: at or before `now`, or then. To the millisecond, rounded up.
    pub fn free_at(&self, used: UsedUntil) -> Millis {
        Millis((used.0.saturating_add(self.one_us)).saturating_sub(self.burst_us).div_ceil(1000))
    }

    /// Whether less than half of the burst is left.
    pub fn is_low(&self, used: UsedUntil, now: Millis) -> bool {
        used.0.saturating_sub(now_us(now)) > self.burst_us / 2
    }
}

impl UsedUntil {
    /// Whether it is as if nothing had been used.
    pub fn is_past(self, now: Millis) -> bool {
        self.0 <= now_us(now)
    }
}

fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

fn now_us(now: Millis) -> u64 {
    now.0.saturating_mul(1000)
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroU32;

    use super::*;

    fn pace(count: u32, per: Duration, times: u32) -> Pace {
        Pace::new(Rate { count: NonZeroU32::new(count).unwrap(), per }, times)
    }

    /// How many are done in this time if one is asked for every millisecond and done if there is room.
    fn done(pace: Pace, ms: u64) -> u64 {
        let mut used = UsedUntil::default();
        let mut count = 0;
        for now in (0..ms).map(Millis) {
            while pace.free_at(used) <= now {
                used = pace.spend(used, now);
                count += 1;
            }
        }
        count
    }

    #[test]
    fn the_burst_is_done_at_once_and_then_one_at_a_time() {
        let pace = pace(100, Duration::from_secs(1), 2);
        let (mut used, now) = (UsedUntil::default(), Millis(5000));
        for number in 0..200 {
            assert!(pace.free_at(used) <= now, "{number}");
            used = pace.spend(used, now);
        }
        assert_eq!(pace.free_at(used), Millis(5010));
        assert!(pace.free_at(used) > Millis(5009));
        used = pace.spend(used, Millis(5010));
        assert_eq!(pace.free_at(used), Millis(5020));
    }

    #[test]
    fn over_a_long_time_the_rate_is_kept() {
        assert_eq!(done(pace(100, Duration::from_secs(1), 2), 10_000), 200 + 999);
        assert_eq!(done(pace(3, Duration::from_secs(1), 1), 9001), 3 + 27);
        assert_eq!(done(pace(5, Duration::from_secs(60), 1), 120_001), 5 + 10);
        assert_eq!(done(pace(4000, Duration::from_secs(1), 1), 1000), 4000 + 4 * 999);
    }

    #[test]
    fn silence_saves_up_no_more_than_the_burst() {
        let pace = pace(10, Duration::from_secs(1), 1);
        let (mut used, later) = (pace.spend(UsedUntil::default(), Millis(0)), Millis(3_600_000));
        assert!(used.is_past(Millis(100)) && !used.is_past(Millis(99)));
        for _ in 0..10 {
            assert!(pace.free_at(used) <= later);
            used = pace.spend(used, later);
        }
        assert!(pace.free_at(used) > later);
        assert!(pace.is_low(used, later) && !pace.is_low(used, Millis(later.0 + 500)));
    }

    #[test]
    fn any_rate_leaves_room_for_one() {
        for (count, per) in [
            (u32::MAX, Duration::ZERO),
            (u32::MAX, Duration::from_nanos(1)),
            (1, Duration::MAX),
            (1, Duration::from_secs(86_400)),
        ] {
            let pace = pace(count, per, 1);
            assert_eq!(pace.free_at(UsedUntil::default()), Millis(0));
            let used = pace.spend(UsedUntil::default(), Millis(7));
            assert!(pace.free_at(used) > Millis(7) || per.as_millis() == 0, "{per:?}");
        }
    }
}
