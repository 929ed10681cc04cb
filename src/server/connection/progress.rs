//! How far the connection is that is being read.

use std::cell::Cell;

use crate::server::broker::Broker;

/// How far a share is.
#[derive(Debug, Default)]
pub struct Progress {
    /// Bytes read, and bytes inflated from them.
    pub taken_len: usize,
    /// Whether publishers had to wait when that was looked at. Then they have to for the rest of the share: whoever has stopped for it
    /// is parked, though there is room again by then. Nothing else would have its rest read.
    was_congested: Cell<bool>,
}

impl Progress {
    /// Whether publishers have to wait.
    pub fn is_congested(&self, broker: &Broker) -> bool {
        let is_congested = self.was_congested.get() || broker.is_congested();
        self.was_congested.set(is_congested);
        is_congested
    }
}
