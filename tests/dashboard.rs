//! The dashboard: its page, and the figures that each watcher is sent every second.

#![allow(clippy::unwrap_used)] // a helper that fails fails its test

mod support;

use std::num::NonZeroUsize;
use std::time::{Duration, Instant};

use fanfare::config::Config;
use fanfare::pusher::App;
use fanfare::server::Draft;
use serde_json::json;
use support::event_stream::Events;
use support::long_poll::{Poll, data_of};
use support::pusher::Pusher;
use support::*;
use tungstenite::Message;

/// The next figures that a watcher is sent.
fn figures(client: &mut Client) -> serde_json::Value {
    serde_json::from_str(&text(client)).unwrap()
}

#[test]
fn a_watcher_is_sent_figures_every_second_that_say_what_happened() {
    let server = start(config());
    let mut subscriber = websocket(server.address, "/channels/prices");
    let mut watcher = websocket(server.address, "/dashboard/figures");
    let first = figures(&mut watcher);
    assert_eq!((&first["version"], &first["publishes"]), (&"0.1.0".into(), &0.into()), "{first}");
    assert!(first["at"].as_u64().unwrap() > 1_700_000_000_000, "{first}");
    for _ in 0..5 {
        publish(server.address, "prices", "1");
        assert_eq!(text(&mut subscriber), "1");
    }
    request(server.address, "GET", "/nowhere", "", b"");
    // Figures that are late give a second's share of what was published since those before them.
    let (mut published, mut is_late, mut last) = (0, false, first);
    while !is_late && published < 5 {
        let next = figures(&mut watcher);
        is_late = next["at"].as_u64() > last["at"].as_u64().map(|at| at + 1050);
        last = next;
        let busiest = last["busiest"].as_array().unwrap();
        assert_eq!((busiest.len(), &busiest[0]["channel"]), (1, &"prices".into()), "{last}");
        assert_eq!(busiest[0]["subscribers"], 1);
        published += busiest[0]["publishes"].as_u64().unwrap();
    }
    assert!(published == 5 || is_late && published < 5, "{published}: each is of one second");
    let last = until("the numbers settle", || {
        let next = std::mem::replace(&mut last, serde_json::Value::Null);
        if next["connections"]["http"] == 0 && next["deliveries"].as_u64() > Some(5) {
            return Some(next);
        }
        last = figures(&mut watcher);
        None
    });
    let expected = serde_json::json!({"http": 0, "websocket": 2, "sse": 0, "long_poll": 0, "pusher": 0, "pusher_http": 0});
    assert_eq!(
        (&last["connections"], &last["publishes"], &last["channels"]),
        (&expected, &5.into(), &1.into())
    );
    assert_eq!(last["refusals"], serde_json::json!({"not_found": 1}));
    assert_eq!((&last["lag_bytes_max"], &last["memory"]["max"]), (&0.into(), &(1u64 << 30).into()));
    assert_eq!(last["memory"]["connections"], 512);
}

#[test]
fn watchers_on_all_loops_get_the_same_figures() {
    let server = start(Config { threads: NonZeroUsize::new(3).unwrap(), ..config() });
    let mut watchers: Vec<Client> = (0..3).map(|_| websocket(server.address, "/dashboard/figures")).collect();
    let latest: Vec<u64> = watchers
        .iter_mut()
        .map(|watcher| {
            figures(watcher);
            figures(watcher)["at"].as_u64().unwrap()
        })
        .collect();
    assert!(latest.iter().max().unwrap() - latest.iter().min().unwrap() < 5000, "{latest:?}");
    drop(watchers);
    let mut later = websocket(server.address, "/dashboard/figures");
    assert!(figures(&mut later)["at"].as_u64().unwrap() > 0, "it begins again");
}

#[test]
fn the_figures_are_read_by_event_stream_and_long_poll_too() {
    let server = start(with_key());
    let basic = "Authorization: Basic YW55Ym9keTpzZWNyZXQ=\r\n";
    let mut stream = Events::open(server.address, "/dashboard/figures", basic);
    let mut next = || loop {
        let figures: serde_json::Value = serde_json::from_str(&stream.next().unwrap().data).unwrap();
        if figures["at"].is_u64() {
            return figures;
        }
    };
    assert_eq!(next()["connections"]["sse"], 1);
    let path = "/dashboard/figures?wait=20";
    let answer = request(server.address, "GET", path, basic, b"");
    let polled: serde_json::Value = serde_json::from_str(&answer.body).unwrap();
    let [figures] = &data_of(&polled)[..] else { panic!("{polled}") };
    assert_eq!(figures["connections"]["long_poll"], 1);
    while next() != *figures {}
    let refused = request(server.address, "GET", path, "", b"");
    assert_eq!(refused.status, 401);
}

#[test]
fn polls_alone_keep_the_figures_coming() {
    let server = start(config());
    let mut poll = Poll::new(server.address, "/dashboard/figures");
    let begun = Instant::now();
    poll.poll(0);
    let at = |answer: serde_json::Value| answer["messages"][0]["data"]["at"].as_u64().unwrap();
    let first = at(poll.poll(20));
    let second = at(poll.poll(20));
    assert!(first < second, "{first}, {second}");
    // Each says when it was made, which on a busy machine is later than it was due. The server counts whole milliseconds.
    assert!(begun.elapsed() >= Duration::from_millis(999), "{:?}", begun.elapsed());
}

#[test]
fn nobody_publishes_to_a_channel_of_the_servers_own() {
    let server = start(config());
    for method in ["GET", "POST"] {
        let answer = request(server.address, method, "/channels/@fanfare.dashboard", "", b"x");
        assert_eq!(answer.status, 403);
        assert!(answer.body.contains("/dashboard/figures"), "{answer:?}");
    }
    let error = Draft::text("@fanfare.dashboard", "x").unwrap_err();
    assert!(error.to_string().contains("@fanfare."), "{error}");
    let mut watcher = websocket(server.address, "/dashboard/figures");
    watcher.send(Message::text("x")).unwrap();
    assert_eq!(u16::from(close_frame(&mut watcher).unwrap().code), 1008);
}

#[test]
fn the_dashboard_is_a_page_in_development_mode() {
    let server = start(config());
    let answer = request(server.address, "GET", "/dashboard", "", b"");
    assert_eq!(answer.status, 200);
    assert!(answer.head.contains("Content-Type: text/html; charset=utf-8\r\n"), "{answer:?}");
    assert!(answer.body.starts_with("<!doctype html>"), "{answer:?}");
}

/// Two apps, of which the first has the plain names.
fn with_apps() -> Config {
    let first = App { client_events: true, ..App::new("1", "app-key", "app-secret") };
    let second = App { subscription_count: true, ..App::new("2", "other-key", "other-secret") };
    Config { apps: vec![first, second], ..config() }
}

/// The app's part of the next figures in which `is_there` finds it.
fn app_figures(watcher: &mut Client, is_there: impl Fn(&serde_json::Value) -> bool) -> serde_json::Value {
    until("the figures of the app", || {
        let app = figures(watcher)["apps"][0].take();
        is_there(&app).then_some(app)
    })
}

#[test]
fn the_figures_of_an_app_are_its_connections_channels_members_and_refusals_with_their_sentences() {
    let server = start(with_apps());
    let mut watcher = websocket(server.address, "/dashboard/figures");
    let mut client = Pusher::connect(server.address);
    client.subscribe("prices");
    client.subscribe("private-cache-a");
    client.expect("pusher:cache_miss");
    client.join("presence-room", "anna");
    client.sign_in("anna", &[]);
    client.send("pusher:subscribe", json!({"channel": "private-<img src=x onerror=alert(1)>", "auth": "x"}));
    let (_, refusal) = client.expect("pusher:subscription_error");
    let sentence = refusal["error"].as_str().unwrap();
    assert!(sentence.contains("<img src=x onerror=alert(1)>"), "{sentence}");
    let app = app_figures(&mut watcher, |app| app["refused"] == 1);
    let of = |field: &str| app[field].clone();
    assert_eq!((of("id"), of("is_default"), of("connections")), (json!("1"), json!(true), json!(1)), "{app}");
    assert_eq!((of("users"), of("messages")), (json!(1), json!(5)), "{app}");
    let expected = json!({"public": 1, "private": 1, "encrypted": 0, "presence": 1, "user": 0, "cache": 1, "members": 1});
    assert_eq!(of("channels"), expected);
    let [refused] = &app["refusals"].as_array().unwrap()[..] else { panic!("{app}") };
    assert_eq!((&refused["sentence"], &refused["times"]), (&json!(sentence), &json!(1)));
    assert!(refused["at"].as_u64().unwrap() > 1_700_000_000_000, "{refused}");
    assert_eq!((of("webhooks"), of("webhooks_total")), (json!([]), json!(0)));
    let next = figures(&mut watcher);
    assert_eq!((&next["apps_total"], &next["apps"][1]["connections"]), (&json!(2), &json!(0)), "{next}");
    drop(client);
    app_figures(&mut watcher, |app| app["connections"] == 0 && app["channels"]["members"] == 0);
}

/// The next event that a watcher of a channel is sent.
fn record(stream: &mut Events) -> serde_json::Value {
    serde_json::from_str(&stream.next().unwrap().data).unwrap()
}

/// Watches a channel, from its newest publication on.
fn watch(server: &Running, path: &str) -> Events {
    let mut stream = Events::open(server.address, &format!("/dashboard/channels/{path}"), "");
    assert_eq!(record(&mut stream)["event"], "fanfare:subscribed");
    stream
}

#[test]
fn a_live_view_shows_who_made_each_event_of_a_presence_channel_and_who_came_and_went() {
    let server = start(with_apps());
    let mut view = watch(&server, "presence-room?app=1");
    let mut anna = Pusher::connect(server.address);
    let members = anna.join("presence-room", "anna");
    assert_eq!(members["presence"]["ids"], json!(["anna"]), "the operator is no member");
    let seen = record(&mut view);
    assert_eq!(
        (&seen["event"], &seen["source"]),
        (&json!("pusher_internal:member_added"), &json!("protocol"))
    );
    assert!(seen["data"].as_str().unwrap().contains("anna"), "{seen}");
    anna.send_text(r#"{"event":"client-typed","channel":"presence-room","data":{"text":"<b>"}}"#);
    let mut seen = record(&mut view);
    seen["id"].take();
    let expected = json!({"id": null, "event": "client-typed", "data": {"text": "<b>"}, "source": "client",
        "socket_id": anna.socket_id, "user_id": "anna"});
    assert_eq!(seen, expected);
    publish_draft(&server.handle, &Draft::text("presence-room", "1").unwrap());
    let seen = record(&mut view);
    assert_eq!((&seen["data"], &seen["source"]), (&json!("1"), &json!("publisher")));
    drop(anna);
    assert_eq!(record(&mut view)["event"], "pusher_internal:member_removed");
}

#[test]
fn a_live_view_is_no_subscriber() {
    let server = start(with_apps());
    let mut view = watch(&server, "prices");
    let answer = request(server.address, "POST", "/channels/prices", "Content-Type: text/plain\r\n", b"1");
    assert!(answer.body.contains(r#""subscribers":0}"#), "{answer:?}");
    assert_eq!(record(&mut view)["data"], "1");
    let mut watcher = websocket(server.address, "/dashboard/figures");
    assert_eq!(app_figures(&mut watcher, |_| true)["channels"]["public"], 0);
    drop(view);
    let mut again = Events::open(server.address, "/dashboard/channels/prices?last=1", "");
    assert_eq!(record(&mut again)["event"], "fanfare:subscribed");
    assert_eq!(record(&mut again)["data"], "1", "what is kept can be shown again");
}

#[test]
fn a_live_view_is_of_the_app_that_it_names() {
    let server = start(with_apps());
    let mut view = watch(&server, "prices?app=2");
    publish(server.address, "prices", "of the first");
    let mut other = Pusher::connect_to(server.address, "other-key");
    other.send("pusher:subscribe", json!({"channel": "prices"}));
    let seen = record(&mut view);
    assert_eq!(seen["event"], "pusher_internal:subscription_count", "{seen}");
    let refused = |path: &str| {
        let answer = request(server.address, "GET", &format!("/dashboard/channels/{path}"), "", b"");
        (answer.status, answer.body)
    };
    let (status, sentence) = refused("prices?app=3");
    assert!(status == 404 && sentence.starts_with("No app has this id;"), "{sentence}");
    assert_eq!(refused("a%20b").0, 400);
    assert_eq!(refused("@fanfare.dashboard").0, 400);
    assert_eq!(request(server.address, "POST", "/dashboard/channels/prices", "", b"x").status, 405);
}

#[test]
fn a_live_view_outside_development_mode_is_for_who_has_the_key() {
    let server = start(Config { apps: with_apps().apps, ..with_key() });
    for fields in ["", "Authorization: Bearer wrong\r\n"] {
        let answer = request(server.address, "GET", "/dashboard/channels/private-a", fields, b"");
        assert_eq!(answer.status, 401, "{answer:?}");
    }
    let key = "Authorization: Basic YW55Ym9keTpzZWNyZXQ=\r\n";
    let mut view = Events::open(server.address, "/dashboard/channels/private-a", key);
    assert_eq!(record(&mut view)["event"], "fanfare:subscribed");
}
