//! Publications whose publisher gave them a key: a retry publishes nothing and gets the same answer.
//!
//! Each channel has its own keys, under the channel's lock. Nothing is published here.

use std::collections::{HashMap, VecDeque};
use std::fmt;
use std::sync::Arc;

use aws_lc_rs::digest::{SHA256, digest};

use crate::hub::Published;
use crate::server::broker::answer::Waiter;
use crate::server::broker::fingerprint::Fingerprint;
use crate::server::broker::memory::Account;
use crate::server::clock::Millis;

/// How long a key is known: a publisher that got no answer has retried by then, or given up.
pub const KEY_WINDOW_MS: u64 = 60_000;

/// The longest key, in bytes. A UUID has 36, a SHA-512 in hexadecimal 128.
const KEY_LEN_MAX: usize = 255;

/// A table of this many keys keeps its room.
const KEPT_LEN_MIN: usize = 64;

/// The name that a publisher gives a publication for retries: 1 to 255 visible ASCII characters.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct IdempotencyKey(Arc<str>);

impl IdempotencyKey {
    /// Checks the value of an `Idempotency-Key` field; `None` if it breaks the rule.
    pub fn new(value: &[u8]) -> Option<Self> {
        let is_key = (1..=KEY_LEN_MAX).contains(&value.len()) && value.iter().all(u8::is_ascii_graphic);
        is_key.then(|| Self(str::from_utf8(value).expect("visible ASCII is UTF-8").into()))
    }

    /// The key of an item of a batch that was given this one. It is a few bytes longer than this one, whatever its length.
    pub fn of_item(&self, place: usize) -> Self {
        Self(format!("{}/{place}", self.0).into())
    }

    /// What is kept of the key.
    pub fn digest(&self) -> KeyDigest {
        let digest = digest(&SHA256, self.0.as_bytes());
        let first = digest.as_ref().first_chunk();
        KeyDigest(*first.expect("a digest of SHA-256 has 32 bytes"))
    }
}

/// The first half of a key's SHA-256, by which it is found. Each channel to which a publication goes keeps its own: 16 bytes
/// for each, however long the key is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct KeyDigest([u8; 16]);

#[cfg(test)]
impl KeyDigest {
    pub fn test(number: u8) -> Self {
        Self([number; 16])
    }
}

impl fmt::Display for KeyDigest {
    /// 32 hexadecimal digits.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", u128::from_be_bytes(self.0))
    }
}

/// A key with what is published under it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Keyed {
    /// What is kept of the key.
    pub digest: KeyDigest,
    /// Stands for the publication when the key comes again.
    pub fingerprint: Fingerprint,
}

/// Why nothing was published under a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyRefused {
    /// It was used for another publication.
    Reused,
    /// It would have to be kept for [`KEY_WINDOW_MS`], and memory is short.
    NoRoom,
    /// It would have to be kept likewise, and the keys have used up their share of memory.
    ShareUsed,
}

/// What is known of the publication under a key.
#[derive(Debug)]
pub enum Known {
    /// It was delivered, and this was answered.
    Delivered(Published),
    /// It is with the engine. These made the same publication since, and get its answer.
    Awaited(Vec<Waiter>),
}

/// The known keys of a channel.
#[derive(Debug, Default)]
pub struct IdempotencyKeys {
    /// Each with the fingerprint of its publication.
    known: HashMap<KeyDigest, (Fingerprint, Known)>,
    /// The same keys in the order in which they came.
    by_age: VecDeque<(Millis, KeyDigest)>,
}

impl IdempotencyKeys {
    /// What is known of the key, if anything.
    ///
    /// # Errors
    /// The key was used for a publication with another fingerprint.
    pub fn find(&mut self, key: Keyed) -> Result<Option<&mut Known>, KeyRefused> {
        match self.known.get_mut(&key.digest) {
            Some((before, known)) if *before == key.fingerprint => Ok(Some(known)),
            Some(_) => Err(KeyRefused::Reused),
            None => Ok(None),
        }
    }

    /// Adds a key that is not known.
    pub fn insert(&mut self, key: Keyed, known: Known, now: Millis, account: &Account) {
        account.add_key(self.is_empty());
        self.by_age.push_back((now, key.digest));
        self.known.insert(key.digest, (key.fingerprint, known));
    }

    /// Whether it is not known yet what became of the publication that has a key here.
    pub fn is_awaited(&self, key: KeyDigest) -> bool {
        matches!(self.known.get(&key), Some((_, Known::Awaited(_))))
    }

    /// Ends the wait for an awaited publication: the key has its answer from now on, or is unknown again if nothing was
    /// published. Returns those who made the same publication since.
    #[must_use]
    pub fn settle(&mut self, key: Keyed, published: Option<Published>, account: &Account) -> Vec<Waiter> {
        let Some((fingerprint, known)) = self.known.get_mut(&key.digest) else { return Vec::new() };
        let Known::Awaited(waiters) = known else { return Vec::new() };
        if *fingerprint != key.fingerprint {
            return Vec::new();
        }
        let waiters = std::mem::take(waiters);
        match published {
            Some(published) => *known = Known::Delivered(published),
            None => self.remove(key.digest, account),
        }
        waiters
    }

    /// Removes the keys that have expired.
    pub fn expire(&mut self, now: Millis, account: &Account) {
        self.expire_some(now, usize::MAX, account);
    }

    /// Removes at most `most` keys that have expired. Returns their number.
    pub fn expire_some(&mut self, now: Millis, most: usize, account: &Account) -> usize {
        let mut expired = 0;
        while expired < most
            && let Some((at, _)) = self.by_age.front()
            && now.0 >= at.0 + KEY_WINDOW_MS
            && let Some((_, key)) = self.by_age.pop_front()
        {
            account.remove_key(self.is_empty());
            self.known.remove(&key);
            expired += 1;
        }
        self.release();
        expired
    }

    /// When the oldest of the known keys came.
    pub fn oldest(&self) -> Option<Millis> {
        self.by_age.front().map(|&(at, _)| at)
    }

    /// Whether no key is known.
    pub fn is_empty(&self) -> bool {
        self.by_age.is_empty()
    }

    /// O(known keys): an engine that did not publish is rare.
    fn remove(&mut self, key: KeyDigest, account: &Account) {
        self.known.remove(&key);
        self.by_age.retain(|(_, known)| *known != key);
        account.remove_key(self.is_empty());
        self.release();
    }

    /// Frees the tables once they are empty, and what they do not need any more once they are mostly empty.
    fn release(&mut self) {
        let len = self.by_age.len();
        if len == 0 {
            *self = Self::default();
        } else if self.known.capacity().max(self.by_age.capacity()) > 4 * len.max(KEPT_LEN_MIN) {
            self.known.shrink_to(2 * len);
            self.by_age.shrink_to(2 * len);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hub::PublicationId;

    fn key(text: &str) -> KeyDigest {
        IdempotencyKey::new(text.as_bytes()).unwrap().digest()
    }

    fn keyed(text: &str, fingerprint: u8) -> Keyed {
        Keyed { digest: key(text), fingerprint: Fingerprint::test(fingerprint) }
    }

    fn published(sequence: u64) -> Published {
        Published { id: PublicationId { epoch: 1, sequence }, subscribers: 2 }
    }

    fn found(
        keys: &mut IdempotencyKeys,
        text: &str,
        fingerprint: u8,
    ) -> Result<Option<Published>, KeyRefused> {
        Ok(keys.find(keyed(text, fingerprint))?.map(|known| match known {
            Known::Delivered(published) => *published,
            Known::Awaited(_) => panic!("it is awaited"),
        }))
    }

    #[test]
    fn a_key_has_the_first_answer_for_a_minute() {
        let (mut keys, account) = (IdempotencyKeys::default(), Account::default());
        assert_eq!(found(&mut keys, "a", 1), Ok(None));
        keys.insert(keyed("a", 1), Known::Delivered(published(7)), Millis(5), &account);
        keys.expire(Millis(60_004), &account);
        assert_eq!(found(&mut keys, "a", 1), Ok(Some(published(7))));
        assert_eq!(found(&mut keys, "b", 1), Ok(None));
        keys.expire(Millis(60_005), &account);
        assert_eq!(found(&mut keys, "a", 1), Ok(None));
        assert_eq!((keys.is_empty(), account.held_len()), (true, 0));
    }

    #[test]
    fn a_key_for_something_else_is_an_error() {
        let mut keys = IdempotencyKeys::default();
        keys.insert(keyed("a", 1), Known::Delivered(published(7)), Millis(5), &Account::default());
        assert_eq!(found(&mut keys, "a", 2), Err(KeyRefused::Reused));
    }

    #[test]
    fn an_awaited_key_has_its_answer_once_it_is_settled() {
        let (mut keys, account) = (IdempotencyKeys::default(), Account::default());
        keys.insert(keyed("a", 1), Known::Awaited(vec![Waiter::Nobody]), Millis(5), &account);
        assert!(keys.is_awaited(key("a")));
        assert_eq!(keys.settle(keyed("a", 2), Some(published(6)), &account).len(), 0, "another's");
        assert_eq!(keys.settle(keyed("a", 1), Some(published(7)), &account).len(), 1);
        assert_eq!(found(&mut keys, "a", 1), Ok(Some(published(7))));
        assert_eq!(keys.settle(keyed("a", 1), Some(published(8)), &account).len(), 0, "it is settled once");
        assert_eq!(found(&mut keys, "a", 1), Ok(Some(published(7))));
    }

    #[test]
    fn an_awaited_key_whose_publication_failed_is_unknown_and_a_later_use_has_its_whole_minute() {
        let (mut keys, account) = (IdempotencyKeys::default(), Account::default());
        keys.insert(keyed("a", 1), Known::Awaited(Vec::new()), Millis(0), &account);
        assert!(keys.settle(keyed("a", 1), None, &account).is_empty());
        assert_eq!((keys.is_empty(), account.held_len()), (true, 0));
        keys.insert(keyed("a", 2), Known::Delivered(published(7)), Millis(30_000), &account);
        keys.expire(Millis(60_000), &account);
        assert_eq!(found(&mut keys, "a", 2), Ok(Some(published(7))));
    }

    #[test]
    fn tables_that_were_large_give_their_room_back_while_a_few_keys_are_left() {
        let (mut keys, account) = (IdempotencyKeys::default(), Account::default());
        for at in 0..10_000_u64 {
            let known = Known::Delivered(published(at));
            keys.insert(keyed(&at.to_string(), 1), known, Millis(at), &account);
        }
        keys.expire(Millis(KEY_WINDOW_MS + 9_989), &account);
        assert_eq!(keys.known.len(), 10);
        assert!(keys.known.capacity() < 200 && keys.by_age.capacity() < 200);
        assert_eq!(found(&mut keys, "9999", 1), Ok(Some(published(9_999))));
        assert_eq!(found(&mut keys, "9989", 1), Ok(None));
    }

    #[test]
    fn keys_are_told_apart_by_all_of_their_characters() {
        let long = |last: &str| key(&format!("{}{last}", "k".repeat(254)));
        assert_eq!(long("a"), long("a"));
        assert_ne!(long("a"), long("b"));
        assert_ne!(key("k"), key("k/0"));
        let first = IdempotencyKey::new(b"k").unwrap();
        assert_eq!(first.of_item(0).digest(), key("k/0"));
    }

    #[test]
    fn a_key_is_1_to_255_visible_characters() {
        assert!(IdempotencyKey::new(&[b'k'; 255]).is_some());
        for value in [&b""[..], b"a b", b"a\tb", b"\xff", &[b'k'; 256]] {
            assert_eq!(IdempotencyKey::new(value), None);
        }
    }
}
