//! How a key is used: how often it published, when it was shown last, and from which addresses.
//!
//! Which key it is, is known to `rules`. What is said in metrics and log lines is written elsewhere.

use std::collections::VecDeque;
use std::net::IpAddr;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::server::lock::lock;

/// The addresses that are remembered of a key. A key is for a few servers; with more of them than this, an address that was
/// forgotten is logged again.
const ADDRESSES_MAX: usize = 64;

/// How one key is used, since it was configured.
#[derive(Debug, Default)]
pub struct Usage {
    publishes: AtomicU64,
    /// In seconds since 1970; 0 if never.
    last_used_s: AtomicU64,
    /// The oldest first.
    addresses: Mutex<VecDeque<IpAddr>>,
}

/// The usage of a key at one moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyUse {
    /// The key.
    pub name: String,
    /// The publications that were made by it.
    pub publishes: u64,
    /// When it was last shown, in seconds since 1970; 0 if never.
    pub last_used_s: u64,
}

impl Usage {
    /// It was shown.
    pub fn note_shown(&self, now_s: u64) {
        self.last_used_s.store(now_s, Ordering::Relaxed);
    }

    /// It published.
    pub fn note_published(&self) {
        self.publishes.fetch_add(1, Ordering::Relaxed);
    }

    /// Whether it was not shown from this address before, as far as is remembered.
    pub fn is_new_from(&self, address: IpAddr) -> bool {
        let mut addresses = lock(&self.addresses);
        if addresses.contains(&address) {
            return false;
        }
        if addresses.len() == ADDRESSES_MAX {
            addresses.pop_front();
        }
        addresses.push_back(address);
        true
    }

    /// The numbers at this moment.
    pub fn of(&self, name: &str) -> KeyUse {
        KeyUse {
            name: name.to_owned(),
            publishes: self.publishes.load(Ordering::Relaxed),
            last_used_s: self.last_used_s.load(Ordering::Relaxed),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;

    #[test]
    fn a_use_is_new_from_each_address_once_as_long_as_few_are_remembered() {
        let usage = Usage::default();
        let address = |last: u8| IpAddr::from(Ipv4Addr::new(203, 0, 113, last));
        assert!(usage.is_new_from(address(0)) && !usage.is_new_from(address(0)));
        assert!((1..=64).all(|last| usage.is_new_from(address(last))));
        assert!(!usage.is_new_from(address(1)), "the newest 64 are remembered");
        assert!(usage.is_new_from(address(0)), "and no more");
        assert_eq!(lock(&usage.addresses).len(), ADDRESSES_MAX);
    }

    #[test]
    fn a_key_that_was_never_shown_says_so() {
        let usage = Usage::default();
        assert_eq!(usage.of("a"), KeyUse { name: "a".to_owned(), publishes: 0, last_used_s: 0 });
        usage.note_shown(1_790_000_000);
        usage.note_published();
        let expected = KeyUse { name: "a".to_owned(), publishes: 1, last_used_s: 1_790_000_000 };
        assert_eq!(usage.of("a"), expected);
    }
}
