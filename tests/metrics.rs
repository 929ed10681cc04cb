//! What the server counts, over real sockets: every number moves as far as the traffic says.

#![allow(clippy::unwrap_used)] // a helper that fails fails its test

mod support;

use std::collections::HashMap;
use std::io::Write;
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use fanfare::config::{Config, Glob, LagPolicy};
use fanfare::server::Draft;
use support::event_stream::Events;
use support::long_poll::{Poll, data_of};
use support::metrics::{SCRAPE, Scraper, connections, refusals, samples};
use support::*;
use tungstenite::Message;

/// More than the kernel holds for a peer that does not read.
const PAYLOAD_LEN: usize = 32 * 1024;

const DELIVERED_BY_WEBSOCKET: &str = "fanfare_deliveries_total{transport=\"websocket\"}";

#[test]
fn connections_are_counted_by_transport_as_they_come_and_go() {
    let server = start(config());
    let mut scraper = Scraper::new(server.address);
    let clients: Vec<Client> = (0..3).map(|_| websocket(server.address, "/channels/news")).collect();
    let idle: Vec<TcpStream> = (0..2).map(|_| connect(server.address)).collect();
    let (http, by_websocket) = (connections("http"), connections("websocket"));
    let accepted = ("fanfare_connections_accepted_total", 6);
    let held = ("fanfare_memory_bytes{kind=\"connections\"}", 6 * 256);
    scraper.settles(&[(&http, 3), (&by_websocket, 3), accepted, held]);
    drop((clients, idle));
    let held = ("fanfare_memory_bytes{kind=\"connections\"}", 256);
    scraper.settles(&[(&http, 1), (&by_websocket, 0), accepted, held]);
}

#[test]
fn every_transport_is_counted_as_what_it_is_and_what_it_is_sent() {
    let server = start(config());
    let mut scraper = Scraper::new(server.address);
    let mut client = websocket(server.address, "/channels/a");
    let mut streams = [
        Events::open(server.address, "/channels/a", "").begun(),
        Events::open(server.address, "/channels/a?protocol=fanfare.v1.json", "").begun(),
    ];
    let mut poll = Poll::new(server.address, "/channels/a");
    poll.poll(0);
    poll.ask(20);
    let [http, by_websocket, sse, long_poll] = ["http", "websocket", "sse", "long_poll"].map(connections);
    scraper.settles(&[(&http, 1), (&by_websocket, 1), (&sse, 2), (&long_poll, 1)]);
    publish(server.address, "a", "live");
    text(&mut client);
    streams.iter_mut().for_each(|stream| while stream.next().unwrap().id.is_empty() {});
    assert_eq!(data_of(&poll.answer()), ["live"]);
    let delivered = |transport: &str| format!("fanfare_deliveries_total{{transport=\"{transport}\"}}");
    let [to_websocket, to_sse, to_poll] = ["websocket", "sse", "long_poll"].map(delivered);
    scraper.settles(&[(&to_websocket, 1), (&to_sse, 2), (&to_poll, 1)]);
    // The poll is over, and its connection kept.
    scraper.settles(&[(&http, 2), (&by_websocket, 1), (&sse, 2), (&long_poll, 0)]);
    // What was kept is delivered to later subscribers.
    let mut late = Events::open(server.address, "/channels/a?last=1", "").begun();
    while late.next().unwrap().data != "live" {}
    let answer = request(server.address, "GET", "/channels/a?last=1", "", b"");
    assert!(answer.body.contains("live"), "{answer:?}");
    scraper.settles(&[(&to_websocket, 1), (&to_sse, 3), (&to_poll, 2), ("fanfare_publishes_total", 1)]);
    drop((client, streams, late, poll));
    scraper.settles(&[(&http, 1), (&by_websocket, 0), (&sse, 0), (&long_poll, 0)]);
}

#[test]
fn a_retry_under_the_same_key_is_no_second_publication_and_another_body_is_a_conflict() {
    let server = start(config());
    let fields = "Content-Type: text/plain\r\nIdempotency-Key: k\r\n";
    for (body, status) in [(b"x", 200), (b"x", 200), (b"y", 422)] {
        assert_eq!(request(server.address, "POST", "/channels/a", fields, body).status, status);
    }
    let mut scraper = Scraper::new(server.address);
    scraper.settles(&[("fanfare_publishes_total", 1), (&refusals("conflict"), 1)]);
}

#[test]
fn a_publication_is_counted_once_and_a_delivery_for_each_subscriber() {
    let server = start(config());
    let mut scraper = Scraper::new(server.address);
    let mut plain = [websocket(server.address, "/channels/a"), websocket(server.address, "/channels/a")];
    let mut envelope = envelopes(server.address, "a");
    publish(server.address, "a", "by post");
    plain[0].send(Message::text("by message")).unwrap();
    server.handle.publish(Draft::text("a", "by the program").unwrap()).unwrap();
    for client in plain.iter_mut().chain([&mut envelope]) {
        (0..3).for_each(|_| drop(text(client)));
    }
    publish(server.address, "nobody", "x");
    scraper.settles(&[("fanfare_publishes_total", 4), (DELIVERED_BY_WEBSOCKET, 9)]);
    let refused = request(server.address, "POST", "/channels/a?event=fanfare:x", "", b"x");
    assert_eq!(refused.status, 400);
    scraper.settles(&[("fanfare_publishes_total", 4), (DELIVERED_BY_WEBSOCKET, 9)]);
}

#[test]
fn every_byte_in_either_direction_is_counted() {
    let server = start(one_loop());
    let mut stream = connect(server.address);
    let before = exchange(&mut stream, SCRAPE);
    let request = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n";
    let answer = exchange(&mut stream, request);
    let after = exchange(&mut stream, SCRAPE);
    let len = |answer: &Answer| (answer.head.len() + answer.body.len()) as f64;
    let moved = |sample: &str| samples(&after.body)[sample] - samples(&before.body)[sample];
    // The answer to a scrape is sent after it is written, the scrape itself is read before.
    assert_eq!(moved("fanfare_sent_bytes_total"), len(&before) + len(&answer));
    assert_eq!(moved("fanfare_received_bytes_total"), (request.len() + SCRAPE.len()) as f64);
}

#[test]
fn a_frame_to_each_of_many_subscribers_is_counted_in_bytes_sent() {
    let server = start(one_loop());
    let mut clients: Vec<Client> = (0..20).map(|_| websocket(server.address, "/channels/a")).collect();
    let mut scraper = Scraper::new(server.address);
    let before = exchange(&mut scraper.stream, SCRAPE);
    server.handle.publish(Draft::text("a", "x".repeat(100)).unwrap()).unwrap();
    clients.iter_mut().for_each(|client| drop(text(client)));
    let moved = scraper.value("fanfare_sent_bytes_total")
        - samples(&before.body)["fanfare_sent_bytes_total"]
        - (before.head.len() + before.body.len()) as f64;
    assert_eq!(moved, 20.0 * 102.0);
}

/// A subscriber that does not read, and that is told what it missed.
fn slow_client(address: SocketAddr) -> Client {
    stalled(address, "/channels/slow", &[("Sec-WebSocket-Protocol", "fanfare.v1.json")])
}

/// Publishes to the slow client until the sample is no longer 0. How many that took. On one loop, which then has a turn
/// between any two.
fn publish_until(server: &Running, scraper: &mut Scraper, sample: &str) -> u64 {
    let draft = Draft::text("slow", "x".repeat(PAYLOAD_LEN)).unwrap();
    let mut count = 0;
    until("the sample moves", || {
        publish_draft(&server.handle, &draft);
        count += 1;
        (scraper.value(sample) > 0.0).then_some(count)
    })
}

#[test]
fn a_subscriber_closed_for_its_lag_is_counted_once_and_not_as_a_refusal() {
    let server = start(Config { max_lag: 64 * 1024, ..one_loop() });
    let mut scraper = Scraper::new(server.address);
    let _slow = slow_client(server.address);
    publish_until(&server, &mut scraper, "fanfare_lagged_total{policy=\"close\"}");
    let samples = scraper.scrape();
    assert_eq!(samples["fanfare_lagged_total{policy=\"close\"}"], 1.0);
    assert_eq!(samples["fanfare_passed_over_publications_total"], 0.0);
    let refused: f64 = samples
        .iter()
        .filter(|(name, _)| name.starts_with("fanfare_refusals_total"))
        .map(|(_, number)| number)
        .sum();
    assert_eq!(refused, 0.0, "{samples:?}");
}

#[test]
fn what_a_lagging_subscriber_is_moved_past_is_counted_to_the_last_publication() {
    for (policy, label) in [(LagPolicy::Skip, "skip"), (LagPolicy::Latest, "latest")] {
        let lag_policy = vec![(Glob::new("slow"), policy)];
        let server = start(Config { max_lag: 64 * 1024, lag_policy, ..one_loop() });
        let mut scraper = Scraper::new(server.address);
        let mut slow = slow_client(server.address);
        let sample = format!("fanfare_lagged_total{{policy=\"{label}\"}}");
        let published = publish_until(&server, &mut scraper, &sample) + 1;
        publish_draft(&server.handle, &Draft::text("slow", "last").unwrap());
        let (mut received, mut missed) = (0, 0);
        while received + missed < published {
            let envelope: serde_json::Value = serde_json::from_str(&text(&mut slow)).unwrap();
            match envelope["event"].as_str() {
                Some("fanfare:lagged") => missed += envelope["data"]["missed"].as_u64().unwrap(),
                _ => received += 1,
            }
        }
        assert!(missed > 0 && received + missed == published, "{label}: {received}, {missed}, {published}");
        scraper.settles(&[("fanfare_passed_over_publications_total", missed)]);
    }
}

#[test]
fn the_largest_lag_is_what_is_kept_for_the_slowest_and_nothing_when_it_has_read_all() {
    let server = start(one_loop());
    let mut scraper = Scraper::new(server.address);
    let mut slow = slow_client(server.address);
    let published = publish_until(&server, &mut scraper, "fanfare_lag_max_bytes");
    let samples = scraper.scrape();
    let lag = samples["fanfare_lag_max_bytes"];
    assert!(lag > 0.0 && lag <= 1024.0 * 1024.0 + PAYLOAD_LEN as f64, "{lag}");
    assert_eq!(samples["fanfare_memory_bytes{kind=\"logs\"}"], lag, "there is no other log");
    (0..published).for_each(|_| drop(text(&mut slow)));
    scraper.settles(&[("fanfare_lag_max_bytes", 0), ("fanfare_memory_bytes{kind=\"logs\"}", 0)]);
}

#[test]
fn what_is_under_way_from_a_client_is_private_memory() {
    let server = start(Config { max_memory: 64 * 1024 * 1024, ..config() });
    let mut scraper = Scraper::new(server.address);
    scraper.settles(&[("fanfare_memory_max_bytes", 64 * 1024 * 1024)]);
    let mut stream = raw_websocket(server.address, "/echo");
    let header = [&[0x82, 0xff][..], &100_000u64.to_be_bytes(), &[0; 4]].concat();
    stream.write_all(&[&header[..], &[0; 60_000]].concat()).unwrap();
    let private = "fanfare_memory_bytes{kind=\"private\"}";
    until("it is counted", || (scraper.value(private) >= 60_000.0).then_some(()));
    drop(stream);
    scraper.settles(&[(private, 0)]);
}

#[test]
fn every_refused_request_is_counted_under_its_reason() {
    let server = start(Config { max_message: 100, handshake_timeout: PATIENCE, ..with_key() });
    let mut scraper = Scraper::new(server.address);
    let authorized = "Authorization: Bearer secret\r\n";
    scraper.stream.write_all(b"").unwrap();
    let post = format!("POST /channels/c HTTP/1.1\r\nHost: localhost\r\n{authorized}");
    let requests = [
        ("nonsense\r\n\r\n".to_owned(), "bad_request"),
        (format!("{post}\r\n"), "bad_request"),
        (format!("{post}Content-Type: application/json\r\nContent-Length: 1\r\n\r\n{{"), "bad_request"),
        (
            "POST /channels/c HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\n\r\n".to_owned(),
            "unauthorized",
        ),
        ("GET /channels/@fanfare.x HTTP/1.1\r\nHost: localhost\r\n\r\n".to_owned(), "forbidden"),
        ("GET /nowhere HTTP/1.1\r\nHost: localhost\r\n\r\n".to_owned(), "not_found"),
        ("PUT /channels/c HTTP/1.1\r\nHost: localhost\r\n\r\n".to_owned(), "method_not_allowed"),
        (format!("{post}Content-Length: 101\r\n\r\n"), "too_large"),
        (format!("GET / HTTP/1.1\r\nHost: localhost\r\nX: {}\r\n\r\n", "a".repeat(20_000)), "too_large"),
        (format!("{post}Transfer-Encoding: gzip, chunked\r\n\r\n"), "unsupported"),
        ("GET / HTTP/2.0\r\nHost: localhost\r\n\r\n".to_owned(), "unsupported"),
    ];
    let mut counts: HashMap<&str, u64> = HashMap::new();
    for (request, reason) in &requests {
        assert!(exchange(&mut connect(server.address), request.as_bytes()).status >= 400);
        *counts.entry(*reason).or_default() += 1;
    }
    let scrape = format!("GET /metrics HTTP/1.1\r\nHost: localhost\r\n{authorized}\r\n");
    let samples = samples(&exchange(&mut scraper.stream, scrape.as_bytes()).body);
    let found: HashMap<&str, u64> = samples
        .iter()
        .filter_map(|(name, &count)| {
            let reason = name.strip_prefix("fanfare_refusals_total{reason=\"")?.strip_suffix("\"}")?;
            (count > 0.0).then_some((reason, count as u64))
        })
        .collect();
    assert_eq!(found, counts);
}

#[test]
fn a_websocket_that_is_closed_for_what_it_sent_is_counted_under_its_reason() {
    let server = start(with_metrics(Config { max_message: 100, echo: true, ..with_key() }));
    let mut scraper = Scraper::new(server.metrics.unwrap());
    for (path, frame, reason) in [
        ("/echo", &b"\x81\x02no"[..], "protocol_error"),
        ("/echo", b"\x81\x81\x00\x00\x00\x00\xff", "invalid_payload"),
        ("/echo", b"\x82\xfe\x01\x00\x00\x00\x00\x00", "too_large"),
        ("/channels/prices", b"\x81\x81\x00\x00\x00\x00x", "policy"),
    ] {
        let mut stream = raw_websocket(server.address, path);
        stream.write_all(frame).unwrap();
        assert_eq!(rest(&mut stream)[0], 0x88, "{reason}");
        scraper.settles(&[(&refusals(reason), 1)]);
    }
}

#[test]
fn silent_and_late_peers_are_counted() {
    let short = Duration::from_millis(50);
    let server = start(with_metrics(Config {
        idle_timeout: short,
        pong_timeout: short,
        close_timeout: short,
        handshake_timeout: short,
        ..config()
    }));
    let _silent = raw_websocket(server.address, "/channels/news");
    let late = exchange(&mut connect(server.address), b"GET /healthz HTT");
    assert_eq!(late.status, 408);
    until("both are counted", || {
        let samples = Scraper::new(server.metrics.unwrap()).scrape();
        (samples[&refusals("silent")] == 1.0 && samples[&refusals("timeout")] == 1.0).then_some(())
    });
}

#[test]
fn a_full_server_counts_whom_it_refuses_and_is_scraped_all_the_same() {
    let server = start(with_metrics(Config { max_connections: Some(1), ..config() }));
    let _client = websocket(server.address, "/channels/news");
    for _ in 0..3 {
        assert_eq!(read_answer(&mut connect(server.address)).status, 503);
    }
    let mut scraper = Scraper::new(server.metrics.unwrap());
    scraper.settles(&[(&refusals("no_room"), 3), ("fanfare_connections_accepted_total", 2)]);
    assert_eq!(server.handle.connections_len(), 1, "a scraper takes nobody's place");
}

#[test]
fn a_connection_for_which_there_is_no_memory_is_counted() {
    let server = start(with_metrics(Config { max_memory: 300, ..one_loop() }));
    let _clients = [websocket(server.address, "/echo"), websocket(server.address, "/echo")];
    assert_eq!(read_answer(&mut connect(server.address)).status, 503);
    Scraper::new(server.metrics.unwrap()).settles(&[(&refusals("memory"), 1), (&refusals("no_room"), 0)]);
}

#[test]
fn channels_are_counted_once_over_all_loops_and_without_the_dashboards() {
    let server = start(config());
    let mut clients: Vec<Client> = (0..4).map(|_| websocket(server.address, "/channels/a")).collect();
    clients.push(websocket(server.address, "/channels/b"));
    clients.push(websocket(server.address, "/dashboard/figures"));
    let mut scraper = Scraper::new(server.address);
    scraper.settles(&[("fanfare_channels", 2)]);
}

#[test]
fn every_turn_is_in_the_histogram() {
    let server = start(config());
    let mut scraper = Scraper::new(server.address);
    let name = "fanfare_loop_turn_duration_seconds";
    let first = scraper.value(&format!("{name}_count"));
    let samples = scraper.scrape();
    assert!(samples[&format!("{name}_count")] > first, "a scrape takes a turn");
    assert!(samples[&format!("{name}_sum")] > 0.0);
    let mut buckets: Vec<(f64, f64)> = samples
        .iter()
        .filter_map(|(sample, &count)| {
            let bound = sample.strip_prefix(&format!("{name}_bucket{{le=\""))?.strip_suffix("\"}")?;
            Some((bound.parse().unwrap_or(f64::INFINITY), count))
        })
        .collect();
    buckets.sort_by(|a, b| a.0.total_cmp(&b.0));
    assert_eq!(buckets.len(), 15);
    assert!(buckets.is_sorted_by(|a, b| a.1 <= b.1), "cumulative: {buckets:?}");
    assert_eq!(buckets[14].1, samples[&format!("{name}_count")]);
}

#[cfg(target_os = "linux")] // for its /proc
#[test]
fn the_process_tells_of_itself_on_linux() {
    let process = spawn(&mut fanfare(&["--threads", "2"]));
    let samples = Scraper::new(process.address).scrape();
    assert_eq!(samples["fanfare_build_info{version=\"0.1.0\"}"], 1.0);
    let resident_kib = process.resident_kib() as f64;
    let told_kib = samples["process_resident_memory_bytes"] / 1024.0;
    assert!((told_kib - resident_kib).abs() < 1024.0, "{told_kib} KiB told, {resident_kib} KiB");
    assert!(samples["process_max_fds"] >= 100.0);
    assert!(samples["process_cpu_seconds_total"] < 60.0);
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs_f64();
    let age = now - samples["process_start_time_seconds"];
    assert!((-2.0..60.0).contains(&age), "started {age} s ago");
    // Where the kernel tells it: Linux 6.2 and later.
    if let Some(&open) = samples.get("process_open_fds") {
        assert!((open - process.descriptors() as f64).abs() <= 1.0, "{open}");
    }
}
