//! The order of each channel over all loops: who publishes draws the next number and fills the mailboxes while
//! nobody else can.
//!
//! No bytes are encoded and no log is touched here; a loop does that with what it finds in its mailbox.

use std::collections::HashMap;
use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use super::draft::Draft;
use super::mailbox::{Mailbox, lock};
use crate::hub::{ChannelName, Publication, PublicationId};

/// Channels are spread over this many locks. A lock is held for some hundred nanoseconds, so a few per core keep
/// publishers of different channels apart.
const SHARDS: usize = 64;

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
    shards: Vec<Mutex<HashMap<ChannelName, Order>>>,
    mailboxes: Vec<Mailbox>,
    next_epoch: AtomicU64,
}

/// The state of a channel that has subscribers.
#[derive(Debug)]
struct Order {
    epoch: u64,
    sequence: u64,
    /// How many subscribers each loop has. A loop without any is not disturbed.
    subscribers: Box<[u64]>,
}

impl Exchange {
    /// No channels yet. Epochs count up from `first_epoch`, which should be another at every start.
    pub fn new(mailboxes: Vec<Mailbox>, first_epoch: u64) -> Self {
        Self {
            hasher: RandomState::new(),
            shards: (0..SHARDS).map(|_| Mutex::default()).collect(),
            mailboxes,
            next_epoch: AtomicU64::new(first_epoch),
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

    /// Publishes: the number is drawn and every mailbox filled under one lock, so all loops see one order.
    pub fn publish(&self, draft: Draft) -> Published {
        let mut shard = lock(self.shard(&draft.channel));
        let Some(order) = shard.get_mut(&draft.channel) else {
            // Nobody listens: a channel that lived and died with this publication.
            return Published { id: PublicationId { epoch: self.draw_epoch(), sequence: 1 }, subscribers: 0 };
        };
        order.sequence += 1;
        let id = PublicationId { epoch: order.epoch, sequence: order.sequence };
        let Draft { channel, event, content, data } = draft;
        let publication = Arc::new(Publication { channel, id, event, content, data });
        for (mailbox, &subscribers) in self.mailboxes.iter().zip(&order.subscribers) {
            if subscribers > 0 {
                mailbox.post(Arc::clone(&publication));
            }
        }
        Published { id, subscribers: order.subscribers.iter().sum() }
    }

    /// Counts one subscriber more. `join` runs while nobody can publish to the channel: what was published before
    /// is in the mailbox by then, what comes after is not.
    pub fn subscribe<T>(&self, name: &ChannelName, loop_index: usize, join: impl FnOnce() -> T) -> T {
        let mut shard = lock(self.shard(name));
        let order = shard.entry(name.clone()).or_insert_with(|| Order {
            epoch: self.draw_epoch(),
            sequence: 0,
            subscribers: vec![0; self.mailboxes.len()].into(),
        });
        order.subscribers[loop_index] += 1;
        join()
    }

    /// Counts one subscriber less. The last one takes the channel with it.
    pub fn unsubscribe(&self, name: &ChannelName, loop_index: usize) {
        let mut shard = lock(self.shard(name));
        let order = shard.get_mut(name).expect("a channel exists while it has a subscriber");
        order.subscribers[loop_index] -= 1;
        if order.subscribers.iter().all(|&subscribers| subscribers == 0) {
            shard.remove(name);
        }
    }

    fn shard(&self, name: &ChannelName) -> &Mutex<HashMap<ChannelName, Order>> {
        &self.shards[self.hasher.hash_one(name) as usize % SHARDS]
    }

    fn draw_epoch(&self) -> u64 {
        self.next_epoch.fetch_add(1, Ordering::Relaxed)
    }
}
