//! The evict phase: `--max-memory` is compared with what is held for clients; above it verified tokens are
//! forgotten, then history is evicted, then connections are closed.
//!
//! The hub counts the bytes of logs and each connection its own; here the sums are reported and compared.

use super::EventLoop;
use super::burdens::{Burden, Burdens};
use crate::server::clock::Millis;
use crate::server::connection::Next;
use crate::server::connection::table::Key;
use crate::server::metrics::refusals::Reason;

/// A connection that holds less than this is not closed for its memory: it is receiving a frame or a request head.
const BURDEN_MIN: u64 = 4 * 1024;

/// The pause after an examination of all connections that did not free enough. Examining 100,000 takes several
/// milliseconds; what arrives in the pause is bounded by the budgets of the turns.
const RELIEF_PAUSE_MS: u64 = 20;

/// This part of `--max-memory` is freed in addition to the excess, so that the next turn does not examine all connections
/// again: 64 examinations free as many bytes as may be held at all.
const RELIEF_PARTS: u64 = 64;

impl EventLoop {
    /// Reports how many bytes this loop holds. If all loops together hold more than `--max-memory`, the tokens that were
    /// verified are forgotten first, then history is evicted. If that is not enough, the connections of this loop that hold most are closed: those that lag furthest, or
    /// have most under way. A caught-up connection with nothing under way is never among them.
    pub(super) fn evict(&mut self) {
        self.report();
        self.eviction.is_put_off = false;
        if !self.is_over_memory() {
            return;
        }
        // What only saves work goes first.
        let shared = &self.context.shared;
        shared.guard.shed(shared.budget.excess(&shared.broker));
        shared.budget.hold_proofs(shared.guard.held_len());
        shared.budget.shed(&shared.broker, self.context.now);
        if !self.is_over_memory() {
            return;
        }
        if self.context.now < self.eviction.not_before {
            self.eviction.is_put_off = true;
            return;
        }
        let mut burdens = self.burdens();
        while self.is_over_memory() && !burdens.is_empty() {
            let shared = &self.context.shared;
            let victims =
                burdens.pick(shared.budget.excess(&shared.broker) + shared.config.max_memory / RELIEF_PARTS);
            for &key in &victims.keys {
                self.end_for_memory(key);
            }
            victims.logs.into_iter().for_each(|log| self.context.hub.trim(log));
            for key in victims.keys {
                self.flush_connection(key);
            }
            self.report();
        }
        if self.is_over_memory() {
            self.eviction.not_before = Millis(self.context.now.0 + RELIEF_PAUSE_MS);
        }
    }

    fn is_over_memory(&self) -> bool {
        self.context.shared.is_over_memory()
    }

    fn report(&self) {
        let cx = &self.context;
        cx.shared.budget.hold(cx.loop_index, cx.held_len());
        cx.shared.budget.hold_proofs(cx.shared.guard.held_len());
    }

    /// The connections that hold at least [`BURDEN_MIN`].
    fn burdens(&self) -> Burdens {
        let burdens = self.connections.keys().filter_map(|key| self.burden(key));
        Burdens::new(burdens.filter(|burden| burden.len() >= BURDEN_MIN).collect())
    }

    fn burden(&self, key: Key) -> Option<Burden> {
        let connection = self.connections.get(key)?;
        let lags = connection.lags(&self.context).filter(|&(_, lag)| lag > 0).collect();
        Some(Burden { key, held: connection.counted_len.into(), lags })
    }

    /// Closes a connection in a way that frees its memory at once.
    fn end_for_memory(&mut self, key: Key) {
        let Some((connection, cx)) = self.with(key) else { return };
        cx.note(Reason::Memory, &"a connection: --max-memory is reached, and it held most");
        let next = if connection.unsent_len() as u64 >= BURDEN_MIN {
            // The peer does not take its answers: it would not take a Close frame either.
            connection.cut(cx)
        } else {
            connection.end_for_memory(cx);
            Next::Wait
        };
        self.settle(key, next);
    }
}
