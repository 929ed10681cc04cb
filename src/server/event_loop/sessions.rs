//! Sessions over HTTP requests, as far as they concern two connections or two loops: a request is brought to its session, and
//! a session's lines to the request that carries it.
//!
//! What is said is in `connection/over_http` and `connection/carrier`. A request of a session of another loop moves there as
//! a whole.
//!
//! ```text
//!   read    request complete ─ ask_session ─▶ session here: attach, or process what was posted
//!                                             session of another loop: the request moves there
//!                                             none: a new one, or 404
//!   flush   session writes lines into the pipe ─ carry ─▶ the request is fed, and flushed
//!           stream has taken them ─ Next::Carry ─▶ the session writes again
//!   reap    request dropped ─ release ─▶ session waits for the next one
//! ```

use std::sync::Arc;

use super::EventLoop;
use crate::pusher::fallback::path::{Purpose, Transport};
use crate::pusher::fallback::session::Attached;
use crate::server::api::routes::Door;
use crate::server::connection::table::Key;
use crate::server::connection::{Connection, Next};
use crate::server::metrics::refusals::Reason;
use crate::server::sessions::Whereabouts;

impl EventLoop {
    /// Takes in the connections that other loops have given to this one, with their requests.
    pub(super) fn take_moved(&mut self) {
        for connection in self.exchange.take(self.context.loop_index) {
            let is_welcome = self.drain.is_none();
            let key = self.connections.insert(connection);
            let Some((connection, cx)) = self.with(key) else { continue };
            connection.count_anew(&mut cx.counters);
            let is_registered = self.register(key);
            if is_registered && is_welcome {
                self.settle(key, Next::Read);
            } else {
                self.doomed.push(key);
            }
        }
    }

    /// Brings the complete request of a connection to its session.
    pub(super) fn ask_session(&mut self, key: Key) {
        let Some(request) = self.connections.get(key).and_then(Connection::asks_session) else { return };
        let here = self.context.loop_index;
        match self.context.shared.sessions.find(&request.name) {
            Some(at) if at.loop_index == here => self.serve_session(key, Key::from_u64(at.connection)),
            Some(at) => self.move_connection(key, at.loop_index),
            None => match request.purpose {
                Purpose::Receive(_) => self.open_session(key),
                Purpose::Send => self.refuse_session(key),
            },
        }
    }

    /// Moves a connection without subscriptions to another loop.
    fn move_connection(&mut self, key: Key, to: usize) {
        let Some(mut connection) = self.connections.remove(key) else { return };
        connection.uncount(&mut self.context.counters);
        connection.stream.deregister(self.poll.registry());
        let shared = &self.context.shared;
        shared.placement.add(to);
        shared.placement.release(self.context.loop_index);
        self.exchange.give(to, connection);
        shared.broker.mailbox(to).wake();
    }

    /// Makes the session that a request asks for, and brings the request to it. If there was such a session when the request
    /// came, and it has ended since, there is none.
    fn open_session(&mut self, key: Key) {
        let here = self.context.loop_index;
        let Some((name, connecting)) = self.connections.get_mut(key).and_then(Connection::take_connecting)
        else {
            return self.refuse_session(key);
        };
        let shared = Arc::clone(&self.context.shared);
        if shared.room() == 0 || self.context.is_leaving() {
            return self.refuse_room(key);
        }
        let session = self.connections.insert(Connection::new_session(name.clone(), self.context.now));
        let at = Whereabouts { loop_index: here, connection: session.to_u64() };
        self.context.counters.add_connection(false);
        shared.placement.add(here);
        if !shared.sessions.add(&name, at) {
            // Another loop was faster.
            self.doomed.push(session);
            return self.ask_session(key);
        }
        if let Some((connection, cx)) = self.with(session) {
            connection.begin_session(connecting, cx);
        }
        self.serve_session(key, session);
    }

    /// Does what a request of a session of this loop is for.
    fn serve_session(&mut self, key: Key, session: Key) {
        let Some(request) = self.connections.get_mut(key).and_then(Connection::take_session_request) else {
            return;
        };
        let next = match request.purpose {
            Purpose::Send => {
                let is_over = self.connections.get(session).is_none_or(Connection::is_closing_session);
                let outcome = self.with(session).map(|(session, cx)| session.receive_post(&request.body, cx));
                let Some((connection, cx)) = self.with(key) else { return };
                match outcome {
                    Some(outcome) if !is_over => connection.answer_post(outcome, request.after, cx),
                    Some(_) | None => connection.answer_no_session(request.after, cx),
                }
            }
            Purpose::Receive(transport) => {
                self.drop_ended_carrier(session);
                let attached = self.attach(key, session, transport);
                let Some((connection, cx)) = self.with(key) else { return };
                connection.carry(session.to_u64(), (transport, attached), request.after, cx)
            }
        };
        self.touched.extend([key, session]);
        self.settle(session, Next::Wait);
        self.settle(key, next);
    }

    /// Has a request carry a session.
    fn attach(&mut self, key: Key, session: Key, transport: Transport) -> Attached {
        let Some((connection, cx)) = self.with(session) else { return Attached::Refused };
        let (attached, replaced) = connection.attach(transport, key.to_u64(), cx);
        if (transport, attached) == (Transport::Polling, Attached::Opens) {
            // It is answered at once, and carries nothing.
            let _ = connection.lose_carrier(key.to_u64(), cx);
        }
        if let Some(replaced) = replaced.map(Key::from_u64) {
            self.end_carriage(replaced);
        }
        attached
    }

    /// A request whose peer is known to have gone carries a session no more, even if it is not dropped yet.
    fn drop_ended_carrier(&mut self, session: Key) {
        let Some(carrier) = self.connections.get(session).and_then(Connection::carrier) else { return };
        let has_ended = |connection: &Connection| connection.stream.has_ended();
        if self.connections.get(Key::from_u64(carrier)).is_none_or(has_ended) {
            self.lose_carrier(session, carrier);
        }
    }

    fn lose_carrier(&mut self, session: Key, carrier: u64) {
        let Some((connection, cx)) = self.with(session) else { return };
        let next = connection.lose_carrier(carrier, cx);
        self.settle(session, next);
    }

    fn end_carriage(&mut self, key: Key) {
        let Some((connection, cx)) = self.with(key) else { return };
        let next = connection.end_carriage(cx);
        self.touched.push(key);
        self.settle(key, next);
    }

    fn refuse_session(&mut self, key: Key) {
        let Some((connection, cx)) = self.with(key) else { return };
        let Some(request) = connection.take_session_request() else { return };
        let next = connection.answer_no_session(request.after, cx);
        self.settle(key, next);
    }

    fn refuse_room(&mut self, key: Key) {
        let Some((connection, cx)) = self.with(key) else { return };
        let Some(request) = connection.take_session_request() else { return };
        cx.note(Reason::NoRoom, &"a session over HTTP: --max-connections or --max-memory is reached");
        let next = connection.answer_no_room(request.after, cx);
        self.settle(key, next);
    }

    /// Gives the lines that a session has just written to the request that carries it, and writes them.
    pub(super) fn carry(&mut self, session: Key, is_last: bool) {
        let lines = self.context.pipe.take();
        // They are counted when a socket takes them.
        self.context.counters.bytes_sent -= lines.len() as u64;
        let Some((connection, cx)) = self.with(session) else { return };
        let Some(carrier) = connection.give(lines.len(), cx).map(Key::from_u64) else { return };
        let Some((connection, cx)) = self.with(carrier) else { return };
        let next = connection.feed(lines, is_last, cx);
        self.settle(carrier, next);
        self.flush_connection(carrier);
    }

    /// A stream has taken what its session gave it: the session may write again.
    pub(super) fn carry_on(&mut self, carrier: Key) {
        let session = self.connections.get(carrier).and_then(Connection::carried_session);
        let Some(session) = session.map(Key::from_u64) else { return };
        let may_write = self
            .connections
            .get_mut(session)
            .is_some_and(|connection| connection.note_taken(carrier.to_u64()));
        if may_write {
            self.flush_connection(session);
        }
    }

    /// Tells sessions that their requests carry them no more.
    pub(super) fn release(&mut self) {
        while let Some(released) = self.context.released.pop() {
            self.lose_carrier(Key::from_u64(released.session), released.carrier);
        }
    }

    /// A session is dropped: no request finds it any more, and the one that carries it ends.
    pub(super) fn forget_session(&mut self, key: Key, connection: &Connection) {
        let Some(name) = connection.session_name() else { return };
        let at = Whereabouts { loop_index: self.context.loop_index, connection: key.to_u64() };
        self.context.shared.sessions.remove(name, at);
        if let Some(carrier) = connection.carrier() {
            self.end_carriage(Key::from_u64(carrier));
            self.flush_connection(Key::from_u64(carrier));
        }
    }

    fn register(&mut self, key: Key) -> bool {
        let Some(connection) = self.connections.get_mut(key) else { return false };
        debug_assert_eq!(connection.door, Door::Public, "only clients' requests move");
        connection.stream.register(self.poll.registry(), key.token()).is_ok()
    }
}
