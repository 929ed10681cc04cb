//! One budget for what clients make the server hold (`--max-memory`), and who goes when it is passed.
//!
//! What a log keeps the hub counts, what a connection holds it knows itself; here the sums are kept and compared.

use super::EventLoop;
use super::burdens::{Burden, Burdens};
use crate::server::clock::Millis;
use crate::server::connection::Next;
use crate::server::connection::table::Key;
use crate::server::metrics::refusals::Reason;

/// A connection that holds less than this is not worth ending for its memory: it is a frame or a head under way.
const BURDEN_MIN: u64 = 4 * 1024;

/// After a look at all connections that did not find enough, until the next one. A look at 100,000 takes some
/// milliseconds; what comes in meanwhile is bounded by the turns.
const RELIEF_PAUSE_MS: u64 = 20;

/// This part of `--max-memory` is freed besides what is too much, so that the next look is not due in the next turn:
/// there are at most 64 for as many bytes as may be held in all.
const RELIEF_PARTS: u64 = 64;

impl EventLoop {
    /// Tells the others how much this loop holds. If that is too much in all, the connections are ended that hold most
    /// here: those that lag furthest, or have most under way. A caught-up connection that asks for nothing is never among
    /// them.
    ///
    /// What is kept for reconnecting subscribers goes before anybody.
    pub(super) fn evict(&mut self) {
        self.report();
        self.eviction.is_put_off = false;
        if !self.is_over_memory() {
            return;
        }
        self.context.shared.shed(self.context.now);
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
            let victims = burdens.pick(shared.excess() + shared.config.max_memory / RELIEF_PARTS);
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
        cx.shared.hold(cx.loop_index, cx.held_len());
    }

    /// What the connections hold that are worth ending for it.
    fn burdens(&self) -> Burdens {
        let burdens = self.connections.keys().filter_map(|key| self.burden(key));
        Burdens::new(burdens.filter(|burden| burden.len() >= BURDEN_MIN).collect())
    }

    fn burden(&self, key: Key) -> Option<Burden> {
        let connection = self.connections.get(key)?;
        let lags = connection.lags(&self.context).filter(|&(_, lag)| lag > 0).collect();
        Some(Burden { key, held: connection.counted_len.into(), lags })
    }

    /// Ends a connection in a way that frees what it holds at once.
    fn end_for_memory(&mut self, key: Key) {
        let Some((connection, cx)) = self.with(key) else { return };
        cx.note(Reason::Memory, &"a connection: --max-memory is reached, and it held most");
        let next = if connection.unsent_len() as u64 >= BURDEN_MIN {
            // It does not take what it asked for: there is no room for a goodbye either.
            connection.cut(cx)
        } else {
            connection.end_for_memory(cx);
            Next::Wait
        };
        self.settle(key, next);
    }
}
