//! Joining and leaving a channel as a Pusher client, under the channel's lock: what a new subscriber is told of the others
//! continues in its log without a hole. And what the HTTP API asks of channels.
//!
//! Who may join is decided before; what a client is told is text of the room `pusher`.

use crate::hub::{ChannelName, Content, EventName, Owner, PublicationId, Source};
use crate::pusher::{self, Kind, Member, event};
use crate::server::broker::Broker;
use crate::server::broker::arrivals::{Arrival, Departure};
use crate::server::broker::audience::{Cache, Heard};
use crate::server::broker::channel::ChannelState;
use crate::server::broker::draft::{Draft, Excluded};
use crate::server::broker::presence::Present;
use crate::server::broker::roads::Road;
use crate::server::broker::shard::Shard;
use crate::server::clock::Millis;
use crate::server::lock::lock;

/// A user has become a member of the channel.
pub(super) const MEMBER_ADDED: &str = "pusher_internal:member_added";

/// A user is not a member any more.
pub(super) const MEMBER_REMOVED: &str = "pusher_internal:member_removed";

/// The number of subscribers has changed.
const SUBSCRIPTION_COUNT: &str = "pusher_internal:subscription_count";

/// A subscriber that is to join as a Pusher client.
#[derive(Clone, Copy, Debug)]
pub struct Joiner<'a> {
    /// The connection, which is not told of itself.
    pub owner: Owner,
    /// The user that it is, in a presence channel.
    pub member: Option<&'a Member>,
    /// The most members of the channel.
    pub members_max: usize,
    /// The user that the connection is, by whatever proof, and when it was heard: one who has come back gets what it missed
    /// in a cache channel.
    pub user: Option<(&'a str, &'a Heard)>,
}

/// A subscriber that is to leave as a Pusher client.
#[derive(Clone, Copy, Debug)]
pub struct Leaver<'a> {
    /// The connection.
    pub owner: Owner,
    /// The user, if it was a member.
    pub member_id: Option<&'a str>,
    /// The user that it was, as in [`Joiner`].
    pub user: Option<(&'a str, &'a Heard)>,
    /// Whether its connection has ended.
    pub has_ended: bool,
}

/// What a Pusher client finds in the channel that it joined.
#[derive(Debug)]
pub struct Joined<T> {
    /// What the caller's function returned.
    pub subscribed: T,
    /// The members with their `user_info`, as the data of the answer; `None` unless it is a presence channel.
    pub members: Option<String>,
    /// What a cache channel keeps.
    pub cache: Cache,
    /// Whether its user was not a member before.
    pub is_new_member: bool,
    /// The subscribers of the channel, itself included.
    pub subscribers: u64,
}

/// A presence channel that has as many members as it may have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Full;

/// What a Pusher client left behind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Left {
    /// Whether its user is not a member any more.
    pub is_member_gone: bool,
    /// The subscribers that are left.
    pub subscribers: u64,
}

/// A channel's figures as the HTTP API tells them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Occupation {
    /// Subscribers by whichever road, at all nodes.
    pub subscribers: u64,
    /// Users, in a presence channel.
    pub users: u64,
    /// The cached event and the milliseconds until it expires.
    pub cached: Option<(String, u64)>,
}

impl Broker {
    /// Joins a channel as a Pusher client, at its newest publication. `join` runs while nobody can publish to the channel:
    /// what the answer tells of the members, and what the log tells of their changes, fit without a hole. The others are
    /// told of a new member. `report` runs under the same lock.
    ///
    /// # Errors
    /// The channel has as many members as it may have.
    pub fn join<T>(
        &self,
        name: &ChannelName,
        joiner: Joiner<'_>,
        now: Millis,
        join: impl FnOnce() -> T,
        report: impl FnOnce(&Joined<T>),
    ) -> Result<Joined<T>, Full> {
        let mut shard = lock(self.shard(name.as_str()));
        let Shard { channels, lists, .. } = &mut *shard;
        let kind = Kind::of(name.local());
        let state = self.state(channels, lists, name);
        if let Some(member) = joiner.member
            && state
                .members()
                .is_some_and(|members| !members.has_room_for(&member.user_id, joiner.members_max))
        {
            return Err(Full);
        }
        state.history.expire(now.0, &state.limits);
        let subscribed = join();
        state.readers[joiner.owner.hub] += 1;
        let subscribers = state.subscribers_len();
        self.tell_engine_count(state, name);
        let (mut is_as_member, mut members) = (pusher::Joined::Again, None);
        if let Some(member) = joiner.member {
            let audience = state.audience();
            is_as_member = audience.members.join(member);
            members = Some(audience.members.to_data());
            if self.engine.draws(name) && audience.members.connections(&member.user_id) == 1 {
                self.note_member_here(state, name, &member.user_id);
            }
        }
        let cache = if kind.is_cache { state.look_up(joiner.user, now) } else { Cache::None };
        if let (Cache::Miss { is_first: true }, Some(sequencer)) = (&cache, self.engine.sequencer_of(name)) {
            sequencer.cache_missed(name);
        }
        if let Some(member) = joiner.member {
            self.tell_joined(state, name, member, is_as_member, Some(joiner.owner));
        }
        let is_new_member = is_as_member != pusher::Joined::Again;
        let joined = Joined { subscribed, members, cache, is_new_member, subscribers };
        if let Some(audience) = &mut state.audience {
            audience.recount(self.account.ledger());
        }
        report(&joined);
        let present = joiner.member.map(Present::from).unwrap_or_default();
        self.attend(state, name, Arrival { owner: joiner.owner, present, road: Road::Pusher }, true, now);
        lists.settle(name, state);
        self.note_due(&shard);
        Ok(joined)
    }

    /// Leaves a channel as a Pusher client. The others are told if no other connection of the user is left.
    /// `report` runs under the lock of the channel.
    pub fn leave(&self, name: &ChannelName, leaver: Leaver<'_>, now: Millis, report: impl FnOnce(Left)) {
        let mut shard = lock(self.shard(name.as_str()));
        let Shard { channels, lists, .. } = &mut *shard;
        let state = channels.get_mut(name).expect("a channel is known while it has a subscriber");
        state.readers[leaver.owner.hub] -= 1;
        self.tell_engine_count(state, name);
        state.used_at = now;
        let mut is_member_gone = false;
        if let Some(user_id) = leaver.member_id {
            if self.engine.draws(name) {
                self.leave_here(state, name, user_id);
            } else {
                is_member_gone = state.audience().members.leave(user_id) == pusher::Left::Last;
            }
            if is_member_gone {
                let data = event::member_removed_data(user_id);
                self.tell_audience(state, name, MEMBER_REMOVED, data, None);
            }
        }
        if let Some((user_id, heard)) = leaver.user.filter(|_| Kind::of(name.local()).is_cache) {
            state.audience().note_absent(user_id, heard, leaver.has_ended, now);
        }
        if let Some(audience) = &mut state.audience {
            audience.recount(self.account.ledger());
        }
        report(Left { is_member_gone, subscribers: state.subscribers_len() });
        self.depart(state, name, Departure { owner: leaver.owner, road: Road::Pusher }, now);
        state.forget_empty_audience();
        lists.settle(name, state);
        self.remove_if_unused(&mut shard, name, now);
    }

    /// Tells the Pusher clients of a channel how many subscribers it has, at once or after the pause that a large channel
    /// gets.
    pub fn tell_count(&self, name: &ChannelName, now: Millis) {
        let mut shard = lock(self.shard(name.as_str()));
        let Shard { channels, lists, .. } = &mut *shard;
        let Some(state) = channels.get_mut(name) else { return };
        let subscribers = state.subscribers_everywhere();
        if state.audience().count.is_to_be_told(subscribers, now) {
            let data = event::subscription_count_data(subscribers);
            self.tell_audience(state, name, SUBSCRIPTION_COUNT, data, None);
        }
        lists.settle(name, state);
        self.note_due(&shard);
    }

    /// A channel's figures; `None` if it is not known.
    pub fn occupation(&self, name: &str, now: Millis) -> Option<Occupation> {
        let mut shard = lock(self.shard(name));
        let state = shard.channels.get_mut(name)?;
        let subscribers = state.subscribers_everywhere();
        let users = state.members().map_or(0, |members| members.len() as u64);
        let cached = state.audience.as_mut().and_then(|audience| audience.cached(now));
        Some(Occupation { subscribers, users, cached })
    }

    /// The users in a presence channel.
    pub fn users(&self, name: &str) -> Vec<String> {
        let shard = lock(self.shard(name));
        let members = shard.channels.get(name).and_then(ChannelState::members);
        members.map_or_else(Vec::new, |members| members.ids().map(str::to_owned).collect())
    }

    /// Shows every channel with a subscriber: its name and figures. O(channels); each lock is held for a 64th of that.
    pub fn show_occupied(&self, mut show: impl FnMut(&ChannelName, u64, u64)) {
        for shard in &self.shards {
            for (name, state) in &lock(shard).channels {
                let subscribers = state.subscribers_everywhere();
                if subscribers > 0 {
                    show(name, subscribers, state.members().map_or(0, |members| members.len() as u64));
                }
            }
        }
    }

    /// Puts an event of the protocol into the mailboxes of a channel's subscribers. It draws no number and is not kept.
    pub(super) fn tell_audience(
        &self,
        state: &ChannelState,
        name: &ChannelName,
        event: &'static str,
        data: String,
        excluded: Option<Owner>,
    ) {
        let id = PublicationId { epoch: state.epoch, sequence: state.sequence };
        let draft = Draft {
            channel: name.clone(),
            event: Some(EventName::of_protocol(event)),
            content: Content::Text,
            data: data.into(),
            source: Source::Protocol,
            excluded: excluded.map_or(Excluded::Nobody, Excluded::Owner),
            frame: None,
        };
        self.post(&state.readers, false, &self.publication(draft, id));
    }
}

#[cfg(test)]
#[path = "joins_tests.rs"]
mod tests;
