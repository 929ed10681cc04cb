//! Nodes as processes: how they start with a Redis that is absent or wrong, what it costs them when it is away, and what others notice
//! of one that stops or dies.
//!
//! What breaks at Redis is in `nodes_networks` and `nodes_restarts`.

#![allow(clippy::unwrap_used)] // a helper that fails fails its test

mod support;

use std::io::{BufRead, BufReader, Write};
use std::net::TcpListener;
use std::process::Stdio;
use std::thread;
use std::time::{Duration, Instant};

use support::metrics::Scraper;
use support::nodes::*;
use support::redis::{Memory, Redis};
use support::witness::*;
use support::*;

fn node(url: &str) -> Process {
    spawn(&mut fanfare(&["--redis", url, "--redis-timeout", "1s", "--threads", "1", "--history", "100000"]))
}

fn url(redis: &Redis) -> String {
    format!("redis://127.0.0.1:{}", redis.port)
}

/// What a start with this Redis is refused with.
fn refused(url: &str) -> String {
    let mut command = fanfare(&["--redis", url]);
    let output = command.stdout(Stdio::null()).stderr(Stdio::piped()).output().unwrap();
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    String::from_utf8(output.stderr).unwrap()
}

/// Answers the first thing that each connection says so, then nothing.
fn pretend(answer: &'static str) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    thread::spawn(move || {
        let mut kept = Vec::new();
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let mut line = String::new();
            BufReader::new(stream.try_clone().unwrap()).read_line(&mut line).unwrap();
            let _ = stream.write_all(answer.as_bytes());
            kept.push(stream);
        }
    });
    port
}

#[test]
fn a_node_without_its_redis_starts_unready_and_is_ready_when_redis_comes() {
    let Some(mut redis) = Redis::start(&[]) else { return };
    redis.kill();
    let node = node(&url(&redis));
    let readiness = request(node.address, "GET", "/readyz", "", b"");
    assert_eq!(readiness.status, 503, "{readiness:?}");
    assert_eq!(request(node.address, "GET", "/healthz", "", b"").status, 200);
    let refused = post(node.address, "c", "", "one");
    assert_eq!(refused.status, 503, "{refused:?}");
    let stream = Witness::start(&[node.address], "c", By::EventStream, usize::MAX);
    assert_eq!(stream.told(), [Told::Paused], "it waits, since it would not come back after a 503");
    redis.start_again(Memory::Kept);
    wait_for_readiness(node.address, 200);
    stream.hears_one(&Told::Resumed);
    assert_eq!(Scraper::new(node.address).value("fanfare_redis_up"), 1.0);
    judge_all(node.address, "c", vec![stream], &[]);
}

#[test]
fn a_start_with_the_wrong_password_or_user_is_refused_with_the_remedy() {
    let Some(redis) = Redis::start(&[]) else { return };
    let port = redis.port;
    let _: String = redis.ask("ACL SETUSER fan on >pw ~fanfare:* resetchannels +@all");
    let _: String = redis.ask("CONFIG SET requirepass right");
    let sentence = refused(&url(&redis));
    assert!(
        sentence.contains("it asks for a password. Give it as --redis redis://:PASSWORD@HOST"),
        "{sentence}"
    );
    let sentence = refused(&format!("redis://:wrong@127.0.0.1:{port}"));
    assert!(
        sentence.contains("the user or the password is wrong") && !sentence.contains("wrong@"),
        "{sentence}"
    );
    let sentence = refused(&format!("redis://fan:pw@127.0.0.1:{port}"));
    assert!(sentence.contains("may not subscribe") && sentence.contains("&PREFIX:*"), "{sentence}");
    let node = node(&format!("redis://:right@127.0.0.1:{port}"));
    wait_for_readiness(node.address, 200);
}

#[test]
fn a_start_with_a_redis_that_is_too_old_is_refused() {
    let hello = "%3\r\n$6\r\nserver\r\n$5\r\nredis\r\n$7\r\nversion\r\n$6\r\n6.2.14\r\n$4\r\nmode\r\n$10\r\nstandalone\r\n";
    let sentence = refused(&format!("redis://127.0.0.1:{}", pretend(hello)));
    assert!(sentence.contains("it is Redis 6.2.14, and 7.0 or later is needed"), "{sentence}");
    let sentence = refused(&format!("redis://127.0.0.1:{}", pretend("-ERR unknown command `HELLO`\r\n")));
    assert!(sentence.contains("it does not know HELLO"), "{sentence}");
}

#[test]
fn a_port_that_is_no_redis_or_says_nothing_is_a_redis_that_is_away() {
    for answer in ["HTTP/1.1 400 Bad Request\r\n\r\n", ""] {
        let node = node(&format!("redis://127.0.0.1:{}", pretend(answer)));
        wait_for_readiness(node.address, 503);
    }
}

#[test]
fn a_node_that_is_killed_is_left_by_its_clients_and_nothing_is_missing_nor_published_twice() {
    let Some(redis) = Redis::start(&[]) else { return };
    let (killed, other) = (node(&url(&redis)), node(&url(&redis)));
    let at = [killed.address, other.address];
    let witnesses = vec![
        Witness::start(&at, "c", By::WebSocket, usize::MAX),
        Witness::start(&at, "c", By::WebSocket, usize::MAX),
        Witness::start(&at[1..], "c", By::EventStream, usize::MAX),
    ];
    let publishers: Vec<_> = (0..2)
        .map(|number| {
            Publisher::start(&at[number..], "c", &format!("p{number}"), Keys::With, Duration::from_millis(2))
        })
        .collect();
    publishers.iter().for_each(|publisher| publisher.more(30));
    drop(killed);
    publishers.iter().for_each(|publisher| publisher.more(30));
    let published: Vec<_> = publishers.into_iter().map(Publisher::end).collect();
    let told = judge_all(other.address, "c", witnesses, &published);
    assert!(told.iter().flatten().all(|told| !matches!(told, Told::Gap(..))), "nothing is missing");
    let mut scraper = Scraper::new(other.address);
    until("the other is alone", || (scraper.value("fanfare_nodes") == 1.0).then_some(()));
}

#[test]
fn a_node_that_stops_and_goes_on_fills_what_came_meanwhile() {
    let Some(redis) = Redis::start(&[]) else { return };
    let (stopped, other) = (node(&url(&redis)), node(&url(&redis)));
    let witnesses: Vec<_> = [By::WebSocket, By::EventStream]
        .map(|by| Witness::start(&[stopped.address], "c", by, usize::MAX))
        .into();
    let publisher = Publisher::start(&[other.address], "c", "p", Keys::Without, Duration::from_millis(2));
    publisher.more(20);
    stopped.signal("STOP");
    let stopped_at = Instant::now();
    while stopped_at.elapsed() < TIMEOUT * 2 {
        publisher.more(20);
    }
    stopped.signal("CONT");
    publisher.more(20);
    let published = publisher.end();
    let told = judge_all(stopped.address, "c", witnesses, &[published]);
    assert!(told.iter().flatten().all(|told| !matches!(told, Told::Gap(..))), "nothing is missing");
}

/// The share of a core that the thread of Redis uses for a while, in percent. What the loops use is the same without it.
fn share(node: &Process) -> f64 {
    const TIME: Duration = Duration::from_secs(3);
    let before = node.thread_time("fanfare-redis");
    thread::park_timeout(TIME);
    (node.thread_time("fanfare-redis") - before).as_secs_f64() / TIME.as_secs_f64() * 100.0
}

#[test]
fn a_node_with_a_thousand_channels_is_idle_when_redis_is_and_when_redis_is_away() {
    const CHANNELS: usize = 1_000;
    let Some(mut redis) = Redis::start(&[]) else { return };
    let node = node(&url(&redis));
    let readers: Vec<_> =
        (0..CHANNELS).map(|number| websocket(node.address, &format!("/channels/c{number}"))).collect();
    let mut scraper = Scraper::new(node.address);
    until("it has the channels", || {
        (scraper.value("fanfare_redis_channels") == CHANNELS as f64).then_some(())
    });
    // Until the counts are told.
    thread::park_timeout(Duration::from_secs(3));
    let idle = share(&node);
    redis.kill();
    wait_for_readiness(node.address, 503);
    // A publisher that waits costs nothing either.
    let waiting = thread::spawn({
        let address = node.address;
        move || post(address, "c1", "", "x")
    });
    let away = share(&node);
    assert_eq!(waiting.join().unwrap().status, 503);
    assert!(idle <= 1.0, "{idle} % when idle");
    assert!(away <= 1.0, "{away} % while Redis is away");
    redis.start_again(Memory::Lost);
    wait_for_readiness(node.address, 200);
    until("it has the channels again", || (redis.ask::<i64>("DBSIZE") == CHANNELS as i64).then_some(()));
    drop(readers);
}

#[test]
fn a_node_that_is_told_to_stop_while_redis_is_silent_answers_its_publishers_and_ends() {
    let Some(redis) = Redis::start(&[]) else { return };
    let flags = ["--redis", &url(&redis), "--redis-timeout", "1s", "--drain", "3s"];
    let mut node = spawn(&mut fanfare(&flags));
    assert_eq!(post(node.address, "c", "", "first").status, 200);
    redis.signal("STOP");
    let mut waiting = connect(node.address);
    let head = "POST /channels/c HTTP/1.1\r\nHost: localhost\r\nContent-Type: text/plain\r\nContent-Length: 1\r\n\r\nx";
    waiting.write_all(head.as_bytes()).unwrap();
    let mut scraper = Scraper::new(node.address);
    until("it waits", || (scraper.value("fanfare_redis_queue_bytes") > 0.0).then_some(()));
    drop(scraper);
    node.signal("TERM");
    assert_eq!(read_answer(&mut waiting).status, 504);
    drop(waiting);
    assert!(node.wait().success());
    redis.signal("CONT");
}
