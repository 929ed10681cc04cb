//! The order of each channel over all loops: who publishes draws the next number and fills the mailboxes while
//! nobody else can. What was published lately is kept here too, for those that come back.
//!
//! No bytes are encoded and no log is touched here; a loop does that with what it finds in its mailbox.

use std::collections::HashMap;
use std::collections::hash_map::RandomState;
use std::hash::{BuildHasher, Hash, Hasher};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use super::draft::Draft;
use super::history_rules::HistoryRules;
use super::liveness::Millis;
use super::mailbox::{Mailbox, lock};
use super::retries::{IdempotencyKey, KeyRefused, Retries};
use crate::hub::{
    ChannelName, Frames, History, HistoryLimits, Ledger, Position, Publication, PublicationId, Resumption,
};

/// Channels are spread over this many locks. A lock is held for some hundred nanoseconds, so a few per core keep
/// publishers of different channels apart.
const SHARDS: usize = 64;

/// A channel that nobody reads is forgotten this long after its last publication and its last subscriber, or when
/// its history is too old if that is later. A client between two long polls, or on its way back after a lost
/// connection, then still finds the sequence that it knows.
const RETENTION_MS: u64 = 60_000;

/// The loop that calls [`Exchange::sweep`] every second while a channel is known.
pub const SWEEPER: usize = 0;

/// What a channel costs: its name, its state, its places in the table.
const ORDER_LEN: usize = 512;

/// What a publication costs besides its payload: its names and counts, the references in mailboxes and history.
const PUBLICATION_LEN: usize = 384;

/// What a publisher gets back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Published {
    /// The identifier that the publication was given.
    pub id: PublicationId,
    /// How many subscribers the channel had at that moment, on all loops: each gets it or is told otherwise.
    pub subscribers: u64,
}

/// The channels of all loops.
#[derive(Debug)]
pub struct Exchange {
    hasher: RandomState,
    shards: Vec<Mutex<Shard>>,
    mailboxes: Vec<Mailbox>,
    history: HistoryRules,
    first_epoch: u64,
    next_epoch: AtomicU64,
    channels_len: AtomicUsize,
    ledger: Ledger,
}

#[derive(Debug, Default)]
struct Shard {
    orders: HashMap<ChannelName, Order>,
    /// The latest epoch of a channel of this shard that had publications and was forgotten; 0 for none.
    forgotten: u64,
}

/// The state of a channel.
#[derive(Debug)]
struct Order {
    epoch: u64,
    sequence: u64,
    /// The sequence when [`Exchange::take_busy`] last looked.
    seen: u64,
    /// How many subscribers each loop has. A loop without any is not disturbed.
    subscribers: Box<[u64]>,
    limits: HistoryLimits,
    history: History,
    retries: Retries,
    /// When it last had a publication or lost a subscriber.
    used_at: Millis,
}

impl Exchange {
    /// No channels yet. Epochs count up from `first_epoch`, which should be another at every start.
    pub fn new(mailboxes: Vec<Mailbox>, first_epoch: u64, history: HistoryRules) -> Self {
        Self {
            hasher: RandomState::new(),
            shards: (0..SHARDS).map(|_| Mutex::default()).collect(),
            mailboxes,
            history,
            first_epoch,
            next_epoch: AtomicU64::new(first_epoch),
            channels_len: AtomicUsize::new(0),
            ledger: Ledger::default(),
        }
    }

    /// The mailbox of a loop.
    pub fn mailbox(&self, loop_index: usize) -> &Mailbox {
        &self.mailboxes[loop_index]
    }

    /// All mailboxes, in the order of the loops.
    pub fn mailboxes(&self) -> &[Mailbox] {
        &self.mailboxes
    }

    /// Whether publishers should wait until some loop has caught up.
    pub fn is_congested(&self) -> bool {
        self.mailboxes.iter().any(Mailbox::is_congested)
    }

    /// How many channels are known: those with subscribers, and those whose history or sequence is kept.
    pub fn channels_len(&self) -> usize {
        self.channels_len.load(Ordering::Relaxed)
    }

    /// How many bytes are held by channels, their histories and known keys, and by publications in mailboxes.
    pub fn held_len(&self) -> usize {
        self.ledger.bytes() + self.channels_len() * ORDER_LEN
    }

    /// Publishes: the number is drawn and every mailbox filled under one lock, so all loops see one order.
    pub fn publish(&self, draft: Draft, now: Millis) -> Published {
        let mut shard = lock(self.shard(&draft.channel));
        // Nearly every publication is to a channel that is known: it is looked up without what adding it takes.
        match shard.orders.get_mut(&draft.channel) {
            Some(order) => self.publish_in(order, draft, now),
            None => self.publish_in(self.order(&mut shard, &draft.channel), draft, now),
        }
    }

    /// Publishes, unless that was done under the same key a short time ago. True if it was: the answer is that
    /// one's.
    ///
    /// # Errors
    /// The key was used for another publication, or would have to be remembered and has no room.
    pub fn publish_once(
        &self,
        draft: Draft,
        key: IdempotencyKey,
        has_room: bool,
        now: Millis,
    ) -> Result<(Published, bool), KeyRefused> {
        let fingerprint = self.fingerprint(&draft);
        let mut shard = lock(self.shard(&draft.channel));
        let order = self.order(&mut shard, &draft.channel);
        order.retries.expire(now, &self.ledger);
        if let Some(published) = order.retries.find(&key, fingerprint)? {
            return Ok((published, true));
        }
        if !has_room {
            return Err(KeyRefused::NoRoom);
        }
        let published = self.publish_in(order, draft, now);
        order.retries.insert(key, fingerprint, published, now, &self.ledger);
        Ok((published, false))
    }

    /// Joins a channel at a position. `join` runs while nobody can publish to the channel: what was published before
    /// is in the mailbox by then and, as far as it is kept, in the resumption; what comes after is not. If it gives
    /// something, one subscriber more is counted.
    pub fn subscribe<T>(
        &self,
        name: &ChannelName,
        loop_index: usize,
        position: Position,
        now: Millis,
        join: impl FnOnce(Resumption) -> Option<T>,
    ) -> Option<T> {
        let mut shard = lock(self.shard(name));
        let forgotten = shard.forgotten;
        let order = self.order(&mut shard, name);
        order.history.expire(now.0, &order.limits);
        let position = self.translate(position, order.epoch, forgotten);
        let newest = PublicationId { epoch: order.epoch, sequence: order.sequence };
        let joined = join(order.history.resume(position, newest));
        if joined.is_some() {
            order.subscribers[loop_index] += 1;
        }
        self.forget_if_unused(&mut shard, name, now);
        joined
    }

    /// Counts one subscriber less.
    pub fn unsubscribe(&self, name: &ChannelName, loop_index: usize, now: Millis) {
        let mut shard = lock(self.shard(name));
        let order = shard.orders.get_mut(name).expect("a channel is known while it has a subscriber");
        order.subscribers[loop_index] -= 1;
        order.used_at = now;
        self.forget_if_unused(&mut shard, name, now);
    }

    /// Forgets what is too old: publications, keys, channels that nobody reads.
    pub fn sweep(&self, now: Millis) {
        self.forget(|order| {
            order.history.expire(now.0, &order.limits);
            order.retries.expire(now, &self.ledger);
            order.is_unused(now)
        });
    }

    /// Forgets what nobody can be said to wait for, because memory is short: the channels without subscribers, then
    /// all history. Keys of retries are kept, they are a promise. Who comes back is told of the gap.
    pub fn shed(&self, is_enough: impl Fn() -> bool) {
        self.forget(|order| order.subscribers_len() == 0 && order.retries.is_empty());
        if !is_enough() {
            self.forget(|order| {
                order.history.clear();
                false
            });
        }
    }

    fn publish_in(&self, order: &mut Order, draft: Draft, now: Millis) -> Published {
        order.sequence += 1;
        order.used_at = now;
        let id = PublicationId { epoch: order.epoch, sequence: order.sequence };
        let Draft { channel, event, content, data } = draft;
        let frames = Frames::counted(&self.ledger, data.len() + PUBLICATION_LEN);
        let publication = Arc::new(Publication { channel, id, event, content, data, frames });
        for (mailbox, &subscribers) in self.mailboxes.iter().zip(&order.subscribers) {
            if subscribers > 0 {
                mailbox.post(Arc::clone(&publication), subscribers);
            }
        }
        order.history.push(publication, now.0, &order.limits);
        Published { id, subscribers: order.subscribers_len() }
    }

    /// The state of a channel, which begins if it is not known.
    fn order<'a>(&self, shard: &'a mut Shard, name: &ChannelName) -> &'a mut Order {
        shard.orders.entry(name.clone()).or_insert_with(|| {
            if self.channels_len.fetch_add(1, Ordering::Relaxed) == 0 {
                // It sleeps without an end while there is nothing to forget.
                self.mailboxes[SWEEPER].wake();
            }
            Order {
                epoch: self.next_epoch.fetch_add(1, Ordering::Relaxed),
                sequence: 0,
                seen: 0,
                subscribers: vec![0; self.mailboxes.len()].into(),
                limits: self.history.of(name.as_str()),
                history: History::default(),
                retries: Retries::default(),
                used_at: Millis::default(),
            }
        })
    }

    /// A channel without publications is forgotten with its last subscriber. Who then was at its beginning is at
    /// the beginning of its next life, if none came between.
    fn translate(&self, position: Position, epoch: u64, forgotten: u64) -> Position {
        match position {
            Position::After(PublicationId { epoch: then, sequence: 0 })
                if (self.first_epoch..epoch).contains(&then) && forgotten < then =>
            {
                Position::After(PublicationId { epoch, sequence: 0 })
            }
            position => position,
        }
    }

    fn forget_if_unused(&self, shard: &mut Shard, name: &ChannelName, now: Millis) {
        if shard.orders.get(name).is_some_and(|order| order.is_unused(now))
            && let Some(order) = shard.orders.remove(name)
        {
            shard.note_forgotten(&order);
            self.channels_len.fetch_sub(1, Ordering::Relaxed);
        }
    }

    /// Forgets the channels of which `is_over` says so.
    fn forget(&self, mut is_over: impl FnMut(&mut Order) -> bool) {
        for shard in &self.shards {
            let mut shard = lock(shard);
            let over: Vec<Order> =
                shard.orders.extract_if(|_, order| is_over(order)).map(|(_, order)| order).collect();
            for order in &over {
                shard.note_forgotten(order);
            }
            self.channels_len.fetch_sub(over.len(), Ordering::Relaxed);
            if shard.orders.len() < shard.orders.capacity() / 4 {
                shard.orders.shrink_to_fit();
            }
        }
    }

    /// Shows every channel with the number of publications since this was last called, and of subscribers. It takes
    /// the longer the more channels there are, and each lock for a 64th of that.
    pub fn take_busy(&self, mut show: impl FnMut(&ChannelName, u64, u64)) {
        for shard in &self.shards {
            for (name, order) in &mut lock(shard).orders {
                let published = order.sequence - std::mem::replace(&mut order.seen, order.sequence);
                show(name, published, order.subscribers_len());
            }
        }
    }

    /// How many subscribers a channel has, if it is known.
    pub fn subscribers_len(&self, name: &str) -> Option<u64> {
        let shard = lock(&self.shards[self.hasher.hash_one(name) as usize % SHARDS]);
        shard.orders.get(name).map(Order::subscribers_len)
    }

    fn shard(&self, name: &ChannelName) -> &Mutex<Shard> {
        &self.shards[self.hasher.hash_one(name) as usize % SHARDS]
    }

    /// What stands for a draft's content when a key comes again.
    fn fingerprint(&self, draft: &Draft) -> u64 {
        let mut hasher = self.hasher.build_hasher();
        draft.event.as_ref().map(|event| event.as_str()).hash(&mut hasher);
        (draft.content as u8).hash(&mut hasher);
        draft.data.hash(&mut hasher);
        hasher.finish()
    }
}

impl Shard {
    fn note_forgotten(&mut self, order: &Order) {
        if order.sequence > 0 {
            self.forgotten = self.forgotten.max(order.epoch);
        }
    }
}

impl Order {
    fn subscribers_len(&self) -> u64 {
        self.subscribers.iter().sum()
    }

    /// Whether nobody reads it, and nobody who comes back could tell that it was forgotten.
    fn is_unused(&self, now: Millis) -> bool {
        let is_over = self.sequence == 0 || now.0 >= self.used_at.0 + RETENTION_MS;
        self.subscribers_len() == 0 && is_over && self.history.is_empty() && self.retries.is_empty()
    }
}

#[cfg(test)]
#[path = "exchange_tests.rs"]
mod tests;
