//! Several channels on one event stream or long poll: what is sent, byte for byte, what a reader that reconnects gets, and
//! what is refused.

#![allow(clippy::unwrap_used)] // a helper that fails fails its test

mod support;

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};

use fanfare::config::{Config, Glob, LagPolicy};
use fanfare::pusher::App;
use fanfare::server::Draft;
use serde_json::{Value, json};
use support::event_stream::*;
use support::*;

/// What a browser's EventSource asks for.
const STREAM: &str = "Accept: text/event-stream\r\n";

fn open(address: SocketAddr, query: &str, fields: &str) -> Events {
    let mut events = Events::open(address, &format!("/channels?{query}"), fields);
    events.shows_ids = true;
    events
}

fn value(event: &Event) -> Value {
    serde_json::from_str(&event.data).unwrap()
}

/// The data of the next event that has data.
fn next(events: &mut Events) -> Value {
    loop {
        let event = events.next().unwrap();
        if !event.data.is_empty() {
            return value(&event);
        }
    }
}

/// The next block of positions alone.
fn next_positions(events: &mut Events) -> String {
    loop {
        let event = events.next().unwrap();
        if event.data.is_empty() {
            return event.id;
        }
    }
}

fn id_of(answer: &Answer) -> String {
    serde_json::from_str::<Value>(&answer.body).unwrap()["id"].as_str().unwrap().to_owned()
}

/// The publication before.
fn before(id: &str) -> String {
    let (epoch, sequence) = id.split_once('-').unwrap();
    format!("{epoch}-{}", sequence.parse::<u64>().unwrap() - 1)
}

/// One poll on a connection of its own.
fn poll(address: SocketAddr, query: &str) -> Answer {
    request(address, "GET", &format!("/channels?{query}"), "", b"")
}

fn body(answer: &Answer) -> Value {
    assert_eq!(answer.status, 200, "{answer:?}");
    serde_json::from_str(&answer.body).unwrap()
}

fn chunk(block: &str) -> String {
    format!("{:x}\r\n{block}\r\n", block.len())
}

fn expect_bytes(stream: &mut TcpStream, expected: &str) {
    let mut bytes = vec![0; expected.len()];
    stream.read_exact(&mut bytes).unwrap();
    assert_eq!(String::from_utf8(bytes).unwrap(), expected);
}

#[test]
fn a_stream_of_two_channels_is_these_bytes() {
    let server = start(config());
    let news = id_of(&publish(server.address, "news", "1"));
    let chat = id_of(&publish(server.address, "chat-7", "2"));
    let mut stream = connect(server.address);
    write!(
        stream,
        "GET /channels?channel=news&since={}&channel=chat-7&last=0 HTTP/1.1\r\nHost: localhost\r\n{STREAM}\r\n",
        before(&news)
    )
    .unwrap();
    let answer = read_answer(&mut stream);
    assert_eq!(answer.status, 200);
    assert!(answer.head.contains("\r\nContent-Type: text/event-stream\r\n"), "{}", answer.head);
    let since = before(&news);
    for block in [
        format!(
            "retry: 2000\nid: {since},{chat}\ndata: {{\"event\":\"fanfare:subscribed\",\"channel\":\"news\",\"data\":{{\"since\":\"{since}\"}}}}\n\n"
        ),
        format!(
            "data: {{\"event\":\"fanfare:subscribed\",\"channel\":\"chat-7\",\"data\":{{\"since\":\"{chat}\"}}}}\n\n"
        ),
        format!("data: {{\"channel\":\"news\",\"id\":\"{news}\",\"data\":\"1\"}}\n\n"),
        // A second later: nothing else is published.
        format!("id: {news},{chat}\n\n"),
    ] {
        expect_bytes(&mut stream, &chunk(&block));
    }
    let next = id_of(&publish(server.address, "chat-7", "3"));
    let said = format!("data: {{\"channel\":\"chat-7\",\"id\":\"{next}\",\"data\":\"3\"}}\n\n");
    expect_bytes(&mut stream, &(chunk(&said) + &chunk(&format!("id: {news},{next}\n\n"))));
}

#[test]
fn a_stream_of_one_channel_named_in_the_query_is_of_the_same_shape() {
    let server = start(config());
    let mut events = open(server.address, "channel=news", "");
    let first = events.next().unwrap();
    assert_eq!(value(&first)["channel"], "news");
    assert_eq!(value(&first)["data"]["since"], first.id);
    let id = id_of(&publish(server.address, "news", "hi"));
    assert_eq!(next(&mut events), json!({"channel": "news", "id": id, "data": "hi"}));
    assert_eq!(next_positions(&mut events), id);
}

#[test]
fn a_sign_of_life_carries_the_positions() {
    let config = Config { idle_timeout: std::time::Duration::from_millis(200), ..config() };
    let server = start(config);
    let mut events = open(server.address, "channel=a&channel=b", "");
    let ids = events.next().unwrap().id;
    events.next().unwrap();
    let alive = events.next().unwrap();
    assert_eq!(value(&alive), json!({"event": "fanfare:alive", "data": {"idle": 200}}));
    assert_eq!(alive.id, ids);
}

#[test]
fn a_reader_that_reconnects_goes_on_in_each_channel_where_it_was_told() {
    let server = start(config());
    let address = server.address;
    let query = "channel=a&last=5&channel=b&channel=c";
    // A channel without subscribers and publications is forgotten, and its next position is another.
    let _witness = open(address, query, "").begun();
    let mut events = open(address, query, "");
    for _ in 0..3 {
        next(&mut events);
    }
    for (channel, text) in [("a", "1"), ("b", "2"), ("a", "3")] {
        publish(address, channel, text);
    }
    for _ in 0..3 {
        next(&mut events);
    }
    let mut positions = events.last_id.clone();
    while !positions.split(',').map(|id| id.split('-').nth(1).unwrap()).eq(["2", "1", "0"]) {
        positions = next_positions(&mut events);
    }
    drop(events);
    for (channel, text) in [("c", "4"), ("b", "5")] {
        publish(address, channel, text);
    }
    let mut events = open(address, query, &format!("Last-Event-ID: {positions}\r\n"));
    let begun: Vec<Value> = (0..3).map(|_| next(&mut events)).collect();
    assert_eq!(events.last_id, positions);
    for (told, id) in begun.iter().zip(positions.split(',')) {
        assert_eq!((&told["event"], &told["data"]["since"]), (&json!("fanfare:subscribed"), &json!(id)));
    }
    let mut missed = [next(&mut events), next(&mut events)];
    missed.sort_by_key(|message| message["channel"].as_str().unwrap().to_owned());
    let said = missed.each_ref().map(|message| (message["channel"].clone(), message["data"].clone()));
    assert_eq!(said, [(json!("b"), json!("5")), (json!("c"), json!("4"))]);
}

#[test]
fn a_reader_is_told_its_positions_right_after_what_it_missed_and_gets_that_once_however_short_its_streams_are()
 {
    let server = start(Config { history: vec![(Glob::new("*"), 10)], ..config() });
    for text in ["one", "two", "three"] {
        publish(server.address, "news", text);
    }
    let mut events = open(server.address, "channel=news&last=10&channel=chat-7", "");
    let told = std::iter::from_fn(|| Some(next(&mut events))).filter(|value| value["id"].is_string());
    let missed: Vec<_> = told.take(3).map(|value| value["data"].clone()).collect();
    assert_eq!(missed, ["one", "two", "three"]);
    // The last of them: what is published now is told with the next block, a second later.
    publish(server.address, "chat-7", "later");
    let positions = next_positions(&mut events);
    assert!(positions.contains("-3,") && positions.ends_with("-0"), "{positions}");
    drop(events);
    let again = format!("Last-Event-ID: {positions}\r\n");
    let mut events = open(server.address, "channel=news&last=10&channel=chat-7", &again);
    publish(server.address, "news", "four");
    let told: Vec<_> = std::iter::from_fn(|| Some(next(&mut events)))
        .filter(|value| value["id"].is_string())
        .map(|value| value["data"].clone())
        .take(2)
        .collect();
    assert!(
        told.contains(&"four".into()) && told.contains(&"later".into()),
        "and nothing of before: {told:?}"
    );
}

#[test]
fn positions_of_another_number_of_channels_are_a_gap_in_all() {
    let server = start(config());
    let ids = ["a", "b"].map(|channel| id_of(&publish(server.address, channel, "kept")));
    let mut events = open(server.address, "channel=a&channel=b", &format!("Last-Event-ID: {}\r\n", ids[0]));
    for (channel, id) in ["a", "b"].into_iter().zip(&ids) {
        let gap = json!({"event": "fanfare:gap", "channel": channel, "data": {"missed": null, "since": before(id)}});
        assert_eq!(next(&mut events), gap);
    }
    for (channel, id) in ["a", "b"].into_iter().zip(&ids) {
        assert_eq!(next(&mut events), json!({"channel": channel, "id": id, "data": "kept"}));
    }
    // One that is none of ours is a gap in its channel only.
    let fields = format!("Last-Event-ID: of-another-server,{}\r\n", ids[1]);
    let mut events = open(server.address, "channel=a&channel=b", &fields);
    let told = [next(&mut events), next(&mut events)].map(|told| told["event"].clone());
    assert_eq!(told, ["fanfare:gap", "fanfare:subscribed"]);
}

#[test]
fn presence_that_is_not_to_be_had_is_said_in_the_first_block_of_its_channel() {
    let server = start(config());
    let mut events = open(server.address, "channel=a&presence=1&channel=b", "");
    assert_eq!(next(&mut events)["data"]["presence"], false);
    assert_eq!(next(&mut events)["data"]["presence"], Value::Null);
}

/// A stream whose reader does not read, past which this much was published in the first of its channels.
fn publish_past(policy: LagPolicy) -> (Running, Events) {
    const PUBLICATIONS: usize = 400;
    const PAYLOAD_LEN: usize = 32 * 1024;
    let lag_policy = vec![(Glob::new("slow"), policy)];
    let server = start(Config { max_lag: 256 * 1024, lag_policy, ..config() });
    let stream = connect_narrowly(server.address, 4096);
    let mut events = Events::on(stream, "/channels?channel=slow&channel=calm", "").unwrap();
    events.shows_ids = true;
    let mut prompt = websocket(server.address, "/channels/slow");
    for number in 0..PUBLICATIONS {
        let payload = format!("{number:08}{}", "x".repeat(PAYLOAD_LEN));
        publish_draft(&server.handle, &Draft::text("slow", payload.clone()).unwrap());
        assert!(text(&mut prompt) == payload, "{number} reaches who keeps up");
    }
    publish_draft(&server.handle, &Draft::text("slow", "end").unwrap());
    publish_draft(&server.handle, &Draft::text("calm", "end").unwrap());
    (server, events)
}

fn sequence(id: &str) -> u64 {
    id.split_once('-').unwrap().1.parse().unwrap()
}

#[test]
fn a_reader_that_skips_is_told_in_which_channel_and_its_positions_count_what_it_skipped() {
    let (_server, mut events) = publish_past(LagPolicy::Skip);
    let (mut last, mut calm, mut skipped) = (0, 0, 0);
    while (last, calm) != (401, 1) {
        let event = events.next().unwrap();
        if event.data.is_empty() {
            let told: Vec<u64> = event.id.split(',').map(sequence).collect();
            assert_eq!(told, [last, calm], "exactly what came before");
            continue;
        }
        let message = value(&event);
        match (message["event"].as_str(), message["channel"].as_str()) {
            (Some("fanfare:subscribed"), _) => {}
            (Some("fanfare:lagged"), Some("slow")) => {
                let missed = message["data"]["missed"].as_u64().unwrap();
                last += missed;
                skipped += missed;
            }
            (None, Some("slow")) => {
                assert_eq!(sequence(message["id"].as_str().unwrap()), last + 1, "no hole that was not told");
                last += 1;
            }
            (None, Some("calm")) => calm += 1,
            _ => panic!("{message}"),
        }
    }
    assert!(skipped > 0);
    let told: Vec<u64> = next_positions(&mut events).split(',').map(sequence).collect();
    assert_eq!(told, [401, 1]);
}

#[test]
fn a_reader_that_lags_under_close_is_told_its_positions_last_and_goes_on_there() {
    let (server, mut events) = publish_past(LagPolicy::Close);
    let mut last = 0;
    while let Some(event) = events.next() {
        if event.data.is_empty() {
            assert_eq!(event.id.split(',').map(sequence).collect::<Vec<_>>(), [last, 0]);
        } else if let Some(id) = value(&event)["id"].as_str() {
            assert_eq!(sequence(id), last + 1);
            last += 1;
        }
    }
    assert!(0 < last && last < 401, "{last}");
    assert_eq!(events.last_id.split(',').map(sequence).collect::<Vec<_>>(), [last, 0]);
    let fields = format!("Last-Event-ID: {}\r\n", events.last_id);
    let mut events = open(server.address, "channel=slow&channel=calm", &fields);
    let gap = next(&mut events);
    let since = sequence(gap["data"]["since"].as_str().unwrap());
    assert_eq!(last + gap["data"]["missed"].as_u64().unwrap_or(0), since, "{gap}");
    assert_eq!(next(&mut events)["event"], "fanfare:subscribed");
}

#[test]
fn a_poll_of_several_channels_is_answered_with_these_bytes() {
    let server = start(config());
    let news = id_of(&publish(server.address, "news", "1"));
    let chat = id_of(&publish(server.address, "chat-7", "2"));
    let elsewhere = "1-9";
    let answer = poll(
        server.address,
        &format!("channel=news&since={}&channel=chat-7&since={elsewhere}", before(&news)),
    );
    assert_eq!(
        answer.body,
        format!(
            "{{\"messages\":[{{\"channel\":\"news\",\"id\":\"{news}\",\"data\":\"1\"}},\
             {{\"channel\":\"chat-7\",\"id\":\"{chat}\",\"data\":\"2\"}}],\
             \"next\":{{\"news\":\"{news}\",\"chat-7\":\"{chat}\"}},\"gap\":{{\"chat-7\":{{\"missed\":null}}}}}}\n"
        )
    );
    let answer = poll(server.address, "channel=news&channel=chat-7&wait=0");
    assert_eq!(
        answer.body,
        format!("{{\"messages\":[],\"next\":{{\"news\":\"{news}\",\"chat-7\":\"{chat}\"}}}}\n")
    );
}

#[test]
fn a_poll_waits_on_all_of_its_channels_and_the_first_publication_answers_it() {
    let server = start(one_loop());
    let address = server.address;
    // A channel without subscribers and publications is forgotten, and its next position is another.
    let _witness = open(address, "channel=a&channel=b&channel=c", "").begun();
    for channel in ["a", "b", "c"] {
        let begin = body(&poll(address, "channel=a&channel=b&channel=c&wait=0"))["next"].clone();
        let since = |name: &str| begin[name].as_str().unwrap().to_owned();
        let mut stream = connect(address);
        write!(
            stream,
            "GET /channels?channel=a&since={}&channel=b&since={}&channel=c&since={} HTTP/1.1\r\nHost: localhost\r\n\r\n",
            since("a"),
            since("b"),
            since("c")
        )
        .unwrap();
        // What another channel has kept does not answer it.
        publish(address, "d", "other");
        let id = id_of(&publish(address, channel, "now"));
        let answer = body(&read_answer(&mut stream));
        assert_eq!(answer["messages"], json!([{"channel": channel, "id": id, "data": "now"}]));
        let mut next = begin.clone();
        next[channel] = json!(id);
        assert_eq!(answer["next"], next);
        assert_eq!(answer["gap"], Value::Null);
        // The connection goes on, and so does the poll.
        write!(
            stream,
            "GET /channels?channel=a&since={}&channel={channel}x&wait=0 HTTP/1.1\r\nHost: localhost\r\n\r\n",
            since("a")
        )
        .unwrap();
        assert_eq!(read_answer(&mut stream).status, 200);
    }
}

#[test]
fn an_answer_that_would_be_too_long_has_something_of_each_channel_and_the_rest_comes_next() {
    let server = start(Config { max_lag: 1000, history: vec![(Glob::new("*"), 100)], ..config() });
    for number in 0..30 {
        for channel in ["a", "b"] {
            publish(server.address, channel, &format!("{number:0100}"));
        }
    }
    let mut next = json!({"a": "", "b": ""});
    let mut got = json!({"a": [], "b": []});
    let begin = body(&poll(server.address, "channel=a&last=100&channel=b&last=100&wait=0"));
    let mut answer = begin;
    loop {
        let messages = answer["messages"].as_array().unwrap();
        for message in messages {
            got[message["channel"].as_str().unwrap()].as_array_mut().unwrap().push(message["data"].clone());
            next[message["channel"].as_str().unwrap()] = message["id"].clone();
        }
        assert_eq!(answer["next"], next);
        if messages.is_empty() {
            break;
        }
        let names: Vec<_> = messages.iter().map(|message| message["channel"].as_str().unwrap()).collect();
        assert!(names.contains(&"a") && names.contains(&"b"), "{names:?}");
        assert!(messages.len() < 12, "{}", messages.len());
        let since = |name: &str| next[name].as_str().unwrap().to_owned();
        let query = format!("channel=a&since={}&channel=b&since={}&wait=0", since("a"), since("b"));
        answer = body(&poll(server.address, &query));
    }
    let all: Vec<String> = (0..30).map(|number| format!("{number:0100}")).collect();
    assert_eq!(got, json!({"a": all, "b": all}));
}

#[test]
fn a_head_of_a_poll_is_its_head_and_does_not_wait() {
    let server = start(config());
    let mut stream = connect(server.address);
    write!(
        stream,
        "HEAD /channels?channel=a&channel=b HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
    )
    .unwrap();
    let head = String::from_utf8(rest(&mut stream)).unwrap();
    assert!(head.starts_with("HTTP/1.1 200 OK\r\n") && head.ends_with("\r\n\r\n"), "{head}");
}

#[test]
fn sixteen_channels_are_read_and_seventeen_are_refused_by_both() {
    let server = start(config());
    let query = |count: usize| (0..count).map(|number| format!("&channel=c{number}")).collect::<String>();
    let mut events = open(server.address, &query(16), "");
    assert_eq!(events.next().unwrap().id.split(',').count(), 16);
    assert_eq!(body(&poll(server.address, &(query(16) + "&wait=0")))["next"].as_object().unwrap().len(), 16);
    for fields in ["", STREAM] {
        let refused = request(server.address, "GET", &format!("/channels?{}", query(17)), fields, b"");
        assert_eq!(refused.status, 400);
        assert_eq!(refused.body, "One URL names 16 channels at most; a WebSocket at /channels takes more.\n");
    }
}

#[test]
fn one_channel_that_is_refused_refuses_the_request() {
    let server = start(config());
    for (query, status, sentence) in [
        ("channel=a&channel=a", 400, "Channel a is named twice."),
        (
            "since=&channel=a",
            400,
            "since is of the channel before it, and there is none yet: /channels?channel=NAME&since=….",
        ),
        (
            "channel=a&channel=b%20c",
            400,
            "This is no name of a channel, number 2 of the URL: the channel name holds ' '; allowed are A-Z a-z 0-9 _ - = @ , . ;.",
        ),
        (
            "channel=a&channel=@fanfare.x",
            403,
            "Channels whose names begin with @fanfare. are the server's own; the dashboard's figures are at /dashboard/figures.",
        ),
        ("channel=a&app=7", 404, "There is no app with this identifier; leave app out for the first one."),
    ] {
        for fields in ["", STREAM] {
            let refused = request(server.address, "GET", &format!("/channels?{query}"), fields, b"");
            assert_eq!((refused.status, refused.body), (status, format!("{sentence}\n")), "{query}");
        }
    }
    assert_eq!(publish(server.address, "a", "hi").body.matches("\"subscribers\":0").count(), 1);
    let wait = poll(server.address, "channel=a&wait=soon");
    assert_eq!((wait.status, wait.body.contains("wait is a number of seconds")), (400, true));
}

#[test]
fn the_channels_are_those_of_the_app_that_is_named_and_private_ones_are_refused_by_name() {
    let apps = vec![App::new("1", "app-key", "app-secret"), App::new("2", "other-key", "other-secret")];
    let server = start(Config { apps, ..config() });
    let mut events = open(server.address, "app=2&channel=a&channel=b", "");
    next(&mut events);
    next(&mut events);
    publish(server.address, "a", "of the first app");
    publish(server.address, "a?app=2", "of the second");
    let message = next(&mut events);
    assert_eq!((&message["channel"], &message["data"]), (&json!("a"), &json!("of the second")));
    let refused = poll(server.address, "channel=a&channel=private-b");
    assert_eq!(refused.status, 403);
    let expected = "Of channel private-b: This channel is private: subscribe by the Pusher protocol, with a signature \
                    of the app's server.\n";
    assert_eq!(refused.body, expected);
}

#[test]
fn a_stream_needs_http_1_1() {
    let server = start(config());
    let mut stream = connect(server.address);
    write!(stream, "GET /channels?channel=a HTTP/1.0\r\nHost: localhost\r\n{STREAM}\r\n").unwrap();
    assert_eq!(read_answer(&mut stream).status, 505);
}
