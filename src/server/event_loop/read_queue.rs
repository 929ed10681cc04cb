//! The connections that are to be read, in the order in which they are read.
//!
//! How they are read is in `read`.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};

use crate::server::clock::Millis;
use crate::server::connection::table::Key;

/// Connections that are to be read.
///
/// Invariant: each connection is here at most once, in `queued`, `parked` or `throttled`, as its [`Input`] says. Keys of
/// connections that are gone may remain; they are passed over.
#[derive(Debug, Default)]
pub struct ReadQueue {
    /// In the order in which they are read.
    pub queued: VecDeque<Key>,
    /// Publishers that wait until no mailbox is congested, in the order in which they were parked, and since when.
    pub parked: Vec<(Millis, Key)>,
    /// Connections that wait for their pace: until when, since when.
    throttled: BinaryHeap<Reverse<(Millis, Millis, Key)>>,
}

/// Keys of connections that are gone are removed from the throttled ones when there are more than this, and than twice the
/// connections.
const GONE_MAX: usize = 64;

impl ReadQueue {
    /// Whether a connection can be read now.
    pub fn has_queued(&self) -> bool {
        !self.queued.is_empty()
    }

    /// Has a connection wait. `is_there` says which connections are still there, of which there are `connections`.
    pub fn throttle(
        &mut self,
        (since, until): (Millis, Millis),
        key: Key,
        connections: usize,
        is_there: impl Fn(Key) -> bool,
    ) {
        if self.throttled.len() > 2 * connections + GONE_MAX {
            self.throttled.retain(|&Reverse((_, _, key))| is_there(key));
        }
        self.throttled.push(Reverse((until, since, key)));
    }

    /// The next connection that has waited long enough, and since when it has.
    pub fn pop_throttled(&mut self, now: Millis) -> Option<(Millis, Key)> {
        let &Reverse((_, since, key)) =
            self.throttled.peek().filter(|&&Reverse((until, ..))| until <= now)?;
        self.throttled.pop();
        Some((since, key))
    }

    /// When [`ReadQueue::pop_throttled`] has the next one.
    pub fn throttled_until(&self) -> Option<Millis> {
        self.throttled.peek().map(|&Reverse((until, ..))| until)
    }

    /// Whether a publisher is parked.
    pub fn has_parked(&self) -> bool {
        !self.parked.is_empty()
    }
}
