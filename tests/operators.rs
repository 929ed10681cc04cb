//! What operators are shown: who may see the numbers, at which address, and what a probe is answered.

#![allow(clippy::unwrap_used)] // a helper that fails fails its test

mod support;

use std::io::{BufRead, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::time::Instant;

use fanfare::config::Config;
use fanfare::server::Server;
use support::metrics::{SCRAPE, Scraper, connections};
use support::*;
use tungstenite::Message;

#[test]
fn with_a_key_the_state_is_shown_to_its_holders_only() {
    let server = start(with_key());
    // The second is `anybody:secret`.
    let bearer = "Authorization: Bearer secret\r\n";
    let basic = "Authorization: Basic YW55Ym9keTpzZWNyZXQ=\r\n";
    for path in ["/metrics", "/dashboard"] {
        for fields in ["", "Authorization: Bearer wrong\r\n", "Authorization: Basic d3Jvbmc6d3Jvbmc=\r\n"] {
            let answer = request(server.address, "GET", path, fields, b"");
            assert_eq!(answer.status, 401, "{path} {fields}");
            assert!(answer.head.contains("WWW-Authenticate: Basic realm=\"Fanfare\"\r\n"), "{answer:?}");
            assert!(answer.body.contains("--publish-key"), "{answer:?}");
        }
        for fields in [bearer, basic] {
            assert_eq!(request(server.address, "GET", path, fields, b"").status, 200, "{path} {fields}");
        }
    }
    assert_eq!(handshake(server.address, "/dashboard/figures", &[]).unwrap_err().status(), 401);
    for value in ["Bearer secret", "Basic YW55Ym9keTpzZWNyZXQ="] {
        assert!(handshake(server.address, "/dashboard/figures", &[("Authorization", value)]).is_ok());
    }
    let elsewhere = [("Authorization", "Basic YW55Ym9keTpzZWNyZXQ="), ("Origin", "https://evil.example")];
    assert_eq!(handshake(server.address, "/dashboard/figures", &elsewhere).unwrap_err().status(), 401);
    let fields = format!("Content-Type: text/plain\r\n{basic}");
    assert_eq!(
        request(server.address, "POST", "/channels/news", &fields, b"x").status,
        401,
        "not to publish"
    );
}

#[test]
fn without_a_key_outside_development_mode_the_state_is_shown_to_nobody() {
    let server = start(Config { insecure: true, ..config() });
    for path in ["/metrics", "/dashboard", "/dashboard/figures"] {
        let answer = request(server.address, "GET", path, "", b"");
        assert_eq!(answer.status, 403, "{path}");
        assert!(
            answer.body.contains("--metrics-listen") && answer.body.contains("--publish-key"),
            "{answer:?}"
        );
    }
}

#[test]
fn the_answer_to_a_scrape_names_the_format_and_head_has_no_body() {
    let server = start(config());
    let answer = request(server.address, "GET", "/metrics", "", b"");
    let content_type = "Content-Type: text/plain; version=0.0.4; charset=utf-8\r\n";
    assert!(answer.head.contains(content_type), "{answer:?}");
    let mut stream = connect(server.address);
    stream.write_all(b"HEAD /metrics HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").unwrap();
    let head = String::from_utf8(rest(&mut stream)).unwrap();
    assert!(head.contains(content_type) && head.ends_with("\r\n\r\n"), "{head}");
    assert_eq!(request(server.address, "POST", "/metrics", "", b"").status, 405);
}

#[test]
fn at_the_address_of_the_metrics_the_state_is_served_without_a_key_and_nothing_else() {
    let server = start(with_metrics(with_key()));
    let address = server.metrics.unwrap();
    let get = |path| request(address, "GET", path, "", b"");
    assert!(get("/metrics").body.contains("fanfare_publishes_total 0\n"));
    assert_eq!((get("/healthz").status, get("/healthz").body.as_str()), (200, "ok\n"));
    assert_eq!((get("/readyz").status, get("/readyz").body.as_str()), (200, "ready\n"));
    for path in ["/", "/channels/news", "/dashboard", "/dashboard/figures", "/echo", "/nowhere"] {
        let answer = get(path);
        assert_eq!(answer.status, 404, "{path}");
        assert!(answer.body.contains("/metrics, /healthz and /readyz"), "{answer:?}");
    }
    assert_eq!(handshake(address, "/channels/news", &[]).unwrap_err().status(), 404);
    let fields = "Authorization: Bearer secret\r\n";
    assert_eq!(request(address, "POST", "/channels/news", fields, b"x").status, 404);
    let answer = request(address, "DELETE", "/metrics", "", b"");
    assert!(answer.status == 405 && answer.head.contains("Allow: GET, HEAD\r\n"), "{answer:?}");
}

#[test]
fn more_than_some_connections_for_metrics_are_refused_and_clients_do_not_notice() {
    let server = start(with_metrics(config()));
    let address = server.metrics.unwrap();
    let mut held: Vec<TcpStream> = (0..32).map(|_| connect(address)).collect();
    assert_eq!(read_answer(&mut connect(address)).status, 503);
    let mut client = websocket(server.address, "/channels/news");
    client.send(Message::text("x")).unwrap();
    assert_eq!(text(&mut client), "x");
    held.truncate(1);
    until("there is room again", || {
        let mut stream = connect(address);
        (exchange(&mut stream, SCRAPE).status == 200).then_some(())
    });
}

#[test]
fn the_address_of_the_metrics_is_announced_after_the_others() {
    let mut process = spawn(&mut fanfare(&["--listen", "127.0.0.1:0", "--metrics-listen", "127.0.0.1:0"]));
    let mut line = || {
        let mut line = String::new();
        process.output.read_line(&mut line).unwrap();
        line
    };
    assert!(line().starts_with("listening on http://127.0.0.1:"));
    let last = line();
    let url = last.trim().strip_prefix("metrics on http://").unwrap_or_else(|| panic!("{last:?}"));
    let address: SocketAddr = url.strip_suffix("/metrics").unwrap().parse().unwrap();
    assert!(Scraper::new(address).scrape().contains_key("fanfare_publishes_total"));
}

#[test]
fn an_address_of_the_metrics_that_cannot_be_had_is_named_with_its_flag() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let config = Config { metrics_listen: Some(taken.local_addr().unwrap()), ..config() };
    let error = Server::bind(config).unwrap_err().to_string();
    assert!(error.contains("--metrics-listen 127.0.0.1:"), "{error}");
}

#[test]
fn a_server_that_is_stopping_says_that_it_is_not_ready_until_it_ends() {
    let server = start(with_metrics(Config { drain: PATIENCE, ..config() }));
    let clients: Vec<Client> = (0..20).map(|_| websocket(server.address, "/channels/news")).collect();
    let ready = b"GET /readyz HTTP/1.1\r\nHost: localhost\r\n\r\n";
    // After the others on its loop, so that its turn to be closed comes late.
    let mut kept = connect(server.address);
    assert_eq!(exchange(&mut kept, ready).status, 200);
    server.handle.shutdown();
    let address = server.metrics.unwrap();
    until("a probe finds it out", || {
        let mut stream = connect(address);
        (exchange(&mut stream, ready).status == 503).then_some(())
    });
    let answer = exchange(&mut kept, ready);
    assert_eq!(answer.status, 503);
    assert!(answer.head.contains("Connection: close\r\n") && answer.body.contains("stopping"), "{answer:?}");
    until("nobody new is taken", || TcpStream::connect(server.address).is_err().then_some(()));
    let samples = Scraper::new(address).scrape();
    assert!(samples[&connections("websocket")] > 0.0, "the drain is long");
    assert!(samples.iter().all(|(name, &count)| !name.contains("refusals") || count == 0.0), "{samples:?}");
    drop(clients);
}

#[test]
fn a_probe_that_is_connected_does_not_hold_up_the_stop() {
    let server = start(with_metrics(Config { close_timeout: PATIENCE * 10, ..config() }));
    let address = server.metrics.unwrap();
    let _silent = connect(address);
    let mut scraper = Scraper::new(address);
    scraper.settles(&[(&connections("http"), 2)]);
    server.handle.shutdown();
    let begun = Instant::now();
    server.join().unwrap();
    assert!(begun.elapsed() < PATIENCE);
    assert!(TcpStream::connect(address).is_err(), "nobody listens any more");
}
