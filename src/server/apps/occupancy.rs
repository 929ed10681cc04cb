//! What an app's webhooks are told of the subscribers of its channels. Called under the lock of the channel, so that reports
//! have the order of the changes.
//!
//! The counts are the broker's; how reports are sent is not known here.

use crate::hub::ChannelName;
use crate::pusher::webhook::Event;
use crate::pusher::{Access, Kind, WebhookEvent};
use crate::server::apps::running::RunningApp;
use crate::server::broker::engine::signal::Occupancy;
use crate::server::clock::Millis;

impl RunningApp {
    /// A channel has this number of subscribers now, one more than before.
    pub fn note_joined(&self, channel: &ChannelName, subscribers: u64, now: Millis) {
        if subscribers == 1 && is_reported(channel) && self.reports(WebhookEvent::ChannelOccupied) {
            self.report(&Event::ChannelOccupied { channel: channel.local().into() }, now);
        }
        self.report_count(channel, subscribers, now);
    }

    /// A channel has this number of subscribers now, one less than before.
    pub fn note_left(&self, channel: &ChannelName, subscribers: u64, now: Millis) {
        if subscribers == 0 && is_reported(channel) && self.reports(WebhookEvent::ChannelVacated) {
            self.report(&Event::ChannelVacated { channel: channel.local().into() }, now);
        }
        self.report_count(channel, subscribers, now);
    }

    /// By what this server has said, a channel that several share is occupied or vacated, or has another number of subscribers.
    pub fn note_counted(
        &self,
        channel: &ChannelName,
        occupancy: Option<Occupancy>,
        subscribers: Option<u64>,
        now: Millis,
    ) {
        if !is_reported(channel) {
            return;
        }
        let name = || channel.local().into();
        match occupancy {
            Some(Occupancy::Occupied) if self.reports(WebhookEvent::ChannelOccupied) => {
                self.report(&Event::ChannelOccupied { channel: name() }, now);
            }
            Some(Occupancy::Vacated) if self.reports(WebhookEvent::ChannelVacated) => {
                self.report(&Event::ChannelVacated { channel: name() }, now);
            }
            Some(Occupancy::Occupied | Occupancy::Vacated) | None => {}
        }
        if let Some(subscribers) = subscribers {
            self.report_count(channel, subscribers, now);
        }
    }

    /// A user has become a member of a presence channel.
    pub fn note_member(&self, channel: &ChannelName, user_id: &str, now: Millis) {
        if self.reports(WebhookEvent::MemberAdded) {
            let (channel, user_id) = (channel.local().into(), user_id.into());
            self.report(&Event::MemberAdded { channel, user_id }, now);
        }
    }

    /// A user is not a member of a presence channel any more.
    pub fn note_member_gone(&self, channel: &ChannelName, user_id: &str, now: Millis) {
        if self.reports(WebhookEvent::MemberRemoved) {
            let (channel, user_id) = (channel.local().into(), user_id.into());
            self.report(&Event::MemberRemoved { channel, user_id }, now);
        }
    }

    /// A cache channel had no event for a new subscriber.
    pub fn note_cache_miss(&self, channel: &ChannelName, now: Millis) {
        if self.reports(WebhookEvent::CacheMiss) {
            self.report(&Event::CacheMiss { channel: channel.local().into() }, now);
        }
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
        if self.reports(WebhookEvent::SubscriptionCount) && self.tells_count(channel) {
            let channel = channel.local().into();
            self.report(&Event::SubscriptionCount { channel, subscription_count: subscribers }, now);
        }
    }
}

/// The channels of users are the protocol's own.
fn is_reported(channel: &ChannelName) -> bool {
    Kind::of(channel.local()).access != Access::User
}
