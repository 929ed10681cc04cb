//! What a request says of itself. Cuts and refusals are in `reader_tests.rs`.

use super::*;
use crate::http::{Event, Limits, RequestReader};

fn request(head: &str) -> Request {
    let mut reader = RequestReader::new(Limits::default());
    reader.receive(head.as_bytes());
    match reader.poll() {
        Ok(Some(Event::Head(request))) => request,
        other => panic!("{other:?} of {head:?}"),
    }
}

#[test]
fn a_request_has_method_target_path_and_query() {
    let request = request("POST /channels/news?event=a?b HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_eq!(request.method(), "POST");
    assert_eq!(request.target(), "/channels/news?event=a?b");
    assert_eq!(request.path(), "/channels/news");
    assert_eq!(request.query(), Some("event=a?b"));
    assert_eq!(request.minor_version(), 1);
}

#[test]
fn a_target_without_a_query_has_none_and_an_empty_one_is_empty() {
    assert_eq!(request("GET /a HTTP/1.1\r\nHost: a\r\n\r\n").query(), None);
    assert_eq!(request("GET /a? HTTP/1.1\r\nHost: a\r\n\r\n").query(), Some(""));
}

#[test]
fn an_absolute_target_is_seen_as_its_path() {
    let request = request("GET http://b:80/x?y HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_eq!((request.path(), request.query()), ("/x", Some("y")));
}

#[test]
fn a_header_is_found_in_any_case_and_trimmed() {
    let request = request("GET / HTTP/1.1\r\nhOST:\t example.org \t\r\nX:\r\nA: 1\r\na:2\r\n\r\n");
    assert_eq!(request.header("Host"), Some(&b"example.org"[..]));
    assert_eq!(request.header_str("HOST"), Some("example.org"));
    assert_eq!(request.header("x"), Some(&b""[..]));
    assert_eq!(request.header("a"), Some(&b"1"[..]));
    assert_eq!(request.headers("A").collect::<Vec<_>>(), [b"1", b"2"]);
    assert_eq!(request.header("b"), None);
}

#[test]
fn a_header_that_is_not_utf8_has_bytes_and_no_text() {
    let mut reader = RequestReader::new(Limits::default());
    reader.receive(b"GET / HTTP/1.1\r\nHost: a\r\nX: \xff\r\n\r\n");
    let Ok(Some(Event::Head(request))) = reader.poll() else { panic!("no head") };
    assert_eq!(request.header("x"), Some(&b"\xff"[..]));
    assert_eq!(request.header_str("x"), None);
}

#[test]
fn a_token_is_found_in_lists_over_several_fields() {
    let request = request(
        "GET / HTTP/1.1\r\nHost: a\r\nConnection: keep-alive,, Upgrade\r\nConnection: x-y\t,Z\r\n\r\n",
    );
    for token in ["keep-alive", "upgrade", "UPGRADE", "x-y", "z"] {
        assert!(request.has_token("connection", token), "{token}");
    }
    for token in ["", "x", "keep", "close"] {
        assert!(!request.has_token("connection", token), "{token}");
    }
}

#[test]
fn a_connection_is_kept_by_version_and_connection_field() {
    for (version, connection, kept) in [
        ("1.1", "x", true),
        ("1.1", "close", false),
        ("1.1", "Keep-Alive, CLOSE", false),
        ("1.0", "x", false),
        ("1.0", "Keep-Alive", true),
        ("1.0", "keep-alive, close", false),
    ] {
        let head = format!("GET / HTTP/{version}\r\nHost: a\r\nConnection: {connection}\r\n\r\n");
        assert_eq!(request(&head).keep_alive(), kept, "{head}");
    }
}

#[test]
fn a_body_is_announced_by_chunked_or_a_length_over_zero() {
    for (fields, announced) in [
        ("", false),
        ("Content-Length: 0\r\n", false),
        ("Content-Length: 1\r\n", true),
        ("Transfer-Encoding: Chunked\r\n", true),
    ] {
        let head = format!("POST / HTTP/1.1\r\nHost: a\r\n{fields}\r\n");
        assert_eq!(request(&head).has_body(), announced, "{head}");
    }
}

#[test]
fn only_http_1_1_with_a_body_expects_continue() {
    for (version, length, expect, expected) in [
        ("1.1", 5, "100-continue", true),
        ("1.1", 5, "100-Continue", true),
        ("1.1", 0, "100-continue", false),
        ("1.1", 5, "", false),
        ("1.0", 5, "100-continue", false),
    ] {
        let head = format!(
            "POST / HTTP/{version}\r\nHost: a\r\nContent-Length: {length}\r\nExpect: {expect}\r\n\r\n"
        );
        assert_eq!(request(&head).expects_continue(), expected, "{head}");
    }
}

#[test]
fn http_1_0_needs_no_host() {
    assert_eq!(request("GET / HTTP/1.0\r\n\r\n").header("host"), None);
}

#[test]
fn an_options_asterisk_is_let_through() {
    let request = request("OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_eq!((request.path(), request.query()), ("*", None));
}
