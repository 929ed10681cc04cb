//! The broker's memory account: what a publication, a channel and a key are counted as, and their sum.
//!
//! What is kept and what is removed is decided elsewhere; `--max-memory` is compared with the sum.

use std::sync::atomic::{AtomicUsize, Ordering};

use crate::hub::{Frames, Ledger};

/// What a publication costs besides its payload: its names and counts, the references in mailboxes and history. The
/// account, the histories and the mailboxes all count with it.
pub const PUBLICATION_LEN: usize = 384;

/// What a channel costs: its name, its state, its places in the table and in four lists. 200,000 with a publication
/// each have 1,010 bytes a channel resident.
const CHANNEL_LEN: usize = 640;

/// What a known idempotency key costs: its place in a table and in a queue, each of which has room for up to twice as many,
/// and the answer.
const KEY_LEN: usize = 128;

/// What the first key of a channel costs besides: the smallest tables have room for three.
const KEYS_LEN: usize = 256;

/// The idempotency keys of the last minute may take this part of `--max-memory`: 1,000,000 of one channel by default. They
/// cannot be evicted, since they are a promise, so they must not take what others need.
pub const KEY_PARTS: u64 = 8;

/// What a publication costs with its payload, without the frames it is encoded to.
pub fn publication_len(payload_len: usize) -> usize {
    payload_len + PUBLICATION_LEN
}

/// The account of a broker. A publication is counted until the last reference to it is dropped, wherever that is held;
/// so are the frames that are made of it.
#[derive(Debug, Default)]
pub struct Account {
    ledger: Ledger,
    channels_len: AtomicUsize,
    keys_len: AtomicUsize,
    keyed_len: AtomicUsize,
}

impl Account {
    /// The bytes of all channels, their histories and known keys, and of the publications in mailboxes.
    pub fn held_len(&self) -> usize {
        self.ledger.bytes() + self.keys_held() + self.channels_len() * CHANNEL_LEN
    }

    /// The number of channels.
    pub fn channels_len(&self) -> usize {
        self.channels_len.load(Ordering::Relaxed)
    }

    /// The count of what is held besides channels.
    pub fn ledger(&self) -> &Ledger {
        &self.ledger
    }

    /// Counts a new channel.
    pub fn add_channel(&self) {
        self.channels_len.fetch_add(1, Ordering::Relaxed);
    }

    /// Counts channels that were removed.
    pub fn remove_channels(&self, count: usize) {
        self.channels_len.fetch_sub(count, Ordering::Relaxed);
    }

    /// The frames of a new publication, none yet; while they exist, the publication is counted.
    pub fn add_publication(&self, payload_len: usize) -> Frames {
        Frames::counted(&self.ledger, publication_len(payload_len))
    }

    /// What known keys keep from being freed: themselves, and the channels that they are of.
    pub fn kept_by_keys(&self) -> usize {
        self.keys_held() + self.keyed_len.load(Ordering::Relaxed) * CHANNEL_LEN
    }

    fn keys_held(&self) -> usize {
        self.keys_len.load(Ordering::Relaxed) * KEY_LEN + self.keyed_len.load(Ordering::Relaxed) * KEYS_LEN
    }

    /// Counts a new key.
    pub fn add_key(&self, is_first_of_channel: bool) {
        self.keys_len.fetch_add(1, Ordering::Relaxed);
        self.keyed_len.fetch_add(usize::from(is_first_of_channel), Ordering::Relaxed);
    }

    /// Counts a key as removed.
    pub fn remove_key(&self, was_last_of_channel: bool) {
        self.keys_len.fetch_sub(1, Ordering::Relaxed);
        self.keyed_len.fetch_sub(usize::from(was_last_of_channel), Ordering::Relaxed);
    }
}

/// What a part of a channel is counted as, until that is dropped.
#[derive(Debug, Default)]
pub struct Counted {
    ledger: Ledger,
    bytes: usize,
}

impl Counted {
    /// It holds this many bytes now, in the count that `ledger` is.
    pub fn set(&mut self, bytes: usize, ledger: &Ledger) {
        if self.bytes == 0 {
            self.ledger = ledger.clone();
        }
        ledger.add(bytes);
        ledger.subtract(std::mem::replace(&mut self.bytes, bytes));
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.ledger.subtract(self.bytes);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_account_is_the_sum_of_its_publications_channels_and_keys_while_they_exist() {
        let account = Account::default();
        account.add_channel();
        account.add_channel();
        account.add_key(true);
        account.add_key(false);
        let frames = account.add_publication(100);
        let keys_len = KEYS_LEN + 2 * KEY_LEN;
        assert_eq!(account.held_len(), 2 * CHANNEL_LEN + keys_len + 100 + PUBLICATION_LEN);
        assert_eq!(account.kept_by_keys(), CHANNEL_LEN + keys_len);
        drop(frames);
        account.remove_key(false);
        account.remove_key(true);
        assert_eq!(account.kept_by_keys(), 0);
        assert_eq!((account.held_len(), account.channels_len()), (2 * CHANNEL_LEN, 2));
        account.remove_channels(2);
        assert_eq!(account.held_len(), 0);
    }
}
