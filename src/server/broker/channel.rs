//! The state of one channel: its sequence, history, known keys and subscriber counts, and when any of it can go.
//!
//! Nothing is locked here; a channel is found in its shard.

use crate::hub::{History, HistoryLimits};
use crate::pusher::Members;
use crate::server::broker::audience::{Audience, Cache, Heard};
use crate::server::broker::idempotency::{IdempotencyKeys, KEY_WINDOW_MS};
use crate::server::broker::listing::UNLISTED;
use crate::server::broker::memory::PUBLICATION_LEN;
use crate::server::broker::presence::Presence;
use crate::server::broker::roads::Roads;
use crate::server::clock::Millis;

/// A channel without subscribers is removed this long after its last publication and its last subscriber, or when its
/// history has expired if that is later. A client between two long polls, or one that reconnects, then still finds the
/// sequence that it knows.
pub const RETENTION_MS: u64 = 60_000;

/// The state of a channel.
#[derive(Debug)]
pub struct ChannelState {
    /// The epoch of its publications.
    pub epoch: u64,
    /// The sequence of its newest publication; 0 before the first.
    pub sequence: u64,
    /// Publications since the counts were last taken, while publications are counted.
    pub published: u64,
    /// Readers by loop: subscribers and watchers. A loop without any is not woken for a publication.
    ///
    /// Invariant: they are at least as many as the watchers.
    pub readers: Box<[u64]>,
    /// Those of the readers that watch, and are no subscribers.
    pub watchers: u64,
    /// How its subscribers read it.
    pub roads: Roads,
    /// How much of it is kept.
    pub limits: HistoryLimits,
    /// What is kept of it.
    pub history: History,
    /// The idempotency keys of its latest publications.
    pub keys: IdempotencyKeys,
    /// What its Pusher clients know of each other, and the event that is kept for new ones.
    pub audience: Option<Box<Audience>>,
    /// Who is there, where that is told and somebody is.
    pub presence: Option<Box<Presence>>,
    /// Whether a program is told of its publications.
    pub is_tapped: bool,
    /// How it stands with the engine of many nodes.
    pub engagement: Engagement,
    /// Its subscribers at other nodes, while it is engaged.
    pub elsewhere: u32,
    /// When it last had a publication or lost a subscriber.
    pub used_at: Millis,
    /// Its numbers in the shard's lists.
    pub listed: Listed,
}

/// How a channel stands with an engine that many nodes share. Without one, nothing of it is ever so.
#[derive(Clone, Copy, Debug, Default)]
pub struct Engagement {
    /// Whether the engine delivers here what is published to it, so that it can be joined. It is known while that is so.
    pub is_engaged: bool,
    /// Whether somebody was told that it can be joined since the engine last wanted to let go of it.
    pub is_expected: bool,
    /// What was told to whom.
    pub told: Told,
}

/// What was told of a channel, and holds. In a byte: each channel has one.
#[derive(Clone, Copy, Debug, Default)]
pub struct Told(u8);

impl Told {
    /// The engine was told that the number of subscribers has changed, and has not looked since.
    pub const COUNT: Self = Self(1);
    /// The engine was told that others are to know something of who is here, and has not looked since.
    pub const MEMBERS: Self = Self(2);
    /// The subscribers were told that publications may come late, and not yet that they do not any more.
    pub const PAUSED: Self = Self(4);

    /// Whether this was told.
    pub fn has(self, what: Self) -> bool {
        self.0 & what.0 != 0
    }

    /// Adds something. True if it is new.
    pub fn add(&mut self, what: Self) -> bool {
        let before = self.0;
        self.0 |= what.0;
        before != self.0
    }

    /// It does not hold any more.
    pub fn remove(&mut self, what: Self) {
        self.0 &= !what.0;
    }
}

/// The numbers under which a channel is listed.
#[derive(Debug)]
pub struct Listed {
    /// In the list of what expires.
    pub due: u64,
    /// In the list of what can be evicted.
    pub oldest: u64,
    /// In the list of histories by size.
    pub class: u64,
    /// What its history is counted as in the sum of all.
    pub history_len: usize,
}

impl Default for Listed {
    fn default() -> Self {
        Self { due: UNLISTED, oldest: UNLISTED, class: UNLISTED, history_len: 0 }
    }
}

impl ChannelState {
    /// A channel without publications, for that many loops.
    pub fn new(epoch: u64, loops: usize, limits: HistoryLimits) -> Self {
        Self {
            epoch,
            sequence: 0,
            published: 0,
            readers: vec![0; loops].into(),
            watchers: 0,
            roads: Roads::default(),
            limits,
            history: History::default(),
            keys: IdempotencyKeys::default(),
            audience: None,
            presence: None,
            is_tapped: false,
            engagement: Engagement::default(),
            elsewhere: 0,
            used_at: Millis::default(),
            listed: Listed::default(),
        }
    }

    /// The number of subscribers at all nodes, as the others were counted last.
    pub fn subscribers_everywhere(&self) -> u64 {
        self.subscribers_len().saturating_add(self.elsewhere.into())
    }

    /// The number of subscribers on all loops.
    pub fn subscribers_len(&self) -> u64 {
        self.readers.iter().sum::<u64>() - self.watchers
    }

    /// Whether anybody reads it.
    pub fn has_readers(&self) -> bool {
        self.readers.iter().any(|&readers| readers > 0)
    }

    /// The bytes of the history.
    pub fn history_len(&self) -> usize {
        self.history.held_len(PUBLICATION_LEN)
    }

    /// Whether it can be removed without a reconnecting subscriber or a repeating publisher noticing.
    pub fn is_unused(&self, now: Millis) -> bool {
        let is_over = self.sequence == 0 || now.0 >= self.used_at.0 + RETENTION_MS;
        let is_empty = self.history.is_empty() && self.keys.is_empty() && self.has_nobody();
        !self.has_readers() && is_over && is_empty && !self.engagement.is_engaged
    }

    /// Whether it is known for the engine of many nodes alone: somebody has looked into it, and found nothing.
    pub fn is_only_engaged(&self) -> bool {
        let is_empty = self.sequence == 0 && self.keys.is_empty() && self.has_nobody();
        self.engagement.is_engaged && is_empty && !self.has_readers()
    }

    /// When something of it expires next, or the channel itself.
    pub fn due(&self) -> u64 {
        let history = self.history.oldest_ms().map(|at_ms| at_ms.saturating_add(self.limits.age_ms));
        let keys = self.keys.oldest().map(|at| at.0 + KEY_WINDOW_MS);
        let audience = self.audience.as_ref().map(|audience| audience.due()).filter(|&due| due != UNLISTED);
        let presence = self.presence.as_ref().map(|presence| presence.due()).filter(|&due| due != UNLISTED);
        match history.into_iter().chain(keys).chain(audience).chain(presence).min() {
            Some(due) => due,
            // Who reads the companion keeps it, and so does an engine of many nodes.
            None if self.has_readers() || self.presence.is_some() || self.engagement.is_engaged => UNLISTED,
            None => self.used_at.0 + RETENTION_MS,
        }
    }

    /// The time of the oldest thing that may be evicted. Keys may not: they are a promise.
    pub fn evictable_since(&self) -> u64 {
        match self.history.oldest_ms() {
            Some(at_ms) => at_ms,
            None => self.evictable_since_without_history(),
        }
    }

    fn evictable_since_without_history(&self) -> u64 {
        if let Some(at) = self.audience.as_ref().and_then(|audience| audience.cached_at()) {
            return at.0;
        }
        let is_idle = !self.has_readers() && self.keys.is_empty() && self.has_nobody();
        if is_idle && !self.engagement.is_engaged { self.used_at.0 } else { UNLISTED }
    }

    /// Whether nothing is kept of its subscribers.
    fn has_nobody(&self) -> bool {
        self.audience.is_none() && self.presence.is_none()
    }

    /// The members, if the channel has had any since it was empty.
    pub fn members(&self) -> Option<&Members> {
        self.audience.as_ref().map(|audience| &audience.members)
    }

    /// What a new subscriber of a cache channel is sent of the past; notes it if it is a user.
    pub fn look_up(&mut self, user: Option<(&str, &Heard)>, now: Millis) -> Cache {
        let Self { audience, history, .. } = self;
        let audience = audience.get_or_insert_default();
        let cache = audience.look_up(user.map(|(user_id, _)| user_id), history, now);
        if let Some((user_id, heard)) = user {
            audience.note_present(user_id, heard);
        }
        cache
    }

    /// Forgets the cached event. False if there is none.
    pub fn evict_cached(&mut self) -> bool {
        let is_evicted = self.audience.as_mut().is_some_and(|audience| audience.evict());
        self.forget_empty_audience();
        is_evicted
    }

    /// What is kept for Pusher clients; begins if there is nothing yet.
    pub fn audience(&mut self) -> &mut Audience {
        self.audience.get_or_insert_default()
    }

    /// Forgets what is kept for Pusher clients if it says nothing and nobody is left.
    pub fn forget_empty_audience(&mut self) {
        if self.subscribers_len() == 0 && self.audience.as_ref().is_some_and(|audience| audience.is_empty()) {
            self.audience = None;
        }
    }
}
