//! The accept phase: new connections, from the listeners on the first loop and from the mailbox on the others.
//!
//! How a socket is accepted or refused is in `acceptor`.

use mio::net::TcpStream;

use super::EventLoop;
use super::arrivals::OPERATORS_MAX;
use crate::server::api::routes::Door;
use crate::server::connection::stream::Stream;
use crate::server::connection::{Connection, Next};
use crate::server::metrics::refusals::Reason;

impl EventLoop {
    /// Takes new connections from the listeners, and those that the first loop handed over.
    pub(super) fn accept(&mut self) {
        self.accept_from_listeners();
        self.take_moved();
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
                (Reason::Descriptors, "a connection: no descriptors are left")
            } else if cx.shared.is_over_memory() {
                (Reason::Memory, "a connection: --max-memory is reached")
            } else {
                (Reason::NoRoom, "a connection: --max-connections is reached")
            };
            cx.shared.note_several(reason, accepted.refused, cx.now, &sentence);
        }
        for socket in accepted.sockets {
            match self.context.shared.placement.assign() {
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
        let key = self.connections.insert(Connection::new(Stream::new(socket), now, door));
        self.context.counters.add_connection();
        let connection = self.connections.get_mut(key).expect("it has just been inserted");
        let is_registered = connection.stream.register(self.poll.registry(), key.token()).is_ok();
        // Probes are answered until the loop ends.
        let is_welcome = self.drain.is_none() || door == Door::Metrics;
        self.settle(key, if is_registered && is_welcome { Next::Wait } else { Next::Drop });
    }
}
