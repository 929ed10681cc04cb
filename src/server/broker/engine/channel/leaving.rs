//! When a channel that nobody wants is left, and how.
//!
//! That nobody may join it then is the caller's.

use super::{Channel, State};
use crate::server::broker::engine::signal::Action;
use crate::server::clock::Millis;

/// A channel that nobody wants stays subscribed this long: a client between two long polls, or one that reconnects, finds it.
pub const QUIET_MS: u64 = 60_000;

/// One without publications is left sooner, once whoever was told that it can be joined has joined it, and webhooks that wait for
/// somebody's return have been sent.
pub const EMPTY_QUIET_MS: u64 = 5_000;

impl Channel {
    /// Whether nobody wants it.
    #[must_use]
    pub fn is_unwanted(&self) -> bool {
        self.unwanted_at.is_some()
    }

    /// Whether nobody has wanted it for so long that it is left, as soon as Redis can be told.
    #[must_use]
    pub fn is_quiet(&self, now: Millis) -> bool {
        self.quiet_at().is_some_and(|at| at <= now)
    }

    pub(super) fn quiet_at(&self) -> Option<Millis> {
        let has_past = self.position.is_some_and(|position| position.sequence > 0);
        let unwanted_at = self.unwanted_at.filter(|_| !matches!(self.state, State::Leaving))?;
        let quiet_ms = match (has_past || self.is_expected, self.is_ready) {
            _ if self.is_crowded_out => 0,
            (true, _) => QUIET_MS,
            (false, true) => EMPTY_QUIET_MS,
            (false, false) => 0,
        };
        Some(Millis(unwanted_at.0 + quiet_ms))
    }

    /// Whether Redis cannot be told yet that the subscribers have gone.
    pub(super) fn is_mute(&self) -> bool {
        matches!(self.state, State::Stale) && self.told > 0
    }

    pub(super) fn leave(&mut self, now: Millis, actions: &mut Vec<Action>) {
        if !matches!(self.state, State::Stale) {
            actions.push(Action::Unsubscribe);
        }
        self.give_up_attempt();
        (self.state, self.refusals) = (State::Leaving, 0);
        if self.told == 0 {
            actions.push(Action::Forget);
        } else {
            self.open(0, now, actions);
        }
    }
}
