//! The flush phase: one write per connection for all that was published in the turn.
//!
//! What a connection writes, and in which order, is in `connection/sending`.

use super::{EventLoop, note};
use crate::hub::LogId;
use crate::server::connection::Next;
use crate::server::connection::table::Key;

impl EventLoop {
    /// Writes to every connection that has unsent bytes and whose socket has room.
    pub(super) fn flush(&mut self) {
        // Reading and encoding may have taken long. Bytes that a socket refuses wait from now on, not from the turn's
        // start.
        self.context.now = self.context.shared.clock.now();
        let mut touched = std::mem::take(&mut self.touched);
        let mut untrimmed = Vec::new();
        while let Some(log) = self.context.hub.pop_dirty() {
            if self.flush_readers(log, &mut touched) {
                self.context.hub.trim(log);
            } else {
                untrimmed.push(log);
            }
        }
        for key in touched.drain(..) {
            self.flush_connection(key);
        }
        untrimmed.into_iter().for_each(|log| self.context.hub.trim(log));
        touched.append(&mut self.touched);
        self.touched = touched;
    }

    /// Writes to the readers of a log. Connections with several subscriptions are put off until all logs have been walked,
    /// so that each is written to once. False if there was such a connection.
    fn flush_readers(&mut self, log: LogId, put_off: &mut Vec<Key>) -> bool {
        let mut is_whole = true;
        // From the last to the first: no reader is passed over if one leaves during the walk.
        for place in (0..self.context.hub.readers_len(log)).rev() {
            let Some((_, owner)) = self.context.hub.reader_at(log, place) else { continue };
            let key = Key::from_u64(owner);
            let Some(connection) = self.connections.get_mut(key) else { continue };
            match connection.is_to_be_queued() {
                None => self.flush_connection(key),
                Some(is_first) => {
                    is_whole = false;
                    if is_first {
                        put_off.push(key);
                    }
                }
            }
        }
        is_whole
    }

    /// Writes to one connection, and does what it returns.
    pub(super) fn flush_connection(&mut self, key: Key) {
        let Self { connections, context, timers, .. } = self;
        let Some(connection) = connections.get_mut(key) else { return };
        context.owner = key.to_u64();
        let was_steady = connection.is_steady();
        match connection.flush(context) {
            // Nearly always: no second lookup in the table, and none of the deadline.
            Next::Wait if was_steady && connection.is_steady() => connection.recount(&mut context.counters),
            Next::Wait => note(connection, key, context, timers),
            next => self.settle(key, next),
        }
    }
}
