//! A frame whose header has been read, and how much of its payload has arrived.
//!
//! What the payload says is not known here: it is taken off the input and its mask is removed.

use super::frame::{FrameHeader, take_front};
use super::mask::unmask;

/// A frame whose header is whole and allowed.
///
/// Invariant: `taken <= header.payload_len`.
#[derive(Clone, Copy, Debug)]
pub(super) struct IncomingFrame {
    pub header: FrameHeader,
    /// How many bytes of the payload have been taken.
    pub taken: u64,
}

impl IncomingFrame {
    /// Takes what is there of the payload off the front of `input`, and removes its mask.
    pub fn take_piece<'a>(&mut self, input: &mut &'a mut [u8]) -> &'a mut [u8] {
        let rest = self.header.payload_len - self.taken;
        let piece_len = usize::try_from(rest).map_or(input.len(), |rest| rest.min(input.len()));
        let piece = take_front(input, piece_len);
        // RFC 6455 §5.3: the masking key is that of the frame, from the first byte of its payload on.
        if let Some(key) = self.header.mask {
            unmask(piece, key, self.taken);
        }
        self.taken += piece_len as u64;
        piece
    }

    /// Whether all of the payload has been taken.
    pub fn is_whole(&self) -> bool {
        self.taken == self.header.payload_len
    }

    /// Whether the piece is the whole payload.
    pub fn is_all_in(&self, piece: &[u8]) -> bool {
        self.header.payload_len == piece.len() as u64
    }
}
