//! The dashboard: its page, and the figures that each watcher is sent every second.

#![allow(clippy::unwrap_used)] // a helper that fails fails its test

mod support;

use std::num::NonZeroUsize;
use std::time::{Duration, Instant};

use fanfare::config::Config;
use fanfare::server::Draft;
use support::event_stream::Events;
use support::long_poll::{Poll, data_of};
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
