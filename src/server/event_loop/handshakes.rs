//! The TLS handshakes of a loop: those that have something to be read, and all by their age.
//!
//! When they have their turn is decided in `handshaking`.

use std::collections::VecDeque;
use std::time::Duration;

use crate::server::clock::Millis;
use crate::server::connection::table::Key;

/// When the server is full, a handshake that takes longer than this makes room. Over slow mobile networks its round trip takes
/// half of that.
const OLD_MS: u64 = 1000;

/// While others have too many handshakes waiting, the listeners are looked at again after this long.
pub const REST: Duration = Duration::from_millis(1);

/// Keys of connections that are gone or past their handshakes are removed when there are more than this, and than twice the
/// connections.
const PAST_MAX: usize = 64;

/// The handshakes of a loop.
#[derive(Debug, Default)]
pub struct Handshakes {
    /// Those that have something to be read, in the order in which it came.
    waiting: VecDeque<Key>,
    /// All, in the order in which they began. Some may be past.
    begun: VecDeque<(Millis, Key)>,
}

impl Handshakes {
    /// A connection has come that begins with one.
    pub fn begin(&mut self, now: Millis, key: Key) {
        self.begun.push_back((now, key));
    }

    /// One has something to be read.
    pub fn push(&mut self, key: Key) {
        self.waiting.push_back(key);
    }

    /// The next that can go on.
    pub fn pop(&mut self) -> Option<Key> {
        self.waiting.pop_front()
    }

    /// How many can go on.
    pub fn waiting_len(&self) -> usize {
        self.waiting.len()
    }

    /// Whether some can go on.
    pub fn are_waiting(&self) -> bool {
        !self.waiting.is_empty()
    }

    /// When the oldest may have to make room, if the server is full then.
    pub fn old_at(&self) -> Option<Millis> {
        self.begun.front().map(|&(began, _)| Millis(began.0 + OLD_MS))
    }

    /// Forgets those that are past, at the front always, and everywhere if they are many.
    pub fn forget_past(&mut self, connections: usize, is_under_way: impl Fn(Key) -> bool) {
        if self.begun.len() > 2 * connections + PAST_MAX {
            self.begun.retain(|&(_, key)| is_under_way(key));
        }
        while self.begun.front().is_some_and(|&(_, key)| !is_under_way(key)) {
            self.begun.pop_front();
        }
        if self.begun.len() < self.begun.capacity() / 4 {
            self.begun.shrink_to(self.begun.capacity() / 2);
        }
    }

    /// The oldest, if it is old.
    pub fn pop_old(&mut self, now: Millis) -> Option<Key> {
        self.old_at().filter(|&at| at <= now)?;
        self.begun.pop_front().map(|(_, key)| key)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_makes_room_once_it_is_old_and_those_that_are_past_are_forgotten() {
        let mut handshakes = Handshakes::default();
        for index in 0..3 {
            handshakes.begin(Millis(u64::from(index)), Key::test(index));
        }
        handshakes.forget_past(3, |key| key != Key::test(0));
        assert_eq!(handshakes.old_at(), Some(Millis(1001)));
        assert_eq!(handshakes.pop_old(Millis(1000)), None);
        assert_eq!(handshakes.pop_old(Millis(1001)), Some(Key::test(1)));
        assert_eq!(handshakes.pop_old(Millis(1001)), None, "the next is younger");
    }

    #[test]
    fn behind_one_that_stalls_no_list_of_the_others_grows() {
        let mut handshakes = Handshakes::default();
        for index in 0..10_000 {
            handshakes.begin(Millis(0), Key::test(index));
            handshakes.forget_past(1, |key| key == Key::test(0));
            assert!(handshakes.begun.len() <= 2 + PAST_MAX);
        }
        assert_eq!(handshakes.pop_old(Millis(1000)), Some(Key::test(0)));
    }
}
