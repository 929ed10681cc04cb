//! A backend that decides who may do what, over real sockets: what it is asked, what its answers do to clients, and that its
//! faults let nobody in and throw nobody out before their time.

#![allow(clippy::unwrap_used)] // a helper that fails fails its test

mod support;

use std::io::Write;
use std::net::TcpStream;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use fanfare::config::{AccessKey, AuthRule, Backend, Config, Glob};
use fanfare::server::Draft;
use fanfare::token::KeyFiles;
use jsonwebtoken::{EncodingKey, Header};
use serde_json::Value;
use support::backend::{Act, Got, Stub, json, text};
use support::event_stream::Events;
use support::metrics::Scraper;
use support::multiplex::{multiplex_with, next, say};
use support::*;
use tungstenite::Message;

const ENVELOPES: (&str, &str) = ("Sec-WebSocket-Protocol", "fanfare.v1.json");

const SECRET: &[u8] = b"0123456789abcdef0123456789abcdef";

/// How long a test waits for what must not come.
const SILENCE: Duration = Duration::from_millis(200);

/// A stub whose behaviour a test changes.
#[derive(Clone)]
struct Mood(Arc<Mutex<Act>>);

impl Mood {
    fn is(act: Act) -> Self {
        Self(Arc::new(Mutex::new(act)))
    }

    fn becomes(&self, act: Act) {
        *self.0.lock().unwrap() = act;
    }

    fn stub(&self) -> Stub {
        let mood = self.clone();
        Stub::new(move |_| mood.0.lock().unwrap().clone())
    }
}

/// A 200 that allows these channels, as `u42`, for so many seconds.
fn allow(channels: &[&str], ttl_s: u64) -> Act {
    let channels = serde_json::to_string(channels).unwrap();
    json(&format!(r#"{{"allow":{channels},"sub":"u42","ttl":{ttl_s},"message":"It is by invitation."}}"#))
}

/// Everything is the backend's to decide, but for channels `open-*`.
fn asking(url: &str) -> Config {
    let backend = Backend { timeout: Duration::from_secs(10), ..Backend::new(url) };
    let auth = vec![(Glob::new("open-*"), AuthRule::Open)];
    Config { backend: Some(backend), auth, allow_origin: vec!["*".into()], ..config() }
}

fn with_times(url: &str, timeout: Duration, grace: Duration) -> Config {
    Config { backend: Some(Backend { timeout, grace, ..Backend::new(url) }), ..asking(url) }
}

fn get(path: &str, fields: &str) -> Vec<u8> {
    format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n{fields}\r\n").into_bytes()
}

/// What a client with this cookie is answered that asks for what is kept.
fn poll(server: &Running, channel: &str, cookie: &str) -> Answer {
    let path = format!("/channels/{channel}?wait=0");
    request(server.address, "GET", &path, &format!("Cookie: sid={cookie}\r\n"), b"")
}

fn post(server: &Running, channel: &str, cookie: &str) -> Answer {
    let fields = format!("Cookie: sid={cookie}\r\nContent-Type: text/plain\r\n");
    request(server.address, "POST", &format!("/channels/{channel}"), &fields, b"hi")
}

fn body_of(got: &Got) -> Value {
    serde_json::from_str(&got.body).unwrap()
}

#[test]
fn the_backend_is_shown_what_the_client_brought_and_its_yes_lets_in_by_every_transport() {
    let stub = Mood::is(allow(&["news"], 60)).stub();
    let server = start(asking(&stub.url()));
    let mut events = Events::open(
        server.address,
        "/channels/news",
        "Cookie: sid=1\r\nOrigin: https://a.example\r\nUser-Agent: test\r\n",
    )
    .begun();
    let got = stub.next();
    let shown =
        ["Cookie", "Origin", "User-Agent", "X-Forwarded-For", "Authorization"].map(|name| got.field(name));
    assert_eq!(shown, [Some("sid=1"), Some("https://a.example"), Some("test"), Some("127.0.0.1"), None]);
    assert_eq!(got.body, r#"{"action":"subscribe","channels":["news"],"transport":"sse"}"#);
    let (mut plain, _) = handshake(server.address, "/channels/news", &[("Cookie", "sid=2")]).unwrap();
    assert_eq!(body_of(&stub.next())["transport"], "websocket");
    assert_eq!(poll(&server, "news", "3").status, 200);
    assert_eq!(body_of(&stub.next())["transport"], "long_poll");
    server.handle.publish(Draft::text("news", "one").unwrap()).unwrap();
    assert_eq!((events.next().unwrap().data, support::text(&mut plain)), ("one".into(), "one".into()));
    assert_eq!(stub.count(), 0);
}

#[test]
fn a_no_is_told_with_the_sentence_of_the_backend_and_asked_about_once_in_five_seconds() {
    let mood = Mood::is(allow(&[], 60));
    let stub = mood.stub();
    let server = start(asking(&stub.url()));
    for _ in 0..3 {
        let answer = poll(&server, "news", "1");
        assert_eq!((answer.status, answer.body.trim()), (403, "It is by invitation."));
    }
    assert_eq!(stub.count(), 1);
    mood.becomes(text(401, "Sign in first."));
    let refused = *handshake(server.address, "/channels/news", &[("Cookie", "sid=2")]).unwrap_err();
    assert_eq!(refused.status(), 403);
    assert_eq!(refused.body().as_deref().map(<[u8]>::trim_ascii), Some(&b"Sign in first."[..]));
    mood.becomes(Act::Answer("HTTP/1.1 403 x\r\nContent-Length: 0\r\n\r\n".into()));
    let answer = poll(&server, "news", "3");
    assert_eq!(answer.body.trim(), "The backend does not let this client subscribe to news.");
    assert_eq!(request(server.address, "GET", "/channels/open-a?wait=0", "", b"").status, 200);
}

/// Revokes a user with the key of `ops`, and gives the answer.
fn revoke(server: &Running, sub: &str) -> String {
    let body = format!(r#"{{"sub":"{sub}"}}"#);
    request(server.address, "POST", "/revoke", "Authorization: Bearer ops-secret\r\n", body.as_bytes()).body
}

/// These WebSockets and this stream are told that their user u42 was revoked, and end.
fn assert_revoked(clients: [Client; 2], mut events: Events) {
    for mut client in clients {
        let frame = close_frame(&mut client).unwrap();
        assert_eq!(u16::from(frame.code), 4403);
        assert!(frame.reason.starts_with("The user u42 was revoked at 20"), "{frame:?}");
    }
    let last = events.next().unwrap();
    assert!(last.name == "fanfare:error" && last.data.contains(r#""code":"revoked""#), "{last:?}");
    assert_eq!(events.next(), None);
}

#[test]
fn revoking_a_user_ends_what_the_backend_let_in_and_the_next_request_is_for_the_backend_to_decide() {
    let mood = Mood::is(allow(&["news"], 600));
    let stub = mood.stub();
    let keys = vec![AccessKey::with_all_rights("ops", "ops-secret")];
    let server = start(Config { keys, ..asking(&stub.url()) });
    let fields = [("Cookie", "sid=1"), ENVELOPES];
    let (one, _) = handshake(server.address, "/channels/news", &fields).unwrap();
    let mut many = multiplex_with(server.address, "/channels", &fields[..1]);
    say(&mut many, r#"{"event":"fanfare:subscribe","data":[{"channel":"news"}]}"#);
    assert_eq!(next(&mut many)["event"], "fanfare:subscribed");
    let events = Events::open(server.address, "/channels/news", "Cookie: sid=1\r\n").begun();
    assert_eq!(stub.count(), 1);
    assert_eq!(revoke(&server, "u7"), r#"{"revoked":0}"#);
    assert_eq!(revoke(&server, "u42"), r#"{"revoked":3}"#);
    assert_revoked([one, many], events);
    assert_eq!(poll(&server, "news", "1").status, 200, "the backend says yes still");
    assert_eq!(stub.count(), 1, "and was asked");
    assert_eq!(revoke(&server, "u42"), r#"{"revoked":0}"#);
    mood.becomes(text(403, "Not any more."));
    assert_eq!(poll(&server, "news", "1").status, 403);
}

/// A token of `u7` for nothing, that a client of the backend may carry.
fn token_of_another() -> String {
    let now_s = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
    let claims =
        serde_json::json!({"sub": "u7", "iat": now_s, "exp": now_s + 600, "fanfare": {"subscribe": []}});
    jsonwebtoken::encode(&Header::default(), &claims, &EncodingKey::from_secret(SECRET)).unwrap()
}

#[test]
fn revoking_a_user_ends_what_the_backend_let_in_as_that_one_also_with_a_token_of_another() {
    let stub = Mood::is(allow(&["news"], 600)).stub();
    let token_keys = KeyFiles::read([("key", SECRET)]).unwrap().keys;
    let keys = vec![AccessKey::with_all_rights("ops", "ops-secret")];
    let auth = vec![(Glob::new("open-*"), AuthRule::Open), (Glob::new("*"), AuthRule::Hook)];
    let server = start(Config { keys, token_keys, auth, ..asking(&stub.url()) });
    let bearer = format!("Bearer {}", token_of_another());
    let fields = [("Cookie", "sid=1"), ("Authorization", &*bearer), ENVELOPES];
    let (mut one, _) = handshake(server.address, "/channels/news", &fields).unwrap();
    assert_eq!(next(&mut one)["event"], "fanfare:authorized");
    let mut many = multiplex_with(server.address, "/channels", &fields[..2]);
    assert_eq!(next(&mut many)["event"], "fanfare:authorized");
    say(&mut many, r#"{"event":"fanfare:subscribe","data":[{"channel":"news"}]}"#);
    assert_eq!(next(&mut many)["event"], "fanfare:subscribed");
    let head = format!("Cookie: sid=1\r\nAuthorization: {bearer}\r\n");
    let events = Events::open(server.address, "/channels/news", &head).begun();
    let mut elsewhere = multiplex_with(server.address, "/channels", &fields[..2]);
    assert_eq!(next(&mut elsewhere)["event"], "fanfare:authorized");
    say(&mut elsewhere, r#"{"event":"fanfare:subscribe","data":[{"channel":"open-a"}]}"#);
    assert_eq!(next(&mut elsewhere)["event"], "fanfare:subscribed");
    assert_eq!(revoke(&server, "u8"), r#"{"revoked":0}"#);
    assert_eq!(revoke(&server, "u42"), r#"{"revoked":3}"#);
    assert_revoked([one, many], events);
    server.handle.publish(Draft::text("open-a", "one").unwrap()).unwrap();
    assert_eq!(next(&mut elsewhere)["data"], "one", "the backend was not asked about what this one reads");
    assert_eq!(revoke(&server, "u7"), r#"{"revoked":1}"#, "by its token");
}

#[test]
fn two_thousand_clients_that_come_back_are_one_call_a_credential() {
    let stub = Mood::is(allow(&["news"], 600)).stub();
    let server = start(asking(&stub.url()));
    for _ in 0..2 {
        let clients: Vec<TcpStream> = (0..2_000)
            .map(|number| {
                let mut stream = connect(server.address);
                let cookie = format!("Cookie: sid={}\r\n", number % 4);
                let upgrade = String::from_utf8(upgrade_request("/channels/news")).unwrap();
                let upgrade = upgrade.replacen("\r\n", &format!("\r\n{cookie}"), 1);
                stream.write_all(upgrade.as_bytes()).unwrap();
                stream
            })
            .collect();
        for mut client in clients {
            assert_eq!(read_answer(&mut client).status, 101);
        }
    }
    assert_eq!(stub.count(), 4);
}

#[test]
fn a_backend_that_fails_lets_nobody_in_and_says_when_to_come_back() {
    let redirect = "HTTP/1.1 302 x\r\nLocation: /login\r\nContent-Length: 0\r\n\r\n";
    for (act, sentence) in [
        (text(500, "oops"), "The backend that decides answered 500; try again in 5 s."),
        (Act::Answer(redirect.into()), "The backend that decides answered 302; try again in 5 s."),
        (json("[]"), "The backend that decides gave an answer that is not understood; try again in 5 s."),
        (Act::Cut, "The backend that decides cannot be reached; try again in 5 s."),
        (Act::Hang, "The backend that decides did not answer in 500 ms; try again in 5 s."),
        (
            Act::Drip(format!("HTTP/1.1 200 OK\r\nX: {}", "x".repeat(2_000))),
            "The backend that decides did not answer in 500 ms; try again in 5 s.",
        ),
    ] {
        let stub = Mood::is(act).stub();
        let server = start(with_times(&stub.url(), Duration::from_millis(500), Duration::ZERO));
        let answer = poll(&server, "news", "1");
        assert_eq!((answer.status, answer.body.trim()), (503, sentence));
        assert!(answer.head.contains("\r\nRetry-After: 5\r\n"), "{answer:?}");
        assert_eq!(request(server.address, "GET", "/channels/open-a?wait=0", "", b"").status, 200);
    }
}

#[test]
fn requests_behind_one_that_waits_are_answered_after_it_and_in_order() {
    let mood = Mood::is(Act::Hang);
    let stub = mood.stub();
    let server = start(with_times(&stub.url(), Duration::from_millis(700), Duration::ZERO));
    let mut stream = connect(server.address);
    let requests =
        [get("/channels/news?wait=0", ""), get("/healthz", ""), get("/channels/open-a?wait=0", "")];
    stream.write_all(&requests.concat()).unwrap();
    stub.next();
    mood.becomes(allow(&["news"], 60));
    let statuses = [0; 3].map(|_| read_answer(&mut stream).status);
    assert_eq!(statuses, [503, 200, 200]);
}

#[test]
fn a_post_is_asked_about_once_and_not_for_each_message_and_its_body_is_kept_meanwhile() {
    let mood = Mood::is(allow(&["news"], 60));
    let stub = mood.stub();
    let server = start(asking(&stub.url()));
    for _ in 0..5 {
        assert_eq!(post(&server, "news", "1").status, 200);
    }
    let got = stub.next();
    assert_eq!(got.body, r#"{"action":"publish","channels":["news"],"transport":"post"}"#);
    assert_eq!(stub.count(), 0);
    assert_eq!(post(&server, "else", "1").status, 403);
    mood.becomes(text(500, ""));
    assert_eq!(post(&server, "news", "2").status, 503);
}

#[test]
fn messages_of_a_subscriber_wait_for_the_backend_in_order_and_are_asked_about_once() {
    let stub = Stub::new(|got| match body_of(got)["action"] == "publish" {
        true => Act::Drip("HTTP/1.1 204 No Content\r\n\r\n".into()),
        false => allow(&["chat-7"], 60),
    });
    let server = start(asking(&stub.url()));
    let (mut client, _) = handshake(server.address, "/channels/chat-7", &[("Cookie", "sid=1")]).unwrap();
    for number in 0..20 {
        client.send(Message::text(number.to_string())).unwrap();
    }
    for number in 0..20 {
        assert_eq!(support::text(&mut client), number.to_string());
    }
    assert_eq!(stub.count(), 2, "whether it may read, and whether it may publish");
}

#[test]
fn a_subscriber_that_may_not_publish_is_told_so() {
    let stub = Stub::new(|got| match body_of(got)["action"] == "publish" {
        true => text(403, "Read only."),
        false => allow(&["chat-7"], 60),
    });
    let server = start(asking(&stub.url()));
    let (mut client, _) = handshake(server.address, "/channels/chat-7", &[]).unwrap();
    client.send(Message::text("hi")).unwrap();
    let frame = close_frame(&mut client).unwrap();
    assert_eq!((u16::from(frame.code), frame.reason.as_str()), (1008, "Read only."));
}

#[test]
fn commands_about_many_channels_are_one_call_and_what_is_known_is_not_asked_again() {
    let stub = Mood::is(allow(&["news", "chat-7"], 60)).stub();
    let server = start(asking(&stub.url()));
    let mut client = multiplex_with(server.address, "/channels", &[ENVELOPES, ("Cookie", "sid=1")]);
    let subscribe = r#"{"event":"fanfare:subscribe","ref":1,"data":[{"channel":"news"},{"channel":"ops"},{"channel":"open-a"},{"channel":"chat-7"}]}"#;
    say(&mut client, subscribe);
    say(&mut client, r#"{"event":"fanfare:history","ref":2,"data":{"channel":"news","last":1}}"#);
    let answers: Vec<_> = (0..5).map(|_| next(&mut client)).collect();
    let seen: Vec<_> = answers.iter().map(|one| (one["event"].as_str(), one["channel"].as_str())).collect();
    let expected = [
        (Some("fanfare:subscribed"), Some("news")),
        (Some("fanfare:error"), Some("ops")),
        (Some("fanfare:subscribed"), Some("open-a")),
        (Some("fanfare:subscribed"), Some("chat-7")),
        (Some("fanfare:history"), Some("news")),
    ];
    assert_eq!(seen, expected);
    assert_eq!(answers[1]["data"]["code"], "forbidden");
    assert_eq!(answers[1]["data"]["message"], "It is by invitation.");
    assert_eq!(
        stub.next().body,
        r#"{"action":"subscribe","channels":["news","ops","chat-7"],"transport":"websocket"}"#
    );
    say(&mut client, r#"{"channel":"chat-7","ref":3,"data":"hi"}"#);
    let mut events =
        [next(&mut client), next(&mut client)].map(|one| one["event"].as_str().map(str::to_owned));
    events.sort();
    assert_eq!(events, [None, Some("fanfare:published".to_owned())]);
    assert_eq!(body_of(&stub.next())["action"], "publish");
    assert_eq!(stub.count(), 0);
}

#[test]
fn a_stream_of_many_channels_is_one_call_and_all_or_nothing() {
    let mood = Mood::is(allow(&["a", "b"], 60));
    let stub = mood.stub();
    let server = start(asking(&stub.url()));
    Events::open(server.address, "/channels?channel=a&channel=b&channel=open-c", "Cookie: sid=1\r\n").begun();
    assert_eq!(body_of(&stub.next())["channels"], serde_json::json!(["a", "b"]));
    mood.becomes(allow(&["a"], 60));
    let answer = exchange(
        &mut connect(server.address),
        &get("/channels?channel=a&channel=b&wait=0", "Cookie: sid=2\r\n"),
    );
    assert_eq!((answer.status, answer.body.trim()), (403, "It is by invitation."));
    assert_eq!(stub.count(), 1);
}

#[test]
fn at_the_end_of_its_time_a_living_connection_is_asked_about_again_and_a_no_ends_it() {
    let mood = Mood::is(allow(&["news"], 1));
    let stub = mood.stub();
    let server = start(asking(&stub.url()));
    let (mut enveloped, _) =
        handshake(server.address, "/channels/news", &[ENVELOPES, ("Cookie", "sid=1")]).unwrap();
    let (mut plain, _) = handshake(server.address, "/channels/news", &[("Cookie", "sid=1")]).unwrap();
    let mut events = Events::open(server.address, "/channels/news", "Cookie: sid=1\r\n").begun();
    let mut many = multiplex_with(server.address, "/channels", &[ENVELOPES, ("Cookie", "sid=1")]);
    say(&mut many, r#"{"event":"fanfare:subscribe","data":[{"channel":"news"}]}"#);
    assert_eq!(next(&mut many)["event"], "fanfare:subscribed");
    stub.next();
    stub.next(); // asked again, and still allowed
    server.handle.publish(Draft::text("news", "one").unwrap()).unwrap();
    assert_eq!((support::text(&mut plain), events.next().unwrap().data), ("one".into(), "one".into()));
    mood.becomes(text(403, "You were banned."));
    let frame = close_frame(&mut plain).unwrap();
    assert_eq!((u16::from(frame.code), frame.reason.as_str()), (4403, "You were banned."));
    assert_eq!(next(&mut enveloped)["data"], "one");
    let error = next(&mut enveloped);
    assert_eq!((&error["event"], &error["data"]["code"]), (&"fanfare:error".into(), &"forbidden".into()));
    assert_eq!(u16::from(close_frame(&mut enveloped).unwrap().code), 4403);
    let error = events.next().unwrap();
    assert_eq!(error.name, "fanfare:error");
    assert_eq!(error.data, r#"{"code":"forbidden","status":403,"message":"You were banned."}"#);
    assert_eq!(events.next(), None);
    assert_eq!(next(&mut many)["data"], "one");
    let ended = next(&mut many);
    assert_eq!(
        (&ended["event"], &ended["data"]["code"]),
        (&"fanfare:unsubscribed".into(), &"forbidden".into())
    );
    say(&mut many, r#"{"event":"fanfare:history","ref":9,"data":{"channel":"open-a","last":1}}"#);
    assert_eq!(next(&mut many)["ref"], 9, "its socket lives");
}

#[test]
fn a_page_of_another_origin_is_not_let_in_by_what_was_said_of_the_sites_own() {
    let stub = Stub::new(|got| match got.field("Origin") {
        Some("https://good.example") => allow(&["news"], 60),
        _ => text(403, "Not from there."),
    });
    let server = start(asking(&stub.url()));
    let status = |origin: &str| {
        let fields = format!("Cookie: sid=1\r\n{origin}");
        request(server.address, "GET", "/channels/news?wait=0", &fields, b"").status
    };
    let (good, evil) = ("Origin: https://good.example\r\n", "Origin: https://evil.example\r\n");
    assert_eq!([good, evil, "", good, evil].map(status), [200, 403, 403, 200, 403]);
    assert_eq!(stub.count(), 3, "each once");
}

#[test]
fn a_living_connection_that_is_another_users_when_asked_about_again_ends_and_comes_back_as_that_one() {
    let named = |sub: &str| json(&format!(r#"{{"allow":["news"],"sub":"{sub}","ttl":1}}"#));
    let mood = Mood::is(named("u1"));
    let stub = mood.stub();
    let server = start(asking(&stub.url()));
    let cookie = ("Cookie", "sid=1");
    let (mut plain, _) = handshake(server.address, "/channels/news", &[cookie]).unwrap();
    let (mut enveloped, _) = handshake(server.address, "/channels/news", &[ENVELOPES, cookie]).unwrap();
    let mut events = Events::open(server.address, "/channels/news", "Cookie: sid=1\r\n").begun();
    let subscribe = r#"{"event":"fanfare:subscribe","data":[{"channel":"news"}]}"#;
    let mut many = multiplex_with(server.address, "/channels", &[ENVELOPES, cookie]);
    say(&mut many, subscribe);
    assert_eq!(next(&mut many)["event"], "fanfare:subscribed");
    mood.becomes(named("u2"));
    let sentence = "This connection is that of u1; its session is that of u2 now: connect again.";
    let frame = close_frame(&mut plain).unwrap();
    assert_eq!((u16::from(frame.code), frame.reason.as_str()), (4401, sentence));
    for client in [&mut enveloped, &mut many] {
        let error = next(client);
        assert_eq!((&error["event"], &error["data"]["message"]), (&"fanfare:error".into(), &sentence.into()));
        assert_eq!(u16::from(close_frame(client).unwrap().code), 4401);
    }
    let last = events.next().unwrap();
    assert!(last.name == "fanfare:expired" && last.data.contains(sentence), "{last:?}");
    assert_eq!(events.next(), None);
    let (mut back, _) = handshake(server.address, "/channels/news", &[cookie]).unwrap();
    server.handle.publish(Draft::text("news", "one").unwrap()).unwrap();
    assert_eq!(support::text(&mut back), "one");
}

#[test]
fn a_command_that_the_backend_answers_for_another_user_is_not_carried_out_and_ends_the_socket() {
    let named = |sub: &str| json(&format!(r#"{{"allow":["a","b"],"sub":"{sub}","ttl":60}}"#));
    let mood = Mood::is(named("u1"));
    let stub = mood.stub();
    let server = start(asking(&stub.url()));
    let mut many = multiplex_with(server.address, "/channels", &[ENVELOPES, ("Cookie", "sid=1")]);
    say(&mut many, r#"{"event":"fanfare:subscribe","data":[{"channel":"a"}]}"#);
    assert_eq!(next(&mut many)["event"], "fanfare:subscribed");
    mood.becomes(named("u2"));
    say(&mut many, r#"{"event":"fanfare:subscribe","data":[{"channel":"b"}]}"#);
    assert_eq!(next(&mut many)["data"]["code"], "expired");
    assert_eq!(u16::from(close_frame(&mut many).unwrap().code), 4401);
}

#[test]
fn who_is_in_stays_while_the_backend_fails_until_the_grace_is_over() {
    let mood = Mood::is(allow(&["news"], 1));
    let stub = mood.stub();
    let server = start(with_times(&stub.url(), Duration::from_secs(1), Duration::from_secs(4)));
    let (mut client, _) = handshake(server.address, "/channels/news", &[("Cookie", "sid=1")]).unwrap();
    let began = Instant::now();
    mood.becomes(text(500, "oops"));
    stub.next();
    stub.next(); // asked again, in vain
    assert_eq!(poll(&server, "news", "1").status, 503, "nobody new");
    server.handle.publish(Draft::text("news", "one").unwrap()).unwrap();
    assert_eq!(support::text(&mut client), "one");
    let frame = close_frame(&mut client).unwrap();
    assert_eq!(u16::from(frame.code), 1013);
    assert_eq!(frame.reason.as_str(), "The backend that decides answered 500; try again in 5 s.");
    assert!(began.elapsed() > Duration::from_secs(4), "{:?}", began.elapsed());
}

#[test]
fn a_long_poll_waits_no_longer_than_it_is_allowed() {
    let stub = Mood::is(allow(&["news"], 1)).stub();
    let server = start(asking(&stub.url()));
    let mut stream = connect(server.address);
    let answer = exchange(&mut stream, &get("/channels/news?wait=60", "Cookie: sid=1\r\n"));
    assert_eq!(answer.status, 200);
    assert!(answer.body.contains(r#""messages":[]"#), "{answer:?}");
}

#[test]
fn a_client_that_leaves_while_the_backend_is_asked_leaves_nothing_behind() {
    let stub = Mood::is(Act::Hang).stub();
    let server = start(with_metrics(with_times(&stub.url(), Duration::from_secs(1), Duration::ZERO)));
    let mut scraper = Scraper::new(server.metrics.unwrap());
    let mut stream = connect(server.address);
    stream.write_all(&get("/channels/news", "Cookie: sid=1\r\n")).unwrap();
    stub.next();
    reset(stream);
    scraper.settles(&[
        ("fanfare_auth_calls_total{outcome=\"timeout\"}", 1),
        ("fanfare_auth_waiting", 0),
        ("fanfare_auth_calls", 0),
        // That of the scraper.
        (&support::metrics::connections("http"), 1),
    ]);
}

#[test]
fn past_the_bound_of_calls_that_wait_clients_are_told_at_once() {
    let stub = Mood::is(Act::Hang).stub();
    let server = start(with_metrics(with_times(&stub.url(), Duration::from_secs(10), Duration::ZERO)));
    let mut clients: Vec<TcpStream> = (0..32 + 1_024)
        .map(|number| {
            let mut stream = connect(server.address);
            stream.write_all(&get("/channels/news?wait=0", &format!("Cookie: sid={number}\r\n"))).unwrap();
            stream
        })
        .collect();
    let mut scraper = Scraper::new(server.metrics.unwrap());
    scraper.settles(&[("fanfare_auth_calls", 32), ("fanfare_auth_calls_waiting", 1_024)]);
    let answer = poll(&server, "news", "other");
    assert_eq!(answer.status, 503);
    assert!(answer.body.starts_with("Too many questions wait for the backend that decides"), "{answer:?}");
    assert_eq!(request(server.address, "GET", "/channels/open-a?wait=0", "", b"").status, 200);
    drop(server);
    let told = clients.iter_mut().take(3).map(|client| String::from_utf8(rest(client)).unwrap());
    assert!(told.into_iter().all(|told| told.is_empty() || told.contains(" 503 ")));
}

#[test]
fn while_the_backend_is_away_clients_that_come_back_do_not_make_calls() {
    let stub = Mood::is(Act::Cut).stub();
    let server = start(asking(&stub.url()));
    let began = Instant::now();
    for number in 0..500 {
        assert_eq!(poll(&server, "news", &number.to_string()).status, 503);
    }
    // Each call is made twice, since a cut connection may have been a kept one.
    let (calls, seconds) = (stub.count(), began.elapsed().as_secs() as usize);
    assert!(calls <= 2 * (8 + 1 + seconds), "{calls} in {seconds} s");
}

#[test]
fn a_stopping_server_answers_those_who_wait() {
    let stub = Mood::is(Act::Hang).stub();
    let server = start(with_times(&stub.url(), Duration::from_millis(300), Duration::ZERO));
    let mut stream = connect(server.address);
    stream.write_all(&get("/channels/news?wait=0", "")).unwrap();
    stub.next();
    server.handle.shutdown();
    assert_eq!(read_answer(&mut stream).status, 503);
    server.join().unwrap();
    assert!(stub.is_quiet_for(SILENCE));
}
