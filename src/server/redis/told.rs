//! What this node has to tell the others and has not told yet.
//!
//! How it is told is in `telling`.

use std::collections::VecDeque;

use crate::server::broker::engine::tidings::Tiding;

/// What waits to be told.
#[derive(Debug, Default)]
pub struct Telling {
    pub waiting: VecDeque<Tiding>,
    /// Whether what is kept is still to be read.
    pub is_to_read: bool,
}

impl Telling {
    /// This node begins to listen: what is kept is to be read.
    pub fn begin(&mut self) {
        self.is_to_read = true;
    }
}
