//! How a connection moves to another loop: as a whole, with its socket and what it has received.
//!
//! Which loop it moves to, and why, is in `sessions`.

use std::sync::Mutex;

use crate::server::connection::Connection;
use crate::server::lock::lock;

/// The connections that are on their way, for each loop. A loop is woken through its mailbox.
#[derive(Debug)]
pub struct Exchange {
    arriving: Box<[Mutex<Vec<Connection>>]>,
}

impl Exchange {
    /// For this many loops.
    pub fn new(loops: usize) -> Self {
        Self { arriving: (0..loops).map(|_| Mutex::default()).collect() }
    }

    /// Gives a connection to a loop. The caller wakes that loop after this.
    pub fn give(&self, loop_index: usize, connection: Connection) {
        lock(&self.arriving[loop_index]).push(connection);
    }

    /// Takes the connections that were given to a loop.
    pub fn take(&self, loop_index: usize) -> Vec<Connection> {
        std::mem::take(&mut lock(&self.arriving[loop_index]))
    }

    /// Whether none was given to a loop. A loop that is about to wait asks after its waker is armed.
    pub fn is_empty(&self, loop_index: usize) -> bool {
        lock(&self.arriving[loop_index]).is_empty()
    }
}
