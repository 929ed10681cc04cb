//! The deadline queue of connections: at most one live entry per connection.
//!
//! What is due at a deadline is in `connection/timeouts`. If a connection has postponed its deadline in the meantime, its
//! entry comes up early, and a later one is pushed.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use crate::hub::growth;
use crate::server::clock::Millis;
use crate::server::connection::table::Key;

/// The queue grows by this many places at least.
const GROWTH_MIN: usize = 64;

/// Deadlines and connections, the earliest first.
#[derive(Debug, Default)]
pub struct Timers {
    heap: BinaryHeap<Reverse<(Millis, Key)>>,
}

impl Timers {
    /// Adds a deadline of a connection. O(log n).
    pub fn push(&mut self, at: Millis, key: Key) {
        self.heap.reserve_exact(growth(self.heap.len(), self.heap.capacity(), GROWTH_MIN));
        self.heap.push(Reverse((at, key)));
    }

    /// The earliest deadline.
    pub fn next(&self) -> Option<Millis> {
        self.heap.peek().map(|&Reverse((at, _))| at)
    }

    /// Removes the earliest entry, if it is due.
    pub fn pop(&mut self, now: Millis) -> Option<(Millis, Key)> {
        if self.next()? > now {
            return None;
        }
        let entry = self.heap.pop().map(|Reverse(entry)| entry);
        if self.heap.len() < self.heap.capacity() / 4 {
            self.heap.shrink_to(self.heap.capacity() / 2);
        }
        entry
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_come_in_the_order_of_their_times_and_not_before() {
        let mut timers = Timers::default();
        for at in [30, 10, 20] {
            timers.push(Millis(at), Key::test(at as u32));
        }
        assert_eq!(timers.next(), Some(Millis(10)));
        assert_eq!(timers.pop(Millis(9)), None);
        assert_eq!(timers.pop(Millis(25)), Some((Millis(10), Key::test(10))));
        assert_eq!(timers.pop(Millis(25)), Some((Millis(20), Key::test(20))));
        assert_eq!(timers.pop(Millis(25)), None);
        assert_eq!(timers.next(), Some(Millis(30)));
    }
}
