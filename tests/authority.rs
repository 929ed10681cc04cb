//! Authority over real sockets: the key, the channels open to clients, the origins, and where a server may listen.

mod support;

use fanfare::config::Config;
use fanfare::server::{Server, StartError};
use support::*;
use tungstenite::Message;

#[test]
fn posting_needs_the_key() {
    let server = start(with_key());
    let mut subscriber = websocket(server.address, "/channels/prices");
    let post = |fields| request(server.address, "POST", "/channels/prices", fields, b"x");
    let answer = post("Content-Type: text/plain\r\n");
    assert_eq!(answer.status, 401);
    assert!(answer.head.contains("WWW-Authenticate: Bearer\r\n"), "{answer:?}");
    assert!(answer.body.contains("Authorization: Bearer KEY"), "{answer:?}");
    assert_eq!(post("Content-Type: text/plain\r\nAuthorization: Bearer wrong\r\n").status, 401);
    assert_eq!(post("Content-Type: text/plain\r\nAuthorization: Bearer secret\r\n").status, 200);
    assert_eq!(text(&mut subscriber), "x");
}

#[test]
fn a_body_without_the_key_is_refused_before_it_is_read() {
    let server = start(with_key());
    let mut stream = connect(server.address);
    let head = b"POST /channels/prices HTTP/1.1\r\nHost: h\r\nContent-Length: 1000000\r\nExpect: 100-continue\r\n\r\n";
    let answer = exchange(&mut stream, head);
    assert_eq!(answer.status, 401);
    assert!(answer.head.contains("Connection: close\r\n"), "{answer:?}");
}

#[test]
fn a_client_that_may_not_publish_is_closed_with_1008_at_its_first_frame() {
    let server = start(with_key());
    let mut client = websocket(server.address, "/channels/prices");
    client.send(Message::text("x")).unwrap();
    let frame = close_frame(&mut client).unwrap();
    assert_eq!(u16::from(frame.code), 1008);
    assert!(frame.reason.contains("publishing"), "{}", frame.reason);
}

#[test]
fn a_client_publishes_where_a_glob_says_so() {
    let server = start(with_key());
    let mut client = websocket(server.address, "/channels/chat-1");
    client.send(Message::text("x")).unwrap();
    assert_eq!(text(&mut client), "x");
}

#[test]
fn a_post_without_the_key_publishes_where_a_glob_says_so() {
    let server = start(with_key());
    let mut subscriber = websocket(server.address, "/channels/chat-1");
    publish(server.address, "chat-1", "x");
    assert_eq!(text(&mut subscriber), "x");
    let wrong = "Authorization: Bearer wrong\r\n";
    assert_eq!(request(server.address, "POST", "/channels/chat-1", wrong, b"y").status, 401);
}

#[test]
fn a_client_that_sends_the_key_with_its_handshake_publishes_everywhere() {
    let server = start(with_key());
    let fields = [("Authorization", "Bearer secret")];
    let (mut client, _) = handshake(server.address, "/channels/prices", &fields).unwrap();
    client.send(Message::text("x")).unwrap();
    assert_eq!(text(&mut client), "x");
}

#[test]
fn a_page_of_another_origin_is_refused_with_403() {
    let server = start(Config { allow_origin: vec!["https://example.com".into()], ..config() });
    let refused =
        handshake(server.address, "/channels/news", &[("Origin", "https://evil.example")]).unwrap_err();
    assert_eq!(refused.status(), 403);
    assert!(
        String::from_utf8_lossy(refused.body().as_deref().unwrap_or_default()).contains("--allow-origin")
    );
    assert!(handshake(server.address, "/channels/news", &[("Origin", "https://example.com")]).is_ok());
    assert!(handshake(server.address, "/channels/news", &[]).is_ok());
    let evil = "Origin: https://evil.example\r\n";
    assert_eq!(request(server.address, "POST", "/channels/news", evil, b"x").status, 403);
}

#[test]
fn the_echo_and_the_page_are_of_the_development_mode() {
    let server = start(with_key());
    assert_eq!(handshake(server.address, "/echo", &[]).unwrap_err().status(), 404);
    assert!(!request(server.address, "GET", "/", "", b"").head.contains("text/html"));
    let server = start(Config { echo: true, ..with_key() });
    assert!(handshake(server.address, "/echo", &[]).is_ok());
}

#[test]
fn a_server_for_others_without_a_key_does_not_start() {
    let exposed = Config { listen: vec!["0.0.0.0:0".parse().unwrap()], ..config() };
    let Err(StartError::Config(error)) = Server::bind(exposed) else { panic!("it started") };
    assert!(error.to_string().contains("--publish-key KEY"), "{error}");
}
