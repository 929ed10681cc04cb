//! The channels that this node has: what Redis says of each goes to its state, and what that wants is done.
//!
//! What follows from what is in `broker::engine::channel`; how commands look as bytes, in `calls`.

use std::collections::VecDeque;
use std::sync::Arc;

use super::calls::{self, Caller};
use super::entries::{Entry, Joins, OPENS_MAX, READS_MAX, TOLD_MAX, UNWANTED_MAX};
use super::lead::Lead;
use super::link::Asked;
use super::node::Node;
use super::topology::MasterId;
use crate::hub::{ChannelName, Gap, Publication, PublicationId};
use crate::server::broker::draft::{Draft, Excluded};
use crate::server::broker::engine::channel::Channel;
use crate::server::broker::engine::signal::{Action, Event, Opening, Reading, Record, Rules};
use crate::server::broker::engine::stored::{self, BadStored};
use crate::server::broker::engine::waiting::JoinWaiter;
use crate::server::broker::listing::UNLISTED;
use crate::server::broker::mailbox::Unavailable;
use crate::server::clock::Millis;

/// Orders of the server.
impl Node {
    /// Somebody waits for a channel.
    pub fn want(&mut self, name: ChannelName, waiter: JoinWaiter, now: Millis) {
        let is_away = self.is_away(now) && self.connected_home(&name).is_none();
        let is_fresh = self.joins.entries.get(&name).is_none_or(|entry| entry.is_let_go);
        if is_fresh {
            if is_away {
                return waiter.tell(self.broker.mailboxes(), Err(Unavailable));
            }
            self.begin_channel(&name, now);
        }
        let Some(entry) = self.joins.entries.get_mut(&name) else { return };
        if entry.channel.is_ready() && !waiter.is_ahead() {
            return waiter.tell(self.broker.mailboxes(), Ok(()));
        }
        // Where what its reader has cannot be looked for, it is not said to be lost.
        if is_away {
            return waiter.tell(self.broker.mailboxes(), Err(Unavailable));
        }
        let until = Millis(now.0 + self.timeout_ms);
        if entry.channel.is_ready() {
            return self.wait_for_newest(&name, (until, waiter), now);
        }
        entry.waiters.push_back((until, waiter));
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
            phase: super::dice::random().to_be_bytes()[0],
        };
        let mut actions = Vec::new();
        let channel = Channel::new(rules, self.joins.next_serial, home.is_some(), now, &mut actions);
        let (listed, heard, said) = match self.joins.entries.remove(name) {
            Some(before) => {
                self.joins.held_len -= before.channel.held_len();
                self.joins.late_len -= usize::from(before.late_since.is_some());
                (before.listed, before.heard, before.said)
            }
            None => (UNLISTED, 0, 0),
        };
        let (waiters, is_let_go, is_paused) = (VecDeque::new(), false, false);
        let (asking, refusals, lead) = (None, 0, Lead::default());
        let entry = Entry {
            channel,
            home,
            asking,
            refusals,
            late_since: Some(now),
            waiters,
            ahead: None,
            is_let_go,
            is_paused,
            heard,
            said,
            lead,
            listed,
        };
        self.joins.entries.insert(name.clone(), entry);
        self.joins.late_len += 1;
        self.perform(name, actions, now);
        self.settle(name, now);
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

    /// Other nodes may have taken this one for dead: what it has is said again.
    pub fn say_all_again(&mut self) {
        let Joins { entries, to_renew, .. } = &mut self.joins;
        let counted = entries.iter().filter(|(_, entry)| entry.channel.count() > 0);
        to_renew.extend(counted.map(|(name, _)| name.clone()));
    }

    /// Something happens to a channel.
    pub fn take(&mut self, name: &ChannelName, event: Event, now: Millis) {
        let Some(entry) = self.joins.entries.get_mut(name) else { return };
        let mut actions = Vec::new();
        if entry.channel.is_quiet(now) && !entry.is_let_go {
            // It may leave now. Nobody may join from here on; if somebody has, it stays.
            let is_settled = !self.rosters.are_unsettled(name);
            if is_settled && self.broker.disengage(name, now) {
                entry.is_let_go = true;
                self.counts.forget(name);
                self.rosters.forget(name);
                entry.channel.take(Event::Tick, now, &mut actions);
            } else {
                let (_, has_readers) = self.broker.audience_of(name);
                let event = if has_readers { Event::Wanted } else { Event::Expected };
                entry.channel.take(event, now, &mut actions);
                // What is not settled is looked at after a minute, and not again and again until then.
                self.joins.unwanted.extend((is_settled && !has_readers).then(|| name.clone()));
            }
        }
        let (held_before, was_unwanted) = (entry.channel.held_len(), entry.channel.is_unwanted());
        entry.channel.take(event, now, &mut actions);
        self.joins.held_len = self.joins.held_len + entry.channel.held_len() - held_before;
        if !was_unwanted && entry.channel.is_unwanted() {
            self.joins.unwanted.push_back(name.clone());
        }
        self.joins.note_whether_late(name, now);
        self.perform(name, actions, now);
        self.settle(name, now);
    }

    /// Tells who has waited long enough, and lists when something is due for a channel.
    pub fn settle(&mut self, name: &ChannelName, now: Millis) {
        let Some(entry) = self.joins.entries.get_mut(name) else { return };
        let mailboxes = self.broker.mailboxes();
        let is_at_home = entry.home.is_some();
        if let Some(ahead) = &mut entry.ahead {
            if !is_at_home {
                ahead.note_unanswered();
            } else if entry.channel.is_live() {
                ahead.take_answered().for_each(|waiter| waiter.tell(mailboxes, Ok(())));
            }
            ahead.take_late(now).for_each(|waiter| waiter.tell(mailboxes, Err(Unavailable)));
            entry.ahead.take_if(|ahead| ahead.is_empty());
        }
        let has_waited = !entry.waiters.is_empty();
        let over = entry.waiters.partition_point(|(until, _)| *until <= now);
        entry.waiters.drain(..over).for_each(|(_, waiter)| waiter.tell(mailboxes, Err(Unavailable)));
        if has_waited && entry.waiters.is_empty() && !entry.channel.is_ready() {
            // Nobody waits for it any more, nor reads it. It is left by a tick.
            entry.channel.take(Event::Unwanted, now, &mut Vec::new());
        }
        let waits_until = entry.waiters.front().map(|&(until, _)| until);
        let ahead_until = entry.ahead.as_ref().and_then(|ahead| ahead.until());
        let due = entry.channel.due().into_iter().chain(waits_until).chain(ahead_until).min();
        self.joins.due.list(name, &mut entry.listed, due.map_or(UNLISTED, |at| at.0));
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
        while left > 0
            && self.joins.unwanted.len() > UNWANTED_MAX
            && let Some(name) = self.joins.unwanted.pop_front()
        {
            left -= 1;
            self.take(&name, Event::CrowdedOut, now);
            self.take(&name, Event::Tick, now);
        }
        if self.joins.connect_at.take_if(|at| *at <= now).is_some() {
            self.list_homeless();
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
        while self.joins.opens < OPENS_MAX
            && let Some(name) = self.joins.to_renew.pop_front()
        {
            self.take(&name, Event::Renew, now);
        }
        for _ in 0..TOLD_MAX {
            let Some(name) = self.joins.to_pause.pop_front() else { break };
            self.pause_channel(&name, now);
        }
    }

    /// A channel is late: who waits for it waits no longer, if Redis is away, and who reads it is told.
    fn pause_channel(&mut self, name: &ChannelName, now: Millis) {
        let Some(entry) = self.joins.entries.get(name).filter(|entry| entry.late_since.is_some()) else {
            return;
        };
        // In a cluster, other masters are there.
        if entry.home.is_none() {
            self.refuse_waiters(name, now);
        }
        let Some(entry) = self.joins.entries.get_mut(name) else { return };
        if entry.channel.is_ready() && !entry.is_paused {
            entry.is_paused = true;
            self.broker.pause(name);
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

    /// Redis is away, or some of its masters are, or it refuses what channels need: all that have waited for so long are told, and
    /// all who read.
    pub fn tell_late(&mut self, now: Millis) {
        let is_late =
            |entry: &Entry| entry.late_since.is_some_and(|since| now.0 >= since.0 + self.timeout_ms);
        let is_untold = |entry: &Entry| !entry.is_paused || !entry.waiters.is_empty();
        let late = self.joins.entries.iter().filter(|(_, entry)| is_late(entry) && is_untold(entry));
        self.joins.to_pause = late.map(|(name, _)| name.clone()).collect();
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
            entry.lead = Lead::of(redis_ms, now);
        }
        self.take(name, Event::Opened(attempt, opening), now);
    }

    /// Where a channel is, though its open was refused.
    pub fn reopened(&mut self, name: &ChannelName, attempt: u64, opening: Opening, now: Millis) {
        self.joins.opens -= 1;
        self.take(name, Event::Opened(attempt, opening), now);
    }

    /// A channel that nobody has joined is refused, and would be again: who waits for it is told at once.
    pub fn refuse_waiters(&mut self, name: &ChannelName, now: Millis) {
        if let Some(entry) = self.joins.entries.get_mut(name) {
            entry.waiters.iter_mut().for_each(|(until, _)| *until = now);
            entry.ahead.iter_mut().for_each(|ahead| ahead.end_waits(now));
            self.settle(name, now);
        }
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
                Action::Read { attempt, from, to } => {
                    self.note_filling(name);
                    match self.joins.reads < READS_MAX {
                        true => self.send_read(name, attempt, (from, to)),
                        false => self.joins.to_read.push_back((name.clone(), attempt, from, to)),
                    }
                }
                Action::Begin(id) => self.broker.begin(name, id, now),
                Action::Deliver(record) => self.deliver(name, &record, now),
                Action::Gap(gap, since) => {
                    self.tally.note_gap(gap);
                    self.broker.gap(name, gap, since, now);
                }
                Action::Ready => self.ready(name, now),
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
    pub fn ready(&mut self, name: &ChannelName, now: Millis) {
        if self.is_ready_held(name) {
            return;
        }
        self.broker.engage(name);
        let Some(entry) = self.joins.entries.get_mut(name) else { return };
        for (_, waiter) in std::mem::take(&mut entry.waiters) {
            waiter.tell(self.broker.mailboxes(), Ok(()));
        }
        // It is wanted by who joins it. Many only look into it.
        entry.channel.take(Event::Expected, now, &mut Vec::new());
        self.joins.unwanted.push_back(name.clone());
    }

    fn forget(&mut self, name: &ChannelName) {
        let Some(mut entry) = self.joins.entries.remove(name) else { return };
        self.joins.due.list(name, &mut entry.listed, UNLISTED);
        self.joins.held_len -= entry.channel.held_len();
        self.joins.late_len -= usize::from(entry.late_since.is_some());
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
                let at = entry.lead.past(kept.at_ms, now);
                let publication = self.publication(kept.draft, record.id);
                self.broker.deliver(publication, at, now);
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
        let entry = self.joins.entries.get_mut(name);
        let said = entry.map_or(0, |entry| std::mem::replace(&mut entry.said, count));
        self.call_open(name, attempt, (count, Some(said)), known);
    }

    /// Redis is told at the end that this node has no subscribers of a channel. The answer is not waited for.
    pub fn send_last_open(&mut self, name: &ChannelName) {
        self.call_open(name, u64::MAX, (0, None), None);
    }

    fn call_open(
        &mut self,
        name: &ChannelName,
        attempt: u64,
        (count, heard): (u64, Option<u64>),
        known: Option<PublicationId>,
    ) {
        let (key, limits) = (self.keys.channel(name), self.broker.limits_of(name));
        let Some(at) = self.asked_at(name) else { return };
        let (others, is_sharded) = (self.topology.other_tokens(at.0), self.topology.is_sharded());
        let Some(up) = self.topology.asked(at) else { return };
        let place = (self.nodes.dead(), is_sharded);
        let caller = Caller {
            script: &up.script,
            token: &up.token,
            others: &others,
            fresh_epoch: &super::dice::fresh_epoch(),
            ttl_ms: calls::ttl_ms(&limits),
        };
        let asked = Asked::Open(name.clone(), attempt, count);
        up.link.ask(asked, |out| caller.open(key.as_bytes(), (&self.id, count, heard), known, place, out));
        self.joins.opens += 1;
    }

    fn send_read(&mut self, name: &ChannelName, attempt: u64, range: (u64, u64)) {
        let key = self.keys.channel(name);
        let Some(up) = self.asked_at(name).and_then(|at| self.topology.asked(at)) else { return };
        up.link.ask(Asked::Read(name.clone(), attempt), |out| calls::read(key.as_bytes(), range, out));
        self.joins.reads += 1;
    }
}
