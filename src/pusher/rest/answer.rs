//! The bodies of the HTTP API's answers, as JSON: libraries parse each of status 200, also where there is nothing to say.
//!
//! The numbers are handed in.

use serde::Serialize;
use serde_json::json;

/// The answer where there is nothing to say.
pub const NOTHING: &str = "{}";

/// What is said of a channel; absent is what was not asked for, or what the channel does not have.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Attributes {
    /// The number of users in a presence channel.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub user_count: Option<u64>,
    /// The number of subscribers.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub subscription_count: Option<u64>,
}

/// The kept event of a cache channel.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Cached<'a> {
    /// Its data.
    pub data: &'a str,
    /// For how many seconds it is kept from now on.
    #[serde(rename = "ttl")]
    pub ttl_s: u64,
}

/// Channels and what is said of each: the answer to a list, and to an event with `info`.
///
/// `{"channels":{"presence-a":{"user_count":2}}}`
pub fn channels<'a>(channels: impl IntoIterator<Item = (&'a str, Attributes)>) -> String {
    let mut body = String::from(r#"{"channels":{"#);
    push_list(&mut body, channels, |body, (name, attributes)| {
        push(body, name);
        body.push(':');
        push(body, &attributes);
    });
    body.push_str("}}");
    body
}

/// What is said of the channel of each event of a batch, in its order.
///
/// `{"batch":[{"subscription_count":2},{}]}`
pub fn batch(attributes: impl IntoIterator<Item = Attributes>) -> String {
    let mut body = String::from(r#"{"batch":["#);
    push_list(&mut body, attributes, |body, attributes| push(body, &attributes));
    body.push_str("]}");
    body
}

/// The state of one channel. `cache` is `None` where it was not asked for, and `Some(None)` where no event is kept.
///
/// `{"occupied":true,"subscription_count":2,"cache":{"data":"…","ttl":1700}}`
#[must_use]
pub fn channel(is_occupied: bool, attributes: Attributes, cache: Option<Option<Cached<'_>>>) -> String {
    #[derive(Serialize)]
    struct Channel<'a> {
        occupied: bool,
        #[serde(flatten)]
        attributes: Attributes,
        #[serde(skip_serializing_if = "Option::is_none")]
        cache: Option<Option<Cached<'a>>>,
    }
    text(&Channel { occupied: is_occupied, attributes, cache })
}

/// The members of a presence channel, by their identifiers.
///
/// `{"users":[{"id":"1"}]}`
pub fn users<'a>(ids: impl IntoIterator<Item = &'a str>) -> String {
    let mut body = String::from(r#"{"users":["#);
    push_list(&mut body, ids, |body, id| {
        body.push_str(r#"{"id":"#);
        push(body, id);
        body.push('}');
    });
    body.push_str("]}");
    body
}

/// The deprecated answer of `stats`: the same as of the channel, the number of subscribers by another name.
///
/// `{"occupied":true,"user_count":1,"connection_count":2}`
#[must_use]
pub fn stats(user_count: Option<u64>, connection_count: u64) -> String {
    let occupied = connection_count > 0;
    match user_count {
        Some(user_count) => json!({
            "occupied": occupied, "user_count": user_count, "connection_count": connection_count
        }),
        None => json!({ "occupied": occupied, "connection_count": connection_count }),
    }
    .to_string()
}

fn push_list<T>(
    body: &mut String,
    items: impl IntoIterator<Item = T>,
    mut push_item: impl FnMut(&mut String, T),
) {
    for (at, item) in items.into_iter().enumerate() {
        if at > 0 {
            body.push(',');
        }
        push_item(body, item);
    }
}

fn push(body: &mut String, value: &(impl Serialize + ?Sized)) {
    body.push_str(&text(value));
}

fn text(value: &(impl Serialize + ?Sized)) -> String {
    serde_json::to_string(value).expect("texts, numbers and structures of them are always JSON")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn channels_are_an_object_by_their_names() {
        assert_eq!(channels([]), r#"{"channels":{}}"#);
        let users = Attributes { user_count: Some(2), subscription_count: None };
        let both = Attributes { user_count: Some(2), subscription_count: Some(3) };
        assert_eq!(
            channels([("presence-a", users), ("presence-b", both), ("c", Attributes::default())]),
            r#"{"channels":{"presence-a":{"user_count":2},"presence-b":{"user_count":2,"subscription_count":3},"c":{}}}"#
        );
    }

    #[test]
    fn a_batch_is_a_list_in_the_order_of_its_events() {
        let count = Attributes { user_count: None, subscription_count: Some(0) };
        assert_eq!(batch([count, Attributes::default()]), r#"{"batch":[{"subscription_count":0},{}]}"#);
    }

    #[test]
    fn a_channel_says_whether_it_is_occupied_and_what_was_asked_for() {
        let nothing = Attributes::default();
        assert_eq!(channel(false, nothing, None), r#"{"occupied":false}"#);
        assert_eq!(channel(true, nothing, Some(None)), r#"{"occupied":true,"cache":null}"#);
        let count = Attributes { user_count: Some(1), subscription_count: Some(2) };
        assert_eq!(
            channel(true, count, Some(Some(Cached { data: "\"x\"", ttl_s: 1700 }))),
            r#"{"occupied":true,"user_count":1,"subscription_count":2,"cache":{"data":"\"x\"","ttl":1700}}"#
        );
    }

    #[test]
    fn users_are_a_list_of_identifiers() {
        assert_eq!(users([]), r#"{"users":[]}"#);
        assert_eq!(users(["1", "a\"b"]), r#"{"users":[{"id":"1"},{"id":"a\"b"}]}"#);
    }

    #[test]
    fn stats_call_subscribers_connections() {
        assert_eq!(stats(None, 0), r#"{"connection_count":0,"occupied":false}"#);
        assert_eq!(stats(Some(1), 2), r#"{"connection_count":2,"occupied":true,"user_count":1}"#);
    }
}
