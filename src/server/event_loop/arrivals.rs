//! Where the connections of a loop come from: its listeners, if it has some, and how many came in at that of the metrics.
//!
//! How sockets are accepted and refused is `acceptor`'s.

use mio::Token;

use super::acceptor::Acceptor;
use crate::server::api::routes::Door;
use crate::server::clock::Millis;
use crate::server::connection::Connection;
use crate::server::connection::context::Context;

/// Connections of the metrics listener at once; they are not among those that `--max-connections` counts, so that a
/// full server can still be asked. Several scrapers and probes, and those of them that have not closed yet.
pub const OPERATORS_MAX: usize = 32;

/// Where connections come from, and how many operators there are.
#[derive(Debug)]
pub struct Arrivals {
    /// The listeners, on the loop that has them.
    pub acceptor: Option<Acceptor>,
    /// Connections that came in at the metrics listener.
    pub operators_len: usize,
}

impl Arrivals {
    /// Of a loop that has these listeners, or none.
    pub fn new(acceptor: Option<Acceptor>) -> Self {
        Self { acceptor, operators_len: 0 }
    }

    /// Takes note of an event that is no connection's.
    pub fn notice(&mut self, token: Token) {
        if let Some(acceptor) = &mut self.acceptor {
            acceptor.notice(token);
        }
    }

    /// Does what is due by the time.
    pub fn expire(&mut self, now: Millis) {
        if let Some(acceptor) = &mut self.acceptor {
            acceptor.expire(now);
        }
    }

    /// Whether sockets are waiting that the last turn did not take.
    pub fn has_more(&self) -> bool {
        self.acceptor.as_ref().is_some_and(Acceptor::has_more)
    }

    /// When listeners are to be looked at again although nothing happens.
    pub fn deadline(&self) -> Option<Millis> {
        self.acceptor.as_ref().and_then(Acceptor::deadline)
    }

    /// Nobody new is taken in; the metrics listener stays, so that a probe finds out that the server is stopping.
    pub fn close(&mut self) {
        self.acceptor = self.acceptor.take().and_then(Acceptor::into_metrics_only);
    }

    /// Whether this loop listens.
    pub fn is_listening(&self) -> bool {
        self.acceptor.is_some()
    }

    /// A connection is gone, and its place free.
    pub fn release(&mut self, connection: &Connection, cx: &Context) {
        match connection.door {
            Door::Public => cx.shared.release(cx.loop_index),
            Door::Metrics => self.operators_len -= 1,
        }
    }
}
