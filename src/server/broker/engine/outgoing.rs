//! What waits to be published, by channel: one call in flight for each, and what becomes of it.
//!
//! A call is what Redis executes as one step. What it is written as, over which connection, and when it is due for another try is
//! decided elsewhere; nothing is sent here.
//!
//! ```text
//!   channel "a":   [ call: 1 2 3 ]  waiting: 4 5 6 …
//!                        |
//!      Ready -- next_call --> InFlight -- answered, known, refused --> all of it is settled; the next call is Ready
//!        ^                       |
//!        |                       +-- elsewhere, cut unwritten, cut with a key --> the same call is Ready
//!        +------- its time ------+-- again --> Paused
//! ```
//!
//! Since nothing after a call is sent before the call is settled, the order of a channel survives every refusal.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};

use bytes::Bytes;
use slab::Slab;

use crate::hub::{ChannelName, PublicationId};
use crate::server::broker::answer::NotPublished;
use crate::server::broker::fingerprint::Fingerprint;
use crate::server::broker::idempotency::Keyed;
use crate::server::clock::Millis;

/// The most records of a call. What a loop has read of one publisher should go as one, since each call comes back as a turn, with a
/// write for every subscriber; of 100 bytes, Redis executes as many within 1 ms, during which the other channels wait.
pub const CALL_RECORDS_MAX: usize = 256;

/// The most bytes of the records of a call that has more than one. Of 1 KiB, Redis executes as many in little more than 1 ms.
pub const CALL_LEN_MAX: usize = 128 * 1024;

/// What a channel costs besides what waits: its state, and its places in the tables.
const CHANNEL_LEN: usize = 512;

/// Tables of this many channels keep their room.
const KEPT_LEN_MIN: usize = 64;

/// A publication that is to be made.
#[derive(Debug)]
pub struct Item<T> {
    /// Its bytes, as they are given to the script.
    pub record: Bytes,
    /// The key under which Redis is to know it.
    pub key: Option<Keyed>,
    /// Comes back with its outcome, once.
    pub ticket: T,
    /// Until when it may be sent, and its outcome is waited for. Not before that of an earlier one of its channel: such a one
    /// waits as long as the earlier one.
    pub deadline: Millis,
}

/// What Redis is to execute as one step.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Call {
    /// The channel.
    pub channel: ChannelName,
    /// The key of its only record, if that has one.
    pub key: Option<Keyed>,
    /// 1 to [`CALL_RECORDS_MAX`] records.
    pub records: Vec<Bytes>,
}

/// What Redis has made of a publication.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Numbered {
    /// Its identifier.
    pub id: PublicationId,
    /// Whether it was made earlier under the same key. False where the call was sent before and not answered: it may well have
    /// been made by that.
    pub is_replay: bool,
}

/// A publication of which the outcome is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Settled<T> {
    /// As it was added.
    pub ticket: T,
    /// Its number, or why there is none.
    pub outcome: Result<Numbered, NotPublished>,
}

/// What waits to be published on a node, and what is in flight.
///
/// How to drive this: 1. [`Outgoing::expire`] when it is [`Outgoing::due`]. 2. [`Outgoing::next_call`] as long as there is room to
/// write. 3. For each call exactly one of [`answered`], [`known`], [`refused`], [`again`], [`elsewhere`] and [`cut`], by the name
/// of its channel.
///
/// Invariants: a channel is here as long as it has something waiting or in flight. A call in flight has the entries of `head`,
/// those that have expired too, until it is answered. Deadlines of a channel do not fall. O(1) a record, O(log channels) a call.
///
/// [`answered`]: Outgoing::answered
/// [`known`]: Outgoing::known
/// [`refused`]: Outgoing::refused
/// [`again`]: Outgoing::again
/// [`elsewhere`]: Outgoing::elsewhere
/// [`cut`]: Outgoing::cut
#[derive(Debug)]
pub struct Outgoing<T> {
    slots: HashMap<ChannelName, usize>,
    queues: Slab<Queue<T>>,
    /// Channels with a call to be sent, in the order of their turns.
    ready: BTreeMap<u64, usize>,
    /// When something expires next in a channel, or its pause ends.
    alarms: BTreeSet<(Millis, usize)>,
    /// The turns that were given.
    turns: u64,
    bytes: usize,
    unsettled: usize,
}

/// A channel.
#[derive(Debug)]
struct Queue<T> {
    name: ChannelName,
    stage: Stage,
    /// The call, once it was taken. Later additions do not change it.
    head: Vec<Entry<T>>,
    /// Whether the call was sent before and not answered: it may have been executed. Its record has a key.
    was_written: bool,
    waiting: VecDeque<Entry<T>>,
    /// Its entry in the alarms.
    alarm: Option<Millis>,
}

#[derive(Clone, Copy, Debug)]
enum Stage {
    /// Its call may be sent, at this turn.
    Ready(u64),
    /// Its call may be sent from this time on.
    Paused(Millis),
    /// Its call was taken, and there is no answer yet.
    InFlight,
}

#[derive(Debug)]
struct Entry<T> {
    record: Bytes,
    key: Option<Keyed>,
    /// None once it is settled, which only the deadline does while the call is in flight.
    ticket: Option<T>,
    deadline: Millis,
}

impl<T> Default for Outgoing<T> {
    fn default() -> Self {
        Self {
            slots: HashMap::new(),
            queues: Slab::new(),
            ready: BTreeMap::new(),
            alarms: BTreeSet::new(),
            turns: 0,
            bytes: 0,
            unsettled: 0,
        }
    }
}

impl<T> Outgoing<T> {
    /// Adds a publication, after the earlier ones of its channel.
    pub fn add(&mut self, channel: ChannelName, item: Item<T>) {
        let slot = match self.slots.get(&channel) {
            Some(&slot) => slot,
            None => self.begin(channel),
        };
        let queue = &mut self.queues[slot];
        let Item { record, key, ticket, deadline } = item;
        let earlier = queue.waiting.back().or(queue.head.last()).map(|entry| entry.deadline);
        let deadline = earlier.map_or(deadline, |earlier| earlier.max(deadline));
        let entry = Entry { record, key, ticket: Some(ticket), deadline };
        self.bytes += entry.held_len();
        self.unsettled += 1;
        queue.waiting.push_back(entry);
        self.schedule(slot);
    }

    /// What is to be sent next: of all channels that have something and nothing in flight the one whose turn it is. What is past
    /// its deadline is removed before by [`Outgoing::expire`].
    #[must_use]
    pub fn next_call(&mut self) -> Option<Call> {
        let (_, slot) = self.ready.pop_first()?;
        let queue = &mut self.queues[slot];
        queue.stage = Stage::InFlight;
        queue.fill_head();
        let call = queue.call();
        self.schedule(slot);
        Some(call)
    }

    /// The call of the channel was executed: its records have the identifiers from `first` to the sequence `last`. If that are not
    /// as many as it has, Redis answers something else, and what was made is not known.
    #[must_use]
    pub fn answered(&mut self, channel: &str, first: PublicationId, last: u64) -> Vec<Settled<T>> {
        let Some(slot) = self.in_flight(channel) else { return Vec::new() };
        let len = self.queues[slot].head.len() as u64;
        let is_whole = first.sequence.checked_add(len).is_some_and(|end| last.checked_add(1) == Some(end));
        self.settle_call(slot, |at| {
            if !is_whole {
                return Err(NotPublished::Unanswered);
            }
            let id = PublicationId { epoch: first.epoch, sequence: first.sequence + at as u64 };
            Ok(Numbered { id, is_replay: false })
        })
    }

    /// Redis knew the key of the call of the channel, from the publication `id`, and executed nothing.
    #[must_use]
    pub fn known(&mut self, channel: &str, fingerprint: Fingerprint, id: PublicationId) -> Vec<Settled<T>> {
        let Some(slot) = self.in_flight(channel) else { return Vec::new() };
        let Queue { head, was_written, .. } = &self.queues[slot];
        let outcome = match head.first().and_then(|entry| entry.key) {
            Some(key) if key.fingerprint == fingerprint => Ok(Numbered { id, is_replay: !was_written }),
            Some(_) => Err(NotPublished::KeyReused),
            // The call had no key: this is no answer to it.
            None => Err(NotPublished::Unanswered),
        };
        self.settle_call(slot, |_| outcome)
    }

    /// The call of the channel was not executed, and never will be.
    #[must_use]
    pub fn refused(&mut self, channel: &str) -> Vec<Settled<T>> {
        let Some(slot) = self.in_flight(channel) else { return Vec::new() };
        let why = self.queues[slot].reason();
        self.settle_call(slot, |_| Err(why))
    }

    /// The call of the channel was not executed: the same again at this time.
    pub fn again(&mut self, channel: &str, at: Millis) {
        let Some(slot) = self.in_flight(channel) else { return };
        self.return_call(slot, Some(at));
    }

    /// Until when the outcome of the call of the channel is waited for.
    #[must_use]
    pub fn deadline_of(&self, channel: &str) -> Option<Millis> {
        let head = &self.queues[*self.slots.get(channel)?].head;
        head.iter().find(|entry| entry.ticket.is_some()).map(|entry| entry.deadline)
    }

    /// The call of the channel was not executed: the same again at once, to another server.
    pub fn elsewhere(&mut self, channel: &str) {
        let Some(slot) = self.in_flight(channel) else { return };
        self.return_call(slot, None);
    }

    /// The connection has ended before the call of the channel was answered. If not a byte of it was written, it is as if it had
    /// not been taken. Else it may have been executed: only one with a key is sent again.
    #[must_use]
    pub fn cut(&mut self, channel: &str, was_written: bool) -> Vec<Settled<T>> {
        let Some(slot) = self.in_flight(channel) else { return Vec::new() };
        let queue = &mut self.queues[slot];
        let has_key = queue.head.first().is_some_and(|entry| entry.key.is_some());
        if was_written && !has_key {
            return self.settle_call(slot, |_| Err(NotPublished::Unanswered));
        }
        queue.was_written |= was_written;
        self.return_call(slot, None);
        Vec::new()
    }

    /// Settles what is past its deadline, and ends pauses. The call of a channel stays in flight until it is answered, so that what
    /// is after it is not executed before it.
    #[must_use]
    pub fn expire(&mut self, now: Millis) -> Vec<Settled<T>> {
        let mut settled = Vec::new();
        while let Some(&(at, slot)) = self.alarms.first()
            && at <= now
        {
            self.expire_channel(slot, now, &mut settled);
        }
        settled
    }

    /// When [`Outgoing::expire`] has something to do; it may be past.
    #[must_use]
    pub fn due(&self) -> Option<Millis> {
        self.alarms.first().map(|&(at, _)| at)
    }

    /// The bytes held by what waits and what is in flight, with its tables.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// How many publications are not settled: those that wait, and those in flight.
    #[must_use]
    pub fn waiting_len(&self) -> usize {
        self.unsettled
    }
}

/// The channels.
impl<T> Outgoing<T> {
    fn begin(&mut self, name: ChannelName) -> usize {
        let stage = Stage::Ready(self.turns);
        let queue = Queue {
            name: name.clone(),
            stage,
            head: Vec::new(),
            was_written: false,
            waiting: VecDeque::new(),
            alarm: None,
        };
        let slot = self.queues.insert(queue);
        self.slots.insert(name, slot);
        self.ready.insert(self.turns, slot);
        self.turns += 1;
        self.bytes += CHANNEL_LEN;
        slot
    }

    fn in_flight(&self, channel: &str) -> Option<usize> {
        let slot = *self.slots.get(channel)?;
        matches!(self.queues[slot].stage, Stage::InFlight).then_some(slot)
    }

    /// The call in flight is over. Its entries that are not settled are, by their places.
    fn settle_call(
        &mut self,
        slot: usize,
        outcome: impl Fn(usize) -> Result<Numbered, NotPublished>,
    ) -> Vec<Settled<T>> {
        let queue = &mut self.queues[slot];
        queue.was_written = false;
        let mut settled = Vec::with_capacity(queue.head.len());
        for (at, entry) in std::mem::take(&mut queue.head).into_iter().enumerate() {
            self.bytes -= entry.held_len();
            if let Some(ticket) = entry.ticket {
                self.unsettled -= 1;
                settled.push(Settled { ticket, outcome: outcome(at) });
            }
        }
        self.go_on(slot, None);
        settled
    }

    /// The call in flight was not executed, or may be repeated: what has not expired of it is sent again.
    fn return_call(&mut self, slot: usize, at: Option<Millis>) {
        let queue = &mut self.queues[slot];
        queue.head.retain(|entry| {
            if entry.ticket.is_none() {
                self.bytes -= entry.held_len();
            }
            entry.ticket.is_some()
        });
        queue.was_written &= !queue.head.is_empty();
        self.go_on(slot, at);
    }

    /// Nothing of the channel is in flight any more: it has its turn after the others, or a pause before that, or is empty.
    fn go_on(&mut self, slot: usize, pause: Option<Millis>) {
        let queue = &mut self.queues[slot];
        if queue.is_empty() {
            return self.remove(slot);
        }
        match pause {
            Some(at) => queue.stage = Stage::Paused(at),
            None => {
                queue.stage = Stage::Ready(self.turns);
                self.ready.insert(self.turns, slot);
                self.turns += 1;
            }
        }
        self.schedule(slot);
    }

    fn expire_channel(&mut self, slot: usize, now: Millis, settled: &mut Vec<Settled<T>>) {
        let queue = &mut self.queues[slot];
        let is_in_flight = matches!(queue.stage, Stage::InFlight);
        let before = settled.len();
        if is_in_flight {
            for entry in queue.head.iter_mut().take_while(|entry| entry.deadline <= now) {
                self.bytes -= std::mem::take(&mut entry.record).len();
                let ticket = entry.ticket.take();
                settled
                    .extend(ticket.map(|ticket| Settled { ticket, outcome: Err(NotPublished::Unanswered) }));
            }
        } else {
            let (why, expired) = (queue.reason(), queue.head.partition_point(|entry| entry.deadline <= now));
            for entry in queue.head.drain(..expired) {
                self.bytes -= entry.held_len();
                settled.extend(entry.ticket.map(|ticket| Settled { ticket, outcome: Err(why) }));
            }
            queue.was_written &= !queue.head.is_empty();
        }
        while queue.waiting.front().is_some_and(|entry| entry.deadline <= now)
            && let Some(entry) = queue.waiting.pop_front()
        {
            self.bytes -= entry.held_len();
            settled
                .extend(entry.ticket.map(|ticket| Settled { ticket, outcome: Err(NotPublished::Refused) }));
        }
        self.unsettled -= settled.len() - before;
        match queue.stage {
            Stage::Ready(_) | Stage::Paused(_) if queue.is_empty() => self.remove(slot),
            Stage::Paused(at) if at <= now => self.go_on(slot, None),
            Stage::Ready(_) | Stage::Paused(_) | Stage::InFlight => self.schedule(slot),
        }
    }

    /// Puts the channel's next deadline, or the end of its pause, into the alarms.
    fn schedule(&mut self, slot: usize) {
        let queue = &mut self.queues[slot];
        let alarm = queue.next_alarm();
        if alarm == queue.alarm {
            return;
        }
        if let Some(before) = std::mem::replace(&mut queue.alarm, alarm) {
            self.alarms.remove(&(before, slot));
        }
        self.alarms.extend(alarm.map(|at| (at, slot)));
    }

    /// Removes a channel that has nothing.
    fn remove(&mut self, slot: usize) {
        let queue = self.queues.remove(slot);
        self.slots.remove(&queue.name);
        if let Stage::Ready(turn) = queue.stage {
            self.ready.remove(&turn);
        }
        if let Some(at) = queue.alarm {
            self.alarms.remove(&(at, slot));
        }
        self.bytes -= CHANNEL_LEN;
        if self.queues.is_empty() && self.queues.capacity() > KEPT_LEN_MIN {
            (self.slots, self.queues) = (HashMap::new(), Slab::new());
        }
    }
}

impl<T> Queue<T> {
    /// Takes a call from what waits, unless there is one.
    fn fill_head(&mut self) {
        if !self.head.is_empty() {
            return;
        }
        let mut len = 0;
        while let Some(next) = self.waiting.front() {
            len += next.record.len();
            let is_alone = next.key.is_some() || self.head.first().is_some_and(|first| first.key.is_some());
            let is_full = self.head.len() == CALL_RECORDS_MAX || len > CALL_LEN_MAX;
            if !self.head.is_empty() && (is_alone || is_full) {
                break;
            }
            self.head.extend(self.waiting.pop_front());
        }
    }

    fn call(&self) -> Call {
        Call {
            channel: self.name.clone(),
            key: self.head.first().and_then(|entry| entry.key),
            records: self.head.iter().map(|entry| entry.record.clone()).collect(),
        }
    }

    /// What is said of a call that is not sent any more.
    fn reason(&self) -> NotPublished {
        if self.was_written { NotPublished::Unanswered } else { NotPublished::Refused }
    }

    fn next_alarm(&self) -> Option<Millis> {
        let first = self.head.iter().find(|entry| entry.ticket.is_some());
        let expires_at = first.or(self.waiting.front()).map(|entry| entry.deadline);
        match self.stage {
            Stage::Paused(at) => Some(expires_at.map_or(at, |expires_at| expires_at.min(at))),
            Stage::Ready(_) | Stage::InFlight => expires_at,
        }
    }

    fn is_empty(&self) -> bool {
        self.head.is_empty() && self.waiting.is_empty()
    }
}

impl<T> Entry<T> {
    fn held_len(&self) -> usize {
        self.record.len() + size_of::<Self>()
    }
}

#[cfg(test)]
#[path = "outgoing_tests.rs"]
mod tests;

#[cfg(test)]
#[path = "outgoing_model_tests.rs"]
mod model_tests;
