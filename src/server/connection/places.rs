//! When the reader of an event stream of several channels is told its positions: a pure rule, with the time as an argument.
//!
//! The positions themselves are known to the hub and to replays; the block that tells them is written in `many_stream`.
//!
//! A publication's bytes are the same for all readers of its channel, so they cannot have the positions of one reader in all
//! of its channels. Those are in blocks of the reader's own, at most one a second.

use crate::hub::PublicationId;
use crate::server::clock::Millis;

/// The shortest time between two blocks. It is what an EventSource may get twice after it has reconnected by itself.
const PAUSE_MS: u64 = 1000;

/// A time that is never reached.
const NEVER: Millis = Millis(u64::MAX);

/// What tells positions from those of another time: the sum of their sequences, which only grow; and, since a sequence begins
/// anew with its epoch, of their epochs, which are random, each as far apart from the next as no sequence gets.
pub fn digest(positions: impl Iterator<Item = PublicationId>) -> u64 {
    /// An odd number, so that no two epochs become one: 2^64 by the golden ratio.
    const SPREAD: u64 = 0x9e37_79b9_7f4a_7c15;
    positions.fold(0, |sum, PublicationId { epoch, sequence }| {
        sum.wrapping_add(epoch.wrapping_mul(SPREAD)).wrapping_add(sequence)
    })
}

/// What the reader was told.
#[derive(Debug)]
pub struct Places {
    /// The digest of the positions that it was told last.
    told: u64,
    /// When the next block may come.
    next_at: Millis,
    /// Whether it has been sent publications since.
    is_untold: bool,
    /// Whether it is to be told that the server is alive, and its positions with that.
    pub is_alive_due: bool,
}

impl Places {
    /// The reader has been told these positions. At the beginning of a stream that is ahead of what it missed, and the next
    /// block may come at once: else a reader that goes away within a second gets all that again.
    pub fn new(digest: u64, next_at: Millis) -> Self {
        Self { told: digest, next_at, is_untold: false, is_alive_due: false }
    }

    /// Notes the digest of the positions after a write.
    pub fn note(&mut self, digest: u64) {
        self.is_untold = digest != self.told;
    }

    /// Notes that the reader is being told its positions.
    pub fn told(&mut self, digest: u64, now: Millis) {
        *self = Self::new(digest, Millis(now.0 + PAUSE_MS));
    }

    /// When the reader is to be told its positions, if at all.
    pub fn due_at(&self) -> Millis {
        if self.is_untold { self.next_at } else { NEVER }
    }

    /// Whether the reader is to be told its positions now.
    pub fn is_due(&self, now: Millis) -> bool {
        self.is_alive_due || self.due_at() <= now
    }

    /// Whether the reader was sent publications that its positions do not count yet.
    pub fn is_untold(&self) -> bool {
        self.is_untold
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reader_is_told_its_positions_after_publications_and_once_a_second_at_most() {
        let mut places = Places::new(6, Millis(4990));
        assert_eq!((places.due_at(), places.is_due(Millis(9000))), (NEVER, false));
        places.note(7);
        assert!(places.is_due(Millis(5000)), "what was missed is counted at once");
        places.told(7, Millis(5000));
        places.note(8);
        assert_eq!(places.due_at(), Millis(6000));
        assert!(!places.is_due(Millis(5999)) && places.is_due(Millis(6000)));
        places.told(8, Millis(6000));
        assert!(!places.is_due(Millis(8000)), "nothing is new");
        places.note(9);
        assert!(places.is_due(Millis(8000)), "it was told nothing for a second");
    }

    #[test]
    fn positions_in_another_epoch_have_another_digest_whatever_the_sequences() {
        let of = |ids: [(u64, u64); 2]| {
            digest(ids.into_iter().map(|(epoch, sequence)| PublicationId { epoch, sequence }))
        };
        let before = of([(0xa, 7), (0xb, 3)]);
        assert_eq!(before, of([(0xa, 7), (0xb, 3)]));
        for after in [[(0xa, 8), (0xb, 3)], [(0xc, 7), (0xb, 3)], [(0xc, 0), (0xb, 3)], [(0xa, 7), (0xc, 3)]]
        {
            assert_ne!(of(after), before, "{after:?}");
        }
    }

    #[test]
    fn a_sign_of_life_has_the_positions_even_if_they_are_told() {
        let mut places = Places::new(7, Millis(5000));
        places.is_alive_due = true;
        assert!(places.is_due(Millis(5000)));
        assert_eq!(places.due_at(), NEVER, "it needs no timer");
        places.told(7, Millis(5000));
        assert!(!places.is_due(Millis(5000)));
    }
}
