//! One share of reading: how much of a connection is read in a turn, what keeps it from being read, and what happens at the
//! end of its input.
//!
//! What the bytes mean is in the file of each role; which connection is read next is the event loop's to decide.

use super::context::Context;
use super::life::Life;
use super::outbox::OUTBOX_HIGH;
use super::progress::Progress;
use super::timeouts::Stage;
use super::tls::{Arrival, TlsLayer};
use super::{Connection, Input, Next};
use crate::pusher::fallback::path::Transport;
use crate::server::broker::mailbox::fan_out_max;
use crate::server::clock::Millis;
use crate::server::metrics::refusals::Reason;

/// The buffer of one read, shared by all connections of a loop. 128 KiB hold a message of 64 KiB with its header and the
/// end of the message before it, and fit into the second-level cache.
pub const READ_BUFFER_LEN: usize = 128 * 1024;

/// Reads of one socket in a turn, unless the first fills the buffer: one for what has arrived, one that finds the socket
/// empty, and two for what arrives in the meantime.
const READS_PER_SHARE_MAX: usize = 4;

/// Bytes of one socket in a turn, with what they inflate to: two full reads, since inflating a byte costs less than
/// reading one.
const TAKEN_LEN_PER_SHARE_MAX: usize = 256 * 1024;

/// Bytes, in addition to one message of `--max-message`, that are read and ignored after the last answer or Close frame of
/// a connection, and from an event stream. They are read since unread bytes would cause a reset, and a client that is
/// still sending would lose the answer. A client can have as many bytes on their way as both systems buffer: 4 MiB and 6
/// MiB on Linux.
const DISCARDED_LEN_MAX: u64 = 16 * 1024 * 1024;

/// The outcome of a share of reading.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum Share {
    /// The connection stays, with its input in this state.
    Left(Input),
    /// It stays, and is not read until then.
    Throttled(Millis),
    /// It has a complete request of a session, which the loop is to bring there. It is read again after that.
    Asks,
    /// The connection is to be dropped.
    Over,
}

impl Connection {
    /// Reads until the socket is empty, an obstacle comes up, or the share of the turn, one full read, is used up.
    /// `buffer` has [`READ_BUFFER_LEN`] bytes.
    pub fn read_share(&mut self, buffer: &mut [u8], cx: &mut Context) -> Share {
        cx.share = Progress::default();
        // Requests that waited for the outbox to drain, and input that was read in an earlier turn.
        self.serve(cx);
        self.tell_drained(cx);
        if self.resume_frames(cx) == Next::Drop {
            return Share::Over;
        }
        let mut share_len = share_len(self.audience).min(self.read_len_max(cx));
        let mut is_drained = false;
        for _ in 0..READS_PER_SHARE_MAX {
            if self.asks_for_session() {
                return Share::Asks;
            }
            if let Some(input) = self.obstacle(cx) {
                return self.stop_at(input, cx);
            }
            if let Some(until) = self.throttled_until(cx) {
                return Share::Throttled(until);
            }
            if self.has_rest() {
                return Share::Left(Input::Queued);
            }
            if share_len == 0 {
                break;
            }
            if is_drained {
                return Share::Left(Input::Drained);
            }
            let was_handshaking = self.stream.is_handshaking();
            let next = match self.stream.read(buffer, share_len) {
                Ok(Some(arrival)) if arrival.carried == 0 => self.end_of_input(cx),
                Ok(Some(arrival)) => {
                    // A read that does not fill the buffer has emptied the socket, and later bytes cause a new edge. The
                    // end of input causes none.
                    is_drained = arrival.is_all && !self.stream.has_ended();
                    share_len -= arrival.carried;
                    self.take_in(arrival, was_handshaking, buffer, cx)
                }
                Ok(None) => Next::Wait,
                Err(_) => Next::Drop,
            };
            match next {
                Next::Read => {}
                Next::Wait | Next::Carry => return Share::Left(Input::Drained),
                Next::Drop => return Share::Over,
            }
        }
        Share::Left(Input::Queued)
    }

    /// What keeps the next bytes from being read, if anything: the peer does not take its answers; or it publishes, and a
    /// mailbox is congested.
    fn obstacle(&self, cx: &Context) -> Option<Input> {
        if self.is_to_be_held() {
            return Some(Input::Held);
        }
        if self.is_publisher() && cx.is_congested() {
            return Some(Input::Parked);
        }
        None
    }

    fn stop_at(&mut self, input: Input, cx: &mut Context) -> Share {
        // The end of input is known without reading up to it.
        let is_over = input == Input::Held && self.stream.has_ended() && self.asks_ahead();
        if is_over && self.end_of_input(cx) == Next::Drop {
            return Share::Over;
        }
        Share::Left(input)
    }

    /// Whether more of the input may be processed: the bounds of reading, checked after each event as well.
    pub(super) fn may_take(&self, cx: &Context) -> bool {
        let is_used_up = cx.is_read_out() || cx.share.taken_len > TAKEN_LEN_PER_SHARE_MAX;
        let has_to_wait = self.is_publisher() && cx.is_congested() || self.throttled_until(cx).is_some();
        !is_used_up && !self.is_to_be_held() && !has_to_wait
    }

    /// Processes what a read has brought: the bytes, then what TLS says of them. [`Next::Wait`] if nothing more is to be read.
    fn take_in(
        &mut self,
        arrival: Arrival,
        was_handshaking: bool,
        buffer: &mut [u8],
        cx: &mut Context,
    ) -> Next {
        let Arrival { carried, bytes, established, ending, .. } = arrival;
        self.audience = 0;
        cx.note_taken(carried);
        cx.counters.bytes_received += carried as u64;
        if let Some(handshake) = established {
            Self::note_handshake(handshake, cx);
        }
        let next = if bytes.is_empty() {
            // A part of a record is a sign of life, and nothing else.
            self.heard(cx);
            Next::Read
        } else {
            self.receive(&mut buffer[bytes], carried, cx)
        };
        match ending {
            Some(ending) if next != Next::Drop => {
                self.end_of_session(&ending, was_handshaking && established.is_none(), cx)
            }
            Some(_) | None => next,
        }
    }

    /// Processes bytes that were read, for which the socket carried `carried` bytes.
    fn receive(&mut self, input: &mut [u8], carried: usize, cx: &mut Context) -> Next {
        match &mut self.life {
            Life::Http(_) => return self.receive_requests(input, cx),
            Life::LongPoll(poll) => poll.receive(input),
            Life::Carrier(carrier) if carrier.transport == Transport::Polling => carrier.http.receive(input),
            Life::WebSocket(_) => {
                let is_closing = self.heard(cx);
                let next = self.receive_frames(input, cx);
                // After our Close frame, all but the answer to it is ignored.
                return if is_closing && next == Next::Read { self.discard(carried, cx) } else { next };
            }
            // After the Close frame everything is ignored (RFC 6455 §5.5.1), and so is what a reader of an event stream
            // sends.
            Life::EventStream(_)
            | Life::Carrier(_)
            | Life::Carried(_)
            | Life::Finishing
            | Life::Lingering => return self.discard(carried, cx),
        }
        Next::Read
    }

    /// Notes that bytes came from a WebSocket. Returns whether its Close frame is awaited, so that they are not a sign of
    /// life.
    fn heard(&mut self, cx: &Context) -> bool {
        let stage = self.stage();
        if let Life::WebSocket(websocket) = &mut self.life {
            self.deadlines.heard(stage, cx.now);
            websocket.heard();
            if let Some(client) = websocket.client.as_mut().and_then(|client| client.pusher_mut()) {
                client.heard.note(cx.now);
            }
        }
        matches!(stage, Stage::Closing | Stage::Finishing)
    }

    /// Counts bytes that are read and ignored. Above the bound the peer is dropped.
    fn discard(&mut self, len: usize, cx: &Context) -> Next {
        self.discarded = self.discarded.saturating_add(u32::try_from(len).unwrap_or(u32::MAX));
        // The counter ends at 4 GiB, and so does the connection, whatever the configuration says.
        let len_max =
            cx.shared.config.max_message.saturating_add(DISCARDED_LEN_MAX).min(u64::from(u32::MAX) - 1);
        if u64::from(self.discarded) <= len_max { Next::Read } else { Next::Drop }
    }

    /// The peer has closed its half. Unsent answers are still sent. A WebSocket or event stream ends, and so does a
    /// waiting long poll: a client that closes its half does not wait for the answer, and would be counted as a subscriber
    /// until then.
    pub(super) fn end_of_input(&mut self, cx: &mut Context) -> Next {
        if self.awaits_answer() {
            // The connection is read again after the answer, and the end is found then.
            return Next::Wait;
        }
        if self.unsent_len() == 0 || self.stream.is_handshaking() {
            if !self.stream.tls().is_some_and(TlsLayer::is_open) {
                self.note_broken_handshake(Reason::TlsClosed, cx);
                return Next::Drop;
            }
            // The peer may wait to be told that nothing more follows: else it cannot tell the end from a cut.
            self.finish(cx);
            return Next::Wait;
        }
        match self.life {
            Life::Http(_) | Life::LongPoll(_) => {
                self.finish(cx);
                Next::Wait
            }
            Life::Finishing => Next::Wait,
            Life::WebSocket(_)
            | Life::EventStream(_)
            | Life::Carried(_)
            | Life::Carrier(_)
            | Life::Lingering => Next::Drop,
        }
    }
}

/// Obstacles to reading.
impl Connection {
    /// Whether it is queued, parked or throttled.
    pub fn is_to_be_read(&self) -> bool {
        matches!(self.input, Input::Queued | Input::Parked | Input::Throttled)
    }

    /// Whether it must not be read for now: the peer does not take its answers, or has sent a request while the one before
    /// it waits.
    pub(super) fn is_to_be_held(&self) -> bool {
        self.unsent_len() > OUTBOX_HIGH
            || self.asks_ahead()
            || self.awaits_outcome()
            || self.awaits_go_ahead()
    }

    /// Whether a request has arrived while the one before it waits: for the delivery of its publication, for the backend, or
    /// as a long poll.
    fn asks_ahead(&self) -> bool {
        match &self.life {
            Life::Http(http) => http.is_outcome_awaited() && http.buffered() > 0,
            Life::LongPoll(poll) => poll.asks_ahead(),
            Life::Carrier(carrier) => carrier.asks_ahead(),
            Life::WebSocket(_)
            | Life::EventStream(_)
            | Life::Carried(_)
            | Life::Finishing
            | Life::Lingering => false,
        }
    }

    /// Whether input was read but not processed.
    fn has_rest(&self) -> bool {
        matches!(&self.life, Life::WebSocket(websocket) if websocket.has_rest())
    }

    /// Whether its next bytes are likely to be published: its last bytes were, or a body is being received.
    fn is_publisher(&self) -> bool {
        self.audience > 0 || matches!(&self.life, Life::Http(http) if http.is_body_awaited())
    }
}

/// The share of a connection in a turn, in bytes, if its last publication had this many subscribers: after it, publishers
/// would have to wait.
fn share_len(audience: u16) -> usize {
    let audience = u64::from(audience.max(1));
    usize::try_from(fan_out_max(audience) / audience).map_or(READ_BUFFER_LEN, |len| len.min(READ_BUFFER_LEN))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_more_subscribers_a_publisher_has_the_smaller_is_its_share() {
        assert_eq!([0, 1, 256].map(share_len), [READ_BUFFER_LEN; 3]);
        assert_eq!([1024, 1366, 2048].map(share_len), [32 * 1024, 24_564, 16 * 1024]);
        assert_eq!(
            [4096, u16::MAX].map(share_len),
            [16 * 1024; 2],
            "a write to each costs more than its bytes"
        );
    }
}
