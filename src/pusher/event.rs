//! Events as the text of messages: what the server sends, and the parts of what clients send.
//!
//! When which is sent is decided by the session and the server.

use serde::Serialize;

use super::Member;

/// The data of an event, as its publisher sent it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Data<'a> {
    /// Text, which is sent as a JSON string: what servers publish.
    Text(&'a str),
    /// One JSON value, which is sent as the value that it is: what clients send to each other.
    Json(&'a str),
}

/// Appends the message that delivers an event of a channel: `{"event":…,"channel":…,"data":…}`, and `user_id` of a client
/// event in a presence channel.
pub fn channel_event(out: &mut Vec<u8>, event: &str, channel: &str, data: Data<'_>, user_id: Option<&str>) {
    out.extend_from_slice(br#"{"event":"#);
    push_json(out, event);
    out.extend_from_slice(br#","channel":"#);
    push_json(out, channel);
    out.extend_from_slice(br#","data":"#);
    match data {
        Data::Text(text) => push_json(out, text),
        Data::Json(json) => out.extend_from_slice(json.as_bytes()),
    }
    if let Some(user_id) = user_id {
        out.extend_from_slice(br#","user_id":"#);
        push_json(out, user_id);
    }
    out.push(b'}');
}

/// The first message of a connection. `activity_timeout` is in seconds and not 0: clients give up for good if it is.
#[must_use]
pub fn connection_established(socket_id: &str, activity_timeout_s: u64) -> String {
    let data = format!(r#"{{"socket_id":{},"activity_timeout":{activity_timeout_s}}}"#, json(socket_id));
    format!(r#"{{"event":"pusher:connection_established","data":{}}}"#, json(&data))
}

/// Asks a client for a sign of life. Clients of protocol 5 and later answer with `pusher:pong`.
#[must_use]
pub fn ping() -> String {
    r#"{"event":"pusher:ping","data":"{}"}"#.to_owned()
}

/// The answer to `pusher:ping`.
#[must_use]
pub fn pong() -> String {
    r#"{"event":"pusher:pong","data":"{}"}"#.to_owned()
}

/// Says what is wrong. The data is an object here, not a string.
#[must_use]
pub fn error(code: Option<u16>, message: &str) -> String {
    let code = code.map_or_else(|| "null".to_owned(), |code| code.to_string());
    format!(r#"{{"event":"pusher:error","data":{{"code":{code},"message":{}}}}}"#, json(message))
}

/// Confirms a subscription. `data` is the JSON of [`Members::to_data`] for a presence channel, nothing for others.
///
/// [`Members::to_data`]: super::Members::to_data
#[must_use]
pub fn subscription_succeeded(channel: &str, data: Option<&str>) -> String {
    of_channel("pusher_internal:subscription_succeeded", channel, &json(data.unwrap_or("{}")))
}

/// Tells those who listen to the channel that the subscription is refused. `kind` is for programs (`AuthError`), `error`
/// for people.
#[must_use]
pub fn subscription_error(channel: &str, kind: &str, error: &str, status: u16) -> String {
    let data = format!(r#"{{"type":{},"error":{},"status":{status}}}"#, json(kind), json(error));
    of_channel("pusher:subscription_error", channel, &data)
}

/// Confirms that the connection is signed in. `user_data` is what the client sent, byte for byte.
#[must_use]
pub fn signin_success(user_data: &str) -> String {
    let data = format!(r#"{{"user_data":{}}}"#, json(user_data));
    format!(r#"{{"event":"pusher:signin_success","data":{}}}"#, json(&data))
}

/// Tells a new subscriber of a cache channel that no event is kept.
#[must_use]
pub fn cache_miss(channel: &str) -> String {
    format!(r#"{{"event":"pusher:cache_miss","channel":{}}}"#, json(channel))
}

/// Tells which users of a connection's watchlist have come online and gone offline. An empty list is left out.
#[must_use]
pub fn watchlist(online: &[impl AsRef<str>], offline: &[impl AsRef<str>]) -> String {
    let mut events = Vec::new();
    for (name, ids) in [("online", ids(online)), ("offline", ids(offline))] {
        if let Some(ids) = ids {
            events.push(format!(r#"{{"name":"{name}","user_ids":[{ids}]}}"#));
        }
    }
    let data = format!(r#"{{"events":[{}]}}"#, events.join(","));
    format!(r#"{{"event":"pusher_internal:watchlist_events","data":{}}}"#, json(&data))
}

/// The data of `pusher_internal:member_added`.
#[must_use]
pub fn member_added_data(member: &Member) -> String {
    let info = member.user_info.as_deref().unwrap_or("null");
    format!(r#"{{"user_id":{},"user_info":{info}}}"#, json(&member.user_id))
}

/// The data of `pusher_internal:member_removed`.
#[must_use]
pub fn member_removed_data(user_id: &str) -> String {
    format!(r#"{{"user_id":{}}}"#, json(user_id))
}

/// The data of `pusher_internal:subscription_count`.
#[must_use]
pub fn subscription_count_data(subscribers: u64) -> String {
    format!(r#"{{"subscription_count":{subscribers}}}"#)
}

fn of_channel(event: &str, channel: &str, data_json: &str) -> String {
    format!(r#"{{"event":"{event}","channel":{},"data":{data_json}}}"#, json(channel))
}

/// The identifiers as JSON strings with commas between; `None` if there are none.
fn ids(ids: &[impl AsRef<str>]) -> Option<String> {
    let ids: Vec<_> = ids.iter().map(|id| json(id.as_ref())).collect();
    (!ids.is_empty()).then(|| ids.join(","))
}

/// The text as a JSON string, in quotes.
fn json(text: &str) -> String {
    let mut out = Vec::with_capacity(text.len() + 2);
    push_json(&mut out, text);
    String::from_utf8(out).expect("JSON of a text is text")
}

fn push_json(out: &mut Vec<u8>, value: &(impl Serialize + ?Sized)) {
    serde_json::to_writer(out, value).expect("a string is always JSON, and a vector takes every write");
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(event: &str, data: Data<'_>, user_id: Option<&str>) -> String {
        let mut out = Vec::new();
        channel_event(&mut out, event, "prices", data, user_id);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn the_data_of_a_publisher_is_a_string_and_that_of_a_client_the_value_it_sent() {
        assert_eq!(
            text("tick", Data::Text(r#"{"p":1}"#), None),
            r#"{"event":"tick","channel":"prices","data":"{\"p\":1}"}"#
        );
        assert_eq!(
            text("client-a", Data::Json(r#"{"p":1}"#), Some("7")),
            r#"{"event":"client-a","channel":"prices","data":{"p":1},"user_id":"7"}"#
        );
    }

    #[test]
    fn a_connection_is_told_its_socket_id_in_a_string_of_json() {
        assert_eq!(
            connection_established("145814.20211781", 120),
            r#"{"event":"pusher:connection_established","data":"{\"socket_id\":\"145814.20211781\",\"activity_timeout\":120}"}"#
        );
    }

    #[test]
    fn a_ping_and_a_pong_have_an_empty_object_as_a_string() {
        assert_eq!(ping(), r#"{"event":"pusher:ping","data":"{}"}"#);
        assert_eq!(pong(), r#"{"event":"pusher:pong","data":"{}"}"#);
    }

    #[test]
    fn an_error_has_an_object_with_a_code_or_null() {
        assert_eq!(
            error(Some(4001), "no \"a\""),
            r#"{"event":"pusher:error","data":{"code":4001,"message":"no \"a\""}}"#
        );
        assert_eq!(error(None, "x"), r#"{"event":"pusher:error","data":{"code":null,"message":"x"}}"#);
    }

    #[test]
    fn a_subscriber_is_told_of_success_with_an_empty_object_or_the_members() {
        assert_eq!(
            subscription_succeeded("prices", None),
            r#"{"event":"pusher_internal:subscription_succeeded","channel":"prices","data":"{}"}"#
        );
        assert_eq!(
            subscription_succeeded("presence-a", Some(r#"{"presence":{"ids":[],"hash":{},"count":0}}"#)),
            r#"{"event":"pusher_internal:subscription_succeeded","channel":"presence-a","data":"{\"presence\":{\"ids\":[],\"hash\":{},\"count\":0}}"}"#
        );
    }

    #[test]
    fn a_refused_subscriber_is_told_the_type_the_sentence_and_the_status() {
        assert_eq!(
            subscription_error("private-a", "AuthError", "no", 401),
            r#"{"event":"pusher:subscription_error","channel":"private-a","data":{"type":"AuthError","error":"no","status":401}}"#
        );
    }

    #[test]
    fn a_signed_in_client_gets_the_string_that_it_sent() {
        assert_eq!(
            signin_success(r#"{"id":"1"}"#),
            r#"{"event":"pusher:signin_success","data":"{\"user_data\":\"{\\\"id\\\":\\\"1\\\"}\"}"}"#
        );
    }

    #[test]
    fn a_cache_miss_has_a_channel_and_no_data() {
        assert_eq!(cache_miss("cache-a"), r#"{"event":"pusher:cache_miss","channel":"cache-a"}"#);
    }

    #[test]
    fn a_watchlist_is_one_event_without_a_channel() {
        assert_eq!(
            watchlist(&["a", "b"], &["c"]),
            r#"{"event":"pusher_internal:watchlist_events","data":"{\"events\":[{\"name\":\"online\",\"user_ids\":[\"a\",\"b\"]},{\"name\":\"offline\",\"user_ids\":[\"c\"]}]}"}"#
        );
        let nobody: [&str; 0] = [];
        assert_eq!(
            watchlist(&nobody, &["c"]),
            r#"{"event":"pusher_internal:watchlist_events","data":"{\"events\":[{\"name\":\"offline\",\"user_ids\":[\"c\"]}]}"}"#
        );
    }

    #[test]
    fn the_others_are_told_of_a_member_with_its_info_or_null() {
        let with_info = Member { user_id: "a\"b".into(), user_info: Some(r#"{"n":"\ud83d"}"#.into()) };
        assert_eq!(member_added_data(&with_info), r#"{"user_id":"a\"b","user_info":{"n":"\ud83d"}}"#);
        let without = Member { user_id: "10".into(), user_info: None };
        assert_eq!(member_added_data(&without), r#"{"user_id":"10","user_info":null}"#);
        assert_eq!(member_removed_data("10"), r#"{"user_id":"10"}"#);
    }

    #[test]
    fn subscribers_are_told_how_many_they_are() {
        assert_eq!(subscription_count_data(12), r#"{"subscription_count":12}"#);
    }
}
