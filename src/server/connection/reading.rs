//! One share of reading: how much of a connection is read in a turn, what stands in the way, and what the end of the
//! peer means.
//!
//! What the bytes mean is in the file of each role; when a connection has its turn the event loop knows.

use super::context::Context;
use super::life::Life;
use super::timeouts::Stage;
use super::{Connection, Input, Next};
use crate::server::broker::mailbox::FAN_OUT_MAX;

/// One read's buffer, shared by all connections of a loop. 128 KiB holds a message of 64 KiB with its header and the end
/// of the one before it, and stays in the second-level cache.
pub const READ_BUFFER_LEN: usize = 128 * 1024;

/// Reads of one socket in a turn, unless the first fills the buffer: one for what is there, one to find that there is
/// no more, and two for what comes meanwhile.
const READS_PER_SHARE_MAX: usize = 4;

/// Bytes of one socket in a turn, with what they inflate to: two full reads, since inflating a byte costs less than
/// reading one.
const TAKEN_LEN_PER_SHARE_MAX: usize = 256 * 1024;

/// What a publisher with a large audience is read of at least: with less, a subscriber's write would cost more than
/// the bytes in it.
const PUBLISHER_SHARE_MIN: usize = 4 * 1024;

/// Bytes, besides those of one message of `--max-message`, that are read of a connection after its last answer or
/// Close frame, and of an event stream. They are read because a reset, which unread bytes cause, would take that answer
/// from a client that is still sending; what it can have on its way before it knows is what both systems hold: 4 MiB
/// and 6 MiB on Linux.
const DISCARDED_LEN_MAX: u64 = 16 * 1024 * 1024;

/// What a share of reading left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum Share {
    /// The connection, with input that is to be read, or none.
    Left(Input),
    /// A connection that is to be dropped.
    Over,
}

impl Connection {
    /// Reads until the socket has nothing more, something stands in the way, or the share of the turn is used up: one
    /// full read. `buffer` has [`READ_BUFFER_LEN`] bytes.
    pub fn read_share(&mut self, buffer: &mut [u8], cx: &mut Context) -> Share {
        cx.taken_len = 0;
        // What waited for an answer to be taken, and what was read before and was too much.
        self.serve(cx);
        if self.resume_frames(cx) == Next::Drop {
            return Share::Over;
        }
        let mut share_len = share_len(self.audience);
        let mut is_drained = false;
        for _ in 0..READS_PER_SHARE_MAX {
            if let Some(input) = self.obstacle(cx) {
                return self.stop_at(input, cx);
            }
            if share_len == 0 {
                break;
            }
            if is_drained {
                return Share::Left(Input::Drained);
            }
            let next = match self.stream.read(&mut buffer[..share_len]) {
                Ok(Some(0)) => self.end_of_input(cx),
                Ok(Some(len)) => {
                    // The end of the peer has no further edge. Without it, a read that does not fill the room has left
                    // nothing, and what comes after it is an edge of its own.
                    is_drained = len < share_len && !self.stream.has_ended();
                    share_len -= len;
                    self.receive(&mut buffer[..len], cx)
                }
                Ok(None) => Next::Wait,
                Err(_) => Next::Drop,
            };
            match next {
                Next::Read => {}
                Next::Wait => return Share::Left(Input::Drained),
                Next::Drop => return Share::Over,
            }
        }
        Share::Left(Input::Queued)
    }

    /// What keeps the next bytes from being taken, if anything does: the peer itself, or, if it publishes, a loop that
    /// is behind.
    fn obstacle(&self, cx: &Context) -> Option<Input> {
        if self.is_to_be_held() {
            return Some(Input::Held);
        }
        if self.is_publisher() && cx.is_congested() {
            return Some(Input::Parked);
        }
        self.has_rest().then_some(Input::Queued)
    }

    fn stop_at(&mut self, input: Input, cx: &mut Context) -> Share {
        // It is known without reading as far as the end.
        let is_over = input == Input::Held && self.stream.has_ended() && self.asks_ahead();
        if is_over && self.end_of_input(cx) == Next::Drop {
            return Share::Over;
        }
        Share::Left(input)
    }

    /// Whether more should be taken of what was read: the bounds of reading, looked at after each event as well.
    pub(super) fn may_take(&self, cx: &Context) -> bool {
        let is_used_up = cx.is_read_out() || cx.taken_len > TAKEN_LEN_PER_SHARE_MAX;
        let has_to_wait = self.is_publisher() && cx.is_congested();
        !is_used_up && !self.is_to_be_held() && !has_to_wait
    }

    /// Takes what was read. [`Next::Wait`] if there is nothing more to be read.
    fn receive(&mut self, input: &mut [u8], cx: &mut Context) -> Next {
        self.audience = 0;
        cx.note_taken(input.len());
        cx.counters.bytes_received += input.len() as u64;
        match &mut self.life {
            Life::Http(_) => self.receive_requests(input, cx),
            Life::LongPoll(poll) => poll.receive(input),
            Life::WebSocket(_) => {
                let is_closing = self.heard(cx);
                let len = input.len();
                let next = self.receive_frames(input, cx);
                // Of what comes after our Close frame, only the answer to it counts.
                return if is_closing && next == Next::Read { self.discard(len, cx) } else { next };
            }
            // After the Close frame nothing counts (RFC 6455 §5.5.1), and an event stream is no question.
            Life::EventStream(_) | Life::Finishing | Life::Lingering => return self.discard(input.len(), cx),
        }
        Next::Read
    }

    /// Bytes came from a WebSocket. Whether its Close frame is awaited, so that they are no sign of life.
    fn heard(&mut self, cx: &Context) -> bool {
        let stage = self.stage();
        self.deadlines.heard(stage, cx.now);
        if let Life::WebSocket(websocket) = &mut self.life {
            websocket.heard();
        }
        matches!(stage, Stage::Closing | Stage::Finishing)
    }

    /// Counts what is read to no purpose. A peer that goes on and on is dropped.
    fn discard(&mut self, len: usize, cx: &Context) -> Next {
        self.discarded = self.discarded.saturating_add(u32::try_from(len).unwrap_or(u32::MAX));
        // At 4 GiB the count ends, and so does the connection, whatever the configuration says.
        let len_max =
            cx.shared.config.max_message.saturating_add(DISCARDED_LEN_MAX).min(u64::from(u32::MAX) - 1);
        if u64::from(self.discarded) <= len_max { Next::Read } else { Next::Drop }
    }

    /// The peer has closed its half. Answers that it has not taken are still sent; a WebSocket and a stream are over. So
    /// is a long poll that waits: nobody closes its half and stays for that, and it would be counted until then.
    fn end_of_input(&mut self, cx: &mut Context) -> Next {
        if self.awaits_delivery() {
            // It is read again after the answer, and found to have ended then.
            return Next::Wait;
        }
        if self.outbox.is_empty() {
            return Next::Drop;
        }
        match self.life {
            Life::Http(_) | Life::LongPoll(_) => {
                self.finish(cx);
                Next::Wait
            }
            Life::Finishing => Next::Wait,
            Life::WebSocket(_) | Life::EventStream(_) | Life::Lingering => Next::Drop,
        }
    }
}

/// What stands in the way of reading.
impl Connection {
    /// Whether it waits for its turn to be read.
    pub fn is_to_be_read(&self) -> bool {
        matches!(self.input, Input::Queued | Input::Parked)
    }

    /// Whether it is read no further for now: it does not take its answers, or asks for more while a long poll waits.
    pub(super) fn is_to_be_held(&self) -> bool {
        self.outbox.is_high() || self.asks_ahead()
    }

    /// Whether a request came while the one before it waits for a publication: its own to be delivered, or another's.
    fn asks_ahead(&self) -> bool {
        match &self.life {
            Life::Http(http) => http.is_delivery_awaited() && http.buffered() > 0,
            Life::LongPoll(poll) => poll.asks_ahead(),
            Life::WebSocket(_) | Life::EventStream(_) | Life::Finishing | Life::Lingering => false,
        }
    }

    /// Whether something that was read is still to be taken.
    fn has_rest(&self) -> bool {
        matches!(&self.life, Life::WebSocket(websocket) if websocket.has_rest())
    }

    /// Whether its next bytes are likely to be published: its last were, or a body to be published is under way.
    fn is_publisher(&self) -> bool {
        self.audience > 0 || matches!(&self.life, Life::Http(http) if http.is_body_awaited())
    }
}

/// How many bytes a connection is read of in a turn whose last publication had this many subscribers.
fn share_len(audience: u16) -> usize {
    let fan_out_share = usize::try_from(FAN_OUT_MAX / u64::from(audience.max(1))).unwrap_or(usize::MAX);
    fan_out_share.clamp(PUBLISHER_SHARE_MIN, READ_BUFFER_LEN)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_publisher_is_read_of_the_less_the_more_there_is_to_be_written_for_it() {
        assert_eq!([0, 1, 256].map(share_len), [READ_BUFFER_LEN; 3]);
        assert_eq!([1024, 4096, 10_000].map(share_len), [32 * 1024, 8 * 1024, PUBLISHER_SHARE_MIN]);
    }
}
