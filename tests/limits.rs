//! Limits by address and by user over real sockets: behind a proxy that writes `X-Forwarded-For`, and behind one that writes
//! PROXY headers. Loopback is not counted, so that all clients here come through a proxy.

#![allow(clippy::unwrap_used)] // a helper that fails fails its test

mod support;

use std::io::{ErrorKind, Read, Write};
use std::net::{IpAddr, Shutdown, SocketAddr, TcpStream};
use std::num::NonZeroU32;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use fanfare::config::{Config, Rate};
use fanfare::token::KeyFiles;
use jsonwebtoken::{EncodingKey, Header};
use serde_json::json;
use socket2::{Domain, Socket, Type};
use support::event_stream::*;
use support::metrics::*;
use support::multiplex::{multiplex, next, say};
use support::*;

const SEATS: &str = "2 connections from your address are open, the limit of --ip-connections.";

/// Two connections an address, and loopback is a proxy.
fn two_each() -> Config {
    Config { trust_proxy: vec!["127.0.0.1/32".parse().unwrap()], ip_connections: Some(2), ..config() }
}

/// The same, where each connection begins with a PROXY header.
fn with_headers(config: Config) -> Config {
    with_metrics(Config { proxy_listen: config.listen.clone(), ..config })
}

fn hourly(count: u32) -> Rate {
    Rate { count: NonZeroU32::new(count).unwrap(), per: Duration::from_secs(3600) }
}

fn from(client: &str) -> String {
    format!("X-Forwarded-For: {client}\r\n")
}

/// A WebSocket of this client, by the proxy.
fn subscribe(address: SocketAddr, client: &str) -> Result<Client, Box<Refused>> {
    handshake(address, "/channels/news", &[("X-Forwarded-For", client)]).map(|(client, _)| client)
}

fn assert_full(refused: &Refused) {
    assert_eq!(refused.status(), 429);
    assert_eq!(refused.headers()["retry-after"], "5");
    let body = String::from_utf8(refused.body().clone().unwrap()).unwrap();
    assert!(body.contains(SEATS), "{body}");
}

/// Waits until this client has a seat again.
fn seat(address: SocketAddr, client: &str) -> Client {
    until("there is a seat", || subscribe(address, client).ok())
}

/// Asserts that this client has exactly two seats, all of which are free once the server has noticed the ends.
fn assert_two_free(address: SocketAddr, client: &str) {
    let _seats = [seat(address, client), seat(address, client)];
    assert_full(&subscribe(address, client).unwrap_err());
}

#[test]
fn an_address_behind_a_proxy_has_so_many_connections_and_another_has_its_own() {
    let server = start(two_each());
    let mut clients = [(); 2].map(|()| subscribe(server.address, "203.0.113.9").unwrap());
    assert_full(&subscribe(server.address, "203.0.113.9").unwrap_err());
    // What the client writes itself is at the left.
    assert_full(&subscribe(server.address, "6.6.6.6, 203.0.113.9").unwrap_err());
    let other = subscribe(server.address, "203.0.113.10").unwrap();
    publish(server.address, "news", "hi");
    clients.iter_mut().for_each(|client| assert_eq!(text(client), "hi"));
    drop(clients);
    assert_two_free(server.address, "203.0.113.9");
    drop(other);
}

#[test]
fn the_addresses_of_a_64_count_as_one_and_those_of_a_mapped_address_as_that() {
    let server = start(two_each());
    let _clients = ["2001:db8:1:2::1", "[2001:db8:1:2:ffff::9]:443"]
        .map(|client| subscribe(server.address, client).unwrap());
    assert_full(&subscribe(server.address, "2001:db8:1:2::77").unwrap_err());
    let _neighbour = subscribe(server.address, "2001:db8:1:3::1").unwrap();
    let _mapped =
        ["203.0.113.9", "::ffff:203.0.113.9"].map(|client| subscribe(server.address, client).unwrap());
    assert_full(&subscribe(server.address, "203.0.113.9").unwrap_err());
}

#[test]
fn who_is_no_trusted_proxy_says_nothing_of_others_and_loopback_is_not_counted() {
    let server = start(Config { trust_proxy: vec!["10.0.0.0/8".parse().unwrap()], ..two_each() });
    let _clients = [(); 5].map(|()| subscribe(server.address, "203.0.113.9").unwrap());
    let server = start(two_each());
    let _clients = [(); 5].map(|()| subscribe(server.address, "unknown").unwrap());
    let _clients = [(); 5].map(|()| websocket(server.address, "/channels/news"));
}

#[test]
fn streams_and_polls_count_while_they_last_and_requests_that_are_answered_do_not() {
    let server = start(two_each());
    let fields = from("203.0.113.9");
    for _ in 0..5 {
        let answer = request(server.address, "POST", "/channels/news", &fields, b"x");
        assert_eq!(answer.status, 200, "{answer:?}");
    }
    let stream = Events::open(server.address, "/channels/news", &fields).begun();
    let mut polling = connect(server.address);
    let poll = |wait| {
        format!("GET /channels/quiet?wait={wait} HTTP/1.1\r\nHost: localhost\r\n{fields}\r\n").into_bytes()
    };
    polling.write_all(&poll(20)).unwrap();
    let mut scraper = Scraper::new(server.address);
    scraper.settles(&[(&connections("long_poll"), 1), (&connections("sse"), 1)]);
    assert_full(&subscribe(server.address, "203.0.113.9").unwrap_err());
    assert_eq!(exchange(&mut connect(server.address), &poll(20)).status, 429);
    assert_eq!(exchange(&mut connect(server.address), &poll(0)).status, 200, "it does not last");
    publish(server.address, "quiet", "now");
    assert_eq!(read_answer(&mut polling).status, 200);
    // The connection is still there, and holds no seat.
    let client = subscribe(server.address, "203.0.113.9").unwrap();
    let answer = exchange(&mut polling, &poll(20));
    assert_eq!((answer.status, answer.head.contains("Retry-After: 5\r\n")), (429, true), "{answer:?}");
    drop((client, stream));
    assert_two_free(server.address, "203.0.113.9");
    assert_eq!(exchange(&mut polling, &poll(0)).status, 200, "a refused request ends nothing");
}

#[test]
fn a_connection_of_a_proxy_carries_the_requests_of_several_clients_and_each_counts_for_its_own() {
    let server = start(two_each());
    let mut shared = connect(server.address);
    let _seats = [(); 2].map(|()| subscribe(server.address, "203.0.113.9").unwrap());
    let mut poll = |client: &str| {
        let fields = from(client);
        let head = format!("GET /channels/a?since=&wait=1 HTTP/1.1\r\nHost: localhost\r\n{fields}\r\n");
        exchange(&mut shared, head.as_bytes()).status
    };
    assert_eq!([poll("203.0.113.9"), poll("203.0.113.10"), poll("203.0.113.9")], [429, 200, 429]);
}

#[test]
fn a_session_over_http_counts_while_a_request_carries_it_on_whichever_loop() {
    let server = start(two_each());
    let fields = from("203.0.113.9");
    for number in 0..6 {
        let mut socket = connect(server.address);
        for _ in 0..2 {
            let path = format!("/pusher/app/app-key/{number}/s000000{number}/xhr_streaming");
            let head = format!(
                "POST {path}?protocol=7&client=js&version=8.6.0 HTTP/1.1\r\nHost: localhost\r\n{fields}Content-Length: 0\r\n\r\n"
            );
            socket.write_all(head.as_bytes()).unwrap();
            let mut answer = [0; 12];
            socket.read_exact(&mut answer).unwrap();
            assert_eq!(&answer, b"HTTP/1.1 200");
            socket = connect(server.address);
            until("the seat is free", || {
                let answer = request(server.address, "GET", "/channels/a?wait=0", &fields, b"");
                (answer.status == 200).then_some(())
            });
        }
        drop(socket);
        drop(seat(server.address, "203.0.113.9"));
    }
    assert_two_free(server.address, "203.0.113.9");
}

#[test]
fn a_seat_is_given_back_once_however_a_connection_ends() {
    let server = start(Config { handshake_timeout: Duration::from_millis(200), ..two_each() });
    let client = "203.0.113.9";
    let upgrade = |path: &str| {
        String::from_utf8(upgrade_request(path)).unwrap().replacen(
            "\r\n",
            &format!("\r\n{}", from(client)),
            1,
        )
    };
    let raw = |path: &str| {
        until("it is let in", || {
            let mut stream = connect(server.address);
            (exchange(&mut stream, upgrade(path).as_bytes()).status == 101).then_some(stream)
        })
    };
    for _ in 0..3 {
        reset(raw("/channels/news"));
        drop(raw("/channels/news"));
        raw("/echo").shutdown(Shutdown::Write).unwrap();
        let mut closing = raw("/channels/news");
        closing.write_all(&masked_frame(0x88, b"\x03\xe8")).unwrap();
        rest(&mut closing);
        drop(closing);
        let mut breaking = raw("/channels/news");
        breaking.write_all(b"\xff\xff").unwrap();
        rest(&mut breaking);
        drop(breaking);
        // A handshake that is refused for another reason.
        let broken = upgrade("/channels/news").replace("Version: 13", "Version: 7");
        assert_eq!(exchange(&mut connect(server.address), broken.as_bytes()).status, 426);
        // A poll whose client goes, and a stream whose client does.
        let mut poll = connect(server.address);
        let fields = from(client);
        write!(poll, "GET /channels/q?wait=20 HTTP/1.1\r\nHost: localhost\r\n{fields}\r\n").unwrap();
        drop(poll);
        drop(until("it is let in", || {
            Events::on(connect(server.address), "/channels/news", &from(client)).ok()
        }));
    }
    assert_two_free(server.address, client);
}

#[test]
fn handshakes_have_a_rate_and_polls_are_none() {
    let rate = hourly(5);
    let server = start(Config { ip_connections: None, ip_handshakes: Some(rate), ..two_each() });
    let fields = from("203.0.113.9");
    publish(server.address, "old", "x");
    for number in 0..5 {
        match number % 2 {
            0 => drop(subscribe(server.address, "203.0.113.9").unwrap()),
            _ => drop(Events::open(server.address, "/channels/news", &fields)),
        }
        let answer = request(server.address, "GET", "/channels/old?wait=20&last=1", &fields, b"");
        assert_eq!(answer.status, 200, "{answer:?}");
    }
    let refused = subscribe(server.address, "203.0.113.9").unwrap_err();
    assert_eq!(refused.status(), 429);
    let retry_after: u64 = refused.headers()["retry-after"].to_str().unwrap().parse().unwrap();
    assert!((710..=720).contains(&retry_after), "a fifth of an hour: {retry_after}");
    let body = String::from_utf8(refused.body().clone().unwrap()).unwrap();
    let sentence = "Your address has begun 5 handshakes within an hour, the limit of --ip-handshakes.";
    assert!(body.contains(sentence), "{body}");
    subscribe(server.address, "203.0.113.10").unwrap();
    let mut scraper = Scraper::new(server.address);
    scraper.settles(&[(&refusals("rate"), 1), (&refusals("too_many"), 0)]);
}

#[test]
fn a_flood_of_handshakes_of_one_address_leaves_the_others_alone() {
    const FLOOD: usize = 600;
    let server = start(Config { ip_connections: Some(10), ..two_each() });
    let mut other = subscribe(server.address, "203.0.113.10").unwrap();
    let mut flood: Vec<TcpStream> = Vec::new();
    let head = String::from_utf8(upgrade_request("/channels/news")).unwrap();
    let head = head.replacen("\r\n", &format!("\r\n{}", from("203.0.113.9")), 1);
    for _ in 0..FLOOD {
        let mut stream = connect(server.address);
        stream.write_all(head.as_bytes()).unwrap();
        flood.push(stream);
    }
    let answers: Vec<u16> = flood.iter_mut().map(|stream| read_answer(stream).status).collect();
    let count = |status| answers.iter().filter(|&&answer| answer == status).count();
    assert_eq!((count(101), count(429)), (10, FLOOD - 10));
    publish(server.address, "news", "hi");
    assert_eq!(text(&mut other), "hi");
    let mut scraper = Scraper::new(server.address);
    scraper.settles(&[(&refusals("too_many"), FLOOD as u64 - 10)]);
    drop(flood);
    let _again = [(); 10].map(|()| seat(server.address, "203.0.113.9"));
    assert_eq!(subscribe(server.address, "203.0.113.9").unwrap_err().status(), 429);
}

/// A connection that begins with this.
fn behind(address: SocketAddr, header: &[u8]) -> TcpStream {
    let mut stream = connect(address);
    stream.write_all(header).unwrap();
    stream
}

fn line(client: &str) -> Vec<u8> {
    let family = if client.contains(':') { "TCP6" } else { "TCP4" };
    let own = if client.contains(':') { "::1" } else { "127.0.0.1" };
    format!("PROXY {family} {client} {own} 5000 80\r\n").into_bytes()
}

/// A header of version 2 with a TLV.
fn binary(client: &str) -> Vec<u8> {
    let (family, mut addresses) = match client.parse().unwrap() {
        IpAddr::V4(client) => (0x11, [client.octets(), [127, 0, 0, 1]].concat()),
        IpAddr::V6(client) => (0x21, [client.octets(), [0; 16]].concat()),
    };
    addresses.extend_from_slice(&[0x13, 0x88, 0, 80, 0x04, 0, 2, b'x', b'y']);
    let len = (addresses.len() as u16).to_be_bytes();
    [b"\r\n\r\n\0\r\nQUIT\n\x21".as_slice(), &[family], &len, &addresses].concat()
}

/// A header of version 2 for a connection of the proxy itself.
const LOCAL: &[u8] = b"\r\n\r\n\0\r\nQUIT\n\x20\0\0\0";

const HEALTH: &[u8] = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n";

/// How a connection ended: with these bytes.
fn end(mut stream: TcpStream) -> String {
    let mut bytes = Vec::new();
    match stream.read_to_end(&mut bytes) {
        Err(error) if error.kind() != ErrorKind::ConnectionReset => panic!("{error}"),
        _ => String::from_utf8(bytes).unwrap(),
    }
}

#[test]
fn a_proxy_header_of_either_version_says_who_is_counted_and_the_rest_is_served() {
    let server = start(with_headers(two_each()));
    for (header, other) in [
        (line("203.0.113.9"), line("203.0.113.10")),
        (binary("203.0.113.19"), binary("203.0.113.20")),
        (line("2001:db8:1::9"), line("2001:db8:2::9")),
        (binary("2001:db8:3::9"), binary("2001:db8:4::9")),
    ] {
        // A frame behind the handshake, all in one packet; and byte by byte.
        let bytes = [header.clone(), upgrade_request("/echo"), masked_frame(0x81, b"hello")].concat();
        let mut whole = behind(server.address, &bytes);
        let mut bytewise = connect(server.address);
        bytes.iter().for_each(|&byte| bytewise.write_all(&[byte]).unwrap());
        for stream in [&mut whole, &mut bytewise] {
            assert_eq!(read_answer(stream).status, 101);
            let mut frame = [0; 7];
            stream.read_exact(&mut frame).unwrap();
            assert_eq!(&frame, b"\x81\x05hello");
        }
        // There is no third, and it is told without a request.
        let refused = end(behind(server.address, &header));
        assert!(refused.starts_with("HTTP/1.1 429 ") && refused.contains(SEATS), "{refused}");
        assert!(refused.contains("\r\nRetry-After: 5\r\n"), "{refused}");
        assert_eq!(exchange(&mut behind(server.address, &other), HEALTH).status, 200);
        drop((whole, bytewise));
        until("the seats are free", || {
            let mut stream = behind(server.address, &header);
            (exchange(&mut stream, HEALTH).status == 200).then_some(())
        });
    }
}

#[test]
fn a_connection_of_the_proxy_itself_is_served_and_not_counted() {
    let server = start(with_headers(two_each()));
    let mut kept = Vec::new();
    for header in [LOCAL, b"PROXY UNKNOWN\r\n"].repeat(4) {
        let mut stream = behind(server.address, header);
        assert_eq!(exchange(&mut stream, HEALTH).status, 200);
        kept.push(stream);
    }
    // What such a connection forwards counts for whom it says.
    let upgrade = String::from_utf8(upgrade_request("/channels/news")).unwrap();
    let upgrade = upgrade.replacen("\r\n", &format!("\r\n{}", from("203.0.113.9")), 1);
    let statuses: Vec<_> =
        kept.iter_mut().take(3).map(|stream| exchange(stream, upgrade.as_bytes()).status).collect();
    assert_eq!(statuses, [101, 101, 429]);
}

#[test]
fn x_forwarded_for_is_read_from_a_proxy_behind_a_proxy_header_and_from_nobody_else() {
    let server = start(with_headers(Config {
        trust_proxy: ["127.0.0.1/32", "10.0.0.0/8"].map(|network| network.parse().unwrap()).into(),
        ..two_each()
    }));
    let upgrade = |header: &[u8], client: &str| {
        let head = String::from_utf8(upgrade_request("/channels/news")).unwrap();
        let head = head.replacen("\r\n", &format!("\r\n{}", from(client)), 1);
        let mut stream = behind(server.address, header);
        let status = exchange(&mut stream, head.as_bytes()).status;
        (stream, status)
    };
    // The proxy of a proxy.
    let seats = [(); 2].map(|()| upgrade(&line("10.0.0.2"), "203.0.113.9"));
    assert_eq!(seats.each_ref().map(|(_, status)| *status), [101; 2]);
    assert_eq!(upgrade(&line("10.0.0.2"), "203.0.113.9").1, 429);
    assert_eq!(upgrade(&line("10.0.0.2"), "203.0.113.10").1, 101);
    // A client that writes it.
    let others = [(); 2].map(|()| upgrade(&line("203.0.113.30"), "203.0.113.31"));
    assert_eq!(others.each_ref().map(|(_, status)| *status), [101; 2]);
    assert_eq!(upgrade(&line("203.0.113.31"), "").1, 101);
    assert_eq!(upgrade(&line("203.0.113.30"), "203.0.113.32").1, 429);
}

#[test]
fn a_connection_without_a_good_proxy_header_is_cut() {
    let server = start(with_headers(two_each()));
    for bytes in [
        HEALTH.to_vec(),
        b"PROXY TCP4 1.2.3.4\r\n".to_vec(),
        b"PROXY UNKNOWN ".repeat(8),
        binary("203.0.113.9").iter().map(|&byte| if byte == 0x21 { 0x31 } else { byte }).collect(),
    ] {
        assert_eq!(end(behind(server.address, &bytes)), "", "{bytes:?}");
    }
    let mut scraper = Scraper::new(server.metrics.unwrap());
    scraper.settles(&[(&refusals("proxy_header"), 4)]);
}

#[test]
fn a_proxy_header_that_does_not_come_in_time_ends_the_connection_without_an_answer() {
    let timeout = Duration::from_millis(300);
    let server = start(with_headers(Config { handshake_timeout: timeout, ..two_each() }));
    let began = Instant::now();
    for beginning in [b"".as_slice(), b"PROXY TCP4 203", b"\r\n\r\n\0\r\nQUIT\n\x21\x11\x00\x0c\x01"] {
        assert_eq!(end(behind(server.address, beginning)), "");
    }
    assert!(began.elapsed() >= timeout);
    let late = end(behind(server.address, &line("203.0.113.9")));
    assert!(late.is_empty(), "there was no request: {late}");
    let begun = [line("203.0.113.9"), b"GET / HTTP/1.1\r\n".to_vec()].concat();
    let late = end(behind(server.address, &begun));
    assert!(late.starts_with("HTTP/1.1 408 "), "{late}");
    let mut scraper = Scraper::new(server.metrics.unwrap());
    scraper.settles(&[(&refusals("proxy_header"), 3), (&refusals("timeout"), 1)]);
}

#[test]
fn a_peer_that_is_no_trusted_proxy_is_cut_where_a_proxy_header_is_expected() {
    let server = start(with_headers(two_each()));
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    socket.bind(&"127.0.0.2:0".parse::<SocketAddr>().unwrap().into()).unwrap();
    socket.connect(&server.address.into()).unwrap();
    let mut stream = TcpStream::from(socket);
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let _ = stream.write_all(&[line("203.0.113.9"), HEALTH.to_vec()].concat());
    assert_eq!(end(stream), "");
    let mut scraper = Scraper::new(server.metrics.unwrap());
    scraper.settles(&[(&refusals("proxy_header"), 1)]);
}

#[test]
fn one_address_may_expect_proxy_headers_beside_one_that_does_not() {
    let listen = ["127.0.0.1:0", "127.0.0.2:0"].map(|address| address.parse().unwrap());
    let config = Config { listen: listen.into(), proxy_listen: vec![listen[1]], ..two_each() };
    let server = fanfare::server::Server::bind(config).unwrap();
    let (addresses, handle) = (server.local_addrs().to_vec(), server.handle());
    let serving = std::thread::spawn(|| server.run());
    assert_eq!(exchange(&mut connect(addresses[0]), HEALTH).status, 200);
    assert_eq!(end(behind(addresses[1], HEALTH)), "");
    let header = line("203.0.113.9");
    assert_eq!(exchange(&mut behind(addresses[1], &header), HEALTH).status, 200);
    assert!(end(behind(addresses[0], &header)).starts_with("HTTP/1.1 400 "));
    handle.shutdown_now();
    serving.join().unwrap().unwrap();
}

const SECRET: &[u8] = b"0123456789abcdef0123456789abcdef";

/// Two connections a user.
fn two_each_user() -> Config {
    let token_keys = KeyFiles::read([("key", SECRET)]).unwrap().keys;
    Config { token_keys, user_connections: Some(2), ..config() }
}

/// A token of this user that allows everything.
fn token(sub: &str) -> String {
    let now_s = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
    let fanfare = json!({"subscribe": ["*"], "publish": ["*"]});
    let claims = json!({"sub": sub, "iat": now_s, "exp": now_s + 600, "fanfare": fanfare});
    jsonwebtoken::encode(&Header::default(), &claims, &EncodingKey::from_secret(SECRET)).unwrap()
}

fn bearer(sub: &str) -> String {
    format!("Bearer {}", token(sub))
}

fn subscribe_as(address: SocketAddr, sub: &str) -> Result<Client, Box<Refused>> {
    handshake(address, "/channels/news", &[("Authorization", &bearer(sub))]).map(|(client, _)| client)
}

#[test]
fn a_user_has_so_many_connections_by_whatever_transport_and_another_has_its_own() {
    const FULL: &str = "2 connections of u42 are open, the limit of --user-connections.";
    let server = start(two_each_user());
    let authorization = format!("Authorization: {}\r\n", bearer("u42"));
    let poll =
        |wait| format!("GET /channels/q?wait={wait} HTTP/1.1\r\nHost: localhost\r\n{authorization}\r\n");
    let socket = subscribe_as(server.address, "u42").unwrap();
    let stream = Events::open(server.address, "/channels/news", &authorization).begun();
    let refused = subscribe_as(server.address, "u42").unwrap_err();
    assert_eq!((refused.status().as_u16(), &refused.headers()["retry-after"]), (429, &"5".parse().unwrap()));
    assert!(String::from_utf8_lossy(refused.body().as_deref().unwrap()).contains(FULL));
    let mut polling = connect(server.address);
    let answer = exchange(&mut polling, poll(20).as_bytes());
    assert_eq!((answer.status, answer.body.contains(FULL)), (429, true), "{answer:?}");
    assert_eq!(exchange(&mut polling, poll(0).as_bytes()).status, 200, "it does not last");
    let _other = subscribe_as(server.address, "u43").unwrap();
    drop((socket, stream));
    // A poll counts until it is answered, and its connection does not after that.
    for _ in 0..2 {
        until("there is room", || (exchange(&mut polling, poll(1).as_bytes()).status == 200).then_some(()));
    }
    let both = [(); 2].map(|()| until("there is room", || subscribe_as(server.address, "u42").ok()));
    assert_eq!(subscribe_as(server.address, "u42").unwrap_err().status(), 429);
    drop(both);
}

#[test]
fn who_proves_to_be_a_user_later_counts_from_then_on_and_once() {
    let server = start(two_each_user());
    let authorize = |client: &mut Client| {
        say(
            client,
            &json!({"event": "fanfare:authorize", "ref": 1, "data": {"token": token("u42")}}).to_string(),
        );
        next(client)
    };
    let mut clients = [(); 3].map(|()| multiplex(server.address));
    for client in &mut clients[..2] {
        for _ in 0..2 {
            assert_eq!(authorize(client)["event"], "fanfare:authorized");
        }
    }
    let refused = authorize(&mut clients[2]);
    let data = json!({
        "code": "too_many", "status": 429,
        "message": "2 connections of u42 are open, the limit of --user-connections."
    });
    assert_eq!((&refused["event"], &refused["data"]), (&"fanfare:error".into(), &data), "{refused}");
    let [first, _second, mut third] = clients;
    drop(first);
    until("there is room", || (authorize(&mut third)["event"] == "fanfare:authorized").then_some(()));
    assert_eq!(subscribe_as(server.address, "u42").unwrap_err().status(), 429);
}
