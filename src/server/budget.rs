//! The budget of memory (`--max-memory`): what each loop holds for its clients, and what the broker holds for all.
//!
//! Which connection is ended when it is exceeded each loop decides for itself.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use crate::server::broker::Broker;
use crate::server::clock::Millis;

/// After this long without an eviction of history, the next one is logged again. At the limit, histories lose a few
/// publications at a time for as long as clients publish, and a line for each would flood the log.
const EVICTION_OVER_MS: u64 = 60_000;

/// The bytes that loops hold, shared by all.
#[derive(Debug)]
pub struct Budget {
    /// The number of bytes that each loop holds for its clients.
    held: Vec<AtomicUsize>,
    /// The number of bytes that known tokens take.
    proofs: AtomicUsize,
    memory_max: u64,
    /// One more than the time of the last eviction of history, in milliseconds; 0 if there was none.
    evicted_at: AtomicU64,
}

impl Budget {
    /// Nothing is held yet, of at most `memory_max` bytes.
    pub fn new(loops: usize, memory_max: u64) -> Self {
        let held = (0..loops).map(|_| AtomicUsize::new(0)).collect();
        Self { held, proofs: AtomicUsize::new(0), memory_max, evicted_at: AtomicU64::new(0) }
    }

    /// Reports how many bytes a loop holds for its clients.
    pub fn hold(&self, loop_index: usize, bytes: usize) {
        self.held[loop_index].store(bytes, Ordering::Relaxed);
    }

    /// Reports how many bytes the known tokens take.
    pub fn hold_proofs(&self, bytes: usize) {
        self.proofs.store(bytes, Ordering::Relaxed);
    }

    /// By how many bytes the limit is exceeded. O(loops).
    pub fn excess(&self, broker: &Broker) -> u64 {
        let held: usize = self.held.iter().map(|bytes| bytes.load(Ordering::Relaxed)).sum();
        let held = held + self.proofs.load(Ordering::Relaxed);
        ((held + broker.held_len()) as u64).saturating_sub(self.memory_max)
    }

    /// Evicts history until the limit is not exceeded any more, and logs that when it begins.
    pub fn shed(&self, broker: &Broker, now: Millis) {
        let evicted = broker.shed(|| self.excess(broker) == 0);
        if evicted == 0 {
            return;
        }
        let before = self.evicted_at.swap(now.0 + 1, Ordering::Relaxed);
        if before == 0 || now.0 >= before + EVICTION_OVER_MS {
            tracing::warn!(
                evicted,
                "--max-memory is reached: history is evicted, and reconnecting subscribers are told of a gap"
            );
        }
    }
}
