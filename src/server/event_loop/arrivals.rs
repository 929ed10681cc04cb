//! Where the connections of a loop come from: its listeners, if it has any, and how many came from the metrics listener.
//!
//! How a socket is accepted or refused is in `acceptor`.

use mio::Token;

use super::acceptor::Acceptor;
use crate::server::api::routes::Door;
use crate::server::clock::Millis;
use crate::server::connection::Connection;
use crate::server::connection::context::Context;

/// Open connections of the metrics listener. `--max-connections` does not count them, so that a full server can still be
/// scraped. 32 are several scrapers and probes, and their connections that are not closed yet.
pub const OPERATORS_MAX: usize = 32;

/// The listeners, and the number of operators: connections of the metrics listener.
#[derive(Debug)]
pub struct Arrivals {
    /// The listeners, on the loop that has them.
    pub acceptor: Option<Acceptor>,
    /// Open connections that came from the metrics listener.
    pub operators_len: usize,
}

impl Arrivals {
    /// For a loop with these listeners, or without listeners.
    pub fn new(acceptor: Option<Acceptor>) -> Self {
        Self { acceptor, operators_len: 0 }
    }

    /// Notes an event whose token is not a connection's.
    pub fn notice(&mut self, token: Token) {
        if let Some(acceptor) = &mut self.acceptor {
            acceptor.notice(token);
        }
    }

    /// Does what is due at `now`.
    pub fn expire(&mut self, now: Millis) {
        if let Some(acceptor) = &mut self.acceptor {
            acceptor.expire(now);
        }
    }

    /// Whether sockets are waiting that the last turn did not accept, and may be accepted now.
    pub fn has_more(&self, is_resting: bool) -> bool {
        self.acceptor.as_ref().is_some_and(|acceptor| acceptor.has_more(is_resting))
    }

    /// Whether sockets are waiting that may be accepted once fewer handshakes wait.
    pub fn has_resting(&self) -> bool {
        self.acceptor.as_ref().is_some_and(Acceptor::has_resting)
    }

    /// When [`Arrivals::expire`] is due next.
    pub fn deadline(&self) -> Option<Millis> {
        self.acceptor.as_ref().and_then(Acceptor::deadline)
    }

    /// Closes the listeners for clients. The metrics listener stays open, so that probes learn that the server is stopping.
    pub fn close(&mut self) {
        self.acceptor = self.acceptor.take().and_then(Acceptor::into_metrics_only);
    }

    /// Whether this loop listens.
    pub fn is_listening(&self) -> bool {
        self.acceptor.is_some()
    }

    /// Counts one connection less.
    pub fn release(&mut self, connection: &Connection, cx: &Context) {
        match connection.door {
            Door::Public => cx.shared.placement.release(cx.loop_index),
            Door::Metrics => self.operators_len -= 1,
        }
    }
}
