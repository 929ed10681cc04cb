//! A subscriber that does not read, beside one that keeps up: that one gets everything, the slow one what its
//! policy says, and the server stays small.

#![allow(clippy::unwrap_used)] // a helper that fails fails its test

mod support;

use fanfare::config::{Config, Glob, LagPolicy};
use fanfare::server::{Draft, Handle};
use support::*;
use tungstenite::Message;

/// Larger than what the kernel holds for a peer that does not read, by a factor.
const PUBLICATIONS: usize = 600;
const PAYLOAD_LEN: usize = 32 * 1024;
const LAG_MAX: u64 = 256 * 1024;

fn with_policy(policy: LagPolicy) -> Config {
    Config { max_lag: LAG_MAX, lag_policy: vec![(Glob::new("slow*"), policy)], ..config() }
}

fn payload(number: usize) -> String {
    format!("{number:08}{}", "x".repeat(PAYLOAD_LEN - 8))
}

/// Publishes all, each when the subscriber that keeps up has the one before it.
fn publish_all(handle: &Handle, prompt: &mut Client) {
    for number in 0..PUBLICATIONS {
        publish_draft(handle, &Draft::text("slow", payload(number)).unwrap());
        assert!(text(prompt) == payload(number), "{number} is whole and in order");
    }
}

/// A server under this policy, and a slow client that all was published past, beside one that kept up.
fn publish_past(policy: LagPolicy, fields: &[(&'static str, &str)]) -> (Running, Client) {
    let server = start(with_policy(policy));
    let slow = stalled(server.address, "/channels/slow", fields);
    let mut prompt = websocket(server.address, "/channels/slow");
    publish_all(&server.handle, &mut prompt);
    (server, slow)
}

/// A server that forgives, and a slow client that `count` were published to.
fn publish_ahead(count: usize) -> (Running, Client) {
    let server = start(Config { max_lag: 16 * 1024 * 1024, ..config() });
    let slow = stalled(server.address, "/channels/slow", &[]);
    for number in 0..count {
        publish_draft(&server.handle, &Draft::text("slow", payload(number)).unwrap());
    }
    (server, slow)
}

/// The numbers of the plain texts that come, until `last` or a Close frame with its code.
fn numbers_until(client: &mut Client, last: usize) -> (Vec<usize>, Option<u16>) {
    let mut numbers = Vec::new();
    loop {
        match client.read().unwrap() {
            Message::Text(text) => {
                assert_eq!(text.len(), PAYLOAD_LEN, "a frame that was started is finished");
                numbers.push(text[..8].parse().unwrap());
                if numbers.last() == Some(&last) {
                    return (numbers, None);
                }
            }
            Message::Close(frame) => return (numbers, frame.map(|frame| frame.code.into())),
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn close_gives_the_slow_one_a_beginning_without_a_hole_and_1013() {
    let (_server, mut slow) = publish_past(LagPolicy::Close, &[]);
    let (numbers, code) = numbers_until(&mut slow, PUBLICATIONS);
    assert_eq!(numbers, (0..numbers.len()).collect::<Vec<_>>());
    assert!(!numbers.is_empty() && numbers.len() < PUBLICATIONS, "{}", numbers.len());
    assert_eq!(code, Some(1013));
}

#[test]
fn skip_gives_the_slow_one_the_newest_that_fit_the_bound() {
    let (_server, mut slow) = publish_past(LagPolicy::Skip, &[]);
    let (numbers, _) = numbers_until(&mut slow, PUBLICATIONS - 1);
    assert!(numbers.windows(2).all(|pair| pair[0] < pair[1]), "in order");
    assert!(numbers.len() < PUBLICATIONS, "some were passed over");
    let newest: Vec<usize> = (PUBLICATIONS - 7..PUBLICATIONS).collect();
    assert_eq!(numbers[numbers.len() - 7..], newest, "seven frames fit in 256 KiB");
}

#[test]
fn skip_tells_a_subscriber_of_envelopes_how_many_it_missed() {
    let (_server, mut slow) = publish_past(LagPolicy::Skip, &[("Sec-WebSocket-Protocol", "fanfare.v1.json")]);
    let (mut expected, mut missed_total) = (1, 0);
    while expected <= PUBLICATIONS {
        let frame: serde_json::Value = serde_json::from_str(&text(&mut slow)).unwrap();
        if frame["event"] == "fanfare:lagged" {
            let missed = frame["data"]["missed"].as_u64().unwrap() as usize;
            expected += missed;
            missed_total += missed;
        } else {
            let id = frame["id"].as_str().unwrap();
            assert_eq!(
                id.split('-').nth(1).unwrap().parse::<usize>().unwrap(),
                expected,
                "no gap that was not told"
            );
            expected += 1;
        }
    }
    assert!(missed_total > 0);
}

#[test]
fn latest_gives_the_slow_one_the_newest() {
    let (_server, mut slow) = publish_past(LagPolicy::Latest, &[]);
    let (numbers, _) = numbers_until(&mut slow, PUBLICATIONS - 1);
    assert!(numbers.windows(2).all(|pair| pair[0] < pair[1]), "in order");
    assert!(numbers.len() < PUBLICATIONS, "some were passed over");
}

#[test]
fn a_slow_subscriber_that_comes_back_in_time_loses_nothing() {
    let (_server, mut slow) = publish_ahead(200);
    assert_eq!(numbers_until(&mut slow, 199).0, (0..200).collect::<Vec<_>>());
}

#[test]
fn a_pong_goes_out_between_frames_and_ahead_of_a_log_that_is_behind() {
    const COUNT: usize = 400;
    let (_server, mut slow) = publish_ahead(COUNT);
    slow.send(Message::Ping("now".into())).unwrap();
    let (mut whole, mut ponged_after) = (0, None);
    while whole < COUNT {
        match slow.read().unwrap() {
            Message::Text(text) => {
                assert!(text.as_str() == payload(whole), "{whole} is whole");
                whole += 1;
            }
            Message::Pong(payload) if payload == "now" => ponged_after = Some(whole),
            other => panic!("{other:?}"),
        }
    }
    assert!(ponged_after.is_some_and(|whole| whole < COUNT), "{ponged_after:?}");
}

#[cfg(target_os = "linux")] // for its /proc
#[test]
fn stalled_subscribers_do_not_make_the_server_grow() {
    for policy in ["close", "skip", "latest"] {
        let mut process =
            spawn(&mut fanfare(&["--max-lag", "256KiB", "--lag-policy", policy, "--threads", "1"]));
        let mut prompt = websocket(process.address, "/channels/slow");
        let stalled: Vec<_> = (0..20).map(|_| stalled(process.address, "/channels/slow", &[])).collect();
        let before = process.resident_kib();
        for number in 0..PUBLICATIONS {
            prompt.send(Message::text(payload(number))).unwrap();
            assert!(text(&mut prompt) == payload(number));
        }
        // 19 MiB were published: the log keeps 256 KiB of it, a turn's worth and the room to grow, once for all.
        let grown = process.resident_kib().saturating_sub(before);
        assert!(grown < 6 * 1024, "{policy}: {grown} KiB");
        drop(stalled);
        process.signal("TERM");
        drop(prompt);
        assert!(process.wait().success());
    }
}

#[cfg(target_os = "linux")] // for its /proc
#[test]
fn a_flood_of_pings_by_a_peer_that_does_not_read_stays_bounded() {
    use std::io::Write;
    let process = spawn(&mut fanfare(&["--threads", "1"]));
    let client = stalled(process.address, "/echo", &[]);
    let before = process.resident_kib();
    let mut stream = client.get_ref();
    stream.set_write_timeout(Some(std::time::Duration::from_millis(300))).unwrap();
    let ping = [&b"\x89\xfd\x00\x00\x00\x00"[..], &[b'p'; 125]].concat().repeat(1000);
    let mut sent = 0;
    while sent < 64 * 1024 * 1024 {
        match stream.write(&ping) {
            Ok(len) => sent += len,
            Err(_) => break,
        }
    }
    let grown = process.resident_kib().saturating_sub(before);
    assert!(grown < 2 * 1024, "{grown} KiB after {sent} bytes of pings");
    assert!(sent < 64 * 1024 * 1024, "the flood is held back by TCP");
    assert_eq!(request(process.address, "GET", "/healthz", "", b"").status, 200);
}
