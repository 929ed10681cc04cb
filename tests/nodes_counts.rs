//! How many subscribers a channel has over all nodes, wherever it is told; and what else nodes tell each other, by one Redis.

#![allow(clippy::unwrap_used)] // a helper that fails fails its test

mod support;

use std::time::{Duration, Instant};

use fanfare::ChannelName;
use fanfare::config::Config;
use fanfare::pusher::App;
use serde_json::json;
use support::fleet::{SOON, call, get, nodes, on};
use support::pusher::Pusher;
use support::redis::Redis;
use support::*;

/// Redis is stopped for so long.
const SILENCE: Duration = Duration::from_secs(8);

/// Between two looks.
const PAUSE: Duration = Duration::from_millis(100);

fn app() -> App {
    App { subscription_count: true, ..App::new("1", "app-key", "app-secret") }
}

fn with_app() -> Config {
    Config { apps: vec![app()], ..with_key() }
}

fn subscribers(node: &Running, channel: &str) -> u64 {
    node.handle.subscribers(&ChannelName::new(channel).unwrap())
}

/// Waits until a node says this number, which takes no longer than two seconds and a moment.
fn wait_for_subscribers(node: &Running, channel: &str, count: u64) {
    let begun = Instant::now();
    until("the number is that of all nodes", || (subscribers(node, channel) == count).then_some(()));
    assert!(begun.elapsed() < SOON, "{:?}", begun.elapsed());
}

#[test]
fn the_number_of_subscribers_is_the_sum_over_all_nodes_wherever_it_is_told() {
    let Some(redis) = Redis::start(&[]) else { return };
    let [a, b] = nodes(&redis, &with_app());
    let _at_a = envelopes(a.address, "news");
    let at_b: Vec<_> = (0..3).map(|_| envelopes(b.address, "news")).collect();
    wait_for_subscribers(&a, "news", 4);
    wait_for_subscribers(&b, "news", 4);
    for node in [&a, &b] {
        let listed = get(node.address, "/channels");
        assert_eq!(listed["channels"][0]["subscribers"], 4, "{listed}");
        let info = call(node.address, "GET", "/channels/news", "&info=subscription_count", "");
        assert_eq!(info, json!({"occupied": true, "subscription_count": 4}));
        let body = json!({"name": "e", "channel": "news", "data": "x", "info": "subscription_count"});
        let told = call(node.address, "POST", "/events", "", &body.to_string());
        assert_eq!(told["channels"]["news"]["subscription_count"], 4, "{told}");
    }
    let state = get(a.address, "/channels/news/state");
    assert_eq!(
        (&state["subscribers"]["websocket"], &state["subscribers"]["other_nodes"]),
        (&json!(1), &json!(3)),
        "{state}"
    );
    drop(at_b);
    wait_for_subscribers(&a, "news", 1);
    wait_for_subscribers(&b, "news", 1);
}

#[test]
fn a_node_that_has_no_subscriber_of_a_channel_tells_how_many_the_others_have() {
    let Some(redis) = Redis::start(&[]) else { return };
    let [a, b] = nodes(&redis, &with_app());
    let _at_a = envelopes(a.address, "news");
    wait_for_subscribers(&a, "news", 1);
    until("the nodes have heard of each other", || {
        let info = call(b.address, "GET", "/channels/news", "&info=subscription_count", "");
        (info == json!({"occupied": true, "subscription_count": 1})).then_some(())
    });
    let state = get(b.address, "/channels/news/state");
    assert_eq!(state["subscribers"]["other_nodes"], 1, "{state}");
    let published = request(b.address, "POST", "/channels/news", "Authorization: Bearer secret\r\n", b"x");
    assert!(published.body.contains("\"subscribers\":1"), "{published:?}");
}

#[test]
fn pusher_clients_are_told_of_subscribers_that_come_and_go_at_other_nodes() {
    let Some(redis) = Redis::start(&[]) else { return };
    let [a, b] = nodes(&redis, &with_app());
    let mut client = Pusher::connect(a.address);
    client.subscribe("news");
    let mut count =
        || client.expect("pusher_internal:subscription_count").1["subscription_count"].as_u64().unwrap();
    assert_eq!(count(), 1);
    let mut other = Pusher::connect(b.address);
    other.subscribe("news");
    assert_eq!(count(), 2);
    drop(other);
    assert_eq!(count(), 1);
}

#[test]
fn the_subscribers_of_a_node_that_has_ended_or_died_are_counted_no_more() {
    let Some(redis) = Redis::start(&[]) else { return };
    let [a] = nodes(&redis, &with_app());
    let _at_a = envelopes(a.address, "news");
    let mut b = spawn(&mut fanfare(&["--redis", &format!("redis://127.0.0.1:{}", redis.port)]));
    let _at_b: Vec<_> = (0..2).map(|_| envelopes(b.address, "news")).collect();
    wait_for_subscribers(&a, "news", 3);
    b.child.kill().unwrap();
    until("the dead node is not counted", || (subscribers(&a, "news") == 1).then_some(()));
    let c = start(on(&redis, with_app()));
    let _at_c = envelopes(c.address, "news");
    wait_for_subscribers(&a, "news", 2);
    wait_for_subscribers(&c, "news", 2);
    drop(c);
    wait_for_subscribers(&a, "news", 1);
}

#[test]
fn while_redis_is_silent_no_node_is_taken_for_dead() {
    let Some(redis) = Redis::start(&[]) else { return };
    let mut config = on(&redis, with_app());
    config.redis.as_mut().unwrap().timeout = PATIENCE / 2;
    let [a, b] = [start(config.clone()), start(config)];
    let _at_b = envelopes(b.address, "news");
    let mut client = Pusher::connect(a.address);
    client.subscribe("news");
    wait_for_subscribers(&a, "news", 2);
    redis.signal("STOP");
    // More than a node may be silent for, and less than what Redis is waited for.
    let begun = Instant::now();
    while begun.elapsed() < SILENCE {
        assert_eq!(subscribers(&a, "news"), 2);
        std::thread::park_timeout(PAUSE);
    }
    redis.signal("CONT");
    let until_then = begun.elapsed() + SILENCE / 2;
    while begun.elapsed() < until_then {
        assert_eq!(subscribers(&a, "news"), 2);
        std::thread::park_timeout(PAUSE);
    }
}

#[test]
fn a_node_that_was_stopped_for_so_long_that_it_was_taken_for_dead_is_counted_again_at_once() {
    let Some(redis) = Redis::start(&[]) else { return };
    let [a] = nodes(&redis, &with_app());
    let _at_a = envelopes(a.address, "news");
    let b = spawn(&mut fanfare(&["--redis", &format!("redis://127.0.0.1:{}", redis.port)]));
    let _at_b: Vec<_> = (0..2).map(|_| envelopes(b.address, "news")).collect();
    wait_for_subscribers(&a, "news", 3);
    b.signal("STOP");
    until("it is not counted", || (subscribers(&a, "news") == 1).then_some(()));
    // By then the others have swept what it has left.
    until("Redis has it no more", || {
        let nodes: String = redis.ask("HGET fanfare:{news} n");
        (nodes.matches(';').count() == 1).then_some(())
    });
    b.signal("CONT");
    wait_for_subscribers(&a, "news", 3);
}
