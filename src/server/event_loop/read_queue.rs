//! The connections that are to be read, in the order of their turns.
//!
//! What reading them means is in `read`.

use std::collections::VecDeque;

use crate::server::clock::Millis;
use crate::server::connection::table::Key;

/// Connections that are to be read.
///
/// Invariant: each connection is here at most once, in `queued` or `parked`, as its [`Input`] says. Keys of
/// connections that are gone may remain; they are passed over.
#[derive(Debug, Default)]
pub struct ReadQueue {
    /// In the order in which they are read.
    pub queued: VecDeque<Key>,
    /// Those that wait for the loops, in the same order, and since when.
    pub parked: Vec<(Millis, Key)>,
}

impl ReadQueue {
    /// Whether there is something to be read that nothing stands in the way of.
    pub fn has_queued(&self) -> bool {
        !self.queued.is_empty()
    }

    /// Whether a publisher waits for the loops.
    pub fn has_parked(&self) -> bool {
        !self.parked.is_empty()
    }
}
