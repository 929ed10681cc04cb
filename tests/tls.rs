//! TLS in the process over real sockets, by a client that is not ours: every transport, both versions, any cut of the bytes,
//! and every end.
//!
//! Who means harm is in `tls_hostile`, the openssl command in `tls_openssl`; certificates and their reload are tested
//! elsewhere.

#![cfg(feature = "tls")]
#![allow(clippy::unwrap_used)] // a helper that fails fails its test

mod support;

use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::Duration;

use fanfare::config::{Config, Tls};
use fanfare::pusher::App;
use fanfare::server::Draft;
use rustls::{ClientConfig, StreamOwned};
use serde_json::{Value, json};
use support::metrics::{Scraper, refusals};
use support::tls::*;
use support::*;
use tungstenite::client::IntoClientRequest;
use tungstenite::{Message, WebSocket};

fn versions(authority: &Authority) -> [Arc<ClientConfig>; 2] {
    [authority.client(&[&rustls::version::TLS13]), authority.client(&[&rustls::version::TLS12])]
}

fn websocket_over<S: Read + Write>(stream: S, path: &str) -> WebSocket<S> {
    tungstenite::client(format!("ws://localhost{path}"), stream).unwrap().0
}

fn websocket_over_as<S: Read + Write>(stream: S, path: &str, subprotocol: &str) -> WebSocket<S> {
    let mut request = format!("ws://localhost{path}").into_client_request().unwrap();
    request.headers_mut().insert("Sec-WebSocket-Protocol", subprotocol.parse().unwrap());
    tungstenite::client(request, stream).unwrap().0
}

fn get(path: &str, fields: &str) -> Vec<u8> {
    format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n{fields}\r\n").into_bytes()
}

fn post(path: &str, body: &str) -> Vec<u8> {
    let len = body.len();
    let head = "Host: localhost\r\nContent-Type: text/plain";
    format!("POST {path} HTTP/1.1\r\n{head}\r\nContent-Length: {len}\r\n\r\n{body}").into_bytes()
}

fn text_of<S: Read + Write>(client: &mut WebSocket<S>) -> String {
    client.read().unwrap().into_text().unwrap().to_string()
}

/// Reads until `end` has come.
fn read_until(stream: &mut impl Read, end: &str) -> String {
    let (mut read, mut byte) = (Vec::new(), [0]);
    while !read.ends_with(end.as_bytes()) {
        stream.read_exact(&mut byte).unwrap();
        read.push(byte[0]);
    }
    String::from_utf8(read).unwrap()
}

#[test]
fn messages_of_any_length_are_echoed_over_both_versions() {
    let (authority, server) = server(config());
    for client in versions(&authority) {
        let stream = tls_over(connect(server.tls.unwrap()), &client);
        let mut client = websocket_over(stream, "/echo");
        for len in [0, 1, 125, 126, 5000, 16_384, 70_000, 1_000_000] {
            let text = "x".repeat(len);
            client.send(Message::text(text.as_str())).unwrap();
            assert_eq!(text_of(&mut client).len(), len);
        }
        client.close(None).unwrap();
        assert!(matches!(client.read().unwrap(), Message::Close(_)));
        // close_notify, then the end: neither a cut nor a reset.
        assert!(matches!(client.read(), Err(tungstenite::Error::ConnectionClosed)));
    }
}

#[test]
fn every_transport_gets_a_publication_that_was_posted_over_tls() {
    let (authority, server) = server(config());
    for (round, client) in versions(&authority).iter().enumerate() {
        let open = || tls_over(connect(server.tls.unwrap()), client);
        let channel = format!("/channels/news-{round}");
        let mut socket = websocket_over(open(), &channel);
        let mut plain = websocket(server.address, &channel);
        let mut events = open();
        events.write_all(&get(&channel, "Accept: text/event-stream\r\n")).unwrap();
        read_until(&mut events, "retry: 2000\n");
        let mut many = websocket_over_as(open(), "/channels", "fanfare.v1.json");
        let subscribe = json!({"event": "fanfare:subscribe", "data": [{"channel": &channel[10..]}]});
        many.send(Message::text(subscribe.to_string())).unwrap();
        assert!(text_of(&mut many).contains("fanfare:subscribed"));
        let mut poll = open();
        let answer = ask_over(&mut poll, &get(&format!("{channel}?wait=0"), ""));
        assert!(answer.ends_with("]}\n") || answer.contains("\"messages\":[]"), "{answer}");
        poll.write_all(&get(&format!("{channel}?wait=20"), "")).unwrap();
        let answer = ask_over(&mut open(), &post(&channel, "hello"));
        assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
        assert_eq!((text_of(&mut socket), text(&mut plain)), ("hello".to_owned(), "hello".to_owned()));
        read_until(&mut events, "data: hello\n");
        let message: Value = serde_json::from_str(&text_of(&mut many)).unwrap();
        assert_eq!(message["data"], "hello");
        let answer = answer_over(&mut poll);
        assert!(answer.contains("\"data\":\"hello\""), "{answer}");
        // What one with TLS says reaches one without.
        socket.send(Message::text("by socket")).unwrap();
        assert_eq!(text(&mut plain), "by socket");
    }
}

#[test]
fn a_pusher_client_over_tls_gets_its_events() {
    let app = App::new("1", "app-key", "app-secret");
    let (authority, server) = server(Config { apps: vec![app], ..with_key() });
    let mut client =
        websocket_over(authority.connect(server.tls.unwrap()), "/app/app-key?protocol=7&client=js&version=8");
    assert!(text_of(&mut client).contains("pusher:connection_established"));
    client.send(Message::text(r#"{"event":"pusher:subscribe","data":{"channel":"news"}}"#)).unwrap();
    assert!(text_of(&mut client).contains("pusher_internal:subscription_succeeded"));
    server.handle.publish(Draft::text("news", "hello").unwrap()).unwrap();
    assert!(text_of(&mut client).contains("hello"));
}

#[test]
fn plain_and_tls_subscribers_of_a_channel_get_the_same_in_the_same_order() {
    let (authority, server) = server(config());
    let mut secured: Vec<_> =
        (0..4).map(|_| websocket_over(authority.connect(server.tls.unwrap()), "/channels/c")).collect();
    let mut plain: Vec<_> = (0..4).map(|_| websocket(server.address, "/channels/c")).collect();
    for round in 0..500 {
        let text = format!("{round} {}", "y".repeat(round * 7));
        publish_draft(&server.handle, &Draft::text("c", text).unwrap());
    }
    for round in 0..500 {
        let expected = format!("{round} {}", "y".repeat(round * 7));
        secured.iter_mut().for_each(|client| assert_eq!(text_of(client), expected));
        plain.iter_mut().for_each(|client| assert_eq!(text(client), expected));
    }
}

/// A socket that sends each byte alone, and reads each alone.
struct Dribbling(TcpStream);

impl Read for Dribbling {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.0.read(&mut buffer[..1])
    }
}

impl Write for Dribbling {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.write(&bytes[..bytes.len().min(1)])
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[test]
fn a_client_whose_bytes_come_one_by_one_is_served() {
    let (authority, server) = server(config());
    for config in versions(&authority) {
        let mut socket = Dribbling(connect(server.tls.unwrap()));
        let mut session = client_session(&config);
        while session.is_handshaking() {
            session.complete_io(&mut socket).unwrap();
        }
        let mut client = websocket_over(StreamOwned::new(session, socket), "/echo");
        for len in [0, 1, 200, 2000] {
            client.send(Message::text("z".repeat(len))).unwrap();
            assert_eq!(text_of(&mut client), "z".repeat(len));
        }
    }
}

#[test]
fn a_client_whose_records_have_a_byte_each_is_served() {
    let (authority, server) = server(config());
    for config in versions(&authority) {
        let mut stream = tls_over(connect(server.tls.unwrap()), &config);
        for byte in post("/channels/c", "one by one") {
            stream.write_all(&[byte]).unwrap();
            stream.flush().unwrap();
        }
        assert!(answer_over(&mut stream).starts_with("HTTP/1.1 200 OK\r\n"));
    }
}

#[test]
fn a_request_that_comes_with_the_end_of_the_handshake_is_answered() {
    let (authority, server) = server(config());
    for config in versions(&authority) {
        let mut socket = connect(server.tls.unwrap());
        let mut session = client_session(&config);
        // It is sent as soon as there are keys: behind Finished, in the same segment.
        session.writer().write_all(&get("/healthz", "")).unwrap();
        while session.is_handshaking() {
            session.complete_io(&mut socket).unwrap();
        }
        let answer = answer_over(&mut StreamOwned::new(session, socket));
        assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
    }
}

#[test]
fn requests_on_one_connection_are_answered_one_after_the_other() {
    let (authority, server) = server(config());
    let mut stream = authority.connect(server.tls.unwrap());
    let requests = get("/healthz", "").repeat(50);
    stream.write_all(&requests).unwrap();
    for _ in 0..50 {
        assert!(answer_over(&mut stream).starts_with("HTTP/1.1 200 OK\r\n"));
    }
}

#[test]
fn a_client_that_says_its_end_behind_a_request_gets_the_answer_and_the_servers_end() {
    let (authority, server) = server(config());
    for config in versions(&authority) {
        let mut stream = tls_over(connect(server.tls.unwrap()), &config);
        stream.write_all(&post("/channels/c", "last")).unwrap();
        stream.conn.send_close_notify();
        stream.flush().unwrap();
        assert!(answer_over(&mut stream).starts_with("HTTP/1.1 200 OK\r\n"));
        // An end without close_notify would be an error here.
        assert_eq!(stream.read(&mut [0]).unwrap(), 0);
        assert_eq!(stream.sock.read(&mut [0]).unwrap(), 0, "then the end of TCP");
    }
}

#[test]
fn an_end_of_tcp_inside_a_body_publishes_nothing() {
    let (authority, server) = server(config());
    let mut reader = websocket(server.address, "/channels/c");
    for close_notify in [false, true] {
        let mut stream = authority.connect(server.tls.unwrap());
        let request = post("/channels/c", "cut off");
        stream.write_all(&request[..request.len() - 1]).unwrap();
        if close_notify {
            stream.conn.send_close_notify();
        }
        stream.flush().unwrap();
        stream.sock.shutdown(Shutdown::Write).unwrap();
        let _ = stream.read_to_end(&mut Vec::new());
        assert!(rest(&mut stream.sock).is_empty());
    }
    publish(server.address, "c", "whole");
    assert_eq!(text(&mut reader), "whole");
}

#[test]
fn a_body_that_is_whole_needs_no_close_notify_behind_it() {
    let (authority, server) = server(config());
    let mut reader = websocket(server.address, "/channels/c");
    let mut stream = authority.connect(server.tls.unwrap());
    stream.write_all(&post("/channels/c", "whole")).unwrap();
    stream.flush().unwrap();
    stream.sock.shutdown(Shutdown::Write).unwrap();
    assert_eq!(text(&mut reader), "whole");
    assert!(answer_over(&mut stream).starts_with("HTTP/1.1 200 OK\r\n"));
    assert_eq!(stream.read(&mut [0]).unwrap(), 0, "by close_notify");
}

#[test]
fn an_idle_connection_is_told_its_end_when_its_time_is_up() {
    let (authority, server) = server(Config { idle_timeout: Duration::from_millis(200), ..config() });
    let mut stream = authority.connect(server.tls.unwrap());
    assert!(ask_over(&mut stream, &get("/healthz", "")).starts_with("HTTP/1.1 200 OK\r\n"));
    assert_eq!(stream.read(&mut [0]).unwrap(), 0, "by close_notify");
}

#[test]
fn a_server_that_stops_closes_its_clients_with_1001_and_says_its_end() {
    let (authority, server) = server(config());
    let mut client = websocket_over(authority.connect(server.tls.unwrap()), "/channels/c");
    server.handle.publish(Draft::text("c", "before").unwrap()).unwrap();
    server.handle.shutdown();
    assert_eq!(text_of(&mut client), "before");
    let Message::Close(Some(frame)) = client.read().unwrap() else { panic!("not closed") };
    assert_eq!(u16::from(frame.code), 1001);
    assert!(matches!(client.read(), Err(tungstenite::Error::ConnectionClosed)));
    drop(client);
    server.join().unwrap();
}

#[test]
fn http_at_a_tls_port_is_told_so_in_clear() {
    let (_authority, server) = server(config());
    for request in [&get("/", "")[..], b"GET", b"P", &upgrade_request("/channels/c")] {
        let mut stream = connect(server.tls.unwrap());
        stream.write_all(request).unwrap();
        let answer = String::from_utf8(rest(&mut stream)).unwrap();
        assert!(answer.starts_with("HTTP/1.1 400 Bad Request\r\n"), "{answer}");
        assert!(answer.ends_with("This port speaks TLS: use https:// or wss://.\n"), "{answer}");
        assert!(answer.contains("\r\nConnection: close\r\n"), "{answer}");
    }
    let failed = "fanfare_tls_handshake_failures_total{reason=\"plain_http\"}";
    Scraper::new(server.address).settles(&[(failed, 4)]);
}

#[test]
fn what_is_neither_tls_nor_http_at_a_tls_port_is_told_by_an_alert() {
    let (_authority, server) = server(config());
    // An SSH client, SSL 2.0, zeros.
    for bytes in [&b"ssh-2.0-x\r\n"[..], b"\x80\x2e\x01\x00\x02\x00\x15\x00", &[0; 100]] {
        let mut stream = connect(server.tls.unwrap());
        stream.write_all(bytes).unwrap();
        let answer = rest(&mut stream);
        assert_eq!((answer.len(), &answer[..2], answer[5]), (7, &b"\x15\x03"[..], 2), "{answer:?}");
    }
    let failed = "fanfare_tls_handshake_failures_total{reason=\"protocol\"}";
    Scraper::new(server.address).settles(&[(failed, 3)]);
}

#[test]
fn tls_at_a_plain_port_is_told_by_an_alert() {
    let (authority, server) = server(config());
    let mut session = client_session(&authority.client(&[&rustls::version::TLS13]));
    let mut socket = connect(server.address);
    let error = loop {
        match session.complete_io(&mut socket) {
            Ok(_) => {}
            Err(error) => break error.to_string(),
        }
    };
    assert!(error.contains("ProtocolVersion"), "{error}");
    Scraper::new(server.address).settles(&[(&refusals("tls_at_plain_port"), 1)]);
}

#[test]
fn plain_requests_are_sent_to_https_but_for_probes() {
    let authority = Authority::new();
    let tls = Tls { redirect_https: true, ..Tls::default() };
    let server = start(authority.tls(Config { tls, ..with_metrics(config()) }));
    let port = server.tls.unwrap().port();
    let redirected = |answer: &Answer, to: &str| {
        let location = format!("\r\nLocation: https://localhost:{port}{to}\r\n");
        assert!(answer.status == 308 && answer.head.contains(&location), "{answer:?}");
    };
    let mut stream = connect(server.address);
    redirected(&exchange(&mut stream, &get("/a?b=c", "")), "/a?b=c");
    redirected(&exchange(&mut stream, &upgrade_request("/channels/c")), "/channels/c");
    redirected(&exchange(&mut stream, &post("/channels/c", "x")), "/channels/c");
    for probe in ["/healthz", "/readyz"] {
        assert_eq!(request(server.address, "GET", probe, "", b"").status, 200);
    }
    assert_eq!(exchange(&mut connect(server.address), b"GET / HTTP/1.0\r\n\r\n").status, 400);
    // Neither where TLS is spoken nor where metrics are.
    let answer = ask_over(&mut authority.connect(server.tls.unwrap()), &get("/", ""));
    assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
    assert_eq!(request(server.metrics.unwrap(), "GET", "/metrics", "", b"").status, 200);
}

#[test]
fn a_client_that_offers_only_http_2_is_told_that_it_is_not_spoken() {
    let (authority, server) = server(config());
    let mut config = ClientConfig::clone(&authority.client(&[&rustls::version::TLS13]));
    config.alpn_protocols = vec![b"h2".to_vec()];
    let mut session = client_session(&Arc::new(config));
    let mut socket = connect(server.tls.unwrap());
    let error = loop {
        match session.complete_io(&mut socket) {
            Ok(_) => {}
            Err(error) => break error.to_string(),
        }
    };
    assert!(error.contains("NoApplicationProtocol"), "{error}");
}

#[test]
fn handshakes_and_connections_are_counted_by_version_kind_and_transport() {
    let (authority, server) = server(config());
    let handshakes =
        |version, kind| format!("fanfare_tls_handshakes_total{{version=\"{version}\",kind=\"{kind}\"}}");
    let mut open = Vec::new();
    for client in versions(&authority) {
        for _ in 0..3 {
            let mut stream = tls_over(connect(server.tls.unwrap()), &client);
            // A ticket comes with the first answer at the latest.
            ask_over(&mut stream, &get("/healthz", ""));
            open.push(stream);
        }
    }
    let mut scraper = Scraper::new(server.address);
    let client = websocket_over(open.pop().unwrap(), "/channels/c");
    scraper.settles(&[
        (&handshakes("1.3", "full"), 1),
        (&handshakes("1.3", "resumed"), 2),
        (&handshakes("1.2", "full"), 1),
        (&handshakes("1.2", "resumed"), 2),
        ("fanfare_connections{transport=\"http\",tls=\"true\"}", 5),
        ("fanfare_connections{transport=\"websocket\",tls=\"true\"}", 1),
        ("fanfare_connections{transport=\"websocket\"}", 0),
        ("fanfare_connections{transport=\"http\"}", 1),
        ("fanfare_tls_handshakes_waiting", 0),
        ("fanfare_memory_bytes{kind=\"connections\"}", 6 * 3840 + 256),
        ("fanfare_memory_bytes{kind=\"private\"}", 0),
    ]);
    drop((open, client));
    scraper.settles(&[
        ("fanfare_connections{transport=\"http\",tls=\"true\"}", 0),
        ("fanfare_connections{transport=\"websocket\",tls=\"true\"}", 0),
        ("fanfare_memory_bytes{kind=\"connections\"}", 256),
    ]);
}

#[test]
fn browsers_are_told_to_stay_with_https_only_if_that_is_wanted_and_only_over_tls() {
    let authority = Authority::new();
    let field = "Strict-Transport-Security: max-age=3600\r\n";
    for hsts in [None, Some(Duration::from_secs(3600))] {
        let server = start(authority.tls(Config { tls: Tls { hsts, ..Tls::default() }, ..config() }));
        let answer = ask_over(&mut authority.connect(server.tls.unwrap()), &get("/", ""));
        assert_eq!(answer.contains(field), hsts.is_some(), "{answer}");
        let plain = exchange(&mut connect(server.address), &get("/", ""));
        assert!(!plain.head.contains("Strict-Transport-Security"), "{plain:?}");
        let mut clear = connect(server.tls.unwrap());
        clear.write_all(&get("/", "")).unwrap();
        assert!(!String::from_utf8(rest(&mut clear)).unwrap().contains("Strict-Transport-Security"));
    }
}

/// The binary with TLS on one loop, and where it speaks that.
#[cfg(target_os = "linux")]
fn spawn_tls(authority: &Authority) -> (Process, SocketAddr) {
    use std::io::BufRead;
    let [cert, key] = authority.pair().map(|path| path.to_str().unwrap().to_owned());
    let flags = ["--tls-listen", "127.0.0.1:0", "--tls-cert", &cert, "--tls-key", &key, "--threads", "1"];
    let mut process = spawn(&mut fanfare(&flags));
    let mut line = String::new();
    process.output.read_line(&mut line).unwrap();
    let address = line.trim().strip_prefix("listening on https://").unwrap_or_else(|| panic!("{line:?}"));
    let address = address.parse().unwrap();
    (process, address)
}

#[cfg(target_os = "linux")] // for its /proc
#[test]
fn an_idle_subscriber_takes_little_more_than_4_kib_also_when_it_was_sent_messages() {
    const COUNT: usize = 1500;
    // 4 KiB; and an eighth more, since a debug build takes more and pages are counted. With a buffer of its own it would be 7 KiB.
    const IDLE_MAX: u64 = 4096 + 512;
    rlimit::increase_nofile_limit(u64::MAX).unwrap();
    let authority = Authority::new();
    let (process, address) = spawn_tls(&authority);
    let config = authority.client(&[&rustls::version::TLS13]);
    let subscribe = || websocket_over(tls_over(connect(address), &config), "/channels/c");
    // What the process takes only once is taken.
    let mut before: Vec<_> = (0..500).map(|_| subscribe()).collect();
    publish(process.address, "c", "first");
    before.iter_mut().for_each(|client| assert_eq!(text_of(client), "first"));
    let before_kib = process.resident_kib();
    let mut clients: Vec<_> = (0..COUNT).map(|_| subscribe()).collect();
    // The heap returns what handshakes have freed within a second or two.
    let settles = || {
        until("each takes little", || {
            let each = process.resident_kib().saturating_sub(before_kib) * 1024 / COUNT as u64;
            (each <= IDLE_MAX).then_some(each)
        })
    };
    let idle = settles();
    for round in 0..3 {
        publish(process.address, "c", &round.to_string());
        clients.iter_mut().for_each(|client| assert_eq!(text_of(client), round.to_string()));
    }
    let after = settles();
    println!("{idle} bytes each, {after} after messages");
}
