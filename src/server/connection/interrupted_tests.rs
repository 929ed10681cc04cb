//! Connections that lag or wait while their channel has a gap: what they are told, and where they go on.

use std::io::Read;

use super::context::Context;
use super::tests::{channel, context, flush, narrow, publish, received};
use super::*;
use crate::config::{Config, Glob, LagPolicy};
use crate::hub::{Gap, PublicationId};

/// The epoch that gaps begin.
const AFTER: PublicationId = PublicationId { epoch: 0xf, sequence: 40 };

/// A connection after a request, and the peer's end. What it was sent first is not looked at.
fn opened(path: &str, fields: &str, cx: &mut Context) -> (Connection, std::net::TcpStream) {
    let (mut connection, peer) = narrow();
    let request = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n{fields}\r\n");
    let _ = connection.receive_requests(request.as_bytes(), cx);
    (connection, peer)
}

/// A WebSocket of envelopes.
fn websocket(path: &str, cx: &mut Context) -> (Connection, std::net::TcpStream) {
    let fields = "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n\
                  Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Protocol: fanfare.v1.json\r\n";
    let (mut connection, peer) = opened(path, fields, cx);
    connection.outbox = Outbox::default();
    (connection, peer)
}

fn gap(cx: &mut Context, missed: Option<u64>, since: PublicationId) {
    cx.shared.broker.gap(&channel("a"), Gap { missed }, since, cx.now);
    cx.apply(usize::MAX);
}

/// A server that keeps 10,000 bytes for a subscriber that lags, under this policy.
fn lagging(policy: LagPolicy) -> Context {
    let rules = vec![("*".parse::<Glob>().unwrap(), policy)];
    let cx = context(Config { max_lag: 10_000, lag_policy: rules, ..Config::default() });
    cx.shared.broker.begin(&channel("a"), PublicationId { epoch: 0xe, sequence: 0 }, cx.now);
    cx
}

fn long(first: char) -> String {
    format!("{first}{}", "x".repeat(200_000))
}

/// What comes of a message: its identifier, or the whole of a notice.
fn summary(text: &str) -> String {
    match text.split_once("\",\"data\":\"") {
        Some((head, data)) => format!("{} {}", head.rsplit('"').next().unwrap(), &data[..1]),
        None => text.to_owned(),
    }
}

#[test]
fn a_subscriber_that_skips_over_a_gap_is_told_what_it_skipped_and_of_the_gap_which_is_not_in_that_number() {
    for (policy, kept) in [(LagPolicy::Skip, "f-43 d"), (LagPolicy::Latest, "f-43 d")] {
        let mut cx = lagging(policy);
        let (mut connection, mut peer) = websocket("/channels/a", &mut cx);
        publish(&mut cx, "a", &long('a'), None);
        publish(&mut cx, "a", &long('b'), None);
        gap(&mut cx, None, AFTER);
        for first in ['c', 'e', 'd'] {
            publish(&mut cx, "a", &long(first), None);
        }
        assert_eq!(flush(&mut connection, &mut cx), Next::Wait);
        let texts = received(&mut connection, &mut peer, &mut cx);
        let told: Vec<_> = texts.iter().map(|text| summary(text)).collect();
        let lagged = r#"{"event":"fanfare:lagged","data":{"missed":3}}"#;
        let lost = r#"{"event":"fanfare:gap","data":{"missed":null,"since":"f-40","idle":30000}}"#;
        assert_eq!(told, ["e-1 a", lagged, lost, kept], "{policy:?}");
        assert_eq!(cx.hub.passed_over(), 3, "the notice is no publication");
    }
}

#[test]
fn a_subscriber_that_skips_keeps_the_newest_publication_ahead_of_the_notice_that_it_pauses() {
    for policy in [LagPolicy::Skip, LagPolicy::Latest] {
        let mut cx = lagging(policy);
        let (mut connection, mut peer) = websocket("/channels/a", &mut cx);
        for first in ['a', 'b', 'c'] {
            publish(&mut cx, "a", &long(first), None);
        }
        cx.shared.broker.pause(&channel("a"));
        cx.apply(usize::MAX);
        assert_eq!(flush(&mut connection, &mut cx), Next::Wait);
        let texts = received(&mut connection, &mut peer, &mut cx);
        let told: Vec<_> = texts.iter().map(|text| summary(text)).collect();
        let lagged = r#"{"event":"fanfare:lagged","data":{"missed":1}}"#;
        assert_eq!(told, ["e-1 a", lagged, "e-3 c", r#"{"event":"fanfare:paused","data":{}}"#], "{policy:?}");
    }
}

#[test]
fn a_subscriber_that_is_expelled_ahead_of_a_gap_goes_on_before_it_and_one_after_it_behind_it() {
    for (reads_all, since) in [(false, "e-1"), (true, "f-40")] {
        let mut cx = lagging(LagPolicy::Close);
        let (mut connection, mut peer) = websocket("/channels", &mut cx);
        let subscribe = br#"{"event":"fanfare:subscribe","data":[{"channel":"a"}]}"#;
        let mut message = Vec::new();
        crate::ws::encode_masked_frame(&mut message, true, crate::ws::Opcode::Text, [0; 4], subscribe);
        let _ = connection.receive_frames(&mut message, &mut cx);
        assert_eq!(received(&mut connection, &mut peer, &mut cx).len(), 1);
        publish(&mut cx, "a", "x", None);
        if reads_all {
            gap(&mut cx, None, AFTER);
            received(&mut connection, &mut peer, &mut cx);
        } else {
            assert_eq!(received(&mut connection, &mut peer, &mut cx).len(), 1);
            gap(&mut cx, None, AFTER);
        }
        let subscription = connection.subscription_to(&channel("a"), &cx).unwrap();
        assert_eq!(connection.position_in(subscription, &cx).to_string(), since);
        connection.expel(subscription, "lagged", &mut cx);
        let told = received(&mut connection, &mut peer, &mut cx);
        let expected = format!(r#""data":{{"code":"lagged","since":"{since}"}}}}"#);
        assert!(told.last().unwrap().ends_with(&expected), "{told:?}");
    }
}

/// The body of the answer that a connection sends.
fn answer(connection: &mut Connection, peer: &mut std::net::TcpStream, cx: &mut Context) -> String {
    let (mut text, mut buffer) = (String::new(), [0; 4096]);
    loop {
        connection.stream.note_room();
        assert_ne!(connection.flush(cx), Next::Drop);
        while let Ok(len @ 1..) = peer.read(&mut buffer) {
            text.push_str(std::str::from_utf8(&buffer[..len]).unwrap());
        }
        if let Some((_, body)) = text.split_once("\r\n\r\n").filter(|(_, body)| body.ends_with('\n')) {
            return body.trim_end().to_owned();
        }
    }
}

/// A poll that waits while publications `x`, a gap and `y` arrive in one turn, then another from where that one ended.
fn polled_twice(path: impl Fn(&str) -> String) -> [String; 2] {
    let mut cx = context(Config::default());
    cx.shared.broker.begin(&channel("a"), PublicationId { epoch: 0xe, sequence: 0 }, cx.now);
    let (mut connection, mut peer) = opened(&path("e-0"), "", &mut cx);
    publish(&mut cx, "a", "x", None);
    gap(&mut cx, None, AFTER);
    publish(&mut cx, "a", "y", None);
    let first = answer(&mut connection, &mut peer, &mut cx);
    let (mut connection, mut peer) = opened(&path("e-1"), "", &mut cx);
    [first, answer(&mut connection, &mut peer, &mut cx)]
}

#[test]
fn a_poll_that_gets_publications_on_both_sides_of_a_gap_is_given_the_first_and_the_next_one_the_rest() {
    assert_eq!(
        polled_twice(|since| format!("/channels/a?since={since}&wait=20")),
        [
            r#"{"messages":[{"id":"e-1","data":"x"}],"next":"e-1"}"#,
            r#"{"gap":{"missed":null},"messages":[{"id":"f-41","data":"y"}],"next":"f-41"}"#
        ]
    );
    assert_eq!(
        polled_twice(|since| format!("/channels?channel=a&since={since}&wait=20")),
        [
            r#"{"messages":[{"channel":"a","id":"e-1","data":"x"}],"next":{"a":"e-1"}}"#,
            r#"{"messages":[{"channel":"a","id":"f-41","data":"y"}],"next":{"a":"f-41"},"gap":{"a":{"missed":null}}}"#
        ]
    );
}

#[test]
fn a_poll_that_gets_a_gap_first_is_given_it_with_what_follows() {
    for missed in [Some(3), None] {
        let mut cx = context(Config::default());
        cx.shared.broker.begin(&channel("a"), PublicationId { epoch: 0xe, sequence: 0 }, cx.now);
        let (mut connection, mut peer) = opened("/channels/a?since=e-0&wait=20", "", &mut cx);
        gap(&mut cx, missed, PublicationId { epoch: 0xe, sequence: 3 });
        publish(&mut cx, "a", "y", None);
        let missed = missed.map_or("null".to_owned(), |missed| missed.to_string());
        assert_eq!(
            answer(&mut connection, &mut peer, &mut cx),
            format!(r#"{{"gap":{{"missed":{missed}}},"messages":[{{"id":"e-4","data":"y"}}],"next":"e-4"}}"#)
        );
    }
}

#[test]
fn a_subscriber_whose_replay_is_not_sent_yet_goes_on_in_it_though_a_gap_has_come_after_it() {
    let mut cx = context(Config::default());
    cx.shared.broker.begin(&channel("a"), PublicationId { epoch: 0xe, sequence: 0 }, cx.now);
    publish(&mut cx, "a", &"x".repeat(100_000), None);
    publish(&mut cx, "a", "z", None);
    let (connection, _peer) =
        opened("/channels?channel=a&since=e-0", "Accept: text/event-stream\r\n", &mut cx);
    gap(&mut cx, None, AFTER);
    let subscription = connection.subscription_to(&channel("a"), &cx).unwrap();
    assert_eq!(connection.position_in(subscription, &cx).to_string(), "e-0");
}
