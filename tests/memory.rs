//! `--max-memory` over real sockets: who goes when it is used up, who is refused, and who does not notice.

#![allow(clippy::unwrap_used)] // a helper that fails fails its test

mod support;

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};

use serde_json::Value;
use support::*;
use tungstenite::Message;

const PAYLOAD_LEN: usize = 256 * 1024;
const PUBLICATIONS: usize = 48;

/// Reads until everything has come, or says with which reason it was closed.
fn read_all(client: &mut Client) -> Result<(), String> {
    for _ in 0..PUBLICATIONS {
        match client.read().unwrap() {
            Message::Text(text) => assert_eq!(text.len(), PAYLOAD_LEN),
            Message::Close(Some(frame)) => {
                assert_eq!(u16::from(frame.code), 1013);
                return Err(frame.reason.to_string());
            }
            other => panic!("{other:?}"),
        }
    }
    Ok(())
}

/// A WebSocket that has sent this much of a message of 4 MiB, and no more.
fn unfinished(address: SocketAddr, len: usize) -> TcpStream {
    let mut stream = raw_websocket(address, "/echo");
    let header = [&[0x82, 0xff][..], &(4u64 << 20).to_be_bytes(), &[0; 4]].concat();
    stream.write_all(&[&header[..], &vec![0; len]].concat()).unwrap();
    stream
}

#[cfg(target_os = "linux")] // for its /proc
#[test]
fn the_slowest_subscribers_go_first_and_one_that_keeps_up_does_not_notice() {
    // Whoever is closed reads that at the end of the test, however long the machine takes until then.
    let flags = ["--max-memory", "16MiB", "--max-lag", "64MiB", "--close-timeout", "60s", "--threads", "1"];
    let process = spawn(&mut fanfare(&flags));
    let mut healthy = websocket(process.address, "/channels/healthy");
    let channels: Vec<String> = (0..8).map(|n| format!("stalled-{n}")).collect();
    let stall = |channel| stalled(process.address, &format!("/channels/{channel}"), &[]);
    let mut slow: Vec<Client> = channels.iter().map(stall).collect();
    let before = process.resident_kib();
    // 96 MiB in all, of which the kernel holds a few a connection: several times the budget.
    for number in 0..PUBLICATIONS {
        for channel in &channels {
            publish(process.address, channel, &"x".repeat(PAYLOAD_LEN));
        }
        publish(process.address, "healthy", &format!("{number}"));
        assert_eq!(text(&mut healthy), number.to_string());
    }
    let grown = process.resident_kib().saturating_sub(before);
    assert!(grown < 40 * 1024, "{grown} KiB: the budget, its buffers' room to grow, a turn");
    let ended: Vec<Result<(), String>> = slow.iter_mut().map(read_all).collect();
    let closed: Vec<&String> = ended.iter().filter_map(|end| end.as_ref().err()).collect();
    assert!(!closed.is_empty() && closed.len() < 8, "the slowest, and not everybody: {ended:?}");
    assert!(closed.iter().all(|reason| reason.contains("--max-memory")), "{closed:?}");
    healthy.send(Message::text("still here")).unwrap();
    assert_eq!(text(&mut healthy), "still here");
}

#[cfg(target_os = "linux")] // for its /proc
#[test]
fn the_connection_with_the_longest_message_under_way_is_closed_with_1013() {
    let process = spawn(&mut fanfare(&["--max-memory", "8MiB", "--threads", "1"]));
    let mut healthy = websocket(process.address, "/channels/healthy");
    let before = process.resident_kib();
    let mut streams: Vec<TcpStream> =
        (0..16).map(|n| unfinished(process.address, (1 << 20) + n * 4096)).collect();
    let mut closed = 0;
    for stream in &mut streams {
        stream.set_read_timeout(Some(std::time::Duration::from_millis(50))).unwrap();
        let mut head = [0; 4];
        if stream.read_exact(&mut head).is_ok() {
            assert_eq!((head[0], u16::from_be_bytes([head[2], head[3]])), (0x88, 1013));
            closed += 1;
        }
    }
    assert!((8..16).contains(&closed), "{closed} of 16");
    let grown = process.resident_kib().saturating_sub(before);
    assert!(grown < 24 * 1024, "{grown} KiB");
    healthy.send(Message::text("still here")).unwrap();
    assert_eq!(text(&mut healthy), "still here");
}

#[cfg(target_os = "linux")] // for its /proc
#[test]
fn history_is_evicted_before_any_connection_and_reconnecting_subscribers_are_told() {
    let flags = ["--max-memory", "16MiB", "--history-bytes", "64MiB", "--threads", "1"];
    let process = spawn(&mut fanfare(&flags));
    let mut healthy = envelopes(process.address, "healthy?since=");
    let notice = |client: &mut Client| serde_json::from_str::<Value>(&text(client)).unwrap();
    let beginning = notice(&mut healthy)["data"]["since"].as_str().unwrap().to_owned();
    let first = publish(process.address, "kept-0", "first").body.split('"').nth(3).unwrap().to_owned();
    let before = process.resident_kib();
    for number in 0..PUBLICATIONS {
        for channel in 0..8 {
            publish(process.address, &format!("kept-{channel}"), &"x".repeat(PAYLOAD_LEN));
        }
        publish(process.address, "healthy", &format!("{number}"));
        assert!(text(&mut healthy).ends_with(&format!("\"data\":\"{number}\"}}")));
    }
    let grown = process.resident_kib().saturating_sub(before);
    assert!(grown < 40 * 1024, "{grown} KiB: the budget, its buffers' room to grow, a turn");
    let mut unread = envelopes(process.address, &format!("kept-0?since={first}"));
    assert_eq!(notice(&mut unread)["event"], "fanfare:gap", "channels that nobody reads go first");
    let mut read = envelopes(process.address, &format!("healthy?since={beginning}"));
    assert_eq!(notice(&mut read)["event"], "fanfare:subscribed");
    assert!(text(&mut read).ends_with("\"data\":\"0\"}"));
    healthy.send(Message::text(r#"{"data":"still here"}"#)).unwrap();
    assert!(text(&mut healthy).contains("still here"));
}

#[cfg(unix)] // for its sh
#[test]
fn past_the_limit_only_as_much_history_goes_as_is_needed_and_it_is_counted_and_logged_once() {
    let flags =
        "--listen 127.0.0.1:0 --threads 1 --max-memory 4MiB --history 1000 --history-bytes 64MiB --drain 0s";
    let log = format!("{}/eviction-{}.log", env!("CARGO_TARGET_TMPDIR"), std::process::id());
    let line = format!("exec {} {flags} 2>{log}", env!("CARGO_BIN_EXE_fanfare"));
    let mut process = spawn(std::process::Command::new("sh").args(["-c", &line]));
    for channel in ["small-1", "small-2", "small-3"] {
        (0..10).for_each(|_| drop(publish(process.address, channel, "x")));
    }
    let metric = |name: &str| {
        let scrape = request(process.address, "GET", "/metrics", "", b"").body;
        let line = scrape.lines().find(|line| line.starts_with(name)).unwrap().to_owned();
        line.rsplit(' ').next().unwrap().parse::<u64>().unwrap()
    };
    assert_eq!(metric("fanfare_evicted_publications_total"), 0);
    let payload = "x".repeat(64 * 1024);
    (0..100).for_each(|_| drop(publish(process.address, "large", &payload)));
    let kept = |channel: &str| {
        let path = format!("/channels/{channel}?last=1000");
        let body = request(process.address, "GET", &path, "", b"").body;
        serde_json::from_str::<Value>(&body).unwrap()["messages"].as_array().unwrap().len()
    };
    assert_eq!(["small-1", "small-2", "small-3"].map(kept), [10; 3]);
    let evicted = metric("fanfare_evicted_publications_total");
    assert!((36..=45).contains(&evicted), "{evicted} of 100, of which 63 have room");
    assert!(metric("fanfare_memory_bytes{kind=\"publications\"}") > 3 * 1024 * 1024, "and no more");
    // A line is written by a thread of its own: all are there when the process has ended.
    process.signal("TERM");
    assert!(process.wait().success());
    let log = std::fs::read_to_string(log).unwrap();
    assert_eq!(log.matches("history is evicted").count(), 1, "{log}");
}

#[test]
fn keys_of_retries_take_an_eighth_of_the_memory_and_nothing_that_others_need() {
    let process = spawn(&mut fanfare(&["--max-memory", "256KiB", "--threads", "1"]));
    let address = process.address;
    let mut publisher = connect(address);
    let mut post = |channel: &str, head: &str, body: &str| {
        let request = format!("POST /channels{channel} HTTP/1.1\r\nHost: localhost\r\n");
        let len = body.len();
        exchange(&mut publisher, format!("{request}Content-Length: {len}\r\n{head}\r\n{body}").as_bytes())
    };
    for _ in 0..100 {
        assert_eq!(post("/kept", "", "x").status, 200);
    }
    let mut taken = 0;
    let refused = loop {
        let key = format!("Idempotency-Key: {taken}-{}\r\n", "k".repeat(240));
        let answer = post("/news", &key, "x");
        if answer.status != 200 {
            break answer;
        }
        taken += 1;
        assert!(taken < 10_000);
    };
    assert_eq!(refused.status, 503);
    assert!(refused.head.contains("\r\nRetry-After: "), "{refused:?}");
    assert!(refused.body.contains("an eighth of --max-memory"), "{refused:?}");
    assert!((200..256).contains(&taken), "{taken}");
    let first = format!("Idempotency-Key: 0-{}\r\n", "k".repeat(240));
    assert!(post("/news", &first, "x").head.contains("Idempotent-Replayed"), "the first is still known");
    assert_eq!(post("/news", "", "x").status, 200, "who does without a key is served");
    let items = r#"[{"channels":["news","b"],"data":1,"key":"new"},{"channel":"news","data":2}]"#;
    let batch = post("", "Content-Type: application/json\r\n", items);
    let results: Value = serde_json::from_str(&batch.body).unwrap();
    for name in ["news", "b"] {
        let error = &results["results"][0][name]["error"];
        assert_eq!((error["code"].as_str(), error["status"].as_u64()), (Some("unavailable"), Some(503)));
        assert!(error["message"].as_str().unwrap().contains("an eighth of --max-memory"), "{error}");
    }
    assert!(results["results"][1]["id"].is_string(), "{results}");
    let scrape = request(address, "GET", "/metrics", "", b"").body;
    assert!(scrape.contains("\nfanfare_evicted_publications_total 0\n"), "what others keep is not touched");
    handshake(address, "/channels/kept", &[]).expect("new clients are let in");
}

#[test]
fn when_connections_alone_use_it_up_new_ones_are_refused_with_503() {
    let process = spawn(&mut fanfare(&["--max-memory", "4KiB", "--threads", "1"]));
    let mut clients = Vec::new();
    let refused = loop {
        match handshake(process.address, "/channels/news", &[]) {
            Ok((client, _)) => clients.push(client),
            Err(refused) => break refused,
        }
        assert!(clients.len() < 64);
    };
    assert_eq!(refused.status(), 503);
    clients[0].send(Message::text("still here")).unwrap();
    for client in &mut clients {
        assert_eq!(text(client), "still here");
    }
    clients.truncate(4);
    until("there is room again", || handshake(process.address, "/channels/news", &[]).ok());
}

/// How long it may take on a busy machine: it goes back once a second.
#[cfg(all(feature = "jemalloc", target_os = "linux", target_env = "gnu"))]
const RETURNED_WITHIN: std::time::Duration = std::time::Duration::from_secs(10);

/// What a process keeps of freed memory once it is at rest, over what it had at start: blocks of up to 32 KiB that its
/// loops and threads use again, and what lies between those that are used.
#[cfg(all(feature = "jemalloc", target_os = "linux", target_env = "gnu"))]
const KEPT_KIB: u64 = 6 * 1024;

/// Waits until it is no more than that. Panics with what it still was.
#[cfg(all(feature = "jemalloc", target_os = "linux", target_env = "gnu"))]
fn until_returned(process: &Process, before: u64) {
    let mut least = u64::MAX;
    let deadline = std::time::Instant::now() + RETURNED_WITHIN;
    while least > before + KEPT_KIB {
        assert!(std::time::Instant::now() < deadline, "at start {before} KiB resident, at rest {least}");
        least = least.min(process.resident_kib());
        std::thread::yield_now();
    }
}

#[cfg(all(feature = "jemalloc", target_os = "linux", target_env = "gnu"))]
#[test]
fn bodies_that_came_and_went_leave_no_memory_behind() {
    let process = spawn(&mut fanfare(&["--history", "0", "--threads", "1"]));
    let before = process.resident_kib();
    // 400 of up to 100 KB: what one of them leaves is between those of others.
    let len = |n: usize| 1000 + n * 7919 % 99_000;
    let mut streams: Vec<TcpStream> = (0..400).map(|_| connect(process.address)).collect();
    for (n, stream) in streams.iter_mut().enumerate() {
        let head = "POST /channels/news HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100000\r\n\r\n";
        stream.write_all(&[head.as_bytes(), &vec![b'x'; len(n)]].concat()).unwrap();
    }
    until("all have been read", || (process.resident_kib() > before + 16 * 1024).then_some(()));
    // Every third first, then the rest: not in the order in which they came.
    for start in 0..3 {
        streams
            .iter_mut()
            .skip(start)
            .step_by(3)
            .for_each(|stream| stream.shutdown(std::net::Shutdown::Both).unwrap());
    }
    drop(streams);
    until_returned(&process, before);
}

#[cfg(all(feature = "jemalloc", target_os = "linux", target_env = "gnu"))]
#[test]
fn messages_of_16_mib_leave_no_memory_behind() {
    let process = spawn(&mut fanfare(&["--history", "0", "--threads", "2"]));
    let before = process.resident_kib();
    for _ in 0..2 {
        let mut client = websocket(process.address, "/echo");
        for _ in 0..2 {
            client.send(Message::binary(vec![b'x'; 16_000_000])).unwrap();
            assert_eq!(client.read().unwrap().len(), 16_000_000);
        }
    }
    // The same compressed, there and back: a stored block would do, and a run of a byte is as long.
    let mut compress = flate2::Compress::new(flate2::Compression::best(), false);
    let mut deflated = Vec::with_capacity(100_000);
    compress.compress_vec(&vec![7; 16_000_000], &mut deflated, flate2::FlushCompress::Sync).unwrap();
    deflated.truncate(deflated.len() - 4);
    let mut stream = connect(process.address);
    let mut upgrade = upgrade_request("/echo");
    upgrade.truncate(upgrade.len() - 2);
    upgrade.extend_from_slice(b"Sec-WebSocket-Extensions: permessage-deflate\r\n\r\n");
    assert_eq!(exchange(&mut stream, &upgrade).status, 101);
    let mut frame = vec![0xc2, 0x80 | 126];
    frame.extend_from_slice(&u16::try_from(deflated.len()).unwrap().to_be_bytes());
    frame.extend_from_slice(&[0; 4]); // a mask that changes nothing
    frame.extend_from_slice(&deflated);
    stream.write_all(&frame).unwrap();
    let mut head = [0; 2];
    stream.read_exact(&mut head).unwrap();
    assert_eq!(head[0], 0xc2, "it comes back compressed");
    drop(stream);
    until_returned(&process, before);
}
