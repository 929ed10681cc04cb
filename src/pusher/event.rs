//! Events as the text of messages: what the server sends, and the parts of what clients send.
//!
//! When which is sent is decided by the session and the server.

use serde::Serialize;

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
}
