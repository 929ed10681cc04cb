//! TLS in the process over real sockets: every transport, by a client that is not ours.
//!
//! Certificates and their reload are tested elsewhere.
#![cfg(feature = "tls")]

mod support;

use support::tls::{Authority, ask_over};
use support::*;
use tungstenite::Message;

#[test]
fn a_websocket_over_tls_is_echoed() {
    let authority = Authority::new();
    let server = start(authority.tls(config()));
    let stream = authority.connect(server.tls.unwrap());
    let (mut client, _) = tungstenite::client("ws://localhost/echo", stream).unwrap();
    for len in [0, 1, 125, 126, 5000, 70_000] {
        let text = "x".repeat(len);
        client.send(Message::text(text.as_str())).unwrap();
        assert_eq!(client.read().unwrap(), Message::text(text));
    }
    client.close(None).unwrap();
    assert!(matches!(client.read().unwrap(), Message::Close(_)));
}

#[test]
fn a_request_over_tls_is_answered() {
    let authority = Authority::new();
    let server = start(authority.tls(config()));
    let mut stream = authority.connect(server.tls.unwrap());
    for _ in 0..3 {
        let answer = ask_over(&mut stream, b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n");
        assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
    }
}
