//! When a subscriber is too far behind its channel: pure rules over a clock that is handed in.
//!
//! How far it is behind the hub knows; what happens then is done in `writing`.

use super::liveness::{Millis, millis};
use crate::config::{Config, LagPolicy};

/// The bound at which the grace is no longer waited for, in units of `--max-lag`. With the default of 1 MiB it is twice
/// what a loop is given before its publishers have to wait, so no burst that fits a mailbox closes a subscriber that had
/// no turn yet to read; and one that does not read holds 8 MiB, once for all that are like it.
const HARD_FACTOR: u64 = 8;

/// Under [`LagPolicy::Latest`], how long a subscriber may have been behind before what is older than the newest
/// publication is passed over. With what the kernel holds this makes a second or so at 100 KB/s; a shorter time would
/// make a hiccup of the network a loss.
pub const FRESH_MS: u64 = 500;

/// A time that does not come, in as many bits as [`Lateness`] has for one.
const NEVER: Millis = Millis(u64::MAX >> POLICY_BITS);

/// What [`Lateness`] has for the policy.
const POLICY_BITS: u32 = 2;

/// What a subscriber is held to.
#[derive(Clone, Copy, Debug)]
pub struct LagRules {
    /// `--max-lag`.
    pub lag_max: u64,
    lag_hard_max: u64,
    grace_ms: u64,
}

impl LagRules {
    /// The configured ones.
    pub fn new(config: &Config) -> Self {
        let lag_max = config.max_lag;
        let lag_hard_max = lag_max.saturating_mul(HARD_FACTOR);
        Self { lag_max, lag_hard_max, grace_ms: millis(config.lag_grace) }
    }
}

/// Since when a subscriber is late, and what its channel's policy makes of it.
///
/// Late is, under [`LagPolicy::Close`] and [`LagPolicy::Skip`], who is past `--max-lag`; under [`LagPolicy::Latest`],
/// which is about the age of what is read and not about its amount, who has anything unread.
///
/// ```text
///   63                2 1      0
///  |      since         | policy |     one word, since every connection has one
/// ```
#[derive(Clone, Copy, Debug)]
pub struct Lateness(u64);

impl Lateness {
    /// A subscriber that is not late.
    pub fn none(policy: LagPolicy) -> Self {
        Self(NEVER.0 << POLICY_BITS | policy as u64)
    }

    /// What happens to it past the bounds.
    pub fn policy(&self) -> LagPolicy {
        match self.0 & ((1 << POLICY_BITS) - 1) {
            policy if policy == LagPolicy::Close as u64 => LagPolicy::Close,
            policy if policy == LagPolicy::Skip as u64 => LagPolicy::Skip,
            _ => LagPolicy::Latest,
        }
    }

    /// It got back within the bound, or was moved there: it starts anew.
    pub fn clear(&mut self) {
        *self = Self::none(self.policy());
    }

    fn since(&self) -> Millis {
        Millis(self.0 >> POLICY_BITS)
    }

    /// Judges a subscriber whose socket did not take all of its log; `is_past` tells whether it is more than so many
    /// bytes behind. True if its policy is due.
    #[must_use]
    pub fn is_due(&mut self, is_past: impl Fn(u64) -> bool, now: Millis, rules: &LagRules) -> bool {
        let is_past_max = is_past(rules.lag_max);
        let is_late = is_past_max || self.policy() == LagPolicy::Latest;
        let since = if is_late { self.since().min(now) } else { NEVER };
        self.0 = since.0 << POLICY_BITS | self.policy() as u64;
        match self.policy() {
            LagPolicy::Latest => is_past_max,
            LagPolicy::Close | LagPolicy::Skip => {
                is_past_max && (self.deadline(rules) <= now || is_past(rules.lag_hard_max))
            }
        }
    }

    /// Whether what it has not read is too old to be sent if there is something newer.
    #[must_use]
    pub fn is_stale(&self, now: Millis) -> bool {
        self.policy() == LagPolicy::Latest && self.since().0 + FRESH_MS <= now.0
    }

    /// When it has to be looked at although nothing is published and its socket gets no room.
    #[must_use]
    pub fn deadline(&self, rules: &LagRules) -> Millis {
        match self.policy() {
            LagPolicy::Close | LagPolicy::Skip if self.since() == NEVER => NEVER,
            LagPolicy::Close | LagPolicy::Skip => Millis(self.since().0.saturating_add(rules.grace_ms)),
            // What it does not take holds no more than `--max-lag`, and is judged when it takes some.
            LagPolicy::Latest => NEVER,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    /// 100 bytes, 800 at once, 5 s.
    fn rules() -> LagRules {
        LagRules::new(&Config { max_lag: 100, lag_grace: Duration::from_secs(5), ..Config::default() })
    }

    fn is_due(lateness: &mut Lateness, lag: u64, now_ms: u64) -> bool {
        lateness.is_due(|bound| lag > bound, Millis(now_ms), &rules())
    }

    #[test]
    fn who_is_past_the_bound_for_a_moment_is_not_due() {
        for policy in [LagPolicy::Close, LagPolicy::Skip] {
            let mut lateness = Lateness::none(policy);
            assert!(!is_due(&mut lateness, 101, 1000));
            assert!(!is_due(&mut lateness, 700, 5999));
            assert!(!is_due(&mut lateness, 100, 6000), "it got back");
            assert_eq!(lateness.deadline(&rules()), NEVER);
            assert!(!is_due(&mut lateness, 101, 9000), "and starts anew");
            assert_eq!(lateness.deadline(&rules()), Millis(14_000));
        }
    }

    #[test]
    fn who_still_is_after_the_grace_is_due() {
        for policy in [LagPolicy::Close, LagPolicy::Skip] {
            let mut lateness = Lateness::none(policy);
            assert!(!is_due(&mut lateness, 101, 1000));
            assert!(is_due(&mut lateness, 101, 6000));
        }
    }

    #[test]
    fn the_hard_bound_does_not_wait_for_the_grace() {
        for policy in [LagPolicy::Close, LagPolicy::Skip] {
            let mut lateness = Lateness::none(policy);
            assert!(!is_due(&mut lateness, 800, 1000));
            assert!(is_due(&mut lateness, 801, 1000));
        }
    }

    #[test]
    fn latest_does_not_wait_for_the_grace() {
        let mut lateness = Lateness::none(LagPolicy::Latest);
        assert!(!is_due(&mut lateness, 100, 1000));
        assert!(is_due(&mut lateness, 101, 1000));
        assert_eq!(lateness.deadline(&rules()), NEVER);
    }

    #[test]
    fn under_latest_what_waited_for_half_a_second_is_stale_and_under_the_others_nothing_is() {
        for (policy, is_stale) in
            [(LagPolicy::Latest, true), (LagPolicy::Close, false), (LagPolicy::Skip, false)]
        {
            let mut lateness = Lateness::none(policy);
            assert!(!lateness.is_stale(Millis(1000)));
            assert!(!is_due(&mut lateness, 1, 1000));
            assert!(!is_due(&mut lateness, 50, 1400));
            assert!(!lateness.is_stale(Millis(1499)));
            assert_eq!(lateness.is_stale(Millis(1500)), is_stale, "{policy:?}");
            lateness.clear();
            assert!(!lateness.is_stale(Millis(9000)));
        }
    }
}
