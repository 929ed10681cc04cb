//! Nodes whose Redis is full or slow readers of: what is refused is said to be, and nobody who reads is harmed.
//!
//! What breaks is in `nodes_networks` and `nodes_restarts`.

#![allow(clippy::unwrap_used)] // a helper that fails fails its test

mod support;

use std::io::Write;
use std::net::TcpStream;
use std::num::NonZeroU32;
use std::time::Duration;

use fanfare::config::{Config, Glob};
use fanfare::pusher::App;
use support::multiplex::multiplex;
use support::nodes::*;
use support::proxy::Proxy;
use support::pusher::Pusher;
use support::redis::Redis;
use support::scene::*;
use support::witness::*;
use support::*;

/// Larger than what the kernel and a proxy keep on the way of a node that does not read, together with what Redis keeps.
const BURST: usize = 400;
const BURST_LEN: usize = 32 * 1024;

/// A burst that Redis does not get rid of, since the way to the second node is stalled: Redis cuts its subscriptions. What the
/// witness there is told.
fn burst(history: usize) -> Option<Vec<Told>> {
    let redis = Redis::start(&["--client-output-buffer-limit", "pubsub 1mb 0 0"])?;
    let proxy = Proxy::to(redis.port);
    let node_at = |port| {
        let mut config = patient(port);
        config.history = vec![(Glob::new("*"), history)];
        // Subscribers may take their time.
        config.max_lag = 64 << 20;
        start(config)
    };
    let (node, stalled) = (node_at(redis.port), node_at(proxy.address.port()));
    let witness = Witness::start(&[stalled.address], "c", By::WebSocket, usize::MAX);
    assert_eq!(post(node.address, "c", "", "first").status, 200);
    witness.hears("the first", |told| told.len() == 2);
    proxy.stall(true);
    for number in 0..BURST {
        let text = format!("{number}{}", "x".repeat(BURST_LEN));
        assert_eq!(post(node.address, "c", "", &text).status, 200);
    }
    proxy.stall(false);
    let mut told = judge_all(node.address, "c", vec![witness], &[]);
    let cut: f64 = support::metrics::Scraper::new(stalled.address)
        .value("fanfare_redis_reconnects_total{connection=\"subscribe\",reason=\"broken\"}");
    assert!(cut >= 1.0, "Redis has cut the connection");
    told.pop()
}

#[test]
fn what_redis_does_not_get_rid_of_is_read_when_its_connection_is_back() {
    let Some(told) = burst(100_000) else { return };
    assert_eq!((gaps(&told), told.len()), (vec![], 1 + 1 + BURST + 1));
}

#[test]
fn what_redis_does_not_keep_any_more_is_told_as_a_gap_that_is_exact() {
    let Some(told) = burst(20) else { return };
    let missed: u64 = gaps(&told).into_iter().map(|missed| missed.expect("it is known how many")).sum();
    let texts = told.iter().filter(|told| matches!(told, Told::Publication(..))).count();
    assert!(missed > 0 && missed as usize + texts == 1 + BURST + 1, "{missed} missed, {texts} came");
}

/// Fills Redis up to its limit, so that it refuses what may write.
fn fill(redis: &Redis) {
    let used: String = redis.ask("INFO memory");
    let used = used.lines().find_map(|line| line.strip_prefix("used_memory:")).unwrap();
    let _: String = redis.ask(&format!("CONFIG SET maxmemory {}", used.parse::<u64>().unwrap() / 2));
}

#[test]
fn a_full_redis_refuses_publications_and_new_channels_and_harms_nobody_who_reads() {
    let Some(redis) = Redis::start(&["--maxmemory-policy", "noeviction"]) else { return };
    let nodes = nodes(redis.port, 2);
    let witnesses: Vec<_> =
        nodes.iter().map(|node| Witness::start(&[node.address], "c", By::WebSocket, usize::MAX)).collect();
    let first = post(nodes[0].address, "c", "", "first");
    assert_eq!(first.status, 200);
    witnesses.iter().for_each(|witness| witness.hears("the first", |told| told.len() == 2));
    fill(&redis);
    let refused = post(nodes[0].address, "c", "", "second");
    assert_eq!((refused.status, refused.head.contains("\r\nRetry-After: 1\r\n")), (503, true), "{refused:?}");
    let new = request(nodes[0].address, "GET", "/channels/new?wait=0", "", b"");
    assert_eq!((new.status, new.head.contains("\r\nRetry-After: 1\r\n")), (503, true), "{new:?}");
    let keys: Vec<String> = redis.ask("KEYS *");
    assert_eq!(keys, ["fanfare:{c}"], "a request makes no key");
    let late = Witness::start(&[nodes[1].address], "c", By::EventStream, usize::MAX);
    // The connections come back to a Redis that is full.
    let _: i64 = redis.ask("CLIENT KILL TYPE pubsub");
    for node in &nodes {
        let mut scraper = support::metrics::Scraper::new(node.address);
        until("the node is back", || (scraper.value("fanfare_redis_up") == 1.0).then_some(()));
    }
    let again = request(nodes[1].address, "GET", "/channels/c?since=&wait=0", "", b"");
    assert_eq!(again.status, 200, "{again:?}");
    let _: String = redis.ask("CONFIG SET maxmemory 0");
    let witnesses: Vec<_> = witnesses.into_iter().chain([late]).collect();
    let told = judge_all(nodes[0].address, "c", witnesses, &[]);
    for told in told {
        assert_eq!((gaps(&told), epochs(&told)), (vec![], 1));
    }
}

#[test]
fn a_redis_that_evicts_channels_is_told_as_a_gap_and_never_as_another_publication_of_the_same_number() {
    let Some(redis) = Redis::start(&["--maxmemory-policy", "allkeys-lru"]) else { return };
    let scene = Scene::patient(redis.port, Keys::Without);
    // As little as lets the channel live for a while.
    for _ in 0..5 {
        fill(&redis);
        until("the channel is evicted", || (redis.ask::<i64>("EXISTS fanfare:{c}") == 0).then_some(()));
        let _: String = redis.ask("CONFIG SET maxmemory 0");
        scene.more(5);
    }
    let (told, _) = scene.end();
    for told in told {
        assert!(gaps(&told).len() >= 2 && gaps(&told).iter().all(Option::is_none), "{:?}", gaps(&told));
    }
}

#[test]
fn ten_thousand_clients_that_come_back_at_once_are_one_join_of_each_node() {
    const CLIENTS: usize = 10_000;
    let limit = rlimit::increase_nofile_limit(u64::MAX).unwrap();
    assert!(
        limit as usize > CLIENTS + 200,
        "the hard limit on descriptors is {limit}: raise it (ulimit -Hn)"
    );
    let Some(redis) = Redis::start(&[]) else { return };
    let url = format!("redis://127.0.0.1:{}", redis.port);
    let nodes = [(); 2].map(|()| spawn(&mut fanfare(&["--redis", &url])));
    let first = post(nodes[0].address, "c", "", "first");
    let since = id_of(&first);
    for number in 0..10 {
        assert_eq!(post(nodes[0].address, "c", "", &number.to_string()).status, 200);
    }
    let path = format!("/channels/c?since={}-{}&wait=0", since.epoch, since.sequence);
    let before = (redis.calls("subscribe"), redis.calls("hmget"));
    let mut streams: Vec<_> = (0..CLIENTS).map(|number| connect(nodes[number % 2].address)).collect();
    let asked = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n");
    streams.iter_mut().for_each(|stream| stream.write_all(asked.as_bytes()).unwrap());
    for stream in &mut streams {
        let answer = read_answer(stream);
        assert_eq!(answer.status, 200, "{answer:?}");
        assert_eq!(answer.body.matches("\"id\"").count(), 10, "{answer:?}");
    }
    let after = (redis.calls("subscribe"), redis.calls("hmget"));
    assert_eq!(after.0 - before.0, 2, "one subscription of each node");
    let reads = after.1 - before.1;
    assert!(reads <= 10, "{reads} reads by scripts and nodes");
}

#[test]
fn publishers_that_wait_while_redis_is_away_hold_no_more_than_sixteen_mebibytes() {
    const PUBLISHERS: usize = 600;
    const LEN: usize = 64 * 1024;
    let Some(redis) = Redis::start(&[]) else { return };
    let url = format!("redis://127.0.0.1:{}", redis.port);
    let node = spawn(&mut fanfare(&["--redis", &url, "--redis-timeout", "5s", "--threads", "1"]));
    wait_for_readiness(node.address, 200);
    let before = node.resident_kib();
    redis.signal("STOP");
    let body = vec![b'x'; LEN];
    let head = format!(
        "POST /channels/c HTTP/1.1\r\nHost: localhost\r\nContent-Type: text/plain\r\nContent-Length: {LEN}\r\n\r\n"
    );
    let mut streams: Vec<_> = (0..PUBLISHERS).map(|_| connect(node.address)).collect();
    for stream in &mut streams {
        stream.set_write_timeout(Some(Duration::from_millis(100))).unwrap();
        // What is not taken is the point.
        let _ = stream.write_all(&[head.as_bytes(), &body].concat());
    }
    let mut scraper = support::metrics::Scraper::new(node.address);
    let mut waits = 0.0_f64;
    while scraper.value("fanfare_redis_up") == 1.0 {
        waits = waits.max(scraper.value("fanfare_redis_queue_bytes"));
    }
    let grown = node.resident_peak_kib() - before;
    assert!(waits > 8e6 && waits < 18e6, "{waits} bytes wait");
    // The publications, the buffers of those that are being read, and what the allocator keeps.
    assert!(grown < 48 * 1024, "{grown} KiB more");
    redis.signal("CONT");
    until("it is back", || (scraper.value("fanfare_redis_up") == 1.0).then_some(()));
    assert_eq!(post(node.address, "c", "", "last").status, 200);
}

/// What a publisher sends again and again.
fn flood(stream: &mut TcpStream, message: &[u8], bytes_max: usize) {
    let mut frame = vec![0x81, 0x80 | 126];
    frame.extend((message.len() as u16).to_be_bytes());
    frame.extend([0; 4]);
    frame.extend(message);
    stream.set_write_timeout(Some(Duration::from_millis(500))).unwrap();
    // What is not taken is the point.
    let _ = (0..bytes_max / frame.len()).try_for_each(|_| stream.write_all(&frame));
}

#[test]
fn websockets_that_publish_while_redis_does_not_answer_are_read_no_further_above_sixteen_mebibytes() {
    const LEN: usize = 8 * 1024;
    let Some(redis) = Redis::start(&[]) else { return };
    let app = App {
        client_events: true,
        client_event_rate: NonZeroU32::MAX,
        ..App::new("1", "app-key", "app-secret")
    };
    let config = Config { apps: vec![app], client_messages: None, ..patient(redis.port) };
    let node = start(config);
    let data = "x".repeat(LEN);
    let publish = format!(r#"{{"event":"say","channel":"c","data":"{data}"}}"#);
    let triggered = format!(r#"{{"event":"client-x","channel":"private-c","data":"{data}"}}"#);
    let raw = || (raw_websocket(node.address, "/channels/c"), data.clone().into_bytes());
    // One waits for the outcome of the one before.
    let commands = || {
        let stream = multiplex(node.address).get_ref().try_clone().unwrap();
        (stream, publish.clone().into_bytes())
    };
    let events = || {
        let mut client = Pusher::connect(node.address);
        client.subscribe("private-c");
        (client.client.get_ref().try_clone().unwrap(), triggered.clone().into_bytes())
    };
    let publishers: [(&dyn Fn() -> _, _); 3] = [(&raw, 12e6), (&commands, 1e3), (&events, 12e6)];
    for (number, (publisher, least)) in publishers.into_iter().enumerate() {
        wait_for_readiness(node.address, 200);
        let (mut stream, message): (TcpStream, Vec<u8>) = publisher();
        redis.signal("STOP");
        flood(&mut stream, &message, 64 << 20);
        let waits: f64 = support::metrics::Scraper::new(node.address).value("fanfare_redis_queue_bytes");
        assert!(waits > least && waits < 20e6, "{number}: {waits} bytes wait");
        redis.signal("CONT");
        drop(stream);
        assert_eq!(post(node.address, "c", "", "last").status, 200);
    }
}

#[test]
fn a_redis_without_the_replicas_that_it_wants_refuses_publications_and_harms_nobody_who_reads() {
    let Some(redis) = Redis::start(&[]) else { return };
    let nodes = nodes(redis.port, 1);
    let witness = Witness::start(&[nodes[0].address], "c", By::WebSocket, usize::MAX);
    assert_eq!(post(nodes[0].address, "c", "", "first").status, 200);
    let _: String = redis.ask("CONFIG SET min-replicas-to-write 1");
    let refused = post(nodes[0].address, "c", "", "second");
    assert_eq!(refused.status, 503, "{refused:?}");
    let _: i64 = redis.ask("CLIENT KILL TYPE pubsub");
    let mut scraper = support::metrics::Scraper::new(nodes[0].address);
    let lost = "fanfare_redis_reconnects_total{connection=\"subscribe\",reason=\"broken\"}";
    until("the connection is lost", || (scraper.value(lost) >= 1.0).then_some(()));
    until("the node is back", || (scraper.value("fanfare_redis_up") == 1.0).then_some(()));
    let polled = request(nodes[0].address, "GET", "/channels/c?since=&wait=0", "", b"");
    assert_eq!(polled.status, 200, "{polled:?}");
    let _: String = redis.ask("CONFIG SET min-replicas-to-write 0");
    let told = judge_all(nodes[0].address, "c", vec![witness], &[]);
    assert_eq!((gaps(&told[0]), told[0].len()), (vec![], 3));
}

#[test]
fn a_redis_that_is_busy_with_a_script_is_waited_for() {
    let Some(redis) = Redis::start(&["--busy-reply-threshold", "50"]) else { return };
    let scene = Scene::patient(redis.port, Keys::Without);
    let mut looping = redis.connect();
    let spins = std::thread::spawn(move || {
        let spin: Result<(), _> = support::redis::ask(&mut looping, &[b"EVAL", b"while true do end", b"0"]);
        spin.unwrap_err();
    });
    std::thread::park_timeout(TIMEOUT / 4);
    until("the script is killed", || {
        let killed: Result<String, _> = support::redis::ask(&mut redis.connect(), &[b"SCRIPT", b"KILL"]);
        killed.ok()
    });
    spins.join().unwrap();
    let (told, published) = scene.end();
    for told in told {
        assert_eq!((gaps(&told), epochs(&told)), (vec![], 1));
    }
    assert!(published.iter().all(|published| published.unknown.is_empty()));
}

#[test]
fn channels_that_are_only_looked_into_are_left_again() {
    const LOOKED_INTO: usize = 12_000;
    let Some(redis) = Redis::start(&[]) else { return };
    let node = nodes(redis.port, 1).remove(0);
    let mut streams: Vec<_> = (0..8).map(|_| connect(node.address)).collect();
    for number in 0..LOOKED_INTO {
        let get = format!("GET /channels/c{number}?wait=0 HTTP/1.1\r\nHost: localhost\r\n\r\n");
        let stream = &mut streams[number % 8];
        std::io::Write::write_all(stream, get.as_bytes()).unwrap();
        assert_eq!(read_answer(stream).status, 200);
    }
    let mut scraper = support::metrics::Scraper::new(node.address);
    until("no more than ten thousand are kept", || {
        (scraper.value("fanfare_redis_channels") <= 10_000.0).then_some(())
    });
    // The latest are those that are kept.
    let subscribed: Vec<(String, i64)> = redis.ask("PUBSUB NUMSUB fanfare:{c0} fanfare:{c11999}");
    assert_eq!(subscribed, [("fanfare:{c0}".into(), 0), ("fanfare:{c11999}".into(), 1)]);
}

#[test]
fn a_redis_that_takes_no_subscriptions_any_more_is_away_and_is_asked_again_more_and_more_seldom() {
    let Some(redis) = Redis::start(&[]) else { return };
    let _: String = redis.ask("ACL SETUSER anna on >pw ~fanfare:* &fanfare:* +@all");
    let node = start(by_url(&format!("redis://anna:pw@127.0.0.1:{}", redis.port)));
    let witness = Witness::start(&[node.address], "c", By::WebSocket, usize::MAX);
    wait_for_readiness(node.address, 200);
    let _: String = redis.ask("ACL SETUSER anna -subscribe");
    let _: i64 = redis.ask("CLIENT KILL USER anna");
    let connections = || -> u64 {
        let stats: String = redis.ask("INFO stats");
        let line = stats.lines().find_map(|line| line.strip_prefix("total_connections_received:"));
        line.unwrap().parse().unwrap()
    };
    wait_for_readiness(node.address, 503);
    witness.hears_one(&Told::Paused);
    let before = connections();
    for _ in 0..30 {
        let ready = request(node.address, "GET", "/readyz", "", b"");
        assert_eq!(ready.status, 503, "a connection that does nothing but open is of no use");
        std::thread::park_timeout(Duration::from_millis(100));
    }
    let dialled = connections() - before;
    assert!(dialled < 15, "{dialled} in three seconds");
    let _: String = redis.ask("ACL SETUSER anna +subscribe");
    wait_for_readiness(node.address, 200);
    assert_eq!(post(node.address, "c", "", "x").status, 200);
    witness.hears_one(&Told::Resumed);
    assert_eq!(gaps(&judge_all(node.address, "c", vec![witness], &[])[0]), []);
}
