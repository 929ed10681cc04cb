//! One call of the backend: its body, and the signature that shows who calls.
//!
//! How it is sent is not known here.

use std::sync::Arc;

use hmac::{Hmac, KeyInit, Mac};
use serde::Serialize;
use sha2::Sha256;

use super::credentials::Credentials;
use crate::hub::ChannelName;

/// What a client wants to do with channels.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Action {
    /// Subscribe, and read what is kept.
    Subscribe,
    /// Publish.
    Publish,
}

/// How a client came.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Transport {
    /// By WebSocket.
    #[serde(rename = "websocket")]
    WebSocket,
    /// By an event stream.
    Sse,
    /// By a long poll, or a request for what is kept.
    LongPoll,
    /// By a POST.
    Post,
}

/// The number of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct CallId(pub(super) u64);

/// The number of a question that waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct QuestionId(pub(super) u64);

impl QuestionId {
    /// That of a question that no desk is asked. Who makes them sees to it that they differ.
    #[must_use]
    pub fn new(number: u64) -> Self {
        Self(number)
    }
}

/// A call to be made.
#[derive(Clone, Debug)]
pub struct Call {
    /// Its number, by which it is settled.
    pub id: CallId,
    /// Whose wish it is.
    pub credentials: Arc<Credentials>,
    /// What it is.
    pub action: Action,
    /// Where: each once, by the name that clients use.
    pub channels: Arc<[ChannelName]>,
    /// How the client came; of several that ask the same, the first.
    pub transport: Transport,
}

#[derive(Serialize)]
struct Body<'a> {
    action: Action,
    channels: Vec<&'a str>,
    transport: Transport,
}

impl Call {
    /// The body, as JSON.
    #[must_use]
    pub fn body(&self) -> String {
        let channels = self.channels.iter().map(ChannelName::as_str).collect();
        let body = Body { action: self.action, channels, transport: self.transport };
        serde_json::to_string(&body).expect("names and words are JSON")
    }
}

/// The value of `Fanfare-Signature` for a body that is sent at `unix_s`, in seconds since 1970.
#[must_use]
pub fn signature(secret: &str, unix_s: u64, body: &str) -> String {
    let mut hmac = Hmac::<Sha256>::new_from_slice(secret.as_bytes()).expect("HMAC takes a key of any length");
    hmac.update(format!("{unix_s}.{body}").as_bytes());
    let hex: String = hmac.finalize().into_bytes().iter().map(|byte| format!("{byte:02x}")).collect();
    format!("t={unix_s},v1={hex}")
}

#[cfg(test)]
mod tests {
    use super::super::credentials::Fields;
    use super::*;

    #[test]
    fn the_body_says_what_is_wanted_and_how_the_client_came() {
        let call = |action, transport| Call {
            id: CallId(0),
            credentials: Arc::new(Credentials::new(Fields::default(), "192.0.2.1")),
            action,
            channels: ["chat-7", "chat-8"].map(|name| ChannelName::new(name).unwrap()).into(),
            transport,
        };
        assert_eq!(
            call(Action::Subscribe, Transport::WebSocket).body(),
            r#"{"action":"subscribe","channels":["chat-7","chat-8"],"transport":"websocket"}"#
        );
        let words = [Transport::Sse, Transport::LongPoll, Transport::Post].map(|transport| {
            let body = call(Action::Publish, transport).body();
            body.strip_prefix(r#"{"action":"publish","channels":["chat-7","chat-8"],"transport":"#)
                .unwrap()
                .to_owned()
        });
        assert_eq!(words, [r#""sse"}"#, r#""long_poll"}"#, r#""post"}"#]);
    }

    #[test]
    fn a_signature_is_that_of_another_implementation() {
        // printf '%s' '1790000000.{"action":"subscribe"}' | openssl dgst -sha256 -hmac secret
        assert_eq!(
            signature("secret", 1_790_000_000, r#"{"action":"subscribe"}"#),
            "t=1790000000,v1=4443658f9c4445e56b1eb1398e971da5ef48cc47a075f624c073786d4293c391"
        );
    }
}
