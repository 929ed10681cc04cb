//! The channels under one lock: the state of each, when something of it is due, and what of it goes first when memory
//! is short.
//!
//! Nobody publishes here, and the lock is the broker's.

use std::collections::HashMap;

use crate::hub::{ChannelName, History, HistoryLimits, Ledger};
use crate::server::broker::idempotency::{IdempotencyKeys, RETRY_WINDOW_MS};
use crate::server::broker::listing::{Listing, UNLISTED};
use crate::server::clock::Millis;

/// A channel that nobody reads is forgotten this long after its last publication and its last subscriber, or when
/// its history is too old if that is later. A client between two long polls, or on its way back after a lost
/// connection, then still finds the sequence that it knows.
pub const RETENTION_MS: u64 = 60_000;

/// What a publication costs besides its payload: its names and counts, the references in mailboxes and history.
pub const PUBLICATION_LEN: usize = 384;

/// Histories of one size class differ by a 16th at most: about an equal share. Coarser classes would take from who
/// holds no more than its share, finer ones would list a channel anew with each publication.
const CLASSES_PER_DOUBLING_BITS: u32 = 4;

/// Channels, and their order in three respects.
#[derive(Debug, Default)]
pub struct Shard {
    pub orders: HashMap<ChannelName, ChannelState>,
    pub lists: Lists,
    /// Those published to since somebody last asked, while somebody asks.
    pub busy: Vec<ChannelName>,
    /// The latest epoch of a channel of this shard that had publications and was forgotten; 0 for none.
    pub forgotten: u64,
}

/// Which channel is next in each respect. A channel of which nothing is due and nothing kept is in no list.
#[derive(Debug, Default)]
pub struct Lists {
    /// By when to look at it again. What a channel has to do may be later than that, never earlier.
    pub due: Listing,
    /// By when the oldest was published of what could be evicted; that may be later too, never earlier.
    pub oldest: Listing,
    /// By the size class of the history.
    pub largest: Listing,
    /// What all histories hold.
    pub history_len: usize,
}

/// The state of a channel.
#[derive(Debug)]
pub struct ChannelState {
    pub epoch: u64,
    pub sequence: u64,
    /// Publications since somebody last asked, while somebody asks.
    pub published: u64,
    /// How many subscribers each loop has. A loop without any is not disturbed.
    pub subscribers: Box<[u64]>,
    pub limits: HistoryLimits,
    pub history: History,
    pub retries: IdempotencyKeys,
    /// When it last had a publication or lost a subscriber.
    pub used_at: Millis,
    /// Its numbers in the lists.
    pub listed: Listed,
}

/// The numbers under which a channel is listed.
#[derive(Debug)]
pub struct Listed {
    due: u64,
    oldest: u64,
    class: u64,
    history_len: usize,
}

impl Default for Listed {
    fn default() -> Self {
        Self { due: UNLISTED, oldest: UNLISTED, class: UNLISTED, history_len: 0 }
    }
}

impl Lists {
    /// Notes what has changed with a channel.
    pub fn settle(&mut self, name: &ChannelName, order: &mut ChannelState) {
        let history_len = order.history.held_len(PUBLICATION_LEN);
        self.history_len = self.history_len - order.listed.history_len + history_len;
        order.listed.history_len = history_len;
        self.largest.list(name, &mut order.listed.class, class_of(history_len));
        let since = order.evictable_since();
        if since < order.listed.oldest || since == UNLISTED {
            self.oldest.list(name, &mut order.listed.oldest, since);
        }
        // What becomes due later is seen when the channel is looked at: a publication moves nothing here.
        let due = order.due();
        if due < order.listed.due {
            self.due.list(name, &mut order.listed.due, due);
        }
    }
}

impl Shard {
    /// Forgets a channel if nobody reads it and nobody could tell. True if that was done.
    #[must_use]
    pub fn forget_if_unused(&mut self, name: &ChannelName, now: Millis) -> bool {
        let is_unused = self.orders.get(name).is_some_and(|order| order.is_unused(now));
        if is_unused {
            self.remove(name);
        }
        is_unused
    }

    /// Forgets what is too old, about `most` publications, keys and channels at once. How many that were; 0 if nothing
    /// is due.
    #[must_use]
    pub fn expire(&mut self, now: Millis, most: usize, ledger: &Ledger) -> usize {
        let mut done = 0;
        while done < most
            && let Some((_, name)) = self.lists.due.first().filter(|&&(at, _)| at <= now.0).cloned()
        {
            done += 1;
            let Some(order) = self.orders.get_mut(&name) else { unreachable!("a listed channel is known") };
            done += order.history.expire_some(now.0, &order.limits, most.saturating_sub(done));
            done += order.retries.expire_some(now, most.saturating_sub(done), ledger);
            self.lists.settle(&name, order);
            let due = order.due();
            self.lists.due.list(&name, &mut order.listed.due, due);
            if order.is_unused(now) {
                self.remove(&name);
            }
        }
        done
    }

    /// Evicts the oldest publications of the largest history, until it is of another class, not above `share`, or
    /// there is enough. How many that were.
    #[must_use]
    pub fn evict_of_largest(&mut self, share: usize, is_enough: impl Fn() -> bool) -> usize {
        let Some((class, name)) = self.lists.largest.last().cloned() else { return 0 };
        let Some(order) = self.orders.get_mut(&name) else { unreachable!("a listed channel is known") };
        let mut evicted = 0;
        while !is_enough()
            && let held_len = order.history.held_len(PUBLICATION_LEN)
            && held_len > share
            && class_of(held_len) == class
            && order.history.evict_oldest()
        {
            evicted += 1;
        }
        self.lists.settle(&name, order);
        evicted
    }

    /// Evicts the oldest publication that is listed, or forgets the channel if it has none left and nobody reads it.
    /// How many publications that were; 0 also if there proves to be an older one.
    #[must_use]
    pub fn evict_oldest(&mut self) -> usize {
        let Some((at, name)) = self.lists.oldest.first().cloned() else { return 0 };
        let Some(order) = self.orders.get_mut(&name) else { unreachable!("a listed channel is known") };
        let mut evicted = 0;
        if order.evictable_since() == at {
            if order.history.is_empty() {
                self.remove(&name);
                return 0;
            }
            evicted = usize::from(order.history.evict_oldest());
            self.lists.settle(&name, order);
        }
        let since = order.evictable_since();
        self.lists.oldest.list(&name, &mut order.listed.oldest, since);
        evicted
    }

    fn remove(&mut self, name: &ChannelName) {
        let Some(mut order) = self.orders.remove(name) else { return };
        self.lists.due.list(name, &mut order.listed.due, UNLISTED);
        self.lists.oldest.list(name, &mut order.listed.oldest, UNLISTED);
        self.lists.largest.list(name, &mut order.listed.class, UNLISTED);
        self.lists.history_len -= order.listed.history_len;
        if order.sequence > 0 {
            self.forgotten = self.forgotten.max(order.epoch);
        }
        if self.orders.len() < self.orders.capacity() / 4 {
            self.orders.shrink_to_fit();
        }
    }
}

impl ChannelState {
    pub fn subscribers_len(&self) -> u64 {
        self.subscribers.iter().sum()
    }

    /// Whether nobody reads it, and nobody who comes back could tell that it was forgotten.
    fn is_unused(&self, now: Millis) -> bool {
        let is_over = self.sequence == 0 || now.0 >= self.used_at.0 + RETENTION_MS;
        self.subscribers_len() == 0 && is_over && self.history.is_empty() && self.retries.is_empty()
    }

    /// When there is something to forget.
    fn due(&self) -> u64 {
        let history = self.history.oldest_ms().map(|at_ms| at_ms.saturating_add(self.limits.age_ms));
        let keys = self.retries.oldest().map(|at| at.0 + RETRY_WINDOW_MS);
        match history.into_iter().chain(keys).min() {
            Some(due) => due,
            None if self.subscribers_len() == 0 => self.used_at.0 + RETENTION_MS,
            None => UNLISTED,
        }
    }

    /// Since when there is something that nobody is promised. Keys of retries are a promise.
    fn evictable_since(&self) -> u64 {
        match self.history.oldest_ms() {
            Some(at_ms) => at_ms,
            None if self.subscribers_len() == 0 && self.retries.is_empty() => self.used_at.0,
            None => UNLISTED,
        }
    }
}

/// The number of the size class; that of nothing is no class.
pub fn class_of(len: usize) -> u64 {
    let Some(doublings) = len.checked_ilog2() else { return UNLISTED };
    let part = (len << CLASSES_PER_DOUBLING_BITS >> doublings) - (1 << CLASSES_PER_DOUBLING_BITS);
    (u64::from(doublings) << CLASSES_PER_DOUBLING_BITS) + part as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_size_class_is_a_16th_wide_and_classes_ascend_with_the_size() {
        assert_eq!(class_of(0), UNLISTED);
        assert_eq!(class_of(1024) + 1, class_of(1024 + 64));
        assert_eq!(class_of(1024), class_of(1024 + 63));
        assert_eq!(class_of(1024) + 16, class_of(2048));
        assert!((1..10_000).all(|len| class_of(len) <= class_of(len + 1)));
    }
}
