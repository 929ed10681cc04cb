//! Subscribers and clients that are slow and go on reading: a burst does not end them, what they read is new where
//! that is promised, and the bytes that they take are a sign of life.
//!
//! Who does not read at all is in `slow_subscribers`.

#![allow(clippy::unwrap_used)] // a helper that fails fails its test

mod support;

use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::sync::{Arc, Barrier};
use std::thread;
use std::time::{Duration, Instant};

use fanfare::config::{Config, LagPolicy};
use fanfare::server::{Draft, Handle};
use support::long_poll::Poll;
use support::metrics::Scraper;
use support::*;

/// A client that takes so many bytes a second, evenly.
struct Paced {
    stream: TcpStream,
    bytes_per_second: usize,
    began: Instant,
    taken: usize,
    /// Nothing is ever said here: waiting for it is how time passes.
    silence: (Sender<()>, mpsc::Receiver<()>),
}

impl Paced {
    fn new(stream: TcpStream, bytes_per_second: usize) -> Self {
        Self { stream, bytes_per_second, began: Instant::now(), taken: 0, silence: mpsc::channel() }
    }

    fn read(&mut self, len: usize) -> Vec<u8> {
        let mut bytes = vec![0; len];
        for piece in bytes.chunks_mut(self.bytes_per_second / 50) {
            self.stream.read_exact(piece).unwrap();
            self.taken += piece.len();
            let due = Duration::from_secs_f64(self.taken as f64 / self.bytes_per_second as f64);
            let early = due.saturating_sub(self.began.elapsed());
            assert_eq!(self.silence.1.recv_timeout(early), Err(RecvTimeoutError::Timeout));
        }
        bytes
    }

    /// The opcode and payload of the next frame.
    fn frame(&mut self) -> (u8, Vec<u8>) {
        let head = self.read(2);
        let len = match head[1] {
            126 => self.read(2).iter().fold(0, |len, &byte| len << 8 | usize::from(byte)),
            127 => self.read(8).iter().fold(0, |len, &byte| len << 8 | usize::from(byte)),
            len => usize::from(len),
        };
        (head[0] & 0x0f, self.read(len))
    }
}

fn publish_all(handle: &Handle, channel: &str, count: usize, len: usize) {
    let draft = Draft::text(channel, "x".repeat(len)).unwrap();
    for _ in 0..count {
        publish_draft(handle, &draft);
    }
}

/// How many subscribers a policy was applied to.
fn lagged(server: &Running, policy: &str) -> u64 {
    Scraper::new(server.address).value(&format!("fanfare_lagged_total{{policy=\"{policy}\"}}")) as u64
}

#[test]
fn a_burst_longer_than_max_lag_reaches_every_subscriber_that_reads() {
    const SUBSCRIBERS: usize = 50;
    const POSTS: usize = 20;
    const LEN: usize = 100_000;
    let server = start(config());
    let streams: Vec<TcpStream> =
        (0..SUBSCRIBERS).map(|_| raw_websocket(server.address, "/channels/news")).collect();
    let readers: Vec<_> = streams
        .into_iter()
        .map(|mut stream| {
            thread::spawn(move || {
                let mut frame = vec![0; 10 + LEN];
                for number in 0..POSTS {
                    stream.read_exact(&mut frame).unwrap_or_else(|error| panic!("{number}: {error}"));
                    assert_eq!(frame[..2], [0x81, 127], "{number}");
                }
            })
        })
        .collect();
    let gate = Arc::new(Barrier::new(POSTS));
    let publishers: Vec<_> = (0..POSTS)
        .map(|_| {
            let (gate, address) = (Arc::clone(&gate), server.address);
            thread::spawn(move || {
                let text = "x".repeat(LEN);
                gate.wait();
                publish(address, "news", &text);
            })
        })
        .collect();
    for thread in publishers.into_iter().chain(readers) {
        thread.join().unwrap();
    }
    assert_eq!(lagged(&server, "close"), 0);
}

#[test]
fn a_subscriber_past_max_lag_that_reads_within_the_grace_loses_nothing() {
    for policy in [LagPolicy::Close, LagPolicy::Skip] {
        let lag_policy = vec![("*".parse().unwrap(), policy)];
        let server = start(Config { max_lag: 128 * 1024, lag_grace: 10 * PATIENCE, lag_policy, ..config() });
        let mut slow = stalled(server.address, "/channels/news", &[]);
        // Past the bound with what the kernel holds, and not past eight times the bound.
        publish_all(&server.handle, "news", 30, 32 * 1024);
        for _ in 0..30 {
            assert_eq!(text(&mut slow).len(), 32 * 1024);
        }
        assert_eq!(lagged(&server, "close") + lagged(&server, "skip"), 0);
    }
}

#[test]
fn a_subscriber_still_past_max_lag_after_the_grace_meets_its_policy_although_nothing_more_is_published() {
    const GRACE: Duration = Duration::from_millis(300);
    for (policy, label) in [(LagPolicy::Close, "close"), (LagPolicy::Skip, "skip")] {
        let lag_policy = vec![("*".parse().unwrap(), policy)];
        let server = start(Config { max_lag: 128 * 1024, lag_grace: GRACE, lag_policy, ..config() });
        let mut slow = stalled(server.address, "/channels/news", &[]);
        let began = Instant::now();
        publish_all(&server.handle, "news", 30, 32 * 1024);
        until("the grace is over", || (lagged(&server, label) == 1).then_some(()));
        // The server counts in whole milliseconds.
        assert!(began.elapsed() + Duration::from_millis(1) >= GRACE, "{:?}", began.elapsed());
        if policy == LagPolicy::Close {
            assert_eq!(close_frame(&mut slow).map(|frame| frame.code.into()), Some(1013));
        }
    }
}

#[test]
fn at_32_times_max_lag_no_grace_is_given() {
    let server = start(Config { max_lag: 64 * 1024, lag_grace: 10 * PATIENCE, ..config() });
    let mut slow = stalled(server.address, "/channels/news", &[]);
    publish_all(&server.handle, "news", 100, 32 * 1024);
    // Nothing is read before the server has looked at all of it.
    until("it is cut off", || {
        let draft = Draft::text("news", "is somebody there?").unwrap();
        (server.handle.publish(draft).unwrap().subscribers == 0).then_some(())
    });
    assert_eq!(close_frame(&mut slow).map(|frame| frame.code.into()), Some(1013));
}

/// A subscriber reads nothing of 100 publications for longer than `latest` allows, and then all: what the log says of it.
#[cfg(unix)] // for its sh
fn assert_log_of_a_lagging_subscriber(name: &str, flags: &str, words: &str) {
    let log = format!("{}/{name}-{}.log", env!("CARGO_TARGET_TMPDIR"), std::process::id());
    let binary = env!("CARGO_BIN_EXE_fanfare");
    let line = format!("exec {binary} --listen 127.0.0.1:0 --threads 1 {flags} 2>{log}");
    let process = spawn(std::process::Command::new("sh").args(["-c", &line]));
    let mut slow = stalled(process.address, "/channels/news", &[]);
    let long = "x".repeat(32 * 1024);
    (0..100).for_each(|_| drop(publish(process.address, "news", &long)));
    let (_silent, silence) = mpsc::channel::<()>();
    assert_eq!(silence.recv_timeout(Duration::from_millis(600)), Err(RecvTimeoutError::Timeout));
    slow.get_mut().set_nonblocking(true).unwrap();
    let noted = until("it is logged", || {
        while slow.read().is_ok() {}
        let log = std::fs::read_to_string(&log).unwrap();
        log.lines().find(|line| line.contains("a subscriber of news")).map(str::to_owned)
    });
    assert!(noted.contains(words), "{noted}");
}

#[cfg(unix)]
#[test]
fn the_log_says_whether_it_was_the_bytes_or_the_age_of_what_a_subscriber_had_not_read() {
    let bytes = "--max-lag 128KiB --lag-grace 0s --lag-policy skip";
    assert_log_of_a_lagging_subscriber("bytes", bytes, "is past --max-lag: Skip");
    let age = "--max-lag 16MiB --lag-policy latest";
    assert_log_of_a_lagging_subscriber("age", age, "has been behind for 500 ms: Latest");
}

#[test]
fn a_slow_reader_under_latest_reads_what_is_new() {
    const LEN: usize = 1000;
    const RATE: usize = 100_000;
    let lag_policy = vec![("*".parse().unwrap(), LagPolicy::Latest)];
    let server = start(Config { lag_policy, ..config() });
    let mut reader = Paced::new(narrow_websocket(server.address, "/channels/prices", 4096), RATE);
    let began = Instant::now();
    let (stop, stopped) = mpsc::channel::<()>();
    let handle = server.handle.clone();
    // About a megabyte a second, each with the time at which it was published.
    let publisher = thread::spawn(move || {
        while stopped.recv_timeout(Duration::from_millis(1)) == Err(RecvTimeoutError::Timeout) {
            let stamped = format!("{:01$}", began.elapsed().as_millis(), LEN);
            publish_draft(&handle, &Draft::text("prices", stamped).unwrap());
        }
    });
    let mut oldest = 0;
    while began.elapsed() < Duration::from_secs(5) {
        let (opcode, payload) = reader.frame();
        assert_eq!(opcode, 1);
        let stamp: u128 = std::str::from_utf8(&payload).unwrap().trim().parse().unwrap();
        oldest = oldest.max(began.elapsed().as_millis() - stamp);
    }
    drop(stop);
    publisher.join().unwrap();
    assert!(oldest < 2000, "{oldest} ms old");
}

#[test]
fn a_slow_reader_that_goes_on_taking_bytes_and_answers_no_ping_in_time_stays() {
    const COUNT: usize = 256;
    const LEN: usize = 32 * 1024;
    let timeout = Duration::from_millis(500);
    let server =
        start(Config { idle_timeout: timeout, pong_timeout: timeout, max_lag: 16 * 1024 * 1024, ..config() });
    let mut reader = Paced::new(narrow_websocket(server.address, "/channels/news", 64 * 1024), 2_000_000);
    publish_all(&server.handle, "news", COUNT, LEN);
    let mut count = 0;
    while count < COUNT {
        match reader.frame() {
            (1, payload) => {
                assert_eq!(payload.len(), LEN);
                count += 1;
            }
            (9, _) => {}
            other => panic!("after {count}: {other:?}"),
        }
    }
}

/// A server with a channel whose answer to a long poll is so long, and the request for it.
fn with_answer(fields: &str, close_timeout: Duration, idle_timeout: Duration) -> (Running, String) {
    const COUNT: usize = 80;
    let server = start(Config {
        max_lag: 16 * 1024 * 1024,
        history_bytes: vec![("*".parse().unwrap(), 16 * 1024 * 1024)],
        idle_timeout,
        close_timeout,
        ..config()
    });
    let beginning = Poll::new(server.address, "/channels/news").poll(0)["next"].as_str().unwrap().to_owned();
    publish_all(&server.handle, "news", COUNT, 50_000);
    let request =
        format!("GET /channels/news?wait=0&since={beginning} HTTP/1.1\r\nHost: localhost\r\n{fields}\r\n");
    (server, request)
}

#[test]
fn an_answer_is_sent_to_its_end_as_long_as_the_client_takes_it() {
    for fields in ["Connection: close\r\n", ""] {
        let (server, request) = with_answer(fields, Duration::from_millis(500), Duration::from_millis(500));
        let mut stream = connect_narrowly(server.address, 64 * 1024);
        stream.write_all(request.as_bytes()).unwrap();
        let mut reader = Paced::new(stream, 1_500_000);
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.extend(reader.read(1));
        }
        let head = String::from_utf8(head).unwrap();
        let len = head.lines().find_map(|line| line.strip_prefix("Content-Length: ")).unwrap();
        let len: usize = len.parse().unwrap();
        assert!(len > 4_000_000, "{head}");
        assert!(reader.read(len).trim_ascii_end().ends_with(b"}"), "{fields:?}");
    }
}

#[test]
fn the_reader_of_an_event_stream_that_takes_a_little_all_the_time_is_not_cut() {
    const LEN: usize = 500_000;
    let timeout = Duration::from_millis(2500);
    let server = start(Config { idle_timeout: timeout, pong_timeout: timeout, ..config() });
    let mut stream = connect_narrowly(server.address, 16 * 1024);
    let request = "GET /channels/news HTTP/1.1\r\nHost: localhost\r\nAccept: text/event-stream\r\n\r\n";
    stream.write_all(request.as_bytes()).unwrap();
    until("it has subscribed", || {
        publish(server.address, "news", "x").body.contains("\"subscribers\":1").then_some(())
    });
    publish_all(&server.handle, "news", 1, LEN);
    // Its window is seldom wide enough for a segment: the system sees a closed one for longer than both timeouts.
    let read = Paced::new(stream, 40_000).read(LEN);
    assert!(read.ends_with(&[b'x'; 1000]));
}

#[test]
fn a_client_that_takes_its_last_answer_in_steps_longer_than_the_close_timeout_gets_it_whole() {
    let (server, request) = with_answer("Connection: close\r\n", Duration::from_millis(200), 10 * PATIENCE);
    let mut stream = connect_narrowly(server.address, 64 * 1024);
    stream.write_all(request.as_bytes()).unwrap();
    // As a kernel that announces room seldom does: nothing is taken for three times as long.
    let (_silence, pauses) = mpsc::channel::<()>();
    let (mut received, mut buffer) = (Vec::new(), vec![0; 1_000_000]);
    loop {
        assert_eq!(pauses.recv_timeout(Duration::from_millis(600)), Err(RecvTimeoutError::Timeout));
        let before = received.len();
        while received.len() < before + buffer.len() {
            let len = stream.read(&mut buffer).unwrap();
            received.extend_from_slice(&buffer[..len]);
            if len == 0 {
                assert!(received.trim_ascii_end().ends_with(b"}"), "{} bytes came", received.len());
                return;
            }
        }
    }
}

#[test]
fn a_client_that_takes_nothing_of_its_answer_is_dropped_on_time() {
    for fields in ["Connection: close\r\n", ""] {
        let (server, request) = with_answer(fields, Duration::from_millis(500), Duration::from_millis(500));
        let mut stream = connect_narrowly(server.address, 4096);
        let began = Instant::now();
        stream.write_all(request.as_bytes()).unwrap();
        let received = || {
            let answer = support::request(server.address, "GET", "/metrics", "Connection: close\r\n", b"");
            let sample = "fanfare_connections{transport=\"http\"} ";
            answer.body.lines().find_map(|line| line.strip_prefix(sample)).unwrap().parse::<u64>().unwrap()
        };
        let mut most = 0;
        until("it is gone", || {
            let count = received();
            most = most.max(count);
            (most > 1 && count <= 1).then_some(())
        });
        assert!(began.elapsed() < 6 * Duration::from_millis(500), "{fields:?}: {:?}", began.elapsed());
    }
}
