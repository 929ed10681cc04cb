//! The accept phase: new connections, from the listeners on the first loop and from the mailbox on the others.
//!
//! How a socket is accepted or refused is in `acceptor`.

use super::EventLoop;
use super::acceptor::{Accepted, Turned};
use super::arrivals::OPERATORS_MAX;
use crate::server::api::routes::Door;
use crate::server::broker::mailbox::{Incoming, Opening};
use crate::server::connection::context::Context;
use crate::server::connection::stream::Stream;
use crate::server::connection::tls::TlsLayer;
use crate::server::connection::{Connection, Next};
use crate::server::metrics::refusals::Reason;

impl EventLoop {
    /// Takes new connections from the listeners, and those that the first loop handed over.
    pub(super) fn accept(&mut self) {
        self.accept_from_listeners();
        self.take_moved();
        for incoming in self.mailbox().take_incoming() {
            self.take_in(incoming, Door::Public);
        }
    }

    fn accept_from_listeners(&mut self) {
        let Self { arrivals, context: cx, .. } = self;
        let Some(acceptor) = &mut arrivals.acceptor else { return };
        let operators_room = OPERATORS_MAX.saturating_sub(arrivals.operators_len);
        let rooms = [cx.shared.room(), operators_room];
        let is_resting = cx.shared.handshakes.are_too_many();
        let accepted = acceptor.accept(rooms, &cx.shared.limits, is_resting, cx.now);
        cx.counters.accepted += (accepted.incoming.len() + accepted.operators.len()) as u64;
        cx.counters.bytes_sent += accepted.refused_len as u64;
        note_refused(&accepted, cx);
        for incoming in accepted.incoming {
            match self.context.shared.placement.assign() {
                index if index == self.context.loop_index => self.take_in(incoming, Door::Public),
                index => self.context.shared.broker.mailbox(index).hand_over(incoming),
            }
        }
        for socket in accepted.operators {
            self.arrivals.operators_len += 1;
            self.take_in(Incoming { socket, seat: None, opening: Opening::Request }, Door::Metrics);
        }
    }

    fn take_in(&mut self, incoming: Incoming, door: Door) {
        let now = self.context.now;
        let Incoming { socket, seat, opening } = incoming;
        let stream = match self.context.shared.begin_tls(opening) {
            Some(session) => Stream::over_tls(socket, TlsLayer::new(session)),
            None => Stream::new(socket),
        };
        let is_tls = stream.is_handshaking();
        let mut connection = Connection::new(stream, now, door);
        connection.arrive(seat, opening);
        let key = self.connections.insert(connection);
        self.context.counters.add_connection(is_tls);
        if is_tls {
            self.handshakes.begin(now, key);
        }
        let connection = self.connections.get_mut(key).expect("it has just been inserted");
        let is_registered = connection.stream.register(self.poll.registry(), key.token()).is_ok();
        // Probes are answered until the loop ends.
        let is_welcome = self.drain.is_none() || door == Door::Metrics;
        self.settle(key, if is_registered && is_welcome { Next::Wait } else { Next::Drop });
    }
}

/// Counts and logs who was not let in.
fn note_refused(accepted: &Accepted, cx: &Context) {
    if accepted.refused > 0 || accepted.out_of_descriptors {
        let (reason, sentence) = if accepted.out_of_descriptors {
            (Reason::Descriptors, "a connection: no descriptors are left")
        } else if cx.shared.is_over_memory() {
            (Reason::Memory, "a connection: --max-memory is reached")
        } else {
            (Reason::NoRoom, "a connection: --max-connections is reached")
        };
        cx.shared.note_several(reason, accepted.refused, cx.now, &sentence);
    }
    for (address, turned) in &accepted.turned_away {
        match turned {
            Turned::TooMany(too_many) => {
                cx.note(too_many.reason(), &format_args!("a connection from {address}: {too_many}"));
            }
            Turned::NoProxy => {
                const WHY: &str =
                    "--trust-proxy does not name it, and a PROXY header is expected where it came in";
                cx.note(Reason::Proxy, &format_args!("a connection from {address}: {WHY}"));
            }
        }
    }
}
