//! Frames of a log that one of its readers steps over, because their publication excludes it.
//!
//! Only readers that have not come to such a frame are listed here; a reader that stands at the frame when it is
//! appended moves past it at once. Bytes and cursors are `log`'s.

use std::collections::{BTreeMap, VecDeque};
use std::ops::Range;

/// The frames that readers have yet to step over, by slot.
///
/// Invariant: each frame of the log is listed at most once, since a publication excludes one reader. A listed frame
/// begins after its reader's cursor, so it is never trimmed before it is removed here.
#[derive(Debug, Default)]
pub struct Exclusions {
    readers: BTreeMap<u32, Excluded>,
}

/// The frames that one reader has yet to step over.
///
/// Invariants: `frames` ascends and does not overlap; `len` is the number of bytes in it.
#[derive(Debug, Default)]
pub struct Excluded {
    frames: VecDeque<Range<u64>>,
    len: u64,
}

impl Exclusions {
    /// Adds the newest frame of the log to those that the reader steps over.
    pub fn push(&mut self, slot: u32, frame: Range<u64>) {
        let excluded = self.readers.entry(slot).or_default();
        debug_assert!(excluded.frames.back().is_none_or(|before| before.end <= frame.start));
        excluded.len += frame.end - frame.start;
        excluded.frames.push_back(frame);
    }

    /// What the reader has yet to step over.
    pub fn get(&self, slot: u32) -> Option<&Excluded> {
        self.readers.get(&slot)
    }

    /// Removes the frames that begin before `offset`, and those that follow it without a gap: the offset after them,
    /// from which the reader goes on.
    pub fn step_over(&mut self, slot: u32, offset: u64) -> u64 {
        let Some(excluded) = self.readers.get_mut(&slot) else { return offset };
        let mut after = offset;
        while let Some(frame) = excluded.frames.front()
            && frame.start <= after
        {
            after = after.max(frame.end);
            excluded.len -= frame.end - frame.start;
            excluded.frames.pop_front();
        }
        if excluded.frames.is_empty() {
            self.readers.remove(&slot);
        }
        after
    }

    /// Forgets a reader that leaves.
    pub fn remove(&mut self, slot: u32) {
        self.readers.remove(&slot);
    }

    /// Whether no reader has a frame to step over.
    pub fn is_empty(&self) -> bool {
        self.readers.is_empty()
    }
}

impl Excluded {
    /// The offset at which the first of the frames begins.
    pub fn next_start(&self) -> Option<u64> {
        self.frames.front().map(|frame| frame.start)
    }

    /// The frames, in the order of the log.
    pub fn frames(&self) -> impl DoubleEndedIterator<Item = &Range<u64>> {
        self.frames.iter()
    }

    /// How many frames.
    pub fn count(&self) -> u64 {
        self.frames.len() as u64
    }

    /// How many of them begin before `offset`.
    pub fn count_before(&self, offset: u64) -> u64 {
        self.frames.partition_point(|frame| frame.start < offset) as u64
    }

    /// Whether one of them begins at `start`.
    pub fn has(&self, start: u64) -> bool {
        self.frames.binary_search_by_key(&start, |frame| frame.start).is_ok()
    }

    /// How many bytes they have together.
    pub fn len(&self) -> u64 {
        self.len
    }

    /// Where the frames at the end of the log begin that are all excluded; `head` if the last one is not.
    pub fn trailing_start(&self, head: u64) -> u64 {
        self.frames
            .iter()
            .rev()
            .fold(head, |start, frame| if frame.end == start { frame.start } else { start })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reader_steps_over_adjoining_frames_at_once() {
        let mut exclusions = Exclusions::default();
        for frame in [3..5, 5..9, 12..13] {
            exclusions.push(7, frame);
        }
        assert_eq!(exclusions.get(7).map(|excluded| (excluded.len(), excluded.count())), Some((7, 3)));
        assert_eq!(exclusions.step_over(7, 2), 2);
        assert_eq!(exclusions.step_over(7, 3), 9);
        assert_eq!(exclusions.get(7).and_then(Excluded::next_start), Some(12));
        assert_eq!(exclusions.step_over(7, 12), 13);
        assert!(exclusions.is_empty());
    }

    #[test]
    fn a_reader_that_skips_forward_has_no_frame_to_step_over_before_its_place() {
        let mut exclusions = Exclusions::default();
        exclusions.push(7, 3..5);
        exclusions.push(8, 5..6);
        assert_eq!(exclusions.step_over(7, 20), 20);
        assert!(exclusions.get(7).is_none());
        assert_eq!(exclusions.get(8).and_then(Excluded::next_start), Some(5));
    }

    #[test]
    fn frames_at_the_end_of_the_log_are_told_from_those_before() {
        let mut exclusions = Exclusions::default();
        for frame in [3..5, 9..10, 10..12] {
            exclusions.push(7, frame);
        }
        let excluded = exclusions.get(7).unwrap();
        assert_eq!((excluded.trailing_start(12), excluded.trailing_start(13)), (9, 13));
        assert_eq!((excluded.count_before(9), excluded.count_before(10)), (1, 2));
    }
}
