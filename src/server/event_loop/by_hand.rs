//! A loop that a test turns by hand, so that nothing happens between its turns.

use std::time::{Duration, Instant};

use mio::Events;

use super::EventLoop;

/// Whoever gets this far and sees nothing has found a bug.
pub const PATIENCE: Duration = Duration::from_secs(20);

impl EventLoop {
    /// Turns once, without waiting for anything.
    pub fn turn_by_hand(&mut self, events: &mut Events) {
        // As if it slept, and was woken.
        let _ = self.mailbox().may_sleep();
        self.mailbox().wake();
        assert!(self.turn(events).unwrap());
    }

    /// Turns until something is so.
    pub fn turn_until(&mut self, events: &mut Events, what: &str, is_so: impl Fn(&Self) -> bool) {
        let deadline = Instant::now() + PATIENCE;
        while !is_so(self) {
            assert!(Instant::now() < deadline, "gave up waiting until {what}");
            self.turn_by_hand(events);
        }
    }
}
