//! Several channels on one event stream or long poll where not everybody may read everything: refusals, the end of a token,
//! and who is there.

#![allow(clippy::unwrap_used)] // a helper that fails fails its test

mod support;

use std::net::SocketAddr;
use std::time::{SystemTime, UNIX_EPOCH};

use fanfare::config::{AuthRule, Config, Glob, PresenceRule};
use fanfare::token::{Key, Keys};
use jsonwebtoken::{EncodingKey, Header};
use serde_json::{Value, json};
use support::event_stream::*;
use support::*;

const SECRET: &[u8] = b"0123456789abcdef0123456789abcdef";

/// Tokens are needed but for `open*`; it is told who is in `chat*`.
fn closed() -> Config {
    let mut token_keys = Keys::default();
    token_keys.push(Key::secret("k", SECRET).unwrap()).unwrap();
    Config {
        token_keys,
        auth: vec![(Glob::new("open*"), AuthRule::Open)],
        presence: vec![(Glob::new("chat*"), PresenceRule::Members)],
        ..config()
    }
}

/// The field with a token of a user that says this.
fn bearer(sub: &str, fanfare: &Value) -> String {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
    let claims = json!({"sub": sub, "iat": now, "exp": now + 600, "fanfare": fanfare});
    let key = EncodingKey::from_secret(SECRET);
    format!("Authorization: Bearer {}\r\n", jsonwebtoken::encode(&Header::default(), &claims, &key).unwrap())
}

fn open(address: SocketAddr, query: &str, fields: &str) -> Events {
    let mut events = Events::open(address, &format!("/channels?{query}"), fields);
    events.shows_ids = true;
    events
}

fn value(event: &Event) -> Value {
    serde_json::from_str(&event.data).unwrap()
}

/// The next event with data.
fn next(events: &mut Events) -> Value {
    loop {
        let event = events.next().unwrap();
        if !event.data.is_empty() {
            return value(&event);
        }
    }
}

#[test]
fn one_channel_that_the_token_does_not_name_refuses_all_of_them() {
    let server = start(closed());
    let token = bearer("u42", &json!({"subscribe": ["news", "chat-*"]}));
    for accept in ["", "Accept: text/event-stream\r\n"] {
        let asked = |query: &str, token: &str| {
            request(server.address, "GET", &format!("/channels?{query}"), &format!("{accept}{token}"), b"")
        };
        let refused = asked("channel=news&channel=ops&wait=0", &token);
        assert_eq!(refused.status, 403);
        assert_eq!(refused.body, "The token of u42 subscribes to news, chat-*; not to ops.\n");
        let refused = asked("channel=open&channel=news&wait=0", "");
        assert_eq!(refused.status, 401, "{refused:?}");
        assert!(refused.body.starts_with("Channel news needs a token:"), "{}", refused.body);
        assert!(refused.head.contains("\r\nWWW-Authenticate: Bearer"), "{}", refused.head);
    }
    let answer = request(server.address, "GET", "/channels?channel=open&channel=news&wait=0", &token, b"");
    assert_eq!(answer.status, 200);
    let mut events = open(server.address, "channel=chat-1&channel=news", &token);
    assert_eq!(
        [next(&mut events), next(&mut events)].map(|told| told["event"].clone()),
        ["fanfare:subscribed"; 2]
    );
}

#[test]
fn a_stream_whose_token_has_ended_is_told_its_positions_and_that_and_ends() {
    let server = start(closed());
    let token = bearer("u42", &json!({"subscribe": ["*"], "stay": 1}));
    let mut events = open(server.address, "channel=a&channel=b", &token);
    next(&mut events);
    next(&mut events);
    publish_draft(&server.handle, &fanfare::server::Draft::text("b", "one").unwrap());
    let id = next(&mut events)["id"].as_str().unwrap().to_owned();
    assert_eq!(next(&mut events)["event"], "fanfare:expired");
    assert_eq!(events.last_id.split(',').nth(1), Some(id.as_str()));
    assert_eq!(events.next(), None);
}

#[test]
fn a_stream_is_told_who_is_in_the_channel_that_asks_for_it_and_its_positions_are_of_the_channels_alone() {
    let server = start(closed());
    let may = json!({"subscribe": ["*"], "presence": ["chat-*"], "info": {"name": "Ada"}});
    let mut events =
        open(server.address, "channel=news&presence=1&channel=chat-1&presence=1", &bearer("u42", &may));
    let first = events.next().unwrap();
    assert_eq!(first.id.split(',').count(), 2, "{}", first.id);
    assert_eq!(value(&first)["data"]["presence"], false, "it is not told who is in news");
    let begun = next(&mut events);
    assert_eq!((&begun["event"], &begun["channel"]), (&json!("fanfare:subscribed"), &json!("chat-1")));
    assert_eq!(begun["data"]["presence"], Value::Null);
    let present = next(&mut events);
    assert_eq!((&present["event"], &present["channel"]), (&json!("fanfare:presence"), &json!("chat-1")));
    assert_eq!(present["data"]["members"][0]["sub"], "u42");
    let _other = open(server.address, "channel=chat-1", &bearer("u7", &may));
    let joined = loop {
        let told = next(&mut events);
        assert_eq!(told["event"], "fanfare:presence", "{told}");
        if told["data"]["joined"][0]["sub"] == "u7" {
            break told;
        }
    };
    assert_eq!((&joined["channel"], &joined["data"]["count"]), (&json!("chat-1"), &json!(2)));
    let draft = fanfare::server::Draft::text("news", "one").unwrap();
    publish_draft(&server.handle, &draft);
    assert_eq!(next(&mut events)["data"], "one");
    let told = loop {
        let event = events.next().unwrap();
        if event.data.is_empty() && event.id != first.id {
            break event.id;
        }
    };
    assert_eq!(told.split(',').count(), 2, "{told}");
    assert!(told.split(',').next().unwrap().ends_with("-1"), "{told}");
}
