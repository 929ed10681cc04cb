//! DEFLATE for messages (RFC 7692 §7.2): payloads made smaller, and made whole again under a limit.
//!
//! What was agreed with whom is `extension`; which frame carries what, `protocol`. The algorithm is flate2's.

use std::fmt;

use flate2::{Compress, Compression, Decompress, FlushCompress, FlushDecompress, Status};

use super::error::Error;
use super::extension::WINDOW_BITS_MAX;

/// What a sync flush ends with, and a message on the wire does not (RFC 7692 §7.2.1, §7.2.2).
const TAIL: [u8; 4] = [0x00, 0x00, 0xff, 0xff];

/// Bytes inflated at once. The limit is checked, and text looked at, that often.
const INFLATED_PIECE_LEN: usize = 8 * 1024;

/// The smallest window that the library deflates with. A client that can inflate 2^8 only is sent what is not
/// compressed, which RFC 7692 §6 leaves to the sender for every message.
const DEFLATE_WINDOW_BITS_MIN: u8 = 9;

/// Deflates payloads, each by itself: nothing is referred to across messages, so that one result serves everybody.
pub struct Deflater {
    compress: Compress,
    /// Room to deflate into; empty between payloads.
    scratch: Vec<u8>,
}

impl Deflater {
    /// With a level of 1 (least work) to 9 (smallest), and a window of 2 to this power; `None` if the library has no
    /// such window.
    ///
    /// # Panics
    /// If the level is not 1 to 9, or the window over [`WINDOW_BITS_MAX`].
    #[must_use]
    pub fn new(level: u32, window_bits: u8) -> Option<Self> {
        assert!((1..=9).contains(&level), "levels are 1 to 9");
        assert!(window_bits <= WINDOW_BITS_MAX, "DEFLATE has no window over 32 KiB");
        if window_bits < DEFLATE_WINDOW_BITS_MIN {
            return None;
        }
        let compress = Compress::new_with_window_bits(Compression::new(level), false, window_bits);
        Some(Self { compress, scratch: Vec::new() })
    }

    /// The payload of the compressed message (RFC 7692 §7.2.1); `None` if it would not be smaller.
    pub fn deflate(&mut self, payload: &[u8]) -> Option<&[u8]> {
        self.compress.reset();
        self.scratch.clear();
        // What does not fit in as many bytes, and the tail that is cut off again, did not shrink.
        self.scratch.reserve_exact(payload.len() + TAIL.len());
        let status = self.compress.compress_vec(payload, &mut self.scratch, FlushCompress::Sync);
        assert!(matches!(status, Ok(Status::Ok | Status::BufError)), "deflating cannot fail: {status:?}");
        let is_complete = self.compress.total_in() == payload.len() as u64 && self.scratch.ends_with(&TAIL);
        let len = self.scratch.len().saturating_sub(TAIL.len());
        (is_complete && len < payload.len()).then(|| &self.scratch[..len])
    }
}

impl fmt::Debug for Deflater {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Deflater").finish_non_exhaustive()
    }
}

/// What an inflater takes: its window of 32 KiB and its tables, as the library has them.
pub(super) const INFLATER_LEN: usize = 40 * 1024;

/// Inflates one message after the other, in whatever pieces they come.
pub(super) struct Inflater(Decompress);

/// With the largest window, which takes what was deflated with any.
impl Default for Inflater {
    fn default() -> Self {
        Self(Decompress::new_with_window_bits(false, WINDOW_BITS_MAX))
    }
}

impl Inflater {
    /// Inflates the next piece of a message into `take`, which may refuse to go on.
    pub(super) fn push(
        &mut self,
        piece: &[u8],
        mut take: impl FnMut(&[u8]) -> Result<(), Error>,
    ) -> Result<(), Error> {
        let mut rest = piece;
        let mut room = [0; INFLATED_PIECE_LEN];
        loop {
            let (in_before, out_before) = (self.0.total_in(), self.0.total_out());
            let status = self.0.decompress(rest, &mut room, FlushDecompress::Sync);
            rest = &rest[(self.0.total_in() - in_before) as usize..];
            let inflated_len = (self.0.total_out() - out_before) as usize;
            // Also what comes before a fault: which one is told first does not depend on the cut.
            take(&room[..inflated_len])?;
            match status.map_err(|_| Error::NotDeflate)? {
                // RFC 7692 §7.2.3.4: a block with BFINAL set ends the stream, not the message.
                Status::StreamEnd => self.0.reset(false),
                Status::Ok | Status::BufError if inflated_len == 0 && !rest.is_empty() => {
                    return Err(Error::NotDeflate);
                }
                Status::Ok | Status::BufError => {}
            }
            if rest.is_empty() && inflated_len < room.len() {
                return Ok(());
            }
        }
    }

    /// Ends a message: RFC 7692 §7.2.2, "Append 4 octets of 0x00 0x00 0xff 0xff to the tail end of the payload".
    pub(super) fn finish(&mut self, take: impl FnMut(&[u8]) -> Result<(), Error>) -> Result<(), Error> {
        self.push(&TAIL, take)
    }
}

impl fmt::Debug for Inflater {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Inflater").finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn inflate(inflater: &mut Inflater, pieces: &[&[u8]]) -> Result<Vec<u8>, Error> {
        let mut inflated = Vec::new();
        for piece in pieces {
            inflater.push(piece, |bytes| {
                inflated.extend_from_slice(bytes);
                Ok(())
            })?;
        }
        inflater.finish(|bytes| {
            inflated.extend_from_slice(bytes);
            Ok(())
        })?;
        Ok(inflated)
    }

    fn deflater() -> Deflater {
        Deflater::new(6, 15).unwrap()
    }

    #[test]
    fn the_examples_of_rfc_7692_section_7_2_3_are_inflated() {
        // §7.2.3.1, §7.2.3.3 (no compression), §7.2.3.4 (BFINAL), §7.2.3.5 (two blocks).
        for hello in [
            &b"\xf2\x48\xcd\xc9\xc9\x07\x00"[..],
            b"\x00\x05\x00\xfa\xff\x48\x65\x6c\x6c\x6f\x00",
            b"\xf3\x48\xcd\xc9\xc9\x07\x00\x00",
            b"\xf2\x48\x05\x00\x00\x00\xff\xff\xca\xc9\xc9\x07\x00",
        ] {
            assert_eq!(inflate(&mut Inflater::default(), &[hello]), Ok(b"Hello".to_vec()), "{hello:x?}");
            let bytes: Vec<&[u8]> = hello.chunks(1).collect();
            assert_eq!(inflate(&mut Inflater::default(), &bytes), Ok(b"Hello".to_vec()), "{hello:x?}");
        }
    }

    #[test]
    fn a_second_message_may_refer_back_to_the_first() {
        // §7.2.3.2: with the window kept, the second "Hello" is shorter.
        let mut inflater = Inflater::default();
        assert_eq!(inflate(&mut inflater, &[b"\xf2\x48\xcd\xc9\xc9\x07\x00"]), Ok(b"Hello".to_vec()));
        assert_eq!(inflate(&mut inflater, &[b"\xf2\x00\x11\x00\x00"]), Ok(b"Hello".to_vec()));
        assert!(inflate(&mut Inflater::default(), &[b"\xf2\x00\x11\x00\x00"]).is_err());
    }

    #[test]
    fn an_empty_message_is_one_byte() {
        assert_eq!(inflate(&mut Inflater::default(), &[b"\x00"]), Ok(Vec::new()));
    }

    #[test]
    fn what_is_no_deflate_is_refused() {
        assert_eq!(inflate(&mut Inflater::default(), &[b"\xff\xff\xff"]), Err(Error::NotDeflate));
    }

    #[test]
    fn what_comes_before_a_fault_is_inflated() {
        // A stored block of 5 bytes, and one of the type that is none.
        let mut inflated = Vec::new();
        let result = Inflater::default().push(b"\x00\x05\x00\xfa\xffHello\xff", |bytes| {
            inflated.extend_from_slice(bytes);
            Ok(())
        });
        assert_eq!((result, &inflated[..]), (Err(Error::NotDeflate), &b"Hello"[..]));
    }

    #[test]
    fn what_is_deflated_is_inflated_again_in_any_window() {
        let payload: Vec<u8> = (0..20_000u32).flat_map(|n| (n / 7 % 251).to_string().into_bytes()).collect();
        for window_bits in 9..=15 {
            let mut deflater = Deflater::new(6, window_bits).unwrap();
            for _ in 0..2 {
                let deflated = deflater.deflate(&payload).unwrap();
                assert!(deflated.len() < payload.len() / 4);
                assert_eq!(inflate(&mut Inflater::default(), &[deflated]).as_ref(), Ok(&payload));
            }
        }
    }

    #[test]
    fn each_payload_is_deflated_as_if_it_were_the_first() {
        let mut deflater = deflater();
        let first = deflater.deflate(b"hello hello hello hello").unwrap().to_vec();
        assert_eq!(deflater.deflate(b"hello hello hello hello").unwrap(), first);
    }

    #[test]
    fn what_does_not_shrink_is_not_deflated() {
        let mut deflater = deflater();
        for payload in [&b""[..], b"a", b"Hello", &(0..=255).collect::<Vec<u8>>()] {
            assert_eq!(deflater.deflate(payload), None, "{payload:x?}");
        }
    }

    #[test]
    fn the_library_has_no_window_of_256_bytes() {
        assert!(Deflater::new(6, 8).is_none());
    }

    #[test]
    fn inflating_stops_where_it_is_refused() {
        let bomb = deflater().deflate(&vec![0; 10_000_000]).unwrap().to_vec();
        assert!(bomb.len() < 20_000);
        let mut len = 0;
        let result = Inflater::default().push(&bomb, |bytes| {
            len += bytes.len();
            if len > 100_000 { Err(Error::TooBig { limit: 100_000 }) } else { Ok(()) }
        });
        assert_eq!(result, Err(Error::TooBig { limit: 100_000 }));
        assert!(len < 110_000);
    }
}
