//! Handlers of a program that do all that they should not, beside a ticker whose witnesses must not notice; and what is said of
//! those that take long.
//!
//! What is asserted of one such handler alone is in the suite `handlers`.

#![allow(clippy::unwrap_used)] // a helper that fails fails its test

mod support;

use std::io::{self, Write};
use std::net::SocketAddr;
use std::sync::mpsc::{self, Receiver, Sender};
use std::sync::{Arc, Mutex, OnceLock};
use std::thread;
use std::time::{Duration, Instant};

use fanfare::app::{CloseCode, Congested, Message, Outcome, Remote, Session, Socket};
use fanfare::{ChannelName, Config, Server};
use support::metrics::samples;
use support::steady::Steady;
use support::*;

/// Clients of each kind of handler.
const CROWD: usize = 40;

/// Subscribers that must miss nothing.
const WITNESSES: usize = 4;

/// What a loop takes of calls of other threads before they are told that it is congested.
const CALLS_LEN_MAX: usize = 4 * 1024 * 1024;

/// A session that misbehaves as its messages say.
struct Wild {
    noise: ChannelName,
    remotes: Sender<Remote<Wild>>,
}

impl Session for Wild {
    type Event = ();

    fn open(&mut self, socket: &mut Socket<'_, Self>) -> Outcome {
        // A test that has ended does not listen.
        let _ = self.remotes.send(socket.remote());
        Ok(())
    }

    fn message(&mut self, socket: &mut Socket<'_, Self>, message: Message<'_>) -> Outcome {
        match message.text().unwrap_or("") {
            "panic" => panic!("as asked"),
            "fail" => socket.send(&"no number".parse::<u32>()?.to_string()),
            "block" => {
                block(Duration::from_millis(100));
                socket.send("blocked");
            }
            "flood" => (0..1_000).for_each(|_| socket.send(&[b'x'; 64 * 1024])),
            "close" => {
                socket.close(CloseCode::private(4001), "as asked");
                (0..100).for_each(|_| socket.send("never sent"));
                // What is published afterwards goes out all the same.
                socket.publish(&self.noise, "closed")?;
            }
            "publish" => {
                for number in 0..1_000 {
                    socket.publish(&self.noise, format!("noise {number}"))?;
                }
                socket.send("published");
            }
            other => socket.send(other),
        }
        Ok(())
    }
}

/// Does nothing, and lets nothing else be done on its thread.
fn block(time: Duration) {
    let (_keeps, never) = mpsc::channel::<()>();
    assert!(never.recv_timeout(time).is_err());
}

/// A server with the session at `/wild`, and the ways to its sessions.
fn wild(config: Config) -> (Running, Receiver<Remote<Wild>>) {
    let (remotes, opened) = mpsc::channel();
    let noise = ChannelName::new("noise").unwrap();
    let mut server = Server::bind(config).unwrap();
    server.websocket("/wild", move |_| Ok(Wild { noise: noise.clone(), remotes: remotes.clone() })).unwrap();
    (run(server), opened)
}

/// One loop, which does not wait long for a peer that is closed and takes nothing.
fn impatient() -> Config {
    let (idle_timeout, close_timeout) = (Duration::from_millis(500), Duration::from_millis(200));
    Config { idle_timeout, close_timeout, ..one_loop() }
}

fn crowd(address: SocketAddr) -> Vec<Client> {
    (0..CROWD).map(|_| websocket(address, "/wild")).collect()
}

/// What each is closed with.
fn codes(clients: &mut [Client]) -> Vec<u16> {
    clients.iter_mut().map(|client| close_frame(client).unwrap().code.into()).collect()
}

#[test]
fn handlers_that_panic_fail_and_send_after_the_end_close_their_own_connections_alone() {
    let (server, _opened) = wild(config());
    let steady = Steady::begin(server.address, "ticks", WITNESSES);
    for (what, code) in [("panic", 1011), ("fail", 1011), ("close", 4001)] {
        let mut clients = crowd(server.address);
        for client in &mut clients {
            client.send("before".into()).unwrap();
            client.send(what.into()).unwrap();
        }
        assert!(clients.iter_mut().all(|client| text(client) == "before"));
        assert_eq!(codes(&mut clients), [code; CROWD], "{what}");
        steady.more(20);
    }
    let figures = samples(&request(server.address, "GET", "/metrics", "", b"").body);
    assert_eq!(figures["fanfare_handler_panics_total"], CROWD as f64);
    assert!(steady.end() >= 60);
}

#[test]
fn handlers_that_publish_in_a_loop_lose_nothing_and_the_others_have_theirs() {
    let (server, _opened) = wild(config());
    let steady = Steady::begin(server.address, "ticks", WITNESSES);
    let mut hearer = websocket(server.address, "/channels/noise");
    let mut clients = crowd(server.address);
    clients.iter_mut().for_each(|client| client.send("publish".into()).unwrap());
    for _ in 0..CROWD * 1_000 {
        assert!(text(&mut hearer).starts_with("noise "));
    }
    assert!(clients.iter_mut().all(|client| text(client) == "published"));
    steady.more(20);
    steady.end();
}

#[test]
fn a_flood_for_a_peer_that_does_not_read_ends_that_connection_and_no_other() {
    let (server, _opened) = wild(impatient());
    let steady = Steady::begin(server.address, "ticks", WITNESSES);
    for _ in 0..4 {
        let mut flooded = stalled(server.address, "/wild", &[]);
        flooded.send("flood".into()).unwrap();
        steady.more(5);
        // It is closed while it reads nothing: the server is left with the witnesses and the ticker.
        until("it is closed", || (server.handle.connections_len() == WITNESSES + 1).then_some(()));
        drop(flooded);
    }
    steady.more(20);
    steady.end();
}

#[test]
fn handlers_that_block_delay_the_others_of_their_loop_and_lose_nothing() {
    let (server, _opened) = wild(config());
    let steady = Steady::begin(server.address, "ticks", WITNESSES);
    let mut clients: Vec<_> = (0..6).map(|_| websocket(server.address, "/wild")).collect();
    clients.iter_mut().for_each(|client| client.send("block".into()).unwrap());
    assert!(clients.iter_mut().all(|client| text(client) == "blocked"));
    steady.more(20);
    steady.end();
}

/// A session whose handler waits until the test lets it go on.
struct Held(Arc<Mutex<Receiver<()>>>, Sender<Remote<Held>>);

impl Session for Held {
    type Event = ();

    fn open(&mut self, socket: &mut Socket<'_, Self>) -> Outcome {
        self.1.send(socket.remote())?;
        Ok(())
    }

    fn message(&mut self, socket: &mut Socket<'_, Self>, _: Message<'_>) -> Outcome {
        self.1.send(socket.remote())?;
        self.0.lock()?.recv()?;
        Ok(())
    }
}

#[test]
fn a_thread_whose_messages_a_loop_does_not_take_is_told_so_at_4_mib_and_what_was_taken_arrives() {
    const LEN: usize = 16 * 1024;
    let (lets_go, held) = mpsc::channel();
    let (tells, opened) = mpsc::channel();
    let held = Arc::new(Mutex::new(held));
    let mut server = Server::bind(Config { max_lag: 64 * 1024 * 1024, ..one_loop() }).unwrap();
    server.websocket("/held", move |_| Ok(Held(Arc::clone(&held), tells.clone()))).unwrap();
    let server = run(server);
    let mut client = websocket(server.address, "/held");
    let remote = opened.recv_timeout(PATIENCE).unwrap();
    client.send("wait".into()).unwrap();
    opened.recv_timeout(PATIENCE).unwrap();
    let message = |number: usize| format!("{number:<LEN$}");
    let taken = (0..).find(|&number| remote.send(message(number).as_str()) == Err(Congested)).unwrap();
    // Each counts as a little more than its bytes.
    assert!((CALLS_LEN_MAX / LEN - 8..=CALLS_LEN_MAX / LEN + 1).contains(&taken), "{taken}");
    assert_eq!(remote.event(()), Err(Congested));
    lets_go.send(()).unwrap();
    for number in 0..taken {
        assert_eq!(text(&mut client), message(number), "in the order of the thread");
    }
    until("there is room again", || remote.send("again").ok());
    assert_eq!(text(&mut client), "again");
}

#[test]
fn a_thread_that_sends_to_a_peer_that_does_not_read_loses_that_peer_alone() {
    let (server, opened) = wild(impatient());
    let steady = Steady::begin(server.address, "ticks", WITNESSES);
    let stalled = stalled(server.address, "/wild", &[]);
    let remote = opened.recv_timeout(PATIENCE).unwrap();
    let begun = Instant::now();
    while server.handle.connections_len() > WITNESSES + 1 {
        assert!(begun.elapsed() < PATIENCE, "it is closed with 1013");
        if remote.send([b'x'; 64 * 1024].as_slice()) == Err(Congested) {
            thread::yield_now();
        }
    }
    until("to one that is gone it is dropped", || remote.send("nobody").ok());
    drop(stalled);
    steady.more(20);
    steady.end();
}

/// What the server has logged in this process.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Log {
    /// That of this process, from the first call on.
    fn of_process() -> Self {
        static LOG: OnceLock<Log> = OnceLock::new();
        LOG.get_or_init(|| {
            let log = Self::default();
            let written = log.clone();
            tracing_subscriber::fmt().with_ansi(false).with_writer(move || written.clone()).init();
            log
        })
        .clone()
    }

    /// Its lines that have these words.
    fn lines(&self, words: &str) -> Vec<String> {
        let bytes = self.0.lock().unwrap().clone();
        let text = String::from_utf8(bytes).unwrap();
        text.lines().filter(|line| line.contains(words)).map(str::to_owned).collect()
    }
}

#[test]
fn a_handler_of_more_than_50_ms_is_logged_with_its_route_once_in_ten_seconds_and_its_time_is_counted() {
    let log = Log::of_process();
    let mut server = Server::bind(one_loop()).unwrap();
    server
        .websocket_fn("/slow/{name}", |socket, message| {
            if message.text() == Some("slow") {
                block(Duration::from_millis(60));
            }
            socket.send(message);
        })
        .unwrap();
    let server = run(server);
    let mut client = websocket(server.address, "/slow/a");
    client.send("fast".into()).unwrap();
    assert_eq!(text(&mut client), "fast");
    let begun = Instant::now();
    let mut slow_ones = 0;
    while slow_ones < 3 || log.lines("/slow/{name}").is_empty() {
        client.send("slow".into()).unwrap();
        assert_eq!(text(&mut client), "slow");
        slow_ones += 1;
        assert!(begun.elapsed() < PATIENCE, "no line tells of it");
    }
    let lines = log.lines("/slow/{name}");
    if begun.elapsed() < Duration::from_secs(10) {
        assert_eq!(lines.len(), 1, "{lines:?}");
    }
    let line = &lines[0];
    assert!(
        line.contains(" WARN ") && line.contains("calls of the handlers of /slow/{name} took "),
        "{line}"
    );
    let ms: u64 = line.split(" took ").nth(1).unwrap().split(' ').next().unwrap().parse().unwrap();
    assert!(ms > 50, "{line}");
    let figures = samples(&request(server.address, "GET", "/metrics", "", b"").body);
    let count = figures["fanfare_handler_seconds_count{route=\"/slow/{name}\"}"];
    assert_eq!(count, f64::from(slow_ones + 2), "the factory and the fast one too");
    let sum = figures["fanfare_handler_seconds_sum{route=\"/slow/{name}\"}"];
    assert!(sum >= f64::from(slow_ones) * 0.06, "{sum}");
}

/// An event that panics when it is dropped, with a value that does so too.
struct Bomb;

impl Drop for Bomb {
    fn drop(&mut self) {
        if !thread::panicking() {
            std::panic::panic_any(Fuse);
        }
    }
}

struct Fuse;

impl Drop for Fuse {
    fn drop(&mut self) {
        assert!(thread::panicking(), "as asked");
    }
}

/// A session whose values panic when they are dropped.
struct Minefield(Sender<Remote<Minefield>>);

impl Session for Minefield {
    type Event = Bomb;

    fn open(&mut self, socket: &mut Socket<'_, Self>) -> Outcome {
        let _ = self.0.send(socket.remote());
        Ok(())
    }

    fn message(&mut self, socket: &mut Socket<'_, Self>, message: Message<'_>) -> Outcome {
        match message.text().unwrap_or("") {
            "panic" => std::panic::panic_any(Fuse),
            "job" => socket.work(|| std::panic::panic_any(Fuse), |_, _, ()| Ok(())).ok(),
            // The connection has ended before the result comes.
            "leave" => {
                let _ = socket.work(|| Bomb, |_, _, _| Ok(()));
                socket.close(CloseCode::NORMAL, "");
                Some(())
            }
            other => {
                socket.send(other);
                Some(())
            }
        };
        Ok(())
    }

    fn event(&mut self, _: &mut Socket<'_, Self>, event: Bomb) -> Outcome {
        drop(event);
        Ok(())
    }
}

#[test]
fn what_panics_when_it_is_dropped_ends_its_own_connection_at_most() {
    let (remotes, opened) = mpsc::channel();
    let mut server = Server::bind(one_loop()).unwrap();
    server.websocket("/mines", move |_| Ok(Minefield(remotes.clone()))).unwrap();
    let server = run(server);
    let steady = Steady::begin(server.address, "ticks", WITNESSES);
    for what in ["panic", "job", "leave"] {
        let mut client = websocket(server.address, "/mines");
        client.send(what.into()).unwrap();
        let code = if what == "leave" { 1000 } else { 1011 };
        assert_eq!(u16::from(close_frame(&mut client).unwrap().code), code, "{what}");
        steady.more(5);
    }
    let mut client = websocket(server.address, "/mines");
    let remote = opened.iter().nth(3).unwrap();
    remote.event(Bomb).unwrap();
    assert_eq!(u16::from(close_frame(&mut client).unwrap().code), 1011);
    drop(client);
    for _ in 0..10 {
        remote.event(Bomb).unwrap();
        steady.more(5);
    }
    assert!(steady.end() >= 60);
}
