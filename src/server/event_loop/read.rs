//! The read phase: connections with unread input are read round-robin, one share each; publishers are parked while the
//! mailbox of some loop is congested, and who sends too much waits for its pace.
//!
//! How much a share is, and what the bytes mean, is in `connection/reading`.

use std::time::Duration;

use super::EventLoop;
use crate::server::connection::reading::Share;
use crate::server::connection::table::Key;
use crate::server::connection::{Input, Next};
use crate::server::waking;

/// How long a turn reads; connections that were not read keep their places in the queue. Answers leave at the end of the
/// turn, so this is what a busy loop adds to a round trip. It is less than a person notices.
const READ_TIME_PER_TURN_MAX: Duration = Duration::from_millis(20);

impl EventLoop {
    /// Reads one share of every connection that was queued when the turn began, within the turn's budget of time and
    /// bytes. A connection with more input goes to the end of the queue.
    pub(super) fn read(&mut self) {
        self.unpark();
        self.unthrottle();
        for _ in 0..self.reads.queued.len() {
            let is_used_up = self.context.is_read_out()
                || self.context.shared.clock.elapsed().saturating_sub(self.turn_began)
                    > READ_TIME_PER_TURN_MAX;
            if is_used_up {
                break;
            }
            let Some(key) = self.reads.queued.pop_front() else { break };
            self.read_connection(key);
        }
        self.shake_hands();
    }

    pub(super) fn read_connection(&mut self, key: Key) {
        let Self { connections, context, read_buffer, .. } = self;
        let Some(connection) = connections.get_mut(key) else { return };
        connection.input = Input::Drained;
        context.owner = key.to_u64();
        // What it publishes goes on together.
        let held = waking::hold();
        let share = connection.read_share(read_buffer, context);
        drop(held);
        let next = match share {
            Share::Left(Input::Queued) => Next::Read,
            Share::Left(input) => {
                connection.input = input;
                if input == Input::Parked {
                    self.reads.parked.push((context.now, key));
                }
                Next::Wait
            }
            Share::Throttled(until) => {
                connection.input = Input::Throttled;
                context.counters.throttled += 1;
                let wait = (context.now, until);
                self.reads.throttle(wait, key, connections.len(), |key| connections.get(key).is_some());
                Next::Wait
            }
            Share::Asks => {
                self.touched.push(key);
                return self.ask_session(key);
            }
            Share::Over => Next::Drop,
        };
        // There may be an answer to send.
        self.touched.push(key);
        self.settle(key, next);
    }

    /// Queues a connection for reading, unless it is queued, parked or throttled.
    pub(super) fn queue_to_read(&mut self, key: Key) {
        let Some(connection) = self.connections.get_mut(key) else { return };
        if !connection.is_to_be_read() {
            connection.input = Input::Queued;
            if connection.stream.is_handshaking() {
                return self.queue_handshake(key);
            }
            self.reads.queued.push_back(key);
        }
    }

    /// Notes an edge. A held connection is queued only for the end of its input, not for more bytes.
    pub(super) fn note_readable(&mut self, key: Key, is_end: bool) {
        let Some(connection) = self.connections.get_mut(key) else { return };
        if is_end {
            connection.stream.note_end();
        }
        if connection.input != Input::Held || is_end {
            self.queue_to_read(key);
        }
    }

    /// Connections that have waited for their pace are queued again.
    fn unthrottle(&mut self) {
        while let Some((since, key)) = self.reads.pop_throttled(self.context.now) {
            let Some(connection) = self.connections.get_mut(key) else { continue };
            connection.input = Input::Queued;
            connection.excuse(since, self.context.now);
            self.reads.queued.push_back(key);
        }
    }

    /// When no mailbox is congested any more, parked publishers go to the front of the queue: their last share was before
    /// that of all others.
    fn unpark(&mut self) {
        if !self.reads.has_parked() || self.context.shared.broker.is_congested() {
            return;
        }
        for (since, key) in self.reads.parked.drain(..).rev() {
            let Some(connection) = self.connections.get_mut(key) else { continue };
            connection.input = Input::Queued;
            connection.excuse(since, self.context.now);
            self.reads.queued.push_front(key);
        }
    }
}

#[cfg(test)]
#[path = "read_tests.rs"]
mod tests;
