//! Subscribers that come and go, and the rules of which channels tell who is there.
//!
//! What follows from an arrival or a departure is in `attendance`.

use crate::config::{Config, Glob, PresenceRule, by_channel};
use crate::hub::{ChannelName, Owner};
use crate::server::broker::presence::Present;
use crate::server::broker::roads::Road;

/// In which channels it is told who is there.
#[derive(Clone, Debug, Default)]
pub struct PresenceRules {
    rules: Vec<(Glob, PresenceRule)>,
    /// The longest list of members that is told.
    pub list_max: usize,
}

impl PresenceRules {
    /// The rules of a configuration.
    pub fn new(config: &Config) -> Self {
        Self { rules: config.presence.clone(), list_max: config.presence_members }
    }

    /// The rule of a channel; `None` where nobody is told.
    pub fn of(&self, channel: &ChannelName) -> Option<PresenceRule> {
        if self.rules.is_empty() || !channel.is_public() {
            return None;
        }
        by_channel(&self.rules, channel.as_str())
    }
}

/// A subscriber that comes.
#[derive(Clone, Copy, Debug)]
pub struct Arrival<'a> {
    /// Its connection.
    pub owner: Owner,
    /// Who it is.
    pub present: Present<'a>,
    /// How it reads the channel.
    pub road: Road,
}

/// A subscriber that goes.
#[derive(Clone, Copy, Debug)]
pub struct Departure {
    /// Its connection, as it arrived.
    pub owner: Owner,
    /// How it has read the channel.
    pub road: Road,
}

impl Departure {
    /// Whether it subscribes anew for each answer.
    pub fn is_poll(self) -> bool {
        self.road == Road::LongPoll
    }
}

#[cfg(test)]
impl Arrival<'_> {
    /// Of somebody without a name on a loop.
    pub fn test(loop_index: usize) -> Self {
        Self {
            owner: Owner { hub: loop_index, number: 0 },
            present: Present::default(),
            road: Road::WebSocket,
        }
    }
}

#[cfg(test)]
impl Departure {
    /// Of that one.
    pub fn test(loop_index: usize) -> Self {
        Self { owner: Arrival::test(loop_index).owner, road: Road::WebSocket }
    }
}
