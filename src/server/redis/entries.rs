//! The channels that this node has, and what of theirs waits for its turn.
//!
//! What happens to a channel is in `joins`.

use std::collections::{HashMap, VecDeque};

use super::topology::MasterId;
use crate::hub::ChannelName;
use crate::server::broker::engine::channel::Channel;
use crate::server::broker::engine::waiting::JoinWaiter;
use crate::server::broker::listing::Listing;
use crate::server::clock::Millis;

/// Channels whose joining is in flight at a master: so many commands are a few milliseconds of Redis, in which it serves nobody
/// else.
pub const OPENS_MAX: usize = 1_000;

/// Reads in flight, each of 64 publications at most: of 16 KiB each they are 8 MiB.
pub const READS_MAX: usize = 8;

/// The bytes that all channels together may hold because something before them is missing.
pub const HELD_LEN_MAX: usize = 64 * 1024 * 1024;

/// Channels that are told in a turn that Redis is away or back.
pub const TOLD_MAX: usize = 500;

/// The channels.
#[derive(Debug, Default)]
pub struct Joins {
    pub entries: HashMap<ChannelName, Entry>,
    /// By when something is due.
    pub due: Listing,
    /// Those that are to be joined anew, the one with the most readers first.
    pub to_connect: VecDeque<ChannelName>,
    /// Those that are to be told that Redis is away.
    pub to_pause: VecDeque<ChannelName>,
    /// When those that are at no master are looked at again.
    pub connect_at: Option<Millis>,
    /// Reads that wait for others.
    pub to_read: VecDeque<(ChannelName, u64, u64, u64)>,
    pub opens: usize,
    pub reads: usize,
    pub held_len: usize,
    pub next_serial: u32,
}

/// A channel.
#[derive(Debug)]
pub struct Entry {
    pub channel: Channel,
    /// Where it is subscribed, or is being.
    pub home: Option<MasterId>,
    /// Where it is opened and read, if its slot is on its way there.
    pub asking: Option<MasterId>,
    /// How often its subscription was refused since it last was not.
    pub refusals: u8,
    /// Since when it is at no master, if it is.
    pub lost_at: Millis,
    /// Who waits until it is ready, and until when; the first the longest.
    pub waiters: VecDeque<(Millis, JoinWaiter)>,
    /// Who waits until it has what Redis has, though it is ready.
    pub ahead: Option<Box<Ahead>>,
    /// Whether the broker has let go of it: who wants it again begins anew.
    pub is_let_go: bool,
    /// Whether its readers were told that Redis is away.
    pub is_paused: bool,
    /// How many subscribers the last open said that was answered, and the last one at all by this connection.
    pub heard: u64,
    pub said: u64,
    /// When this node has last heard that the channel is vacated by what it said.
    pub vacated_at: Option<Millis>,
    /// How much Redis's clock is ahead of the server's, in milliseconds.
    pub ahead_ms: i64,
    pub listed: u64,
}

impl Joins {
    /// When something is due for a channel.
    pub fn due(&self) -> Option<Millis> {
        self.due.first().map(|&(at, _)| Millis(at)).into_iter().chain(self.connect_at).min()
    }

    /// Whether another turn has something to do at once.
    pub fn is_ready(&self) -> bool {
        !self.to_connect.is_empty() && self.opens < OPENS_MAX
            || !self.to_read.is_empty() && self.reads < READS_MAX
            || !self.to_pause.is_empty()
    }

    /// A channel by the text of its name.
    pub fn name(&self, name: &str) -> Option<ChannelName> {
        self.entries.get_key_value(name).map(|(name, _)| name.clone())
    }

    /// How many channels there are.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Who waits until a channel that is ready has what Redis has.
    pub fn ahead_of(&mut self, name: &ChannelName) -> Option<&mut Ahead> {
        Some(&mut **self.entries.get_mut(name)?.ahead.get_or_insert_default())
    }

    /// Whether readers have joined a channel, or may.
    pub fn is_ready_here(&self, name: &ChannelName) -> bool {
        self.entries.get(name).is_some_and(|entry| entry.channel.is_ready())
    }

    /// The bytes that may still be held.
    pub fn room(&self) -> usize {
        HELD_LEN_MAX.saturating_sub(self.held_len)
    }
}

/// Who waits until a channel has what Redis has.
#[derive(Debug, Default)]
pub struct Ahead {
    /// For whom Redis was asked how far it is.
    pub asked: Vec<JoinWaiter>,
    /// Who has come since, and needs another answer.
    pub next: Vec<JoinWaiter>,
    /// For whom it was answered: they wait until nothing is missing.
    pub answered: Vec<JoinWaiter>,
}

impl Ahead {
    /// All of them.
    pub fn take_all(&mut self) -> impl Iterator<Item = JoinWaiter> {
        let Self { asked, next, answered } = std::mem::take(self);
        asked.into_iter().chain(next).chain(answered)
    }

    /// Those for whom it was answered.
    pub fn take_answered(&mut self) -> Vec<JoinWaiter> {
        std::mem::take(&mut self.answered)
    }

    /// Whether nobody waits.
    pub fn is_empty(&self) -> bool {
        self.asked.is_empty() && self.next.is_empty() && self.answered.is_empty()
    }
}

/// A channel whose call was sent elsewhere.
#[derive(Debug, Default)]
pub struct Redirected {
    /// Where it goes next, if its slot is on its way there.
    pub to: Option<MasterId>,
    /// How often it was sent elsewhere.
    pub hops: u8,
}
