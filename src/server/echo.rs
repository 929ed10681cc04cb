//! A message that goes back to where it came from.
//!
//! A long one is written from where it lies, without waiting for the flush phase: nothing of a channel can go out on
//! this socket, so the order of its bytes is that of the outbox.

use std::borrow::Cow;
use std::io;

use super::connection::{Connection, Phase};
use super::connections::Key;
use super::event_loop::EventLoop;
use super::transmit::transmit;
use crate::ws::{FrameHeader, Message, MessageKind, Opcode};

/// The last message of a read is written from where it lies if it has at least this many bytes; copying fewer takes less
/// time than handing the system two runs.
const LAST_IN_PLACE_LEN_MIN: usize = 2 * 1024;

/// So is any other that has at least this many. Shorter ones are collected, since each write of their own would cost more
/// than the copy.
const IN_PLACE_LEN_MIN: usize = 16 * 1024;

impl EventLoop {
    /// Sends a message back; `is_last` says that nothing after it was read.
    pub(super) fn echo(&mut self, key: Key, message: Message<'_>, is_last: bool) {
        let Some(connection) = self.connections.get_mut(key) else { return };
        let Connection { phase: Phase::WebSocket(websocket), outbox, .. } = connection else { return };
        let Message { kind, payload } = message;
        let opcode = match kind {
            MessageKind::Text => Opcode::Text,
            MessageKind::Binary => Opcode::Binary,
        };
        if let Some(deflate) = websocket.deflate {
            self.renderer.message(opcode, &payload, deflate.server_max_window_bits, outbox.tail());
        } else {
            let payload_len = payload.len() as u64;
            FrameHeader { fin: true, is_compressed: false, opcode, mask: None, payload_len }
                .encode(outbox.tail());
            let len_min = if is_last { LAST_IN_PLACE_LEN_MIN } else { IN_PLACE_LEN_MIN };
            if payload.len() < len_min {
                outbox.tail().extend_from_slice(&payload);
            } else if connection.send_in_place(&payload, &mut self.tally.bytes_sent).is_err() {
                self.doomed.push(key);
            }
        }
        if let Cow::Owned(assembled) = payload {
            self.spares.give(assembled);
        }
    }
}

impl Connection {
    /// Sends the outbox and then `bytes`, as much as the socket takes with one system call; the rest waits in the
    /// outbox. The connection has no subscription. What was written is added to `sent`.
    ///
    /// # Errors
    /// The connection is broken.
    fn send_in_place(&mut self, bytes: &[u8], sent: &mut u64) -> io::Result<()> {
        debug_assert!(self.subscription().is_none(), "the flush phase knows where a channel's frames end");
        let mut written = 0;
        if self.is_writable {
            let transmitted = transmit(&self.socket, &[self.outbox.unsent(), bytes, &[]])?;
            written = self.note_written(transmitted, sent);
        }
        let from_outbox = written.min(self.outbox.unsent().len());
        let from_bytes = written - from_outbox;
        if from_bytes < bytes.len() {
            self.outbox.tail().extend_from_slice(&bytes[from_bytes..]);
        }
        self.outbox.consume(from_outbox);
        Ok(())
    }
}
