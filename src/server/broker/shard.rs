//! The channels under one lock, and the order in which they expire and are evicted.
//!
//! Nobody publishes here, and the lock is the broker's.

use std::collections::HashMap;

use crate::hub::ChannelName;
use crate::server::broker::channel::ChannelState;
use crate::server::broker::listing::{Listing, UNLISTED};
use crate::server::broker::memory::Account;
use crate::server::broker::names::Names;
use crate::server::clock::Millis;

/// Histories of one size class differ by a 16th at most: about an equal share. Coarser classes would take from histories
/// below their share, finer ones would list a channel anew with each publication.
const CLASSES_PER_DOUBLING_BITS: u32 = 4;

/// Channels, and their order in four respects.
#[derive(Debug, Default)]
pub struct Shard {
    /// The channels by name.
    pub channels: HashMap<ChannelName, ChannelState>,
    /// The same in the order in which they expire and are evicted, and in that of their names.
    pub lists: Lists,
    /// Channels with publications since the counts were last taken, while publications are counted.
    pub busy: Vec<ChannelName>,
    /// Channels whose subscribers are to be told of their number, since the pause has ended.
    pub counts_due: Vec<ChannelName>,
    /// Channels of which it is to be told who is there, since the pause has ended or somebody has left.
    pub presence_due: Vec<ChannelName>,
    /// The latest epoch of a channel of this shard that had publications and was removed; 0 for none.
    pub removed_epoch: u64,
}

/// Which channel is next in each respect. A channel of which nothing expires and nothing is kept is in no list but that of names.
#[derive(Debug, Default)]
pub struct Lists {
    /// By the time at which to look at it again: not later than when something of it expires.
    pub due: Listing,
    /// By the time of the oldest thing that may be evicted: not later than that.
    pub oldest: Listing,
    /// By the size class of the history.
    pub largest: Listing,
    /// The bytes of all histories.
    pub history_len: usize,
    /// By name: all that clients can name.
    pub names: Names,
}

impl Lists {
    /// Lists a channel anew after a change.
    pub fn settle(&mut self, name: &ChannelName, channel: &mut ChannelState) {
        let history_len = channel.history_len();
        self.history_len = self.history_len - channel.listed.history_len + history_len;
        channel.listed.history_len = history_len;
        self.largest.list(name, &mut channel.listed.class, class_of(history_len));
        let since = channel.evictable_since();
        if since < channel.listed.oldest || since == UNLISTED {
            self.oldest.list(name, &mut channel.listed.oldest, since);
        }
        // A later time is found when the channel is looked at: a publication moves nothing here.
        let due = channel.due();
        if due < channel.listed.due {
            self.due.list(name, &mut channel.listed.due, due);
        }
    }
}

impl Shard {
    /// Removes a channel if it is unused. True if it was.
    #[must_use]
    pub fn remove_if_unused(&mut self, name: &ChannelName, now: Millis) -> bool {
        let is_unused = self.channels.get(name).is_some_and(|channel| channel.is_unused(now));
        if is_unused {
            self.remove(name);
        }
        is_unused
    }

    /// Removes what has expired, about `most` publications, keys and channels. Returns their number; 0 if nothing is
    /// due.
    #[must_use]
    pub fn expire(&mut self, now: Millis, most: usize, account: &Account) -> usize {
        let mut done = 0;
        while done < most
            && let Some((_, name)) = self.lists.due.first().filter(|&&(at, _)| at <= now.0).cloned()
        {
            done += 1;
            let Some(channel) = self.channels.get_mut(&name) else {
                unreachable!("a listed channel is known")
            };
            done += channel.history.expire_some(now.0, &channel.limits, most.saturating_sub(done));
            done += channel.keys.expire_some(now, most.saturating_sub(done), account);
            if let Some(audience) = &mut channel.audience {
                audience.expire(now);
                if audience.take_count_due(now) {
                    self.counts_due.push(name.clone());
                }
            }
            if let Some(presence) = &mut channel.presence {
                done += presence.expire(now, most.saturating_sub(done));
                presence.recount(account.ledger());
                if presence.is_to_tell(now) || presence.has_news() {
                    self.presence_due.push(name.clone());
                }
            }
            channel.presence.take_if(|presence| presence.is_idle());
            channel.forget_empty_audience();
            self.lists.settle(&name, channel);
            let due = channel.due();
            self.lists.due.list(&name, &mut channel.listed.due, due);
            if channel.is_unused(now) {
                self.remove(&name);
            }
        }
        done
    }

    /// Evicts the oldest publications of the largest history, until it is of another class, not above `share`, or
    /// enough is free. Returns their number.
    #[must_use]
    pub fn evict_of_largest(&mut self, share: usize, is_enough: impl Fn() -> bool) -> usize {
        let Some((class, name)) = self.lists.largest.last().cloned() else { return 0 };
        let Some(channel) = self.channels.get_mut(&name) else { unreachable!("a listed channel is known") };
        let mut evicted = 0;
        while !is_enough()
            && let held_len = channel.history_len()
            && held_len > share
            && class_of(held_len) == class
            && channel.history.evict_oldest()
        {
            evicted += 1;
        }
        self.lists.settle(&name, channel);
        evicted
    }

    /// Evicts the oldest publication that is listed, or removes the channel if it has neither publications nor
    /// subscribers. Returns the number of publications; 0 also if the channel proves to be listed too early.
    #[must_use]
    pub fn evict_oldest(&mut self) -> usize {
        let Some((at, name)) = self.lists.oldest.first().cloned() else { return 0 };
        let Some(channel) = self.channels.get_mut(&name) else { unreachable!("a listed channel is known") };
        let mut evicted = 0;
        if channel.evictable_since() == at {
            let has_cached = channel.audience.as_ref().is_some_and(|audience| audience.cached_at().is_some());
            if channel.history.is_empty() && !has_cached {
                self.remove(&name);
                return 0;
            }
            evicted = usize::from(channel.history.evict_oldest() || channel.evict_cached());
            self.lists.settle(&name, channel);
        }
        let since = channel.evictable_since();
        self.lists.oldest.list(&name, &mut channel.listed.oldest, since);
        evicted
    }

    fn remove(&mut self, name: &ChannelName) {
        let Some(mut channel) = self.channels.remove(name) else { return };
        self.lists.due.list(name, &mut channel.listed.due, UNLISTED);
        self.lists.oldest.list(name, &mut channel.listed.oldest, UNLISTED);
        self.lists.largest.list(name, &mut channel.listed.class, UNLISTED);
        self.lists.names.remove(name);
        self.lists.history_len -= channel.listed.history_len;
        if channel.sequence > 0 {
            self.removed_epoch = self.removed_epoch.max(channel.epoch);
        }
        if self.channels.len() < self.channels.capacity() / 4 {
            self.channels.shrink_to_fit();
        }
    }
}

/// The number of the size class of a history of `len` bytes; an empty one has none.
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
