//! The settings of an app: its credentials, what its clients may do, its limits and its webhooks.
//!
//! Plain values and their defaults with the reasons. Where they come from is not known here.

use std::fmt;
use std::num::NonZeroU32;
use std::time::Duration;

/// One app: a name space of channels with credentials of its own. `Debug` shows how many secrets there are.
#[derive(Clone, PartialEq, Eq)]
pub struct App {
    /// Digits: some server libraries accept nothing else.
    pub id: String,
    /// The public half of the credentials, which clients connect with.
    pub key: String,
    /// The secret half. Each of them verifies, so that one can be replaced while the other is in use; the first signs
    /// webhooks.
    ///
    /// Invariant: there is at least one.
    pub secrets: Vec<String>,
    /// A disabled app's connections are refused with 4003.
    pub is_enabled: bool,
    /// Whether members of private and presence channels may send events to each other.
    pub client_events: bool,
    /// Whether client events are allowed in encrypted channels too; no client library sends them.
    pub encrypted_client_events: bool,
    /// Whether subscribers are told how many they are.
    pub subscription_count: bool,
    /// Whether signed-in users are told which of their contacts are online.
    pub watchlist: bool,
    /// The time within which a connection has to sign in or to subscribe to a channel that needs authorization, if it has
    /// to; it is closed with 4009 after that.
    pub authorized_within: Option<Duration>,
    /// The most connections at once; more are refused with 4004.
    pub max_connections: Option<u64>,
    /// The most channels of one connection. 1,000 cost about 100 KB.
    pub max_channels: usize,
    /// The longest payload of an event, in bytes: 10 KiB, which server libraries document.
    pub max_event: usize,
    /// The most members of a presence channel, all of which each new member is sent: 100, as hosted Pusher has it.
    pub max_members: usize,
    /// The longest `user_info` of a member, in bytes: 1 KiB, as hosted Pusher has it.
    pub max_user_info: usize,
    /// Client events per second and connection: 10, as hosted Pusher has it.
    pub client_event_rate: NonZeroU32,
    /// Events per second that servers may publish by the HTTP API; more are refused with 429. `None`: any number.
    pub event_rate: Option<NonZeroU32>,
    /// The browser origins that may connect, in normal form; empty: those that the server serves.
    pub allow_origin: Vec<String>,
    /// Where events are reported to.
    pub webhooks: Vec<Webhook>,
}

/// A receiver of webhooks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Webhook {
    /// Where they are posted to.
    pub url: String,
    /// Which events are reported; empty: all.
    pub events: Vec<WebhookEvent>,
}

/// The kinds of events that a webhook reports.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum WebhookEvent {
    /// A channel has its first subscriber.
    ChannelOccupied,
    /// A channel has lost its last subscriber.
    ChannelVacated,
    /// A user has joined a presence channel.
    MemberAdded,
    /// A user has left a presence channel.
    MemberRemoved,
    /// A client has sent an event.
    ClientEvent,
    /// A cache channel had no event for a new subscriber.
    CacheMiss,
    /// The number of subscribers of a channel has changed.
    SubscriptionCount,
}

impl App {
    /// The longest payload of an event if the app does not say.
    pub const MAX_EVENT: usize = 10 * 1024;

    /// An app with default settings.
    #[must_use]
    pub fn new(id: impl Into<String>, key: impl Into<String>, secret: impl Into<String>) -> Self {
        Self {
            id: id.into(),
            key: key.into(),
            secrets: vec![secret.into()],
            is_enabled: true,
            client_events: false,
            encrypted_client_events: false,
            subscription_count: false,
            watchlist: false,
            authorized_within: None,
            max_connections: None,
            max_channels: 1000,
            max_event: Self::MAX_EVENT,
            max_members: 100,
            max_user_info: 1024,
            client_event_rate: NonZeroU32::MIN.saturating_add(9),
            event_rate: None,
            allow_origin: Vec::new(),
            webhooks: Vec::new(),
        }
    }
}

impl fmt::Debug for App {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("App")
            .field("id", &self.id)
            .field("key", &self.key)
            .field("secrets", &self.secrets.len())
            .field("is_enabled", &self.is_enabled)
            .field("client_events", &self.client_events)
            .field("encrypted_client_events", &self.encrypted_client_events)
            .field("subscription_count", &self.subscription_count)
            .field("watchlist", &self.watchlist)
            .field("authorized_within", &self.authorized_within)
            .field("max_connections", &self.max_connections)
            .field("max_channels", &self.max_channels)
            .field("max_event", &self.max_event)
            .field("max_members", &self.max_members)
            .field("max_user_info", &self.max_user_info)
            .field("client_event_rate", &self.client_event_rate)
            .field("event_rate", &self.event_rate)
            .field("allow_origin", &self.allow_origin)
            .field("webhooks", &self.webhooks)
            .finish()
    }
}

impl WebhookEvent {
    /// Every kind.
    pub const ALL: [Self; 7] = [
        Self::ChannelOccupied,
        Self::ChannelVacated,
        Self::MemberAdded,
        Self::MemberRemoved,
        Self::ClientEvent,
        Self::CacheMiss,
        Self::SubscriptionCount,
    ];

    /// Its name in a webhook and in the configuration.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::ChannelOccupied => "channel_occupied",
            Self::ChannelVacated => "channel_vacated",
            Self::MemberAdded => "member_added",
            Self::MemberRemoved => "member_removed",
            Self::ClientEvent => "client_event",
            Self::CacheMiss => "cache_miss",
            Self::SubscriptionCount => "subscription_count",
        }
    }
}
