//! TLS handshakes of a loop: they have a budget of each turn, and the oldest make room when the server is full.
//!
//! What a handshake is, `connection/tls` and the room `tls` know.

use std::time::Duration;

use super::EventLoop;
use crate::server::clock::Millis;
use crate::server::connection::Next;
use crate::server::connection::table::Key;

/// How long a turn takes steps of handshakes, and one in any case; nobody gets a message meanwhile. A step takes 0.1 ms with
/// an ECDSA key and 0.3 ms with an RSA key of 2,048 bits, so 2 ms are several, and less than anybody notices.
const TIME_PER_TURN_MAX: Duration = Duration::from_millis(2);

/// While handshakes are under way, a loop looks this often whether the server is full.
const LOOK_MS: u64 = 250;

impl EventLoop {
    /// Queues a connection whose handshake has something to be read.
    pub(super) fn queue_handshake(&mut self, key: Key) {
        self.handshakes.push(key);
        self.context.shared.handshakes.add();
    }

    /// Takes steps of handshakes: within the budget of a turn, at least one.
    pub(super) fn shake_hands(&mut self) {
        let began = self.context.shared.clock.elapsed();
        for _ in 0..self.handshakes.waiting_len() {
            let Some(key) = self.handshakes.pop() else { break };
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

    /// When [`Self::make_room`] is due. That the server is full may be another loop's doing, and nobody says so.
    pub(super) fn room_due_at(&self) -> Option<Millis> {
        let old_at = self.handshakes.old_at()?;
        let is_full = self.context.shared.placement.room() == 0;
        Some(if is_full { old_at } else { old_at.max(Millis(self.context.now.0 + LOOK_MS)) })
    }
}
