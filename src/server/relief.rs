//! One budget for what clients make the server hold (`--max-memory`), and who goes when it is passed.
//!
//! What a log keeps the hub counts, what a connection holds it knows itself; here the sums are kept and compared.

use super::connection::Phase;
use super::connections::Key;
use super::event_loop::EventLoop;
use super::handlers;
use super::refusals::Kind;
use crate::ws::CloseCode;

/// What a connection costs besides what it holds: its entry, its timer, its place in a log.
pub const CONNECTION_LEN: usize = 256;

/// A connection that holds less than this is not worth ending for its memory: it is a frame or a head under way.
const BURDEN_MIN: u64 = 4 * 1024;

/// What a client is told that goes for the sake of the others.
const OUT_OF_MEMORY: &str =
    "the server is out of memory (--max-memory), and you held most; come back in a moment";

impl EventLoop {
    /// Counts what a connection holds and how it is used now, in the place of what was counted before.
    pub(super) fn count(&mut self, key: Key) {
        let Some(connection) = self.connections.get_mut(key) else { return };
        let held = connection.private_len();
        self.private_len = self.private_len - connection.held + held;
        connection.held = held;
        let transport = connection.transport();
        if transport != connection.counted_as {
            self.tally.note_transport(connection.counted_as, transport);
            connection.counted_as = transport;
        }
    }

    /// Tells the others how much this loop holds. If that is too much in all, those go that hold most here: who is
    /// furthest behind, or has most under way. Who has read everything and asks for nothing is never among them.
    ///
    /// What is kept for those that might come back goes before anybody.
    pub(super) fn relieve(&mut self) {
        self.report();
        if !self.shared.is_over_memory() {
            return;
        }
        self.shared.exchange.shed(|| !self.shared.is_over_memory());
        if !self.shared.is_over_memory() {
            return;
        }
        let mut burdens: Vec<(u64, Key)> = self
            .connections
            .keys()
            .map(|key| (self.burden(key), key))
            .filter(|&(len, _)| len >= BURDEN_MIN)
            .collect();
        burdens.sort_unstable_by(|a, b| b.cmp(a));
        for (_, key) in burdens {
            self.unburden(key);
            self.report();
            if !self.shared.is_over_memory() {
                break;
            }
        }
    }

    fn report(&self) {
        let connections_len = CONNECTION_LEN * self.connections.len();
        self.shared.hold(self.index, self.private_len + self.hub.log_bytes() + connections_len);
    }

    fn burden(&self, key: Key) -> u64 {
        let Some(connection) = self.connections.get(key) else { return 0 };
        // A socket that has room is not behind, it is about to be flushed.
        let lag = match connection.subscription() {
            Some(subscription) if !connection.is_writable => self.hub.lag(subscription),
            _ => 0,
        };
        lag + connection.held as u64
    }

    /// Ends a connection in a way that frees what it holds at once.
    fn unburden(&mut self, key: Key) {
        self.shared.note(Kind::Memory, self.now, &"a connection: --max-memory is reached, and it held most");
        let Some(connection) = self.connections.get(key) else { return };
        let log = connection.subscription().map(|subscription| self.hub.log(subscription));
        if connection.outbox.unsent().len() as u64 >= BURDEN_MIN {
            // It does not take what it asked for: there is no room for a goodbye either.
            self.leave_channel(key);
            self.cut(key);
        } else if matches!(connection.phase, Phase::Http(_)) {
            self.leave_channel(key);
            self.respond(key, &handlers::over_capacity(), false, false);
        } else {
            self.close_connection(key, CloseCode::TRY_AGAIN_LATER, OUT_OF_MEMORY);
        }
        if let Some(log) = log {
            self.hub.trim(log);
        }
        self.flush_connection(key);
    }

    /// Drops what was to be sent, and the connection with it.
    fn cut(&mut self, key: Key) {
        let Some(connection) = self.connections.get_mut(key) else { return };
        connection.phase = Phase::Lingering;
        connection.outbox = Default::default();
        self.doomed.push(key);
    }
}
