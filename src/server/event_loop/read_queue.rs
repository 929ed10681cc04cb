//! The connections that are to be read, in the order in which they are read.
//!
//! How they are read is in `read`.

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
    /// Publishers that wait until no mailbox is congested, in the order in which they were parked, and since when.
    pub parked: Vec<(Millis, Key)>,
}

impl ReadQueue {
    /// Whether a connection can be read now.
    pub fn has_queued(&self) -> bool {
        !self.queued.is_empty()
    }

    /// Whether a publisher is parked.
    pub fn has_parked(&self) -> bool {
        !self.parked.is_empty()
    }
}
