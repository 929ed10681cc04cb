//! The readers of one log: stored without holes for a walk, and found by a slot number that stays the same while others
//! join and leave.
//!
//! What a reader has yet to read is not known here.

use super::{Cursor, growth};

/// A slot without a reader has this bit; the others are those of the next free slot.
const FREE: u32 = 1 << 31;

/// A reader with this bit in its slot has frames of the log to step over.
const STEPS_OVER: u32 = 1 << 31;

/// The end of the list of free slots.
const NO_SLOT: u32 = FREE - 1;

/// The lists of readers grow by this many places at least.
const GROWTH_MIN: usize = 4;

/// A subscriber's place in a log.
#[derive(Debug)]
pub struct Reader {
    pub owner: u64,
    pub cursor: Cursor,
    /// Where the owner keeps the subscription, if it has said so: [`Hub::hint`](super::Hub::hint).
    pub hint: u32,
    /// The slot, and [`STEPS_OVER`].
    slot: u32,
}

impl Reader {
    /// Whether frames after the cursor exclude this reader. A bit of the reader answers, so that readers without such
    /// frames are not looked up anywhere.
    pub fn steps_over(&self) -> bool {
        self.slot & STEPS_OVER != 0
    }

    /// Notes whether frames after the cursor exclude this reader.
    pub fn set_steps_over(&mut self, steps_over: bool) {
        self.slot = if steps_over { self.slot | STEPS_OVER } else { self.slot() };
    }

    pub fn slot(&self) -> u32 {
        self.slot & !STEPS_OVER
    }
}

/// Readers in a row, and where in it each is by its slot.
///
/// ```text
///  slots  | 2 | free | 0 | 1 |         a slot is a reader's for as long as it reads
///           |          |   |
///  row    | C | D | A |                the last reader takes the place of one that leaves
///           0   1   2
/// ```
///
/// Invariant: `slots[row[place].slot()] == place` for every place. A walk is O(readers), whatever their number was at a
/// peak; the row shrinks after one. A slot's 4 bytes are kept until the last reader has left.
#[derive(Debug)]
pub struct Readers {
    row: Vec<Reader>,
    slots: Vec<u32>,
    free: u32,
}

impl Default for Readers {
    fn default() -> Self {
        Self { row: Vec::new(), slots: Vec::new(), free: NO_SLOT }
    }
}

impl Readers {
    /// Adds a reader at the end of the row: its slot, which is valid until the reader is removed.
    pub fn insert(&mut self, owner: u64, cursor: Cursor) -> u32 {
        let place = self.row.len() as u32;
        let slot = match self.free {
            NO_SLOT => {
                self.slots.reserve_exact(growth(self.slots.len(), self.slots.capacity(), GROWTH_MIN));
                self.slots.push(place);
                self.slots.len() as u32 - 1
            }
            slot => {
                self.free = std::mem::replace(&mut self.slots[slot as usize], place) & !FREE;
                slot
            }
        };
        self.row.reserve_exact(growth(self.row.len(), self.row.capacity(), GROWTH_MIN));
        self.row.push(Reader { owner, cursor, hint: 0, slot });
        slot
    }

    /// Removes a reader; the last one of the row takes its place.
    pub fn remove(&mut self, slot: u32) -> Reader {
        let place = self.slots[slot as usize] as usize;
        let reader = self.row.swap_remove(place);
        if let Some(moved) = self.row.get(place) {
            self.slots[moved.slot() as usize] = place as u32;
        }
        self.slots[slot as usize] = self.free | FREE;
        self.free = slot;
        if self.row.len() < self.row.capacity() / 4 {
            self.row.shrink_to(self.row.len() * 2);
        }
        reader
    }

    /// The reader of a slot.
    pub fn get(&self, slot: u32) -> &Reader {
        &self.row[self.slots[slot as usize] as usize]
    }

    /// The reader of a slot.
    pub fn get_mut(&mut self, slot: u32) -> &mut Reader {
        &mut self.row[self.slots[slot as usize] as usize]
    }

    /// The reader at a place of the row, and its slot.
    pub fn at(&self, place: usize) -> Option<(u32, &Reader)> {
        self.row.get(place).map(|reader| (reader.slot(), reader))
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.row.len()
    }

    /// The bytes that the row and the slots take.
    #[cfg(test)]
    pub fn held_len(&self) -> usize {
        self.row.capacity() * size_of::<Reader>() + self.slots.capacity() * size_of::<u32>()
    }

    /// All of them.
    pub fn iter(&self) -> impl Iterator<Item = &Reader> {
        self.row.iter()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hub::Log;

    fn of(owners: std::ops::Range<u64>) -> (Readers, Vec<u32>) {
        let (mut readers, cursor) = (Readers::default(), Log::default().cursor_at_head());
        let slots = owners.map(|owner| readers.insert(owner, cursor)).collect();
        (readers, slots)
    }

    fn owners(readers: &Readers) -> Vec<u64> {
        readers.iter().map(|reader| reader.owner).collect()
    }

    #[test]
    fn a_slot_stays_its_readers_while_others_leave_and_is_used_again() {
        let (mut readers, slots) = of(0..4);
        assert_eq!(readers.remove(slots[1]).owner, 1);
        assert_eq!(owners(&readers), [0, 3, 2]);
        assert_eq!([slots[0], slots[2], slots[3]].map(|slot| readers.get(slot).owner), [0, 2, 3]);
        readers.remove(slots[0]);
        let cursor = readers.get(slots[2]).cursor;
        assert_eq!((readers.insert(4, cursor), readers.insert(5, cursor)), (slots[0], slots[1]));
        assert_eq!(readers.insert(6, cursor), 4);
        assert_eq!((readers.get(slots[0]).owner, readers.get(slots[1]).owner), (4, 5));
    }

    #[test]
    #[should_panic(expected = "index out of bounds")]
    fn a_slot_whose_reader_has_left_has_none() {
        let (mut readers, slots) = of(0..2);
        readers.remove(slots[0]);
        let _ = readers.get(slots[0]);
    }

    #[test]
    fn after_a_peak_the_row_is_as_long_as_there_are_readers() {
        let (mut readers, slots) = of(0..100_000);
        for slot in &slots[10..] {
            readers.remove(*slot);
        }
        assert_eq!((readers.len(), readers.iter().count(), readers.at(10).is_none()), (10, 10, true));
        assert!(readers.row.capacity() <= 40, "{}", readers.row.capacity());
    }

    #[test]
    fn a_reader_costs_a_few_words() {
        assert!(size_of::<Reader>() <= 32, "{}", size_of::<Reader>());
    }
}
