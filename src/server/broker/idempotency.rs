//! Publications whose publisher gave them a key, so that a retry publishes nothing and gets the same answer.
//!
//! One is kept for each channel, under the channel's lock. Nothing is published here.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use crate::hub::Ledger;
use crate::hub::Published;
use crate::server::clock::Millis;

/// How long a key is known: a publisher that got no answer has tried again by then, or given up.
pub const RETRY_WINDOW_MS: u64 = 60_000;

/// The longest key, in bytes. A UUID has 36, a SHA-512 in hexadecimal 128.
const KEY_LEN_MAX: usize = 255;

/// What a known key costs besides its text: its place in the table and in the queue, the answer.
const ENTRY_LEN: usize = 128;

/// What a publisher calls a publication by, so that it can try again: 1 to 255 visible ASCII characters.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct IdempotencyKey(Arc<str>);

impl IdempotencyKey {
    /// Checks the value of an `Idempotency-Key` field; `None` if it is no key.
    pub fn new(value: &[u8]) -> Option<Self> {
        let is_key = (1..=KEY_LEN_MAX).contains(&value.len()) && value.iter().all(u8::is_ascii_graphic);
        is_key.then(|| Self(str::from_utf8(value).expect("visible ASCII is UTF-8").into()))
    }
}

/// Why nothing was published under a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyRefused {
    /// It was used for another publication.
    Reused,
    /// It would have to be remembered for its time, whatever comes, and there is no room.
    NoRoom,
}

/// The known keys of a channel.
#[derive(Debug, Default)]
pub struct IdempotencyKeys {
    answers: HashMap<IdempotencyKey, (u64, Published)>,
    /// The same keys by when they came.
    order: VecDeque<(Millis, IdempotencyKey)>,
}

impl IdempotencyKeys {
    /// What was answered when the key was first used, if it is known. `fingerprint` stands for what is to be
    /// published.
    pub fn find(&self, key: &IdempotencyKey, fingerprint: u64) -> Result<Option<Published>, KeyRefused> {
        match self.answers.get(key) {
            Some(&(known, published)) if known == fingerprint => Ok(Some(published)),
            Some(_) => Err(KeyRefused::Reused),
            None => Ok(None),
        }
    }

    /// Notes what was answered.
    pub fn insert(
        &mut self,
        key: IdempotencyKey,
        fingerprint: u64,
        published: Published,
        now: Millis,
        ledger: &Ledger,
    ) {
        ledger.add(cost(&key));
        self.order.push_back((now, key.clone()));
        self.answers.insert(key, (fingerprint, published));
    }

    /// Forgets the keys whose time is over.
    pub fn expire(&mut self, now: Millis, ledger: &Ledger) {
        self.expire_some(now, usize::MAX, ledger);
    }

    /// Forgets at most `most` keys whose time is over. How many that were.
    pub fn expire_some(&mut self, now: Millis, most: usize, ledger: &Ledger) -> usize {
        let mut expired = 0;
        while expired < most
            && let Some((at, _)) = self.order.front()
            && now.0 >= at.0 + RETRY_WINDOW_MS
            && let Some((_, key)) = self.order.pop_front()
        {
            ledger.subtract(cost(&key));
            self.answers.remove(&key);
            expired += 1;
        }
        if self.order.is_empty() {
            *self = Self::default();
        }
        expired
    }

    /// When the oldest of the known keys came.
    pub fn oldest(&self) -> Option<Millis> {
        self.order.front().map(|&(at, _)| at)
    }

    /// Whether no key is known.
    pub fn is_empty(&self) -> bool {
        self.order.is_empty()
    }
}

fn cost(key: &IdempotencyKey) -> usize {
    key.0.len() + ENTRY_LEN
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hub::PublicationId;

    fn key(text: &str) -> IdempotencyKey {
        IdempotencyKey::new(text.as_bytes()).unwrap()
    }

    fn published(sequence: u64) -> Published {
        Published { id: PublicationId { epoch: 1, sequence }, subscribers: 2 }
    }

    #[test]
    fn a_retry_finds_the_first_answer_for_a_minute() {
        let (mut retries, ledger) = (IdempotencyKeys::default(), Ledger::default());
        assert_eq!(retries.find(&key("a"), 1), Ok(None));
        retries.insert(key("a"), 1, published(7), Millis(5), &ledger);
        retries.expire(Millis(60_004), &ledger);
        assert_eq!(retries.find(&key("a"), 1), Ok(Some(published(7))));
        assert_eq!(retries.find(&key("b"), 1), Ok(None));
        retries.expire(Millis(60_005), &ledger);
        assert_eq!(retries.find(&key("a"), 1), Ok(None));
        assert_eq!((retries.is_empty(), ledger.bytes()), (true, 0));
    }

    #[test]
    fn a_key_for_something_else_is_an_error() {
        let mut retries = IdempotencyKeys::default();
        retries.insert(key("a"), 1, published(7), Millis(5), &Ledger::default());
        assert_eq!(retries.find(&key("a"), 2), Err(KeyRefused::Reused));
    }

    #[test]
    fn a_key_is_1_to_255_visible_characters() {
        assert!(IdempotencyKey::new(&[b'k'; 255]).is_some());
        for value in [&b""[..], b"a b", b"a\tb", b"\xff", &[b'k'; 256]] {
            assert_eq!(IdempotencyKey::new(value), None);
        }
    }
}
