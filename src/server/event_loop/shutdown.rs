//! How a loop stops: /readyz answers 503 for the time of the lame duck; then the listeners close, every connection is sent
//! its unsent bytes and is closed with 1001; then the loop ends.
//!
//! How the Close frames are spread over time is in `drain`.

use super::EventLoop;
use super::drain::Drain;
use crate::server::clock::{Millis, millis};
use crate::server::connection::table::Key;
use crate::server::stopping::Stop;

impl EventLoop {
    /// Begins the drain if the server stops, and closes the connections that are due.
    pub(super) fn expire_drain(&mut self) {
        let (shared, now) = (&self.context.shared, self.context.now);
        if shared.drain_at().is_some_and(|at| at <= now) {
            tracing::info!("draining: closing {} connections", shared.placement.len());
            shared.request_stop(Stop::Drain);
        }
        if !self.context.is_leaving() {
            return;
        }
        if self.drain.is_none() {
            self.begin_drain();
        }
        while let Some(key) = self.drain.as_mut().and_then(|drain| drain.pop(self.context.now)) {
            self.say_goodbye(key);
        }
    }

    fn begin_drain(&mut self) {
        // Publications from before the stop are in the mailbox by now, perhaps since after this turn's apply phases.
        self.context.apply(usize::MAX);
        self.arrivals.close();
        let config = &self.context.shared.config;
        let (over_ms, close_ms) = (millis(config.drain), millis(config.close_timeout));
        let keys = self.connections.keys().collect();
        self.drain = Some(Drain::new(keys, self.context.now, over_ms, close_ms));
    }

    fn say_goodbye(&mut self, key: Key) {
        let Some((connection, cx)) = self.with(key) else { return };
        let next = connection.say_goodbye(cx);
        self.touched.push(key);
        self.settle(key, next);
    }

    /// The loop has taken its last turn: the sessions of the connections that are left are told.
    pub(super) fn end_sessions(&mut self) {
        for key in self.connections.keys().collect::<Vec<_>>() {
            if let Some((connection, cx)) = self.with(key) {
                connection.lose_actor(cx);
            }
        }
    }

    /// When the next step of the stop is due.
    pub(super) fn stop_deadlines(&self) -> [Option<Millis>; 2] {
        [self.context.shared.drain_at(), self.drain.as_ref().map(Drain::deadline)]
    }

    /// Whether the loop has taken its last turn.
    pub(super) fn is_stopped(&self) -> bool {
        match self.context.shared.stop() {
            Stop::No | Stop::LameDuck => false,
            Stop::Drain => {
                let is_over = |drain: &Drain| self.is_deserted() || drain.is_over(self.context.now);
                self.drain.as_ref().is_some_and(is_over)
            }
            Stop::Now => true,
        }
    }

    /// Whether no connection is left but operators. The loop with the metrics listener ends last, so that probes learn
    /// until then that the server is stopping; a probe does not keep it from ending.
    fn is_deserted(&self) -> bool {
        let is_empty = self.connections.len() == self.arrivals.operators_len;
        is_empty && (!self.arrivals.is_listening() || self.context.shared.is_last_loop())
    }
}
