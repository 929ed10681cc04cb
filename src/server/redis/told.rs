//! What this node has to tell the others and has not told yet.
//!
//! How it is told is in `telling`.

use std::collections::{HashSet, VecDeque};

use crate::server::broker::engine::tidings::Tiding;

/// The most tidings that wait while Redis is away. More revocations than that a day no node takes.
pub const WAITING_MAX: usize = 10_000;

/// What Redis has refused to keep is told again in parts of this many a second: it has enough to do if it is full.
const KEPT_LATER_MAX: usize = 100;

/// The users whose connections were to end of which a node reads.
pub const ENDED_MAX: usize = 1_000;

/// As many of them are remembered, so that their connections end once: those that are read, and those that are heard until they are
/// read again.
const ENDED_KNOWN_MAX: usize = 2 * ENDED_MAX;

/// What waits to be told.
#[derive(Debug, Default)]
pub struct Telling {
    pub waiting: VecDeque<Tiding>,
    /// What Redis has refused to keep for nodes that do not listen now: it is told again by and by.
    unkept: VecDeque<Tiding>,
    /// Whether what is kept is still to be read.
    pub is_to_read: bool,
    /// Whose connections have ended here, as it was told, and in the order in which that was.
    ended: HashSet<Tiding>,
    ended_order: VecDeque<Tiding>,
}

impl Telling {
    /// Redis has refused to keep something.
    pub fn keep_later(&mut self, tiding: Tiding) {
        if self.unkept.len() < WAITING_MAX && !self.unkept.contains(&tiding) {
            self.unkept.push_back(tiding);
        }
    }

    /// What is to be told again now of what Redis has refused to keep.
    pub fn take_unkept(&mut self) -> Vec<Tiding> {
        self.unkept.drain(..self.unkept.len().min(KEPT_LATER_MAX)).collect()
    }

    /// The connections of a user have ended, or are about to. False if that was so before.
    pub fn note_ended(&mut self, tiding: &Tiding) -> bool {
        if !self.ended.insert(tiding.clone()) {
            return false;
        }
        self.ended_order.push_back(tiding.clone());
        if self.ended_order.len() > ENDED_KNOWN_MAX
            && let Some(first) = self.ended_order.pop_front()
        {
            self.ended.remove(&first);
        }
        true
    }

    /// This node begins to listen: what is kept is to be read.
    pub fn begin(&mut self) {
        self.is_to_read = true;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ended(at_ms: u64) -> Tiding {
        Tiding::Terminate { at_ms, app: "1".into(), user: "u".into() }
    }

    #[test]
    fn what_is_refused_is_told_again_in_parts_each_of_it_once() {
        let mut telling = Telling::default();
        for at_ms in (0..250).chain(0..250) {
            telling.keep_later(ended(at_ms));
        }
        let lens = [(); 4].map(|()| telling.take_unkept().len());
        assert_eq!(lens, [100, 100, 50, 0]);
    }

    #[test]
    fn connections_end_once_though_it_is_read_again_after_as_much_has_been_heard() {
        let mut telling = Telling::default();
        for at_ms in 0..2_000 {
            assert!(telling.note_ended(&ended(at_ms)));
        }
        // What is read are the latest.
        assert!((1_000..2_000).all(|at_ms| !telling.note_ended(&ended(at_ms))));
        assert!(
            telling.note_ended(&ended(2_000)) && telling.note_ended(&ended(0)),
            "the first are forgotten"
        );
    }
}
