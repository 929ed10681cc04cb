//! Tokens over real sockets: each carrier, each refusal, the end of a token, its refresh, revocation, and keys that come and go.
//!
//! The tokens are made by `jsonwebtoken`. What is in a token, and which rule is for whom, is tested without sockets.

#![allow(clippy::unwrap_used)] // a helper that fails fails its test

mod support;

use std::io::Write;
use std::net::SocketAddr;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use fanfare::config::{AccessKey, AuthRule, Config, Glob};
use fanfare::token::{Key, Keys};
use jsonwebtoken::{EncodingKey, Header};
use serde_json::{Value, json};
use support::event_stream::Events;
use support::*;
use tungstenite::Message;

const SECRET: &[u8] = b"0123456789abcdef0123456789abcdef";
const NEXT_SECRET: &[u8] = b"fedcba9876543210fedcba9876543210";

/// How long after its `exp` a token still counts, in seconds.
const LEEWAY_S: i64 = 30;

fn now_s() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs() as i64
}

/// A token by this secret that expires in so many seconds, with these claims beside.
fn signed(secret: &[u8], expires_in_s: i64, claims: Value) -> String {
    let mut all = json!({"iat": now_s() - 60, "exp": now_s() + expires_in_s});
    all.as_object_mut().unwrap().extend(claims.as_object().unwrap().clone());
    jsonwebtoken::encode(&Header::default(), &all, &EncodingKey::from_secret(secret)).unwrap()
}

fn token(expires_in_s: i64, claims: Value) -> String {
    signed(SECRET, expires_in_s, claims)
}

fn claims_of(sub: &str) -> Value {
    json!({"sub": sub, "fanfare": {"subscribe": ["news", "chat-*"], "publish": ["chat-7"]}})
}

fn u42() -> String {
    token(600, claims_of("u42"))
}

/// A token that counts for about two seconds more.
fn fading() -> String {
    token(2 - LEEWAY_S, claims_of("u42"))
}

fn keys(secrets: &[(&str, &[u8])]) -> Keys {
    let mut keys = Keys::default();
    secrets.iter().for_each(|(kid, secret)| keys.push(Key::secret(kid, secret).unwrap()).unwrap());
    keys
}

/// Tokens by [`SECRET`]; the key `ops-secret` administers and publishes; `open-*` is open.
fn with_tokens() -> Config {
    Config {
        token_keys: keys(&[("2026-06", SECRET)]),
        keys: vec![AccessKey::with_all_rights("ops", "ops-secret")],
        auth: vec![(Glob::new("open-*"), AuthRule::Open), (Glob::new("closed"), AuthRule::Key)],
        token_in_query: true,
        token_cookie: Some("fanfare".to_owned()),
        allow_origin: vec!["https://a.example".to_owned()],
        ..config()
    }
}

fn bearer(credential: &str) -> String {
    format!("Authorization: Bearer {credential}\r\n")
}

fn get(address: SocketAddr, path: &str, fields: &str) -> Answer {
    let head = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n{fields}\r\n");
    exchange(&mut connect(address), head.as_bytes())
}

fn post(address: SocketAddr, path: &str, fields: &str, body: &str) -> Answer {
    request(address, "POST", path, &format!("Content-Type: text/plain\r\n{fields}"), body.as_bytes())
}

/// Publishes with the key.
fn say(address: SocketAddr, channel: &str, text: &str) {
    let answer = post(address, &format!("/channels/{channel}"), &bearer("ops-secret"), text);
    assert_eq!(answer.status, 200, "{answer:?}");
}

/// A subscriber in envelopes with a token in the list of subprotocols, who was told that it is authorized.
fn reader(address: SocketAddr, channel: &str, token: &str) -> Client {
    let protocols = format!("fanfare.v1.json, bearer.{token}");
    let fields = [("Sec-WebSocket-Protocol", protocols.as_str())];
    let (mut client, response) = handshake(address, &format!("/channels/{channel}"), &fields).unwrap();
    assert_eq!(response.headers()["sec-websocket-protocol"], "fanfare.v1.json");
    let told = next(&mut client);
    assert_eq!(told["event"], "fanfare:authorized", "{told}");
    client
}

fn next(client: &mut Client) -> Value {
    serde_json::from_str(&text(client)).unwrap()
}

/// The code and the reason that a client is closed with; what comes before is passed over.
fn closed(client: &mut Client) -> (u16, String) {
    let frame = close_frame(client).unwrap();
    (frame.code.into(), frame.reason.to_string())
}

/// What a page is told whose handshake is refused: the code and the sentence, then a Close frame with the same.
fn told_in_a_page(address: SocketAddr, channel: &str, protocols: &str) -> (u16, String, String) {
    let fields = [("Sec-WebSocket-Protocol", protocols)];
    let (mut client, response) = handshake(address, &format!("/channels/{channel}"), &fields).unwrap();
    assert_eq!(response.headers()["sec-websocket-protocol"], "fanfare.v1.json");
    let error = next(&mut client);
    assert_eq!(error["event"], "fanfare:error", "{error}");
    let (close_code, reason) = closed(&mut client);
    let sentence = error["data"]["message"].as_str().unwrap().to_owned();
    assert!(sentence.starts_with(&reason) && reason.len() <= 123, "{reason}");
    assert_eq!(reason.len(), sentence.len().min(123));
    (close_code, error["data"]["code"].as_str().unwrap().to_owned(), sentence)
}

// ---- Carriers ----

#[test]
fn a_token_opens_its_channels_by_each_carrier_and_is_never_sent_back() {
    let server = start(with_tokens());
    let (address, token) = (server.address, u42());
    let cookie = format!("Cookie: other=1; fanfare={token}\r\n");
    for (path, fields) in [
        ("/channels/news".to_owned(), bearer(&token)),
        ("/channels/news".to_owned(), cookie.clone()),
        (format!("/channels/news?access_token={token}"), String::new()),
        // The same one three times is one.
        (format!("/channels/news?access_token={token}"), format!("{cookie}{}", bearer(&token))),
    ] {
        let stream = Events::open(address, &path, &fields).begun();
        assert!(!stream.head.contains("eyJ"), "{}", stream.head);
        let separator = if path.contains('?') { '&' } else { '?' };
        let poll = get(address, &format!("{path}{separator}wait=0"), &fields);
        assert_eq!(poll.status, 200, "{poll:?}");
        assert!(!poll.head.contains("eyJ"), "{poll:?}");
    }
    let mut client = reader(address, "news", &token);
    say(address, "news", "hi");
    assert_eq!(next(&mut client)["data"], "hi");
}

#[test]
fn a_handshake_that_offers_the_raw_name_gets_it_with_and_without_a_token() {
    let server = start(with_tokens());
    for (channel, protocols) in
        [("news", format!("fanfare.v1.raw, bearer.{}", u42())), ("open-1", "fanfare.v1.raw".to_owned())]
    {
        let fields = [("Sec-WebSocket-Protocol", protocols.as_str())];
        let path = format!("/channels/{channel}");
        let (mut client, response) = handshake(server.address, &path, &fields).unwrap();
        assert_eq!(response.headers()["sec-websocket-protocol"], "fanfare.v1.raw");
        say(server.address, channel, "hi");
        assert_eq!(text(&mut client), "hi", "the payload alone, and nothing ahead of it");
    }
}

#[test]
fn a_page_of_a_listed_origin_may_send_its_cookie_and_another_may_not() {
    let server = start(with_tokens());
    let cookie = format!("Cookie: fanfare={}\r\n", u42());
    let asked =
        |origin: &str| get(server.address, "/channels/news?wait=0", &format!("{cookie}Origin: {origin}\r\n"));
    let answer = asked("https://a.example");
    assert_eq!(answer.status, 200, "{answer:?}");
    for field in [
        "\r\nAccess-Control-Allow-Origin: https://a.example\r\n",
        "\r\nAccess-Control-Allow-Credentials: true\r\n",
        "\r\nVary: Origin\r\n",
    ] {
        assert!(answer.head.contains(field), "{answer:?}");
    }
    let answer = asked("https://evil.example");
    assert_eq!(answer.status, 403, "{answer:?}");
    assert!(!answer.head.contains("Allow-Credentials"), "{answer:?}");
}

// ---- Refusals ----

/// One refusal: what is asked with which token, and what is told.
struct Case {
    channel: &'static str,
    credential: Option<String>,
    status: u16,
    code: &'static str,
    close_code: u16,
    /// How it begins.
    sentence: &'static str,
    challenge: &'static str,
}

impl Case {
    fn no_token(channel: &'static str, sentence: &'static str) -> Self {
        let (status, code, close_code, challenge) = (401, "no_token", 4401, "Bearer");
        Self { channel, credential: None, status, code, close_code, sentence, challenge }
    }

    fn bad(channel: &'static str, credential: String, code: &'static str, sentence: &'static str) -> Self {
        let (status, close_code, challenge) = (401, 4401, "Bearer error=\"invalid_token\"");
        Self { channel, credential: Some(credential), status, code, close_code, sentence, challenge }
    }

    fn forbidden(channel: &'static str, credential: String, sentence: &'static str) -> Self {
        let (status, close_code, challenge) = (403, 4403, "Bearer error=\"insufficient_scope\"");
        let code = "forbidden";
        Self { channel, credential: Some(credential), status, code, close_code, sentence, challenge }
    }

    /// By long poll, by event stream, by a handshake of payloads alone.
    fn assert_answered(&self, address: SocketAddr) {
        let fields = self.credential.as_deref().map_or_else(String::new, bearer);
        let path = format!("/channels/{}", self.channel);
        let poll = get(address, &format!("{path}?wait=0"), &fields);
        let Err(stream) = Events::on(connect(address), &path, &fields) else {
            panic!("it is refused: {path}")
        };
        let upgrade = "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n\
                       Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";
        let raw = get(address, &path, &format!("{upgrade}{fields}"));
        let challenge = format!("\r\nWWW-Authenticate: {}\r\n", self.challenge);
        for answer in [poll, stream, raw] {
            assert_eq!(answer.status, self.status, "{answer:?}");
            assert!(answer.body.starts_with(self.sentence), "{answer:?}");
            assert!(answer.head.contains(&challenge), "{answer:?}");
        }
    }

    /// By a handshake of envelopes.
    fn assert_told_in_a_page(&self, address: SocketAddr) {
        let mut protocols = "fanfare.v1.json".to_owned();
        self.credential.iter().for_each(|token| protocols += &format!(", bearer.{token}"));
        let (close_code, code, sentence) = told_in_a_page(address, self.channel, &protocols);
        assert_eq!((close_code, code.as_str()), (self.close_code, self.code));
        assert!(sentence.starts_with(self.sentence), "{sentence}");
    }
}

#[test]
fn who_is_refused_is_told_why_on_each_transport() {
    let server = start(with_tokens());
    let foreign = signed(&[7; 32], 600, claims_of("u42"));
    let session = token(600, json!({"sub": "u42"}));
    let expired = token(-LEEWAY_S - 12, claims_of("u42"));
    let needs = "Channel chat-7 needs a token: Authorization: Bearer JWT, ";
    for case in [
        Case::no_token("chat-7", needs),
        Case::no_token("closed", "Channel closed is for holders of a key: "),
        Case::bad("news", foreign, "bad_token", "The signature does not fit key 2026-06 (HS256)."),
        Case::bad("open-1", session, "bad_token", "It has no fanfare claim; is it a session's token?"),
        Case::bad("open-1", expired, "expired", "The token expired 4"),
        Case::forbidden("ops", u42(), "The token of u42 subscribes to news, chat-*; not to ops."),
    ] {
        case.assert_answered(server.address);
        case.assert_told_in_a_page(server.address);
    }
}

#[test]
fn two_tokens_that_differ_are_a_bad_request() {
    let server = start(with_tokens());
    let other = token(600, claims_of("u7"));
    let answer = get(server.address, &format!("/channels/news?wait=0&access_token={other}"), &bearer(&u42()));
    assert_eq!(answer.status, 400, "{answer:?}");
    let told =
        told_in_a_page(server.address, "news", &format!("fanfare.v1.json, bearer.{other}, bearer.{}", u42()));
    assert_eq!((told.0, told.1.as_str()), (4400, "bad_command"));
}

#[test]
fn a_post_publishes_by_a_token_that_names_the_channel() {
    let server = start(with_tokens());
    let mut client = reader(server.address, "chat-7", &u42());
    let posted =
        |channel: &str, fields: &str| post(server.address, &format!("/channels/{channel}"), fields, "hi");
    assert_eq!(posted("chat-7", &bearer(&u42())).status, 200);
    assert_eq!(next(&mut client)["data"], "hi");
    let refused = posted("chat-8", &bearer(&u42()));
    assert_eq!(refused.status, 403, "{refused:?}");
    assert_eq!(refused.body, "The token of u42 publishes to chat-7; not to chat-8.\n");
    assert_eq!(posted("chat-7", "").status, 401);
    assert_eq!(posted("open-1", &bearer("wrong")).status, 401);
}

// ---- The time of a token ----

#[test]
fn who_gives_a_token_is_told_how_long_it_counts() {
    let server = start(with_tokens());
    let protocols = format!("fanfare.v1.json, bearer.{}", u42());
    let fields = [("Sec-WebSocket-Protocol", protocols.as_str())];
    let (mut client, _) = handshake(server.address, "/channels/news?since=", &fields).unwrap();
    let told = next(&mut client);
    let left = told["data"]["expires_in"].as_u64().unwrap();
    assert!((590..=600).contains(&left), "{told}");
    assert_eq!(told, json!({"event": "fanfare:authorized", "data": {"sub": "u42", "expires_in": left}}));
    assert_eq!(next(&mut client)["event"], "fanfare:subscribed", "then where it begins");
}

#[test]
fn a_websocket_is_closed_when_its_token_has_expired() {
    let server = start(with_tokens());
    let mut told = reader(server.address, "news", &fading());
    let (mut raw, _) = {
        let field = format!("Bearer {}", fading());
        handshake(server.address, "/channels/news", &[("Authorization", field.as_str())]).unwrap()
    };
    let error = next(&mut told);
    assert_eq!((&error["event"], &error["data"]["code"]), (&json!("fanfare:error"), &json!("expired")));
    let sentence = error["data"]["message"].as_str().unwrap();
    assert!(sentence.starts_with("The token expired 30 s ago: exp "), "{sentence}");
    for client in [&mut told, &mut raw] {
        let (code, reason) = closed(client);
        assert_eq!(code, 4401);
        assert!(reason.starts_with("The token expired 30 s ago: exp "), "{reason}");
    }
}

#[test]
fn an_event_stream_ends_with_an_event_when_its_token_has_expired() {
    let server = start(with_tokens());
    let token = fading();
    let open = |query: &str| Events::open(server.address, &format!("/channels/news{query}"), &bearer(&token));
    let (mut plain, mut envelopes) = (open("").begun(), open("?protocol=fanfare.v1.json").begun());
    let event = plain.next().unwrap();
    assert_eq!(event.name, "fanfare:expired");
    let data: Value = serde_json::from_str(&event.data).unwrap();
    assert_eq!((&data["code"], &data["status"]), (&json!("expired"), &json!(401)), "{data}");
    assert_eq!(plain.next(), None);
    let last = loop {
        let envelope: Value = serde_json::from_str(&envelopes.next().unwrap().data).unwrap();
        if envelope["event"] != "fanfare:subscribed" {
            break envelope;
        }
    };
    assert_eq!((&last["event"], &last["data"]["code"]), (&json!("fanfare:expired"), &json!("expired")));
    assert_eq!(envelopes.next(), None);
}

#[test]
fn a_long_poll_waits_no_longer_than_its_token_counts() {
    let server = start(with_tokens());
    for path in ["/channels/news?since=&wait=40", "/channels?channel=news&wait=40"] {
        let began = Instant::now();
        let answer = get(server.address, path, &bearer(&fading()));
        assert_eq!(answer.status, 200, "{answer:?}");
        assert!(answer.body.contains(r#""messages":[]"#), "{answer:?}");
        assert!(began.elapsed() < Duration::from_secs(20), "{:?}", began.elapsed());
    }
}

#[test]
fn a_connection_may_outlive_its_token_by_the_stay_that_this_allows_and_no_longer() {
    let server = start(with_tokens());
    let stays = |expires_in_s: i64, stay: u64| {
        token(expires_in_s, json!({"sub": "u42", "fanfare": {"subscribe": ["news"], "stay": stay}}))
    };
    // One that counts for a second more opens a connection that is still there when another of a second ends.
    let mut staying = reader(server.address, "news", &stays(1 - LEEWAY_S, 600));
    let mut short = reader(server.address, "news", &stays(600, 2));
    let (code, reason) = closed(&mut short);
    assert_eq!(code, 4401);
    assert!(reason.starts_with("The 2 s are over for which the token let this connection stay"), "{reason}");
    say(server.address, "news", "still here");
    assert_eq!(next(&mut staying)["data"], "still here");
}

#[test]
fn a_token_is_refreshed_on_the_living_connection() {
    let server = start(with_tokens());
    let mut client = reader(server.address, "news", &fading());
    let mut control = reader(server.address, "news", &fading());
    let authorize = |token: &str| {
        Message::text(json!({"event": "fanfare:authorize", "ref": 6, "data": {"token": token}}).to_string())
    };
    client.send(authorize(&token(600, claims_of("u7")))).unwrap();
    let refused = next(&mut client);
    assert_eq!((&refused["ref"], &refused["data"]["code"]), (&json!(6), &json!("forbidden")), "{refused}");
    client.send(authorize("nonsense")).unwrap();
    assert_eq!(next(&mut client)["data"]["code"], "bad_token");
    client.send(authorize(&u42())).unwrap();
    let told = next(&mut client);
    assert_eq!(
        (&told["event"], &told["ref"], &told["data"]["sub"]),
        (&json!("fanfare:authorized"), &json!(6), &json!("u42"))
    );
    assert_eq!(closed(&mut control).0, 4401, "one that was not refreshed has ended by now");
    say(server.address, "news", "still here");
    assert_eq!(next(&mut client)["data"], "still here");
}

#[test]
fn a_refreshed_token_that_does_not_name_the_channel_ends_the_connection() {
    let server = start(with_tokens());
    let mut client = reader(server.address, "news", &u42());
    let other = token(600, json!({"sub": "u42", "fanfare": {"subscribe": ["chat-*"]}}));
    client
        .send(Message::text(json!({"event": "fanfare:authorize", "data": {"token": other}}).to_string()))
        .unwrap();
    assert_eq!(next(&mut client)["event"], "fanfare:authorized");
    let error = next(&mut client);
    assert_eq!(error["data"]["message"], "The token of u42 subscribes to chat-*; not to news.");
    assert_eq!(closed(&mut client).0, 4403);
}

#[test]
fn a_websocket_publishes_what_its_token_allows_and_a_refreshed_token_may_allow_more() {
    let server = start(with_tokens());
    let listens = token(600, json!({"sub": "u42", "fanfare": {"subscribe": ["chat-*"]}}));
    let message = || Message::text(json!({"data": "hi"}).to_string());
    let mut refused = reader(server.address, "chat-7", &listens);
    refused.send(message()).unwrap();
    assert_eq!(closed(&mut refused).0, 1008);
    let mut client = reader(server.address, "chat-7", &listens);
    client
        .send(Message::text(json!({"event": "fanfare:authorize", "data": {"token": u42()}}).to_string()))
        .unwrap();
    assert_eq!(next(&mut client)["event"], "fanfare:authorized");
    client.send(message()).unwrap();
    assert_eq!(next(&mut client)["data"], "hi");
}

// ---- Revocation ----

#[test]
fn revoking_a_user_ends_its_connections_on_all_loops_at_once_and_refuses_its_tokens() {
    let server = start(with_tokens());
    let address = server.address;
    let (token, other) = (u42(), token(600, claims_of("u7")));
    let mut clients: Vec<_> = (0..4).map(|_| reader(address, "news", &token)).collect();
    let mut many = {
        let protocols = format!("fanfare.v1.json, bearer.{token}");
        handshake(address, "/channels", &[("Sec-WebSocket-Protocol", protocols.as_str())]).unwrap().0
    };
    let mut stream = Events::open(address, "/channels/news", &bearer(&token)).begun();
    let mut stays = reader(address, "news", &other);
    let revoke = |fields: &str, body: &str| post(address, "/revoke", fields, body);
    let answer = revoke(&bearer("ops-secret"), r#"{"sub":"u42"}"#);
    assert_eq!((answer.status, answer.body.as_str()), (200, r#"{"revoked":6}"#), "{answer:?}");
    for client in clients.iter_mut().chain([&mut many]) {
        let (code, reason) = closed(client);
        assert_eq!(code, 4403);
        assert!(reason.starts_with("The token of u42 was revoked at 20"), "{reason}");
    }
    let last = stream.next().unwrap();
    assert!(last.name == "fanfare:error" && last.data.contains(r#""code":"revoked""#), "{last:?}");
    assert_eq!(stream.next(), None);
    let refused = get(address, "/channels/news?wait=0", &bearer(&token));
    assert!(refused.status == 403 && refused.body.contains("was revoked at"), "{refused:?}");
    say(address, "news", "hi");
    assert_eq!(next(&mut stays)["data"], "hi", "another user stays");
    assert_eq!(revoke(&bearer("ops-secret"), r#"{"jti":"9f2c"}"#).body, r#"{"revoked":0}"#);
}

#[test]
fn a_token_by_a_clock_that_is_ahead_is_revoked_with_the_others_of_its_user() {
    let server = start(with_tokens());
    let ahead = token(600, json!({"sub": "u42", "iat": now_s() + 20, "fanfare": {"subscribe": ["news"]}}));
    let mut client = reader(server.address, "news", &ahead);
    let answer = post(server.address, "/revoke", &bearer("ops-secret"), r#"{"sub":"u42"}"#);
    assert_eq!(answer.body, r#"{"revoked":1}"#);
    assert_eq!(closed(&mut client).0, 4403);
    let refused = get(server.address, "/channels/news?wait=0", &bearer(&ahead));
    assert!(refused.status == 403 && refused.body.contains("was revoked at"), "{refused:?}");
}

#[test]
fn revoking_needs_a_key_that_administers_and_a_body_that_names_one_thing() {
    let server = start(with_tokens());
    let revoke = |fields: &str, body: &str| post(server.address, "/revoke", fields, body).status;
    assert_eq!(revoke("", r#"{"sub":"u42"}"#), 401);
    assert_eq!(revoke(&bearer(&u42()), r#"{"sub":"u42"}"#), 401);
    assert_eq!(revoke(&bearer("ops-secret"), r#"{"user":"u42"}"#), 400);
    assert_eq!(revoke(&bearer("ops-secret"), &" ".repeat(2049)), 413);
    assert_eq!(get(server.address, "/revoke", &bearer("ops-secret")).status, 405);
}

#[test]
fn a_token_is_revoked_by_its_own_name_and_the_users_others_are_not() {
    let server = start(with_tokens());
    let named = |jti: &str| token(600, json!({"sub": "u42", "jti": jti, "fanfare": {"subscribe": ["news"]}}));
    let (mut gone, mut stays) =
        (reader(server.address, "news", &named("a")), reader(server.address, "news", &named("b")));
    let answer = post(server.address, "/revoke", &bearer("ops-secret"), r#"{"jti":"a"}"#);
    assert_eq!(answer.body, r#"{"revoked":1}"#);
    assert_eq!(closed(&mut gone).0, 4403);
    say(server.address, "news", "hi");
    assert_eq!(next(&mut stays)["data"], "hi");
}

// ---- Keys ----

#[test]
fn the_use_of_each_key_is_told_in_metrics() {
    let billing = AccessKey {
        publish: vec![Glob::new("invoice-*")],
        read: Vec::new(),
        admin: false,
        ..AccessKey::with_all_rights("billing", "billing-secret")
    };
    let mut configured = with_tokens();
    configured.keys.push(billing);
    let server = start(configured.clone());
    let address = server.address;
    assert_eq!(post(address, "/channels/invoice-7", &bearer("billing-secret"), "x").status, 200);
    let refused = post(address, "/channels/news", &bearer("billing-secret"), "x");
    assert_eq!(refused.status, 403, "{refused:?}");
    assert_eq!(refused.body, "The key billing publishes to invoice-*; not to news.\n");
    // The counts of those who have no key are put together once a turn, those by key at once.
    let used = |name: &str| {
        let scrape = get(address, "/metrics", &bearer("ops-secret"));
        let line = format!("fanfare_key_last_used_seconds{{key=\"{name}\"}} ");
        let (_, value) = scrape.body.split_once(&line).unwrap_or_else(|| panic!("{scrape:?}"));
        let at_s: i64 = value.lines().next().unwrap().parse().unwrap();
        (scrape, at_s)
    };
    let (scrape, at_s) = used("billing");
    assert!((now_s() - 60..=now_s()).contains(&at_s), "{at_s}");
    assert!(scrape.body.contains("\nfanfare_publishes_total{key=\"billing\"} 1\n"), "{scrape:?}");
    assert!(scrape.body.contains("\nfanfare_publishes_total{key=\"ops\"} 0\n"), "{scrape:?}");
    server.handle.reload_access(&configured).unwrap();
    assert!(used("billing").0.body.contains("\nfanfare_publishes_total{key=\"billing\"} 1\n"), "it goes on");
    assert_eq!(get(address, "/metrics", &bearer("billing-secret")).status, 403, "it does not administer");
}

// ---- Reload ----

#[test]
fn keys_rotate_under_a_publisher_at_work_and_who_stays_misses_nothing() {
    const COUNT: usize = 2000;
    let server = start(with_tokens());
    let both = Config { token_keys: keys(&[("2026-06", SECRET), ("2026-09", NEXT_SECRET)]), ..with_tokens() };
    let new = Config { token_keys: keys(&[("2026-09", NEXT_SECRET)]), ..with_tokens() };
    let address = server.address;
    assert_eq!(server.handle.reload_access(&both).unwrap().to_string(), "keys: added 2026-09");
    let mut stays = reader(address, "news", &signed(NEXT_SECRET, 600, claims_of("u7")));
    let mut goes = reader(address, "news", &u42());
    let handle = server.handle.clone();
    let publisher = std::thread::spawn(move || {
        for number in 0..COUNT {
            publish_draft(&handle, &fanfare::server::Draft::text("news", number.to_string()).unwrap());
        }
    });
    // In the middle of it.
    let first: Vec<_> = (0..COUNT / 4).map(|_| next(&mut stays)["data"].clone()).collect();
    assert_eq!(server.handle.reload_access(&new).unwrap().to_string(), "keys: removed 2026-06");
    let rest = (COUNT / 4..COUNT).map(|_| next(&mut stays)["data"].clone());
    let all: Vec<_> = first.into_iter().chain(rest).collect();
    let expected: Vec<_> = (0..COUNT).map(|number| json!(number.to_string())).collect();
    assert_eq!(all, expected);
    publisher.join().unwrap();
    let refused = get(address, "/channels/news?wait=0", &bearer(&u42()));
    assert!(refused.status == 401, "{refused:?}");
    // It reads nothing more since the reload. What it sends closes it now rather than in half a minute.
    goes.send(Message::text(r#"{"data":"hi"}"#)).unwrap();
    let (code, reason) = closed(&mut goes);
    assert_eq!((code, reason.as_str()), (4401, "Key 2026-06, which signed the token, was removed."));
}

#[test]
fn what_a_removed_key_let_in_reads_nothing_more_and_is_closed() {
    let server = start(with_tokens());
    let address = server.address;
    let field = "Bearer ops-secret";
    let mut client = handshake(address, "/channels/closed", &[("Authorization", field)]).unwrap().0;
    say(address, "closed", "before");
    assert_eq!(text(&mut client), "before");
    let other = Config { keys: vec![AccessKey::with_all_rights("next", "next-secret")], ..with_tokens() };
    assert_eq!(server.handle.reload_access(&other).unwrap().to_string(), "keys: added next, removed ops");
    let posted = post(address, "/channels/closed", &bearer("next-secret"), "after");
    assert_eq!(posted.status, 200, "{posted:?}");
    // It reads nothing more since the reload. What it sends closes it now rather than in half a minute.
    client.send(Message::text("x")).unwrap();
    let Message::Close(Some(frame)) = client.read().unwrap() else { panic!("it reads what came after") };
    assert_eq!((u16::from(frame.code), frame.reason.as_str()), (4401, "The key ops was removed."));
    assert_eq!(post(address, "/channels/closed", &bearer("ops-secret"), "x").status, 401);
}

#[test]
fn new_rules_hold_for_connections_that_are_there() {
    let server = start(with_tokens());
    let address = server.address;
    let mut reads = websocket(address, "/channels/open-1");
    let mut poll = connect(address);
    poll.write_all(b"GET /channels/open-2?since=&wait=40 HTTP/1.1\r\nHost: localhost\r\n\r\n").unwrap();
    let mut publishes = reader(address, "chat-7", &u42());
    let closed_now = Config { auth: Vec::new(), ..with_tokens() };
    assert_eq!(server.handle.reload_access(&closed_now).unwrap().to_string(), "no key has changed");
    let answer = read_answer(&mut poll);
    // Whether it came before the reload or after.
    assert_eq!(answer.status, 401, "{answer:?}");
    reads.send(Message::text("x")).unwrap();
    let frame = close_frame(&mut reads).unwrap();
    assert_eq!(u16::from(frame.code), 4401, "{frame:?}");
    assert!(frame.reason.starts_with("Channel open-1 needs a token"), "{frame:?}");
    publishes.send(Message::text(json!({"data": "hi"}).to_string())).unwrap();
    assert_eq!(next(&mut publishes)["data"], "hi", "who may still do so goes on");
}

#[test]
fn a_reload_with_a_fault_changes_nothing() {
    let server = start(with_tokens());
    let faulty = Config { max_lag: 0, auth: Vec::new(), ..with_tokens() };
    assert!(server.handle.reload_access(&faulty).is_err());
    assert_eq!(get(server.address, "/channels/open-1?wait=0", "").status, 200);
}
