//! Who is in a channel, under the channel's lock: subscribers come and go, and the readers of its companion are told.
//!
//! The table of a channel, and what is told of it, is in `presence`. A companion is no channel of the broker: the table has its
//! readers and its order, so that the state that a reader begins with and the changes that follow are under one lock.

use std::sync::atomic::Ordering;

use crate::config::PresenceRule;
use crate::hub::{ChannelName, Content, EventName, PublicationId, Source};
use crate::server::broker::Broker;
use crate::server::broker::arrivals::{Arrival, Departure};
use crate::server::broker::channel::ChannelState;
use crate::server::broker::draft::{Draft, Excluded};
use crate::server::broker::presence::{Change, Presence};
use crate::server::broker::presence_text::{self, Totals};
use crate::server::broker::shard::Shard;
use crate::server::clock::Millis;
use crate::server::lock::lock;

/// What changes of who is there are called.
const PRESENCE_EVENT: &str = "fanfare:presence";

/// What a reader of a companion begins with.
#[derive(Debug)]
pub struct Reading<T> {
    /// What the caller's function returned.
    pub subscribed: T,
    /// Who is there, as a JSON object: the state on which the changes follow.
    pub data: String,
}

/// What a long poll knows of who is in a channel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Known {
    /// Nothing: it is told who is there.
    Nothing,
    /// The state of this change. If that is not the newest, it is told who is there.
    Change(PublicationId),
    /// What has been up to now, wherever from: it is told what changes.
    Enough,
}

/// What a long poll is told of who is in a channel.
#[derive(Debug)]
pub struct Polled<T> {
    /// The newest change, whose state it knows after the answer.
    pub newest: PublicationId,
    /// What follows.
    pub found: Found<T>,
}

/// Who is in a channel, for one that may know it.
#[derive(Debug)]
pub enum Found<T> {
    /// It is told this: who is there, as a JSON object.
    State(String),
    /// It knows that, and reads the companion: what the caller's function returned.
    Reading(T),
    /// It knows that, and does not wait.
    Nothing,
}

impl Broker {
    /// Whether it is told in this channel who is there.
    pub fn has_presence(&self, name: &ChannelName) -> bool {
        self.presence_rules.of(name).is_some()
    }

    /// Who is in a channel now, as a JSON object; `None` where that is not told.
    pub fn presence_of(&self, name: &ChannelName) -> Option<String> {
        let rule = self.presence_rules.of(name)?;
        let shard = lock(self.shard(name.as_str()));
        let presence = shard.channels.get(name).and_then(|state| state.presence.as_ref());
        Some(match presence {
            Some(presence) => presence.state(),
            None => {
                let members = (rule == PresenceRule::Members).then(std::iter::empty);
                presence_text::state(members, Totals::default(), None)
            }
        })
    }

    /// Begins to read the companion of a channel. `join` is given the newest change, and runs while none can be made: earlier
    /// ones are in the mailbox by then, and later ones follow on the state that is returned. `None`, and no call of `join`,
    /// where it is not told who is there.
    pub fn read_presence<T>(
        &self,
        name: &ChannelName,
        loop_index: usize,
        join: impl FnOnce(PublicationId) -> T,
    ) -> Option<Reading<T>> {
        let rule = self.presence_rules.of(name)?;
        let mut shard = lock(self.shard(name.as_str()));
        let Shard { channels, lists, .. } = &mut *shard;
        let state = self.state(channels, lists, name);
        let presence = self.presence(state, rule, name);
        let Change { id, data } = presence.begin_reading(loop_index);
        let subscribed = join(id);
        presence.recount(self.account.ledger());
        lists.settle(name, state);
        self.note_due(&shard);
        Some(Reading { subscribed, data })
    }

    /// The same for a long poll. `join` is called if it may know who is there; it does not read if that returns nothing.
    /// `None` where it is not told who is there.
    pub fn poll_presence<T>(
        &self,
        name: &ChannelName,
        loop_index: usize,
        known: Known,
        now: Millis,
        join: impl FnOnce(PublicationId) -> Option<T>,
    ) -> Option<Polled<T>> {
        let rule = self.presence_rules.of(name)?;
        let mut shard = lock(self.shard(name.as_str()));
        let Shard { channels, lists, .. } = &mut *shard;
        let state = self.state(channels, lists, name);
        let presence = self.presence(state, rule, name);
        let newest = presence.begin_following(loop_index);
        let found = match known {
            Known::Nothing => Found::State(presence.told_state()),
            Known::Change(id) if id != newest => Found::State(presence.told_state()),
            Known::Change(_) | Known::Enough => join(newest).map_or(Found::Nothing, Found::Reading),
        };
        if !matches!(found, Found::Reading(_)) {
            presence.end_reading(loop_index);
        }
        self.settle_presence(state, name, now);
        lists.settle(name, state);
        self.remove_if_unused(&mut shard, name, now);
        Some(Polled { newest, found })
    }

    /// Ends what [`Broker::read_presence`] or [`Broker::poll_presence`] began.
    pub fn end_presence(&self, name: &ChannelName, loop_index: usize, now: Millis) {
        let mut shard = lock(self.shard(name.as_str()));
        let Shard { channels, lists, .. } = &mut *shard;
        let state = channels.get_mut(name).expect("a channel is known while its companion has a reader");
        let presence = state.presence.as_mut().expect("a table is there while it has a reader");
        presence.end_reading(loop_index);
        self.settle_presence(state, name, now);
        lists.settle(name, state);
        self.remove_if_unused(&mut shard, name, now);
    }

    /// A subscriber has proved to be somebody else, or to have another info.
    pub fn identify(&self, name: &ChannelName, arrival: Arrival<'_>, now: Millis) {
        let mut shard = lock(self.shard(name.as_str()));
        let Shard { channels, lists, .. } = &mut *shard;
        let Some(state) = channels.get_mut(name) else { return };
        let Some(presence) = &mut state.presence else { return };
        presence.identify(arrival.owner, arrival.present, now);
        self.settle_presence(state, name, now);
        lists.settle(name, state);
        self.note_due(&shard);
    }

    /// A subscriber has come; or a request of one was answered without a subscription.
    pub(super) fn attend(
        &self,
        state: &mut ChannelState,
        name: &ChannelName,
        arrival: Arrival<'_>,
        has_joined: bool,
        now: Millis,
    ) {
        let Arrival { owner, present, road } = arrival;
        if has_joined {
            state.roads.add(road);
        }
        let Some(rule) = self.presence_rules.of(name) else { return };
        let presence = self.presence(state, rule, name);
        if has_joined {
            presence.join(owner, present);
        } else if present.is_poll {
            presence.pass(present, now);
        }
        self.settle_presence(state, name, now);
    }

    /// A subscriber has gone.
    pub(super) fn depart(
        &self,
        state: &mut ChannelState,
        name: &ChannelName,
        departure: Departure,
        now: Millis,
    ) {
        state.roads.remove(departure.road);
        let Some(presence) = &mut state.presence else { return };
        presence.leave(departure.owner, departure.is_poll(), now);
        self.settle_presence(state, name, now);
    }

    /// Tells the readers of a companion of the changes, if it is time.
    pub(super) fn tell_presence(&self, name: &ChannelName, now: Millis) {
        let mut shard = lock(self.shard(name.as_str()));
        let Shard { channels, lists, .. } = &mut *shard;
        let Some(state) = channels.get_mut(name) else { return };
        self.settle_presence(state, name, now);
        lists.settle(name, state);
        self.note_due(&shard);
    }

    fn presence<'a>(
        &self,
        state: &'a mut ChannelState,
        rule: PresenceRule,
        name: &ChannelName,
    ) -> &'a mut Presence {
        state.presence.get_or_insert_with(|| {
            let epoch = self.next_epoch.fetch_add(1, Ordering::Relaxed);
            let mut presence = Presence::new(rule, self.presence_rules.list_max, epoch, self.mailboxes.len());
            if self.engine.draws(name) {
                presence.share();
            }
            Box::new(presence)
        })
    }

    /// Who is in a channel, where that is told.
    pub(super) fn presence_in<'a>(
        &self,
        state: &'a mut ChannelState,
        name: &ChannelName,
    ) -> Option<&'a mut Presence> {
        let rule = self.presence_rules.of(name)?;
        Some(self.presence(state, rule, name))
    }

    /// Call after every change of a table.
    pub(super) fn settle_presence(&self, state: &mut ChannelState, name: &ChannelName, now: Millis) {
        let Some(presence) = &mut state.presence else { return };
        if let Some(Change { id, data }) = presence.change(now) {
            let draft = Draft {
                channel: name.companion(),
                event: Some(EventName::of_protocol(PRESENCE_EVENT)),
                content: Content::Json,
                data: data.into(),
                source: Source::Publisher,
                excluded: Excluded::Nobody,
                frame: None,
            };
            self.post(presence.readers(), false, &self.publication(draft, id));
        }
        presence.recount(self.account.ledger());
        let has_news = presence.has_news();
        state.presence.take_if(|presence| presence.is_idle());
        if has_news {
            self.tell_engine_members(state, name);
        }
    }
}

#[cfg(test)]
#[path = "attendance_tests.rs"]
mod tests;
