//! The end of a client's time by a wall clock that is set, without waiting for it.

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use mio::net::TcpStream;
use mio::{Poll, Token};

use super::*;
use crate::config::{AccessKey, Config};
use crate::server::access::{Asker, Whom};
use crate::server::api::routes::Door;
use crate::server::broker::Broker;
use crate::server::broker::engine::Engine;
use crate::server::broker::mailbox::mailboxes;
use crate::server::broker::retention::Retention;
use crate::server::connection::stream::Stream;
use crate::server::connection::timeouts::Due;
use crate::server::outbound::Trust;
use crate::server::shared::Shared;
use crate::token::{Key, Keys};

const SECRET: &[u8] = b"0123456789abcdef0123456789abcdef";

/// When the server began, in seconds since 1970.
const BEGAN_S: u64 = 1_790_000_000;

fn context(config: Config) -> Context {
    let poll = Poll::new().unwrap();
    let mailboxes = mailboxes(std::slice::from_ref(&poll), Token(0)).unwrap();
    let broker = Broker::new(mailboxes, 0, Retention::new(&config), Engine::Local);
    let mut cx = Context::new(0, Arc::new(Shared::new(config, broker, 10, &Trust::default())));
    cx.began_unix_ms = BEGAN_S * 1000;
    cx.now = Millis(5000);
    cx
}

/// The context of a server that takes tokens by [`SECRET`], and keys `old-secret`, until 100 s after it began.
fn with_tokens() -> Context {
    let mut token_keys = Keys::default();
    token_keys.push(Key::secret("k", SECRET).unwrap()).unwrap();
    let old =
        AccessKey { not_after_s: Some(BEGAN_S + 100), ..AccessKey::with_all_rights("old", "old-secret") };
    context(Config { token_keys, keys: vec![old], ..Config::default() })
}

/// A token that expires 100 s after the server began, with this beside its globs.
fn token(more: &str) -> String {
    let encode = |text: &str| BASE64_URL_SAFE_NO_PAD.encode(text);
    let claims = format!(
        r#"{{"sub":"u42","iat":{BEGAN_S},"exp":{},"fanfare":{{"subscribe":["a"]{more}}}}}"#,
        BEGAN_S + 100
    );
    let signed = format!("{}.{}", encode(r#"{"alg":"HS256"}"#), encode(&claims));
    let key = aws_lc_rs::hmac::Key::new(aws_lc_rs::hmac::HMAC_SHA256, SECRET);
    let signature = aws_lc_rs::hmac::sign(&key, signed.as_bytes());
    format!("{signed}.{}", BASE64_URL_SAFE_NO_PAD.encode(signature))
}

/// A connection that has asked for the channel `a` with these header fields, and the peer's end of it.
fn asked(fields: &str, cx: &mut Context) -> (Connection, std::net::TcpStream) {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let peer = std::net::TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let (socket, _) = listener.accept().unwrap();
    socket.set_nonblocking(true).unwrap();
    let mut connection = Connection::new(Stream::new(TcpStream::from_std(socket)), cx.now, Door::Public);
    let head = format!("GET /channels/a?since= HTTP/1.1\r\nHost: h\r\n{fields}\r\n");
    let _ = connection.receive_requests(head.as_bytes(), cx);
    (connection, peer)
}

/// A connection of a publisher by this credential, which has sent all of its request but the last byte.
fn publishing(path: &str, credential: &str, cx: &mut Context) -> (Connection, std::net::TcpStream) {
    let (mut connection, peer) = asked("", cx);
    connection.abandon_poll(cx);
    let head = format!(
        "POST {path} HTTP/1.1\r\nHost: h\r\nContent-Length: 28\r\nAuthorization: Bearer {credential}\r\n\r\n"
    );
    let _ = connection.receive_requests(head.as_bytes(), cx);
    let _ = connection.receive_requests(br#"[{"channel":"a","data":"x"}"#, cx);
    (connection, peer)
}

fn websocket(credential: &str, cx: &mut Context) -> (Connection, std::net::TcpStream) {
    let fields = format!(
        "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n\
         Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Protocol: fanfare.v1.json\r\n\
         Authorization: Bearer {credential}\r\n"
    );
    asked(&fields, cx)
}

fn stream(credential: &str, cx: &mut Context) -> (Connection, std::net::TcpStream) {
    asked(&format!("Accept: text/event-stream\r\nAuthorization: Bearer {credential}\r\n"), cx)
}

/// The wall clock is set to so many seconds after the server began by it, while the server's own clock stands still.
fn set_clock(seconds: u64, cx: &mut Context) {
    cx.began_unix_ms = (BEGAN_S + seconds) * 1000 - cx.now.0;
}

/// What the connection has put into its outbox since, as text.
fn said(connection: &mut Connection, act: impl FnOnce(&mut Connection)) -> String {
    let before = connection.outbox.unsent().len();
    act(connection);
    String::from_utf8_lossy(&connection.outbox.unsent()[before..]).into_owned()
}

#[test]
fn a_clock_that_jumps_over_the_end_of_a_token_ends_what_lives_by_it_at_once() {
    for (open, ends) in [
        (websocket as fn(&str, &mut Context) -> _, "The token expired 30 s ago: exp 1790000100"),
        (stream, "event: fanfare:expired\n"),
    ] {
        let mut cx = with_tokens();
        let (mut connection, _peer) = open(&token(""), &mut cx);
        set_clock(129, &mut cx);
        assert_eq!(connection.due(&cx), None, "30 s of leeway");
        assert_eq!(connection.deadline(&cx), Millis(6000));
        set_clock(130, &mut cx);
        assert_eq!(connection.due(&cx), Some(Due::Unauthorized));
        let told = said(&mut connection, |connection| {
            assert_eq!(connection.expire(Due::Unauthorized, &mut cx), Next::Wait);
        });
        assert!(told.contains(ends), "{told}");
        assert_ne!(connection.due(&cx), Some(Due::Unauthorized), "it is said once");
    }
}

#[test]
fn a_clock_that_is_set_back_gives_a_token_its_time_again() {
    let mut cx = with_tokens();
    let (connection, _peer) = websocket(&token(""), &mut cx);
    set_clock(130, &mut cx);
    assert_eq!(connection.due(&cx), Some(Due::Unauthorized));
    set_clock(50, &mut cx);
    assert_eq!(connection.due(&cx), None);
}

#[test]
fn a_stay_counts_from_the_handshake_and_not_by_the_end_of_the_token() {
    let mut cx = with_tokens();
    let (mut connection, _peer) = websocket(&token(r#","stay":600"#), &mut cx);
    cx.began_unix_ms = (BEGAN_S + 605) * 1000 + 999 - cx.now.0;
    assert_ne!(connection.due(&cx), Some(Due::Unauthorized), "it began within the second after 5 s");
    set_clock(606, &mut cx);
    assert_eq!(connection.due(&cx), Some(Due::Unauthorized));
    let told = said(&mut connection, |connection| connection.end_stay(&mut cx));
    assert!(told.contains(r#""code":"expired","status":401,"message":"The 600 s are over"#), "{told}");
}

#[test]
fn a_key_that_is_over_ends_what_it_let_in() {
    let mut cx = with_tokens();
    let (mut connection, _peer) = websocket("old-secret", &mut cx);
    set_clock(99, &mut cx);
    assert_eq!(connection.due(&cx), None, "and without a leeway");
    set_clock(100, &mut cx);
    assert_eq!(connection.due(&cx), Some(Due::Unauthorized));
    let told = said(&mut connection, |connection| connection.end_stay(&mut cx));
    assert!(told.contains("The key old expired at 2026-09-21T14:15:00Z."), "{told}");
}

#[test]
fn a_removed_key_ends_subscriptions_at_once_and_closes_within_half_a_minute() {
    let mut cx = with_tokens();
    let (mut connection, _peer) = websocket("old-secret", &mut cx);
    assert!(!connection.subscriptions.is_empty());
    let other = Config { token_keys: Keys::default(), ..Config::default() };
    let _ = cx.shared.reload_access(&other);
    cx.access = cx.shared.access();
    let told = said(&mut connection, |connection| {
        assert_eq!(connection.check_standing(&[], &mut cx), (false, Next::Wait));
    });
    assert!(told.is_empty() && connection.subscriptions.is_empty(), "{told}");
    let close_at = connection.identity.as_ref().and_then(|who| who.ends_at(cx.began_unix_ms)).unwrap();
    assert!((5000..35_000).contains(&close_at.0), "{close_at:?}");
    assert_eq!(
        connection.check_standing(&[], &mut cx),
        (false, Next::Wait),
        "another reload changes nothing"
    );
    cx.now = close_at;
    assert_eq!(connection.due(&cx), Some(Due::Unauthorized));
    let told = said(&mut connection, |connection| {
        assert_eq!(connection.expire(Due::Unauthorized, &mut cx), Next::Wait);
    });
    assert!(told.contains(r#""code":"bad_token""#) && told.contains("The key old was removed."), "{told}");
}

#[test]
fn what_a_client_sends_whose_token_was_revoked_in_the_same_turn_is_not_published() {
    for path in ["/channels/a", "/channels"] {
        for is_revoked in [false, true] {
            let mut cx = with_tokens();
            let (mut connection, _peer) = publishing(path, &token(r#","publish":["a"]"#), &mut cx);
            if is_revoked {
                let asker = Asker { loop_index: 0, connection: 7 };
                cx.shared.guard.revoke(Whom::Sub("u42".into()), BEGAN_S + 6, Some(asker)).unwrap();
            }
            let told = said(&mut connection, |connection| {
                let _ = connection.receive_requests(b"]", &mut cx);
            });
            let published = cx.shared.broker.state_of("a").map_or(0, |state| state.last.sequence);
            assert_eq!(published, u64::from(!is_revoked), "{path}: {told}");
            let expected = if is_revoked { "HTTP/1.1 403 " } else { "HTTP/1.1 200 " };
            assert!(told.starts_with(expected), "{told}");
            assert_eq!(told.contains("The token of u42 was revoked at "), is_revoked, "{told}");
        }
    }
}
