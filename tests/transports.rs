//! One channel over three transports: the same publications with the same identifiers in the same order.

#![allow(clippy::unwrap_used)] // a helper that fails fails its test

mod support;

use std::time::{Duration, Instant};

use fanfare::config::{Config, Glob, LagPolicy};
use serde_json::{Value, json};
use support::event_stream::*;
use support::long_poll::*;
use support::steady::next_text;
use support::*;
use tungstenite::Message;

const TEXT: &str = "Content-Type: text/plain\r\n";
const JSON: &str = "Content-Type: application/json\r\n";
const BINARY: &str = "Content-Type: application/octet-stream\r\n";

fn envelope(client: &mut Client) -> Value {
    serde_json::from_str(&text(client)).unwrap()
}

fn id_of(answer: &Answer) -> String {
    let published: Value = serde_json::from_str(&answer.body).unwrap();
    published["id"].as_str().unwrap().into()
}

#[test]
fn one_publication_reaches_all_three_transports_with_the_same_identifier() {
    let server = start(config());
    let mut socket = envelopes(server.address, "news");
    let mut events = Events::open(server.address, "/channels/news", "").begun();
    let mut poll = Poll::new(server.address, "/channels/news");
    poll.poll(0);
    for round in 0..50 {
        poll.ask(20);
        // The poll is counted before the publication, or it finds it in the history: in either case once.
        let id = id_of(&publish(server.address, "news", &format!("{round}")));
        let event = events.next().unwrap();
        assert_eq!((event.id, event.name.as_str(), event.data), (id.clone(), "message", format!("{round}")));
        let message = json!({"id": id, "data": format!("{round}")});
        assert_eq!(envelope(&mut socket), message);
        assert_eq!(poll.answer(), json!({"messages": [message], "next": id}));
    }
}

#[test]
fn an_event_stream_begins_with_its_place_and_the_pause_before_reconnecting() {
    let server = start(config());
    let id = id_of(&publish(server.address, "news", "before"));
    let mut events = Events::open(server.address, "/channels/news", "").begun();
    assert_eq!((events.last_id.as_str(), events.retry.as_str()), (id.as_str(), "2000"));
    assert!(events.head.contains("\r\nContent-Type: text/event-stream\r\n"), "{}", events.head);
    publish(server.address, "news", "after");
    assert_eq!(events.next().unwrap().data, "after");
}

#[test]
fn lines_arrive_as_lines_names_as_names_and_binary_says_so() {
    let server = start(config());
    let mut events = Events::open(server.address, "/channels/news", "").begun();
    let mut envelopes = Events::open(server.address, "/channels/news?protocol=fanfare.v1.json", "").begun();
    let body = "a\rb\nc\r\nd\n\n:e\nid: f";
    request(server.address, "POST", "/channels/news?event=tick", TEXT, body.as_bytes());
    request(server.address, "POST", "/channels/news?event=tick", BINARY, b"\x00\xff");
    request(server.address, "POST", "/channels/news", BINARY, b"\x00\xff");
    request(server.address, "POST", "/channels/news", JSON, b"{\n\"a\": 1}");
    request(server.address, "POST", "/channels/news", TEXT, b"");
    let mut next = || events.next().map(|event| (event.name, event.data)).unwrap();
    assert_eq!(next(), ("tick".into(), "a\nb\nc\nd\n\n:e\nid: f".into()));
    assert_eq!(next(), ("fanfare:binary:tick".into(), "AP8=".into()));
    assert_eq!(next(), ("fanfare:binary".into(), "AP8=".into()));
    assert_eq!(next(), ("message".into(), "{\n\"a\": 1}".into()));
    assert_eq!(next(), ("message".into(), "".into()));

    let mut next = || {
        let event = envelopes.next().unwrap();
        assert_eq!(event.name, "message");
        let mut envelope: Value = serde_json::from_str(&event.data).unwrap();
        if let Some(id) = envelope.as_object_mut().unwrap().remove("id") {
            assert_eq!(id, event.id);
        }
        envelope
    };
    assert_eq!(next()["event"], "fanfare:subscribed");
    assert_eq!(next(), json!({"event": "tick", "data": body}));
    assert_eq!(next(), json!({"event": "tick", "data": "AP8=", "encoding": "base64"}));
    assert_eq!(next(), json!({"data": "AP8=", "encoding": "base64"}));
    assert_eq!(next(), json!({"data": {"a": 1}}));
    assert_eq!(next(), json!({"data": ""}));
}

/// The notice of a server with this idle timeout, in milliseconds.
fn alive(idle: u64) -> Value {
    json!({"event": "fanfare:alive", "data": {"idle": idle}})
}

#[test]
fn a_page_hears_every_idle_timeout_that_the_server_is_there_over_websockets_and_streams_of_envelopes() {
    let server = start(Config { idle_timeout: Duration::from_millis(50), ..config() });
    let mut by_websocket = envelopes(server.address, "news?since=");
    let mut without_since = envelopes(server.address, "news");
    let deflated =
        [("Sec-WebSocket-Protocol", "fanfare.v1.json"), ("Sec-WebSocket-Extensions", "permessage-deflate")];
    let (mut deflated, _) = handshake(server.address, "/channels/news", &deflated).unwrap();
    let mut by_stream = Events::open(server.address, "/channels/news?protocol=fanfare.v1.json", "").begun();
    assert_eq!(envelope(&mut by_websocket)["data"]["idle"], 50);
    assert!(by_stream.next().unwrap().data.ends_with(r#","idle":50}}"#));
    let began_at = by_stream.last_id.clone();
    for _ in 0..3 {
        for client in [&mut by_websocket, &mut without_since, &mut deflated] {
            assert_eq!(serde_json::from_str::<Value>(&next_text(client)).unwrap(), alive(50));
        }
        let event = by_stream.next().unwrap();
        assert_eq!(serde_json::from_str::<Value>(&event.data).unwrap(), alive(50));
        assert_eq!(event.id, began_at, "where the client is stays as it was");
    }
}

#[test]
fn a_client_that_talks_in_a_silent_channel_is_told_too_that_the_server_is_there() {
    let server = start(Config { idle_timeout: Duration::from_millis(200), ..config() });
    let mut client = envelopes(server.address, "news");
    let began = Instant::now();
    client.get_ref().set_read_timeout(Some(Duration::from_millis(20))).unwrap();
    loop {
        // It says so much that no ping comes due.
        client.send(Message::Pong(Vec::new().into())).unwrap();
        if let Ok(Message::Text(text)) = client.read() {
            assert_eq!(serde_json::from_str::<Value>(&text).unwrap(), alive(200));
            break;
        }
        assert!(began.elapsed() < PATIENCE, "it is not told");
    }
}

#[test]
fn a_websocket_of_payloads_hears_pings_and_nothing_else() {
    let server = start(Config { idle_timeout: Duration::from_millis(50), ..config() });
    let mut client = websocket(server.address, "/channels/news");
    for _ in 0..3 {
        assert!(matches!(client.read().unwrap(), Message::Ping(_)));
        client.flush().unwrap();
    }
    publish(server.address, "news", "still here");
    // A machine that is slow at it has the next ping come first.
    let heard = until("it is there", || {
        let message = client.read().unwrap();
        client.flush().unwrap();
        (!matches!(message, Message::Ping(_))).then_some(message)
    });
    assert_eq!(heard, Message::text("still here"));
}

#[test]
fn a_silent_stream_hears_a_comment_now_and_then() {
    let server = start(Config { idle_timeout: Duration::from_millis(50), ..config() });
    let mut events = Events::open(server.address, "/channels/news", "").begun();
    events.comment();
    events.comment();
    publish(server.address, "news", "still here");
    assert_eq!(events.next().unwrap().data, "still here");
}

#[test]
fn a_long_poll_waits_for_the_next_publication_and_gets_all_of_its_turn() {
    let server = start(config());
    let mut poll = Poll::new(server.address, "/channels/news");
    let first = poll.poll(0);
    assert_eq!(first["messages"], json!([]));
    poll.ask(20);
    let id = id_of(&publish(server.address, "news", "one"));
    assert_eq!(poll.answer(), json!({"messages": [{"id": id, "data": "one"}], "next": id}));
    publish(server.address, "news", "two");
    let id = id_of(&publish(server.address, "news", "three"));
    let both = poll.poll(20);
    assert_eq!((data_of(&both), &both["next"]), (vec![json!("two"), json!("three")], &json!(id)));
}

#[test]
fn a_long_poll_for_which_nothing_comes_is_answered_when_its_wait_is_over() {
    let server = start(config());
    let mut poll = Poll::new(server.address, "/channels/news");
    let id = id_of(&publish(server.address, "news", "one"));
    assert_eq!(poll.poll(0), json!({"messages": [], "next": id}));
    assert_eq!(poll.poll(1), json!({"messages": [], "next": id}));
    assert_eq!(poll.poll(0), json!({"messages": [], "next": id}));
}

#[test]
fn what_is_asked_while_a_long_poll_waits_is_answered_behind_it() {
    let server = start(config());
    let mut stream = connect(server.address);
    let requests = "GET /channels/news?wait=20 HTTP/1.1\r\nHost: localhost\r\n\r\nGET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n";
    let first = {
        use std::io::Write;
        stream.write_all(requests.as_bytes()).unwrap();
        until("the poll is subscribed", || {
            publish(server.address, "news", "x").body.contains("\"subscribers\":1").then_some(())
        });
        read_answer(&mut stream)
    };
    assert!(first.body.contains("\"data\":\"x\""), "{first:?}");
    assert_eq!(read_answer(&mut stream).body, "ok\n");
}

#[test]
fn a_client_that_goes_while_its_poll_waits_or_its_stream_is_open_is_counted_no_more() {
    let server = start(config());
    let mut poll = Poll::new(server.address, "/channels/news");
    poll.ask(50);
    let events = Events::open(server.address, "/channels/news", "").begun();
    let subscribers = |count: u64| {
        until("so many are counted", || {
            let answer = request(server.address, "POST", "/channels/news", TEXT, b"");
            answer.body.contains(&format!("\"subscribers\":{count}}}")).then_some(())
        });
    };
    drop(poll);
    subscribers(1);
    drop(events);
    subscribers(0);
}

#[test]
fn a_reconnecting_subscriber_gets_what_it_missed_first_on_every_transport() {
    let server = start(config());
    let seen = id_of(&publish(server.address, "news", "seen"));
    publish(server.address, "news", "one");
    let newest = id_of(&publish(server.address, "news", "two"));

    let mut socket = envelopes(server.address, &format!("news?since={seen}"));
    let mut events = Events::open(server.address, "/channels/news", &format!("Last-Event-ID: {seen}\r\n"));
    let mut by_query = Events::open(server.address, &format!("/channels/news?since={seen}"), "");
    publish(server.address, "news", "three");

    assert_eq!(
        envelope(&mut socket),
        json!({"event": "fanfare:subscribed", "data": {"since": seen, "idle": 30000}})
    );
    for expected in ["one", "two", "three"] {
        assert_eq!(envelope(&mut socket)["data"], expected);
        assert_eq!(events.next().unwrap().data, expected);
        assert_eq!(by_query.next().unwrap().data, expected);
    }
    let mut poll = Poll::new(server.address, "/channels/news");
    poll.next = seen;
    assert_eq!(data_of(&poll.poll(20)), ["one", "two", "three"]);
    poll.next = newest;
    assert_eq!(data_of(&poll.poll(20)), ["three"]);
}

#[test]
fn a_subscriber_that_missed_more_than_is_kept_is_told_on_every_transport() {
    let server = start(Config { history: vec![(Glob::new("*"), 2)], ..config() });
    let seen = id_of(&publish(server.address, "news", "seen"));
    let lost = id_of(&publish(server.address, "news", "lost"));
    publish(server.address, "news", "one");
    publish(server.address, "news", "two");

    let mut socket = envelopes(server.address, &format!("news?since={seen}"));
    let gap = json!({"missed": 1, "since": lost});
    let told = json!({"missed": 1, "since": lost, "idle": 30000});
    assert_eq!(envelope(&mut socket), json!({"event": "fanfare:gap", "data": told}));
    let mut events = Events::open(server.address, "/channels/news", &format!("Last-Event-ID: {seen}\r\n"));
    let told = events.next().unwrap();
    assert_eq!((told.name.as_str(), told.id.as_str()), ("fanfare:gap", lost.as_str()));
    assert_eq!(serde_json::from_str::<Value>(&told.data).unwrap(), gap);
    let mut poll = Poll::new(server.address, "/channels/news");
    poll.next = seen;
    let answer = poll.poll(20);
    assert_eq!(answer["gap"], json!({"missed": 1}));
    for expected in ["one", "two"] {
        assert_eq!(envelope(&mut socket)["data"], expected);
        assert_eq!(events.next().unwrap().data, expected);
    }
    assert_eq!(data_of(&answer), ["one", "two"]);
}

#[test]
fn after_a_restart_everybody_is_told_of_a_gap_of_unknown_length_and_gets_what_there_is() {
    let before = start(config());
    let seen = id_of(&publish(before.address, "news", "of another life"));
    drop(before);
    let server = start(config());
    publish(server.address, "news", "one");
    let mut socket = envelopes(server.address, &format!("news?since={seen}"));
    let gap = envelope(&mut socket);
    assert_eq!((&gap["event"], &gap["data"]["missed"]), (&json!("fanfare:gap"), &Value::Null));
    assert_eq!(envelope(&mut socket)["data"], "one");
    for foreign in [seen.as_str(), "of another server"] {
        let fields = format!("Last-Event-ID: {foreign}\r\n");
        let mut events = Events::open(server.address, "/channels/news", &fields);
        assert_eq!(events.next().unwrap().name, "fanfare:gap");
        assert_eq!(events.next().unwrap().data, "one");
    }
    let mut poll = Poll::new(server.address, "/channels/news");
    poll.next = seen;
    let answer = poll.poll(20);
    assert_eq!((&answer["gap"], data_of(&answer)), (&json!({"missed": null}), vec![json!("one")]));
}

#[test]
fn the_last_publications_are_sent_to_a_subscriber_that_asks_for_them() {
    let server = start(config());
    for number in 0..5 {
        publish(server.address, "news", &number.to_string());
    }
    let mut plain = websocket(server.address, "/channels/news?last=2");
    let mut socket = envelopes(server.address, "news?last=2");
    let mut events = Events::open(server.address, "/channels/news?last=2", "");
    assert_eq!(envelope(&mut socket)["event"], "fanfare:subscribed");
    for expected in ["3", "4"] {
        assert_eq!(text(&mut plain), expected);
        assert_eq!(envelope(&mut socket)["data"], expected);
        assert_eq!(events.next().unwrap().data, expected);
    }
    let answer = request(server.address, "GET", "/channels/news?last=2&wait=20", "", b"");
    assert_eq!(data_of(&serde_json::from_str(&answer.body).unwrap()), ["3", "4"]);
}

#[test]
fn history_has_limits_of_its_own_for_some_channels() {
    let history = vec![(Glob::new("chat*"), 3), (Glob::new("*"), 0)];
    let history_bytes = vec![(Glob::new("chat-short"), 5)];
    let server = start(Config { history, history_bytes, ..config() });
    for channel in ["chat", "chat-short", "news"] {
        for number in 0..9 {
            publish(server.address, channel, &format!("n{number}"));
        }
        let answer = request(server.address, "GET", &format!("/channels/{channel}?last=9&wait=0"), "", b"");
        let kept = match channel {
            "chat" => vec![json!("n6"), json!("n7"), json!("n8")],
            "chat-short" => vec![json!("n7"), json!("n8")],
            _ => vec![],
        };
        assert_eq!(data_of(&serde_json::from_str(&answer.body).unwrap()), kept, "{channel}");
    }
}

#[test]
fn history_is_forgotten_when_it_is_too_old() {
    let age = Duration::from_millis(50);
    let server = start(Config { history_age: vec![(Glob::new("*"), age)], ..config() });
    publish(server.address, "news", "x");
    until("it is forgotten", || {
        let answer = request(server.address, "GET", "/channels/news?last=9&wait=0", "", b"");
        answer.body.contains("\"messages\":[]").then_some(())
    });
}

#[test]
fn more_than_an_outbox_that_was_missed_arrives_whole_and_in_order() {
    let (count, len) = (60, 50_000);
    let history_bytes = vec![(Glob::new("*"), 100_000_000)];
    let server = start(Config { history_bytes, ..config() });
    let body = |number: usize| format!("{number} {}", "x".repeat(len));
    for number in 0..count {
        publish(server.address, "news", &body(number));
    }
    let mut plain = websocket(server.address, "/channels/news?last=100");
    let mut events = Events::open(server.address, "/channels/news?last=100", "");
    publish(server.address, "news", &body(count));
    for number in 0..=count {
        assert_eq!(text(&mut plain), body(number));
        assert_eq!(events.next().unwrap().data, body(number));
    }
    // A long poll's answer ends behind --max-lag; the next poll goes on.
    let mut poll = Poll::new(server.address, "/channels/news");
    poll.next = events.last_id.rsplit_once('-').unwrap().0.to_owned() + "-0";
    let mut numbers = Vec::new();
    let mut polls = 0;
    while numbers.len() <= count {
        let answer = poll.poll(20);
        assert!(answer.get("gap").is_none(), "{:?}", answer["gap"]);
        polls += 1;
        let number =
            |data: &Value| data.as_str().unwrap().split(' ').next().unwrap().parse::<usize>().unwrap();
        numbers.extend(data_of(&answer).iter().map(number));
    }
    assert!(polls > 1);
    assert_eq!(numbers, (0..=count).collect::<Vec<_>>());
}

#[test]
fn a_retry_with_the_same_key_publishes_once() {
    let server = start(config());
    let mut client = websocket(server.address, "/channels/news");
    let fields = format!("{TEXT}Idempotency-Key: 3f1c\r\n");
    let post =
        |fields: &str, body: &str| request(server.address, "POST", "/channels/news", fields, body.as_bytes());
    let first = post(&fields, "once");
    let again = post(&fields, "once");
    assert_eq!(first.body, again.body);
    assert!(!first.head.contains("Idempotent-Replayed"), "{first:?}");
    assert!(again.head.contains("\r\nIdempotent-Replayed: true\r\n"), "{again:?}");
    assert_eq!(post(&fields, "something else").status, 422);
    let json = format!("{JSON}Idempotency-Key: 3f1c\r\n");
    assert_eq!(post(&json, "1").status, 422);
    post(TEXT, "end");
    assert_eq!((text(&mut client), text(&mut client)), ("once".into(), "end".into()));
}

#[test]
fn pages_of_other_origins_may_ask_and_read() {
    let origin = "Origin: https://a.example\r\n";
    let preflight = format!(
        "{origin}Access-Control-Request-Method: POST\r\nAccess-Control-Request-Headers: idempotency-key\r\n"
    );
    for (allow_origin, expected) in
        [(vec!["*".to_owned()], "*"), (vec!["https://a.example".to_owned()], "https://a.example")]
    {
        let server = start(Config { allow_origin, ..config() });
        let allowed = format!("\r\nAccess-Control-Allow-Origin: {expected}\r\n");
        let answer = request(server.address, "OPTIONS", "/channels/news", &preflight, b"");
        assert_eq!(answer.status, 204);
        for field in [
            allowed.as_str(),
            "\r\nAccess-Control-Allow-Methods: GET, HEAD, POST, OPTIONS\r\n",
            "\r\nAccess-Control-Allow-Headers: Authorization, Content-Type, Idempotency-Key, Last-Event-ID\r\n",
        ] {
            assert!(answer.head.contains(field), "{field:?}: {answer:?}");
        }
        for (method, path, status) in [
            ("POST", "/channels/news", 200),
            ("GET", "/channels/news?wait=0", 200),
            ("GET", "/channels/news?since=x", 400),
            ("GET", "/nowhere", 404),
        ] {
            let answer = request(server.address, method, path, origin, b"");
            assert_eq!(answer.status, status);
            assert!(answer.head.contains(&allowed), "{answer:?}");
            assert_eq!(answer.head.contains("\r\nVary: Origin\r\n"), expected != "*");
        }
        let events = Events::open(server.address, "/channels/news", origin);
        assert!(events.head.contains(&allowed), "{}", events.head);
    }
}

#[test]
fn what_is_answered_before_it_is_known_which_page_asks_is_read_where_all_are_served() {
    for (allow_origin, is_read) in [("*", true), ("https://a.example", false)] {
        let allow_origin = vec![allow_origin.to_owned()];
        let server = start(Config { allow_origin, max_connections: Some(1), ..config() });
        // The one connection there is room for, whose head is none.
        let mut only = connect(server.address);
        until("it is there", || (server.handle.connections_len() == 1).then_some(()));
        let refused = read_answer(&mut connect(server.address));
        let bad = exchange(&mut only, b"no request\r\n\r\n");
        assert_eq!((refused.status, bad.status), (503, 400));
        for answer in [refused, bad] {
            let allowed = "\r\nAccess-Control-Allow-Origin: *\r\n";
            assert_eq!(answer.head.contains(allowed), is_read, "{answer:?}");
            assert_eq!(answer.head.contains("Access-Control"), is_read, "{answer:?}");
        }
    }
}

#[test]
fn a_page_of_an_origin_that_is_not_served_reads_nothing_on_any_transport() {
    let server = start(Config { allow_origin: vec!["https://a.example".into()], ..config() });
    let origin = "Origin: https://b.example\r\n";
    for (method, fields) in
        [("GET", ""), ("GET", "Accept: text/event-stream\r\n"), ("OPTIONS", ""), ("POST", "")]
    {
        let answer = request(server.address, method, "/channels/news", &format!("{origin}{fields}"), b"");
        assert_eq!(answer.status, 403);
        assert!(!answer.head.contains("Access-Control"), "{answer:?}");
    }
}

#[test]
fn a_stop_ends_streams_with_their_last_chunk_and_answers_long_polls() {
    let server = start(config());
    let mut poll = Poll::new(server.address, "/channels/news");
    poll.poll(0);
    poll.ask(50);
    let mut events = Events::open(server.address, "/channels/news", "").begun();
    until("both are subscribed", || {
        let answer = request(server.address, "POST", "/channels/other", TEXT, b"");
        (answer.status == 200 && server.handle.connections_len() >= 2).then_some(())
    });
    publish(server.address, "news", "the last");
    server.handle.shutdown();
    assert_eq!(events.next().unwrap().data, "the last");
    assert_eq!(events.next(), None);
    let answer = poll.answer();
    assert_eq!(data_of(&answer), ["the last"]);
    assert_eq!(rest(&mut events.stream), b"");
    server.join().unwrap();
}

#[test]
fn the_longest_publication_arrives_also_where_its_form_is_longer_than_max_lag() {
    for policy in [LagPolicy::Close, LagPolicy::Skip, LagPolicy::Latest] {
        // In lines it is seven times as long: past what the server's kernel takes at once, and the client's takes little.
        let max_lag = 1024 * 1024;
        let lag_policy = vec![(Glob::new("*"), policy)];
        let server = start(Config { max_lag, lag_policy, ..config() });
        let stream = connect_narrowly(server.address, 65_536);
        let mut events = Events::on(stream, "/channels/news", "").unwrap().begun();
        let lines = "\n".repeat(max_lag as usize);
        let answer = request(server.address, "POST", "/channels/news", TEXT, lines.as_bytes());
        assert_eq!(answer.status, 200);
        // Nothing has been read: most is in the log.
        assert!(events.next().unwrap().data == lines, "{policy:?}");
        publish(server.address, "news", "and goes on");
        assert_eq!(events.next().unwrap().data, "and goes on", "{policy:?}");
    }
}

#[test]
fn a_stream_past_max_lag_is_ended_or_told_as_its_channels_policy_says() {
    let lag_policy = vec![(Glob::new("skip"), LagPolicy::Skip), (Glob::new("latest"), LagPolicy::Latest)];
    // Who is closed reads that when all is published, however long the machine takes until then.
    let server = start(Config { max_lag: 200_000, lag_policy, close_timeout: 10 * PATIENCE, ..config() });
    let body = |number: usize| format!("{number} {}", "x".repeat(10_000));
    for channel in ["close", "skip", "latest"] {
        let mut events = Events::open(server.address, &format!("/channels/{channel}"), "").begun();
        let count = 2000;
        for number in 0..count {
            publish(server.address, channel, &body(number));
        }
        let (mut next, mut missed) = (0, 0);
        while let Some(event) = events.next() {
            if event.name == "fanfare:lagged" {
                let told: Value = serde_json::from_str(&event.data).unwrap();
                missed += told["missed"].as_u64().unwrap();
                next += told["missed"].as_u64().unwrap() as usize;
                continue;
            }
            assert_eq!(event.data, body(next), "{channel}: nothing is lost without a word");
            next += 1;
            if next == count {
                break;
            }
        }
        match channel {
            "close" => assert!(next < count && missed == 0, "{next}"),
            _ => assert!(next == count && missed > 0, "{channel}: {next}"),
        }
    }
}
