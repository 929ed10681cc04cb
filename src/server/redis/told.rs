//! What this node has to tell the others and has not told yet.
//!
//! How it is told is in `telling`.

use std::collections::VecDeque;

use crate::server::broker::engine::tidings::Tiding;

/// The most tidings that wait while Redis is away. More revocations than that a day no node takes.
pub const WAITING_MAX: usize = 10_000;

/// What waits to be told.
#[derive(Debug, Default)]
pub struct Telling {
    pub waiting: VecDeque<Tiding>,
    /// What Redis has refused to keep for nodes that do not listen now: it is told again by and by.
    pub unkept: Vec<Tiding>,
    /// Whether what is kept is still to be read.
    pub is_to_read: bool,
}

impl Telling {
    /// Redis has refused to keep something.
    pub fn keep_later(&mut self, tiding: Tiding) {
        if self.unkept.len() < WAITING_MAX && !self.unkept.contains(&tiding) {
            self.unkept.push(tiding);
        }
    }

    /// This node begins to listen: what is kept is to be read.
    pub fn begin(&mut self) {
        self.is_to_read = true;
    }
}
