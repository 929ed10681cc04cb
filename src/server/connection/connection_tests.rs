//! Connections over real sockets with small kernel buffers, without an event loop.

use std::io::Read;
use std::sync::Arc;

use mio::net::TcpStream;
use mio::{Poll, Token};

use super::context::Context;
use super::outbox::OUTBOX_HIGH;
use super::stream::Stream;
use super::timeouts::Due;
use super::*;
use crate::backend::Action;
use crate::config::{AuthRule, Config, Glob, LagPolicy};
use crate::hub::{ChannelName, Owner, Position, WireForm};
use crate::server::api::acceptance::Joining;
use crate::server::api::routes::Door;
use crate::server::broker::Broker;
use crate::server::broker::answer::Waiter;
use crate::server::broker::draft::{Draft, Excluded};
use crate::server::broker::engine::Engine;
use crate::server::broker::mailbox::mailboxes;
use crate::server::broker::presence::Present;
use crate::server::broker::retention::Retention;
use crate::server::handlers::judge::{Judge, Verdict};
use crate::server::handlers::program::Program;
use crate::server::handlers::request::Request;
use crate::server::outbound::Trust;
use crate::server::shared::Shared;
use crate::ws::{Opcode, encode_masked_frame};

#[test]
fn a_connection_at_rest_is_small() {
    // 10,000 of them: the aim is 410 bytes each with everything else that they own. In a debug build mio's socket knows
    // more than its descriptor.
    let of_debug_build = size_of::<Stream>().saturating_sub(8);
    let size = size_of::<Connection>() - of_debug_build;
    assert!(size <= 208, "{size}");
}

/// The context of a connection of a server with one loop.
pub fn context(config: Config) -> Context {
    let poll = Poll::new().unwrap();
    let mailboxes = mailboxes(std::slice::from_ref(&poll), Token(0)).unwrap();
    let broker = Broker::new(mailboxes, 0, Retention::new(&config), Engine::Local);
    Context::new(0, Arc::new(Shared::new(config, broker, 10, &Trust::default())))
}

/// A connection whose socket has small kernel buffers, and the peer's end of it.
pub fn narrow() -> (Connection, std::net::TcpStream) {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let peer = std::net::TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let (socket, _) = listener.accept().unwrap();
    socket.set_nonblocking(true).unwrap();
    socket.set_nodelay(true).unwrap();
    peer.set_nonblocking(true).unwrap();
    socket2::SockRef::from(&socket).set_send_buffer_size(8 * 1024).unwrap();
    let stream = Stream::new(TcpStream::from_std(socket));
    (Connection::new(stream, Millis(0), Door::Public), peer)
}

#[test]
fn answers_to_a_peer_that_reads_slowly_but_steadily_take_no_more_room_the_longer_it_asks() {
    const ANSWER_LEN: usize = 200;
    const TOTAL: usize = 4 * 1024 * 1024;
    let (mut connection, mut peer) = narrow();
    let mut cx = context(Config::default());
    let (mut taken, mut drained) = (vec![0; 4096], 0);
    for round in 0.. {
        while !connection.outbox.is_high() {
            connection.outbox.tail().extend_from_slice(&[round as u8; ANSWER_LEN]);
        }
        connection.stream.note_room();
        assert_ne!(connection.flush(&mut cx), Next::Drop);
        drained += usize::from(connection.outbox.is_empty());
        let held = connection.private_len();
        assert!(held >= connection.outbox.unsent().len());
        let sent = cx.counters.bytes_sent;
        assert!(held <= 4 * OUTBOX_HIGH, "{held} bytes are held after {sent} were sent");
        if sent >= TOTAL as u64 {
            break;
        }
        // Whether bytes have arrived yet does not matter.
        let _ = peer.read(&mut taken);
    }
    assert_eq!(drained, 0, "or this says nothing");
}

#[test]
fn an_answer_has_its_time_from_when_the_socket_took_no_more_however_long_the_turn_took_to_write_it() {
    let mut cx = context(Config::default());
    let (mut connection, _peer) = narrow();
    connection.outbox.tail().extend_from_slice(&[0; 1024 * 1024]);
    cx.now = Millis(100);
    connection.finish(&mut cx);
    cx.now = Millis(10_000);
    assert_eq!(connection.flush(&mut cx), Next::Wait);
    assert_eq!(connection.deadline(&cx), Millis(40_000), "--idle-timeout is 30 s");
    assert!(!connection.is_excused(Due::Drop), "the socket has no room");
    // The edge that announces room came while the loop was busy: the write comes before the deadline.
    connection.stream.note_room();
    assert!(connection.is_excused(Due::Drop));
}

#[test]
fn a_request_counts_with_the_room_it_takes() {
    let config = Config::default();
    let mut cx = context(config);
    let (mut connection, _peer) = narrow();
    let _ = connection.receive_requests(
        b"POST /channels/a HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5000\r\n\r\n",
        &mut cx,
    );
    for _ in 0..3 {
        let _ = connection.receive_requests(&[b'x'; 1500], &mut cx);
    }
    assert_eq!(connection.private_len(), 5000, "all of it, of which the first piece is near a third");
}

// ---- Several subscriptions ----

pub fn channel(name: &str) -> ChannelName {
    ChannelName::new(name).unwrap()
}

/// An open WebSocket that reads these channels, each under the policy that the configuration gives it.
fn subscriber(cx: &mut Context, channels: &[&str]) -> (Connection, std::net::TcpStream) {
    let (mut connection, peer) = narrow();
    let key = "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13";
    let request = format!(
        "GET /channels/{} HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n{key}\r\n\r\n",
        channels[0]
    );
    let _ = connection.receive_requests(request.as_bytes(), cx);
    connection.outbox = Outbox::default();
    for name in &channels[1..] {
        join(&mut connection, name, cx);
    }
    (connection, peer)
}

fn join(connection: &mut Connection, name: &str, cx: &mut Context) {
    join_from(connection, name, Position::Now, cx);
}

/// Joins a channel as one that comes back.
pub fn join_from(connection: &mut Connection, name: &str, position: Position, cx: &mut Context) {
    let joining = Joining { channel: channel(name), form: WireForm::WebSocket, position, announces: false };
    let joined = joining::join(&joining, Present::default(), cx);
    connection.begin(joined, &cx.hub);
}

/// Flushes as the flush phase does: the logs with something new have been noted.
pub fn flush(connection: &mut Connection, cx: &mut Context) -> Next {
    note_unread(connection, cx);
    let next = connection.flush(cx);
    assert!(connection.is_sound(&cx.hub));
    next
}

fn note_unread(connection: &mut Connection, cx: &mut Context) {
    let all: Vec<_> = connection.subscriptions.entries().iter().map(|entry| entry.subscription).collect();
    for subscription in all.into_iter().filter(|&one| cx.hub.lag(one) > 0).collect::<Vec<_>>() {
        let _ = connection.note_unread(subscription, cx.hub.hint(subscription), &mut cx.hub);
    }
    assert!(connection.is_sound(&cx.hub));
}

pub fn publish(cx: &mut Context, name: &str, text: &str, excluded: Option<Owner>) {
    let excluded = excluded.map_or(Excluded::Nobody, Excluded::Owner);
    let draft = Draft { excluded, ..Draft::text(name, text).unwrap() };
    let _ = cx.shared.broker.publish(draft, Waiter::Nobody, cx.now);
    cx.apply(usize::MAX);
}

/// Flushes until the peer has everything, and returns the payloads of its frames: texts, or the code of a Close frame.
pub fn received(
    connection: &mut Connection,
    peer: &mut std::net::TcpStream,
    cx: &mut Context,
) -> Vec<String> {
    let (mut bytes, mut buffer) = (Vec::new(), vec![0; 64 * 1024]);
    loop {
        connection.stream.note_room();
        assert_ne!(flush(connection, cx), Next::Drop);
        let mut has_come = false;
        // Loopback delivers during the write; the pause is for a kernel that does not.
        while let Ok(len @ 1..) = peer.read(&mut buffer) {
            bytes.extend_from_slice(&buffer[..len]);
            has_come = true;
        }
        let is_sent =
            connection.outbox.is_empty() && connection.lag(cx) == 0 && !connection.subscriptions.has_replay();
        if is_sent && !has_come {
            return texts(&bytes);
        }
    }
}

pub fn texts(mut bytes: &[u8]) -> Vec<String> {
    let mut texts = Vec::new();
    while let [first, len, rest @ ..] = bytes {
        let (len, rest) = match len {
            126 => (usize::from(u16::from_be_bytes([rest[0], rest[1]])), &rest[2..]),
            127 => (u64::from_be_bytes(rest[..8].try_into().unwrap()) as usize, &rest[8..]),
            len => (usize::from(*len), rest),
        };
        let payload = &rest[..len];
        texts.push(match first {
            0x81 => String::from_utf8(payload.to_vec()).unwrap(),
            0x88 => u16::from_be_bytes([payload[0], payload[1]]).to_string(),
            other => panic!("frame {other:#x} after {texts:?}"),
        });
        bytes = &rest[len..];
    }
    texts
}

/// The texts of one channel: those that begin with its name.
fn of<'a>(texts: &'a [String], name: &str) -> Vec<&'a str> {
    texts.iter().filter(|text| text.starts_with(name)).map(String::as_str).collect()
}

#[test]
fn what_is_published_to_several_channels_in_a_turn_leaves_in_one_write_each_channel_in_order() {
    let mut cx = context(Config::default());
    let (mut connection, mut peer) = subscriber(&mut cx, &["a", "b", "c"]);
    for number in 0..3 {
        for name in ["a", "b", "c"] {
            publish(&mut cx, name, &format!("{name}{number}"), None);
        }
    }
    let all: Vec<_> = connection.subscriptions.entries().iter().map(|entry| entry.subscription).collect();
    let queued = all.iter().map(|&one| connection.note_unread(one, cx.hub.hint(one), &mut cx.hub));
    assert_eq!(queued.collect::<Vec<_>>(), [Some(true), Some(false), Some(false)], "once a turn");
    let before = cx.counters.bytes_sent;
    assert_eq!(flush(&mut connection, &mut cx), Next::Wait);
    assert_eq!(cx.counters.bytes_sent - before, 9 * 4, "all of it");
    let texts = received(&mut connection, &mut peer, &mut cx);
    for name in ["a", "b", "c"] {
        assert_eq!(of(&texts, name), [0, 1, 2].map(|number| format!("{name}{number}")));
    }
    assert_eq!(texts.len(), 9);
}

#[test]
fn a_frame_that_is_cut_by_a_full_socket_is_finished_before_another_channel_or_a_pong_goes_on() {
    let mut cx = context(Config::default());
    let (mut connection, mut peer) = subscriber(&mut cx, &["a", "b"]);
    let (long, text) = ("x".repeat(900_000), |name: &str, at: usize, long: &str| format!("{name}{at}{long}"));
    for at in 0..2 {
        publish(&mut cx, "a", &text("a", at, &long), None);
        publish(&mut cx, "b", &text("b", at, &long), None);
    }
    assert_eq!(flush(&mut connection, &mut cx), Next::Wait);
    assert!(!connection.stream.is_writable(), "or this says nothing");
    let Subscriptions::Several(several) = &connection.subscriptions else { unreachable!("there are two") };
    assert!(several.started().is_some());
    // Private bytes go between frames, and more is published in the meantime.
    crate::ws::encode_frame(connection.outbox.tail(), crate::ws::Opcode::Text, b"private");
    publish(&mut cx, "b", "b2", None);
    let texts = received(&mut connection, &mut peer, &mut cx);
    let lens: Vec<_> = texts.iter().map(|text| (text[..2].to_owned(), text.len())).collect();
    assert_eq!(of(&texts, "a").len(), 2, "{lens:?}");
    assert_eq!(
        of(&texts, "b").iter().map(|text| &text[..2]).collect::<Vec<_>>(),
        ["b0", "b1", "b2"],
        "{lens:?}"
    );
    assert_eq!(texts.iter().position(|text| text == "private"), Some(1), "after the started frame: {lens:?}");
}

#[test]
fn leaving_one_of_several_channels_finishes_its_started_frame_and_sends_nothing_more_of_it() {
    let mut cx = context(Config::default());
    let (mut connection, mut peer) = subscriber(&mut cx, &["a", "b"]);
    let long = "x".repeat(1_000_000);
    for at in 0..3 {
        publish(&mut cx, "a", &format!("a{at}{long}"), None);
    }
    assert_eq!(flush(&mut connection, &mut cx), Next::Wait);
    let left = connection.subscriptions.entries()[0].subscription;
    assert!(!cx.hub.started(left).is_empty(), "or this says nothing");
    assert!(connection.detach(left, &mut cx));
    cx.unsubscribe(left);
    publish(&mut cx, "a", "a9", None);
    publish(&mut cx, "b", "b0", None);
    let texts = received(&mut connection, &mut peer, &mut cx);
    let last_of_a = of(&texts, "a").len() - 1;
    assert!(of(&texts, "a").iter().enumerate().all(|(at, text)| **text == format!("a{at}{long}")));
    assert!(last_of_a < 2, "the rest is not sent");
    assert_eq!(of(&texts, "b"), ["b0"]);
    assert_eq!(cx.shared.broker.subscribers_len("a"), Some(0));
}

#[test]
fn lag_is_the_sum_over_all_channels_and_each_meets_its_own_policy() {
    let policies =
        vec![("skip*".parse().unwrap(), LagPolicy::Skip), ("latest*".parse().unwrap(), LagPolicy::Latest)];
    let config = Config {
        max_lag: 1_000_000,
        lag_grace: std::time::Duration::from_secs(1),
        lag_policy: policies,
        ..Config::default()
    };
    let mut cx = context(config);
    let (mut connection, mut peer) = subscriber(&mut cx, &["skip", "latest", "close"]);
    let long = "x".repeat(200_000);
    for at in 0..10 {
        publish(&mut cx, "skip", &format!("skip{at}{long}"), None);
        publish(&mut cx, "latest", &format!("latest{at}{long}"), None);
    }
    publish(&mut cx, "close", "close0", None);
    for now in [0, 1000] {
        cx.now = Millis(now);
        assert_eq!(flush(&mut connection, &mut cx), Next::Wait);
    }
    let texts = received(&mut connection, &mut peer, &mut cx);
    assert_eq!(of(&texts, "close"), ["close0"], "what may be passed over is: it stays");
    for name in ["skip", "latest"] {
        let of_channel = of(&texts, name);
        assert!(of_channel.len() < 10 && of_channel.last().unwrap().starts_with(&format!("{name}9")));
    }
    assert_eq!(cx.counters.lagged, [0, 1, 1]);
}

#[test]
fn a_connection_that_lags_in_a_channel_under_close_is_closed_with_1013_for_all_of_its_channels() {
    let config =
        Config { max_lag: 1_000_000, lag_grace: std::time::Duration::from_secs(1), ..Config::default() };
    let mut cx = context(config);
    let (mut connection, mut peer) = subscriber(&mut cx, &["a", "b"]);
    let long = "x".repeat(300_000);
    for at in 0..5 {
        publish(&mut cx, "a", &format!("a{at}{long}"), None);
        publish(&mut cx, "b", &format!("b{at}{long}"), None);
    }
    for now in [0, 1000] {
        cx.now = Millis(now);
        assert_eq!(flush(&mut connection, &mut cx), Next::Wait);
    }
    let texts = received(&mut connection, &mut peer, &mut cx);
    assert_eq!(texts.last().map(String::as_str), Some("1013"));
    assert_eq!((cx.counters.lagged, connection.subscriptions.is_empty()), ([1, 0, 0], true));
    assert_eq!(["a", "b"].map(|name| cx.shared.broker.subscribers_len(name)), [Some(0); 2]);
}

#[test]
fn a_replay_of_one_channel_goes_ahead_of_its_log_and_holds_up_no_other() {
    let config = Config { history_bytes: vec![("*".parse().unwrap(), 1 << 22)], ..Config::default() };
    let mut cx = context(config);
    let (mut connection, mut peer) = subscriber(&mut cx, &["b"]);
    let long = "x".repeat(30_000);
    (0..20).for_each(|at| publish(&mut cx, "a", &format!("a{at:02}{long}"), None));
    join_from(&mut connection, "a", Position::Last(20), &mut cx);
    publish(&mut cx, "a", "a20", None);
    publish(&mut cx, "b", "b0", None);
    let texts = received(&mut connection, &mut peer, &mut cx);
    let order: Vec<_> = of(&texts, "a").iter().map(|text| text[1..3].parse::<usize>().unwrap()).collect();
    assert_eq!(order, (0..=20).collect::<Vec<_>>());
    assert!(texts.iter().position(|text| text == "b0").unwrap() < texts.len() - 1);
}

#[test]
fn the_sender_that_a_publication_excludes_steps_over_it_caught_up_or_not_and_nobody_else_does() {
    for channels in [&["a"][..], &["a", "b"]] {
        let mut cx = context(Config::default());
        cx.owner = 7;
        let (mut sender, mut senders_peer) = subscriber(&mut cx, channels);
        cx.owner = 8;
        let (mut other, mut others_peer) = subscriber(&mut cx, channels);
        let this = |number| Some(Owner { hub: 0, number });
        publish(&mut cx, "a", "a0", this(7));
        publish(&mut cx, "a", "a1", None);
        publish(&mut cx, "a", "a2", this(7));
        publish(&mut cx, "a", "a3", this(7));
        publish(&mut cx, "a", "a4", None);
        publish(&mut cx, "a", "a5", this(9));
        publish(&mut cx, "a", "a6", Some(Owner { hub: 1, number: 7 }));
        publish(&mut cx, "a", "a7", this(7));
        assert_eq!(received(&mut sender, &mut senders_peer, &mut cx), ["a1", "a4", "a5", "a6"]);
        let all = ["a0", "a1", "a2", "a3", "a4", "a5", "a6", "a7"];
        assert_eq!(received(&mut other, &mut others_peer, &mut cx), all);
        // One form, two subscribers: every frame but those that exclude the sender.
        assert_eq!(cx.hub.deliveries().iter().sum::<u64>(), 12);
        sender.leave_channels(&mut cx);
        other.leave_channels(&mut cx);
        assert_eq!((cx.hub.log_bytes(), cx.hub.channels_len()), (0, 0));
    }
}

#[test]
fn a_subscriber_with_one_publication_to_read_does_not_make_a_log_grow_by_what_excludes_it() {
    for (policy, lagged) in
        [(LagPolicy::Close, [1, 0, 0]), (LagPolicy::Skip, [0, 1, 0]), (LagPolicy::Latest, [0, 0, 1])]
    {
        for channels in [&["a"][..], &["a", "b"]] {
            let mut cx = context(Config {
                max_lag: 100_000,
                lag_grace: std::time::Duration::from_secs(1),
                lag_policy: vec![("*".parse().unwrap(), policy)],
                ..Config::default()
            });
            cx.owner = 7;
            let (mut sender, mut senders_peer) = subscriber(&mut cx, channels);
            cx.owner = 8;
            let (mut other, mut others_peer) = subscriber(&mut cx, &["a"]);
            crate::ws::encode_frame(sender.outbox.tail(), crate::ws::Opcode::Text, &vec![b'p'; 1_000_000]);
            assert_eq!(flush(&mut sender, &mut cx), Next::Wait);
            assert!(!sender.outbox.is_empty() && !sender.stream.is_writable(), "or this says nothing");
            publish(&mut cx, "a", "a0", None);
            let long = "x".repeat(20_000);
            for at in 1..=12 {
                cx.now = Millis(at * 200);
                publish(&mut cx, "a", &format!("a{at}{long}"), Some(Owner { hub: 0, number: 7 }));
                assert_eq!(flush(&mut sender, &mut cx), Next::Wait);
                assert_eq!(
                    received(&mut other, &mut others_peer, &mut cx).len(),
                    if at == 1 { 2 } else { 1 }
                );
            }
            assert_eq!(cx.hub.log_bytes(), 0, "{policy:?} {channels:?}: nothing is kept for the sender");
            assert_eq!(cx.counters.lagged, lagged, "{channels:?}");
            if policy != LagPolicy::Close {
                publish(&mut cx, "a", "a13", None);
                let texts = received(&mut sender, &mut senders_peer, &mut cx);
                assert_eq!(of(&texts, "a"), ["a13"], "it goes on with what comes then");
            }
        }
    }
}

#[test]
fn one_write_of_several_channels_steps_over_what_excludes_the_connection() {
    let mut cx = context(Config::default());
    cx.owner = 7;
    let (mut sender, mut senders_peer) = subscriber(&mut cx, &["a", "b"]);
    cx.owner = 8;
    let (_other, _others_peer) = subscriber(&mut cx, &["a", "b"]);
    for at in 0..10 {
        for name in ["a", "b"] {
            publish(&mut cx, name, &format!("{name}{at}"), None);
            publish(&mut cx, name, "own", Some(Owner { hub: 0, number: 7 }));
        }
    }
    note_unread(&mut sender, &mut cx);
    assert!(!sender.write_once(&mut cx).unwrap());
    assert_eq!((cx.counters.bytes_sent, sender.lag(&cx)), (20 * 4, 0), "20 runs");
    let texts = received(&mut sender, &mut senders_peer, &mut cx);
    for name in ["a", "b"] {
        assert_eq!(of(&texts, name), (0..10).map(|at| format!("{name}{at}")).collect::<Vec<_>>());
    }
    assert_eq!(texts.len(), 20);
}

#[test]
fn whatever_a_full_socket_cuts_a_connection_gets_each_channel_whole_but_for_what_excludes_it() {
    let mut cx = context(Config { max_lag: 1 << 24, ..Config::default() });
    cx.owner = 7;
    let (mut sender, mut senders_peer) = subscriber(&mut cx, &["a", "b", "c"]);
    cx.owner = 8;
    let (_other, _others_peer) = subscriber(&mut cx, &["a", "b", "c"]);
    // Of many lengths, and more runs than fit in a write.
    let text = |name: &str, at: usize| format!("{name}{at}{}", "x".repeat(at * at * 97 % 20_011));
    for at in 0..100 {
        for name in ["a", "b", "c"] {
            publish(&mut cx, name, &text(name, at), None);
            publish(&mut cx, name, &text("own", at), Some(Owner { hub: 0, number: 7 }));
        }
        if at % 10 == 0 {
            crate::ws::encode_frame(sender.outbox.tail(), crate::ws::Opcode::Text, b"private");
            assert_eq!(flush(&mut sender, &mut cx), Next::Wait);
        }
    }
    assert!(!sender.stream.is_writable(), "or this says nothing");
    let texts = received(&mut sender, &mut senders_peer, &mut cx);
    for name in ["a", "b", "c"] {
        assert!(of(&texts, name).into_iter().eq((0..100).map(|at| text(name, at))), "{name}");
    }
    assert_eq!((of(&texts, "private").len(), texts.len()), (10, 310));
}

/// Whose rules ask the program, which keeps its replies for ever.
fn undecided() -> (Context, Connection, std::net::TcpStream) {
    let auth = vec![(Glob::new("*"), AuthRule::Hook)];
    let mut cx = context(Config { auth, ..Config::default() });
    let decide = |_: &Request<'_>, _: Action, _: &ChannelName| Verdict::later(std::mem::forget);
    let mut program = Program::new(cx.program.handle.clone(), Config::WORKERS);
    program.judge = Some(Judge::new(Box::new(decide)));
    cx.program = Arc::new(program);
    let (connection, peer) = narrow();
    (cx, connection, peer)
}

#[test]
fn a_request_waits_30_s_for_the_verdict_of_a_program_and_is_unavailable_then() {
    let (mut cx, mut connection, _peer) = undecided();
    cx.now = Millis(1_000);
    let _ = connection.receive_requests(b"GET /channels/a HTTP/1.1\r\nHost: localhost\r\n\r\n", &mut cx);
    assert!(connection.outbox.is_empty());
    assert_eq!(connection.deadline(&cx).min(Millis(31_000)), connection.deadline(&cx));
    cx.now = Millis(30_999);
    assert_ne!(connection.due(&cx), Some(Due::Verdict));
    cx.now = Millis(31_000);
    assert_eq!(connection.due(&cx), Some(Due::Verdict));
    assert!(!connection.is_excused(Due::Verdict));
    assert_eq!(connection.expire(Due::Verdict, &mut cx), Next::Read);
    let answer = String::from_utf8(connection.outbox.unsent().to_vec()).unwrap();
    assert!(answer.starts_with("HTTP/1.1 503 ") && answer.contains("did not answer; try again"), "{answer}");
    assert_ne!(connection.due(&cx), Some(Due::Verdict), "once");
}

#[test]
fn a_command_waits_30_s_for_the_verdict_of_a_program_and_the_next_one_for_its_own() {
    let (mut cx, mut connection, _peer) = undecided();
    let upgrade = "GET /channels HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
                   Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\
                   Sec-WebSocket-Protocol: fanfare.v1.json\r\n\r\n";
    let mut bytes = upgrade.as_bytes().to_vec();
    for number in 1..=2 {
        let command = format!(r#"{{"event":"fanfare:subscribe","ref":{number},"data":[{{"channel":"a"}}]}}"#);
        encode_masked_frame(&mut bytes, true, Opcode::Text, [1; 4], command.as_bytes());
    }
    let _ = connection.receive_requests(&bytes, &mut cx);
    let answers = |connection: &Connection| {
        String::from_utf8_lossy(connection.outbox.unsent()).matches("unavailable").count()
    };
    assert_eq!(answers(&connection), 0);
    cx.now = Millis(29_999);
    assert_eq!(connection.due(&cx), None, "it has asked for something in time");
    cx.now = Millis(30_000);
    assert_eq!(connection.due(&cx), Some(Due::Verdict));
    assert_eq!(connection.expire(Due::Verdict, &mut cx), Next::Read);
    assert_eq!(answers(&connection), 1);
}
