//! The drain of a loop: which connection is closed when, spread evenly over the time of the drain.
//!
//! No connection is closed here.

use crate::server::clock::Millis;
use crate::server::connection::table::Key;

/// The connections that were open when the drain began.
#[derive(Debug)]
pub struct Drain {
    keys: Vec<Key>,
    next: usize,
    began: Millis,
    over_ms: u64,
    close_ms: u64,
}

impl Drain {
    /// Schedules `keys` one after the other, the first at once and all within `over_ms`. Each then has `close_ms` to answer
    /// its Close frame.
    pub fn new(keys: Vec<Key>, began: Millis, over_ms: u64, close_ms: u64) -> Self {
        Self { keys, next: 0, began, over_ms, close_ms }
    }

    /// The next connection that is due.
    pub fn pop(&mut self, now: Millis) -> Option<Key> {
        if self.next_at()? > now {
            return None;
        }
        self.next += 1;
        Some(self.keys[self.next - 1])
    }

    /// When the next connection is due, or, after the last one, when the drain ends.
    pub fn deadline(&self) -> Millis {
        self.next_at().unwrap_or_else(|| self.end())
    }

    /// Whether the drain has ended: connections that are still open are dropped.
    pub fn is_over(&self, now: Millis) -> bool {
        now >= self.end()
    }

    fn end(&self) -> Millis {
        Millis(self.began.0 + self.over_ms + self.close_ms)
    }

    fn next_at(&self) -> Option<Millis> {
        let count = self.keys.len() as u64;
        (self.next < self.keys.len()).then(|| Millis(self.began.0 + self.over_ms * self.next as u64 / count))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connections_are_closed_evenly_over_the_drain() {
        let mut drain = Drain::new((0..5).map(Key::test).collect(), Millis(100), 1000, 50);
        let mut closed_by = |now| std::iter::from_fn(|| drain.pop(Millis(now))).count();
        assert_eq!(closed_by(100), 1);
        assert_eq!(closed_by(299), 0);
        assert_eq!(closed_by(300), 1);
        assert_eq!(closed_by(700), 2);
        assert_eq!(closed_by(900), 1);
        assert_eq!(closed_by(9000), 0);
    }

    #[test]
    fn without_a_drain_all_are_closed_at_once() {
        let mut drain = Drain::new((0..3).map(Key::test).collect(), Millis(0), 0, 50);
        assert_eq!(std::iter::from_fn(|| drain.pop(Millis(0))).count(), 3);
    }

    #[test]
    fn the_drain_is_over_when_the_last_had_its_time_to_answer() {
        let mut drain = Drain::new(vec![Key::test(0)], Millis(100), 1000, 50);
        assert_eq!(drain.deadline(), Millis(100));
        assert!(drain.pop(Millis(100)).is_some());
        assert_eq!(drain.deadline(), Millis(1150));
        assert!(!drain.is_over(Millis(1149)));
        assert!(drain.is_over(Millis(1150)));
    }
}
