//! Crowds: thousands that come and go, a thousand that publish at once, one that reads a byte a second. Whatever
//! they do, every subscriber that stays gets every message once, in the one order that there is.
//!
//! Peers that break the protocol or hold something open are in `hostile`.

#![allow(clippy::unwrap_used)] // a helper that fails fails its test

mod support;

use std::collections::{BTreeMap, VecDeque};
use std::env;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::sync::{Barrier, Mutex};
use std::thread;
use std::time::Duration;

use support::steady::{Steady, next_text};
use support::*;
use tungstenite::Message;

/// Subscribers that must miss nothing.
const WITNESSES: usize = 8;

/// Connections that one of a crowd's threads holds at once.
const WINDOW: usize = 50;
const CROWD_THREADS: usize = 4;

/// What a process may have grown by when a crowd is gone: README's bound of what a heap keeps, buffers for reuse among it.
const SLACK_KIB: u64 = 6 * 1024;

fn number_from_env(name: &str, default: usize) -> usize {
    env::var(name).map_or(default, |number| number.parse().unwrap())
}

/// So many raw WebSockets in a row, each to the path of its number, the oldest leaving when the window is full.
fn come_and_go(address: SocketAddr, count: usize, path: impl Fn(usize) -> String + Sync) {
    thread::scope(|scope| {
        for thread in 0..CROWD_THREADS {
            let path = &path;
            scope.spawn(move || {
                let mut window = VecDeque::new();
                for number in (thread..count).step_by(CROWD_THREADS) {
                    window.push_back((number, raw_websocket(address, &path(number))));
                    if window.len() > WINDOW {
                        let (number, stream) = window.pop_front().unwrap();
                        leave(stream, number / CROWD_THREADS);
                    }
                }
            });
        }
    });
}

/// Some say goodbye, some reset, some are just gone.
fn leave(mut stream: TcpStream, number: usize) {
    match number % 3 {
        0 => {
            stream.write_all(b"\x88\x80\x00\x00\x00\x00").unwrap();
            assert!(rest(&mut stream).ends_with(b"\x88\x00"), "the Close frame is echoed, and is the last");
        }
        1 => reset(stream),
        _ => drop(stream),
    }
}

#[test]
fn thousands_come_and_go_while_a_ticker_runs() {
    let count = number_from_env("FANFARE_TEST_CHURN", 5_000);
    let process = spawn(&mut fanfare(&["--threads", "2", "--handshake-timeout", "2s"]));
    let unused = Footprint::of(&process);
    let steady = Steady::begin(process.address, "ticks", WITNESSES);
    let churn = |count| come_and_go(process.address, count, |_| "/channels/ticks".to_owned());
    churn(1_000);
    let before = Footprint::of(&process);
    churn(count);
    before.comes_back(&process, SLACK_KIB);
    steady.more(20);
    steady.end();
    unused.comes_back(&process, 2 * SLACK_KIB);
}

#[test]
fn one_peer_that_subscribes_to_thousands_of_channels_leaves_none_behind() {
    let count = number_from_env("FANFARE_TEST_CHANNELS", 10_000);
    let process = spawn(&mut fanfare(&["--threads", "2", "--handshake-timeout", "2s"]));
    let unused = Footprint::of(&process);
    let steady = Steady::begin(process.address, "ticks", WITNESSES);
    let subscribe = |prefix: &str, count| {
        come_and_go(process.address, count, |number| format!("/channels/{prefix}-{number}"));
    };
    subscribe("first", 2_000);
    let before = Footprint::of(&process);
    subscribe("one", count);
    before.comes_back(&process, SLACK_KIB);
    for number in (0..count).step_by(count / 100) {
        let answer = publish(process.address, &format!("one-{number}"), "x");
        assert!(
            answer.body.ends_with("-1\",\"subscribers\":0}\n"),
            "nobody is left, and it begins anew: {answer:?}"
        );
    }
    steady.end();
    unused.comes_back(&process, 2 * SLACK_KIB);
}

#[test]
fn a_subscriber_that_reads_a_byte_a_second_under_full_load_gets_1013_and_the_others_everything() {
    const PUBLICATIONS: usize = 300;
    const BYTES: usize = 3;
    let flags = ["--threads", "2", "--max-lag", "256KiB", "--close-timeout", "1m"];
    let process = spawn(&mut fanfare(&flags));
    let unused = Footprint::of(&process);
    let steady = Steady::begin(process.address, "ticks", WITNESSES);
    let slow = narrow_websocket(process.address, "/channels/load", 4096);
    let mut prompt: Vec<_> = (0..4).map(|_| websocket(process.address, "/channels/load")).collect();
    let (is_over, over) = mpsc::channel::<()>();
    let (has_read, read) = mpsc::channel();
    let reader = thread::spawn(move || {
        let mut slow = slow;
        let mut bytes = Vec::new();
        while over.recv_timeout(Duration::from_secs(1)) == Err(RecvTimeoutError::Timeout) {
            let mut byte = [0];
            slow.read_exact(&mut byte).unwrap();
            bytes.push(byte[0]);
            has_read.send(()).unwrap();
        }
        bytes.extend(rest_until_close(&mut slow));
        bytes
    });
    let payload = |number: usize| format!("{number:08}{}", "x".repeat(32 * 1024));
    let mut count = 0;
    let mut bytes_read = 0;
    while count < PUBLICATIONS || bytes_read < BYTES {
        prompt[0].send(Message::text(payload(count))).unwrap();
        for client in &mut prompt {
            assert!(next_text(client) == payload(count), "{count} is whole and in order");
        }
        count += 1;
        bytes_read += read.try_iter().count();
    }
    drop(is_over);
    let bytes = reader.join().unwrap();
    assert!(bytes.len() < count * 32 * 1024, "not everything");
    assert!(bytes.starts_with(b"\x81\x7e\x80\x0800000000xxxx"), "but a beginning");
    steady.more(20);
    drop(prompt);
    steady.end();
    unused.comes_back(&process, 2 * SLACK_KIB);
}

/// Reads up to the Close frame, which must say 1013, and answers it.
fn rest_until_close(stream: &mut TcpStream) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut chunk = [0; 16 * 1024];
    while !bytes.windows(4).rev().take(200).any(|at| at[0] == 0x88 && at[2..] == [3, 0xf5]) {
        let len = stream.read(&mut chunk).unwrap();
        assert!(len > 0, "a Close frame with 1013 comes before the end");
        bytes.extend_from_slice(&chunk[..len]);
    }
    stream.write_all(b"\x88\x82\x00\x00\x00\x00\x03\xf5").unwrap();
    assert_eq!(rest(stream), b"");
    bytes
}

const BY_POST: usize = 500;
const BY_WEBSOCKET: usize = 500;
const PUBLISHER_THREADS: usize = 8;
const MESSAGES_EACH: usize = 10;
const MESSAGES: usize = (BY_POST + BY_WEBSOCKET) * MESSAGES_EACH;

/// One of a thousand.
enum Publisher {
    Post(usize, TcpStream),
    WebSocket(usize, Box<Client>),
}

#[test]
fn a_thousand_publishers_at_once_make_one_order_that_every_subscriber_sees() {
    rlimit::increase_nofile_limit(u64::MAX).unwrap();
    let process = spawn(&mut fanfare(&["--threads", "4"]));
    let unused = Footprint::of(&process);
    let plain: Vec<_> = (0..8).map(|_| websocket(process.address, "/channels/all")).collect();
    let numbered: Vec<_> = (0..4).map(|_| envelopes(process.address, "all")).collect();
    let mut publishers: Vec<Publisher> = (0..BY_POST + BY_WEBSOCKET)
        .map(|number| match number % 2 {
            0 => Publisher::Post(number, connect(process.address)),
            _ => Publisher::WebSocket(number, Box::new(websocket(process.address, "/channels/all"))),
        })
        .collect();
    let together = Barrier::new(PUBLISHER_THREADS);
    let orders = Mutex::new(Vec::new());
    thread::scope(|scope| {
        for client in plain {
            scope.spawn(|| orders.lock().unwrap().push(order_of_texts(client)));
        }
        for client in numbered {
            scope.spawn(|| orders.lock().unwrap().push(order_of_envelopes(client)));
        }
        for share in publishers.chunks_mut((BY_POST + BY_WEBSOCKET) / PUBLISHER_THREADS) {
            let together = &together;
            scope.spawn(move || {
                together.wait();
                (0..MESSAGES_EACH).for_each(|message| publish_at_once(share, message));
            });
        }
    });
    let orders = orders.into_inner().unwrap();
    assert!(orders.iter().all(|order| *order == orders[0]), "one order");
    assert_eachs_own_order(&orders[0]);
    drop(publishers);
    unused.comes_back(&process, 4 * SLACK_KIB);
}

/// Lets each say its next message, and only then waits for the answers.
fn publish_at_once(publishers: &mut [Publisher], message: usize) {
    for publisher in publishers.iter_mut() {
        match publisher {
            Publisher::Post(number, stream) => {
                let body = format!("{number} {message}");
                let head = "POST /channels/all HTTP/1.1\r\nHost: localhost\r\nContent-Type: text/plain\r\nContent-Length:";
                stream.write_all(format!("{head} {}\r\n\r\n{body}", body.len()).as_bytes()).unwrap();
            }
            Publisher::WebSocket(number, client) => {
                client.send(Message::text(format!("{number} {message}"))).unwrap();
            }
        }
    }
    for publisher in publishers {
        if let Publisher::Post(_, stream) = publisher {
            assert_eq!(read_answer(stream).status, 200);
        }
    }
}

fn order_of_texts(mut client: Client) -> Vec<String> {
    (0..MESSAGES).map(|_| next_text(&mut client)).collect()
}

fn order_of_envelopes(mut client: Client) -> Vec<String> {
    let next = |sequence: usize| {
        let frame: serde_json::Value = serde_json::from_str(&next_text(&mut client)).unwrap();
        assert!(frame["id"].as_str().unwrap().ends_with(&format!("-{sequence}")), "{frame}");
        frame["data"].as_str().unwrap().to_owned()
    };
    (1..=MESSAGES).map(next).collect()
}

/// Every publisher's messages are there once, in the order in which it said them.
fn assert_eachs_own_order(order: &[String]) {
    let mut next = BTreeMap::new();
    for text in order {
        let (publisher, message) = text.split_once(' ').unwrap();
        let next = next.entry(publisher).or_insert(0);
        assert_eq!(message, next.to_string(), "of {publisher}");
        *next += 1;
    }
    assert_eq!(next.len(), BY_POST + BY_WEBSOCKET);
    assert!(next.values().all(|&next| next == MESSAGES_EACH));
}
