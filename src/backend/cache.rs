//! What is known of channels, by credentials and action, until it ends: a client that comes back is asked about again only
//! when its answer has run out.
//!
//! How it became known is not known here.

use std::collections::{BTreeSet, HashMap};

use super::call::Action;
use super::credentials::CredentialsDigest;
use super::decision::{Decision, Person};
use crate::hub::ChannelName;

/// The most decisions: with short names, about 20 MB.
pub const CACHE_MAX: usize = 65_536;

/// The most bytes of decisions: a user's `info` is up to 1 KiB.
pub const CACHE_LEN_MAX: usize = 32 * 1024 * 1024;

/// What a decision is kept by.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Key {
    pub digest: CredentialsDigest,
    pub action: Action,
    pub channel: ChannelName,
}

/// Decisions by their keys.
///
/// Invariant: `by_end` has the keys of `kept`, each at its end; `held_len` is the sum of their lengths.
#[derive(Debug)]
pub(super) struct Cache {
    max: usize,
    len_max: usize,
    kept: HashMap<Key, Kept>,
    by_end: BTreeSet<(u64, u64)>,
    /// By the numbers that `by_end` has.
    keys: HashMap<u64, Key>,
    next: u64,
    held_len: usize,
}

#[derive(Debug)]
struct Kept {
    decision: Decision,
    ends_at_ms: u64,
    number: u64,
}

impl Cache {
    /// For that many decisions and bytes of them.
    pub(super) fn new(max: usize, len_max: usize) -> Self {
        Self {
            max,
            len_max,
            kept: HashMap::new(),
            by_end: BTreeSet::new(),
            keys: HashMap::new(),
            next: 0,
            held_len: 0,
        }
    }

    /// What is known.
    pub(super) fn find(&self, key: &Key, now_ms: u64) -> Option<&Decision> {
        let kept = self.kept.get(key).filter(|kept| now_ms < kept.ends_at_ms)?;
        Some(&kept.decision)
    }

    /// Keeps a decision until then. Where there is no room, those that end first are forgotten, possibly this one.
    pub(super) fn keep(&mut self, key: Key, decision: Decision, ends_at_ms: u64) {
        self.forget(&key);
        let number = self.next;
        self.next += 1;
        self.held_len += held_len(&key, &decision);
        self.by_end.insert((ends_at_ms, number));
        self.keys.insert(number, key.clone());
        self.kept.insert(key, Kept { decision, ends_at_ms, number });
        while self.kept.len() > self.max || self.held_len > self.len_max {
            self.forget_first();
        }
        debug_assert!(self.kept.len() == self.by_end.len() && self.kept.len() == self.keys.len());
    }

    /// Forgets what has ended.
    pub(super) fn expire(&mut self, now_ms: u64) {
        while self.by_end.first().is_some_and(|&(ends_at_ms, _)| ends_at_ms <= now_ms) {
            self.forget_first();
        }
    }

    /// Forgets what is known of a user. O(decisions).
    pub(super) fn forget_user(&mut self, sub: &str) {
        let is_of_user = |kept: &Kept| match &kept.decision {
            Decision::Yes(grant) => {
                grant.person.as_ref().and_then(|person| person.sub.as_deref()) == Some(sub)
            }
            Decision::No(_) | Decision::Fault(_) => false,
        };
        let of_user = self.kept.iter().filter(|(_, kept)| is_of_user(kept));
        let of_user: Vec<_> = of_user.map(|(key, _)| key.clone()).collect();
        of_user.iter().for_each(|key| self.forget(key));
    }

    /// How many decisions are kept.
    pub(super) fn len(&self) -> usize {
        self.kept.len()
    }

    /// Bytes held for them, about.
    pub(super) fn held_len(&self) -> usize {
        self.held_len
    }

    fn forget_first(&mut self) {
        let Some(&(_, number)) = self.by_end.first() else { return };
        if let Some(key) = self.keys.get(&number).cloned() {
            self.forget(&key);
        }
    }

    fn forget(&mut self, key: &Key) {
        let Some(kept) = self.kept.remove(key) else { return };
        self.by_end.remove(&(kept.ends_at_ms, kept.number));
        self.keys.remove(&kept.number);
        self.held_len -= held_len(key, &kept.decision);
    }
}

/// A decision, its key in two tables, and what these need beside. What several share is counted for each.
fn held_len(key: &Key, decision: &Decision) -> usize {
    const TABLES_LEN: usize = 96;
    let text = |text: &Option<Box<str>>| text.as_ref().map_or(0, |text| text.len());
    let person_len = |person: &Person| size_of::<Person>() + text(&person.sub) + text(&person.info);
    let decision_len = match decision {
        Decision::Yes(grant) => grant.person.as_deref().map_or(0, person_len),
        Decision::No(message) => message.as_ref().map_or(0, |message| message.len()),
        Decision::Fault(_) => 0,
    };
    TABLES_LEN + 2 * size_of::<Key>() + size_of::<Kept>() + key.channel.as_str().len() + decision_len
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::super::credentials::{Credentials, Fields};
    use super::super::decision::Grant;
    use super::*;

    fn key(channel: u32) -> Key {
        Key {
            digest: Credentials::new(Fields::default(), "").digest(),
            action: Action::Subscribe,
            channel: ChannelName::new(&channel.to_string()).unwrap(),
        }
    }

    #[test]
    fn a_decision_is_known_until_it_ends() {
        let mut cache = Cache::new(8, usize::MAX);
        cache.keep(key(1), Decision::No(None), 10);
        cache.keep(key(2), Decision::No(None), 20);
        assert_eq!((cache.find(&key(1), 9), cache.find(&key(1), 10)), (Some(&Decision::No(None)), None));
        cache.expire(10);
        assert_eq!((cache.len(), cache.find(&key(2), 10)), (1, Some(&Decision::No(None))));
        cache.keep(key(2), Decision::No(Some("b".into())), 15);
        assert_eq!(cache.len(), 1, "the newest alone");
        assert_eq!(cache.find(&key(2), 14), Some(&Decision::No(Some("b".into()))));
        cache.expire(15);
        assert_eq!((cache.len(), cache.held_len()), (0, 0));
    }

    #[test]
    fn of_too_many_those_that_end_first_are_forgotten() {
        let mut cache = Cache::new(3, usize::MAX);
        for (number, ends_at_ms) in [(1, 40), (2, 10), (3, 30), (4, 20)] {
            cache.keep(key(number), Decision::No(None), ends_at_ms);
        }
        let known = |cache: &Cache| (1..=5).filter(|&n| cache.find(&key(n), 0).is_some()).collect::<Vec<_>>();
        assert_eq!(known(&cache), [1, 3, 4]);
        cache.keep(key(5), Decision::No(None), 5);
        assert_eq!(known(&cache), [1, 3, 4], "it ends first itself");
    }

    #[test]
    fn a_user_is_forgotten_and_no_other() {
        let mut cache = Cache::new(8, usize::MAX);
        for (number, sub) in [(1, "u1"), (2, "u2"), (3, "u1")] {
            let person = Some(Arc::new(Person { sub: Some(sub.into()), info: None }));
            cache.keep(key(number), Decision::Yes(Grant { person, sees: false, ends_at_ms: 9 }), 9);
        }
        cache.keep(key(4), Decision::No(None), 9);
        cache.forget_user("u1");
        let known: Vec<_> = (1..=4).filter(|&number| cache.find(&key(number), 0).is_some()).collect();
        assert_eq!((known, cache.len()), (vec![2, 4], 2));
    }

    #[test]
    fn long_decisions_are_bounded_by_their_bytes() {
        let mut cache = Cache::new(usize::MAX, 10_000);
        for number in 0..100 {
            cache.keep(key(number), Decision::No(Some("x".repeat(800).into())), u64::from(number) + 1);
            assert!(cache.held_len() <= 10_000);
        }
        assert!((5..12).contains(&cache.len()), "{}", cache.len());
        assert!(cache.find(&key(99), 0).is_some());
    }
}
