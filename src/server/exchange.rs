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
use crate::hub::{ChannelName, Frames, Publication, PublicationId};

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
    /// The sequence when [`Exchange::take_busy`] last looked.
    seen: u64,
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
        let publication =
            Arc::new(Publication { channel, id, event, content, data, frames: Frames::default() });
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
            seen: 0,
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

    /// Shows every channel with the number of publications since this was last called, and of subscribers. It takes
    /// the longer the more channels there are, and each lock for a 64th of that.
    pub fn take_busy(&self, mut show: impl FnMut(&ChannelName, u64, u64)) {
        for shard in &self.shards {
            for (name, order) in lock(shard).iter_mut() {
                let published = order.sequence - std::mem::replace(&mut order.seen, order.sequence);
                show(name, published, order.subscribers.iter().sum());
            }
        }
    }

    /// How many subscribers a channel has.
    pub fn subscribers_len(&self, name: &str) -> u64 {
        let shard = lock(&self.shards[self.hasher.hash_one(name) as usize % SHARDS]);
        shard.get(name).map_or(0, |order| order.subscribers.iter().sum())
    }

    /// How many channels there are.
    pub fn channels_len(&self) -> usize {
        self.shards.iter().map(|shard| lock(shard).len()).sum()
    }

    fn shard(&self, name: &ChannelName) -> &Mutex<HashMap<ChannelName, Order>> {
        &self.shards[self.hasher.hash_one(name) as usize % SHARDS]
    }

    fn draw_epoch(&self) -> u64 {
        self.next_epoch.fetch_add(1, Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use mio::{Poll, Token};

    use super::*;
    use crate::server::mailbox::mailboxes;

    /// An exchange of so many loops, and the polls that their wakers need.
    fn exchange(loops: usize) -> (Exchange, Vec<Poll>) {
        let polls: Vec<Poll> = (0..loops).map(|_| Poll::new().unwrap()).collect();
        (Exchange::new(mailboxes(&polls, Token(0)).unwrap(), 100), polls)
    }

    fn name() -> ChannelName {
        ChannelName::new("a").unwrap()
    }

    fn publish(exchange: &Exchange, text: &str) -> Published {
        exchange.publish(Draft::text("a", text).unwrap())
    }

    fn taken(exchange: &Exchange, loop_index: usize) -> Vec<u64> {
        let mut taken = Vec::new();
        exchange.mailbox(loop_index).take_publications(&mut taken);
        taken.iter().map(|publication| publication.id.sequence).collect()
    }

    #[test]
    fn every_loop_with_a_subscriber_gets_every_publication_in_order() {
        let (exchange, _polls) = exchange(3);
        exchange.subscribe(&name(), 0, || ());
        exchange.subscribe(&name(), 2, || ());
        exchange.subscribe(&name(), 2, || ());
        for sequence in 1..=3 {
            let published = publish(&exchange, "x");
            assert_eq!((published.id.sequence, published.subscribers), (sequence, 3));
        }
        assert_eq!(taken(&exchange, 0), [1, 2, 3]);
        assert_eq!(taken(&exchange, 1), [0u64; 0]);
        assert_eq!(taken(&exchange, 2), [1, 2, 3]);
    }

    #[test]
    fn a_loop_whose_last_subscriber_has_left_gets_nothing() {
        let (exchange, _polls) = exchange(2);
        exchange.subscribe(&name(), 0, || ());
        exchange.subscribe(&name(), 1, || ());
        exchange.unsubscribe(&name(), 1);
        assert_eq!(publish(&exchange, "x").subscribers, 1);
        assert_eq!(taken(&exchange, 1), [0u64; 0]);
    }

    #[test]
    fn a_channel_that_comes_back_has_another_epoch() {
        let (exchange, _polls) = exchange(1);
        exchange.subscribe(&name(), 0, || ());
        let first = publish(&exchange, "x").id;
        exchange.unsubscribe(&name(), 0);
        exchange.subscribe(&name(), 0, || ());
        let second = publish(&exchange, "x").id;
        assert_eq!((first.sequence, second.sequence), (1, 1));
        assert_ne!(first.epoch, second.epoch);
    }

    #[test]
    fn a_channel_shows_what_was_published_since_it_was_last_looked_at() {
        let (exchange, _polls) = exchange(2);
        exchange.subscribe(&name(), 0, || ());
        exchange.subscribe(&name(), 1, || ());
        let shown = || {
            let mut shown = Vec::new();
            exchange.take_busy(|name, count, subscribers| shown.push((name.to_string(), count, subscribers)));
            shown
        };
        publish(&exchange, "x");
        publish(&exchange, "x");
        assert_eq!(shown(), [("a".to_string(), 2, 2)]);
        assert_eq!(shown(), [("a".to_string(), 0, 2)]);
        assert_eq!((exchange.subscribers_len("a"), exchange.subscribers_len("b")), (2, 0));
        assert_eq!(exchange.channels_len(), 1);
    }

    #[test]
    fn what_was_published_before_joining_is_in_the_mailbox_by_then() {
        let (exchange, _polls) = exchange(1);
        exchange.subscribe(&name(), 0, || ());
        publish(&exchange, "before");
        exchange.subscribe(&name(), 0, || assert_eq!(taken(&exchange, 0), [1]));
        publish(&exchange, "after");
        assert_eq!(taken(&exchange, 0), [2]);
    }

    #[test]
    fn a_loop_that_does_not_take_its_publications_holds_publishers_back_until_it_does() {
        let (exchange, _polls) = exchange(1);
        exchange.subscribe(&name(), 0, || ());
        let text = "x".repeat(1024 * 1024);
        for _ in 0..4 {
            assert!(!exchange.is_congested());
            publish(&exchange, &text);
        }
        assert!(exchange.is_congested());
        taken(&exchange, 0);
        assert!(!exchange.is_congested());
    }
}
