//! A log together with its readers: what each may read next, and how it moves forward.
//!
//! Which channel and form the log belongs to, and what is done with the counts, is `registry`'s.

use bytes::Bytes;

use super::exclusions::{Excluded, Exclusions};
use super::positions::{Lost, Positions, Says};
use super::readers::{Reader, Readers};
use super::{Cursor, Gap, Log, PublicationId};

/// A log and its readers.
///
/// A reader that a publication excludes steps over its frame: at once if the reader is at the head of the log, otherwise
/// when it gets there. Until then, what it reads is cut in runs.
///
/// ```text
///   log      | frame | frame | excluded | frame | excluded |
///            ^                                             ^
///   reader   cursor                                        head
///   runs     |<---- 0 ------>|          |<- 1 ->|             after run 1 the reader has caught up
/// ```
///
/// Invariants: `unread_by` is the number of readers that are not at the head; the log is empty when it is 0. A reader that
/// is not at the head stands in or before a frame that does not exclude it.
#[derive(Debug, Default)]
pub struct Feed {
    pub log: Log,
    readers: Readers,
    exclusions: Exclusions,
    unread_by: usize,
    positions: Positions,
    pub is_dirty: bool,
    /// The length under which the log is listed in `longest`.
    pub listed: usize,
}

impl Feed {
    /// Adds a reader at the head: its slot.
    pub fn join(&mut self, owner: u64) -> u32 {
        self.readers.insert(owner, self.log.cursor_at_head())
    }

    /// Removes a reader. What it alone had not read is trimmed.
    pub fn leave(&mut self, slot: u32) {
        let reader = self.readers.remove(slot);
        if reader.steps_over() {
            self.exclusions.remove(slot);
        }
        if self.log.lag(reader.cursor) > 0 {
            self.caught_up();
        }
    }

    /// Appends a frame, the `shared` one or what `encode` makes: how many readers get it. One that is excluded steps over
    /// it. Nothing is encoded if nobody else reads the log.
    pub fn append(
        &mut self,
        says: Says,
        excluded: Option<u32>,
        shared: Option<&Bytes>,
        encode: impl FnOnce(&mut Vec<u8>),
    ) -> usize {
        let receivers = self.readers.len() - usize::from(excluded.is_some());
        let start = self.log.head();
        if receivers > 0 {
            match shared {
                Some(frame) => self.log.append_shared(frame),
                None => self.log.append(encode),
            }
        }
        self.positions.note(says, start, &self.log, self.unread_by == 0);
        // A form that cannot express it has nothing new to read.
        if self.log.head() == start {
            return 0;
        }
        self.unread_by = self.readers.len();
        if let Some(slot) = excluded {
            self.exclude(slot, start);
        }
        receivers
    }

    /// How many readers there are.
    pub fn readers_len(&self) -> usize {
        self.readers.len()
    }

    /// The bytes that they take.
    #[cfg(test)]
    pub fn readers_held_len(&self) -> usize {
        self.readers.held_len()
    }

    /// The reader at a place of the row, and its slot.
    pub fn reader_at(&self, place: usize) -> Option<(u32, &Reader)> {
        self.readers.at(place)
    }

    /// The slot of an owner's reader. O(readers).
    pub fn slot_of(&self, owner: u64) -> Option<u32> {
        self.readers.iter().find(|reader| reader.owner == owner).map(Reader::slot)
    }

    /// What the owner has last said with [`Feed::set_hint`].
    pub fn hint(&self, slot: u32) -> u32 {
        self.readers.get(slot).hint
    }

    /// Keeps a number for the owner.
    pub fn set_hint(&mut self, slot: u32, hint: u32) {
        self.readers.get_mut(slot).hint = hint;
    }

    /// The bytes up to the end of the log, or to the first frame that the reader steps over.
    pub fn unread(&self, slot: u32) -> &[u8] {
        let reader = self.readers.get(slot);
        match self.excluded(slot, reader).and_then(Excluded::next_start) {
            None => self.log.unread(reader.cursor),
            Some(end) => self.log.bytes(reader.cursor.offset()..end),
        }
    }

    /// All that the reader has yet to read, if that is one run: it has no frames to step over.
    pub fn unread_whole(&self, slot: u32) -> Option<&[u8]> {
        let reader = self.readers.get(slot);
        (!reader.steps_over()).then(|| self.log.unread(reader.cursor))
    }

    /// All that the reader has yet to read, in runs between the frames that it steps over. No run is empty.
    pub fn unread_runs(&self, slot: u32) -> impl Iterator<Item = &[u8]> {
        let reader = self.readers.get(slot);
        let excluded = || self.excluded(slot, reader).into_iter().flat_map(Excluded::frames);
        let starts = std::iter::once(reader.cursor.offset()).chain(excluded().map(|frame| frame.end));
        let ends = excluded().map(|frame| frame.start).chain([self.log.head()]);
        let runs = starts.zip(ends).filter(|(start, end)| start < end);
        runs.map(|(start, end)| self.log.bytes(start..end))
    }

    /// The rest of the frame that the reader is inside of.
    pub fn started(&self, slot: u32) -> &[u8] {
        self.log.started(self.readers.get(slot).cursor)
    }

    /// How many bytes of the log lie between the reader and its head, frames that it steps over included: the log
    /// keeps those for it like the others.
    pub fn lag(&self, slot: u32) -> u64 {
        self.log.lag(self.readers.get(slot).cursor)
    }

    /// How many publications the reader has not begun and will read.
    pub fn unread_publications(&self, slot: u32) -> u64 {
        let reader = self.readers.get(slot);
        let unread =
            self.log.unread_frames(reader.cursor) - self.excluded(slot, reader).map_or(0, Excluded::count);
        if self.positions.is_plain() {
            return unread;
        }
        unread - self.positions.notices(reader.cursor.offset(), self.log.head())
    }

    /// The last publication that is behind the reader: that it has read or begun, skipped, or found when it joined.
    pub fn position(&self, slot: u32) -> Option<PublicationId> {
        self.positions.of(self.readers.get(slot).cursor, &self.log)
    }

    /// The newest publication that was appended or, if none was, that was there before; `None` if nobody has said.
    pub fn newest(&self) -> Option<PublicationId> {
        self.positions.newest()
    }

    /// Says which publication is the newest, all earlier ones having been appended.
    pub fn note_newest(&mut self, newest: PublicationId) {
        self.positions.note_newest(newest, &self.log, self.unread_by == 0);
    }

    /// What the reader reads next up to a gap that is not the first thing; with that which is lost before it, and the
    /// publication that it is after then. For readers that no publication excludes.
    pub fn unread_to_gap(&self, slot: u32) -> (Option<Gap>, &[u8], Option<PublicationId>) {
        let reader = self.readers.get(slot);
        debug_assert!(!reader.steps_over(), "no publication excludes it");
        let run = self.positions.run(reader.cursor, &self.log);
        (run.gap, self.log.bytes(run.frames), run.next)
    }

    /// How many of the bytes before the reader are no publications that it will read: frames that it steps over, and notices.
    pub fn other_len(&self, slot: u32) -> u64 {
        let excluded_len = self.excluded_len(slot);
        if self.positions.is_plain() {
            return excluded_len;
        }
        let offset = self.readers.get(slot).cursor.offset();
        excluded_len + self.positions.notices_len(offset, self.log.head(), &self.log)
    }

    /// How many bytes the reader has to step over.
    pub fn excluded_len(&self, slot: u32) -> u64 {
        self.excluded(slot, self.readers.get(slot)).map_or(0, Excluded::len)
    }

    /// Moves the reader forward by `len` bytes that it has read, and over the frames between and after them that
    /// exclude it. Whether it has more to read.
    pub fn advance(&mut self, slot: u32, len: usize) -> bool {
        let reader = self.readers.get_mut(slot);
        if reader.steps_over() {
            return self.advance_over(slot, len);
        }
        let from = reader.cursor;
        reader.cursor = self.log.advance(from, len);
        let has_more = self.log.lag(reader.cursor) > 0;
        if !has_more && self.log.lag(from) > 0 {
            self.caught_up();
        }
        has_more
    }

    /// As [`Feed::advance`], by as much as the reader has to read, but `len_max` bytes at most: how many, and whether it has
    /// more to read.
    pub fn advance_within(&mut self, slot: u32, len_max: usize) -> (usize, bool) {
        let reader = self.readers.get_mut(slot);
        let lag = self.log.lag(reader.cursor) as usize;
        if reader.steps_over() {
            let len = len_max.min(lag - self.excluded_len(slot) as usize);
            return (len, self.advance(slot, len));
        }
        if len_max < lag {
            return (len_max, self.advance(slot, len_max));
        }
        reader.cursor = self.log.cursor_at_head();
        if lag > 0 {
            self.caught_up();
        }
        (lag, false)
    }

    fn advance_over(&mut self, slot: u32, mut len: usize) -> bool {
        loop {
            let reader = self.readers.get(slot);
            let cursor = reader.cursor;
            let run =
                self.excluded(slot, reader).and_then(Excluded::next_start).map(|end| end - cursor.offset());
            let step = run.map_or(len, |run| len.min(run as usize));
            let has_more = self.move_reader(slot, cursor, self.log.advance(cursor, step));
            len -= step;
            if len == 0 {
                return has_more;
            }
        }
    }

    /// Whether the reader is more than `lag_max` bytes behind the head, and that by more than one publication: a reader with
    /// only one to read is not late, however long that is. Frames that it steps over and notices make it late once they
    /// alone are more than `lag_max` bytes: else a reader that does not read, but publishes, could make the log grow for
    /// ever.
    pub fn is_lagged(&self, slot: u32, lag_max: u64) -> bool {
        let reader = self.readers.get(slot);
        if !reader.steps_over() && self.positions.is_plain() {
            return self.log.is_lagged(reader.cursor, lag_max);
        }
        let unread = || u64::from(reader.cursor.is_inside_frame()) + self.unread_publications(slot);
        self.lag(slot) > lag_max && (unread() > 1 || self.other_len(slot) > lag_max)
    }

    /// Skips the oldest frames until the reader is at most `lag_max` bytes behind the head, but not the newest publication:
    /// how many that it would have read, and what gaps it would have been told of.
    pub fn skip_oldest(&mut self, slot: u32, lag_max: u64) -> (u64, Option<Lost>) {
        let newest = self.newest_kept(slot, lag_max);
        self.skip_to(slot, self.log.first_within(lag_max, newest))
    }

    /// Skips all frames before the newest publication: how many publications that the reader would have read, and what gaps
    /// it would have been told of.
    pub fn skip_to_newest(&mut self, slot: u32, lag_max: u64) -> (u64, Option<Lost>) {
        self.skip_to(slot, self.newest_kept(slot, lag_max))
    }

    /// Trims what every reader has read. Costs a walk over the readers, unless all of them have read everything.
    pub fn trim(&mut self) {
        if self.unread_by == 0 {
            return;
        }
        let slowest = self.readers.iter().map(|reader| reader.cursor.offset()).min();
        self.trim_to(slowest.unwrap_or(self.log.head()));
    }

    fn trim_to(&mut self, offset: u64) {
        self.log.trim(offset);
        self.positions.trim(self.log.tail());
    }

    /// The frame at `start`, which is the newest, excludes the reader.
    fn exclude(&mut self, slot: u32, start: u64) {
        let reader = self.readers.get_mut(slot);
        if reader.cursor.offset() == start {
            reader.cursor = self.log.cursor_at_head();
            self.unread_by -= 1;
        } else {
            reader.set_steps_over(true);
            self.exclusions.push(slot, start..self.log.head());
        }
    }

    /// What the reader has yet to step over. Costs a test of a bit where that is nothing.
    fn excluded(&self, slot: u32, reader: &Reader) -> Option<&Excluded> {
        if reader.steps_over() { self.exclusions.get(slot) } else { None }
    }

    /// Where the newest frame begins that is not skipped: the newest publication that the reader is to read, unless more than
    /// `lag_max` bytes follow it, of frames that the reader steps over and of notices. The log would keep these for as long as
    /// the reader does not read.
    fn newest_kept(&self, slot: u32, lag_max: u64) -> u64 {
        let (head, reader) = (self.log.head(), self.readers.get(slot));
        if !self.positions.is_plain() {
            return self.newest_among_notices(slot, reader, lag_max);
        }
        let end = self.excluded(slot, reader).map_or(head, |excluded| excluded.trailing_start(head));
        if head - end > lag_max { head } else { self.log.newest_before(end) }
    }

    /// The same where some frames are notices. O(frames) that `lag_max` bytes have after the publication.
    fn newest_among_notices(&self, slot: u32, reader: &Reader, lag_max: u64) -> u64 {
        let (head, excluded) = (self.log.head(), self.excluded(slot, reader));
        let mut end = head;
        while end > reader.cursor.offset() && head - end <= lag_max {
            let start = self.log.newest_before(end);
            if !self.positions.is_notice(start) && !excluded.is_some_and(|excluded| excluded.has(start)) {
                return start;
            }
            end = start;
        }
        self.log.first_within(lag_max, head)
    }

    fn skip_to(&mut self, slot: u32, offset: u64) -> (u64, Option<Lost>) {
        let reader = self.readers.get(slot);
        let before = reader.cursor;
        let (cursor, frames) = self.log.skip_to(before, offset);
        let stepped_over =
            self.excluded(slot, reader).map_or(0, |excluded| excluded.count_before(cursor.offset()));
        let (from, to) = (before.offset(), cursor.offset());
        let missed = frames - stepped_over - self.positions.notices(from, to);
        let lost = self.positions.lost(from, to);
        self.move_reader(slot, before, cursor);
        (missed, lost)
    }

    /// Whether the reader has something to read then.
    fn move_reader(&mut self, slot: u32, from: Cursor, to: Cursor) -> bool {
        let reader = self.readers.get_mut(slot);
        reader.cursor = to;
        if reader.steps_over() && !to.is_inside_frame() {
            let offset = self.exclusions.step_over(slot, to.offset());
            reader.cursor = Cursor::at(offset);
            reader.set_steps_over(self.exclusions.get(slot).is_some());
        }
        let is_at_head = self.log.lag(reader.cursor) == 0;
        if self.log.lag(from) > 0 && is_at_head {
            self.caught_up();
        }
        !is_at_head
    }

    /// One reader less has something to read. When none has, nothing needs to be kept.
    fn caught_up(&mut self) {
        self.unread_by -= 1;
        if self.unread_by == 0 {
            debug_assert!(self.exclusions.is_empty(), "readers at the head have nothing to step over");
            self.trim_to(self.log.head());
        }
    }
}
