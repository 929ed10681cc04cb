//! What the broker removes: what has expired, and what is evicted because memory is short.
//!
//! Both are O(what is removed), not O(channels): each shard lists its channels in the order in which they are due.

use std::sync::atomic::Ordering;

use crate::server::broker::Broker;
use crate::server::broker::listing::UNLISTED;
use crate::server::broker::shard::class_of;
use crate::server::clock::Millis;
use crate::server::lock::lock;

/// Channels, publications and keys that are removed in one turn. One takes up to a microsecond, so a turn is about
/// 2 ms longer, and 200,000 channels that expire at once are removed in 100 turns.
const SWEEP_MAX: usize = 2048;

/// Those that are removed while a lock is held: a publisher waits 0.1 ms for it.
const LOCKED_MAX: usize = 128;

impl Broker {
    /// When something expires next: call [`Broker::sweep`] then.
    pub fn due_at(&self) -> Option<Millis> {
        Some(self.due_at.load(Ordering::SeqCst)).filter(|&at| at != UNLISTED).map(Millis)
    }

    /// Removes what has expired: publications, keys, unused channels. What exceeds a turn's work is left, and still due.
    pub fn sweep(&self, now: Millis) {
        // What becomes due from here on is noted under the lock of its shard.
        self.due_at.store(UNLISTED, Ordering::SeqCst);
        let mut room = SWEEP_MAX;
        let (mut counts_due, mut presence_due) = (Vec::new(), Vec::new());
        for shard in &self.shards {
            loop {
                let mut shard = lock(shard);
                let before = shard.channels.len();
                let done = shard.expire(now, room.min(LOCKED_MAX), &self.account);
                self.account.remove_channels(before - shard.channels.len());
                room = room.saturating_sub(done);
                counts_due.append(&mut shard.counts_due);
                presence_due.append(&mut shard.presence_due);
                if done == 0 {
                    self.note_due(&shard);
                    break;
                }
            }
        }
        for name in counts_due {
            self.tell_count(&name, now);
        }
        for name in presence_due {
            self.tell_presence(&name, now);
        }
    }

    /// Evicts publications until there is enough memory: first from the histories above the fair share, the largest
    /// first; then the oldest of all channels, and channels without subscribers with their last one. Idempotency keys
    /// are kept, they are a promise. Reconnecting subscribers are told of the gap. Returns the number of publications.
    ///
    /// A publication that a mailbox or a replay shares is freed when that drops it too.
    pub fn shed(&self, is_enough: impl Fn() -> bool) -> usize {
        let mut evicted = self.shed_largest(&is_enough);
        evicted += self.shed_oldest(&is_enough);
        self.evicted.fetch_add(evicted as u64, Ordering::Relaxed);
        evicted
    }

    /// The number of publications evicted because memory was short.
    pub fn evicted(&self) -> u64 {
        self.evicted.load(Ordering::Relaxed)
    }

    fn shed_largest(&self, is_enough: impl Fn() -> bool) -> usize {
        let (mut tops, mut held, mut count) = (Vec::with_capacity(self.shards.len()), 0, 0);
        for shard in &self.shards {
            let lists = &lock(shard).lists;
            tops.push(lists.largest.last().map_or(0, |&(class, _)| class));
            held += lists.history_len;
            count += lists.largest.len();
        }
        let Some(share) = held.checked_div(count) else { return 0 };
        let mut evicted = 0;
        while !is_enough()
            && let Some((index, &top)) = tops.iter().enumerate().max_by_key(|&(_, &top)| top)
            && top > class_of(share)
        {
            let mut shard = lock(&self.shards[index]);
            evicted += shard.evict_of_largest(share, &is_enough);
            tops[index] = shard.lists.largest.last().map_or(0, |&(class, _)| class);
        }
        evicted
    }

    fn shed_oldest(&self, is_enough: impl Fn() -> bool) -> usize {
        if is_enough() {
            return 0;
        }
        let first = |index: usize| {
            let lists = &lock(&self.shards[index]).lists;
            lists.oldest.first().map_or(UNLISTED, |&(at, _)| at)
        };
        let mut firsts: Vec<u64> = (0..self.shards.len()).map(first).collect();
        let mut evicted = 0;
        while !is_enough()
            && let Some((index, &at)) = firsts.iter().enumerate().min_by_key(|&(_, &at)| at)
            && at != UNLISTED
        {
            let mut shard = lock(&self.shards[index]);
            let before = shard.channels.len();
            evicted += shard.evict_oldest();
            self.account.remove_channels(before - shard.channels.len());
            drop(shard);
            firsts[index] = first(index);
        }
        evicted
    }
}

#[cfg(test)]
#[path = "eviction_tests.rs"]
mod tests;
