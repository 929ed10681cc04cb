//! The pace of messages: a connection that sends more than `--client-messages` allows is not read until it may go on. Nothing
//! is lost and the order is kept: TCP slows the sender down.
//!
//! What was sent lately is in `throttle`; when the connection is read again is the loop's.

use super::Connection;
use super::context::Context;
use super::life::{Life, Messages, WebSocket};
use super::reading::READ_BUFFER_LEN;
use crate::server::clock::Millis;
use crate::ws::State;

/// How much is read at once of a connection that has used up half of its burst, and may have to wait: what it sent and is not
/// processed yet is in its socket then, not in memory.
const READ_LEN_IF_LOW: usize = 8 * 1024;

impl Connection {
    /// Counts a message that was processed.
    pub(super) fn note_message(&self, cx: &mut Context) {
        if self.has_pace() {
            cx.throttle.note(cx.owner, cx.now);
        }
    }

    /// Until when it must not be read, since it has sent too much.
    pub(super) fn throttled_until(&self, cx: &Context) -> Option<Millis> {
        cx.throttle.waits_until(cx.owner, cx.now).filter(|_| self.has_pace())
    }

    /// How much may be read of it at once.
    pub(super) fn read_len_max(&self, cx: &Context) -> usize {
        if cx.throttle.is_low(cx.owner, cx.now) { READ_LEN_IF_LOW } else { READ_BUFFER_LEN }
    }

    /// It is dropped.
    pub(super) fn forget_messages(&self, cx: &mut Context) {
        cx.throttle.forget(cx.owner);
    }

    /// Whether its messages have a pace. Holders of keys have none: they are the operator's own. An echo costs nobody else
    /// anything, what a session of the program does is up to that, and Pusher clients have rates of their app.
    fn has_pace(&self) -> bool {
        if self.identity.as_ref().is_some_and(|who| who.key_name().is_some()) {
            return false;
        }
        let Life::WebSocket(WebSocket { messages, protocol, .. }) = &self.life else { return false };
        match messages {
            // After our Close frame messages are passed over.
            Messages::Published(_) | Messages::Enveloped(_) | Messages::Commands => {
                protocol.state() == State::Open
            }
            Messages::Program(_) | Messages::Pusher => false,
        }
    }
}
