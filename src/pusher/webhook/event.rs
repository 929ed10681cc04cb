//! The events of webhooks as JSON, the body of a request, and its signature.
//!
//! When a request is sent is not known here.

use std::sync::Arc;

use serde::Serialize;

use crate::pusher::app::WebhookEvent;
use crate::pusher::auth::hmac_hex;

/// The value of `Content-Type`. The npm library compares it for equality: a parameter is refused.
pub const CONTENT_TYPE: &str = "application/json";

/// The header with the key of the app.
pub const KEY_HEADER: &str = "X-Pusher-Key";

/// The header with the signature of the body.
pub const SIGNATURE_HEADER: &str = "X-Pusher-Signature";

/// What is reported. Channels have their names as clients know them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "name", rename_all = "snake_case")]
pub enum Event {
    /// A channel has its first subscriber.
    ChannelOccupied {
        /// The channel.
        channel: Box<str>,
    },
    /// A channel has lost its last subscriber.
    ChannelVacated {
        /// The channel.
        channel: Box<str>,
    },
    /// A user has joined a presence channel by the first of its connections.
    MemberAdded {
        /// The channel.
        channel: Box<str>,
        /// The user.
        user_id: Box<str>,
    },
    /// The last connection of a user has left a presence channel.
    MemberRemoved {
        /// The channel.
        channel: Box<str>,
        /// The user.
        user_id: Box<str>,
    },
    /// A client has sent an event: see [`Event::client_event`].
    ClientEvent {
        /// The channel.
        channel: Box<str>,
        /// The name of the event.
        event: Box<str>,
        /// Its data, as a string.
        data: Box<str>,
        /// The connection that sent it.
        socket_id: Box<str>,
        /// In a presence channel, who sent it.
        #[serde(skip_serializing_if = "Option::is_none")]
        user_id: Option<Box<str>>,
    },
    /// A cache channel had no event for a new subscriber. The caller reports it once for as long as the channel stays empty;
    /// here, it is only merged with one that has not been sent yet.
    CacheMiss {
        /// The channel.
        channel: Box<str>,
    },
    /// The number of subscribers of a channel has changed. Of several that have not been sent yet, the newest counts.
    SubscriptionCount {
        /// The channel.
        channel: Box<str>,
        /// The number.
        subscription_count: u64,
    },
}

impl Event {
    /// What a client has sent. `data` is JSON text as it came. Receivers get a string, as server libraries demand (the Go
    /// library's type is `string`): the string that was sent, or the JSON text of anything else.
    #[must_use]
    pub fn client_event(
        channel: &str,
        event: &str,
        data: &str,
        socket_id: &str,
        user_id: Option<&str>,
    ) -> Self {
        let text = serde_json::from_str::<String>(data);
        Self::ClientEvent {
            channel: channel.into(),
            event: event.into(),
            data: text.map_or_else(|_| data.into(), String::into_boxed_str),
            socket_id: socket_id.into(),
            user_id: user_id.map(Into::into),
        }
    }

    /// What kind of event it is.
    #[must_use]
    pub fn kind(&self) -> WebhookEvent {
        match self {
            Self::ChannelOccupied { .. } => WebhookEvent::ChannelOccupied,
            Self::ChannelVacated { .. } => WebhookEvent::ChannelVacated,
            Self::MemberAdded { .. } => WebhookEvent::MemberAdded,
            Self::MemberRemoved { .. } => WebhookEvent::MemberRemoved,
            Self::ClientEvent { .. } => WebhookEvent::ClientEvent,
            Self::CacheMiss { .. } => WebhookEvent::CacheMiss,
            Self::SubscriptionCount { .. } => WebhookEvent::SubscriptionCount,
        }
    }

    /// The event as it is sent: a JSON object.
    ///
    /// # Panics
    /// Never: there is nothing in an event that JSON could not hold.
    #[must_use]
    pub fn to_json(&self) -> String {
        serde_json::to_string(self).expect("strings and numbers are JSON")
    }
}

/// A set of kinds of events.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Kinds(u8);

impl Kinds {
    /// Those of a receiver's list; an empty list stands for all.
    #[must_use]
    pub fn listed(list: &[WebhookEvent]) -> Self {
        let list = if list.is_empty() { &WebhookEvent::ALL } else { list };
        Self(list.iter().fold(0, |bits, kind| bits | Self::bit(*kind)))
    }

    /// These, and those that cancel one of them.
    #[must_use]
    pub fn with_cancelling(self) -> Self {
        let pairs = [
            (WebhookEvent::ChannelVacated, WebhookEvent::ChannelOccupied),
            (WebhookEvent::MemberRemoved, WebhookEvent::MemberAdded),
        ];
        let cancelling = pairs.into_iter().filter(|(delayed, _)| self.contains(*delayed));
        Self(cancelling.fold(self.0, |bits, (_, cancels)| bits | Self::bit(cancels)))
    }

    /// The kinds of both.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// Whether a kind is one of them.
    #[must_use]
    pub fn contains(self, kind: WebhookEvent) -> bool {
        self.0 & Self::bit(kind) != 0
    }

    /// As a number, which a shared flag can hold.
    #[must_use]
    pub fn bits(self) -> u8 {
        self.0
    }

    /// From such a number.
    #[must_use]
    pub fn from_bits(bits: u8) -> Self {
        Self(bits)
    }

    fn bit(kind: WebhookEvent) -> u8 {
        1 << kind as u8
    }
}

/// The body of a request: events, each as [`Event::to_json`] has it, and the time of the attempt in milliseconds since 1970.
#[must_use]
pub fn body(time_ms: u64, events: &[Arc<str>]) -> String {
    format!(r#"{{"time_ms":{time_ms},"events":[{}]}}"#, events.join(","))
}

/// The value of [`SIGNATURE_HEADER`]: the HMAC-SHA256 of the body, in lower-case hexadecimal.
#[must_use]
pub fn signature(secret: &str, body: &str) -> String {
    hmac_hex(secret, body.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_event_has_the_fields_that_are_documented_for_it() {
        let (channel, user_id) = (Box::from("presence-a"), Box::from("u1"));
        let json = |event: Event| event.to_json();
        let occupied = Event::ChannelOccupied { channel: Box::from("a") };
        assert_eq!(json(occupied), r#"{"name":"channel_occupied","channel":"a"}"#);
        let vacated = Event::ChannelVacated { channel: Box::from("a") };
        assert_eq!(json(vacated), r#"{"name":"channel_vacated","channel":"a"}"#);
        assert_eq!(
            json(Event::MemberAdded { channel, user_id }),
            r#"{"name":"member_added","channel":"presence-a","user_id":"u1"}"#
        );
        let (channel, user_id) = (Box::from("presence-a"), Box::from("u\"1"));
        assert_eq!(
            json(Event::MemberRemoved { channel, user_id }),
            r#"{"name":"member_removed","channel":"presence-a","user_id":"u\"1"}"#
        );
        let miss = Event::CacheMiss { channel: Box::from("cache-a") };
        assert_eq!(json(miss), r#"{"name":"cache_miss","channel":"cache-a"}"#);
        let count = Event::SubscriptionCount { channel: Box::from("a"), subscription_count: 7 };
        assert_eq!(json(count), r#"{"name":"subscription_count","channel":"a","subscription_count":7}"#);
    }

    #[test]
    fn the_data_of_a_client_event_is_a_string_whatever_the_client_sent() {
        let sent = |data: &str| Event::client_event("private-a", "client-x", data, "1.2", None).to_json();
        let with = |data: &str| {
            format!(
                r#"{{"name":"client_event","channel":"private-a","event":"client-x","data":{data},"socket_id":"1.2"}}"#
            )
        };
        assert_eq!(sent(r#""hello""#), with(r#""hello""#));
        assert_eq!(sent(r#"{"a": "b"}"#), with(r#""{\"a\": \"b\"}""#));
        assert_eq!(sent("null"), with(r#""null""#));
        assert_eq!(sent(r#""{\"a\":1}""#), with(r#""{\"a\":1}""#));
        // A string that is no text stays JSON.
        assert_eq!(sent(r#""\ud800""#), with(r#""\"\\ud800\"""#));
    }

    #[test]
    fn the_sender_of_a_client_event_is_named_in_presence_channels_only() {
        let event = Event::client_event("presence-a", "client-x", "1", "1.2", Some("u1"));
        assert_eq!(
            event.to_json(),
            r#"{"name":"client_event","channel":"presence-a","event":"client-x","data":"1","socket_id":"1.2","user_id":"u1"}"#
        );
    }

    #[test]
    fn an_event_has_the_name_that_the_configuration_lists_it_by() {
        let channel = || Box::from("c");
        let events = [
            Event::ChannelOccupied { channel: channel() },
            Event::ChannelVacated { channel: channel() },
            Event::MemberAdded { channel: channel(), user_id: Box::from("1") },
            Event::MemberRemoved { channel: channel(), user_id: Box::from("1") },
            Event::client_event("c", "client-x", "1", "1.2", None),
            Event::CacheMiss { channel: channel() },
            Event::SubscriptionCount { channel: channel(), subscription_count: 1 },
        ];
        assert_eq!(events.each_ref().map(Event::kind), WebhookEvent::ALL);
        for event in events {
            let name = format!(r#"{{"name":"{}","#, event.kind().name());
            assert!(event.to_json().starts_with(&name), "{event:?}");
        }
    }

    #[test]
    fn a_body_is_signed_as_server_libraries_verify_it() {
        // From the tests of the PHP library.
        assert_eq!(
            signature("thisisasecret", r#"{"hello":"world"}"#),
            "40e0ad3b9aa49529322879e84de1aaaf18bde1efe839ca263d540cc865510d25"
        );
        let event = Event::client_event(
            "private-my-channel",
            "client-event",
            r#""Unencrypted""#,
            "240621.35780774",
            None,
        );
        let body = body(1_530_710_011_901, &[event.to_json().into()]);
        assert_eq!(
            body,
            concat!(
                r#"{"time_ms":1530710011901,"events":[{"name":"client_event","channel":"private-my-channel","#,
                r#""event":"client-event","data":"Unencrypted","socket_id":"240621.35780774"}]}"#
            )
        );
        assert_eq!(
            signature("thisisasecret", &body),
            "a19cab2af3ca1029257570395e78d5d675e9e700ca676d18a375a7083178df1c"
        );
    }

    #[test]
    fn an_empty_list_stands_for_every_kind() {
        assert!(WebhookEvent::ALL.into_iter().all(|kind| Kinds::listed(&[]).contains(kind)));
        let one = Kinds::listed(&[WebhookEvent::MemberRemoved]);
        assert!(
            WebhookEvent::ALL
                .into_iter()
                .all(|kind| one.contains(kind) == (kind == WebhookEvent::MemberRemoved))
        );
        let observed = one.with_cancelling();
        assert!(
            observed.contains(WebhookEvent::MemberAdded) && !observed.contains(WebhookEvent::ChannelOccupied)
        );
        assert_eq!(Kinds::from_bits(observed.bits()), observed);
        assert_eq!(Kinds::default().and(one), one);
    }
}
