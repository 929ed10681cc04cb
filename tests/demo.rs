//! The demo's prices from outside: who gets them, when they begin, and where they are served.

#![allow(clippy::unwrap_used)] // a helper that fails fails its test

mod support;

use std::collections::BTreeSet;

use fanfare::config::{AccessKey, Config};
use serde_json::{Value, json};
use support::event_stream::*;
use support::long_poll::*;
use support::*;

const PRICES: &str = "/channels/demo-prices";

/// A server with a key, which is therefore not in development mode.
fn with_key(demo: bool) -> Running {
    start(Config { keys: vec![AccessKey::with_all_rights("default", "secret")], demo, ..config() })
}

fn symbol(tick: &str) -> String {
    let tick: Value = serde_json::from_str(tick).unwrap();
    assert!(tick["price"].is_number() && tick["change"].is_number() && tick["at"].is_u64(), "{tick}");
    tick["symbol"].as_str().unwrap().into()
}

#[test]
fn the_first_subscriber_gets_every_symbol_at_once_on_whichever_loop_it_is() {
    for idle in 0..3 {
        let server = start(Config { threads: 3.try_into().unwrap(), ..config() });
        // Each connection goes to the loop with the fewest.
        let _idle: Vec<_> = (0..idle).map(|_| websocket(server.address, "/channels/other")).collect();
        let mut events = Events::open(server.address, PRICES, "").begun();
        let first: Vec<_> = (0..8).map(|_| events.next().unwrap()).collect();
        assert!(first.iter().all(|tick| tick.name == "tick"));
        assert_eq!(first.iter().map(|tick| symbol(&tick.data)).collect::<BTreeSet<_>>().len(), 8);
        assert_eq!(events.next().unwrap().name, "tick", "and goes on");
    }
}

#[test]
fn prices_are_published_to_all_transports_and_kept_for_later_subscribers() {
    let server = start(config());
    let mut socket = websocket(server.address, PRICES);
    for _ in 0..9 {
        symbol(&text(&mut socket));
    }
    let kept = request(server.address, "GET", &format!("{PRICES}?last=8&wait=0"), "", b"").body;
    let kept: Value = serde_json::from_str(&kept).unwrap();
    assert_eq!(data_of(&kept).len(), 8);
    let mut poll = Poll::new(server.address, PRICES);
    poll.next = kept["next"].as_str().unwrap().into();
    assert!(!data_of(&poll.poll(20)).is_empty(), "the next tick ends the wait");
    symbol(&text(&mut socket));
}

#[test]
fn outside_development_mode_the_page_and_the_prices_need_the_flag() {
    let with_flag = with_key(true);
    let mut socket = websocket(with_flag.address, PRICES);
    symbol(&text(&mut socket));
    assert!(request(with_flag.address, "GET", "/", "", b"").body.starts_with("<!doctype html>"));
    let without = with_key(false);
    let mut poll = Poll::new(without.address, PRICES);
    assert_eq!(poll.poll(1)["messages"], json!([]), "four would have come");
    assert!(request(without.address, "GET", "/", "", b"").body.starts_with("Fanfare is running"));
}
