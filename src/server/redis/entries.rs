//! The channels that this node has, and what of theirs waits for its turn.
//!
//! What happens to a channel is in `joins`.

use std::collections::{HashMap, VecDeque};

use super::lead::Lead;
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

/// Channels that nobody wants, and are kept for a minute all the same: above this they are left in the order in which they were
/// wanted last. Requests that look into a channel each, and into another one each time, so hold no more than some megabytes here and
/// subscriptions at Redis.
pub const UNWANTED_MAX: usize = 10_000;

/// The channels.
#[derive(Debug, Default)]
pub struct Joins {
    pub entries: HashMap<ChannelName, Entry>,
    /// By when something is due.
    pub due: Listing,
    /// Those that nobody wants, the one that was wanted last at the end. Those that are wanted again may be here too.
    pub unwanted: VecDeque<ChannelName>,
    /// Those that are to be joined anew, the one with the most readers first.
    pub to_connect: VecDeque<ChannelName>,
    /// Those that are to be told that Redis is away.
    pub to_pause: VecDeque<ChannelName>,
    /// Those of which Redis is to be told again that they are in use here.
    pub to_renew: VecDeque<ChannelName>,
    /// How many may miss something.
    pub late_len: usize,
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
    /// Since when something of it may be missing, if it may.
    pub late_since: Option<Millis>,
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
    /// Redis's clock.
    pub lead: Lead,
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
            || !self.to_renew.is_empty() && self.opens < OPENS_MAX
            || !self.to_pause.is_empty()
            || self.unwanted.len() > UNWANTED_MAX
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

    /// Notes whether something of a channel may be missing.
    pub fn note_whether_late(&mut self, name: &ChannelName, now: Millis) {
        let Some(entry) = self.entries.get_mut(name) else { return };
        match (entry.channel.is_live(), entry.late_since) {
            (true, Some(_)) => {
                entry.late_since = None;
                self.late_len -= 1;
            }
            (false, None) => {
                entry.late_since = Some(now);
                self.late_len += 1;
            }
            (true, None) | (false, Some(_)) => {}
        }
    }

    /// The bytes that may still be held.
    pub fn room(&self) -> usize {
        HELD_LEN_MAX.saturating_sub(self.held_len)
    }
}

/// Who waits until a channel has what Redis has, and until when; in each list the first the longest.
#[derive(Debug, Default)]
pub struct Ahead {
    /// Those for whom Redis was asked how far it is.
    asked: VecDeque<(Millis, JoinWaiter)>,
    /// Those who have come since, and need another answer.
    next: VecDeque<(Millis, JoinWaiter)>,
    /// Those for whom it was answered: they wait until nothing is missing.
    answered: VecDeque<(Millis, JoinWaiter)>,
}

impl Ahead {
    /// Somebody waits.
    pub fn add(&mut self, until: Millis, waiter: JoinWaiter) {
        self.next.push_back((until, waiter));
    }

    /// Whether Redis is to be asked now. One question is in flight, whatever the number of those who wait.
    pub fn ask(&mut self) -> bool {
        if self.asked.is_empty() {
            self.asked.append(&mut self.next);
            return !self.asked.is_empty();
        }
        false
    }

    /// Redis has answered.
    pub fn note_answered(&mut self) {
        self.answered.append(&mut self.asked);
    }

    /// Redis does not answer what it was asked: those for whom it was have waited long enough.
    pub fn note_refused(&mut self, now: Millis) {
        self.asked.iter_mut().for_each(|(until, _)| *until = now);
    }

    /// The connection that was asked is lost: all is to be asked anew.
    pub fn note_unanswered(&mut self) {
        self.answered.append(&mut self.asked);
        self.answered.append(&mut self.next);
        self.next = std::mem::take(&mut self.answered);
    }

    /// Those for whom it was answered.
    pub fn take_answered(&mut self) -> impl Iterator<Item = JoinWaiter> {
        std::mem::take(&mut self.answered).into_iter().map(|(_, waiter)| waiter)
    }

    /// Those who have waited long enough.
    pub fn take_late(&mut self, now: Millis) -> impl Iterator<Item = JoinWaiter> {
        let mut late = Vec::new();
        for list in [&mut self.asked, &mut self.next, &mut self.answered] {
            let over = list.partition_point(|(until, _)| *until <= now);
            late.extend(list.drain(..over));
        }
        late.into_iter().map(|(_, waiter)| waiter)
    }

    /// Nobody is to wait any more.
    pub fn end_waits(&mut self, now: Millis) {
        let all = self.asked.iter_mut().chain(&mut self.next).chain(&mut self.answered);
        all.for_each(|(until, _)| *until = now);
    }

    /// When somebody has waited long enough.
    pub fn until(&self) -> Option<Millis> {
        let first = |list: &VecDeque<(Millis, JoinWaiter)>| Some(list.front()?.0);
        [&self.asked, &self.next, &self.answered].into_iter().filter_map(first).min()
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
