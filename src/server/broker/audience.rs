//! The audience of a channel as its Pusher clients know it: its members, when their number is told, and the event that is
//! kept for new ones.
//!
//! It is changed under the lock of its channel; who is told of the changes is in `joins`.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::hub::{History, Ledger, Publication, Source};
use crate::pusher::Members;
use crate::server::broker::listing::UNLISTED;
use crate::server::broker::memory::Counted;
use crate::server::broker::untold::Untold;
use crate::server::clock::Millis;

/// How long the last event of a cache channel is kept: what hosted Pusher documents at most.
const CACHED_MS: u64 = 30 * 60 * 1000;

/// A channel with more subscribers than this is told their number at most every [`COUNT_PAUSE_MS`]: else each join would
/// cost a delivery to everybody.
const COUNTED_AT_ONCE_MAX: u64 = 100;

/// The pause between two such notices.
const COUNT_PAUSE_MS: u64 = 5000;

/// For how long a user whose connection ended may come back and be sent what it missed in a cache channel. A page that loses
/// its network tries again after 1, 15 and 30 s.
const RETURN_MS: u64 = 60_000;

/// A client's last sign of life may have been under way while events were: those of this time before it are sent again too.
const ON_THE_WAY_MS: u64 = 5000;

/// How many such users a channel remembers: what a server of a few thousand users loses at once if a proxy restarts.
const LEFT_MAX: usize = 10_000;

/// What a user who reads a cache channel costs there: the identifier, a list of one connection, a place in the table.
const PRESENT_LEN: usize = 192;

/// When a connection last gave a sign of life. The connection notes it, the channels that it reads look it up.
#[derive(Clone, Debug, Default)]
pub struct Heard(Arc<AtomicU64>);

impl Heard {
    /// Heard at this time.
    pub fn new(at: Millis) -> Self {
        Self(Arc::new(AtomicU64::new(at.0)))
    }

    /// It was heard again.
    pub fn note(&self, at: Millis) {
        self.0.store(at.0, Ordering::Relaxed);
    }

    fn at(&self) -> Millis {
        Millis(self.0.load(Ordering::Relaxed))
    }
}

/// What a channel keeps for its Pusher clients. Most channels have none of it.
#[derive(Debug, Default)]
pub struct Audience {
    pub members: Members,
    /// Of whom other nodes are to know something.
    pub untold: Untold,
    cached: Option<Cached>,
    /// Whether a new subscriber has found no cached event since the last one expired.
    is_miss_reported: bool,
    pub count: Count,
    /// In a cache channel, the connections of users: when each was last heard.
    ///
    /// Invariant: no list is empty.
    present: HashMap<Box<str>, Vec<Heard>>,
    /// Users whose connections have ended, the latest last.
    left: VecDeque<Gone>,
    /// Invariant: the bytes of their identifiers.
    left_ids_len: usize,
    counted: Counted,
}

/// A user of a cache channel whose connection has ended.
#[derive(Debug)]
struct Gone {
    user_id: Box<str>,
    /// The last sign of life: what was sent before it has arrived.
    heard_at: Millis,
    at: Millis,
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
    /// The last event; for a user who has come back, all that were published since it was last heard, as far as they are
    /// kept.
    Hit(VecDeque<Arc<Publication>>),
    /// There is none, or it has expired.
    Miss {
        /// Whether this is the first subscriber that finds none.
        is_first: bool,
    },
}

impl Audience {
    /// Whether it can be forgotten.
    pub fn is_empty(&self) -> bool {
        let has_nothing_due = self.count.due_at.is_none() && self.left.is_empty();
        self.members.is_empty()
            && self.untold.is_empty()
            && self.present.is_empty()
            && self.cached.is_none()
            && has_nothing_due
    }

    /// Counts what it holds now, in the count that `ledger` is.
    pub fn recount(&mut self, ledger: &Ledger) {
        let left = self.left.capacity() * size_of::<Gone>() + self.left_ids_len;
        let left = left + self.present.len() * PRESENT_LEN;
        self.counted.set(size_of::<Self>() + self.members.held_len() + left, ledger);
    }

    /// When something of it is due next.
    pub fn due(&self) -> u64 {
        let expires = self.cached.as_ref().map_or(UNLISTED, |cached| cached.at.0 + CACHED_MS);
        let forgotten = self.left.front().map_or(UNLISTED, |gone| gone.at.0 + RETURN_MS);
        self.count.due_at.map_or(UNLISTED, |at| at.0).min(expires).min(forgotten)
    }

    /// Since when the cached event is kept, which may be evicted.
    pub fn cached_at(&self) -> Option<Millis> {
        self.cached.as_ref().map(|cached| cached.at)
    }

    /// Forgets the cached event.
    pub fn evict(&mut self) -> bool {
        self.cached.take().is_some()
    }

    /// Forgets the cached event if it has expired, and users who did not come back.
    pub fn expire(&mut self, now: Millis) {
        if self.cached.as_ref().is_some_and(|cached| cached.at.0 + CACHED_MS <= now.0) {
            self.cached = None;
        }
        while self.left.front().is_some_and(|gone| gone.at.0 + RETURN_MS <= now.0) {
            self.forget_first();
        }
    }

    /// Whether the number of subscribers is to be told now. True once.
    #[must_use]
    pub fn take_count_due(&mut self, now: Millis) -> bool {
        self.count.due_at.take_if(|&mut at| at <= now).is_some()
    }

    /// Keeps the event that was just published, if a publisher made it.
    pub fn cache(&mut self, publication: &Arc<Publication>, now: Millis) {
        if is_of_publisher(&publication) {
            self.cached = Some(Cached { publication: Arc::clone(publication), at: now });
            self.is_miss_reported = false;
        }
    }

    /// What a new subscriber of a cache channel is sent of the past: the last event or, if the user has come back, what
    /// `history` has since the user was last heard. That may be events that the user has got: which of the last ones
    /// arrived is not known. A connection of the user that is still there may be the one that was lost: the network does
    /// not tell its end.
    pub fn look_up(&mut self, user_id: Option<&str>, history: &History, now: Millis) -> Cache {
        self.expire(now);
        let Some(cached) = &self.cached else {
            return Cache::Miss { is_first: !std::mem::replace(&mut self.is_miss_reported, true) };
        };
        let heard_at = user_id.and_then(|user_id| {
            let left = self.left.iter().filter(|gone| *gone.user_id == *user_id).map(|gone| gone.heard_at);
            left.chain(self.present.get(user_id).into_iter().flatten().map(Heard::at)).min()
        });
        let mut missed = heard_at.map_or_else(VecDeque::new, |at| {
            history.since(at.0.saturating_sub(ON_THE_WAY_MS)).filter(is_of_publisher).cloned().collect()
        });
        if missed.back().is_none_or(|newest| newest.id != cached.publication.id) {
            missed.push_back(Arc::clone(&cached.publication));
        }
        Cache::Hit(missed)
    }

    fn forget_first(&mut self) {
        self.left_ids_len -= self.left.pop_front().map_or(0, |gone| gone.user_id.len());
        if self.left.is_empty() {
            self.left = VecDeque::new();
        }
    }

    /// A connection of a user reads the channel.
    pub fn note_present(&mut self, user_id: &str, heard: &Heard) {
        self.present.entry(user_id.into()).or_default().push(heard.clone());
    }

    /// A connection of a user reads the channel no more; if it has ended, the user may come back.
    pub fn note_absent(&mut self, user_id: &str, heard: &Heard, has_ended: bool, now: Millis) {
        if let Some(present) = self.present.get_mut(user_id) {
            present.retain(|one| !Arc::ptr_eq(&one.0, &heard.0));
            if present.is_empty() {
                self.present.remove(user_id);
            }
        }
        if has_ended {
            self.note_gone(user_id, heard.at(), now);
        }
    }

    fn note_gone(&mut self, user_id: &str, heard_at: Millis, now: Millis) {
        if self.left.len() == LEFT_MAX {
            self.forget_first();
        }
        self.left_ids_len += user_id.len();
        self.left.push_back(Gone { user_id: user_id.into(), heard_at, at: now });
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

fn is_of_publisher(publication: &&Arc<Publication>) -> bool {
    publication.source == Source::Publisher
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
