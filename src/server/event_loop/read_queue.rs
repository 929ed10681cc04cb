//! Who is read next: connections with unread input take turns, one share each, and publishers wait while a loop is
//! behind with what was published.
//!
//! What the bytes mean is in `reading`.

use std::collections::VecDeque;
use std::time::Duration;

use crate::server::clock::Millis;
use crate::server::connection::table::Key;
use crate::server::connection::timeouts::Due;
use crate::server::connection::{Awaited, Connection, Phase};
use crate::server::event_loop::EventLoop;

/// Bytes read of all sockets in a turn; those that were not read keep their places. What is published in a turn is written
/// twice before it goes out, for the channel and for its logs: 256 KiB of it are still in a cache then. What the sockets
/// hold is compared with `--max-memory` once a turn, so this is also how far past it a loop can get, but for one share.
pub(super) const READ_LEN_PER_TURN_MAX: usize = 256 * 1024;

/// How long a turn reads; those that were not read keep their places. The answers leave at the end of the turn, so
/// this is what a busy loop adds to a round trip, and it is below what a person notices.
const READ_TIME_PER_TURN_MAX: Duration = Duration::from_millis(20);

/// What is known of the unread input of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Input {
    /// None is known of: an edge tells of the next.
    Drained,
    /// It is in the queue.
    Queued,
    /// It publishes, and waits until the loops have caught up.
    Parked,
    /// It is read no further until it has taken its answers, or its long poll is answered.
    Held,
}

/// Connections that are to be read.
///
/// Invariant: each connection is here at most once, in `queued` or `parked`, as its [`Input`] says. Keys of
/// connections that are gone may remain; they are passed over.
#[derive(Debug, Default)]
pub struct ReadQueue {
    /// In the order in which they are read.
    queued: VecDeque<Key>,
    /// Those that wait for the loops, in the same order, and since when.
    parked: Vec<(Millis, Key)>,
}

impl ReadQueue {
    /// Whether there is something to be read that nothing stands in the way of.
    pub fn has_queued(&self) -> bool {
        !self.queued.is_empty()
    }

    /// Whether somebody waits for the loops.
    pub fn has_parked(&self) -> bool {
        !self.parked.is_empty()
    }
}

impl EventLoop {
    /// Reads one share of every connection that was queued when the turn began, as far as the turn's time and bytes
    /// reach. Who has more goes to the end of the queue.
    pub(super) fn read(&mut self) {
        self.unpark();
        for _ in 0..self.reads.queued.len() {
            let is_used_up = self.read_len > READ_LEN_PER_TURN_MAX
                || self.shared.elapsed().saturating_sub(self.turn_began) > READ_TIME_PER_TURN_MAX;
            if is_used_up {
                break;
            }
            let Some(key) = self.reads.queued.pop_front() else { break };
            let Some(connection) = self.connections.get_mut(key) else { continue };
            connection.input = Input::Drained;
            let input = self.read_connection(key);
            self.note_input(key, input);
        }
    }

    /// Has a connection read in its turn, if it does not wait for that already.
    pub(super) fn queue_to_read(&mut self, key: Key) {
        let Some(connection) = self.connections.get_mut(key) else { return };
        if !connection.is_to_be_read() {
            connection.input = Input::Queued;
            self.reads.queued.push_back(key);
        }
    }

    /// Takes note of an edge. Bytes are nothing new for a connection that is held; that they have an end is.
    pub(super) fn note_readable(&mut self, key: Key, is_end: bool) {
        let Some(connection) = self.connections.get_mut(key) else { return };
        connection.has_ended |= is_end;
        if connection.input != Input::Held || is_end {
            self.queue_to_read(key);
        }
    }

    /// Puts a connection that has been read where it belongs.
    fn note_input(&mut self, key: Key, input: Input) {
        // It may have been parked meanwhile, for a body that is complete.
        let Some(connection) = self.connections.get_mut(key).filter(|connection| !connection.is_to_be_read())
        else {
            return;
        };
        match input {
            Input::Queued => self.queue_to_read(key),
            Input::Parked => self.park(key),
            Input::Drained | Input::Held => connection.input = input,
        }
    }

    /// Has a publisher wait until the loops have caught up.
    pub(super) fn park(&mut self, key: Key) {
        let Some(connection) = self.connections.get_mut(key) else { return };
        if !connection.is_to_be_read() {
            connection.input = Input::Parked;
            self.reads.parked.push((self.now, key));
        }
    }

    /// When the loops have caught up, those that waited for them go first: they had their last share before all others.
    fn unpark(&mut self) {
        if !self.reads.has_parked() || self.broker().is_congested() {
            return;
        }
        for (since, key) in self.reads.parked.drain(..).rev() {
            let Some(connection) = self.connections.get_mut(key) else { continue };
            connection.input = Input::Queued;
            connection.liveness.excuse(since, self.now);
            self.reads.queued.push_front(key);
        }
    }
}

impl Connection {
    /// Whether it waits for its turn to be read.
    pub fn is_to_be_read(&self) -> bool {
        matches!(self.input, Input::Queued | Input::Parked)
    }

    /// Whether its next bytes are likely to be published: its last were, or a body to be published is under way.
    pub fn is_publisher(&self) -> bool {
        let awaits_body =
            matches!(&self.phase, Phase::Http(http) if matches!(http.awaited, Some(Awaited::Body { .. })));
        awaits_body || self.audience > 0
    }

    /// Whether what is due would be said of a peer that is not silent: its bytes are there, and were not read yet.
    pub fn is_excused(&self, due: Due) -> bool {
        if self.awaits_delivery() {
            // The request was complete in time. It is read again after the answer.
            return due == Due::RequestTimeout;
        }
        self.is_to_be_read()
            && match due {
                Due::RequestTimeout | Due::Hangup | Due::CloseSilent => true,
                // To an event stream it is no question.
                Due::Ping => matches!(self.phase, Phase::WebSocket(_)),
                Due::Answer | Due::Notice | Due::Drop => false,
            }
    }
}
