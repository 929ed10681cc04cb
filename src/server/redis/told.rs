//! What this node has to tell the others and has not told yet.
//!
//! How it is told is in `telling`.

use std::collections::{HashSet, VecDeque};

use crate::server::broker::engine::tidings::Tiding;

/// The most tidings that wait while Redis is away. More revocations than that a day no node takes.
pub const WAITING_MAX: usize = 10_000;

/// The users who are remembered whose connections have ended, so that they end once. As many are read at most.
pub const ENDED_MAX: usize = 1_000;

/// What waits to be told.
#[derive(Debug, Default)]
pub struct Telling {
    pub waiting: VecDeque<Tiding>,
    /// What Redis has refused to keep for nodes that do not listen now: it is told again by and by.
    pub unkept: Vec<Tiding>,
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
            self.unkept.push(tiding);
        }
    }

    /// The connections of a user have ended, or are about to. False if that was so before.
    pub fn note_ended(&mut self, tiding: &Tiding) -> bool {
        if !self.ended.insert(tiding.clone()) {
            return false;
        }
        self.ended_order.push_back(tiding.clone());
        if self.ended_order.len() > ENDED_MAX
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
