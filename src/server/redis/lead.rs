//! Redis's clock and the server's, and how late an answer may be.

use crate::server::clock::Millis;

/// An answer to who has gone that takes longer is one of a Redis that was away, or is heard by a node that was.
const ANSWERED_MS: u64 = 500;

/// Whether what was asked then is answered late.
pub fn is_late(asked_at: Millis, now: Millis) -> bool {
    now.0 > asked_at.0 + ANSWERED_MS
}

/// How much Redis's clock is ahead of the server's, in milliseconds: less than that, if the answer that said so was heard late.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Lead(i64);

impl Lead {
    /// By an answer in which Redis says what time it is, heard now.
    pub fn of(redis_ms: u64, now: Millis) -> Self {
        Self(redis_ms.cast_signed().wrapping_sub(now.0.cast_signed()))
    }

    /// What Redis's clock says at a time of the server's.
    fn redis_ms(self, at: Millis) -> u64 {
        at.0.saturating_add_signed(self.0)
    }

    /// Until when Redis may answer by its own clock, in milliseconds, if it is asked now.
    pub fn answer_by(self, now: Millis) -> u64 {
        self.redis_ms(now).saturating_add(ANSWERED_MS)
    }

    /// What the server's clock said at a past time of Redis's, or says, if that is not past.
    pub fn past(self, redis_ms: u64, now: Millis) -> Millis {
        let at = redis_ms.cast_signed().saturating_sub(self.0).clamp(0, now.0.cast_signed());
        Millis(at.cast_unsigned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_of_the_one_clock_is_one_of_the_other() {
        let lead = Lead::of(1_700_000_000_000, Millis(5_000));
        assert_eq!(lead.redis_ms(Millis(5_300)), 1_700_000_000_300);
        assert_eq!(lead.answer_by(Millis(5_300)), 1_700_000_000_800);
        assert_eq!([5_800, 5_801].map(|at| is_late(Millis(5_300), Millis(at))), [false, true]);
        let past = [1_699_999_999_000, 1_700_000_000_200, 1_700_000_009_000, 0];
        assert_eq!(past.map(|at| lead.past(at, Millis(5_500)).0), [4_000, 5_200, 5_500, 0]);
    }

    #[test]
    fn redis_may_be_behind_and_says_what_it_likes() {
        let lead = Lead::of(1_000, Millis(5_000));
        assert_eq!((lead.redis_ms(Millis(6_000)), lead.redis_ms(Millis(0))), (2_000, 0));
        assert_eq!(lead.past(u64::MAX, Millis(9_000)), Millis(3_999));
        assert_eq!(Lead::of(u64::MAX, Millis(9)).past(7, Millis(9)), Millis(9));
    }
}
