//! When a subscriber lags too far: pure rules, with the time as an argument.
//!
//! The hub counts by how many bytes it lags; the policies are applied in `sending`.

use crate::server::clock::{Millis, millis};

use crate::config::{Config, LagPolicy};

/// The bound above which there is no grace, in units of `--max-lag`. With the default of 1 MiB it is 32 MiB: a burst of
/// that size, which several publishers can send within a second, closes no subscriber that keeps reading, even if its
/// process has to wait for a processor. A subscriber that does not read holds that much at most for the grace; the bytes
/// are shared by all that lag in the log, and count in `--max-memory`.
const HARD_FACTOR: u64 = 32;

/// Under [`LagPolicy::Latest`], how long a subscriber may lag before it skips to the newest publication. With what the
/// kernel buffers, what is read is about a second old at 100 KB/s. A shorter time would turn a short stall of the network
/// into a loss.
pub const FRESH_MS: u64 = 500;

/// A time that is never reached.
const NEVER: Millis = Millis(u64::MAX);

/// The configured bounds on the lag of a subscriber.
#[derive(Clone, Copy, Debug)]
pub struct LagRules {
    /// `--max-lag`.
    pub lag_max: u64,
    lag_hard_max: u64,
    grace_ms: u64,
}

impl LagRules {
    /// As configured.
    pub fn new(config: &Config) -> Self {
        let lag_max = config.max_lag;
        let lag_hard_max = lag_max.saturating_mul(HARD_FACTOR);
        Self { lag_max, lag_hard_max, grace_ms: millis(config.lag_grace) }
    }
}

/// Since when a subscriber has been late.
///
/// Under [`LagPolicy::Close`] and [`LagPolicy::Skip`], a subscriber is late if it lags by more than `--max-lag`. Under
/// [`LagPolicy::Latest`], which bounds the age of what is read and not its amount, it is late if it lags at all.
#[derive(Clone, Copy, Debug)]
pub struct Lateness {
    since: Millis,
}

impl Default for Lateness {
    fn default() -> Self {
        Self { since: NEVER }
    }
}

impl Lateness {
    /// The subscriber is within the bound again, by reading or by skipping.
    pub fn clear(&mut self) {
        self.since = NEVER;
    }

    /// Checks a subscriber whose socket did not take all of its log; `is_past` tells whether it lags by more than a number
    /// of bytes. True if its policy has to be applied.
    #[must_use]
    pub fn is_due(
        &mut self,
        policy: LagPolicy,
        is_past: impl Fn(u64) -> bool,
        now: Millis,
        rules: &LagRules,
    ) -> bool {
        let is_past_max = is_past(rules.lag_max);
        let is_late = is_past_max || policy == LagPolicy::Latest;
        self.since = if is_late { self.since.min(now) } else { NEVER };
        match policy {
            LagPolicy::Latest => is_past_max,
            LagPolicy::Close | LagPolicy::Skip => {
                is_past_max && (self.deadline(policy, rules) <= now || is_past(rules.lag_hard_max))
            }
        }
    }

    /// Whether its unsent publications are too old to be sent if there are newer ones.
    #[must_use]
    pub fn is_stale(&self, policy: LagPolicy, now: Millis) -> bool {
        policy == LagPolicy::Latest && self.since.0.saturating_add(FRESH_MS) <= now.0
    }

    /// When it has to be checked even if nothing is published and its socket gets no room.
    #[must_use]
    pub fn deadline(&self, policy: LagPolicy, rules: &LagRules) -> Millis {
        match policy {
            LagPolicy::Close | LagPolicy::Skip => Millis(self.since.0.saturating_add(rules.grace_ms)),
            // It holds at most `--max-lag`, and is checked when its socket takes bytes again.
            LagPolicy::Latest => NEVER,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    /// A bound of 100 bytes, 3,200 without a grace; a grace of 5 s.
    fn rules() -> LagRules {
        LagRules::new(&Config { max_lag: 100, lag_grace: Duration::from_secs(5), ..Config::default() })
    }

    fn is_due(lateness: &mut Lateness, policy: LagPolicy, lag: u64, now_ms: u64) -> bool {
        lateness.is_due(policy, |bound| lag > bound, Millis(now_ms), &rules())
    }

    #[test]
    fn a_subscriber_that_is_past_the_bound_for_a_moment_is_not_due() {
        for policy in [LagPolicy::Close, LagPolicy::Skip] {
            let mut lateness = Lateness::default();
            assert!(!is_due(&mut lateness, policy, 101, 1000));
            assert!(!is_due(&mut lateness, policy, 700, 5999));
            assert!(!is_due(&mut lateness, policy, 100, 6000), "it got back");
            assert_eq!(lateness.deadline(policy, &rules()), NEVER);
            assert!(!is_due(&mut lateness, policy, 101, 9000), "and its grace starts again");
            assert_eq!(lateness.deadline(policy, &rules()), Millis(14_000));
        }
    }

    #[test]
    fn a_subscriber_that_is_past_the_bound_for_longer_than_the_grace_is_due() {
        for policy in [LagPolicy::Close, LagPolicy::Skip] {
            let mut lateness = Lateness::default();
            assert!(!is_due(&mut lateness, policy, 101, 1000));
            assert!(is_due(&mut lateness, policy, 101, 6000));
        }
    }

    #[test]
    fn the_hard_bound_does_not_wait_for_the_grace() {
        for policy in [LagPolicy::Close, LagPolicy::Skip] {
            let mut lateness = Lateness::default();
            assert!(!is_due(&mut lateness, policy, 3200, 1000));
            assert!(is_due(&mut lateness, policy, 3201, 1000));
        }
    }

    #[test]
    fn latest_does_not_wait_for_the_grace() {
        let mut lateness = Lateness::default();
        assert!(!is_due(&mut lateness, LagPolicy::Latest, 100, 1000));
        assert!(is_due(&mut lateness, LagPolicy::Latest, 101, 1000));
        assert_eq!(lateness.deadline(LagPolicy::Latest, &rules()), NEVER);
    }

    #[test]
    fn under_latest_what_waited_for_half_a_second_is_stale_and_under_the_others_nothing_is() {
        for (policy, is_stale) in
            [(LagPolicy::Latest, true), (LagPolicy::Close, false), (LagPolicy::Skip, false)]
        {
            let mut lateness = Lateness::default();
            assert!(!lateness.is_stale(policy, Millis(1000)));
            assert!(!is_due(&mut lateness, policy, 1, 1000));
            assert!(!is_due(&mut lateness, policy, 50, 1400));
            assert!(!lateness.is_stale(policy, Millis(1499)));
            assert_eq!(lateness.is_stale(policy, Millis(1500)), is_stale, "{policy:?}");
            lateness.clear();
            assert!(!lateness.is_stale(policy, Millis(9000)));
        }
    }
}
