//! Those who are in a channel without a name: how many they are, and for how long one who has left still counts.
//!
//! Who has a name is in `presence`.

use std::collections::VecDeque;

use crate::server::broker::listing::UNLISTED;
use crate::server::clock::Millis;

/// How long who has left still counts: a page that is loaded again is back by then.
const LINGER_MS: u64 = 5000;

/// The same for a long poll, whose client may be slow to ask again.
pub const POLL_LINGER_MS: u64 = 30_000;

/// Those who are there without a name.
///
/// One who goes leaves a seat, which counts for a while. Who comes takes the seat that was left last: so a client that
/// polls has one seat in turn, and the seats of those who stay away become old.
#[derive(Debug, Default)]
pub struct Unnamed {
    here: u64,
    /// When the seats left stop counting, the earliest first; those of pollers apart, which count longer.
    left: [VecDeque<Millis>; 2],
}

impl Unnamed {
    pub fn len(&self) -> u64 {
        self.here + self.left.iter().map(VecDeque::len).sum::<usize>() as u64
    }

    pub fn come(&mut self, is_poll: bool) {
        self.left[usize::from(is_poll)].pop_back();
        self.here += 1;
    }

    pub fn go(&mut self, is_poll: bool, now: Millis) {
        debug_assert!(self.here > 0, "who goes was here");
        self.here = self.here.saturating_sub(1);
        self.left[usize::from(is_poll)].push_back(Millis(now.0 + linger_ms(is_poll)));
    }

    /// One of them has a name now.
    pub fn become_named(&mut self) {
        debug_assert!(self.here > 0, "who gets a name was here");
        self.here = self.here.saturating_sub(1);
    }

    pub fn due(&self) -> u64 {
        self.left.iter().filter_map(VecDeque::front).map(|until| until.0).min().unwrap_or(UNLISTED)
    }

    pub fn expire(&mut self, now: Millis, most: usize) -> usize {
        let mut done = 0;
        for seats in &mut self.left {
            while done < most && seats.front().is_some_and(|&until| until <= now) {
                seats.pop_front();
                done += 1;
            }
            if seats.len() < seats.capacity() / 4 {
                seats.shrink_to_fit();
            }
        }
        done
    }

    pub fn held_len(&self) -> usize {
        self.left.iter().map(|seats| seats.capacity() * size_of::<Millis>()).sum()
    }
}

/// How long one that has left still counts.
pub fn linger_ms(is_poll: bool) -> u64 {
    if is_poll { POLL_LINGER_MS } else { LINGER_MS }
}
