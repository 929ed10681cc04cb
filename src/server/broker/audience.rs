//! The audience of a channel as its Pusher clients know it: its members, when their number is told, and the event that is
//! kept for new ones.
//!
//! It is changed under the lock of its channel; who is told of the changes is in `joins`.

use std::sync::Arc;

use crate::hub::{Publication, Source};
use crate::pusher::{Kind, Members};
use crate::server::broker::listing::UNLISTED;
use crate::server::clock::Millis;

/// How long the last event of a cache channel is kept: what hosted Pusher documents at most.
const CACHED_MS: u64 = 30 * 60 * 1000;

/// A channel with more subscribers than this is told their number at most every [`COUNT_PAUSE_MS`]: else each join would
/// cost a delivery to everybody.
const COUNTED_AT_ONCE_MAX: u64 = 100;

/// The pause between two such notices.
const COUNT_PAUSE_MS: u64 = 5000;

/// What a channel keeps for its Pusher clients. Most channels have none of it.
#[derive(Debug, Default)]
pub struct Audience {
    pub members: Members,
    cached: Option<Cached>,
    /// Whether a new subscriber has found no cached event since the last one expired.
    is_miss_reported: bool,
    pub count: Count,
}

#[derive(Debug)]
struct Cached {
    publication: Arc<Publication>,
    at: Millis,
}

/// When the number of subscribers was told last, and whether it has changed since.
#[derive(Debug, Default)]
pub struct Count {
    told: u64,
    told_at: Option<Millis>,
    due_at: Option<Millis>,
}

/// What a new subscriber is sent of the past.
#[derive(Clone, Debug)]
pub enum Cache {
    /// It is no cache channel.
    None,
    /// The last event.
    Hit(Arc<Publication>),
    /// There is none, or it has expired.
    Miss {
        /// Whether this is the first subscriber that finds none.
        is_first: bool,
    },
}

impl Audience {
    /// Whether it can be forgotten.
    pub fn is_empty(&self) -> bool {
        self.members.is_empty() && self.cached.is_none() && self.count.due_at.is_none()
    }

    /// When something of it is due next.
    pub fn due(&self) -> u64 {
        let expires = self.cached.as_ref().map_or(UNLISTED, |cached| cached.at.0 + CACHED_MS);
        self.count.due_at.map_or(UNLISTED, |at| at.0).min(expires)
    }

    /// Since when the cached event is kept, which may be evicted.
    pub fn cached_at(&self) -> Option<Millis> {
        self.cached.as_ref().map(|cached| cached.at)
    }

    /// Forgets the cached event.
    pub fn evict(&mut self) -> bool {
        self.cached.take().is_some()
    }

    /// Forgets the cached event if it has expired.
    pub fn expire(&mut self, now: Millis) {
        if self.cached.as_ref().is_some_and(|cached| cached.at.0 + CACHED_MS <= now.0) {
            self.cached = None;
        }
    }

    /// Whether the number of subscribers is to be told now. True once.
    #[must_use]
    pub fn take_count_due(&mut self, now: Millis) -> bool {
        self.count.due_at.take_if(|&mut at| at <= now).is_some()
    }

    /// Keeps the event that was just published, if a publisher made it.
    pub fn cache(&mut self, publication: &Arc<Publication>, now: Millis) {
        if publication.source == Source::Publisher {
            self.cached = Some(Cached { publication: Arc::clone(publication), at: now });
            self.is_miss_reported = false;
        }
    }

    /// What a new subscriber of a channel of this kind is sent of the past.
    pub fn look_up(&mut self, kind: Kind, now: Millis) -> Cache {
        if !kind.is_cache {
            return Cache::None;
        }
        self.expire(now);
        match &self.cached {
            Some(cached) => Cache::Hit(Arc::clone(&cached.publication)),
            None => Cache::Miss { is_first: !std::mem::replace(&mut self.is_miss_reported, true) },
        }
    }
}

impl Audience {
    /// The payload of the cached event, and the milliseconds until it expires.
    pub fn cached(&mut self, now: Millis) -> Option<(String, u64)> {
        self.expire(now);
        let Cached { publication, at } = self.cached.as_ref()?;
        let data = String::from_utf8_lossy(&publication.data).into_owned();
        Some((data, at.0 + CACHED_MS - now.0))
    }
}

impl Count {
    /// Whether that many subscribers are to be told of their number now; otherwise it may be due later.
    pub fn is_to_be_told(&mut self, subscribers: u64, now: Millis) -> bool {
        let pause_end = self.told_at.map(|at| Millis(at.0 + COUNT_PAUSE_MS)).filter(|&end| end > now);
        match pause_end {
            Some(end) if subscribers > COUNTED_AT_ONCE_MAX => {
                self.due_at = Some(end);
                false
            }
            _ => {
                self.due_at = None;
                self.told_at = Some(now);
                std::mem::replace(&mut self.told, subscribers) != subscribers && subscribers > 0
            }
        }
    }
}
