//! The accept phase: new connections, from the listeners of this loop and from the loop that listens.
//!
//! How sockets are accepted and refused is `acceptor`'s.

use mio::Token;
use mio::net::TcpStream;

use super::EventLoop;
use super::acceptor::Acceptor;
use crate::server::api::routes::Door;
use crate::server::clock::Millis;
use crate::server::connection::context::Context;
use crate::server::connection::stream::Stream;
use crate::server::connection::{Connection, Next};
use crate::server::metrics::refusals::Reason;

/// Connections of the metrics listener at once; they are not among those that `--max-connections` counts, so that a
/// full server can still be asked. Several scrapers and probes, and those of them that have not closed yet.
pub const OPERATORS_MAX: usize = 32;

/// Where connections come from, and how many operators there are.
#[derive(Debug)]
pub struct Arrivals {
    /// The listeners, on the loop that has them.
    acceptor: Option<Acceptor>,
    /// Connections that came in at the metrics listener.
    operators_len: usize,
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

    /// How many connections came in at the metrics listener.
    pub fn operators_len(&self) -> usize {
        self.operators_len
    }

    /// A connection is gone, and its place free.
    pub fn release(&mut self, connection: &Connection, cx: &Context) {
        match connection.door {
            Door::Public => cx.shared.release(cx.loop_index),
            Door::Metrics => self.operators_len -= 1,
        }
    }
}

impl EventLoop {
    /// Takes in new connections, and those that the listening loop handed over.
    pub(super) fn accept(&mut self) {
        self.accept_from_listeners();
        for socket in self.mailbox().take_sockets() {
            self.take_in(socket, Door::Public);
        }
    }

    fn accept_from_listeners(&mut self) {
        let Self { arrivals, context: cx, .. } = self;
        let Some(acceptor) = &mut arrivals.acceptor else { return };
        let operators_room = OPERATORS_MAX.saturating_sub(arrivals.operators_len);
        let accepted = acceptor.accept(cx.shared.room(), operators_room, cx.now);
        cx.counters.accepted += (accepted.sockets.len() + accepted.operators.len()) as u64;
        cx.counters.bytes_sent += accepted.refused_len as u64;
        if accepted.refused > 0 || accepted.out_of_descriptors {
            let (reason, sentence) = if accepted.out_of_descriptors {
                (Reason::Descriptors, "no descriptors left")
            } else if cx.shared.is_over_memory() {
                (Reason::Memory, "--max-memory is reached")
            } else {
                (Reason::NoRoom, "--max-connections reached")
            };
            cx.shared.note_several(reason, accepted.refused, cx.now, &sentence);
        }
        for socket in accepted.sockets {
            match self.context.shared.assign() {
                index if index == self.context.loop_index => self.take_in(socket, Door::Public),
                index => self.context.shared.broker.mailbox(index).hand_over(socket),
            }
        }
        for socket in accepted.operators {
            self.arrivals.operators_len += 1;
            self.take_in(socket, Door::Metrics);
        }
    }

    fn take_in(&mut self, socket: TcpStream, door: Door) {
        let now = self.context.now;
        let key = self.connections.insert(|_| Connection::new(Stream::new(socket), now, door));
        self.context.count_new();
        let connection = self.connections.get_mut(key).expect("it has just been inserted");
        let is_registered = connection.stream.register(self.poll.registry(), key.token()).is_ok();
        // A probe is answered until the end.
        let is_welcome = self.drain.is_none() || door == Door::Metrics;
        self.settle(key, if is_registered && is_welcome { Next::Wait } else { Next::Drop });
    }
}
