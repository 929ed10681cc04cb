//! How many connections each address has, and how many handshakes it has begun.
//!
//! What counts as an address is `peer`'s to say.

use std::collections::{BTreeSet, HashMap};
use std::hash::{BuildHasher, RandomState};
use std::num::NonZeroU16;
use std::sync::Mutex;

use slab::Slab;

use super::pace::{Pace, UsedUntil};
use super::too_many::TooMany;
use crate::config::Rate;
use crate::peer::Source;
use crate::server::clock::Millis;
use crate::server::lock::lock;

/// Locks, so that loops seldom wait for each other.
const SHARDS: usize = 16;

/// The most addresses that are remembered, 65,535: as many as a [`Seat`] of two bytes can tell apart. They take about 100 bytes
/// each.
const SLOTS_PER_SHARD: usize = 1 << 12;

/// How many handshakes an address may begin at once: as many as in the time of the rate.
const HANDSHAKES_BURST: u32 = 1;

/// What of a client counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Counts {
    /// It begins a handshake, and stays connected.
    Handshake,
    /// It stays connected, and has begun its handshake before.
    Stay,
}

/// What a connection holds in the count of its address: two bytes, by which it is given back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Seat(NonZeroU16);

impl Seat {
    /// That of a place in the table. There is none for the last place.
    fn new(shard: usize, slot: usize) -> Option<Self> {
        u16::try_from(shard * SLOTS_PER_SHARD + slot + 1).ok().and_then(NonZeroU16::new).map(Self)
    }

    fn place(self) -> (usize, usize) {
        let number = usize::from(self.0.get()) - 1;
        (number / SLOTS_PER_SHARD, number % SLOTS_PER_SHARD)
    }
}

/// The addresses that have connections, and those that have begun handshakes not long ago.
///
/// When it is full, the address that has had no connection for the longest time is forgotten. If all have connections, a
/// client of another address is let in and not counted: to refuse it would let 65,535 addresses keep out all others.
#[derive(Debug)]
pub struct Addresses {
    connections_max: Option<usize>,
    handshakes: Option<(Rate, Pace)>,
    /// Keyed, so that nobody can choose addresses of one shard.
    hasher: RandomState,
    shards: [Mutex<Shard>; SHARDS],
}

/// A part of the addresses.
///
/// Invariant: `slots` has each entry at the place of its source, and `idle` has those without connections.
#[derive(Debug, Default)]
struct Shard {
    slots: HashMap<Source, u16>,
    entries: Slab<Entry>,
    /// By the time of their last change.
    idle: BTreeSet<(Millis, u16)>,
}

#[derive(Debug)]
struct Entry {
    source: Source,
    connections: usize,
    handshakes_used: UsedUntil,
    changed_at: Millis,
}

impl Addresses {
    /// With these limits.
    pub fn new(connections_max: Option<usize>, handshakes: Option<Rate>) -> Self {
        let handshakes = handshakes.map(|rate| (rate, Pace::new(rate, HANDSHAKES_BURST)));
        Self { connections_max, handshakes, hasher: RandomState::new(), shards: Default::default() }
    }

    /// Lets a client in. It has a seat if connections are limited.
    ///
    /// # Errors
    /// What there are too many of. Who is refused uses up nothing.
    pub fn enter(&self, source: Source, counts: Counts, now: Millis) -> Result<Option<Seat>, TooMany> {
        let shard_index = self.hasher.hash_one(source) as usize % SHARDS;
        let mut shard = lock(&self.shards[shard_index]);
        let Some((slot, entry)) = shard.entry(shard_index, source, now) else { return Ok(None) };
        let entered = self
            .enter_as(entry, counts, now)
            .map(|has_seat| if has_seat { Seat::new(shard_index, usize::from(slot)) } else { None });
        shard.settle(slot, now);
        entered
    }

    fn enter_as(&self, entry: &mut Entry, counts: Counts, now: Millis) -> Result<bool, TooMany> {
        if let Some(max) = self.connections_max
            && entry.connections >= max
        {
            return Err(TooMany::Connections(max));
        }
        if let (Some((rate, pace)), Counts::Handshake) = (self.handshakes, counts) {
            let free_at = pace.free_at(entry.handshakes_used);
            if free_at > now {
                return Err(TooMany::Handshakes(rate, free_at.0 - now.0));
            }
            entry.handshakes_used = pace.spend(entry.handshakes_used, now);
        }
        entry.connections += usize::from(self.connections_max.is_some());
        Ok(self.connections_max.is_some())
    }

    /// Gives a seat back.
    pub fn leave(&self, seat: Seat, now: Millis) {
        let (shard_index, slot) = seat.place();
        let mut shard = lock(&self.shards[shard_index]);
        let Some(entry) = shard.entries.get_mut(slot).filter(|entry| entry.connections > 0) else {
            debug_assert!(false, "a seat is given back once");
            return;
        };
        entry.connections -= 1;
        shard.settle(slot as u16, now);
    }

    #[cfg(test)]
    fn len(&self) -> usize {
        self.shards.iter().map(|shard| lock(shard).check()).sum()
    }
}

impl Shard {
    /// The entry of a source, which is made if there is none. `None` if there is no place for it. The caller changes it, and
    /// calls [`Shard::settle`].
    fn entry(&mut self, index: usize, source: Source, now: Millis) -> Option<(u16, &mut Entry)> {
        let slot = match self.slots.get(&source) {
            Some(&slot) => slot,
            None => self.add(index, source, now)?,
        };
        let entry = self.entries.get_mut(usize::from(slot)).expect("what has a slot has an entry");
        self.idle.remove(&(entry.changed_at, slot));
        Some((slot, entry))
    }

    fn add(&mut self, index: usize, source: Source, now: Millis) -> Option<u16> {
        if Seat::new(index, self.entries.vacant_key()).is_none()
            || self.entries.vacant_key() >= SLOTS_PER_SHARD
        {
            let (_, oldest) = self.idle.pop_first()?;
            self.forget(oldest);
        }
        let entry = Entry { source, connections: 0, handshakes_used: UsedUntil::default(), changed_at: now };
        let slot = self.entries.insert(entry) as u16;
        self.slots.insert(source, slot);
        Some(slot)
    }

    /// After a change of an entry: forgets it if it says no more than that of an address that never came.
    fn settle(&mut self, slot: u16, now: Millis) {
        let Some(entry) = self.entries.get_mut(usize::from(slot)) else { return };
        entry.changed_at = now;
        if entry.connections > 0 {
            return;
        }
        if entry.handshakes_used.is_past(now) {
            return self.forget(slot);
        }
        self.idle.insert((now, slot));
    }

    fn forget(&mut self, slot: u16) {
        if let Some(entry) = self.entries.try_remove(usize::from(slot)) {
            self.slots.remove(&entry.source);
        }
    }

    #[cfg(test)]
    fn check(&self) -> usize {
        assert_eq!(self.slots.len(), self.entries.len());
        for (slot, entry) in &self.entries {
            assert_eq!(usize::from(self.slots[&entry.source]), slot);
            let is_idle = self.idle.contains(&(entry.changed_at, slot as u16));
            assert_eq!(is_idle, entry.connections == 0);
        }
        assert!(self.idle.len() <= self.entries.len());
        self.entries.len()
    }
}

#[cfg(test)]
#[path = "addresses_tests.rs"]
mod tests;
