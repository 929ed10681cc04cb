//! Which publication the readers of a log are after, where its frames alone do not say: some frames are notices, and after a
//! gap the numbers go on elsewhere.
//!
//! Bytes and cursors are `log`'s; who reads is `readers`'.

use std::collections::VecDeque;

use super::gap::Gap;
use super::{Cursor, Log, PublicationId};

/// The newest publication of a log, from which positions are counted back, a frame for each.
///
/// ```text
///   frames    | 7 | 8 | gap | 41 | notice | 42 |
///   before            8            41             what a mark keeps
///               ^   ^                  ^       ^
///   positions   6   7                  41      42 = newest
/// ```
///
/// A mark is kept where counting does not work, for as long as a reader is before it; a log of publications without a hole has
/// none, and counting costs a test of a pointer.
///
/// Invariant: marks ascend by where they begin, and of those that begin at one place only the last is a frame.
#[derive(Debug, Default)]
pub struct Positions {
    newest: Option<PublicationId>,
    #[expect(
        clippy::box_collection,
        reason = "nearly every log has none, and there is one for each form of each channel"
    )]
    marks: Option<Box<VecDeque<Mark>>>,
}

#[derive(Debug)]
struct Mark {
    /// Where its frame begins; where the next one will, if it has none.
    start: u64,
    /// The newest publication before it, if that is known.
    before: Option<PublicationId>,
    what: What,
}

/// What a mark stands for.
#[derive(Debug)]
enum What {
    /// No frame: the numbers went on without one.
    Jump,
    /// The frame of a publication whose number is not the next.
    Publication,
    /// The frame of something that has no number.
    Notice,
    /// The frame of a gap.
    Gap(Box<Lost>),
}

/// Publications that never came, and the one after which the channel goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lost {
    /// How many.
    pub gap: Gap,
    /// The last of them: the next publication is the one after it.
    pub since: PublicationId,
}

/// What is appended to a log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Says {
    /// A publication, with its identifier if it has one.
    Publication(Option<PublicationId>),
    /// Something that is no publication: no reader is at another position after it.
    Notice,
    /// Publications were lost. A reader that has read this is after `since`.
    Gap(Lost),
}

impl Default for Says {
    fn default() -> Self {
        Self::Publication(None)
    }
}

/// What a long poll is answered with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Run {
    /// What was lost before the frames.
    pub gap: Option<Gap>,
    /// Where the frames begin, and where they end: at the next gap or the end of the log.
    pub frames: std::ops::Range<u64>,
    /// The publication that a reader of these is after.
    pub next: Option<PublicationId>,
}

impl Mark {
    /// Whether it is yet to be read by a reader that has read everything before `offset`, and has not begun what follows.
    fn is_after(&self, offset: u64) -> bool {
        match self.what {
            What::Jump => self.start > offset,
            What::Publication | What::Notice | What::Gap(_) => self.start >= offset,
        }
    }

    fn is_notice(&self) -> bool {
        match self.what {
            What::Jump | What::Publication => false,
            What::Notice | What::Gap(_) => true,
        }
    }

    fn lost(&self) -> Option<Lost> {
        match &self.what {
            What::Gap(lost) => Some(**lost),
            What::Jump | What::Publication | What::Notice => None,
        }
    }
}

impl Lost {
    /// This and what was lost after it.
    #[must_use]
    pub fn and(self, later: Self) -> Self {
        let both = self.gap.missed.zip(later.gap.missed);
        Self { gap: Gap { missed: both.map(|(one, other)| one.saturating_add(other)) }, since: later.since }
    }
}

impl Positions {
    /// The newest publication that was appended or is known otherwise.
    pub fn newest(&self) -> Option<PublicationId> {
        self.newest
    }

    /// Notes what was appended to the log: the frame that begins at `start`, or none if that is the head. `is_read`: no reader
    /// has anything to read but that frame.
    pub fn note(&mut self, says: Says, start: u64, log: &Log, is_read: bool) {
        let newest = match says {
            Says::Publication(id) => id.or(self.newest),
            Says::Notice => self.newest,
            Says::Gap(lost) => Some(lost.since),
        };
        let before = std::mem::replace(&mut self.newest, newest);
        if start == log.head() {
            if !is_read && before.is_some() && before != newest {
                self.mark(Mark { start, before, what: What::Jump });
            }
            return;
        }
        let what = match says {
            Says::Publication(_) if is_next(before, newest) => return,
            Says::Publication(_) => What::Publication,
            Says::Notice => What::Notice,
            Says::Gap(lost) => What::Gap(Box::new(lost)),
        };
        self.mark(Mark { start, before, what });
    }

    /// Notes the newest publication, all up to which have been appended. `is_read`: no reader has anything to read.
    pub fn note_newest(&mut self, newest: PublicationId, log: &Log, is_read: bool) {
        match self.newest {
            // What was appended before anybody counted is counted back from this.
            None => self.newest = Some(newest),
            Some(_) => self.note(Says::Publication(Some(newest)), log.head(), log, is_read),
        }
    }

    /// The last publication that is behind a cursor: that it has read or begun, skipped, or found when it was made.
    pub fn of(&self, cursor: Cursor, log: &Log) -> Option<PublicationId> {
        let offset = cursor.offset();
        let (newest, end) = match self.from(offset).next() {
            Some(mark) => (mark.before, mark.start),
            None => (self.newest, log.head()),
        };
        let PublicationId { epoch, sequence } = newest?;
        let unread = log.frames_between(offset, end);
        Some(PublicationId { epoch, sequence: sequence.saturating_sub(unread) })
    }

    /// How many of the frames that begin in a range are no publications.
    pub fn notices(&self, from: u64, to: u64) -> u64 {
        self.notices_in(from, to).count() as u64
    }

    /// The bytes of the frames that begin in a range and are no publications.
    pub fn notices_len(&self, from: u64, to: u64, log: &Log) -> u64 {
        self.notices_in(from, to).map(|mark| log.frame_end(mark.start) - mark.start).sum()
    }

    /// Whether the frame that begins there is no publication.
    pub fn is_notice(&self, start: u64) -> bool {
        self.notices_in(start, start + 1).next().is_some()
    }

    /// What was lost by the gaps whose frames begin in a range.
    pub fn lost(&self, from: u64, to: u64) -> Option<Lost> {
        self.notices_in(from, to).filter_map(Mark::lost).reduce(Lost::and)
    }

    /// What follows a cursor, up to the next gap; with those gaps that come first.
    pub fn run(&self, cursor: Cursor, log: &Log) -> Run {
        let (mut start, mut lost) = (cursor.offset(), None::<Lost>);
        for mark in self.from(start) {
            let Some(found) = mark.lost() else { continue };
            if mark.start > start {
                return Run { gap: lost.map(|lost| lost.gap), frames: start..mark.start, next: mark.before };
            }
            start = log.frame_end(start);
            lost = Some(lost.map_or(found, |lost| lost.and(found)));
        }
        Run { gap: lost.map(|lost| lost.gap), frames: start..log.head(), next: self.newest }
    }

    /// Forgets the marks that no reader is before: the log begins at `tail`.
    pub fn trim(&mut self, tail: u64) {
        let Some(marks) = &mut self.marks else { return };
        while marks.front().is_some_and(|mark| !mark.is_after(tail)) {
            marks.pop_front();
        }
        if marks.is_empty() {
            self.marks = None;
        }
    }

    /// Whether counting works everywhere.
    pub fn is_plain(&self) -> bool {
        self.marks.is_none()
    }

    fn mark(&mut self, mark: Mark) {
        let marks = self.marks.get_or_insert_default();
        debug_assert!(marks.back().is_none_or(|last| last.start <= mark.start));
        // A reader that is before this jump is before that one too, and is counted from there.
        let is_covered = matches!(mark.what, What::Jump)
            && marks.back().is_some_and(|last| matches!(last.what, What::Jump) && last.start == mark.start);
        if !is_covered {
            marks.push_back(mark);
        }
    }

    /// The marks that are yet to be read from an offset on.
    fn from(&self, offset: u64) -> impl Iterator<Item = &Mark> {
        let marks = self.marks.as_deref();
        let first = marks.map_or(0, |marks| marks.partition_point(|mark| !mark.is_after(offset)));
        marks.into_iter().flat_map(move |marks| marks.range(first..))
    }

    fn notices_in(&self, from: u64, to: u64) -> impl Iterator<Item = &Mark> {
        self.from(from).take_while(move |mark| mark.start < to).filter(|mark| mark.is_notice())
    }
}

/// Whether a frame for each publication tells `before` from `newest`. Before the first number, nothing else is known.
fn is_next(before: Option<PublicationId>, newest: Option<PublicationId>) -> bool {
    match (before, newest) {
        (Some(before), Some(newest)) => {
            before.epoch == newest.epoch && before.sequence.checked_add(1) == Some(newest.sequence)
        }
        (None, _) | (_, None) => true,
    }
}

#[cfg(test)]
#[path = "positions_tests.rs"]
mod tests;
