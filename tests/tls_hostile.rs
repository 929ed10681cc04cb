//! Peers that break TLS, stall in it or take nothing: they are told so, they go, and nobody else notices.
//!
//! Peers that speak it well are in `tls`.

#![cfg(feature = "tls")]
#![allow(clippy::unwrap_used)] // a helper that fails fails its test

mod support;

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

use fanfare::config::Config;
use fanfare::server::Draft;
use support::metrics::Scraper;
use support::tls::*;
use support::*;
use tungstenite::Message;

/// What a client of TLS 1.3 says first.
fn hello(authority: &Authority) -> Vec<u8> {
    let mut hello = Vec::new();
    client_session(&authority.client(&[&rustls::version::TLS13])).write_tls(&mut hello).unwrap();
    hello
}

fn failures(reason: &str) -> String {
    format!("fanfare_tls_handshake_failures_total{{reason=\"{reason}\"}}")
}

fn is_served(authority: &Authority, address: SocketAddr) {
    let request = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n";
    assert!(ask_over(&mut authority.connect(address), request).starts_with("HTTP/1.1 200 OK\r\n"));
}

/// All that comes until the end or a reset.
fn until_end(stream: &mut TcpStream) -> Vec<u8> {
    let (mut all, mut some) = (Vec::new(), [0; 4096]);
    loop {
        match stream.read(&mut some) {
            Ok(0) => return all,
            Ok(len) => all.extend_from_slice(&some[..len]),
            Err(error) if error.kind() == ErrorKind::ConnectionReset => return all,
            Err(error) => panic!("neither bytes nor an end: {error}"),
        }
    }
}

#[test]
fn a_hello_that_is_cut_at_any_byte_ends_with_its_connection() {
    let (authority, server) = server(config());
    let hello = hello(&authority);
    let cuts = (1..hello.len()).step_by(7);
    let count = cuts.clone().count() as u64;
    for cut in cuts {
        let mut stream = connect(server.tls.unwrap());
        stream.write_all(&hello[..cut]).unwrap();
    }
    // Who says nothing has begun nothing.
    drop(connect(server.tls.unwrap()));
    Scraper::new(server.address).settles(&[
        (&failures("closed"), count),
        ("fanfare_connections{transport=\"http\",tls=\"true\"}", 0),
        ("fanfare_memory_bytes{kind=\"private\"}", 0),
    ]);
    is_served(&authority, server.tls.unwrap());
}

#[test]
fn a_hello_in_records_of_a_byte_each_is_a_hello() {
    let (authority, server) = server(config());
    let mut stream = connect(server.tls.unwrap());
    let hello = hello(&authority);
    for &byte in &hello[5..] {
        stream.write_all(&[22, 3, 1, 0, 1, byte]).unwrap();
    }
    let mut head = [0; 6];
    stream.read_exact(&mut head).unwrap();
    assert_eq!((head[0], head[5]), (22, 2), "a ServerHello");
}

#[test]
fn a_hello_without_an_end_is_cut_off() {
    let (authority, server) = server(config());
    let mut stream = connect(server.tls.unwrap());
    let record = [&[22, 3, 1, 0x40, 0, 1, 0, 0xff, 0xff][..], &[0; 0x4000 - 4]].concat();
    let rest_of_it = [&[22, 3, 1, 0x40, 0][..], &[0; 0x4000]].concat();
    // The server may have gone before all is written.
    let _ = stream.write_all(&record).and_then(|()| stream.write_all(&rest_of_it));
    assert_eq!(until_end(&mut stream)[..2], [0x15, 3], "an alert");
    Scraper::new(server.address).settles(&[(&failures("protocol"), 1)]);
    is_served(&authority, server.tls.unwrap());
}

#[test]
fn a_handshake_that_stalls_is_ended_in_time_without_a_word_of_http() {
    let handshake_timeout = Duration::from_millis(500);
    let (authority, server) = server(Config { handshake_timeout, ..config() });
    let hello = hello(&authority);
    // One after half its hello, one after all of it, one byte by byte.
    let mut streams: Vec<_> = [hello.len() / 2, hello.len(), 1]
        .map(|len| {
            let mut stream = connect(server.tls.unwrap());
            stream.write_all(&hello[..len]).unwrap();
            stream
        })
        .into();
    let mut dribbling = streams.pop().unwrap();
    let began = Instant::now();
    let mut at = 1;
    while dribbling.write_all(&hello[at..=at]).is_ok() && at + 1 < hello.len() {
        at += 1;
        thread::park_timeout(Duration::from_millis(10));
        assert!(began.elapsed() < PATIENCE, "a byte at a time does not renew it");
        dribbling.set_nonblocking(true).unwrap();
        let is_over =
            !matches!(dribbling.peek(&mut [0]), Err(error) if error.kind() == ErrorKind::WouldBlock);
        dribbling.set_nonblocking(false).unwrap();
        if is_over {
            break;
        }
    }
    assert!(at + 1 < hello.len(), "it was ended before it was complete");
    for mut stream in streams {
        let answer = until_end(&mut stream);
        assert!(!answer.windows(4).any(|bytes| bytes == b"HTTP"), "{answer:?}");
    }
    Scraper::new(server.address).settles(&[(&failures("timeout"), 3)]);
}

#[test]
fn a_request_that_is_late_over_tls_is_told_so() {
    let (authority, server) = server(Config { handshake_timeout: Duration::from_millis(300), ..config() });
    let mut stream = authority.connect(server.tls.unwrap());
    stream.write_all(b"GET / HTTP/1.1\r\n").unwrap();
    stream.flush().unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 408 Request Timeout\r\n"), "{answer}");
}

#[test]
fn a_client_for_whom_there_is_no_room_is_told_by_an_alert() {
    let (authority, server) = server(Config { max_connections: Some(2), ..config() });
    let mut open: Vec<_> = (0..2).map(|_| authority.connect(server.tls.unwrap())).collect();
    let mut refused = connect(server.tls.unwrap());
    assert_eq!(until_end(&mut refused), [21, 3, 3, 0, 2, 2, 80], "internal_error");
    for stream in &mut open {
        let answer = ask_over(stream, b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n");
        assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
    }
}

#[test]
fn the_oldest_handshake_makes_room_when_the_server_is_full() {
    let (authority, server) = server(Config { max_connections: Some(10), ..config() });
    let hello = hello(&authority);
    let mut first = authority.connect(server.tls.unwrap());
    let stalled: Vec<_> = (0..9)
        .map(|_| {
            let mut stream = connect(server.tls.unwrap());
            stream.write_all(&hello[..100]).unwrap();
            stream
        })
        .collect();
    // For a second they are clients as others are; then each makes room for one who speaks.
    until("one of them has made room", || {
        let mut socket = connect(server.tls.unwrap());
        let mut session = client_session(&authority.client(&[&rustls::version::TLS13]));
        while session.is_handshaking() {
            session.complete_io(&mut socket).ok()?;
        }
        Some(())
    });
    let answer = ask_over(&mut first, b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n");
    assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "who has a session stays");
    drop(stalled);
}

#[test]
fn a_record_that_was_changed_on_its_way_ends_its_session_with_an_alert_and_publishes_what_came_before() {
    let (authority, server) = server(config());
    let mut reader = websocket(server.address, "/channels/c");
    let mut stream = authority.connect(server.tls.unwrap());
    let mut post = |text: &str| {
        let len = text.len();
        let head = "POST /channels/c HTTP/1.1\r\nHost: localhost\r\nContent-Type: text/plain";
        let request = format!("{head}\r\nContent-Length: {len}\r\n\r\n{text}");
        stream.conn.writer().write_all(request.as_bytes()).unwrap();
        let mut record = Vec::new();
        stream.conn.write_tls(&mut record).unwrap();
        record
    };
    let (good, mut bad) = (post("good"), post("bad"));
    bad[20] ^= 0x40;
    stream.sock.write_all(&[good, bad].concat()).unwrap();
    let error = stream.read_to_end(&mut Vec::new()).unwrap_err();
    assert!(error.to_string().contains("BadRecordMac"), "{error}");
    assert_eq!(text(&mut reader), "good");
    publish(server.address, "c", "next");
    assert_eq!(text(&mut reader), "next");
}

#[test]
fn a_client_that_takes_nothing_has_a_record_of_its_own_and_no_more() {
    let (authority, server) = server(Config { max_lag: 4 * 1024 * 1024, ..one_loop() });
    let socket = connect_narrowly(server.tls.unwrap(), 4096);
    let stream = tls_over(socket, &authority.client(&[&rustls::version::TLS13]));
    let (mut client, _) = tungstenite::client("ws://localhost/channels/c", stream).unwrap();
    let mut scraper = Scraper::new(server.address);
    let mut published = 0;
    // Until the system takes no more for it.
    while scraper.value("fanfare_lag_max_bytes") < 500_000.0 {
        publish_draft(&server.handle, &Draft::text("c", "z".repeat(10_000)).unwrap());
        published += 1;
        let held = scraper.value("fanfare_memory_bytes{kind=\"private\"}");
        assert!(held <= 16_384.0 + 22.0, "{held}");
    }
    let held = scraper.value("fanfare_memory_bytes{kind=\"private\"}");
    assert!(held > 1000.0, "the rest of a record waits");
    for _ in 0..published {
        assert_eq!(client.read().unwrap(), Message::text("z".repeat(10_000)));
    }
    scraper.settles(&[("fanfare_memory_bytes{kind=\"private\"}", 0)]);
}

#[test]
fn a_client_that_takes_nothing_and_resets_is_gone_with_what_was_sealed_for_it() {
    let (authority, server) = server(Config { max_lag: 4 * 1024 * 1024, ..one_loop() });
    let socket = connect_narrowly(server.tls.unwrap(), 4096);
    let stream = tls_over(socket, &authority.client(&[&rustls::version::TLS13]));
    let (client, _) = tungstenite::client("ws://localhost/channels/c", stream).unwrap();
    let mut scraper = Scraper::new(server.address);
    while scraper.value("fanfare_lag_max_bytes") < 500_000.0 {
        publish_draft(&server.handle, &Draft::text("c", "z".repeat(10_000)).unwrap());
    }
    reset(client.into_inner().sock);
    scraper.settles(&[
        ("fanfare_connections{transport=\"websocket\",tls=\"true\"}", 0),
        ("fanfare_memory_bytes{kind=\"private\"}", 0),
        ("fanfare_memory_bytes{kind=\"logs\"}", 0),
    ]);
}

#[test]
fn a_subscriber_past_its_lag_is_closed_over_tls_as_without() {
    let (authority, server) = server(Config { max_lag: 300_000, ..one_loop() });
    let socket = connect_narrowly(server.tls.unwrap(), 4096);
    let stream = tls_over(socket, &authority.client(&[&rustls::version::TLS13]));
    let (mut client, _) = tungstenite::client("ws://localhost/channels/c", stream).unwrap();
    let mut scraper = Scraper::new(server.address);
    while scraper.value("fanfare_lagged_total{policy=\"close\"}") < 1.0 {
        publish_draft(&server.handle, &Draft::text("c", "z".repeat(10_000)).unwrap());
    }
    // Whole messages, whatever record they were cut in, and then the Close frame.
    let frame = loop {
        match client.read().unwrap() {
            Message::Text(text) => assert_eq!(text.len(), 10_000),
            Message::Close(frame) => break frame.unwrap(),
            other => panic!("not published: {other:?}"),
        }
    };
    assert_eq!(u16::from(frame.code), 1013);
}

#[test]
fn crowds_in_handshakes_do_not_keep_subscribers_from_their_messages() {
    const CROWD: usize = 600;
    let (authority, server) = server(config());
    rlimit::increase_nofile_limit(u64::MAX).unwrap();
    let mut subscribers: Vec<_> = (0..20)
        .map(|_| {
            tungstenite::client("ws://localhost/channels/c", authority.connect(server.tls.unwrap()))
                .unwrap()
                .0
        })
        .collect();
    let hello = hello(&authority);
    let mut crowd = Vec::new();
    for round in 0..CROWD {
        let mut stream = connect(server.tls.unwrap());
        // Half of them want a whole flight of the server's; none goes on after that.
        let len = if round % 2 == 0 { hello.len() } else { 50 };
        stream.write_all(&hello[..len]).unwrap();
        crowd.push(stream);
        if round % 20 == 0 {
            publish(server.address, "c", &round.to_string());
            for client in &mut subscribers {
                assert_eq!(client.read().unwrap(), Message::text(round.to_string()));
            }
        }
    }
    is_served(&authority, server.tls.unwrap());
    drop(crowd);
    let mut scraper = Scraper::new(server.address);
    scraper.settles(&[
        ("fanfare_connections{transport=\"http\",tls=\"true\"}", 0),
        ("fanfare_connections{transport=\"websocket\",tls=\"true\"}", 20),
        ("fanfare_tls_handshakes_waiting", 0),
    ]);
}
