//! What operators ask about channels, over real sockets: the list, its pages, and the state of a channel.

#![allow(clippy::unwrap_used)] // a helper that fails fails its test

mod support;

use std::net::SocketAddr;

use fanfare::config::{AccessKey, Config};
use serde_json::Value;
use support::event_stream::Events;
use support::*;

fn ask(address: SocketAddr, path: &str, fields: &str) -> (u16, Value) {
    let answer = request(address, "GET", path, fields, b"");
    (answer.status, serde_json::from_str(&answer.body).unwrap_or(Value::String(answer.body)))
}

fn names(page: &Value) -> Vec<&str> {
    page["channels"].as_array().unwrap().iter().map(|entry| entry["channel"].as_str().unwrap()).collect()
}

#[test]
fn the_list_has_the_channels_in_order_with_their_subscribers_and_newest_publication() {
    let server = start(config());
    let _one = websocket(server.address, "/channels/chat-7");
    let _two = websocket(server.address, "/channels/chat-7");
    publish(server.address, "news", "x");
    let second = publish(server.address, "news", "y");
    let (status, page) = ask(server.address, "/channels", "");
    assert_eq!((status, names(&page), &page["next"]), (200, vec!["chat-7", "news"], &Value::Null), "{page}");
    let subscribers: Vec<_> =
        page["channels"].as_array().unwrap().iter().map(|entry| &entry["subscribers"]).collect();
    assert_eq!(subscribers, [&Value::from(2), &Value::from(0)]);
    let id = serde_json::from_str::<Value>(&second.body).unwrap()["id"].clone();
    assert_eq!(page["channels"][1]["last"], id);
}

#[test]
fn pages_follow_each_other_and_a_prefix_narrows_the_list() {
    let server = start(config());
    let wanted: Vec<_> = (0..25).map(|at| format!("chat-{at:02}")).collect();
    for name in &wanted {
        publish(server.address, name, "x");
    }
    publish(server.address, "a", "x");
    publish(server.address, "z", "x");
    let (mut found, mut after) = (Vec::new(), String::new());
    loop {
        let path = format!("/channels?prefix=chat-&limit=10&after={after}");
        let (status, page) = ask(server.address, &path, "");
        assert_eq!(status, 200, "{page}");
        found.extend(names(&page).into_iter().map(str::to_owned));
        match page["next"].as_str() {
            Some(next) => after = next.to_owned(),
            None => break,
        }
        assert_eq!(found.last(), Some(&after));
    }
    assert_eq!(found, wanted);
    for limit in ["0", "1001", "x", "-1"] {
        let (status, told) = ask(server.address, &format!("/channels?limit={limit}"), "");
        assert_eq!(status, 400, "{told}");
        assert!(told.as_str().unwrap().contains("from 1 to 1000"), "{told}");
    }
}

#[test]
fn the_state_of_a_channel_says_by_which_road_its_subscribers_come_and_what_is_kept() {
    let server = start(Config { history: vec![(fanfare::config::Glob::new("*"), 2)], ..config() });
    let _socket = websocket(server.address, "/channels/chat-7");
    let _stream = Events::open(server.address, "/channels/chat-7", "");
    let ids: Vec<_> = ["one", "two", "three"]
        .map(|text| {
            serde_json::from_str::<Value>(&publish(server.address, "chat-7", text).body).unwrap()["id"]
                .clone()
        })
        .into();
    let (status, state) = ask(server.address, "/channels/chat-7/state", "");
    assert_eq!(status, 200, "{state}");
    assert_eq!(state["channel"], "chat-7");
    let subscribers = &state["subscribers"];
    assert_eq!(
        (&subscribers["websocket"], &subscribers["sse"], &subscribers["long_poll"]),
        (&1.into(), &1.into(), &0.into())
    );
    assert_eq!((&state["first"], &state["last"]), (&ids[1], &ids[2]), "{state}");
    assert!(state["bytes"].as_u64().unwrap() >= 8, "{state}");
    let (status, told) = ask(server.address, "/channels/nobody/state", "");
    assert_eq!(status, 404);
    assert!(told.as_str().unwrap().starts_with("Channel nobody has neither"), "{told}");
}

#[test]
fn the_list_and_the_state_need_a_key_that_administers() {
    let all = AccessKey::with_all_rights("operator", "secret");
    let few = AccessKey { admin: false, ..AccessKey::with_all_rights("billing", "other") };
    let server = start(Config { keys: vec![all, few], ..config() });
    let with = |key: &str| format!("Authorization: Bearer {key}\r\n");
    request(server.address, "POST", "/channels/a", &with("secret"), b"x");
    for path in ["/channels", "/channels/a/state"] {
        assert_eq!(ask(server.address, path, &with("secret")).0, 200);
        let (status, told) = ask(server.address, path, &with("other"));
        assert_eq!(
            (status, told.as_str().unwrap().starts_with("The key billing does not administer")),
            (403, true),
            "{told}"
        );
        assert_eq!(ask(server.address, path, &with("wrong")).0, 401);
        assert_eq!(ask(server.address, path, "").0, 401);
    }
}
