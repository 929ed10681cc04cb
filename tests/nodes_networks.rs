//! Nodes whose Redis, or the way to it, is slow, silent or cut: publishers are told what became of what they sent, and subscribers
//! miss nothing.
//!
//! A Redis that loses something is in `nodes_restarts`.

#![allow(clippy::unwrap_used)] // a helper that fails fails its test

mod support;

use std::thread;
use std::time::{Duration, Instant};

use fanfare::config::{Config, Redis as RedisConfig};
use support::event_stream::Events;
use support::metrics::Scraper;
use support::multiplex::{fault, multiplex, next, say};
use support::nodes::*;
use support::proxy::Proxy;
use support::redis::{Memory, Redis};
use support::scene::*;
use support::witness::*;
use support::*;
use tungstenite::Message;
use tungstenite::protocol::frame::coding::CloseCode;

/// Two nodes that reach Redis by a proxy.
fn proxied(redis: &Redis) -> (Proxy, Vec<Running>) {
    let proxy = Proxy::to(redis.port);
    let nodes = nodes(proxy.address.port(), 2);
    (proxy, nodes)
}

/// Everybody has heard everything, and nobody was told that something is missing.
fn assert_whole(told: &[Vec<Told>]) {
    for told in told {
        assert_eq!((gaps(told), epochs(told)), (vec![], 1));
    }
}

fn hears_pause_and_resumption(scene: &Scene, between: impl FnOnce()) {
    for node in &scene.nodes {
        wait_for_readiness(node.address, 503);
    }
    scene.witnesses.iter().for_each(|witness| witness.hears_one(&Told::Paused));
    between();
    for node in &scene.nodes {
        wait_for_readiness(node.address, 200);
    }
    scene.more(20);
    scene.witnesses.iter().for_each(|witness| witness.hears_one(&Told::Resumed));
}

#[test]
fn a_redis_that_stops_for_less_than_the_timeout_is_waited_for_and_nobody_is_told() {
    let Some(redis) = Redis::start(&[]) else { return };
    let scene = Scene::patient(redis.port, Keys::Without);
    redis.signal("STOP");
    thread::park_timeout(TIMEOUT / 4);
    redis.signal("CONT");
    let (told, published) = scene.end();
    assert_whole(&told);
    assert!(told.iter().flatten().all(|told| !matches!(told, Told::Paused | Told::Resumed)));
    assert!(published.iter().all(|published| published.unknown.is_empty() && published.refusals == 0));
}

#[test]
fn a_redis_that_stops_for_longer_is_away_and_what_was_sent_to_it_is_unknown() {
    let Some(redis) = Redis::start(&[]) else { return };
    let scene = Scene::begin(redis.port, Keys::Without);
    redis.signal("STOP");
    let asked_at = Instant::now();
    let unknown = post(scene.nodes[0].address, "alone", "", "one");
    assert_eq!(unknown.status, 504, "{unknown:?}");
    assert_eq!(
        unknown.body.trim_end(),
        "This may be published or not; try again with the same Idempotency-Key."
    );
    assert!(asked_at.elapsed() < TIMEOUT * 3);
    hears_pause_and_resumption(&scene, || {
        let refused = post(scene.nodes[0].address, "alone", "", "two");
        assert_eq!(refused.status, 503, "{refused:?}");
        assert!(refused.head.contains("\r\nRetry-After: 1\r\n"), "{refused:?}");
        assert_eq!(refused.body.trim_end(), "This is not published; try again in a second.");
        let unready = request(scene.nodes[0].address, "GET", "/channels/new?wait=0", "", b"");
        assert_eq!(
            (unready.status, unready.head.contains("\r\nRetry-After: 1\r\n")),
            (503, true),
            "{unready:?}"
        );
        redis.signal("CONT");
    });
    let (told, _) = scene.end();
    assert_whole(&told);
}

#[test]
fn a_redis_that_stops_for_twenty_seconds_is_away_by_the_default_timeout_and_nobody_misses_anything() {
    const STOPPED: Duration = Duration::from_secs(20);
    let Some(redis) = Redis::start(&[]) else { return };
    let by_default = RedisConfig::new(format!("redis://127.0.0.1:{}", redis.port).parse().unwrap());
    let timeout = by_default.timeout;
    let config = Config { redis: Some(by_default), ..by_redis(redis.port) };
    let scene = Scene::of((0..2).map(|_| start(config.clone())).collect(), Keys::Without);
    redis.signal("STOP");
    let stopped_at = Instant::now();
    hears_pause_and_resumption(&scene, || {
        // As long until it is given up, and as long again until it is not waited for any more.
        assert!((timeout..STOPPED).contains(&stopped_at.elapsed()), "{:?}", stopped_at.elapsed());
        thread::park_timeout(STOPPED.saturating_sub(stopped_at.elapsed()));
        for node in &scene.nodes {
            assert_eq!(post(node.address, "alone", "", "one").status, 503);
        }
        redis.signal("CONT");
    });
    let (told, published) = scene.end();
    assert_whole(&told);
    assert!(published.iter().all(|published| published.refusals > 0));
}

#[test]
fn who_publishes_by_a_websocket_is_told_the_same_by_its_close() {
    let Some(mut redis) = Redis::start(&[]) else { return };
    let node = start(by_redis(redis.port));
    let mut clients: Vec<_> = (0..2).map(|_| envelopes(node.address, "c")).collect();
    clients[0].send(Message::text(r#"{"data":"first"}"#)).unwrap();
    assert!(text(&mut clients[0]).contains("first"));
    redis.signal("STOP");
    clients[0].send(Message::text(r#"{"data":"second"}"#)).unwrap();
    let close = close_frame(&mut clients[0]).unwrap();
    assert_eq!(
        (close.code, close.reason.contains("may be published")),
        (CloseCode::Again, true),
        "{close:?}"
    );
    redis.kill();
    wait_for_readiness(node.address, 503);
    clients[1].send(Message::text(r#"{"data":"third"}"#)).unwrap();
    let close = close_frame(&mut clients[1]).unwrap();
    assert_eq!((close.code, close.reason.contains("not published")), (CloseCode::Again, true), "{close:?}");
}

#[test]
fn a_slow_way_to_redis_makes_everything_later_and_nothing_else() {
    let Some(redis) = Redis::start(&[]) else { return };
    let proxy = Proxy::to(redis.port);
    let scene = Scene::patient(proxy.address.port(), Keys::Without);
    proxy.delay(Duration::from_millis(200));
    scene.more(4);
    let late = Witness::start(&[scene.nodes[0].address], "other", By::EventStream, usize::MAX);
    assert_eq!(late.told().len(), 1);
    proxy.delay(Duration::ZERO);
    let (told, published) = scene.end();
    assert_whole(&told);
    assert!(published.iter().all(|published| published.unknown.is_empty() && published.refusals == 0));
}

#[test]
fn a_way_to_redis_that_is_half_open_is_given_up_and_what_was_missed_is_filled() {
    let Some(redis) = Redis::start(&[]) else { return };
    let (proxy, nodes) = proxied(&redis);
    let scene = Scene::of(nodes, Keys::With);
    proxy.stall(true);
    hears_pause_and_resumption(&scene, || {
        // Nothing that waits in it arrives any more.
        proxy.cut();
        proxy.stall(false);
    });
    let samples = Scraper::new(scene.nodes[0].address).scrape();
    let losses = ["publish", "subscribe"].map(|connection| {
        samples[&format!("fanfare_redis_reconnects_total{{connection=\"{connection}\",reason=\"timeout\"}}")]
    });
    assert!(losses.iter().all(|&count| count >= 1.0) && samples["fanfare_redis_up"] == 1.0, "{losses:?}");
    let (told, _) = scene.end();
    assert_whole(&told);
}

#[test]
fn connections_that_are_cut_inside_a_reply_lose_nothing_and_publish_nothing_twice() {
    let Some(redis) = Redis::start(&[]) else { return };
    let (proxy, nodes) = proxied(&redis);
    let scene = Scene::of(nodes, Keys::With);
    for len in [1, 2, 7, 30, 100, 333, 1_000, 4_000] {
        proxy.cut_after(len);
        until("the connections are cut", || proxy.has_cut().then_some(()));
        scene.more(3);
    }
    let (told, _) = scene.end();
    assert_whole(&told);
}

#[test]
fn a_subscriber_connection_that_leads_to_a_replica_is_given_up_and_publishers_do_not_notice() {
    let Some(redis) = Redis::start(&[]) else { return };
    let Some(replica) = Redis::start(&["--replicaof", "127.0.0.1", &redis.port.to_string()]) else { return };
    until("the replica is in step", || {
        replica.ask::<String>("INFO replication").contains("master_link_status:up").then_some(())
    });
    let proxy = Proxy::to(redis.port);
    let scene = Scene::patient(proxy.address.port(), Keys::Without);
    proxy.lead_astray(replica.port, usize::MAX);
    let _: i64 = redis.ask("CLIENT KILL TYPE pubsub");
    hears_pause_and_resumption(&scene, || {
        scene.more(20);
        proxy.lead_astray(redis.port, usize::MAX);
    });
    let (told, published) = scene.end();
    assert_whole(&told);
    assert!(published.iter().all(|published| published.unknown.is_empty() && published.refusals == 0));
}

#[test]
fn a_subscriber_connection_that_leads_to_another_master_opens_nothing_there() {
    let Some(redis) = Redis::start(&[]) else { return };
    let Some(other) = Redis::start(&["--replicaof", "127.0.0.1", &redis.port.to_string()]) else { return };
    until("the replica is in step", || {
        other.ask::<String>("INFO replication").contains("master_link_status:up").then_some(())
    });
    let (proxy, nodes) = proxied(&redis);
    let scene = Scene::of(nodes, Keys::With);
    let _: String = other.ask("REPLICAOF NO ONE");
    proxy.lead_astray(other.port, 2);
    let _: i64 = redis.ask("CLIENT KILL TYPE pubsub");
    until("both nodes were led astray", || (!proxy.leads_astray()).then_some(()));
    scene.more(50);
    let (told, _) = scene.end();
    assert_whole(&told);
}

#[test]
fn who_sends_several_publications_by_a_websocket_gets_the_answer_to_the_one_it_asked_about() {
    let Some(redis) = Redis::start(&[]) else { return };
    let node = start(by_redis(redis.port));
    let mut client = envelopes(node.address, "c");
    for number in 0..50 {
        client.write(Message::text(format!("{{\"data\":\"a{number}\"}}"))).unwrap();
        client.write(Message::text(format!("{{\"data\":\"b{number}\",\"ref\":{number}}}"))).unwrap();
        client.flush().unwrap();
        let mut ids = Vec::new();
        while ids.len() < 2 {
            let value: serde_json::Value = serde_json::from_str(&text(&mut client)).unwrap();
            if value["event"] == "fanfare:published" {
                assert_eq!(value["ref"], number);
                ids.push(value["data"]["id"].clone());
            } else if value["data"] == format!("b{number}") {
                ids.push(value["id"].clone());
            }
        }
        assert_eq!(ids[0], ids[1], "of b{number}");
    }
}

#[test]
fn a_key_of_which_nothing_is_known_is_published_once_though_it_is_repeated_at_another_node() {
    let Some(redis) = Redis::start(&[]) else { return };
    let nodes = nodes(redis.port, 2);
    let witness = Witness::start(&[nodes[0].address], "c", By::WebSocket, usize::MAX);
    redis.signal("STOP");
    let unknown = post(nodes[0].address, "c", "Idempotency-Key: k\r\n", "once");
    assert_eq!(unknown.status, 504, "{unknown:?}");
    redis.signal("CONT");
    let again = until("it is published", || {
        Some(post(nodes[1].address, "c", "Idempotency-Key: k\r\n", "once"))
            .filter(|answer| answer.status == 200)
    });
    let first = until("the first node knows it too", || {
        Some(post(nodes[0].address, "c", "Idempotency-Key: k\r\n", "once"))
            .filter(|answer| answer.status == 200)
    });
    assert_eq!(id_of(&again), id_of(&first));
    let told = judge_all(nodes[0].address, "c", vec![witness], &[]);
    assert_eq!(
        told[0].iter().filter(|told| matches!(told, Told::Publication(_, text) if text == "once")).count(),
        1
    );
}

#[test]
fn who_comes_to_a_channel_that_is_read_here_while_redis_is_away_is_let_in_and_misses_nothing() {
    let Some(redis) = Redis::start(&[]) else { return };
    let (proxy, nodes) = proxied(&redis);
    let other = start(by_redis(redis.port));
    let mut witnesses = vec![Witness::start(&[nodes[0].address], "c", By::WebSocket, usize::MAX)];
    assert_eq!(post(other.address, "c", "", "first").status, 200);
    witnesses[0].hears("the first", |told| told.len() == 2);
    proxy.close(true);
    proxy.cut();
    wait_for_readiness(nodes[0].address, 503);
    for by in [By::WebSocket, By::EventStream] {
        witnesses.push(Witness::start(&[nodes[0].address], "c", by, usize::MAX));
    }
    assert_eq!(post(other.address, "c", "", "second").status, 200);
    proxy.close(false);
    wait_for_readiness(nodes[0].address, 200);
    let told = judge_all(other.address, "c", witnesses, &[]);
    for told in told {
        assert_eq!(gaps(&told), []);
    }
}

#[test]
fn an_answer_that_nothing_asked_for_ends_the_connection_and_nobody_waits_for_ever() {
    let Some(redis) = Redis::start(&[]) else { return };
    let (proxy, nodes) = proxied(&redis);
    for unasked in
        [">3\r\n$9\r\nsubscribe\r\n$11\r\nfanfare:{c}\r\n:1\r\n", "+OK\r\n", "$x\r\n", "$99999999999\r\n"]
    {
        for field in ["", "Idempotency-Key: k\r\n"] {
            proxy.insert(unasked.as_bytes());
            // It may be the answer to something else.
            let answer = post(nodes[0].address, "c", field, unasked);
            assert!([200, 422, 503, 504].contains(&answer.status), "{unasked:?}: {answer:?}");
            for node in &nodes {
                until("the channel goes on", || {
                    (post(node.address, "c", "", "after").status == 200).then_some(())
                });
            }
        }
    }
}

#[test]
fn a_client_that_was_refused_a_hundred_times_while_redis_was_away_goes_on() {
    let Some(mut redis) = Redis::start(&[]) else { return };
    let node = start(by_redis(redis.port));
    let mut client = multiplex(node.address);
    let publish = r#"{"channel":"c","data":"x","ref":1}"#;
    redis.kill();
    wait_for_readiness(node.address, 503);
    for _ in 0..150 {
        say(&mut client, publish);
        assert_eq!(fault(&next(&mut client)).1, 503);
    }
    redis.start_again(Memory::Kept);
    wait_for_readiness(node.address, 200);
    say(&mut client, publish);
    assert_eq!(next(&mut client)["event"], "fanfare:published");
}

#[test]
fn what_a_reader_has_already_is_not_said_to_be_lost_by_a_node_that_is_cut_off() {
    let Some(redis) = Redis::start(&[]) else { return };
    let proxy = Proxy::to(redis.port);
    let (cut_off, well) = (start(by_redis(proxy.address.port())), start(by_redis(redis.port)));
    let stays = Witness::start(&[cut_off.address], "c", By::WebSocket, usize::MAX);
    assert_eq!(post(well.address, "c", "", "first").status, 200);
    stays.hears("the first", |told| told.len() == 2);
    proxy.close(true);
    proxy.cut();
    let second = id_of(&post(well.address, "c", "", "second"));
    let path = format!("/channels/c?since={}-{}", second.epoch, second.sequence);
    // At first it is waited for, and then it is away.
    for _ in 0..2 {
        let refused = request(cut_off.address, "GET", &format!("{path}&wait=0"), "", b"");
        let waits = refused.head.contains("\r\nRetry-After: 1\r\n");
        assert_eq!((refused.status, waits), (503, true), "{refused:?}");
        wait_for_readiness(cut_off.address, 503);
    }
    let mut comes = Events::open(cut_off.address, &path, "");
    assert_eq!(comes.next().unwrap().name, "fanfare:paused");
    let poll = thread::spawn(move || request(cut_off.address, "GET", &format!("{path}&wait=0"), "", b""));
    assert_eq!(poll.join().unwrap().status, 503);
    proxy.close(false);
    assert_eq!(post(well.address, "c", "", "third").status, 200);
    let told: Vec<_> = std::iter::from_fn(|| comes.next())
        .map(|event| (event.name, event.data))
        .filter(|(name, data)| !name.is_empty() || !data.is_empty())
        .take(2)
        .collect();
    let expected = [("fanfare:resumed", "{}"), ("message", "third")];
    assert_eq!(told, expected.map(|(name, data)| (name.to_owned(), data.to_owned())));
    let told = judge_all(well.address, "c", vec![stays], &[]);
    assert_whole(&told);
}
