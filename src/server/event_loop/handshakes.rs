//! TLS handshakes of a loop: they have a budget of each turn, and the oldest make room when the server is full.
//!
//! What a handshake is, `connection/tls` and the room `tls` know.

use std::collections::VecDeque;
use std::time::Duration;

use super::EventLoop;
use crate::server::clock::Millis;
use crate::server::connection::Next;
use crate::server::connection::table::Key;

/// How long a turn takes steps of handshakes, and one in any case; nobody gets a message meanwhile. A step takes 0.1 ms with
/// an ECDSA key and 0.3 ms with an RSA key of 2,048 bits, so 2 ms are several, and less than anybody notices.
const TIME_PER_TURN_MAX: Duration = Duration::from_millis(2);

/// When the server is full, a handshake that takes longer than this makes room. Over slow mobile networks its round trip takes
/// half of that.
const OLD_MS: u64 = 1000;

/// While others have too many handshakes waiting, the listeners are looked at again after this long.
pub const REST: Duration = Duration::from_millis(1);

/// Keys of connections that are gone or past their handshakes are removed when there are more than this, and than twice the
/// connections.
const PAST_MAX: usize = 64;

/// The handshakes of a loop.
#[derive(Debug, Default)]
pub struct Handshakes {
    /// Those that have something to be read, in the order in which it came.
    waiting: VecDeque<Key>,
    /// All, in the order in which they began. Some may be past.
    begun: VecDeque<(Millis, Key)>,
}

impl Handshakes {
    /// A connection has come that begins with one.
    pub fn begin(&mut self, now: Millis, key: Key) {
        self.begun.push_back((now, key));
    }

    /// Whether some can go on.
    pub fn are_waiting(&self) -> bool {
        !self.waiting.is_empty()
    }

    /// When the oldest may have to make room, if the server is full then.
    pub fn old_at(&self) -> Option<Millis> {
        self.begun.front().map(|&(began, _)| Millis(began.0 + OLD_MS))
    }

    /// Forgets those that are past, at the front always, and everywhere if they are many.
    fn forget_past(&mut self, connections: usize, is_under_way: impl Fn(Key) -> bool) {
        if self.begun.len() > 2 * connections + PAST_MAX {
            self.begun.retain(|&(_, key)| is_under_way(key));
        }
        while self.begun.front().is_some_and(|&(_, key)| !is_under_way(key)) {
            self.begun.pop_front();
        }
    }

    /// The oldest, if it is old.
    fn pop_old(&mut self, now: Millis) -> Option<Key> {
        self.old_at().filter(|&at| at <= now)?;
        self.begun.pop_front().map(|(_, key)| key)
    }
}

impl EventLoop {
    /// Queues a connection whose handshake has something to be read.
    pub(super) fn queue_handshake(&mut self, key: Key) {
        self.handshakes.waiting.push_back(key);
        self.context.shared.handshakes.add();
    }

    /// Takes steps of handshakes: within the budget of a turn, at least one.
    pub(super) fn shake_hands(&mut self) {
        let began = self.context.shared.clock.elapsed();
        for _ in 0..self.handshakes.waiting.len() {
            let Some(key) = self.handshakes.waiting.pop_front() else { break };
            self.context.shared.handshakes.remove();
            self.read_connection(key);
            if self.context.shared.clock.elapsed().saturating_sub(began) > TIME_PER_TURN_MAX {
                break;
            }
        }
    }

    /// Where the server is full, the oldest handshake that is old makes room: who connects and says little does not keep
    /// others out.
    pub(super) fn make_room(&mut self) {
        let Self { handshakes, connections, .. } = self;
        handshakes.forget_past(connections.len(), |key| {
            connections.get(key).is_some_and(|connection| connection.stream.is_handshaking())
        });
        if self.context.shared.placement.room() > 0 {
            return;
        }
        if let Some(key) = self.handshakes.pop_old(self.context.now)
            && let Some((connection, cx)) = self.with(key)
        {
            connection.note_late_handshake(cx);
            self.settle(key, Next::Drop);
        }
    }

    /// When [`Self::make_room`] is due.
    pub(super) fn room_due_at(&self) -> Option<Millis> {
        self.handshakes.old_at().filter(|_| self.context.shared.placement.room() == 0)
    }
}
