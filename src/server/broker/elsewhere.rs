//! Who is in a channel at other nodes: what those are to know of who is here, and what they have told.
//!
//! Each node has the whole list: its tables (`pusher::Members` in the audience, `presence`) have the users of other nodes beside its own,
//! as sums over these nodes, so a user that comes is told to the clients here unless it is at another node, under the same lock, and one
//! that joins is told all. A user that goes stays in the table until Redis has decided that it was the last one over all nodes: so
//! it is told once, and nobody is told as gone while Redis is away. And it stays until the engine says that it has not come back: Redis
//! may hear of the node that a user leaves before it hears of the one that the user has come to. Which node has what is known to Redis.

use std::collections::BTreeSet;

use crate::hub::{ChannelName, Owner};
use crate::pusher::{self, Kind, Member, event};
use crate::server::broker::Broker;
use crate::server::broker::audience::Audience;
use crate::server::broker::channel::{ChannelState, Told};
use crate::server::broker::engine::records::{Record, Whose};
use crate::server::broker::joins::{MEMBER_ADDED, MEMBER_REMOVED};
use crate::server::broker::shard::Shard;
use crate::server::clock::Millis;
use crate::server::lock::lock;

/// What other nodes are to know.
#[derive(Debug, Default)]
pub struct News {
    /// The records that are new, or not here any more; all that are here if it is whole, and the members that are not any more.
    pub records: Vec<Said>,
    /// Whether records that are not among them are not here.
    pub is_whole: bool,
    /// Whether anybody is here.
    pub is_anybody_here: bool,
}

/// A record as other nodes are told of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Said {
    pub record: Record,
    /// Whether it has been heard that they know that this member is here. If Redis knows nothing of it, it has forgotten that.
    pub is_known: bool,
}

/// For connections, under the lock of the channel.
impl Broker {
    /// A user has its first connection to a presence channel here, or has not its last any more.
    pub(super) fn note_member_here(&self, state: &mut ChannelState, name: &ChannelName, user_id: &str) {
        state.audience().untold.note(user_id);
        self.tell_engine_members(state, name);
    }

    /// A connection of a user has left a presence channel. Whether it was the last over all nodes is told by the engine.
    pub(super) fn leave_here(&self, state: &mut ChannelState, name: &ChannelName, user_id: &str) {
        let members = &mut state.audience().members;
        members.leave_here(user_id);
        if members.connections(user_id) == 0 {
            self.note_member_here(state, name, user_id);
        }
    }

    /// Tells the engine that other nodes are to know something of who is here, unless it was told and has not looked.
    pub(super) fn tell_engine_members(&self, state: &mut ChannelState, name: &ChannelName) {
        let Some(sequencer) = self.engine.sequencer_of(name) else { return };
        if state.engagement.is_engaged && state.engagement.told.add(Told::MEMBERS) {
            sequencer.members_changed(name);
        }
    }
}

/// For the engine.
impl Broker {
    /// Whether it is told in a channel who is there, so that nodes tell each other.
    pub fn tells_members(&self, name: &ChannelName) -> bool {
        Kind::of(name.local()).is_presence() || self.has_presence(name)
    }

    /// What other nodes are to know of who is in a channel here; all of it if they are to be told that. They know it from now on, and
    /// the engine is told of the next change.
    pub fn take_news(&self, name: &ChannelName, is_whole: bool, now: Millis) -> News {
        let mut shard = lock(self.shard(name.as_str()));
        let Shard { channels, lists, .. } = &mut *shard;
        let mut news = News { is_whole, ..News::default() };
        let Some(state) = channels.get_mut(name) else { return news };
        state.engagement.told.remove(Told::MEMBERS);
        news.is_whole |= state.audience.as_ref().is_some_and(|audience| audience.untold.is_whole);
        if let Some(presence) = &mut state.presence {
            let mut records = Vec::new();
            news.is_whole = presence.take_news(news.is_whole, &mut records);
            news.records.extend(records.into_iter().map(|record| Said { record, is_known: false }));
            news.is_anybody_here = presence.is_anybody_here();
        }
        if let Some(audience) = &mut state.audience {
            audience.take_untold(news.is_whole, &mut news.records);
            news.is_anybody_here |= audience.members.here().next().is_some();
        }
        state.presence.take_if(|presence| presence.is_idle());
        state.forget_empty_audience();
        lists.settle(name, state);
        self.remove_if_unused(&mut shard, name, now);
        news
    }

    /// Redis has heard these records: what it does not have of them from now on, it has forgotten.
    pub fn note_heard(&self, name: &ChannelName, records: &[Record]) {
        let mut shard = lock(self.shard(name.as_str()));
        let audience = shard.channels.get_mut(name).and_then(|state| state.audience.as_mut());
        let Some(audience) = audience else { return };
        for Record { whose, here } in records {
            if let Whose::Member(user_id) = whose {
                audience.members.set_known(user_id, here.is_some());
            }
        }
    }

    /// Who is in a channel at other nodes is different: these records, and if they are all, no others. The clients here are told.
    /// Gives the members that are at no node any more, of which they are not told before [`Broker::tell_gone`].
    #[must_use]
    pub fn note_elsewhere(
        &self,
        name: &ChannelName,
        records: Vec<Record>,
        are_all: bool,
        now: Millis,
    ) -> Vec<Box<str>> {
        let mut shard = lock(self.shard(name.as_str()));
        let Shard { channels, lists, .. } = &mut *shard;
        let state = channels.get_mut(name).filter(|_| !records.is_empty() || are_all);
        let Some(state) = state else { return Vec::new() };
        let mut leaving = Vec::new();
        let gone = if are_all { gone_of(state, &records) } else { Vec::new() };
        let gone = gone.into_iter().map(|whose| Record { whose, here: None });
        for record in gone.chain(records) {
            match &record.whose {
                Whose::Member(user_id) => {
                    if self.note_member_elsewhere(state, name, user_id, &record) {
                        leaving.push(user_id.clone());
                    }
                }
                Whose::User(_) | Whose::Unnamed => self.note_present_elsewhere(state, name, &record),
            }
        }
        if let Some(audience) = &mut state.audience {
            audience.recount(self.account.ledger());
        }
        self.settle_presence(state, name, now);
        state.forget_empty_audience();
        lists.settle(name, state);
        self.remove_if_unused(&mut shard, name, now);
        leaving
    }

    /// True if the member is at no node any more.
    fn note_member_elsewhere(
        &self,
        state: &mut ChannelState,
        name: &ChannelName,
        user_id: &str,
        record: &Record,
    ) -> bool {
        let members = &mut state.audience().members;
        let Some((_, info)) = &record.here else { return members.leave_elsewhere(user_id) };
        let member = Member { user_id: user_id.into(), user_info: info.clone() };
        let joined = members.join_elsewhere(&member);
        self.tell_joined(state, name, &member, joined, None);
        false
    }

    /// Tells the clients of a presence channel that a member has come, if it has: all but this connection.
    pub(super) fn tell_joined(
        &self,
        state: &ChannelState,
        name: &ChannelName,
        member: &Member,
        joined: pusher::Joined,
        excluded: Option<Owner>,
    ) {
        if joined == pusher::Joined::Anew {
            let data = event::member_removed_data(&member.user_id);
            self.tell_audience(state, name, MEMBER_REMOVED, data, excluded);
        }
        if joined != pusher::Joined::Again {
            self.tell_audience(state, name, MEMBER_ADDED, event::member_added_data(member), excluded);
        }
    }

    /// Members that were at no node any more have not come back: the clients of the channel are told.
    pub fn tell_gone(&self, name: &ChannelName, user_ids: &[Box<str>], now: Millis) {
        let mut shard = lock(self.shard(name.as_str()));
        let Shard { channels, lists, .. } = &mut *shard;
        let Some(state) = channels.get_mut(name) else { return };
        for user_id in user_ids {
            if state.audience().members.take_gone(user_id) {
                let data = event::member_removed_data(user_id);
                self.tell_audience(state, name, MEMBER_REMOVED, data, None);
            }
        }
        state.audience().recount(self.account.ledger());
        state.forget_empty_audience();
        lists.settle(name, state);
        self.remove_if_unused(&mut shard, name, now);
    }

    fn note_present_elsewhere(&self, state: &mut ChannelState, name: &ChannelName, record: &Record) {
        if let Some(presence) = self.presence_in(state, name) {
            presence.note_elsewhere(record);
        }
    }
}

impl Audience {
    fn take_untold(&mut self, is_whole: bool, records: &mut Vec<Said>) {
        let users = std::mem::take(&mut self.untold).users;
        let Self { members, .. } = self;
        let record = |user_id: &str| {
            let connections = members.connections(user_id) as u64;
            let here = (connections > 0).then(|| (connections, members.info(user_id).map(Into::into)));
            let record = Record { whose: Whose::Member(user_id.into()), here };
            Said { record, is_known: members.is_known(user_id) }
        };
        match is_whole {
            true => records.extend(members.here().chain(members.departed()).map(record)),
            false => records.extend(users.iter().map(|user_id| record(user_id))),
        }
    }
}

/// Whose records other nodes had, and these do not have.
fn gone_of(state: &ChannelState, records: &[Record]) -> Vec<Whose> {
    let members = state.members().into_iter().flat_map(|members| members.elsewhere());
    let members = members.map(|user_id| Whose::Member(user_id.into()));
    let present = state.presence.as_ref().map_or_else(Vec::new, |presence| presence.elsewhere());
    let there: BTreeSet<&Whose> = records.iter().map(|record| &record.whose).collect();
    members.chain(present).filter(|whose| !there.contains(whose)).collect()
}

impl ChannelState {
    /// Whether anybody is here whom other nodes are told of, or they are to be told something.
    pub fn is_anybody_here(&self) -> bool {
        let present = self.presence.as_ref();
        let is_present = present.is_some_and(|presence| presence.is_anybody_here() || presence.has_news());
        let audience = self.audience.as_ref();
        is_present || audience.is_some_and(|audience| !audience.untold.is_empty())
    }

    /// This node does not hear of others any more: who is there only is forgotten.
    pub fn forget_elsewhere(&mut self) {
        if let Some(presence) = &mut self.presence {
            for whose in presence.elsewhere() {
                presence.note_elsewhere(&Record { whose, here: None });
            }
        }
        if let Some(audience) = &mut self.audience {
            audience.members.forget_elsewhere();
        }
        self.presence.take_if(|presence| presence.is_idle());
        self.forget_empty_audience();
    }
}
