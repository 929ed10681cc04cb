//! What has come of a channel while something before it is missing, and how much of that is read at once.
//!
//! What is asked of Redis, and what is delivered, is not known here.

use std::collections::VecDeque;

use bytes::Bytes;

use crate::server::broker::engine::signal::Record;

/// Publications that one read asks for: a megabyte of 16 KiB each, and less than a millisecond of Redis's time.
pub const READ_MAX: u8 = 64;

/// A read asks for fewer if they are large: as many as have this many bytes, by those of the last read. Redis cuts a connection with
/// subscriptions that has more unread than `client-output-buffer-limit pubsub` says, 8 MiB for a minute by default, and a node has
/// several reads in flight.
const READ_LEN: usize = 512 * 1024;

/// After a connection was lost while a read was in flight, it may have been cut for that: the next asks for a part.
pub const READ_PART: u8 = 4;

/// Above this many bytes of publications that came while something before them is missing, further ones are dropped: they are read
/// from Redis when their turn comes.
pub const HELD_LEN_MAX: usize = 1024 * 1024;

/// What a held publication costs besides its bytes.
const HELD_LEN: usize = 64;

/// Publications that wait, and how far it is to be read.
///
/// Invariants: what is held ascends, and `held_len` is its sum, not above [`HELD_LEN_MAX`].
#[derive(Debug)]
pub struct Filling {
    /// What has come meanwhile, ascending.
    pub held: VecDeque<Record>,
    /// Its bytes.
    pub held_len: usize,
    /// The newest publication that is known to exist.
    pub newest: u64,
    /// The last publication of the read in flight.
    pub reading: Option<u64>,
}

impl Filling {
    /// Nothing is held yet, and this publication exists.
    pub fn to(newest: u64) -> Self {
        Self { held: VecDeque::new(), held_len: 0, newest, reading: None }
    }

    /// Holds a publication, unless there is no room: then it is read when its turn comes. The oldest are held rather than the
    /// newest, since Redis forgets those first.
    pub fn hold(&mut self, record: Record, room: usize) {
        let len = record.stored.len() + HELD_LEN;
        let is_new = self.held.back().is_none_or(|last| last.id.sequence < record.id.sequence);
        if is_new && len <= room && self.held_len + len <= HELD_LEN_MAX {
            self.held_len += len;
            self.held.push_back(record);
        }
    }

    /// Takes the first that is held if it is not after `sequence`.
    pub fn take_until(&mut self, sequence: u64) -> Option<Record> {
        self.held.front().filter(|first| first.id.sequence <= sequence)?;
        let record = self.held.pop_front()?;
        self.held_len -= record.stored.len() + HELD_LEN;
        Some(record)
    }
}

/// How many publications like these are to be read at once.
pub fn fitting(stored: &[Option<Bytes>]) -> u8 {
    let lens = stored.iter().flatten().map(Bytes::len);
    let (count, len) = lens.fold((0, 0), |(count, sum), len| (count + 1, sum + len));
    let fitting = (READ_LEN * count)
        .checked_div(len)
        .map_or(READ_MAX, |fitting| u8::try_from(fitting).unwrap_or(READ_MAX));
    fitting.clamp(1, READ_MAX)
}
