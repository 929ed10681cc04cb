//! The order of each channel over all loops: who publishes draws the next number and fills the mailboxes while
//! nobody else can. What was published lately is kept here too, for those that come back.
//!
//! No bytes are encoded and no log is touched here; a loop does that with what it finds in its mailbox.

pub mod draft;
pub mod forgetting;
pub mod idempotency;
pub mod listing;
pub mod mailbox;
pub mod retention;
pub mod shard;

use std::collections::HashMap;
use std::collections::hash_map::RandomState;
use std::hash::{BuildHasher, Hash, Hasher};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use crate::hub::{
    ChannelName, Frames, History, Ledger, Position, Publication, PublicationId, Published, Resumption,
};
use crate::server::broker::draft::Draft;
use crate::server::broker::idempotency::{IdempotencyKey, IdempotencyKeys, KeyRefused};
use crate::server::broker::listing::UNLISTED;
use crate::server::broker::mailbox::Mailbox;
use crate::server::broker::retention::Retention;
use crate::server::broker::shard::{ChannelState, Listed, Lists, PUBLICATION_LEN, Shard};
use crate::server::clock::Millis;
use crate::server::lock::lock;

/// Channels are spread over this many locks. A lock is held for some hundred nanoseconds, so a few per core keep
/// publishers of different channels apart.
const SHARDS: usize = 64;

/// The loop that calls [`Broker::sweep`] when something is due.
pub const SWEEPER: usize = 0;

/// What a channel costs: its name, its state, its places in the table and in three lists. 200,000 with a publication
/// each have 1,010 bytes a channel resident.
const ORDER_LEN: usize = 640;

/// Up to this many channels, those at rest are among what [`Broker::take_busy`] shows: a look at them takes 50 µs.
const SHOWN_AT_REST_MAX: usize = 1024;

/// The channels of all loops.
#[derive(Debug)]
pub struct Broker {
    hasher: RandomState,
    pub(super) shards: Vec<Mutex<Shard>>,
    mailboxes: Vec<Mailbox>,
    history: Retention,
    first_epoch: u64,
    next_epoch: AtomicU64,
    channels_len: AtomicUsize,
    pub(super) ledger: Ledger,
    /// When the first thing is due of all channels, in milliseconds.
    pub(super) due_at: AtomicU64,
    /// Publications that were evicted from histories before their time.
    pub(super) evicted: AtomicU64,
    /// Whether somebody asks for what is busy.
    is_counting: AtomicBool,
}

impl Broker {
    /// No channels yet. Epochs count up from `first_epoch`, which should be another at every start.
    pub fn new(mailboxes: Vec<Mailbox>, first_epoch: u64, history: Retention) -> Self {
        Self {
            hasher: RandomState::new(),
            shards: (0..SHARDS).map(|_| Mutex::default()).collect(),
            mailboxes,
            history,
            first_epoch,
            next_epoch: AtomicU64::new(first_epoch),
            channels_len: AtomicUsize::new(0),
            ledger: Ledger::default(),
            due_at: AtomicU64::new(UNLISTED),
            evicted: AtomicU64::new(0),
            is_counting: AtomicBool::new(false),
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
        self.publish_in(&mut lock(self.shard(&draft.channel)), draft, now)
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
        if let Some(order) = shard.orders.get_mut(&draft.channel) {
            order.retries.expire(now, &self.ledger);
            if let Some(published) = order.retries.find(&key, fingerprint)? {
                return Ok((published, true));
            }
        }
        if !has_room {
            return Err(KeyRefused::NoRoom);
        }
        let channel = draft.channel.clone();
        let published = self.publish_in(&mut shard, draft, now);
        let Shard { orders, lists, .. } = &mut *shard;
        let order = self.order(orders, &channel);
        order.retries.insert(key, fingerprint, published, now, &self.ledger);
        lists.settle(&channel, order);
        self.note_due(&shard);
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
        let Shard { orders, lists, forgotten, .. } = &mut *shard;
        let order = self.order(orders, name);
        order.history.expire(now.0, &order.limits);
        let position = self.translate(position, order.epoch, *forgotten);
        let newest = PublicationId { epoch: order.epoch, sequence: order.sequence };
        let joined = join(order.history.resume(position, newest));
        if joined.is_some() {
            order.subscribers[loop_index] += 1;
        }
        lists.settle(name, order);
        self.forget_if_unused(&mut shard, name, now);
        joined
    }

    /// Counts one subscriber less.
    pub fn unsubscribe(&self, name: &ChannelName, loop_index: usize, now: Millis) {
        let mut shard = lock(self.shard(name));
        let Shard { orders, lists, .. } = &mut *shard;
        let order = orders.get_mut(name).expect("a channel is known while it has a subscriber");
        order.subscribers[loop_index] -= 1;
        order.used_at = now;
        lists.settle(name, order);
        self.forget_if_unused(&mut shard, name, now);
    }

    fn publish_in(&self, shard: &mut Shard, draft: Draft, now: Millis) -> Published {
        let Shard { orders, lists, busy, .. } = &mut *shard;
        // Nearly every publication is to a channel that is known: it is looked up without what adding it takes.
        let published = match orders.get_mut(&draft.channel) {
            Some(order) => self.publish_to(order, lists, busy, draft, now),
            None => self.publish_to(self.order(orders, &draft.channel), lists, busy, draft, now),
        };
        self.note_due(shard);
        published
    }

    fn publish_to(
        &self,
        order: &mut ChannelState,
        lists: &mut Lists,
        busy: &mut Vec<ChannelName>,
        draft: Draft,
        now: Millis,
    ) -> Published {
        order.sequence += 1;
        order.used_at = now;
        if self.is_counting.load(Ordering::Relaxed) {
            if order.published == 0 {
                busy.push(draft.channel.clone());
            }
            order.published += 1;
        }
        let id = PublicationId { epoch: order.epoch, sequence: order.sequence };
        let Draft { channel, event, content, data, frame } = draft;
        let frames = Frames::counted(&self.ledger, data.len() + PUBLICATION_LEN).with_plain(frame);
        let publication = Arc::new(Publication { channel, id, event, content, data, frames });
        for (mailbox, &subscribers) in self.mailboxes.iter().zip(&order.subscribers) {
            if subscribers > 0 {
                mailbox.post(Arc::clone(&publication), subscribers);
            }
        }
        order.history.push(Arc::clone(&publication), now.0, &order.limits);
        lists.settle(&publication.channel, order);
        Published { id, subscribers: order.subscribers_len() }
    }

    /// The state of a channel, which begins if it is not known.
    fn order<'a>(
        &self,
        orders: &'a mut HashMap<ChannelName, ChannelState>,
        name: &ChannelName,
    ) -> &'a mut ChannelState {
        orders.entry(name.clone()).or_insert_with(|| {
            self.channels_len.fetch_add(1, Ordering::Relaxed);
            ChannelState {
                epoch: self.next_epoch.fetch_add(1, Ordering::Relaxed),
                sequence: 0,
                published: 0,
                subscribers: vec![0; self.mailboxes.len()].into(),
                limits: self.history.of(name.as_str()),
                history: History::default(),
                retries: IdempotencyKeys::default(),
                used_at: Millis::default(),
                listed: Listed::default(),
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
        self.note_forgotten(usize::from(shard.forget_if_unused(name, now)));
        self.note_due(shard);
    }

    /// So many channels are not known any more.
    pub(super) fn note_forgotten(&self, count: usize) {
        self.channels_len.fetch_sub(count, Ordering::Relaxed);
    }

    /// Wakes the loop that forgets if something of these channels is due earlier than it knows.
    pub(super) fn note_due(&self, shard: &Shard) {
        if let Some(&(at, _)) = shard.lists.due.first()
            && at < self.due_at.load(Ordering::Relaxed)
            && at < self.due_at.fetch_min(at, Ordering::SeqCst)
        {
            self.mailboxes[SWEEPER].wake();
        }
    }

    /// Shows every channel that was published to since this was last called, with the number of publications and
    /// of subscribers; while there are few channels, those at rest too. Counting begins with the first call. It is
    /// O(channels published to), and each lock is held for a 64th of that.
    pub fn take_busy(&self, mut show: impl FnMut(&ChannelName, u64, u64)) {
        self.is_counting.store(true, Ordering::Relaxed);
        let are_all_shown = self.channels_len() <= SHOWN_AT_REST_MAX;
        for shard in &self.shards {
            let Shard { orders, busy, .. } = &mut *lock(shard);
            let busy = std::mem::take(busy);
            let mut show_one = |name: &ChannelName, order: &mut ChannelState| {
                show(name, std::mem::take(&mut order.published), order.subscribers_len());
            };
            if are_all_shown {
                orders.iter_mut().for_each(|(name, order)| show_one(name, order));
                continue;
            }
            for name in busy {
                // It may have been forgotten since, and come again.
                if let Some(order) = orders.get_mut(&name).filter(|order| order.published > 0) {
                    show_one(&name, order);
                }
            }
        }
    }

    /// Nobody asks for what is busy any more: publications are not counted for that until somebody does.
    pub fn stop_counting(&self) {
        self.is_counting.store(false, Ordering::Relaxed);
        for shard in &self.shards {
            let Shard { orders, busy, .. } = &mut *lock(shard);
            for name in std::mem::take(busy) {
                if let Some(order) = orders.get_mut(&name) {
                    order.published = 0;
                }
            }
        }
    }

    /// How many subscribers a channel has, if it is known.
    pub fn subscribers_len(&self, name: &str) -> Option<u64> {
        let shard = lock(&self.shards[self.hasher.hash_one(name) as usize % SHARDS]);
        shard.orders.get(name).map(ChannelState::subscribers_len)
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

#[cfg(test)]
#[path = "broker_tests.rs"]
mod tests;
