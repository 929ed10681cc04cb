//! At which master each channel of this node is subscribed, opened and read: connections come and go, and in a cluster slots move.
//!
//! What a channel does about it is in `joins`; which masters there are, in `topology`.

use super::calls;
use super::entries::Entry;
use super::line::Up;
use super::link::Asked;
use super::node::Node;
use super::refusal::Reason;
use super::topology::MasterId;
use crate::hub::ChannelName;
use crate::server::broker::engine::signal::Event;
use crate::server::clock::Millis;

/// A subscription that was refused is asked for again after this long.
const CONNECT_MS: u64 = 500;

/// But at once where the slot is said to be, this often: two masters say so of each other.
const REFUSALS_MAX: u8 = 4;

/// Connections.
impl Node {
    /// The master that has the channel, if its subscriptions can be used now.
    pub fn connected_home(&mut self, name: &ChannelName) -> Option<MasterId> {
        let home = self.topology.home_of(self.keys.channel(name).as_bytes())?;
        self.topology.master(home)?.subscribe.is_up().then_some(home)
    }

    /// The connection that a channel is subscribed by.
    pub fn home_up(&mut self, name: &ChannelName) -> Option<&mut Up> {
        let home = self.joins.entries.get(name)?.home?;
        self.topology.subscriber(home)
    }

    /// Which master is asked about a channel, and whether its slot is on its way there.
    pub fn asked_at(&mut self, name: &ChannelName) -> Option<(MasterId, bool)> {
        let entry = self.joins.entries.get_mut(name)?;
        if let Some(asking) = entry.asking {
            if self.topology.master(asking).is_some_and(|master| master.subscribe.is_up()) {
                return Some((asking, true));
            }
            entry.asking = None;
        }
        Some((entry.home?, false))
    }

    pub fn connect_channel(&mut self, name: &ChannelName, now: Millis) {
        let home = self.connected_home(name);
        let Some(entry) = self.joins.entries.get_mut(name).filter(|entry| entry.home.is_none()) else {
            return;
        };
        if home.is_some() {
            entry.home = home;
            self.take(name, Event::Connected, now);
            self.ask_newest(name);
        }
    }

    /// The subscriptions at a master can be used: its channels are joined, those with most readers first.
    pub fn subscriptions_up(&mut self, now: Millis) {
        self.list_homeless();
        self.tick_channels(now);
    }

    pub fn list_homeless(&mut self) {
        let mut lost: Vec<_> = self
            .joins
            .entries
            .iter()
            .filter(|(_, entry)| entry.home.is_none())
            .map(|(name, entry)| (std::cmp::Reverse(entry.channel.count()), name.clone()))
            .collect();
        lost.sort_unstable();
        self.joins.to_connect = lost.into_iter().map(|(_, name)| name).collect();
    }

    /// The subscriptions at a master are lost.
    pub fn subscriptions_lost(&mut self, master: MasterId, asked: Vec<(Asked, bool)>, now: Millis) {
        for (asked, _) in asked {
            match asked {
                Asked::Open(name, attempt, _) | Asked::Peek(name, attempt) => {
                    self.joins.opens -= 1;
                    self.lost_while_asking(master, &name, Event::NotOpened(attempt), now);
                }
                Asked::Read(name, attempt) => {
                    self.joins.reads -= 1;
                    self.lost_while_asking(master, &name, Event::NotRead(attempt), now);
                }
                _ => {}
            }
        }
        let of_master = |entry: &&mut Entry| entry.home == Some(master);
        let names: Vec<_> = self
            .joins
            .entries
            .iter_mut()
            .filter(|(_, entry)| of_master(entry))
            .map(|(name, _)| name.clone())
            .collect();
        names.iter().for_each(|name| self.lose_home(name, now));
        if self.is_away_told {
            self.joins.to_pause.extend(names);
        }
    }

    /// A channel is subscribed nowhere now.
    fn lose_home(&mut self, name: &ChannelName, now: Millis) {
        let Some(entry) = self.joins.entries.get_mut(name) else { return };
        entry.asking = None;
        entry.said = entry.heard;
        if entry.home.take().is_some() {
            self.rosters.miss(name);
            self.take(name, Event::Disconnected, now);
        }
    }

    /// What was asked of a master on the way to which the channel's slot is has no answer.
    fn lost_while_asking(&mut self, master: MasterId, name: &ChannelName, event: Event, now: Millis) {
        let Some(entry) = self.joins.entries.get_mut(name) else { return };
        entry.said = entry.heard;
        if entry.asking == Some(master) {
            entry.asking = None;
        }
        if entry.home != Some(master) {
            self.take(name, event, now);
        }
    }
}

/// Slots.
impl Node {
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
        if let Some(up) = home.and_then(|home| self.topology.subscriber(home)) {
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
            .subscriber(master)
            .is_some_and(|up| is_coming(up) || up.link.awaits(&Asked::Unsubscribe(name.clone())));
        if is_here && !is_confirmed {
            self.lose_home(name, now);
            self.topology.scout(now);
            // If the map is old, this master says where the slot is now.
            self.joins.to_connect.push_back(name.clone());
        }
    }

    /// Redis has refused something of a channel, perhaps since its slot is elsewhere, or is on its way there.
    pub fn redirect(&mut self, master: MasterId, asked: &Asked, reason: &Reason, now: Millis) {
        match asked {
            Asked::Subscribe(name) => self.not_subscribed(master, name, reason, now),
            Asked::Open(name, ..) | Asked::Read(name, _) => {
                let to = self.note_redirect(reason, now).filter(|_| matches!(reason, Reason::Ask(_)));
                let Some(entry) = self.joins.entries.get_mut(name) else { return };
                if entry.home == Some(master) {
                    entry.asking = to;
                } else if entry.asking == Some(master) {
                    entry.asking = None;
                }
            }
            _ => {}
        }
    }

    /// A channel is subscribed.
    pub fn subscribed(&mut self, name: &ChannelName) {
        if let Some(entry) = self.joins.entries.get_mut(name) {
            entry.refusals = 0;
        }
    }

    /// A subscription was refused. It is asked for where the slot is said to be; after a while, if that was refused too.
    fn not_subscribed(&mut self, master: MasterId, name: &ChannelName, reason: &Reason, now: Millis) {
        let to = self.note_redirect(reason, now);
        let Some(entry) = self.joins.entries.get_mut(name).filter(|entry| entry.home == Some(master)) else {
            return;
        };
        entry.refusals = entry.refusals.saturating_add(1);
        let is_at_once = to.is_some_and(|to| to != master) && entry.refusals <= REFUSALS_MAX;
        self.lose_home(name, now);
        match is_at_once {
            true => self.joins.to_connect.push_back(name.clone()),
            false => self.connect_later(now),
        }
    }

    pub fn connect_later(&mut self, now: Millis) {
        self.joins.connect_at.get_or_insert(Millis(now.0 + CONNECT_MS));
    }
}
