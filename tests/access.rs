//! Who may do what, over real sockets: the key, the channels open to clients, the origins, and where a server may listen.

mod support;

use std::io::Write;
use std::net::SocketAddr;

use fanfare::config::Config;
use fanfare::server::{Server, StartError};
use support::event_stream::*;
use support::*;
use tungstenite::Message;

/// What a browser asks before a page may publish by `fetch` to a server that is nearer than the page.
const PREFLIGHT: &str =
    "Access-Control-Request-Method: POST\r\nAccess-Control-Request-Private-Network: true\r\n";

const PRIVATE_NETWORK: &str = "\r\nAccess-Control-Allow-Private-Network: true\r\n";

fn refused_text(refused: &Refused) -> String {
    String::from_utf8_lossy(refused.body().as_deref().unwrap_or_default()).into_owned()
}

/// A GET by this name.
fn get(address: SocketAddr, host: &str, path: &str) -> Answer {
    let head = format!("GET {path} HTTP/1.1\r\nHost: {host}\r\n\r\n");
    exchange(&mut connect(address), head.as_bytes())
}

#[test]
fn a_name_in_an_absolute_target_is_checked_in_place_of_the_one_in_host() {
    let server = start(config());
    let answer = get(server.address, "localhost", "http://evil.example/channels/a?wait=0");
    assert_eq!(answer.status, 403);
    assert!(answer.body.contains("--allow-host evil.example"), "{answer:?}");
    let asked = format!("http://{}/channels/a?wait=0", server.address);
    assert_eq!(get(server.address, "evil.example", &asked).status, 200);
    let probe = "http://evil.example/healthz";
    assert_eq!(get(server.address, "localhost", probe).status, 200, "probes have names of their own");
}

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
    let head = b"POST /channels/prices HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000000\r\nExpect: 100-continue\r\n\r\n";
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
    let server = start(Config { allow_origin: vec!["https://example.com".into()], ..with_key() });
    for origin in ["https://evil.example", "http://localhost:3000", "null"] {
        let refused = handshake(server.address, "/channels/news", &[("Origin", origin)]).unwrap_err();
        assert_eq!(refused.status(), 403, "{origin}");
        assert!(refused_text(&refused).contains("--allow-origin"));
    }
    assert!(handshake(server.address, "/channels/news", &[("Origin", "https://example.com")]).is_ok());
    assert!(handshake(server.address, "/channels/news", &[]).is_ok());
    let evil = "Origin: https://evil.example\r\n";
    assert_eq!(request(server.address, "POST", "/channels/chat-1", evil, b"x").status, 403);
}

#[test]
fn in_development_mode_a_page_of_another_site_gets_nothing_and_publishes_nothing() {
    let server = start(config());
    for origin in ["https://evil.example", "http://127.0.0.1.evil.net", "http://localhost.evil.net:8080"] {
        for path in ["/channels/news", "/echo", "/dashboard/figures"] {
            let refused = handshake(server.address, path, &[("Origin", origin)]).unwrap_err();
            assert_eq!(refused.status(), 403, "{origin}");
            assert!(refused_text(&refused).contains("--allow-origin ORIGIN"));
        }
        let field = format!("Origin: {origin}\r\n");
        let preflight = format!("{field}{PREFLIGHT}");
        for (method, path, fields) in [
            ("OPTIONS", "/channels/news", &preflight),
            ("OPTIONS", "/healthz", &preflight),
            ("POST", "/channels/news", &field),
            ("GET", "/channels/news?wait=0", &field),
            ("GET", "/metrics", &field),
            ("GET", "/", &field),
        ] {
            let answer = request(server.address, method, path, fields, b"x");
            assert_eq!(answer.status, 403, "{method} {path} {origin}");
            assert!(!answer.head.contains("Access-Control"), "{answer:?}");
            assert!(answer.head.contains("\r\nVary: Origin\r\n"), "{answer:?}");
        }
        let fields = format!("{field}Accept: text/event-stream\r\n");
        assert_eq!(request(server.address, "GET", "/channels/news", &fields, b"").status, 403);
    }
    assert!(publish(server.address, "news", "the first").body.contains("-1\""), "nothing was published");
}

#[test]
fn in_development_mode_pages_of_this_machine_do_all_from_any_port() {
    let server = start(config());
    let own = format!("http://{}", server.address);
    for origin in [&own, "http://localhost:5173", "https://app.localhost", "http://[::1]:3000"] {
        let (mut client, _) = handshake(server.address, "/channels/news", &[("Origin", origin)]).unwrap();
        client.send(Message::text("by websocket")).unwrap();
        assert_eq!(text(&mut client), "by websocket");
        let field = format!("Origin: {origin}\r\nContent-Type: text/plain\r\n");
        let answer = request(server.address, "POST", "/channels/news", &field, b"by post");
        assert_eq!(answer.status, 200, "{origin}");
        let allowed = format!("\r\nAccess-Control-Allow-Origin: {origin}\r\n");
        assert!(answer.head.contains(&allowed), "{answer:?}");
        assert_eq!(text(&mut client), "by post");
        let preflight = format!("{field}{PREFLIGHT}");
        let answer = request(server.address, "OPTIONS", "/channels/news", &preflight, b"");
        assert_eq!(answer.status, 204);
        assert!(answer.head.contains(&allowed) && answer.head.contains(PRIVATE_NETWORK), "{answer:?}");
        assert_eq!(handshake(server.address, "/echo", &[("Origin", origin)]).unwrap().1.status(), 101);
    }
    // Who is no page says no origin; a cache that keeps its answer keeps it from pages.
    let answer = request(server.address, "GET", "/channels/news?wait=0", "", b"");
    assert!(!answer.head.contains("Access-Control"), "{answer:?}");
    assert!(answer.head.contains("\r\nVary: Origin\r\n"), "{answer:?}");
}

#[test]
fn in_development_mode_a_page_without_an_origin_reads_by_every_transport_and_does_not_publish() {
    let server = start(config());
    let null = "Origin: null\r\n";
    let allowed = "\r\nAccess-Control-Allow-Origin: null\r\n";
    let (mut client, _) = handshake(server.address, "/channels/news", &[("Origin", "null")]).unwrap();
    let events = Events::open(server.address, "/channels/news", null);
    assert!(events.head.contains(allowed) && events.head.contains("\r\nVary: Origin\r\n"), "{}", events.head);
    let mut events = events.begun();
    publish(server.address, "news", "for all");
    assert_eq!(text(&mut client), "for all");
    assert_eq!(events.next().unwrap().data, "for all");
    for method in ["GET", "HEAD"] {
        let path = "/channels/news?last=1&wait=0";
        let mut stream = connect(server.address);
        let head = format!("{method} {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n{null}\r\n");
        stream.write_all(head.as_bytes()).unwrap();
        let answer = String::from_utf8(rest(&mut stream)).unwrap();
        assert!(answer.starts_with("HTTP/1.1 200 ") && answer.contains(allowed), "{answer}");
        assert_eq!(answer.contains("for all"), method == "GET");
    }
    let answer = request(server.address, "POST", "/channels/news", null, b"x");
    assert_eq!(answer.status, 403);
    assert!(answer.head.contains(allowed), "the page may read why: {answer:?}");
    assert!(answer.body.contains("--allow-origin null"), "{answer:?}");
    let preflight = format!("{null}{PREFLIGHT}");
    let answer = request(server.address, "OPTIONS", "/channels/news", &preflight, b"");
    assert_eq!(answer.status, 204);
    assert!(!answer.head.contains("Private-Network"), "{answer:?}");
    client.send(Message::text("x")).unwrap();
    assert_eq!(u16::from(close_frame(&mut client).unwrap().code), 1008);
    publish(server.address, "news", "the second");
    assert_eq!(events.next().unwrap().data, "the second", "nothing came between");
}

#[test]
fn in_development_mode_named_origins_are_served_besides_those_of_this_machine() {
    let named = |origins: &[&str]| {
        let allow_origin = origins.iter().map(ToString::to_string).collect();
        start(Config { allow_origin, ..config() })
    };
    let post = |server: &Running, origin: &str| {
        let fields = format!("Origin: {origin}\r\nContent-Type: text/plain\r\n");
        request(server.address, "POST", "/channels/news", &fields, b"x").status
    };
    let server = named(&["https://example.com", "null"]);
    for origin in ["https://example.com", "http://localhost:5173", "null"] {
        assert_eq!(post(&server, origin), 200, "{origin}");
    }
    assert_eq!(post(&server, "https://evil.example"), 403);
    let server = named(&["*"]);
    for origin in ["https://evil.example", "null"] {
        assert_eq!(post(&server, origin), 200, "{origin}");
    }
    assert_eq!(get(server.address, "evil.example", "/channels/news?wait=0").status, 403, "rebound");
}

#[test]
fn in_development_mode_another_name_in_host_is_refused_with_the_flag_to_add() {
    let server = start(config());
    for host in ["evil.example", "evil.example:8080", "127.0.0.1.evil.net", "localhost.evil.net", "0.0.0.0"] {
        for path in ["/", "/channels/news?wait=0", "/metrics", "/fanfare.js", "/echo"] {
            let answer = get(server.address, host, path);
            assert_eq!(answer.status, 403, "{host} {path}");
            let name = host.split(':').next().unwrap();
            let told = format!("it answers to localhost, not to {name}; add --allow-host {name}.\n");
            assert!(answer.body.ends_with(&told), "{answer:?}");
        }
        // Under DNS rebinding the page is of the origin that it asks.
        let mut fields = vec![("Host", host)];
        let origin = format!("http://{host}");
        fields.push(("Origin", &origin));
        assert_eq!(handshake(server.address, "/channels/news", &fields).unwrap_err().status(), 403);
        let head = format!(
            "POST /channels/news HTTP/1.1\r\nHost: {host}\r\nContent-Length: 1000000\r\nExpect: 100-continue\r\n\r\n"
        );
        let answer = exchange(&mut connect(server.address), head.as_bytes());
        assert_eq!(answer.status, 403, "before its body");
    }
    for host in
        ["localhost", "LOCALHOST:1", "app.localhost", "localhost.", "127.0.0.1:80", "127.9.9.9", "[::1]:80"]
    {
        assert_eq!(get(server.address, host, "/channels/news?wait=0").status, 200, "{host}");
    }
    let nameless = b"GET /channels/news?wait=0 HTTP/1.0\r\n\r\n";
    assert_eq!(exchange(&mut connect(server.address), nameless).status, 200);
    assert_eq!(get(server.address, "", "/channels/news?wait=0").status, 403);
}

#[test]
fn probes_and_the_metrics_address_are_answered_by_any_name() {
    let server = start(with_metrics(config()));
    let metrics = server.metrics.unwrap();
    for path in ["/healthz", "/readyz"] {
        assert_eq!(get(server.address, "10.0.0.7:8080", path).status, 200, "{path}");
        assert_eq!(get(metrics, "fanfare.internal", path).status, 200, "{path}");
    }
    let answer = get(metrics, "fanfare.internal:9090", "/metrics");
    assert_eq!(answer.status, 200);
    assert!(!answer.head.contains("Vary"), "{answer:?}");
}

#[test]
fn a_named_host_is_answered_to_and_its_pages_are_served() {
    let server = start(Config { allow_host: vec!["example.test".parse().unwrap()], ..config() });
    for host in ["example.test", "Example.Test:8080", "localhost"] {
        assert_eq!(get(server.address, host, "/channels/news?wait=0").status, 200, "{host}");
    }
    assert_eq!(get(server.address, "other.test", "/channels/news?wait=0").status, 403);
    let handshake = |origin| {
        handshake(server.address, "/channels/news", &[("Host", "example.test:8080"), ("Origin", origin)])
    };
    assert!(handshake("http://example.test:8080").is_ok());
    assert_eq!(handshake("http://other.test:8080").unwrap_err().status(), 403);
}

#[test]
fn with_a_key_any_name_is_answered_to_unless_some_are_given() {
    let server = start(with_key());
    assert_eq!(get(server.address, "example.com", "/channels/news?wait=0").status, 200);
    let server = start(Config { allow_host: vec!["example.com".parse().unwrap()], ..with_key() });
    for host in ["example.com", "localhost:8080"] {
        assert_eq!(get(server.address, host, "/channels/news?wait=0").status, 200, "{host}");
    }
    let answer = get(server.address, "evil.example", "/channels/news?wait=0");
    assert_eq!(answer.status, 403);
    assert!(answer.body.contains("add --allow-host evil.example."), "{answer:?}");
    assert_eq!(get(server.address, "10.0.0.7", "/healthz").status, 200);
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
