//! The unsent private bytes of a connection: handshake, answers, pongs, Close frames.
//!
//! The bytes of channels stay in their logs. The one exception is the rest of a started frame whose log is not to be kept.

use super::spares::Spares;

/// Above this many unsent bytes the connection is not read: a peer that sends requests and does not read its answers gets
/// backpressure from TCP. 64 KiB hold the answers to one read full of the smallest requests.
pub const OUTBOX_HIGH: usize = 64 * 1024;

/// ```text
///   bytes   | sent | unsent                 | room to grow |
///           0      sent                     len            capacity
/// ```
///
/// Invariant: `sent <= bytes.len() - sent`, so at most half of the kept bytes are sent ones. An empty outbox owns no memory
/// between turns: the flush gives its room to the loop's spares.
#[derive(Debug, Default)]
pub struct Outbox {
    bytes: Vec<u8>,
    sent: usize,
}

impl Outbox {
    /// The bytes of memory that it takes: sent bytes that are still kept, unsent bytes, and unused capacity.
    pub fn held_len(&self) -> usize {
        self.bytes.capacity()
    }

    /// The buffer to append to. To remove written bytes, call [`Outbox::consume`].
    pub fn tail(&mut self) -> &mut Vec<u8> {
        &mut self.bytes
    }

    /// The unsent bytes.
    pub fn unsent(&self) -> &[u8] {
        &self.bytes[self.sent..]
    }

    /// Whether nothing is unsent.
    pub fn is_empty(&self) -> bool {
        self.unsent().is_empty()
    }

    /// Whether the peer should not be read for now.
    pub fn is_high(&self) -> bool {
        self.unsent().len() > OUTBOX_HIGH
    }

    /// Notes that `len` bytes have been written.
    pub fn consume(&mut self, len: usize) {
        self.sent += len;
        assert!(self.sent <= self.bytes.len(), "only unsent bytes are written");
        self.release();
    }

    /// Frees the memory of sent bytes, as a log does: all of it when nothing is unsent, otherwise once more is sent than
    /// unsent, so that each byte is moved once on average. The latter is for a peer that always has answers outstanding:
    /// its outbox never drains.
    fn release(&mut self) {
        if self.is_empty() {
            self.bytes.clear();
            self.sent = 0;
        } else if self.sent > self.unsent().len() {
            self.bytes.drain(..self.sent);
            self.sent = 0;
            self.bytes.shrink_to(2 * self.bytes.len());
        }
    }

    /// Takes a buffer of the loop's, if it has none.
    pub fn lend(&mut self, spares: &mut Spares) {
        if self.bytes.capacity() == 0 {
            self.bytes = spares.take();
        }
    }

    /// Gives its buffer to the loop if nothing is unsent: an idle connection owns none.
    pub fn give_back(&mut self, spares: &mut Spares) {
        if self.is_empty() && self.bytes.capacity() > 0 {
            spares.give(std::mem::take(&mut self.bytes));
        }
    }

    /// Puts the rest of a started frame ahead of everything else. No part of the outbox can have been written since that
    /// frame was started.
    pub fn prepend(&mut self, started: &[u8]) {
        assert!(started.is_empty() || self.sent == 0, "private bytes wait for the started frame");
        self.bytes.splice(..0, started.iter().copied());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_drained_outbox_owns_no_memory_once_it_has_given_its_room_to_the_loop() {
        let mut outbox = Outbox::default();
        outbox.tail().extend_from_slice(b"pong");
        outbox.consume(1);
        assert_eq!(outbox.unsent(), b"ong");
        outbox.consume(3);
        assert!(outbox.is_empty());
        let mut spares = Spares::default();
        outbox.give_back(&mut spares);
        assert_eq!(outbox.held_len(), 0);
        outbox.lend(&mut spares);
        assert!(outbox.held_len() >= 4, "the next one uses the same");
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
