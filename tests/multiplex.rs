//! Many channels on one WebSocket: commands, answers, order, resume, and what is refused.

#![allow(clippy::unwrap_used)] // a helper that fails fails its test

mod support;

use std::time::Duration;

use fanfare::config::{AccessKey, Config, Glob, LagPolicy};
use fanfare::server::Draft;
use serde_json::{Value, json};
use support::multiplex::*;
use support::*;
use tungstenite::Message;

fn id_of(answer: &Answer) -> String {
    let body: Value = serde_json::from_str(&answer.body).unwrap();
    body["id"].as_str().unwrap().to_owned()
}

#[test]
fn each_channel_of_a_command_is_answered_in_order_and_then_has_what_it_missed_and_what_comes() {
    let server = start(config());
    let first = id_of(&publish(server.address, "news", "one"));
    publish(server.address, "news", "two");
    let mut client = multiplex(server.address);
    let command = json!({"event": "fanfare:subscribe", "ref": 1, "data": [
        {"channel": "news", "since": first},
        {"channel": "chat-7", "since": "1-1"},
        {"channel": "no name"},
        {"channel": "ticks", "last": 10},
    ]});
    say(&mut client, &command.to_string());
    let answers: Vec<_> = (0..5).map(|_| next(&mut client)).collect();
    let seen: Vec<_> = answers.iter().map(|one| (one["event"].as_str(), one["channel"].as_str())).collect();
    let expected = [
        (Some("fanfare:subscribed"), Some("news")),
        (Some("fanfare:gap"), Some("chat-7")),
        (Some("fanfare:error"), Some("no name")),
        (Some("fanfare:subscribed"), Some("ticks")),
        (None, Some("news")),
    ];
    assert_eq!(seen, expected, "{answers:?}");
    assert!(answers[..4].iter().all(|answer| answer["ref"] == 1));
    assert_eq!((&answers[0]["data"]["since"], &answers[1]["data"]["missed"]), (&first.into(), &Value::Null));
    assert_eq!(answers[4]["data"], "two");
    publish(server.address, "ticks", "three");
    let tick = next(&mut client);
    assert_eq!((&tick["channel"], &tick["data"]), (&"ticks".into(), &"three".into()));
}

#[test]
fn the_bytes_of_a_publication_are_the_envelope_with_the_name_in_front() {
    let server = start(config());
    let mut client = multiplex(server.address);
    subscribe(&mut client, "news");
    server.handle.publish(Draft::json("news", r#"{"price":1.5}"#).unwrap().event("tick").unwrap()).unwrap();
    let text = text(&mut client);
    let (id, rest) = text.strip_prefix(r#"{"channel":"news","id":""#).unwrap().split_once('"').unwrap();
    assert!(id.ends_with("-1"), "{text}");
    assert_eq!(rest, r#","event":"tick","data":{"price":1.5}}"#);
}

#[test]
fn a_publication_is_acknowledged_by_its_ref_and_without_one_only_delivered() {
    let server = start(config());
    let mut client = multiplex(server.address);
    let mut reader = envelopes(server.address, "chat-7");
    say(&mut client, r#"{"channel":"chat-7","event":"say","ref":"a","data":"hi"}"#);
    let answer = next(&mut client);
    assert_eq!((&answer["event"], &answer["ref"]), (&"fanfare:published".into(), &"a".into()));
    assert_eq!(answer["data"]["subscribers"], 1);
    let got = next(&mut reader);
    assert_eq!(
        (&got["id"], &got["event"], &got["data"]),
        (&answer["data"]["id"], &"say".into(), &"hi".into())
    );
    say(&mut client, r#"{"channel":"chat-7","encoding":"base64","data":"AP8="}"#);
    say(&mut client, r#"{"channel":"chat-7","ref":3,"data":{"a":[1]}}"#);
    assert_eq!(next(&mut client)["ref"], 3, "the one without a ref is not acknowledged");
    assert_eq!(next(&mut reader)["encoding"], "base64");
    assert_eq!(next(&mut reader)["data"], json!({"a": [1]}));
}

#[test]
fn a_publication_that_is_repeated_with_its_key_is_published_once_also_over_another_connection() {
    let server = start(config());
    let mut reader = envelopes(server.address, "chat");
    let say_it = |data: &str| {
        let mut client = multiplex(server.address);
        say(&mut client, &format!(r#"{{"channel":"chat","ref":1,"key":"7f3a","data":"{data}"}}"#));
        next(&mut client)
    };
    let (first, again) = (say_it("hi"), say_it("hi"));
    assert_eq!(first, again);
    assert_eq!(fault(&say_it("another")), ("conflict", 422));
    publish(server.address, "chat", "end");
    assert_eq!([next(&mut reader)["data"].clone(), next(&mut reader)["data"].clone()], ["hi", "end"]);
}

#[test]
fn after_an_unsubscription_nothing_more_of_the_channel_comes() {
    let server = start(config());
    let mut client = multiplex(server.address);
    subscribe(&mut client, "a");
    subscribe(&mut client, "b");
    publish(server.address, "a", "1");
    assert_eq!(next(&mut client)["data"], "1");
    say(&mut client, r#"{"event":"fanfare:unsubscribe","ref":5,"data":["a","never"]}"#);
    for channel in ["a", "never"] {
        let answer = next(&mut client);
        assert_eq!(answer, json!({"event": "fanfare:unsubscribed", "channel": channel, "ref": 5}));
    }
    publish(server.address, "a", "2");
    publish(server.address, "b", "3");
    assert_eq!(next(&mut client)["data"], "3");
}

#[test]
fn who_subscribes_again_is_told_where_it_is_and_nothing_changes() {
    let server = start(config());
    let mut client = multiplex(server.address);
    subscribe(&mut client, "a");
    let id = id_of(&publish(server.address, "a", "1"));
    assert_eq!(next(&mut client)["id"], *id);
    let again = subscribe(&mut client, "a");
    assert_eq!(again["data"]["since"], *id);
    publish(server.address, "a", "2");
    publish(server.address, "a", "3");
    assert_eq!([next(&mut client)["data"].clone(), next(&mut client)["data"].clone()], ["2", "3"]);
}

#[test]
fn what_is_kept_of_a_channel_is_asked_for_without_a_subscription() {
    let server = start(config());
    let ids: Vec<_> = (1..=3).map(|n| id_of(&publish(server.address, "news", &n.to_string()))).collect();
    let mut client = multiplex(server.address);
    say(&mut client, r#"{"event":"fanfare:history","ref":3,"data":{"channel":"news","last":2}}"#);
    let answer = next(&mut client);
    let expected = json!({"event": "fanfare:history", "channel": "news", "ref": 3, "data": {
        "messages": [{"id": ids[1], "data": "2"}, {"id": ids[2], "data": "3"}], "next": ids[2],
    }});
    assert_eq!(answer, expected);
    publish(server.address, "news", "4");
    say(&mut client, r#"{"event":"fanfare:history","data":{"channel":"news","since":"1-1"}}"#);
    let answer = next(&mut client);
    assert_eq!(answer["data"]["gap"], json!({"missed": null}));
}

#[test]
fn a_fault_of_a_command_leaves_the_connection_open_and_a_message_that_is_no_json_closes_it_with_1007() {
    let server = start(config());
    let mut client = multiplex(server.address);
    for (message, expected) in [
        (r#"{"event":"fanfare:subscribe","ref":1,"data":{}}"#, ("bad_command", 400)),
        (r#"{"event":"fanfare:dance","data":1}"#, ("bad_command", 400)),
        (r#"{"data":1}"#, ("bad_command", 400)),
        (r#"{"channel":"@fanfare.dashboard","data":1}"#, ("bad_command", 400)),
        (r#"{"channel":"a","event":"fanfare","data":"x","encoding":"hex"}"#, ("bad_command", 400)),
        ("[]", ("bad_command", 400)),
    ] {
        say(&mut client, message);
        assert_eq!(fault(&next(&mut client)), expected, "{message}");
    }
    subscribe(&mut client, "a");
    say(&mut client, "{");
    assert_eq!(fault(&next(&mut client)), ("bad_command", 400));
    assert_eq!(u16::from(close_frame(&mut client).unwrap().code), 1007);
    let mut client = multiplex(server.address);
    client.send(Message::binary(vec![1])).unwrap();
    assert_eq!(u16::from(close_frame(&mut client).unwrap().code), 1003);
}

#[test]
fn a_connection_that_was_refused_a_hundred_times_is_closed() {
    let server = start(config());
    let mut client = multiplex(server.address);
    for _ in 0..100 {
        say(&mut client, "1");
    }
    for _ in 0..100 {
        assert_eq!(fault(&next(&mut client)), ("bad_command", 400));
    }
    assert_eq!(fault(&next(&mut client)), ("too_many", 429));
    assert_eq!(u16::from(close_frame(&mut client).unwrap().code), 4429);
}

#[test]
fn a_connection_has_as_many_subscriptions_as_the_limit_says() {
    let server = start(Config { client_subscriptions: 3, ..config() });
    let mut client = multiplex(server.address);
    for channel in ["a", "b", "c"] {
        subscribe(&mut client, channel);
    }
    say(&mut client, r#"{"event":"fanfare:subscribe","data":[{"channel":"d"}]}"#);
    assert_eq!(fault(&next(&mut client)), ("too_many", 429));
    say(&mut client, r#"{"event":"fanfare:unsubscribe","data":["b"]}"#);
    next(&mut client);
    subscribe(&mut client, "d");
}

#[test]
fn a_handshake_without_the_subprotocol_is_refused_with_a_sentence() {
    let server = start(config());
    let refused = handshake(server.address, "/channels", &[]).unwrap_err();
    assert_eq!(refused.status(), 400);
    let body = String::from_utf8(refused.body().clone().unwrap()).unwrap();
    assert!(body.contains("new WebSocket(url, \"fanfare.v1.json\")"), "{body}");
}

#[test]
fn a_client_that_asks_for_nothing_is_closed_with_4408_and_one_that_has_asked_is_not() {
    let server = start(Config { handshake_timeout: Duration::from_millis(300), ..config() });
    let (mut silent, mut reader) = (multiplex(server.address), multiplex(server.address));
    subscribe(&mut reader, "a");
    assert_eq!(fault(&next(&mut silent)), ("timeout", 408));
    assert_eq!(u16::from(close_frame(&mut silent).unwrap().code), 4408);
    publish(server.address, "a", "still there");
    assert_eq!(next(&mut reader)["data"], "still there");
}

#[test]
fn a_payload_past_the_bound_is_too_large_and_the_connection_goes_on() {
    let server = start(Config { max_lag: 1024, ..config() });
    let mut client = multiplex(server.address);
    let message = json!({"channel": "a", "ref": 1, "data": "x".repeat(1025)});
    say(&mut client, &message.to_string());
    assert_eq!(fault(&next(&mut client)), ("too_large", 413));
    say(&mut client, &json!({"channel": "a", "ref": 2, "data": "x".repeat(1024)}).to_string());
    assert_eq!(next(&mut client)["event"], "fanfare:published");
}

#[test]
fn a_channel_that_lags_too_far_is_ended_with_the_place_to_go_on_and_the_others_stay() {
    const PAYLOAD_LEN: usize = 32 * 1024;
    let lag_policy = vec![(Glob::new("quiet"), LagPolicy::Skip)];
    let config = Config { max_lag: 256 * 1024, lag_grace: Duration::ZERO, lag_policy, ..config() };
    let server = start(Config { history_bytes: vec![(Glob::new("*"), 64 << 20)], ..config });
    let fields = [("Sec-WebSocket-Protocol", "fanfare.v1.json")];
    let mut slow = stalled(server.address, "/channels", &fields);
    subscribe(&mut slow, "loud");
    subscribe(&mut slow, "quiet");
    let mut prompt = envelopes(server.address, "loud");
    for number in 0..600 {
        let text = format!("{number:08}{}", "x".repeat(PAYLOAD_LEN - 8));
        publish_draft(&server.handle, &Draft::text("loud", text).unwrap());
        next(&mut prompt);
    }
    let mut last = Value::Null;
    let since = loop {
        let message = next(&mut slow);
        if message["event"] == "fanfare:unsubscribed" {
            assert_eq!((&message["channel"], &message["data"]["code"]), (&"loud".into(), &"lagged".into()));
            break message["data"]["since"].clone();
        }
        last = message["id"].clone();
    };
    assert_eq!(since, last, "the place is the last publication that came");
    publish(server.address, "quiet", "still there");
    assert_eq!(next(&mut slow)["data"], "still there");
}

#[test]
fn a_client_that_inflates_gets_compressed_publications() {
    let server = start(config());
    let fields = [("Sec-WebSocket-Extensions", "permessage-deflate")];
    let path = "/channels";
    let fields = [&[("Sec-WebSocket-Protocol", "fanfare.v1.json")], &fields[..]].concat();
    let (client, response) = handshake(server.address, path, &fields).unwrap();
    assert!(response.headers().contains_key("sec-websocket-extensions"));
    drop(client);
    let mut raw = connect(server.address);
    let head = "GET /channels HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
                Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\
                Sec-WebSocket-Protocol: fanfare.v1.json\r\nSec-WebSocket-Extensions: permessage-deflate\r\n\r\n";
    assert_eq!(exchange(&mut raw, head.as_bytes()).status, 101);
    let command = br#"{"event":"fanfare:subscribe","data":[{"channel":"a"}]}"#;
    std::io::Write::write_all(&mut raw, &masked_frame(0x81, command)).unwrap();
    let read = |raw: &mut std::net::TcpStream| {
        let mut header = [0; 2];
        std::io::Read::read_exact(raw, &mut header).unwrap();
        let mut payload = vec![0; usize::from(header[1] & 0x7f)];
        std::io::Read::read_exact(raw, &mut payload).unwrap();
        (header[0], payload)
    };
    assert_eq!(read(&mut raw).0, 0x81, "answers are short");
    publish(server.address, "a", &"compressible ".repeat(100));
    assert_eq!(read(&mut raw).0, 0xc1, "RSV1 of RFC 7692");
}

#[test]
fn a_publication_to_the_channel_of_the_url_is_acknowledged_by_its_ref_and_repeated_by_its_key() {
    let server = start(config());
    let mut client = envelopes(server.address, "chat");
    say(&mut client, r#"{"event":"say","data":"hi","ref":7,"key":"k"}"#);
    let both = [next(&mut client), next(&mut client)];
    let ack = both.iter().find(|message| message["event"] == "fanfare:published").unwrap();
    let said = both.iter().find(|message| message["event"] == "say").unwrap();
    assert_eq!((&ack["ref"], &ack["data"]["id"]), (&json!(7), &said["id"]));
    say(&mut client, r#"{"event":"say","data":"hi","ref":8,"key":"k"}"#);
    let again = next(&mut client);
    assert_eq!((&again["ref"], &again["data"]), (&json!(8), &ack["data"]));
    say(&mut client, r#"{"event":"say","data":"another","key":"k"}"#);
    assert_eq!(fault(&next(&mut client)), ("conflict", 422));
    say(&mut client, r#"{"data":1,"ref":[]}"#);
    assert_eq!(u16::from(close_frame(&mut client).unwrap().code), 1008);
}

#[test]
fn a_client_that_has_proved_who_it_is_may_be_silent() {
    let keys = vec![AccessKey::with_all_rights("default", "secret")];
    let timeout = Duration::from_millis(200);
    let server = start(Config { keys, handshake_timeout: timeout, ..config() });
    let mut holder = multiplex_with(server.address, "/channels", &[("Authorization", "Bearer secret")]);
    let mut nobody = multiplex(server.address);
    assert_eq!(u16::from(close_frame(&mut nobody).unwrap().code), 4408);
    say(&mut holder, r#"{"channel":"a","ref":1,"data":1}"#);
    assert_eq!(next(&mut holder)["event"], "fanfare:published");
}
