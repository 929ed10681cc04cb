//! One wire form of one channel as contiguous bytes, and the cursors into it.
//!
//! The log knows neither its readers nor what its frames say: it keeps their bytes and where each begins.

use std::collections::VecDeque;
use std::ops::Range;

use bytes::Bytes;

/// A drained log keeps a buffer of at most this many bytes. A smaller buffer is kept because it saves a quiet channel an
/// allocation a message; a larger one is freed because it would save a busy channel one allocation a turn, beside
/// thousands of system calls in that turn.
const DRAINED_CAPACITY_MAX: usize = 16 * 1024;

/// The bytes of the frames that some reader may still have to read.
///
/// ```text
///   bytes   | trimmed | frame | frame | frame | frame |
///                     ^       ^       ^       ^       ^
///   frames            0       1       2       3       .
///   offsets           tail                            head
///                     |<---------- len() ------------>|
/// ```
///
/// Offsets count from the first byte ever appended and never decrease; trimmed bytes cannot be read any more.
///
/// Invariants: `tail <= head`; `frames` ascends, begins at `tail` unless the log is empty, and ends below `head`;
/// `start <= bytes.len()` and `bytes.len() - start == head - tail`, where `bytes` are those of `lone` if there is one:
/// then the log's own are none.
#[derive(Debug, Default)]
pub struct Log {
    bytes: Vec<u8>,
    /// The only frame there is, where it is shared with others and not copied.
    lone: Option<Bytes>,
    /// Where the kept bytes begin in `bytes`.
    start: usize,
    /// The offset of `bytes[start]`.
    tail: u64,
    /// The offset at which each kept frame begins.
    frames: VecDeque<u64>,
}

/// A reader's place in a log.
///
/// Invariant: `offset < frame_end` exactly if the reader has read a part of a frame; `frame_end` is then where that
/// frame ends.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Cursor {
    offset: u64,
    frame_end: u64,
}

impl Log {
    /// The offset after the last byte.
    #[must_use]
    pub fn head(&self) -> u64 {
        self.tail + self.len() as u64
    }

    /// The offset of the first byte that is still kept.
    #[must_use]
    pub fn tail(&self) -> u64 {
        self.tail
    }

    /// How many bytes are kept.
    #[must_use]
    pub fn len(&self) -> usize {
        self.all().len() - self.start
    }

    /// Whether nothing is kept.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// A cursor for a reader of what is appended from now on.
    #[must_use]
    pub fn cursor_at_head(&self) -> Cursor {
        Cursor::at(self.head())
    }

    /// Appends one frame, whatever `encode` writes. A frame of no bytes is none.
    pub fn append(&mut self, encode: impl FnOnce(&mut Vec<u8>)) {
        let frame_start = self.head();
        if let Some(frame) = self.lone.take() {
            self.bytes.extend_from_slice(&frame[self.start..]);
            self.start = 0;
        }
        let len_before = self.bytes.len();
        encode(&mut self.bytes);
        assert!(self.bytes.len() >= len_before, "an encoder only appends");
        if self.bytes.len() > len_before {
            self.frames.push_back(frame_start);
        }
        self.debug_assert_invariants();
    }

    /// Appends one frame that others have as well: it is copied when there is another beside it, so mostly never.
    pub fn append_shared(&mut self, frame: &Bytes) {
        if !self.is_empty() || frame.is_empty() {
            return self.append(|out| out.extend_from_slice(frame));
        }
        self.frames.push_back(self.head());
        self.lone = Some(frame.clone());
        self.debug_assert_invariants();
    }

    /// Everything after the cursor, in one run.
    #[must_use]
    pub fn unread(&self, cursor: Cursor) -> &[u8] {
        &self.all()[self.position(cursor.offset)..]
    }

    /// The bytes between two offsets.
    #[must_use]
    pub fn bytes(&self, range: Range<u64>) -> &[u8] {
        &self.all()[self.position(range.start)..self.position(range.end)]
    }

    /// The rest of the frame that the cursor is inside of; nothing if it stands between two.
    #[must_use]
    pub fn started(&self, cursor: Cursor) -> &[u8] {
        if !cursor.is_inside_frame() {
            return &[];
        }
        self.bytes(cursor.offset..cursor.frame_end)
    }

    /// How many bytes the cursor is behind the head.
    #[must_use]
    pub fn lag(&self, cursor: Cursor) -> u64 {
        self.head() - cursor.offset
    }

    /// How many frames begin at or after the cursor. Costs O(log n) in the kept frames.
    #[must_use]
    pub fn unread_frames(&self, cursor: Cursor) -> u64 {
        (self.frames.len() - self.frames_before(cursor.offset)) as u64
    }

    /// How many frames begin at or after `from` and before `to`. Costs O(log n) in the kept frames.
    #[must_use]
    pub fn frames_between(&self, from: u64, to: u64) -> u64 {
        (self.frames_before(to).saturating_sub(self.frames_before(from))) as u64
    }

    /// Where the frame ends that begins at `start`.
    #[must_use]
    pub fn frame_end(&self, start: u64) -> u64 {
        self.boundary_from(start + 1)
    }

    /// The cursor after `len` more bytes have been read.
    #[must_use]
    pub fn advance(&self, cursor: Cursor, len: usize) -> Cursor {
        let offset = cursor.offset + len as u64;
        assert!(offset <= self.head(), "no reader reads past the head");
        Cursor { offset, frame_end: self.boundary_from(offset) }
    }

    /// Whether the cursor is more than `lag_max` bytes behind the head, and that by more than one frame: a reader with
    /// only one to read is not late, however long that frame is.
    #[must_use]
    pub fn is_lagged(&self, cursor: Cursor, lag_max: u64) -> bool {
        self.lag(cursor) > lag_max && u64::from(cursor.is_inside_frame()) + self.unread_frames(cursor) > 1
    }

    /// Where the first frame begins from which at most `lag_max` bytes are left, or `newest` if that comes first.
    #[must_use]
    pub fn first_within(&self, lag_max: u64, newest: u64) -> u64 {
        self.boundary_from(self.head().saturating_sub(lag_max).max(self.tail).min(newest))
    }

    /// Where the last frame begins that begins before `offset`; `offset` if there is none.
    #[must_use]
    pub fn newest_before(&self, offset: u64) -> u64 {
        self.frames_before(offset).checked_sub(1).map_or(offset, |last| self.frames[last])
    }

    /// The cursor moved forward to `offset`, where a frame begins or the log ends, and how many frames it passed over.
    /// It stays where it is if that is further. The cursor must stand between two frames.
    #[must_use]
    pub fn skip_to(&self, cursor: Cursor, offset: u64) -> (Cursor, u64) {
        assert!(!cursor.is_inside_frame(), "a started frame is finished first");
        let offset = offset.max(cursor.offset);
        let missed = self.frames_before(offset) - self.frames_before(cursor.offset);
        (Cursor::at(offset), missed as u64)
    }

    /// Drops the frames that end before `offset`, which must be a cursor's.
    pub fn trim(&mut self, offset: u64) {
        assert!(self.tail <= offset && offset <= self.head(), "only what is kept can be trimmed");
        // A cursor may stand inside a frame: that frame is kept whole, so that `frames` begins at `tail`.
        let frames_behind = self.frames.partition_point(|&start| start <= offset);
        let keep_from = match self.frames.get(frames_behind.wrapping_sub(1)) {
            Some(&start) if offset < self.head() => start,
            _ => offset,
        };
        self.frames.drain(..self.frames.partition_point(|&start| start < keep_from));
        self.start += (keep_from - self.tail) as usize;
        self.tail = keep_from;
        self.release();
        self.debug_assert_invariants();
    }

    /// Frees trimmed room: a large buffer when nothing is kept, else once the trimmed part is half of the buffer, so that
    /// each byte is moved once on average.
    fn release(&mut self) {
        if self.is_empty() {
            self.lone = None;
            self.bytes.clear();
            self.start = 0;
            if self.bytes.capacity() > DRAINED_CAPACITY_MAX {
                self.bytes = Vec::new();
                self.frames = VecDeque::new();
            }
        } else if self.lone.is_none() && self.start > self.len() {
            self.bytes.drain(..self.start);
            self.start = 0;
            self.bytes.shrink_to(2 * self.bytes.len());
        }
    }

    fn all(&self) -> &[u8] {
        self.lone.as_deref().unwrap_or(&self.bytes)
    }

    fn frames_before(&self, offset: u64) -> usize {
        self.frames.partition_point(|&start| start < offset)
    }

    /// The first offset at or after `offset` where a frame begins or the log ends.
    fn boundary_from(&self, offset: u64) -> u64 {
        if offset == self.head() {
            return offset;
        }
        self.frames.get(self.frames_before(offset)).copied().unwrap_or(self.head())
    }

    fn position(&self, offset: u64) -> usize {
        assert!(offset >= self.tail, "what a cursor has yet to read is kept");
        self.start + (offset - self.tail) as usize
    }

    fn debug_assert_invariants(&self) {
        debug_assert!(self.start <= self.all().len());
        debug_assert!(self.lone.is_none() || self.bytes.is_empty() && self.frames.len() == 1);
        debug_assert_eq!(self.frames.is_empty(), self.is_empty());
        debug_assert!(self.frames.front().is_none_or(|&first| first == self.tail));
        debug_assert!(self.frames.back().is_none_or(|&last| last < self.head()));
    }
}

impl Cursor {
    /// A cursor between two frames.
    pub(super) fn at(offset: u64) -> Self {
        Self { offset, frame_end: offset }
    }

    /// The offset of the next byte to read.
    #[must_use]
    pub fn offset(self) -> u64 {
        self.offset
    }

    /// Whether a part of a frame has been read and the rest has not.
    #[must_use]
    pub fn is_inside_frame(self) -> bool {
        self.offset < self.frame_end
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn log_of(frames: &[&[u8]]) -> Log {
        let mut log = Log::default();
        for frame in frames {
            log.append(|out| out.extend_from_slice(frame));
        }
        log
    }

    fn start() -> Cursor {
        Cursor::default()
    }

    fn skip_oldest(log: &Log, cursor: Cursor, lag_max: u64) -> (Cursor, u64) {
        log.skip_to(cursor, log.first_within(lag_max, log.newest_before(log.head())))
    }

    fn skip_to_newest(log: &Log, cursor: Cursor) -> (Cursor, u64) {
        log.skip_to(cursor, log.newest_before(log.head()))
    }

    #[test]
    fn what_is_appended_is_read_in_one_run() {
        let log = log_of(&[b"one", b"two", b"three"]);
        assert_eq!(log.unread(start()), b"onetwothree");
        assert_eq!(log.lag(start()), 11);
        assert_eq!(log.unread(log.cursor_at_head()), b"");
        assert_eq!(log.lag(log.cursor_at_head()), 0);
    }

    #[test]
    fn a_cursor_between_frames_has_no_started_frame() {
        let log = log_of(&[b"one", b"two"]);
        for len in [0, 3, 6] {
            let cursor = log.advance(start(), len);
            assert!(!cursor.is_inside_frame(), "{len}");
            assert_eq!(log.started(cursor), b"");
        }
    }

    #[test]
    fn the_started_frame_of_a_cursor_inside_it_is_the_rest() {
        let log = log_of(&[b"one", b"three"]);
        assert_eq!(log.started(log.advance(start(), 1)), b"ne");
        assert_eq!(log.started(log.advance(start(), 2)), b"e");
        assert_eq!(log.started(log.advance(start(), 4)), b"hree");
    }

    #[test]
    fn the_started_frame_stays_the_same_when_more_is_appended() {
        let mut log = log_of(&[b"three"]);
        let cursor = log.advance(start(), 2);
        log.append(|out| out.extend_from_slice(b"four"));
        assert_eq!(log.started(cursor), b"ree");
        assert_eq!(log.unread(cursor), b"reefour");
    }

    #[test]
    fn skipping_the_oldest_keeps_the_newest_whole_frames_that_fit() {
        let log = log_of(&[b"aaaa", b"bbbb", b"cccc"]);
        for (lag_max, left, missed) in [
            (12, &b"aaaabbbbcccc"[..], 0),
            (11, b"bbbbcccc", 1),
            (8, b"bbbbcccc", 1),
            (7, b"cccc", 2),
            (3, b"cccc", 2),
        ] {
            let (cursor, count) = skip_oldest(&log, start(), lag_max);
            assert_eq!((log.unread(cursor), count), (left, missed), "lag_max {lag_max}");
            assert!(!cursor.is_inside_frame());
        }
    }

    #[test]
    fn a_reader_with_one_frame_to_read_is_not_lagged_however_long_it_is() {
        let log = log_of(&[b"aaaa", b"bbbb"]);
        assert!(log.is_lagged(start(), 7));
        assert!(!log.is_lagged(start(), 8));
        assert!(log.is_lagged(log.advance(start(), 1), 4), "the rest of one and another");
        assert!(!log.is_lagged(log.advance(start(), 4), 1));
        assert!(!log.is_lagged(log.advance(start(), 5), 1));
        assert!(!log.is_lagged(log.cursor_at_head(), 0));
    }

    #[test]
    fn skipping_never_goes_back() {
        let log = log_of(&[b"aaaa", b"bbbb"]);
        let cursor = log.advance(start(), 4);
        assert_eq!(skip_oldest(&log, cursor, 100), (cursor, 0));
        let at_head = log.cursor_at_head();
        assert_eq!(skip_to_newest(&log, at_head), (at_head, 0));
    }

    #[test]
    fn skipping_to_the_newest_leaves_the_last_frame() {
        let log = log_of(&[b"aaaa", b"bbbb", b"cccc"]);
        let (cursor, missed) = skip_to_newest(&log, start());
        assert_eq!((log.unread(cursor), missed), (&b"cccc"[..], 2));
    }

    #[test]
    #[should_panic(expected = "a started frame is finished first")]
    fn a_cursor_inside_a_frame_cannot_skip() {
        let log = log_of(&[b"aaaa", b"bbbb"]);
        let _ = skip_to_newest(&log, log.advance(start(), 1));
    }

    #[test]
    fn trimming_keeps_what_the_slowest_cursor_has_before_it() {
        let mut log = log_of(&[b"aaaa", b"bbbb", b"cccc"]);
        let slowest = log.advance(start(), 4);
        log.trim(slowest.offset());
        assert_eq!((log.tail(), log.len()), (4, 8));
        assert_eq!(log.unread(slowest), b"bbbbcccc");
    }

    #[test]
    fn trimming_inside_a_frame_keeps_that_frame() {
        let mut log = log_of(&[b"aaaa", b"bbbb"]);
        let slowest = log.advance(start(), 5);
        log.trim(slowest.offset());
        assert_eq!((log.tail(), log.started(slowest)), (4, &b"bbb"[..]));
        log.trim(slowest.offset());
        assert_eq!(log.tail(), 4);
    }

    #[test]
    fn trimming_everything_gives_a_large_buffer_back() {
        let mut log = log_of(&[&[b'x'; 100_000]]);
        log.trim(log.head());
        assert!(log.is_empty());
        assert_eq!(log.bytes.capacity(), 0);
        assert_eq!(log.tail(), 100_000);
    }

    #[test]
    fn a_small_drained_buffer_is_used_again() {
        let mut log = log_of(&[b"tick"]);
        log.trim(log.head());
        assert!(log.bytes.capacity() >= 4);
        log.append(|out| out.extend_from_slice(b"tock"));
        assert_eq!(log.unread(Cursor { offset: 4, frame_end: 4 }), b"tock");
    }

    #[test]
    fn the_buffer_of_a_log_that_is_trimmed_as_it_grows_stays_small() {
        let mut log = Log::default();
        let mut cursor = log.cursor_at_head();
        for _ in 0..10_000 {
            log.append(|out| out.extend_from_slice(&[b'x'; 100]));
            if log.lag(cursor) > 1_000 {
                cursor = log.advance(cursor, 500);
            }
            log.trim(cursor.offset());
        }
        assert!(log.bytes.capacity() < 8_000, "{}", log.bytes.capacity());
    }

    #[test]
    fn a_lone_frame_is_read_where_it_is_shared_and_is_copied_when_another_comes() {
        let mut log = log_of(&[b"tick"]);
        log.trim(4);
        let frame = Bytes::from(vec![b'x'; 10]);
        log.append_shared(&frame);
        let cursor = Cursor { offset: 4, frame_end: 4 };
        assert_eq!(log.unread(cursor).as_ptr(), frame.as_ptr());
        let cursor = log.advance(cursor, 7);
        assert_eq!((log.started(cursor), log.lag(cursor)), (&b"xxx"[..], 3));
        log.trim(cursor.offset());
        assert_eq!((log.tail(), log.len()), (4, 10), "a started frame is kept whole");
        log.append(|out| out.extend_from_slice(b"tock"));
        assert_eq!((log.unread(cursor), log.started(cursor)), (&b"xxxtock"[..], &b"xxx"[..]));
        log.append_shared(&frame);
        assert_eq!((log.unread_frames(cursor), log.lag(cursor)), (2, 17));
        log.trim(log.head());
        assert!(log.is_empty());
        assert!(frame.is_unique(), "nothing is shared any more");
    }

    #[test]
    fn a_frame_of_no_bytes_is_no_frame() {
        let mut log = log_of(&[b"a", b"", b"b"]);
        assert_eq!(skip_to_newest(&log, start()).1, 1);
        log.trim(2);
        assert!(log.is_empty());
    }
}
