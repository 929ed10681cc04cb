//! The flush phase: one write a subscriber for all that was published in the turn, and what follows from it.
//!
//! What is owed, and in which order, a connection knows itself.

use std::fmt;

use super::connection::{Flushed, Phase};
use super::connections::Key;
use super::event_loop::EventLoop;
use super::lag::FRESH_MS;
use super::liveness::Stage;
use super::refusals::Kind;
use crate::hub::Subscription;
use crate::ws::{CloseCode, State};

/// What a subscriber is closed with when it is too far behind: it may come back.
const LAGGED: &str = "too far behind (--max-lag); reconnect to go on from the newest";

impl EventLoop {
    /// Writes to everybody who is owed something and whose socket has room.
    pub(super) fn flush(&mut self) {
        // Reading and rendering may have taken long: what waits for a peer from now on has not waited until now.
        self.now = self.shared.now();
        while let Some(log) = self.hub.pop_dirty() {
            // From the last to the first: nobody is passed over when one leaves meanwhile.
            for place in (0..self.hub.readers_len(log)).rev() {
                if let Some((_, owner)) = self.hub.reader_at(log, place) {
                    self.flush_connection(Key::from_u64(owner));
                }
            }
            self.hub.trim(log);
        }
        let mut touched = std::mem::take(&mut self.touched);
        for key in touched.drain(..) {
            self.flush_connection(key);
        }
        touched.append(&mut self.touched);
        self.touched = touched;
    }

    /// Writes to one connection, and does what follows from it.
    pub(super) fn flush_connection(&mut self, key: Key) {
        let Some(connection) = self.connections.get_mut(key) else { return };
        let was_refused = connection.is_refused;
        let (rules, sent) = (&self.lag_rules, &mut self.tally.bytes_sent);
        let flushed = connection.flush(&mut self.hub, &mut self.renderer, rules, self.now, sent);
        if was_refused || connection.is_refused {
            // What it takes or does not take may have brought a deadline nearer.
            self.schedule(key);
        }
        self.count(key);
        match flushed {
            Ok(Flushed::Settled) => {}
            Ok(Flushed::ReadOn) => self.queue_to_read(key),
            Ok(Flushed::Leave) => {
                self.leave(key);
                // The Close frame goes out in the same turn. It is not leaving any more, so this ends here.
                self.flush_connection(key);
            }
            Ok(Flushed::Answer) => {
                self.answer_poll(key);
                // It reads nothing any more, so this ends here too.
                self.flush_connection(key);
            }
            Ok(Flushed::Lagged(subscription)) => self.lagged(key, subscription, &"is past --max-lag"),
            Ok(Flushed::Stale(subscription)) => {
                self.lagged(key, subscription, &format_args!("has been behind for {FRESH_MS} ms"));
            }
            Err(_) => self.doomed.push(key),
        }
    }

    /// Applies the policy to a subscriber that did not keep up; the log says of it what `it` did.
    fn lagged(&mut self, key: Key, subscription: Subscription, it: &dyn fmt::Display) {
        let Some(connection) = self.connections.get_mut(key) else { return };
        let policy = connection.lateness.policy();
        let channel = self.hub.channel(subscription);
        self.shared.note(Kind::Lagged, self.now, &format_args!("a subscriber of {channel} {it}: {policy:?}"));
        self.tally.note_lagged(policy);
        if connection.lagged(subscription, &mut self.hub, self.lag_rules.lag_max) {
            self.close_connection(key, CloseCode::TRY_AGAIN_LATER, LAGGED);
        } else if connection.is_writable {
            // What it was moved to goes out in the same turn. It is not late any more, so this ends here.
            self.flush_connection(key);
        }
    }

    /// Ends the subscription and says goodbye: the peer has some seconds to answer a Close frame, or to take the end
    /// of its stream.
    pub(super) fn close_connection(&mut self, key: Key, code: CloseCode, reason: &str) {
        self.leave_channel(key);
        let Some(connection) = self.connections.get_mut(key) else { return };
        connection.set_leaving(false);
        connection.close(code, reason, self.now);
        self.schedule(key);
    }

    /// Ends the subscription, if there is one.
    pub(super) fn leave_channel(&mut self, key: Key) {
        let Some(connection) = self.connections.get_mut(key) else { return };
        if let Some(subscription) = connection.detach(&mut self.hub) {
            self.shared.exchange.unsubscribe(self.hub.channel(subscription), self.index, self.now);
            self.hub.unsubscribe(subscription);
        }
    }

    /// After the peer's last frame: what is owed goes out, then our half of TCP is closed.
    pub(super) fn finish_connection(&mut self, key: Key) {
        self.leave_channel(key);
        let Some(connection) = self.connections.get_mut(key) else { return };
        if let Phase::WebSocket(websocket) = &connection.phase {
            debug_assert_eq!(websocket.protocol.state(), State::Closed);
        }
        if connection.liveness.stage() != Stage::Lingering {
            connection.finish(self.now);
        }
        self.schedule(key);
    }
}
