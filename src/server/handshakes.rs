//! How many TLS handshakes wait for their turn, over all loops.
//!
//! Which they are, and when they have it, is each loop's to know.

use std::sync::atomic::{AtomicUsize, Ordering};

/// When more wait, no connection that begins with TLS is accepted; the system holds those who come. They are 50 ms of one
/// core with ECDSA keys, and 150 ms with RSA: the wait of who is accepted last.
const WAITING_MAX: usize = 512;

/// The number of handshakes that have something to be read, and wait for that.
#[derive(Debug, Default)]
pub struct Handshakes {
    waiting: AtomicUsize,
}

impl Handshakes {
    /// One more waits.
    pub fn add(&self) {
        self.waiting.fetch_add(1, Ordering::Relaxed);
    }

    /// One has had its turn.
    pub fn remove(&self) {
        self.waiting.fetch_sub(1, Ordering::Relaxed);
    }

    /// How many wait.
    pub fn waiting(&self) -> usize {
        self.waiting.load(Ordering::Relaxed)
    }

    /// Whether no more are to be begun.
    pub fn are_too_many(&self) -> bool {
        self.waiting() > WAITING_MAX
    }
}
