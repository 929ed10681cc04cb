//! How a loop stops: not ready for a while, then nobody new, 1001 to everybody in turn, unsent bytes are sent, then the
//! end.
//!
//! The spreading over time is `drain`'s.

use super::EventLoop;
use super::drain::Drain;
use crate::server::clock::{Millis, millis};
use crate::server::connection::table::Key;
use crate::server::shared::Stop;

impl EventLoop {
    /// Begins the stop if it has been asked for, and says goodbye to the connections whose turn has come.
    pub(super) fn expire_drain(&mut self) {
        let (shared, now) = (&self.context.shared, self.context.now);
        if shared.drain_at().is_some_and(|at| at <= now) {
            tracing::info!("draining: saying goodbye to {} connections", shared.connections_len());
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
        // What was published before the stop was asked for is in the mailbox by now, perhaps only since this turn looked
        // there.
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

    /// When something of the stop is due.
    pub(super) fn stop_deadlines(&self) -> [Option<Millis>; 2] {
        [self.context.shared.drain_at(), self.drain.as_ref().map(Drain::deadline)]
    }

    /// Whether the last turn is done.
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

    /// Whether nobody is left to say goodbye to. The loop with the metrics listener goes last, so that a probe finds
    /// out that the server is stopping; a probe keeps nobody.
    fn is_deserted(&self) -> bool {
        let is_empty = self.connections.len() == self.arrivals.operators_len;
        is_empty && (!self.arrivals.is_listening() || self.context.shared.is_last_loop())
    }
}
