//! How a loop stops: not ready for a while, then nobody new, 1001 to everybody in turn, what is owed is sent, then the end.
//!
//! The spreading over time is `drain`'s.

use crate::server::connection::table::Key;
use crate::server::connection::{Awaited, Phase};
use crate::server::event_loop::EventLoop;
use crate::server::event_loop::acceptor::Acceptor;
use crate::server::event_loop::drain::Drain;
use crate::server::shared::Stop;
use crate::ws::CloseCode;

/// What a client is told when the server stops.
const GOODBYE: &str = "the server is stopping; come back in a moment";

impl EventLoop {
    /// Begins the stop if it has been asked for, and says goodbye to whose turn has come.
    pub(super) fn expire_drain(&mut self) {
        if self.shared.drain_at().is_some_and(|at| at <= self.now) {
            tracing::info!("draining: saying goodbye to {} connections", self.shared.connections_len());
            self.shared.request_stop(Stop::Drain);
        }
        if !self.shared.stop().is_leaving() {
            return;
        }
        if self.drain.is_none() {
            // What was published before the stop was asked for is in the mailbox by now, perhaps only since this
            // turn looked there.
            self.apply_all();
            self.acceptor = self.acceptor.take().and_then(Acceptor::into_metrics_only);
            let millis =
                |duration: std::time::Duration| u64::try_from(duration.as_millis()).unwrap_or(u64::MAX / 4);
            let config = &self.shared.config;
            let (over, close) = (millis(config.drain), millis(config.close_timeout));
            self.drain = Some(Drain::new(self.connections.keys().collect(), self.now, over, close));
        }
        while let Some(key) = self.drain.as_mut().and_then(|drain| drain.pop(self.now)) {
            self.say_goodbye(key);
        }
    }

    /// Whether the last turn is done.
    pub(super) fn is_stopped(&self) -> bool {
        match self.shared.stop() {
            Stop::No | Stop::LameDuck => false,
            Stop::Drain => {
                self.drain.as_ref().is_some_and(|drain| self.is_deserted() || drain.is_over(self.now))
            }
            Stop::Now => true,
        }
    }

    /// Whether nobody is left to say goodbye to. The loop with the metrics listener goes last, so that a probe finds
    /// out that the server is stopping; a probe keeps nobody.
    fn is_deserted(&self) -> bool {
        let is_empty = self.connections.len() == self.operators_len;
        is_empty && (self.acceptor.is_none() || self.shared.is_last_loop())
    }

    /// The Close frame or the last chunk, once the subscriber has all that it is owed.
    pub(super) fn leave(&mut self, key: Key) {
        self.close_connection(key, CloseCode::GOING_AWAY, GOODBYE);
    }

    fn say_goodbye(&mut self, key: Key) {
        let Some(connection) = self.connections.get_mut(key) else { return };
        match &mut connection.phase {
            // The flush at the end of this turn finds out whether it is owed anything.
            Phase::WebSocket(_) | Phase::EventStream(_) => connection.set_leaving(true),
            Phase::Http(http) if matches!(http.awaited, Some(Awaited::Publication { .. })) => {
                self.answer_poll(key)
            }
            // A request that is under way is answered, with Connection: close.
            Phase::Http(http) if http.reader.is_idle() && http.awaited.is_none() => {
                connection.finish(self.now)
            }
            Phase::Http(_) | Phase::Finishing | Phase::Lingering => {}
        }
        self.touched.push(key);
        self.schedule(key);
    }
}
