//! Random numbers of the engine, and the epochs that are made of them.
//!
//! Who begins an epoch when is `script.lua`'s.

use std::hash::{BuildHasher, RandomState};
use std::sync::LazyLock;
use std::sync::atomic::{AtomicU64, Ordering};

/// A random number. The system is asked once and not for each call of the script, of which every one has such a number: it takes
/// a twentieth of what a publication costs the thread.
pub fn random() -> u64 {
    static KEYED: LazyLock<RandomState> = LazyLock::new(RandomState::new);
    static DRAWN: AtomicU64 = AtomicU64::new(0);
    KEYED.hash_one(DRAWN.fetch_add(1, Ordering::Relaxed))
}

/// An epoch that no channel has had: twelve hexadecimal digits, of which the first is not 0.
pub fn fresh_epoch() -> String {
    const FIRST: u64 = 1 << 44;
    format!("{:x}", FIRST + random() % ((1 << 48) - FIRST))
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn every_epoch_has_twelve_digits_and_none_comes_twice() {
        let epochs: HashSet<_> = (0..10_000).map(|_| fresh_epoch()).collect();
        assert_eq!(epochs.len(), 10_000);
        assert!(epochs.iter().all(|epoch| epoch.len() == 12 && !epoch.starts_with('0')));
    }
}
