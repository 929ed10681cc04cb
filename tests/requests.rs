//! HTTP over real sockets: what is answered to good and bad requests, and what happens to the connection.

mod support;

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use fanfare::config::Config;
use support::*;

fn closes(stream: &mut TcpStream) -> bool {
    matches!(stream.read(&mut [0]), Ok(0))
}

#[test]
fn healthz_says_ok() {
    let server = start(config());
    let answer = request(server.address, "GET", "/healthz", "", b"");
    assert_eq!((answer.status, answer.body.as_str()), (200, "ok\n"));
}

#[test]
fn head_is_get_without_the_body() {
    let server = start(config());
    let mut stream = connect(server.address);
    stream.write_all(b"HEAD /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert!(
        answer.starts_with("HTTP/1.1 200 OK\r\n") && answer.contains("Content-Length: 3\r\n"),
        "{answer}"
    );
    assert!(answer.ends_with("\r\n\r\n"), "{answer}");
}

#[test]
fn one_connection_carries_many_requests_and_pipelined_ones() {
    let server = start(config());
    let mut stream = connect(server.address);
    let one =
        b"POST /channels/c HTTP/1.1\r\nHost: localhost\r\nContent-Type: text/plain\r\nContent-Length: 1\r\n\r\nx";
    for _ in 0..3 {
        assert_eq!(exchange(&mut stream, one).status, 200);
    }
    stream.write_all(&one.repeat(100)).unwrap();
    for _ in 0..100 {
        assert_eq!(read_answer(&mut stream).status, 200);
    }
}

#[test]
fn a_flood_of_pipelined_requests_by_a_peer_that_reads_late_is_answered_in_full() {
    const REQUESTS: usize = 20_000;
    let server = start(config());
    let mut stream = connect(server.address);
    let mut writer = stream.try_clone().unwrap();
    let writing = std::thread::spawn(move || {
        for _ in 0..REQUESTS / 100 {
            writer.write_all(&b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n".repeat(100)).unwrap();
        }
    });
    let mut answers = vec![0; 1];
    let mut count = 0;
    while count < REQUESTS {
        let mut chunk = [0; 65_536];
        let len = stream.read(&mut chunk).unwrap();
        assert!(len > 0, "closed after {count} answers");
        answers.extend_from_slice(&chunk[..len]);
        count += answers.windows(4).filter(|window| window == b"\nok\n").count();
        answers.drain(..answers.len() - 3);
    }
    writing.join().unwrap();
}

#[test]
fn every_refusal_has_its_status_and_a_sentence() {
    let server = start(Config { max_message: 100, ..config() });
    let publish = "POST /channels/c HTTP/1.1\r\nHost: localhost\r\n";
    for (request, status) in [
        ("GET / HTTP/1.1\r\n\r\n".to_owned(), 400),
        ("nonsense\r\n\r\n".to_owned(), 400),
        ("GET /nowhere HTTP/1.1\r\nHost: localhost\r\n\r\n".to_owned(), 404),
        ("GET /channels/ HTTP/1.1\r\nHost: localhost\r\n\r\n".to_owned(), 400),
        ("GET /channels/a%2Fb HTTP/1.1\r\nHost: localhost\r\n\r\n".to_owned(), 400),
        (format!("GET /channels/{} HTTP/1.1\r\nHost: localhost\r\n\r\n", "a".repeat(201)), 400),
        ("GET /channels/c?since=7 HTTP/1.1\r\nHost: localhost\r\n\r\n".to_owned(), 400),
        ("GET /channels/c?last=few HTTP/1.1\r\nHost: localhost\r\n\r\n".to_owned(), 400),
        ("GET /channels/c?wait=soon HTTP/1.1\r\nHost: localhost\r\n\r\n".to_owned(), 400),
        (
            "GET /channels/c?protocol=x HTTP/1.1\r\nHost: localhost\r\nAccept: text/event-stream\r\n\r\n"
                .to_owned(),
            400,
        ),
        ("GET /channels/c HTTP/1.0\r\nAccept: text/event-stream\r\n\r\n".to_owned(), 505),
        (String::from_utf8(upgrade_request("/channels/c?since=")).unwrap(), 400),
        (format!("{publish}Idempotency-Key: two words\r\nContent-Length: 0\r\n\r\n"), 400),
        ("PUT /channels/c HTTP/1.1\r\nHost: localhost\r\n\r\n".to_owned(), 405),
        ("POST /healthz HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\n\r\n".to_owned(), 405),
        (format!("{publish}\r\n"), 411),
        (format!("{publish}Content-Length: 101\r\n\r\n"), 413),
        (format!("{publish}Content-Length: 1\r\nContent-Length: 2\r\n\r\n"), 400),
        (format!("{publish}Content-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n"), 400),
        (format!("{publish}Transfer-Encoding: gzip, chunked\r\n\r\n"), 501),
        (format!("{publish}Transfer-Encoding: chunked\r\n\r\nFF\r\n"), 413),
        (format!("{publish}Content-Type: application/json\r\nContent-Length: 1\r\n\r\n{{"), 400),
        (
            "POST /channels/c?event=fanfare:x HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\n\r\n"
                .to_owned(),
            400,
        ),
        (format!("GET / HTTP/1.1\r\nHost: localhost\r\nX: {}\r\n\r\n", "a".repeat(20_000)), 431),
        (format!("GET / HTTP/1.1\r\nHost: localhost\r\n{}\r\n", "X: y\r\n".repeat(100)), 431),
        ("GET / HTTP/2.0\r\nHost: localhost\r\n\r\n".to_owned(), 505),
    ] {
        let answer = exchange(&mut connect(server.address), request.as_bytes());
        assert_eq!(answer.status, status, "{request:.60}: {answer:?}");
        assert!(answer.body.len() > 10 && answer.body.ends_with('\n'), "{request:.60}: {answer:?}");
    }
}

#[test]
fn a_method_that_is_not_served_is_answered_with_those_that_are() {
    let server = start(config());
    let answer = request(server.address, "DELETE", "/channels/c", "", b"");
    assert!(answer.head.contains("Allow: GET, HEAD, POST, OPTIONS\r\n"), "{answer:?}");
}

#[test]
fn another_websocket_version_is_answered_with_426_and_13() {
    let server = start(config());
    let fields = "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
        Sec-WebSocket-Version: 8\r\n";
    let request = format!("GET /echo HTTP/1.1\r\nHost: localhost\r\n{fields}\r\n");
    let answer = exchange(&mut connect(server.address), request.as_bytes());
    assert_eq!(answer.status, 426);
    assert!(answer.head.contains("Sec-WebSocket-Version: 13\r\n"), "{answer:?}");
}

#[test]
fn a_body_that_is_not_wanted_ends_the_connection_after_the_answer() {
    let server = start(config());
    let mut stream = connect(server.address);
    let answer =
        exchange(&mut stream, b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nContent-Length: 4\r\n\r\nGET ");
    assert_eq!(answer.status, 200);
    assert!(answer.head.contains("Connection: close\r\n"), "{answer:?}");
    assert!(closes(&mut stream));
}

#[test]
fn a_client_that_expects_continue_is_told_to_go_on() {
    let server = start(config());
    let mut stream = connect(server.address);
    let head =
        b"POST /channels/c HTTP/1.1\r\nHost: localhost\r\nContent-Length: 2\r\nExpect: 100-continue\r\n\r\n";
    assert_eq!(exchange(&mut stream, head).status, 100);
    assert_eq!(exchange(&mut stream, b"hi").status, 200);
}

#[test]
fn a_chunked_body_is_published_whole() {
    let server = start(config());
    let mut client = websocket(server.address, "/channels/c");
    let head = b"POST /channels/c HTTP/1.1\r\nHost: localhost\r\nContent-Type: text/plain\r\nTransfer-Encoding: chunked\r\n\r\n";
    let mut stream = connect(server.address);
    stream.write_all(head).unwrap();
    assert_eq!(exchange(&mut stream, b"3\r\nhel\r\n2;x=y\r\nlo\r\n0\r\n\r\n").status, 200);
    assert_eq!(text(&mut client), "hello");
}

#[test]
fn a_request_that_is_not_finished_in_time_is_answered_with_408() {
    let timeouts = Config {
        handshake_timeout: Duration::from_millis(50),
        body_timeout: Duration::from_millis(50),
        ..config()
    };
    let server = start(timeouts);
    for unfinished in [
        &b"GET /healthz HTT"[..],
        b"POST /channels/c HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5\r\n\r\nhel",
    ] {
        let mut stream = connect(server.address);
        assert_eq!(exchange(&mut stream, unfinished).status, 408);
        assert!(closes(&mut stream));
    }
}

#[test]
fn a_connection_that_says_nothing_is_hung_up_on_without_a_word() {
    let server = start(Config { handshake_timeout: Duration::from_millis(50), ..config() });
    assert!(closes(&mut connect(server.address)));
}

#[test]
fn a_kept_alive_connection_is_closed_when_idle() {
    let server = start(Config { idle_timeout: Duration::from_millis(50), ..config() });
    let mut stream = connect(server.address);
    assert_eq!(exchange(&mut stream, b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n").status, 200);
    assert!(closes(&mut stream));
}

#[test]
fn a_peer_that_closes_its_half_still_gets_its_answer() {
    let server = start(config());
    let mut stream = connect(server.address);
    stream.write_all(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n").unwrap();
    stream.shutdown(std::net::Shutdown::Write).unwrap();
    assert_eq!(read_answer(&mut stream).status, 200);
    assert!(closes(&mut stream));
}

#[test]
fn the_home_page_is_a_page_in_development_mode() {
    let server = start(config());
    let answer = request(server.address, "GET", "/", "", b"");
    assert!(answer.head.contains("text/html") && answer.body.contains("/channels/demo-chat"), "{answer:?}");
}

#[test]
fn a_page_is_compressed_for_clients_that_accept_it_and_for_no_others() {
    let server = start(config());
    for (fields, is_compressed) in
        [("", false), ("Accept-Encoding: gzip;q=0\r\n", false), ("Accept-Encoding: br, gzip\r\n", true)]
    {
        let head = format!("HEAD /fanfare.js HTTP/1.1\r\nHost: localhost\r\n{fields}\r\n");
        let mut stream = connect(server.address);
        stream.write_all(head.as_bytes()).unwrap();
        stream.shutdown(std::net::Shutdown::Write).unwrap();
        let head = String::from_utf8(rest(&mut stream)).unwrap();
        assert_eq!(head.contains("\r\nContent-Encoding: gzip\r\n"), is_compressed, "{head}");
        assert!(head.contains("\r\nVary: Accept-Encoding\r\n"), "{head}");
    }
}
