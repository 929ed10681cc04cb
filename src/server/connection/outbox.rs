//! Private bytes that a socket still owes: handshake, replies, pongs, close.
//!
//! Channel bytes are not here; they stay in the log. Only the rest of a started frame comes here when its log
//! must not be kept for it.

/// An outbox above this many bytes stops the reading of its socket until it has drained: a peer that asks and
/// does not read its answers is held back by TCP. 64 KiB is one read's worth of the smallest questions.
pub const OUTBOX_HIGH: usize = 64 * 1024;

/// A drained outbox keeps no more room than this: connections at rest own nothing.
const DRAINED_CAPACITY_MAX: usize = 0;

/// ```text
///   bytes   | sent | unsent                 | room to grow |
///           0      sent                     len            capacity
/// ```
///
/// Invariant: `sent <= bytes.len() - sent`, so that at most half of the bytes that are kept are sent; an empty one
/// owns no memory.
#[derive(Debug, Default)]
pub struct Outbox {
    bytes: Vec<u8>,
    sent: usize,
}

impl Outbox {
    /// The room that it takes: sent bytes that are still kept, unsent ones, and what the buffer can grow by.
    pub fn held_len(&self) -> usize {
        self.bytes.capacity()
    }

    /// Where new bytes are appended. Call [`Outbox::consume`] for what has been written, not this.
    pub fn tail(&mut self) -> &mut Vec<u8> {
        &mut self.bytes
    }

    /// What is still to be written.
    pub fn unsent(&self) -> &[u8] {
        &self.bytes[self.sent..]
    }

    /// Whether nothing is owed.
    pub fn is_empty(&self) -> bool {
        self.unsent().is_empty()
    }

    /// Whether the peer should be read no further for now.
    pub fn is_high(&self) -> bool {
        self.unsent().len() > OUTBOX_HIGH
    }

    /// Notes that `len` bytes have been written.
    pub fn consume(&mut self, len: usize) {
        self.sent += len;
        assert!(self.sent <= self.bytes.len(), "only what is owed is written");
        self.release();
    }

    /// Gives the room of sent bytes back, as a log does: all of it when nothing is unsent, else once more is sent than
    /// unsent, so that each byte is moved once on average. A peer that asks on and on, and takes its answers bit by
    /// bit, never lets it drain.
    fn release(&mut self) {
        if self.is_empty() {
            self.bytes.clear();
            self.bytes.shrink_to(DRAINED_CAPACITY_MAX);
            self.sent = 0;
        } else if self.sent > self.unsent().len() {
            self.bytes.drain(..self.sent);
            self.sent = 0;
            self.bytes.shrink_to(2 * self.bytes.len());
        }
    }

    /// Puts the rest of a started frame before everything else. Nothing of the outbox can have been written
    /// while that frame was unfinished.
    pub fn prepend(&mut self, started: &[u8]) {
        assert!(started.is_empty() || self.sent == 0, "private bytes wait for the started frame");
        self.bytes.splice(..0, started.iter().copied());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_drained_outbox_owns_no_memory() {
        let mut outbox = Outbox::default();
        outbox.tail().extend_from_slice(b"pong");
        outbox.consume(1);
        assert_eq!(outbox.unsent(), b"ong");
        outbox.consume(3);
        assert!(outbox.is_empty());
        assert_eq!(outbox.bytes.capacity(), 0);
    }

    #[test]
    fn an_outbox_that_never_drains_owns_no_more_than_twice_what_it_held_at_once() {
        let mut outbox = Outbox::default();
        for round in 0..1000_u32 {
            outbox.tail().extend_from_slice(&[round as u8; 100]);
            while outbox.unsent().len() > 150 {
                outbox.consume(25);
                assert!(outbox.sent <= outbox.unsent().len());
            }
            assert!(outbox.held_len() <= 4 * 250, "{}", outbox.held_len());
        }
        let newest = 999_u32 as u8;
        assert_eq!(outbox.unsent(), [vec![newest - 1; 50], vec![newest; 100]].concat());
    }

    #[test]
    fn a_long_answer_that_is_mostly_sent_has_given_its_room_back() {
        let mut outbox = Outbox::default();
        outbox.tail().extend_from_slice(&[1; 1 << 20]);
        outbox.consume((1 << 20) - 1000);
        assert_eq!(outbox.unsent(), [1; 1000]);
        assert!(outbox.held_len() <= 2000, "{}", outbox.held_len());
    }

    #[test]
    fn the_rest_of_a_started_frame_goes_first() {
        let mut outbox = Outbox::default();
        outbox.tail().extend_from_slice(b"pong");
        outbox.prepend(b"rest");
        assert_eq!(outbox.unsent(), b"restpong");
    }

    #[test]
    #[should_panic(expected = "private bytes wait")]
    fn a_started_frame_cannot_come_after_private_bytes_have_begun() {
        let mut outbox = Outbox::default();
        outbox.tail().extend_from_slice(b"pong");
        outbox.consume(1);
        outbox.prepend(b"rest");
    }
}
