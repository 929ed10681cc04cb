//! The HTTP transports of the Pusher protocol, over raw sockets: what opens, carries, fills, closes and ends a session.

mod support;

use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::thread;
use std::time::{Duration, Instant};

use fanfare::config::Config;
use fanfare::pusher::App;
use fanfare::server::Draft;
use serde_json::{Value, json};
use socket2::SockRef;
use support::pusher::{Pusher, sign};
use support::pusher_http::{Page, Session, messages};
use support::*;

fn ping() -> Value {
    json!({"event": "pusher:ping", "data": {}})
}

fn pong() -> Value {
    json!({"event": "pusher:pong", "data": "{}"})
}

fn event_of(message: &Value) -> &str {
    message["event"].as_str().expect("an event has a name")
}

/// A session that is polled and open.
fn polled(address: SocketAddr) -> (Session, support::pusher_http::Polls) {
    let session = Session::new(address);
    let mut polls = session.polls();
    assert_eq!(polls.poll(), "o{}\n");
    let established = messages(&polls.poll());
    assert_eq!(event_of(&established[0]), "pusher:connection_established");
    (session, polls)
}

#[test]
fn a_session_that_is_polled_is_opened_once_by_the_first_poll_alone() {
    let server = start(config());
    let session = Session::new(server.address);
    let mut polls = session.polls();
    assert_eq!(polls.poll(), "o{}\n");
    let established = messages(&polls.poll());
    assert_eq!(established.len(), 1);
    assert_eq!(event_of(&established[0]), "pusher:connection_established");
    for _ in 0..3 {
        polls.ask();
        assert_eq!(session.post(&[ping()]), 204);
        assert_eq!(messages(&polls.answer()), [pong()]);
    }
}

#[test]
fn a_session_that_is_streamed_is_opened_once_after_2_kib_of_prelude() {
    let server = start(config());
    let session = Session::new(server.address);
    let mut stream = session.stream().opened();
    assert_eq!(event_of(&messages(&stream.line().unwrap())[0]), "pusher:connection_established");
    drop(stream);
    let mut stream = session.stream();
    stream.begun();
    assert_eq!(session.post(&[ping()]), 204);
    assert_eq!(messages(&stream.line().unwrap()), [pong()], "and no second frame that opens");
}

#[test]
fn the_head_of_a_stream_forbids_to_collect_change_or_guess_it_and_announces_no_length() {
    let server = start(config());
    let head = Session::new(server.address).stream().head;
    assert!(head.starts_with("HTTP/1.1 200 OK\r\n"), "{head}");
    for field in [
        "Connection: close",
        "Cache-Control: no-store, no-transform",
        "X-Content-Type-Options: nosniff",
        "X-Accel-Buffering: no",
        "Content-Type: text/plain; charset=utf-8",
    ] {
        assert!(head.contains(&format!("\r\n{field}\r\n")), "{field}: {head}");
    }
    for field in ["Content-Length", "Transfer-Encoding", "Content-Encoding"] {
        assert!(!head.contains(field), "{field}: {head}");
    }
}

#[test]
fn a_post_to_a_session_that_is_not_there_is_not_found_and_its_connection_goes_on() {
    let server = start(config());
    let mut socket = connect(server.address);
    let stranger = Session::new(server.address);
    for _ in 0..2 {
        let answer = stranger.post_on(&mut socket, &[ping()]);
        assert_eq!(answer.status, 404, "{answer:?}");
    }
    let (session, mut polls) = polled(server.address);
    polls.ask();
    assert_eq!(session.post_on(&mut socket, &[ping()]).status, 204);
    assert_eq!(messages(&polls.answer()), [pong()]);
}

#[test]
fn a_poll_is_answered_with_all_that_has_come_since_the_last_one() {
    let server = start(config());
    let (session, mut polls) = polled(server.address);
    let mut socket = connect(server.address);
    for _ in 0..3 {
        assert_eq!(session.post_on(&mut socket, &[ping(), ping()]).status, 204);
    }
    assert_eq!(messages(&polls.poll()), [pong(), pong(), pong(), pong(), pong(), pong()]);
}

#[test]
fn a_sign_of_life_is_answered_with_no_messages_and_10_000_of_them_are_no_loop() {
    const COUNT: usize = 10_000;
    let server = start(config());
    let page = Page::connect(server.address);
    let (session, mut stream) = (page.session, page.stream);
    let posting = thread::spawn(move || {
        let mut socket = connect(server.address);
        for _ in 0..COUNT {
            assert_eq!(session.post_body(&mut socket, "[]").status, 204);
        }
        assert_eq!(session.post_on(&mut socket, &[ping()]).status, 204);
        server
    });
    let mut answers = 0;
    loop {
        let line = stream.line().unwrap();
        if line != "a[]" {
            assert_eq!(messages(&line), [pong()], "never h, which would be answered with the next post");
            break;
        }
        answers += 1;
    }
    assert!((1..=COUNT).contains(&answers), "{answers}");
    posting.join().unwrap();
}

#[test]
fn a_sign_of_life_answers_a_waiting_poll() {
    let server = start(config());
    let (session, mut polls) = polled(server.address);
    polls.ask();
    assert_eq!(session.post(&[]), 204);
    assert_eq!(polls.answer(), "a[]\n");
}

/// A server that closes no client for being slow, however slow this machine is.
fn with_room() -> Config {
    Config { max_lag: 64 * 1024 * 1024, ..config() }
}

/// Publishes this many numbered texts of that length to `prices`, by a thread of its own.
fn publish_numbered(server: Running, count: usize, len: usize) -> thread::JoinHandle<Running> {
    thread::spawn(move || {
        for number in 0..count {
            let text = format!("{number:06}{}", "é\"x".repeat(len / 3));
            publish_draft(&server.handle, &Draft::text("prices", text).expect("a text of any length"));
        }
        server
    })
}

/// Reads that many numbered texts in order: how many streams that took.
fn read_numbered(mut page: Page, count: usize) -> usize {
    for number in 0..count {
        let message = page.next();
        let data = message["data"].as_str().unwrap_or_default();
        assert_eq!(data.get(..6), Some(&*format!("{number:06}")), "{message}");
    }
    page.streams
}

#[test]
fn of_60_long_messages_none_is_lost_when_the_client_goes_from_stream_to_stream() {
    let server = start(with_room());
    let mut page = Page::connect(server.address);
    page.subscribe("prices");
    let publishing = publish_numbered(server, 60, 15_000);
    assert!(read_numbered(page, 60) > 5);
    publishing.join().unwrap();
}

#[test]
fn of_5000_messages_none_is_lost_by_several_clients_on_two_loops() {
    let server = start(with_room());
    let pages: Vec<_> = (0..4)
        .map(|_| {
            let mut page = Page::connect(server.address);
            page.subscribe("prices");
            page
        })
        .collect();
    let reading: Vec<_> =
        pages.into_iter().map(|page| thread::spawn(move || read_numbered(page, 5000))).collect();
    let publishing = publish_numbered(server, 5000, 200);
    for reader in reading {
        assert!(reader.join().unwrap() > 5);
    }
    publishing.join().unwrap();
}

#[test]
fn of_5000_messages_none_is_lost_by_a_client_that_polls() {
    let server = start(with_room());
    let (session, mut polls) = polled(server.address);
    let subscribe = json!({"event": "pusher:subscribe", "data": {"channel": "prices", "auth": ""}});
    assert_eq!(session.post(&[subscribe]), 204);
    let publishing = publish_numbered(server, 5000, 200);
    let (mut numbers, mut polled) = (0, 0);
    while numbers < 5000 {
        for message in messages(&polls.poll()) {
            if event_of(&message) != "pusher_internal:subscription_succeeded" {
                let data = message["data"].as_str().unwrap();
                assert_eq!(data.get(..6), Some(&*format!("{numbers:06}")));
                numbers += 1;
            }
        }
        polled += 1;
    }
    assert!(polled > 5, "an answer is bounded");
    publishing.join().unwrap();
}

#[test]
fn a_full_stream_says_nothing_more_and_what_comes_waits_for_the_next() {
    let server = start(config());
    let mut page = Page::connect(server.address);
    page.subscribe("prices");
    for number in 0..40 {
        let text = format!("{number:06}{}", "x".repeat(10_000));
        publish_draft(&server.handle, &Draft::text("prices", text).unwrap());
    }
    let mut lines = 0;
    while page.stream.units <= support::pusher_http::STREAM_UNITS_MAX {
        page.stream.line().unwrap();
        lines += 1;
    }
    assert_eq!(page.session.post(&[ping()]), 204);
    assert!(!page.stream.has_more(), "{} units", page.stream.units);
    let mut next = page.session.stream();
    next.begun();
    assert_eq!(page.stream.rest(), "", "the full one ends");
    let mut received = Vec::new();
    while received.len() < 41 - lines {
        received.extend(messages(&next.line().unwrap()));
    }
    assert!(received.contains(&pong()));
    assert_eq!(received.iter().filter(|message| event_of(message) == "message").count(), 40 - lines);
}

#[test]
fn a_second_request_is_told_that_another_is_open_and_the_first_goes_on() {
    const REFUSED: &str = "c[2010,\"Another connection still open\"]\n";
    let server = start(config());
    let mut page = Page::connect(server.address);
    assert_eq!(page.session.polls().poll(), REFUSED);
    let mut second = page.session.stream();
    second.begun();
    assert_eq!(second.rest(), REFUSED);
    page.send("pusher:ping", json!({}));
    assert_eq!(page.next(), pong());

    let (session, mut polls) = polled(server.address);
    polls.ask();
    until("the poll waits", || (session.polls().poll() == REFUSED).then_some(()));
    assert_eq!(session.post(&[ping()]), 204);
    assert_eq!(messages(&polls.answer()), [pong()]);
}

#[test]
fn a_session_without_a_request_is_gone_after_5_s_and_its_members_leave() {
    let server = start(config());
    let mut witness = Pusher::connect(server.address);
    witness.join("presence-room", "b");
    let mut page = Page::connect(server.address);
    page.join("presence-room", "a");
    assert_eq!(witness.expect("pusher_internal:member_added").1["user_id"], "a");
    let session = page.session.clone();
    let began = Instant::now();
    drop(page);
    assert_eq!(witness.expect("pusher_internal:member_removed").1["user_id"], "a");
    let took = began.elapsed();
    assert!(took >= Duration::from_millis(4900) && took < Duration::from_secs(10), "{took:?}");
    assert_eq!(session.post(&[ping()]), 404);
    // Its name may be used again, for a new session.
    let _ = session.stream().opened();
}

#[test]
fn a_session_whose_client_has_gone_with_its_last_poll_is_gone_after_5_s() {
    let server = start(config());
    let mut witness = Pusher::connect(server.address);
    witness.join("presence-room", "b");
    let session = Session::new(server.address);
    let mut polls = session.polls();
    assert_eq!(polls.poll(), "o{}\n");
    let established = messages(&polls.poll()).remove(0);
    let data: Value = serde_json::from_str(established["data"].as_str().unwrap()).unwrap();
    let socket_id = data["socket_id"].as_str().unwrap();
    let member = json!({"user_id": "a"}).to_string();
    let auth = format!("app-key:{}", sign("app-secret", &format!("{socket_id}:presence-room:{member}")));
    let asked = json!({"channel": "presence-room", "auth": auth, "channel_data": member});
    assert_eq!(session.post(&[json!({"event": "pusher:subscribe", "data": asked})]), 204);
    assert_eq!(event_of(&messages(&polls.poll())[0]), "pusher_internal:subscription_succeeded");
    assert_eq!(witness.expect("pusher_internal:member_added").1["user_id"], "a");
    // The kernel holds the request back, and sends it with the end: the server is told of both at once.
    SockRef::from(&polls.socket).set_tcp_cork(true).unwrap();
    polls.ask();
    let began = Instant::now();
    drop(polls);
    assert_eq!(witness.expect("pusher_internal:member_removed").1["user_id"], "a");
    let took = began.elapsed();
    assert!(took >= Duration::from_millis(4900) && took < Duration::from_secs(10), "{took:?}");
}

#[test]
fn a_session_that_a_request_carries_is_not_gone_after_5_s() {
    let server = start(config());
    let (session, mut polls) = polled(server.address);
    polls.ask();
    let mut page = Page::connect(server.address);
    let began = Instant::now();
    // The socket is waited on for that long: nothing comes.
    polls.socket.set_read_timeout(Some(Duration::from_millis(6500))).unwrap();
    assert!(polls.socket.peek(&mut [0]).is_err());
    assert!(began.elapsed() > Duration::from_secs(6));
    polls.socket.set_read_timeout(Some(PATIENCE)).unwrap();
    assert_eq!(session.post(&[ping()]), 204);
    assert_eq!(messages(&polls.answer()), [pong()]);
    page.send("pusher:ping", json!({}));
    assert_eq!(page.next(), pong());
}

#[test]
fn a_preflight_is_answered_for_each_request_of_a_session() {
    let server = start(Config { allow_origin: vec!["https://shop.example".into()], ..config() });
    let session = Session::new(server.address);
    for what in ["xhr_streaming", "xhr", "xhr_send"] {
        let fields = "Origin: https://shop.example\r\nAccess-Control-Request-Method: POST\r\n\
                      Access-Control-Request-Headers: content-type\r\n";
        let answer = request(server.address, "OPTIONS", &session.path(what), fields, b"");
        assert_eq!(answer.status, 204, "{answer:?}");
        let head = answer.head.to_ascii_lowercase();
        for field in [
            "access-control-allow-origin: https://shop.example\r\n",
            "access-control-allow-methods: post, options\r\n",
            "access-control-max-age: ",
        ] {
            assert!(head.contains(field), "{field}: {head}");
        }
        let fields = head.lines().find(|line| line.starts_with("access-control-allow-headers: ")).unwrap();
        assert!(fields.contains("content-type"), "{fields}");
    }
}

#[test]
fn pages_of_the_origins_of_an_app_may_use_its_sessions_and_others_not() {
    let app = App { allow_origin: vec!["https://shop.example".into()], ..App::new("1", "app-key", "s") };
    let server = start(Config { apps: vec![app], ..config() });
    for (origin, status) in [("https://shop.example", 200), ("https://other.example", 403)] {
        let session = Session::new(server.address);
        let fields = format!("Origin: {origin}\r\n");
        let answer = request(server.address, "POST", &session.path("xhr"), &fields, b"");
        assert_eq!(answer.status, status, "{answer:?}");
        let allowed = answer.head.contains(&format!("Access-Control-Allow-Origin: {origin}\r\n"));
        assert_eq!(allowed, status == 200, "{answer:?}");
    }
}

#[test]
fn a_client_of_an_unknown_app_is_told_so_after_its_session_was_opened() {
    let server = start(config());
    let session = Session::of(server.address, "nobody");
    let mut polls = session.polls();
    assert_eq!(polls.poll(), "o{}\n");
    let lines = polls.poll();
    let told = messages(&lines);
    assert_eq!((event_of(&told[0]), &told[0]["data"]["code"]), ("pusher:error", &json!(4001)));
    assert!(lines.lines().last().unwrap().starts_with("c[4001,\""), "{lines}");
    assert_eq!(session.post(&[ping()]), 404);

    let rest = Session::of(server.address, "nobody").stream().opened().rest();
    assert_eq!(messages(&rest)[0]["data"]["code"], 4001);
    assert!(rest.lines().last().unwrap().starts_with("c[4001,\""), "{rest}");
}

#[test]
fn requests_on_any_connection_reach_their_session_whatever_loop_it_is_on() {
    let server = start(Config { threads: NonZeroUsize::new(3).unwrap(), ..config() });
    let mut pages: Vec<_> = (0..6).map(|_| Page::connect(server.address)).collect();
    // Each goes from session to session, and so from loop to loop.
    let mut sockets: Vec<_> = (0..6).map(|_| connect(server.address)).collect();
    for round in 0..5 {
        for (at, page) in pages.iter_mut().enumerate() {
            let socket = &mut sockets[(at + round) % 6];
            assert_eq!(page.session.post_on(socket, &[ping()]).status, 204);
            assert_eq!(page.next(), pong());
        }
    }
}

#[test]
fn a_client_event_reaches_sessions_and_websockets_and_not_its_sender() {
    let server = start(config());
    let (mut one, mut other) = (Page::connect(server.address), Page::connect(server.address));
    let mut websocket = Pusher::connect(server.address);
    one.subscribe("private-room");
    other.subscribe("private-room");
    websocket.subscribe("private-room");
    let event = json!({"event": "client-typing", "channel": "private-room", "data": {"a": "é"}});
    assert_eq!(one.session.post(std::slice::from_ref(&event)), 204);
    assert_eq!(other.next(), event);
    assert_eq!(websocket.next(), event);
    one.send("pusher:ping", json!({}));
    assert_eq!(one.next(), pong());
}

#[test]
fn a_post_that_is_no_array_of_messages_is_refused_and_the_session_goes_on() {
    let server = start(config());
    let (session, mut polls) = polled(server.address);
    let mut socket = connect(server.address);
    for body in ["", "{}", "[1]", "[\"a\"", "\u{1f600}"] {
        let answer = session.post_body(&mut socket, body);
        assert_eq!(answer.status, 400, "{body}: {answer:?}");
        assert!(answer.body.starts_with("The body is not a JSON array of messages"), "{answer:?}");
    }
    assert_eq!(session.post_body(&mut socket, "[\"no event\"]").status, 204);
    let told = messages(&polls.poll());
    assert_eq!(event_of(&told[0]), "pusher:error");
    assert_eq!(session.post_on(&mut socket, &[ping()]).status, 204);
    assert_eq!(messages(&polls.poll()), [pong()]);
    let answer = session.post_body(&mut socket, &format!("[\"{}\"]", "x".repeat(2 * 1024 * 1024)));
    assert_eq!(answer.status, 413, "{answer:?}");
}

#[test]
fn a_session_that_lags_too_far_is_closed_with_4100() {
    let server = start(Config { max_lag: 64 * 1024, lag_grace: Duration::ZERO, ..config() });
    let (session, mut polls) = polled(server.address);
    let subscribe = json!({"event": "pusher:subscribe", "data": {"channel": "prices"}});
    assert_eq!(session.post(&[subscribe]), 204);
    polls.poll();
    for _ in 0..20 {
        publish_draft(&server.handle, &Draft::text("prices", "x".repeat(10_000)).unwrap());
    }
    until("it is closed", || (session.post(&[]) == 404).then_some(()));
    let lines = polls.poll();
    assert!(lines.lines().last().unwrap().starts_with("c[4100,\""), "{lines}");
    assert_eq!(session.post(&[ping()]), 404);
}

#[test]
fn a_client_that_leaves_its_answers_unread_is_closed_with_4100() {
    let server = start(config());
    let (session, mut polls) = polled(server.address);
    let mut socket = connect(server.address);
    let pings = vec![ping(); 1000];
    let mut posts = 0;
    while session.post_on(&mut socket, &pings).status == 204 {
        posts += 1;
        assert!(posts < 100, "it is bounded");
    }
    let lines = until("it is closed", || {
        let lines = polls.poll();
        lines.contains("c[").then_some(lines)
    });
    assert!(lines.lines().last().unwrap().starts_with("c[4100,\""), "{lines}");
}

#[test]
fn a_server_that_stops_closes_its_sessions_with_a_last_line() {
    let server = start(config());
    let page = Page::connect(server.address);
    let (_session, mut polls) = polled(server.address);
    polls.ask();
    // The poll is known to wait once a post on another connection was answered by the same loops.
    until("the poll waits", || _session.polls().poll().starts_with("c[2010").then_some(()));
    server.handle.shutdown();
    let rest = page.stream.rest();
    assert!(rest.lines().last().unwrap().starts_with("c["), "{rest}");
    let lines = polls.answer();
    assert!(lines.lines().last().unwrap().starts_with("c["), "{lines}");
    server.join().unwrap();
}

#[test]
fn sessions_count_as_connections_and_one_too_many_is_told_to_come_later() {
    let server = start(Config { max_connections: Some(6), ..one_loop() });
    let mut socket = connect(server.address);
    let statuses: Vec<_> = (0..8)
        .map(|_| exchange(&mut socket, &Session::new(server.address).request("xhr", "")))
        .map(|answer| answer.status)
        .take_while(|&status| status == 200)
        .collect();
    assert_eq!(statuses.len(), 5, "and the connection that asks for them");
}

#[test]
fn a_session_and_its_request_are_counted_until_they_are_gone() {
    let server = start(with_metrics(config()));
    let mut scraper = metrics::Scraper::new(server.metrics.unwrap());
    let sessions = metrics::connections("pusher_http");
    let page = Page::connect(server.address);
    scraper.settles(&[(&sessions, 1)]);
    let (session, polls) = polled(server.address);
    scraper.settles(&[(&sessions, 2)]);
    drop((page, polls));
    scraper.settles(&[(&sessions, 0), (&metrics::connections("http"), 1)]);
    assert_eq!(session.post(&[ping()]), 404);
}

#[test]
fn a_session_that_holds_more_memory_than_there_is_is_closed_and_its_name_is_free() {
    const MIB: u64 = 1024 * 1024;
    // Once with few unsent bytes of its own, and once with so many that a last line would wait behind them.
    for pings in [0, 200] {
        let max_lag = 64 * MIB;
        let server = start(Config { max_memory: 8 * MIB, max_lag, ..one_loop() });
        let (session, mut polls) = polled(server.address);
        let subscribe = json!({"event": "pusher:subscribe", "data": {"channel": "prices"}});
        assert_eq!(session.post(&[subscribe]), 204);
        polls.poll();
        assert_eq!(session.post(&vec![ping(); pings]), 204);
        for _ in 0..24 {
            let draft = Draft::text("prices", "x".repeat(MIB as usize)).unwrap();
            publish_draft(&server.handle, &draft);
        }
        until("it is closed", || (session.post(&[]) == 404).then_some(()));
        drop(polls);
        until("its name is free", || {
            let mut polls = session.polls();
            (polls.poll() == "o{}\n").then_some(())
        });
    }
}

#[test]
fn a_user_of_a_session_is_told_of_those_it_watches_and_they_of_it() {
    let app = App { watchlist: true, ..App::new("1", "app-key", "app-secret") };
    let server = start(Config { apps: vec![app], ..config() });
    let mut page = Page::connect(server.address);
    page.sign_in("ann", &["bob"]);
    assert_eq!(page.expect("pusher_internal:watchlist_events")["events"][0]["name"], "offline");
    let mut bob = Pusher::connect(server.address);
    bob.sign_in("bob", &["ann"]);
    let (_, seen) = bob.expect("pusher_internal:watchlist_events");
    assert_eq!(seen["events"][0], json!({"name": "online", "user_ids": ["ann"]}));
    let seen = page.expect("pusher_internal:watchlist_events");
    assert_eq!(seen["events"][0], json!({"name": "online", "user_ids": ["bob"]}));
    drop(page);
    let (_, seen) = bob.expect("pusher_internal:watchlist_events");
    assert_eq!(seen["events"][0], json!({"name": "offline", "user_ids": ["ann"]}));
}

#[test]
fn a_session_that_has_to_be_authorized_and_is_not_is_closed_with_4009() {
    let app =
        App { authorized_within: Some(Duration::from_millis(200)), ..App::new("1", "app-key", "app-secret") };
    let server = start(Config { apps: vec![app], ..config() });
    let rest = Page::connect(server.address).stream.rest();
    assert!(rest.lines().last().unwrap().starts_with("c[4009,\""), "{rest}");
}

#[test]
fn a_session_of_an_app_that_a_reload_removes_is_closed_with_4001() {
    let server = start(config());
    let page = Page::connect(server.address);
    let (_, mut polls) = polled(server.address);
    server.handle.reload_apps(&[App::new("2", "other-key", "other-secret")]).unwrap();
    let rest = page.stream.rest();
    assert!(rest.lines().last().unwrap().starts_with("c[4001,\""), "{rest}");
    let lines = until("it is told", || {
        let lines = polls.poll();
        lines.contains("c[").then_some(lines)
    });
    assert!(lines.lines().last().unwrap().starts_with("c[4001,\""), "{lines}");
}
