//! Buffers and an inflater that a loop keeps for the next message that is longer than what was read of it at once.
//!
//! Which connection uses them is not known here.

use crate::ws::Room;

/// How many buffers a loop keeps. A message is assembled over one or two turns, so this many sockets can be in the middle
/// of a message at once before the allocator is called.
const SPARES_MAX: usize = 16;

/// The largest buffer that is kept: messages of 64 KiB, and up to twice that, fit. With the number above, a loop keeps at
/// most 2 MiB.
const SPARE_LEN_MAX: usize = 128 * 1024;

/// The buffers, and one inflater once a compressed message has come.
///
/// Invariant: at most [`SPARES_MAX`] buffers, each empty, with room for at least one and at most [`SPARE_LEN_MAX`] bytes;
/// that of `room` has none.
#[derive(Debug, Default)]
pub struct Spares {
    buffers: Vec<Vec<u8>>,
    room: Room,
}

impl Spares {
    /// The buffer that was given back last, whose memory is most likely still in a cache. One without capacity if there is
    /// none.
    pub fn take(&mut self) -> Vec<u8> {
        self.buffers.pop().unwrap_or_default()
    }

    /// The same buffer, with the inflater.
    pub fn take_room(&mut self) -> Room {
        let mut room = std::mem::take(&mut self.room);
        room.bytes = self.take();
        room
    }

    /// Takes both back from a connection.
    pub fn give_room(&mut self, mut room: Room) {
        self.give(std::mem::take(&mut room.bytes));
        self.room = room;
    }

    /// Keeps a buffer that is no longer used, unless it is too large or there are enough.
    pub fn give(&mut self, mut buffer: Vec<u8>) {
        if self.buffers.len() < SPARES_MAX && (1..=SPARE_LEN_MAX).contains(&buffer.capacity()) {
            buffer.clear();
            self.buffers.push(buffer);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_buffer_that_was_given_last_is_taken_first_and_is_empty() {
        let mut spares = Spares::default();
        spares.give(vec![1; 10]);
        spares.give(vec![2; 20]);
        let taken = spares.take();
        assert_eq!((taken.len(), taken.capacity()), (0, 20));
        assert_eq!(spares.take().capacity(), 10);
        assert_eq!(spares.take().capacity(), 0);
    }

    #[test]
    fn no_more_are_kept_than_there_is_room_for_and_none_that_is_too_long() {
        let mut spares = Spares::default();
        spares.give(Vec::new());
        spares.give(vec![0; SPARE_LEN_MAX + 1]);
        assert_eq!(spares.buffers.len(), 0);
        for _ in 0..=SPARES_MAX {
            spares.give(vec![0; SPARE_LEN_MAX]);
        }
        assert_eq!(spares.buffers.len(), SPARES_MAX);
    }
}
