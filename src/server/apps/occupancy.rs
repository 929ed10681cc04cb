//! What an app's webhooks are told of the subscribers of its channels.
//!
//! The counts are the broker's; how reports are sent is not known here.

use crate::hub::ChannelName;
use crate::pusher::webhook::Event;
use crate::pusher::{Access, Kind};
use crate::server::apps::running::RunningApp;
use crate::server::clock::Millis;

impl RunningApp {
    /// A channel has this number of subscribers now, one more than before.
    pub fn note_joined(&self, channel: &ChannelName, subscribers: u64, now: Millis) {
        if subscribers == 1 && is_reported(channel) {
            self.report(Event::ChannelOccupied { channel: channel.local().into() }, now.0);
        }
        self.report_count(channel, subscribers, now);
    }

    /// A channel has this number of subscribers now, one less than before.
    pub fn note_left(&self, channel: &ChannelName, subscribers: u64, now: Millis) {
        if subscribers == 0 && is_reported(channel) {
            self.report(Event::ChannelVacated { channel: channel.local().into() }, now.0);
        }
        self.report_count(channel, subscribers, now);
    }

    /// A user is not a member of a presence channel any more.
    pub fn note_member_gone(&self, channel: &ChannelName, user_id: &str, now: Millis) {
        let report = Event::MemberRemoved { channel: channel.local().into(), user_id: user_id.into() };
        self.report(report, now.0);
    }

    /// Whether the subscribers of a channel are told how many they are: where they are not told who they are.
    pub fn tells_count(&self, channel: &ChannelName) -> bool {
        let is_counted = match Kind::of(channel.local()).access {
            Access::Public | Access::Private => true,
            Access::Presence | Access::User => false,
        };
        is_counted && self.settings().subscription_count
    }

    fn report_count(&self, channel: &ChannelName, subscribers: u64, now: Millis) {
        if self.tells_count(channel) {
            let channel = channel.local().into();
            self.report(Event::SubscriptionCount { channel, subscription_count: subscribers }, now.0);
        }
    }
}

/// The channels of users are the protocol's own.
fn is_reported(channel: &ChannelName) -> bool {
    Kind::of(channel.local()).access != Access::User
}
