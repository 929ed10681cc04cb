//! RFC 6455 §4.2: each condition, present and missing.

use super::*;
use crate::http::{Event, Limits, RequestReader};

const FIELDS: [&str; 5] = [
    "Host: server.example.com",
    "Upgrade: websocket",
    "Connection: Upgrade",
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
    "Sec-WebSocket-Version: 13",
];

fn request(line: &str, fields: &[&str]) -> Request {
    let mut reader = RequestReader::new(Limits::default());
    reader.receive(format!("{line}\r\n{}\r\n\r\n", fields.join("\r\n")).as_bytes());
    match reader.poll() {
        Ok(Some(Event::Head(request))) => request,
        other => panic!("{other:?} of {fields:?}"),
    }
}

fn upgrade_with(fields: &[&str]) -> Result<Upgrade, Error> {
    Upgrade::from_request(&request("GET /chat HTTP/1.1", fields))
}

/// The handshake of RFC 6455 §1.3 with one field in another's place; an empty one leaves it out.
fn upgrade_but(name: &str, field: &str) -> Result<Upgrade, Error> {
    let fields: Vec<&str> = FIELDS
        .into_iter()
        .map(|other| if other.starts_with(name) { field } else { other })
        .filter(|field| !field.is_empty())
        .collect();
    upgrade_with(&fields)
}

#[test]
fn the_handshake_of_the_rfc_is_answered_as_the_rfc_does() {
    let upgrade = upgrade_with(&FIELDS).unwrap();
    assert_eq!(upgrade.accept(), "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
    let mut out = Vec::new();
    upgrade.encode_response(&mut out, None, None);
    assert_eq!(
        String::from_utf8(out).unwrap(),
        "HTTP/1.1 101 Switching Protocols\r\n\
         Upgrade: websocket\r\n\
         Connection: Upgrade\r\n\
         Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\
         \r\n"
    );
}

#[test]
fn upgrade_and_connection_are_lists_in_any_case() {
    assert!(upgrade_but("Upgrade", "upgrade: h2c, WebSocket").is_ok());
    assert!(upgrade_but("Connection", "connection: keep-alive, UPGRADE").is_ok());
    assert!(upgrade_but("Connection", "Connection: keep-alive\r\nConnection: upgrade").is_ok());
}

#[test]
fn each_condition_is_checked() {
    for (name, field, error) in [
        ("Upgrade", "", Error::NotUpgrade),
        ("Upgrade", "Upgrade: websockets", Error::NotUpgrade),
        ("Connection", "", Error::UpgradeConnection),
        ("Connection", "Connection: keep-alive", Error::UpgradeConnection),
        ("Sec-WebSocket-Version", "", Error::WebSocketVersion),
        ("Sec-WebSocket-Version", "Sec-WebSocket-Version: 8", Error::WebSocketVersion),
        ("Sec-WebSocket-Version", "Sec-WebSocket-Version: 013", Error::WebSocketVersion),
        ("Sec-WebSocket-Version", "Sec-WebSocket-Version: 13, 8", Error::WebSocketVersion),
        (
            "Sec-WebSocket-Version",
            "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Version: 13",
            Error::WebSocketVersion,
        ),
        ("Sec-WebSocket-Key", "", Error::KeyMissing),
        ("Host", "Host: a\r\nContent-Length: 1", Error::UpgradeBody),
        ("Host", "Host: a\r\nTransfer-Encoding: chunked", Error::UpgradeBody),
    ] {
        assert_eq!(upgrade_but(name, field), Err(error), "{name} -> {field:?}");
    }
}

#[test]
fn a_key_is_sixteen_bytes_of_base64_and_nothing_else() {
    for key in [
        "",
        "dGhlIHNhbXBsZSBub25jZQ",
        "dGhlIHNhbXBsZSBub25jZQ=",
        "dGhlIHNhbXBsZSBub25jZQ===",
        "dGhlIHNhbXBsZSBub25jZ===",
        "dGhlIHNhbXBsZSBub25j",
        "dGhlIHNhbXBsZSBub25jZSE=",
        "dGhlIHNhbXBsZSBub25jZSEh",
        "dGhlIHNhbXBsZSBub25jZQ==dGhlIHNhbXBsZSBub25jZQ==",
        "dGhlIHNhbXBsZSBub25j_Q==",
        "dGhlIHNhbXBsZ BSub25jZQ==",
    ] {
        let field = format!("Sec-WebSocket-Key: {key}");
        assert_eq!(upgrade_but("Sec-WebSocket-Key", &field), Err(Error::KeyInvalid), "{key}");
    }
    let repeated = format!("{}\r\n{}", FIELDS[3], FIELDS[3]);
    assert_eq!(upgrade_but("Sec-WebSocket-Key", &repeated), Err(Error::KeyRepeated));
}

#[test]
fn a_key_with_bits_left_over_is_taken_as_sent() {
    let upgrade = upgrade_but("Sec-WebSocket-Key", "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZR==").unwrap();
    assert_ne!(upgrade.accept(), "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
}

#[test]
fn a_handshake_is_a_get_in_http_1_1() {
    let post = request("POST /chat HTTP/1.1", &FIELDS);
    assert_eq!(Upgrade::from_request(&post), Err(Error::UpgradeMethod));
    let old = request("GET /chat HTTP/1.0", &FIELDS);
    assert_eq!(Upgrade::from_request(&old), Err(Error::UpgradeVersion));
}

#[test]
fn a_plain_get_does_not_want_websocket() {
    let plain = request("GET /chat HTTP/1.1", &FIELDS[..1]);
    assert!(!is_upgrade(&plain));
    assert_eq!(Upgrade::from_request(&plain), Err(Error::NotUpgrade));
    assert!(is_upgrade(&request("GET /chat HTTP/1.1", &FIELDS)));
}

#[test]
fn a_subprotocol_is_chosen_only_from_those_offered() {
    let offer = "Host: a\r\nSec-WebSocket-Protocol: chat, fanfare.v1.json\r\nSec-WebSocket-Protocol: x";
    let upgrade = upgrade_but("Host", offer).unwrap();
    for offered in ["chat", "fanfare.v1.json", "x"] {
        assert!(upgrade.offers(offered), "{offered}");
    }
    for other in ["Chat", "fanfare", "y", ""] {
        assert!(!upgrade.offers(other), "{other}");
    }
    let mut out = Vec::new();
    upgrade.encode_response(&mut out, Some("fanfare.v1.json"), None);
    assert!(out.ends_with(b"\r\nSec-WebSocket-Protocol: fanfare.v1.json\r\n\r\n"));
}

#[test]
#[should_panic(expected = "did not offer")]
fn a_subprotocol_that_was_not_offered_is_a_bug() {
    upgrade_with(&FIELDS).unwrap().encode_response(&mut Vec::new(), Some("chat"), None);
}

#[test]
fn bytes_behind_the_handshake_are_kept() {
    let mut reader = RequestReader::new(Limits::default());
    reader.receive(format!("GET / HTTP/1.1\r\n{}\r\n\r\n", FIELDS.join("\r\n")).as_bytes());
    reader.receive(b"\x81\x80\x00\x00\x00\x00");
    let Ok(Some(Event::Head(request))) = reader.poll() else { panic!("no head") };
    assert!(Upgrade::from_request(&request).is_ok());
    assert_eq!(reader.take_rest(), b"\x81\x80\x00\x00\x00\x00");
    assert_eq!(reader.buffered(), 0);
}
