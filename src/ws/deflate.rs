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

/// The room that a deflater keeps between payloads: that of one of 64 KiB. A longer one is rare, and would be kept for good.
const SCRATCH_KEPT_MAX: usize = 64 * 1024 + TAIL.len();

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

    /// Frees the room of a long payload. Call when what [`Deflater::deflate`] returned has been copied.
    pub fn release(&mut self) {
        if self.scratch.capacity() > SCRATCH_KEPT_MAX {
            self.scratch = Vec::new();
        }
    }
}

impl fmt::Debug for Deflater {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Deflater").finish_non_exhaustive()
    }
}

/// What an inflater takes: its window of 32 KiB and its tables, as the library has them.
pub(super) const INFLATER_LEN: usize = 40 * 1024;

/// How far back DEFLATE refers (RFC 1951 §2): what is kept of earlier messages.
const WINDOW_LEN: usize = 32 * 1024;

/// A last block, stored and empty (RFC 1951 §3.2.4), aligned as what follows a stored block is.
const LAST_BLOCK: [u8; 5] = [0x01, 0x00, 0x00, 0xff, 0xff];

/// What the next message may refer back to: the last [`WINDOW_LEN`] bytes of those before it.
///
/// ```text
///   bytes   | ...        newest | oldest, ...                |
///           0                   start               WINDOW_LEN     what comes next is put at `start`
/// ```
///
/// Invariant: at most so many bytes, and no more room; `start` is 0 while there are fewer.
#[derive(Clone, Debug, Default)]
pub(super) struct Window {
    bytes: Vec<u8>,
    start: usize,
}

impl Window {
    /// The room that it takes.
    pub(super) fn held_len(&self) -> usize {
        self.bytes.capacity()
    }

    /// Whether nothing can be referred back to.
    pub(super) fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// The window after one message more.
    pub(super) fn slide(&mut self, payload: &[u8]) {
        let added = &payload[payload.len().saturating_sub(WINDOW_LEN)..];
        let (appended, put) = added.split_at(added.len().min(WINDOW_LEN - self.bytes.len()));
        // Doubled as it grows, but never past the most that is kept.
        let needed = self.bytes.len() + appended.len();
        if needed > self.bytes.capacity() {
            let capacity = needed.max((2 * self.bytes.capacity()).min(WINDOW_LEN));
            self.bytes.reserve_exact(capacity - self.bytes.len());
        }
        self.bytes.extend_from_slice(appended);
        let (to_the_end, from_the_beginning) = put.split_at(put.len().min(WINDOW_LEN - self.start));
        self.bytes[self.start..][..to_the_end.len()].copy_from_slice(to_the_end);
        self.bytes[..from_the_beginning.len()].copy_from_slice(from_the_beginning);
        self.start = (self.start + put.len()) % WINDOW_LEN;
    }

    /// Its bytes in two runs, the older first.
    fn runs(&self) -> [&[u8]; 2] {
        let (newer, older) = self.bytes.split_at(self.start);
        [older, newer]
    }
}

/// Inflates one message, in whatever pieces it comes.
pub(super) struct Inflater {
    decompress: Decompress,
    /// Whether the last piece was left before all that it inflates to had come.
    is_paused: bool,
}

impl Inflater {
    /// With the largest window, which takes what was deflated with any, and what earlier messages left in it.
    pub(super) fn new(window: &Window) -> Self {
        let decompress = Decompress::new_with_window_bits(false, WINDOW_BITS_MAX);
        let mut inflater = Self { decompress, is_paused: false };
        inflater.refer_to(window);
        inflater
    }

    /// Begins another message, as a new one would: making one takes longer than inflating a short message.
    pub(super) fn begin(&mut self, window: &Window) {
        self.decompress.reset(false);
        self.is_paused = false;
        self.refer_to(window);
    }

    fn refer_to(&mut self, window: &Window) {
        for run in window.runs().into_iter().filter(|run| !run.is_empty()) {
            let set = self.decompress.set_dictionary(run);
            assert!(set.is_ok(), "without a header, any window is taken: {set:?}");
        }
    }

    /// Whether there is more to be inflated without another byte of input.
    pub(super) fn is_paused(&self) -> bool {
        self.is_paused
    }

    /// Inflates the next piece of a message into `take`, which may refuse to go on; no more than `step` bytes, from
    /// which is taken what came. Returns how many bytes of the piece were used.
    pub(super) fn push(
        &mut self,
        piece: &[u8],
        step: &mut usize,
        mut take: impl FnMut(&[u8]) -> Result<(), Error>,
    ) -> Result<usize, Error> {
        let mut rest = piece;
        let mut room = [0; INFLATED_PIECE_LEN];
        loop {
            let room = &mut room[..INFLATED_PIECE_LEN.min(*step)];
            self.is_paused = room.is_empty();
            if self.is_paused {
                return Ok(piece.len() - rest.len());
            }
            let (in_before, out_before) = (self.decompress.total_in(), self.decompress.total_out());
            let status = self.decompress.decompress(rest, room, FlushDecompress::Sync);
            rest = &rest[(self.decompress.total_in() - in_before) as usize..];
            let inflated_len = (self.decompress.total_out() - out_before) as usize;
            *step -= inflated_len;
            // Also what comes before a fault: which one is told first does not depend on the cut.
            take(&room[..inflated_len])?;
            match status.map_err(|_| Error::NotDeflate)? {
                // RFC 7692 §7.2.3.4: a block with BFINAL set ends the stream, not the message.
                Status::StreamEnd => self.decompress.reset(false),
                Status::Ok | Status::BufError if inflated_len == 0 && !rest.is_empty() => {
                    return Err(Error::NotDeflate);
                }
                Status::Ok | Status::BufError => {}
            }
            if rest.is_empty() && inflated_len < room.len() {
                return Ok(piece.len());
            }
        }
    }

    /// Ends a message: RFC 7692 §7.2.2, "Append 4 octets of 0x00 0x00 0xff 0xff to the tail end of the payload".
    ///
    /// Refused if the stream then ends inside a block. The library does not tell where it stands, but a last block is
    /// the end of the stream for it between two blocks only. So is nothing else: whatever was begun takes bits of the
    /// tail for its own, and the blocks after it are then not aligned, or make bytes that nobody sent.
    pub(super) fn finish(&mut self) -> Result<(), Error> {
        match self.end(&TAIL)? {
            // RFC 7692 §7.2.3.4 again: the empty block whose tail this is had BFINAL set.
            Status::StreamEnd => Ok(()),
            Status::Ok | Status::BufError => match self.end(&LAST_BLOCK)? {
                Status::StreamEnd => Ok(()),
                Status::Ok | Status::BufError => Err(Error::NotDeflate),
            },
        }
    }

    /// Takes what is appended: all of it, and without a byte of output.
    fn end(&mut self, appended: &[u8]) -> Result<Status, Error> {
        let (in_before, out_before) = (self.decompress.total_in(), self.decompress.total_out());
        let mut room = [0];
        let status = self.decompress.decompress(appended, &mut room, FlushDecompress::Sync);
        let status = status.map_err(|_| Error::NotDeflate)?;
        let is_all = self.decompress.total_in() - in_before == appended.len() as u64;
        if is_all && self.decompress.total_out() == out_before { Ok(status) } else { Err(Error::NotDeflate) }
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

    /// A message in pieces, which refers back to the window and slides it.
    fn inflate_in(window: &mut Window, pieces: &[&[u8]]) -> Result<Vec<u8>, Error> {
        let mut inflater = Inflater::new(window);
        let mut inflated = Vec::new();
        for piece in pieces {
            inflater.push(piece, &mut usize::MAX.clone(), |bytes| {
                inflated.extend_from_slice(bytes);
                Ok(())
            })?;
        }
        inflater.finish()?;
        window.slide(&inflated);
        Ok(inflated)
    }

    fn inflate(pieces: &[&[u8]]) -> Result<Vec<u8>, Error> {
        inflate_in(&mut Window::default(), pieces)
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
            assert_eq!(inflate(&[hello]), Ok(b"Hello".to_vec()), "{hello:x?}");
            let bytes: Vec<&[u8]> = hello.chunks(1).collect();
            assert_eq!(inflate(&bytes), Ok(b"Hello".to_vec()), "{hello:x?}");
        }
    }

    #[test]
    fn a_second_message_may_refer_back_to_the_first() {
        // §7.2.3.2: with the window kept, the second "Hello" is shorter.
        let mut window = Window::default();
        assert_eq!(inflate_in(&mut window, &[b"\xf2\x48\xcd\xc9\xc9\x07\x00"]), Ok(b"Hello".to_vec()));
        assert_eq!(inflate_in(&mut window, &[b"\xf2\x00\x11\x00\x00"]), Ok(b"Hello".to_vec()));
        assert!(inflate(&[b"\xf2\x00\x11\x00\x00"]).is_err());
    }

    #[test]
    fn an_empty_message_is_one_byte() {
        assert_eq!(inflate(&[b"\x00"]), Ok(Vec::new()));
    }

    /// Deflated as a client does it, in blocks of this many bytes and without the tail.
    fn client_deflates(compress: &mut Compress, payload: &[u8], block_len: usize) -> Vec<u8> {
        let mut out = Vec::with_capacity(2 * payload.len() + 10_000);
        for block in payload.chunks(block_len) {
            compress.compress_vec(block, &mut out, FlushCompress::Sync).unwrap();
        }
        assert!(out.ends_with(&TAIL));
        out.truncate(out.len() - TAIL.len());
        out
    }

    /// Every beginning of what a client sent is refused, but for those that are whole messages themselves: where an
    /// empty block would begin as well.
    fn assert_beginnings_are_refused(
        compress: &mut Compress,
        earlier: &[u8],
        payload: &[u8],
        block_len: usize,
    ) {
        let mut window = Window::default();
        window.slide(earlier);
        let whole = client_deflates(compress, payload, block_len);
        for len in 0..=whole.len() {
            // RFC 1951 §3.2.4: the lengths of a stored block follow, the one the other's complement. Up to there it is
            // what an empty one begins with as well.
            let is_flushed = match whole[len..] {
                [a, b, c, d, ..] => (a ^ c, b ^ d) == (0xff, 0xff),
                _ => len == whole.len(),
            };
            let mut window = window.clone();
            match inflate_in(&mut window, &[&whole[..len]]) {
                Ok(inflated) => {
                    assert!(is_flushed, "{len} of {} bytes are taken as a whole", whole.len());
                    assert!(payload.starts_with(&inflated));
                    assert!(len < whole.len() || inflated == payload);
                }
                Err(error) => assert_eq!((error, len < whole.len()), (Error::NotDeflate, true)),
            }
        }
    }

    #[test]
    fn a_message_that_ends_inside_a_block_is_refused() {
        let quotes: String = (0..60).map(|n| format!("{{\"bid\":{n}.25,\"ask\":{}}},", n * n)).collect();
        let noise: Vec<u8> = (0..2000_u32).map(|n| (n.wrapping_mul(0x9e37_79b9) >> 13) as u8).collect();
        for payload in [&b"Hello"[..], &[0; 3000], quotes.as_bytes(), &noise] {
            for level in 0..=9 {
                for block_len in [payload.len(), payload.len().div_ceil(3)] {
                    let compress = &mut Compress::new(Compression::new(level), false);
                    assert_beginnings_are_refused(compress, b"", payload, block_len);
                    // The client goes on with its window, in which all of this is already.
                    assert_beginnings_are_refused(compress, payload, payload, block_len);
                }
            }
        }
    }

    #[test]
    fn a_last_block_may_end_the_message_and_must_be_whole() {
        // Stored, BFINAL set, and the byte of the empty block after it; an empty block with BFINAL set.
        assert_eq!(inflate(&[b"\x01\x05\x00\xfa\xffHello\x00"]), Ok(b"Hello".to_vec()));
        assert_eq!(inflate(&[b"\xf2\x48\xcd\xc9\xc9\x07\x00"]), Ok(b"Hello".to_vec()));
        assert_eq!(inflate(&[b"\x00\x05\x00\xfa\xffHello\x01"]), Ok(b"Hello".to_vec()));
        // One byte of it is the beginning of an empty block.
        for len in (0..10).filter(|&len| len != 1) {
            assert_eq!(inflate(&[&b"\x01\x05\x00\xfa\xffHello"[..len]]), Err(Error::NotDeflate), "{len}");
        }
    }

    #[test]
    fn an_inflater_that_is_used_again_knows_nothing_of_the_message_before() {
        let mut inflater = Inflater::new(&Window::default());
        for (message, result) in [
            (&b"\xf2\x48\xcd\xc9\xc9\x07\x00"[..], Ok(7)),
            // It refers back to what is not there.
            (b"\xf2\x00\x11\x00\x00", Err(Error::NotDeflate)),
            // It ends inside a block.
            (b"\xf2\x48\xcd", Ok(3)),
            (b"\xf2\x48\xcd\xc9\xc9\x07\x00", Ok(7)),
        ] {
            inflater.begin(&Window::default());
            assert_eq!(inflater.push(message, &mut usize::MAX.clone(), |_| Ok(())), result, "{message:x?}");
            assert_eq!(inflater.finish().is_ok(), result == Ok(7), "{message:x?}");
        }
    }

    #[test]
    fn after_a_last_block_the_next_message_may_still_refer_back() {
        let mut window = Window::default();
        assert_eq!(inflate_in(&mut window, &[b"\xf3\x48\xcd\xc9\xc9\x07\x00\x00"]), Ok(b"Hello".to_vec()));
        assert_eq!(inflate_in(&mut window, &[b"\xf2\x00\x11\x00\x00"]), Ok(b"Hello".to_vec()));
    }

    #[test]
    fn a_window_keeps_the_last_32_kib_of_all_messages() {
        let mut window = Window::default();
        let mut said = Vec::new();
        for len in [0, 1, 100, 20_000, 12_667, 1, 32_767, 32_768, 32_769, 5, 100_000, 32_000, 900] {
            let payload: Vec<u8> = (0..len).map(|n| (said.len() + n) as u8 ^ (n >> 8) as u8).collect();
            said.extend_from_slice(&payload);
            window.slide(&payload);
            assert_eq!(window.runs().concat(), said[said.len().saturating_sub(WINDOW_LEN)..]);
            assert!(window.held_len() <= WINDOW_LEN, "{}", window.held_len());
        }
    }

    #[test]
    fn what_is_no_deflate_is_refused() {
        assert_eq!(inflate(&[b"\xff\xff\xff"]), Err(Error::NotDeflate));
    }

    #[test]
    fn what_comes_before_a_fault_is_inflated() {
        // A stored block of 5 bytes, and one of the type that is none.
        let mut inflated = Vec::new();
        let result = Inflater::new(&Window::default()).push(
            b"\x00\x05\x00\xfa\xffHello\xff",
            &mut usize::MAX.clone(),
            |bytes| {
                inflated.extend_from_slice(bytes);
                Ok(())
            },
        );
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
                assert_eq!(inflate(&[deflated]).as_ref(), Ok(&payload));
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
    fn the_room_of_a_long_payload_is_freed_and_that_of_a_short_one_is_kept() {
        let mut deflater = Deflater::new(6, WINDOW_BITS_MAX).unwrap();
        for (len, kept) in [(64 * 1024, true), (64 * 1024 + 1, false)] {
            assert!(deflater.deflate(&vec![7; len]).is_some());
            deflater.release();
            assert_eq!(deflater.scratch.capacity() > 0, kept, "{len}");
        }
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
        let result = Inflater::new(&Window::default()).push(&bomb, &mut usize::MAX.clone(), |bytes| {
            len += bytes.len();
            if len > 100_000 { Err(Error::TooBig { limit: 100_000 }) } else { Ok(()) }
        });
        assert_eq!(result, Err(Error::TooBig { limit: 100_000 }));
        assert!(len < 110_000);
    }
}
