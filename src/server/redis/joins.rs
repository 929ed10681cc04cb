//! The channels that this node has: what Redis says of each goes to its state, and what that wants is done.
//!
//! What follows from what is in `broker::engine::channel`; how commands look as bytes, in `calls`.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use super::calls::{self, Caller};
use super::line::Up;
use super::link::Asked;
use super::node::Node;
use super::topology::MasterId;
use crate::hub::{ChannelName, Gap, Publication, PublicationId};
use crate::server::broker::draft::{Draft, Excluded};
use crate::server::broker::engine::channel::Channel;
use crate::server::broker::engine::signal::{Action, Event, Opening, Reading, Record, Rules};
use crate::server::broker::engine::stored::{self, BadStored};
use crate::server::broker::engine::waiting::{JoinWaiter, Unavailable};
use crate::server::broker::listing::{Listing, UNLISTED};
use crate::server::clock::Millis;

/// Channels whose joining is in flight at a master: so many commands are a few milliseconds of Redis, in which it serves nobody
/// else.
const OPENS_MAX: usize = 1_000;

/// Reads in flight, each of 64 publications at most: of 16 KiB each they are 8 MiB.
const READS_MAX: usize = 8;

/// The bytes that all channels together may hold because something before them is missing.
const HELD_LEN_MAX: usize = 64 * 1024 * 1024;

/// Channels that are told in a turn that Redis is away or back.
const TOLD_MAX: usize = 500;

/// The channels.
#[derive(Debug, Default)]
pub struct Joins {
    entries: HashMap<ChannelName, Entry>,
    /// By when something is due.
    due: Listing,
    /// Those that are to be joined anew, the one with the most readers first.
    to_connect: VecDeque<ChannelName>,
    /// Those that are to be told that Redis is away.
    to_pause: VecDeque<ChannelName>,
    /// Reads that wait for others.
    to_read: VecDeque<(ChannelName, u64, u64, u64)>,
    opens: usize,
    reads: usize,
    held_len: usize,
    next_serial: u32,
}

/// A channel.
#[derive(Debug)]
struct Entry {
    channel: Channel,
    /// Where it is subscribed, or is being.
    home: Option<MasterId>,
    waiters: Vec<JoinWaiter>,
    /// Whether the broker has let go of it: who wants it again begins anew.
    is_let_go: bool,
    /// Whether its readers were told that Redis is away.
    is_paused: bool,
    /// How much Redis's clock is ahead of the server's, in milliseconds.
    ahead_ms: i64,
    listed: u64,
}

impl Joins {
    /// When something is due for a channel.
    pub fn due(&self) -> Option<Millis> {
        self.due.first().map(|&(at, _)| Millis(at))
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

    fn room(&self) -> usize {
        HELD_LEN_MAX.saturating_sub(self.held_len)
    }
}

/// Orders of the server.
impl Node {
    /// Somebody waits for a channel.
    pub fn want(&mut self, name: ChannelName, waiter: JoinWaiter, now: Millis) {
        let is_away = self.is_away(now);
        let is_fresh = self.joins.entries.get(&name).is_none_or(|entry| entry.is_let_go);
        if is_fresh {
            if is_away {
                return waiter.tell(self.broker.mailboxes(), Err(Unavailable));
            }
            self.begin_channel(&name, now);
        }
        let Some(entry) = self.joins.entries.get_mut(&name) else { return };
        if entry.channel.is_ready() {
            return waiter.tell(self.broker.mailboxes(), Ok(()));
        }
        if is_away {
            return waiter.tell(self.broker.mailboxes(), Err(Unavailable));
        }
        entry.waiters.push(waiter);
        self.take(&name, Event::Wanted, now);
    }

    /// A channel begins, or begins anew after the broker has let go of it.
    fn begin_channel(&mut self, name: &ChannelName, now: Millis) {
        let home = self.connected_home(name);
        self.joins.next_serial = self.joins.next_serial.wrapping_add(1);
        let limits = self.broker.limits_of(name);
        let rules = Rules {
            keep: limits.count as u64,
            renew_ms: calls::ttl_ms(&limits) / 4,
            phase: super::random().to_be_bytes()[0],
        };
        let mut actions = Vec::new();
        let channel = Channel::new(rules, self.joins.next_serial, home.is_some(), now, &mut actions);
        let listed = match self.joins.entries.remove(name) {
            Some(before) => {
                self.joins.held_len -= before.channel.held_len();
                before.listed
            }
            None => UNLISTED,
        };
        let (waiters, is_let_go, is_paused) = (Vec::new(), false, false);
        let entry = Entry { channel, home, waiters, is_let_go, is_paused, ahead_ms: 0, listed };
        self.joins.entries.insert(name.clone(), entry);
        self.perform(name, actions, now);
        self.settle(name);
    }

    /// The master that has the channel, if its subscriptions can be used now.
    fn connected_home(&mut self, name: &ChannelName) -> Option<MasterId> {
        let home = self.topology.home_of(self.keys.channel(name).as_bytes())?;
        self.topology.master(home)?.subscribe.is_up().then_some(home)
    }

    /// The subscribers of a channel have changed.
    pub fn count(&mut self, name: &ChannelName, now: Millis) {
        let (subscribers, has_readers) = self.broker.audience_of(name);
        if !self.joins.entries.contains_key(name) {
            return;
        }
        self.take(name, Event::Counted(subscribers), now);
        self.take(name, if has_readers { Event::Wanted } else { Event::Unwanted }, now);
    }
}

/// Events.
impl Node {
    /// Redis is told again that a channel is in use here.
    pub fn renew(&mut self, name: &ChannelName, now: Millis) {
        self.take(name, Event::Renew, now);
    }

    /// Something happens to a channel.
    fn take(&mut self, name: &ChannelName, event: Event, now: Millis) {
        let Some(entry) = self.joins.entries.get_mut(name) else { return };
        let mut actions = Vec::new();
        if entry.channel.is_quiet(now) && !entry.is_let_go {
            // It may leave now. Nobody may join from here on; if somebody has, it stays.
            if self.broker.disengage(name, now) {
                entry.is_let_go = true;
                self.counts.forget(name);
                self.rosters.forget(name);
                entry.channel.take(Event::Tick, now, &mut actions);
            } else {
                entry.channel.take(Event::Wanted, now, &mut actions);
                let (_, has_readers) = self.broker.audience_of(name);
                if !has_readers {
                    entry.channel.take(Event::Unwanted, now, &mut actions);
                }
            }
        }
        let held_before = entry.channel.held_len();
        entry.channel.take(event, now, &mut actions);
        self.joins.held_len = self.joins.held_len + entry.channel.held_len() - held_before;
        self.perform(name, actions, now);
        self.settle(name);
    }

    /// Lists when something is due for a channel.
    fn settle(&mut self, name: &ChannelName) {
        let Some(entry) = self.joins.entries.get_mut(name) else { return };
        let due = entry.channel.due().map_or(UNLISTED, |at| at.0);
        self.joins.due.list(name, &mut entry.listed, due);
    }

    /// What is due for channels, joins, reads and tidings, as far as there is room for it.
    pub fn tick_channels(&mut self, now: Millis) {
        let mut left = OPENS_MAX;
        while left > 0
            && let Some((_, name)) = self.joins.due.first().filter(|&&(at, _)| at <= now.0).cloned()
        {
            left -= 1;
            self.take(&name, Event::Tick, now);
        }
        while self.joins.opens < OPENS_MAX
            && let Some(name) = self.joins.to_connect.pop_front()
        {
            self.connect_channel(&name, now);
        }
        while self.joins.reads < READS_MAX
            && let Some((name, attempt, from, to)) = self.joins.to_read.pop_front()
        {
            self.send_read(&name, attempt, (from, to));
        }
        for _ in 0..TOLD_MAX {
            let Some(name) = self.joins.to_pause.pop_front() else { break };
            self.pause_channel(&name);
        }
    }

    fn connect_channel(&mut self, name: &ChannelName, now: Millis) {
        let home = self.connected_home(name);
        let Some(entry) = self.joins.entries.get_mut(name).filter(|entry| entry.home.is_none()) else {
            return;
        };
        if home.is_some() {
            entry.home = home;
            self.take(name, Event::Connected, now);
        }
    }

    fn pause_channel(&mut self, name: &ChannelName) {
        let Some(entry) = self.joins.entries.get_mut(name) else { return };
        for waiter in std::mem::take(&mut entry.waiters) {
            waiter.tell(self.broker.mailboxes(), Err(Unavailable));
        }
        if entry.home.is_none() && entry.channel.is_ready() && !entry.is_paused {
            entry.is_paused = true;
            self.broker.pause(name);
        }
    }

    /// The subscriptions at a master can be used: its channels are joined, those with most readers first.
    pub fn subscriptions_up(&mut self, now: Millis) {
        let mut lost: Vec<_> = self
            .joins
            .entries
            .iter()
            .filter(|(_, entry)| entry.home.is_none())
            .map(|(name, entry)| (std::cmp::Reverse(entry.channel.count()), name.clone()))
            .collect();
        lost.sort_unstable();
        self.joins.to_connect = lost.into_iter().map(|(_, name)| name).collect();
        self.tick_channels(now);
    }

    /// The subscriptions at a master are lost.
    pub fn subscriptions_lost(&mut self, master: MasterId, asked: Vec<(Asked, bool)>, now: Millis) {
        for (asked, _) in asked {
            match asked {
                Asked::Open(..) => self.joins.opens -= 1,
                Asked::Read(..) => self.joins.reads -= 1,
                _ => {}
            }
        }
        let of_master = |entry: &&mut Entry| entry.home == Some(master);
        let names: Vec<_> = self
            .joins
            .entries
            .iter_mut()
            .filter(|(_, entry)| of_master(&entry))
            .map(|(name, _)| name.clone())
            .collect();
        names.iter().for_each(|name| self.lose_home(name, now));
    }

    /// A channel is subscribed nowhere now.
    fn lose_home(&mut self, name: &ChannelName, now: Millis) {
        let Some(entry) = self.joins.entries.get_mut(name) else { return };
        if entry.home.take().is_some() {
            self.rosters.miss(name);
            self.take(name, Event::Disconnected, now);
        }
    }

    /// Other masters may have channels than before: those that have moved are joined where they are now.
    pub fn rehome(&mut self, now: Millis) {
        let names: Vec<_> = self.joins.entries.keys().cloned().collect();
        for name in &names {
            let home = self.topology.home_of(self.keys.channel(name).as_bytes());
            let before = self.joins.entries.get(name).and_then(|entry| entry.home);
            if before.is_some() && before != home {
                self.leave_home(name, now);
            }
        }
        self.subscriptions_up(now);
    }

    /// A channel is not at this master any more, and the connection to it is.
    fn leave_home(&mut self, name: &ChannelName, now: Millis) {
        let home = self.joins.entries.get(name).and_then(|entry| entry.home);
        self.lose_home(name, now);
        let key = self.keys.channel(name);
        let is_sharded = self.topology.is_sharded();
        if let Some(up) =
            home.and_then(|home| self.topology.master(home)).and_then(|master| master.subscribe.up())
        {
            up.link.unsubscribe(name.clone(), |out| calls::unsubscribe(key.as_bytes(), is_sharded, out));
        }
    }

    /// Redis has ended a subscription, unless it confirms that we have.
    pub fn unsubscribed(&mut self, master: MasterId, name: &ChannelName, now: Millis) {
        let is_here = self.joins.entries.get(name).is_some_and(|entry| entry.home == Some(master));
        let subscribes = Asked::Subscribe(name.clone());
        let is_coming = |up: &Up| up.link.awaits(&subscribes);
        let is_confirmed = self
            .topology
            .master(master)
            .and_then(|master| master.subscribe.up())
            .is_some_and(|up| is_coming(up) || up.link.awaits(&Asked::Unsubscribe(name.clone())));
        if is_here && !is_confirmed {
            self.lose_home(name, now);
            self.topology.scout(now);
        }
    }

    /// What has come for a channel.
    pub fn pushed(&mut self, master: MasterId, name: &str, record: Record, now: Millis) {
        let Some((name, entry)) = self.joins.entries.get_key_value(name) else { return };
        if entry.home == Some(master) {
            let (name, room) = (name.clone(), self.joins.room());
            self.take(&name, Event::Pushed(record, room), now);
        }
    }

    /// Redis is away: all that wait are told, and all who read.
    pub fn tell_away(&mut self) {
        self.joins.to_pause = self.joins.entries.keys().cloned().collect();
    }
}

/// Answers.
impl Node {
    /// The answer to an open, and Redis's time then.
    pub fn opened(&mut self, name: &ChannelName, attempt: u64, opening: Option<(Opening, u64)>, now: Millis) {
        self.joins.opens -= 1;
        let Some((opening, redis_ms)) = opening else {
            return self.take(name, Event::NotOpened(attempt), now);
        };
        if let Some(entry) = self.joins.entries.get_mut(name) {
            entry.ahead_ms = redis_ms.cast_signed().wrapping_sub(now.0.cast_signed());
        }
        self.take(name, Event::Opened(attempt, opening), now);
    }

    /// The answer to a read.
    pub fn read(&mut self, name: &ChannelName, attempt: u64, reading: Option<Reading>, now: Millis) {
        self.joins.reads -= 1;
        let event = reading.map_or(Event::NotRead(attempt), |reading| Event::Read(attempt, reading));
        self.take(name, event, now);
    }
}

/// Actions.
impl Node {
    fn perform(&mut self, name: &ChannelName, actions: Vec<Action>, now: Millis) {
        for action in actions {
            match action {
                Action::Subscribe => self.send_subscribe(name),
                Action::Unsubscribe => self.send_unsubscribe(name),
                Action::Open { attempt, count, known } => self.send_open(name, attempt, count, known),
                Action::Read { attempt, from, to } if self.joins.reads < READS_MAX => {
                    self.note_filling(name);
                    self.send_read(name, attempt, (from, to));
                }
                Action::Read { attempt, from, to } => {
                    self.note_filling(name);
                    self.joins.to_read.push_back((name.clone(), attempt, from, to));
                }
                Action::Begin(id) => self.broker.begin(name, id, now),
                Action::Deliver(record) => self.deliver(name, &record, now),
                Action::Gap(gap, since) => {
                    self.tally.note_gap(gap);
                    self.broker.gap(name, gap, since, now);
                }
                Action::Ready => self.ready(name),
                Action::Forget => self.forget(name),
            }
        }
        self.resume_if_live(name);
    }

    /// Something that readers miss is read.
    fn note_filling(&self, name: &ChannelName) {
        if self.joins.entries.get(name).is_some_and(|entry| entry.channel.is_ready()) {
            self.tally.note_filled();
        }
    }

    /// Requests may join a channel, once it is known who is in it where that is told.
    pub fn ready(&mut self, name: &ChannelName) {
        if self.is_ready_held(name) {
            return;
        }
        self.broker.engage(name);
        let Some(entry) = self.joins.entries.get_mut(name) else { return };
        for waiter in std::mem::take(&mut entry.waiters) {
            waiter.tell(self.broker.mailboxes(), Ok(()));
        }
    }

    fn forget(&mut self, name: &ChannelName) {
        let Some(mut entry) = self.joins.entries.remove(name) else { return };
        self.joins.due.list(name, &mut entry.listed, UNLISTED);
        self.joins.held_len -= entry.channel.held_len();
        debug_assert!(entry.is_let_go && entry.waiters.is_empty(), "nobody wants it");
    }

    fn resume_if_live(&mut self, name: &ChannelName) {
        let Some(entry) = self.joins.entries.get_mut(name) else { return };
        if entry.is_paused && entry.channel.is_live() {
            entry.is_paused = false;
            self.broker.resume(name);
        }
    }

    fn deliver(&mut self, name: &ChannelName, record: &Record, now: Millis) {
        let Some(entry) = self.joins.entries.get(name) else { return };
        match stored::read(&record.stored, name, &self.id) {
            Ok(kept) => {
                // Redis's clock may be set back or ahead.
                let at =
                    kept.at_ms.cast_signed().saturating_sub(entry.ahead_ms).clamp(0, now.0.cast_signed());
                let publication = self.publication(kept.draft, record.id);
                self.broker.deliver(publication, Millis(at.cast_unsigned()), now);
            }
            Err(unreadable) => {
                // Its number is taken, and it is missing.
                match entry.channel.is_ready() {
                    true => self.broker.gap(name, Gap { missed: Some(1) }, record.id, now),
                    false => self.broker.begin(name, record.id, now),
                }
                self.note_unreadable(name, &unreadable, now);
            }
        }
    }

    /// A publication with its number. Who is left out by a name that all nodes know is looked for here.
    fn publication(&self, mut draft: Draft, id: PublicationId) -> Arc<Publication> {
        if let Excluded::Socket(socket_id) = draft.excluded {
            let owner = self.host.owner_of(&draft.channel, socket_id);
            draft.excluded = owner.map_or(Excluded::Nobody, Excluded::Owner);
        }
        self.broker.publication(draft, id)
    }

    /// Something in a channel is no publication.
    pub fn note_unreadable(&mut self, name: &ChannelName, bad: &BadStored, now: Millis) {
        self.tally.note_unreadable();
        self.trouble.note_unreadable(name.as_str(), bad, now);
    }

    fn send_subscribe(&mut self, name: &ChannelName) {
        let (key, is_sharded) = (self.keys.channel(name), self.topology.is_sharded());
        let Some(up) = self.home_up(name) else { return };
        up.link.ask(Asked::Subscribe(name.clone()), |out| calls::subscribe(key.as_bytes(), is_sharded, out));
    }

    fn send_unsubscribe(&mut self, name: &ChannelName) {
        let (key, is_sharded) = (self.keys.channel(name), self.topology.is_sharded());
        let Some(up) = self.home_up(name) else { return };
        up.link.unsubscribe(name.clone(), |out| calls::unsubscribe(key.as_bytes(), is_sharded, out));
    }

    fn send_open(&mut self, name: &ChannelName, attempt: u64, count: u64, known: Option<PublicationId>) {
        let (key, limits) = (self.keys.channel(name), self.broker.limits_of(name));
        let Some(home) = self.joins.entries.get(name).and_then(|entry| entry.home) else { return };
        let (others, is_sharded) = (self.topology.other_tokens(home), self.topology.is_sharded());
        let Some(up) = self.topology.master(home).and_then(|master| master.subscribe.up()) else { return };
        let place = (self.nodes.dead(), is_sharded);
        let caller = Caller {
            script: &up.script,
            token: &up.token,
            others: &others,
            fresh_epoch: &super::fresh_epoch(),
            ttl_ms: calls::ttl_ms(&limits),
        };
        let asked = Asked::Open(name.clone(), attempt);
        up.link.ask(asked, |out| caller.open(key.as_bytes(), (&self.id, count), known, place, out));
        self.joins.opens += 1;
    }

    /// The connection on which a channel is subscribed.
    pub fn home_up(&mut self, name: &ChannelName) -> Option<&mut Up> {
        let home = self.joins.entries.get(name)?.home?;
        self.topology.master(home)?.subscribe.up()
    }

    fn send_read(&mut self, name: &ChannelName, attempt: u64, range: (u64, u64)) {
        let key = self.keys.channel(name);
        let Some(up) = self.home_up(name) else { return };
        up.link.ask(Asked::Read(name.clone(), attempt), |out| calls::read(key.as_bytes(), range, out));
        self.joins.reads += 1;
    }
}
