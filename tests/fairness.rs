//! Every connection gets its share of a loop: peers that send without an end, beside those that ask for little and must
//! not notice; and peers that send what nobody reads.
//!
//! Peers that do not take what they are sent are in `slow_subscribers`.

#![allow(clippy::unwrap_used)] // a helper that fails fails its test

mod support;

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::num::NonZeroUsize;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use fanfare::config::Config;
use support::*;
use tungstenite::Message;

/// Long polls with something behind them: the beginning of another request, and a body that nobody wants.
const POLLS_AND_MORE: [&str; 2] = [
    "GET /channels/a?wait=1 HTTP/1.1\r\nHost: localhost\r\n\r\nG",
    "GET /channels/a?wait=1 HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5\r\n\r\nhello",
];

#[test]
fn a_long_poll_with_unread_bytes_behind_it_waits_without_using_the_processor() {
    let process = spawn(&mut fanfare(&["--threads", "1"]));
    for poll in POLLS_AND_MORE {
        let before = process.cpu_ticks();
        // A turn of the loop reads the clock once: the one that accepts a connection may have begun before this does.
        let mut stream = connect(process.address);
        assert_eq!(exchange(&mut stream, b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n").status, 200);
        let begun = Instant::now();
        let answer = exchange(&mut stream, poll.as_bytes());
        assert!(answer.status == 200 && begun.elapsed() >= Duration::from_secs(1), "{answer:?}");
        let ticks = process.cpu_ticks() - before;
        assert!(ticks < 20, "{ticks} ticks of 10 ms in a second of waiting: {poll:?}");
    }
}

#[test]
fn a_request_behind_a_long_poll_is_answered_after_it() {
    let server = start(config());
    let mut stream = connect(server.address);
    stream
        .write_all(
            b"GET /channels/a?wait=20 HTTP/1.1\r\nHost: localhost\r\n\r\nGET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n",
        )
        .unwrap();
    until("it waits", || publish(server.address, "a", "x").body.contains("\"subscribers\":1").then_some(()));
    assert!(read_answer(&mut stream).body.contains("\"data\":\"x\""));
    assert_eq!(read_answer(&mut stream).body, "ok\n");
}

#[test]
fn a_peer_that_has_gone_is_noticed_behind_the_bytes_that_its_long_poll_keeps_from_being_read() {
    let server = start(config());
    for poll in POLLS_AND_MORE {
        let poll = poll.replace("wait=1", "wait=50");
        let mut at_once = connect(server.address);
        at_once.write_all(poll.as_bytes()).unwrap();
        at_once.shutdown(Shutdown::Write).unwrap();
        assert_eq!(rest(&mut at_once), b"");
        let mut late = connect(server.address);
        late.write_all(poll.as_bytes()).unwrap();
        until("it is there", || (server.handle.connections_len() == 1).then_some(()));
        // Not more than a window takes, or the end would wait in the client.
        late.write_all(&[b'x'; 20_000]).unwrap();
        drop(late);
        until("it is gone", || (server.handle.connections_len() == 0).then_some(()));
    }
}

/// A subscriber that publishes as much as the server takes, and reads as quickly as it can.
struct Flooder {
    stream: TcpStream,
    threads: [JoinHandle<()>; 2],
}

impl Flooder {
    fn begin(address: SocketAddr) -> Self {
        let stream = raw_websocket(address, "/channels/flood");
        let (mut out, mut back) = (stream.try_clone().unwrap(), stream.try_clone().unwrap());
        let writer = thread::spawn(move || {
            let frames = masked_frame(0x81, &[b'x'; 100]).repeat(1000);
            while out.write_all(&frames).is_ok() {}
        });
        let reader = thread::spawn(move || {
            let mut buffer = vec![0; 256 * 1024];
            while back.read(&mut buffer).is_ok_and(|len| len > 0) {}
        });
        Self { stream, threads: [writer, reader] }
    }

    /// Asserts that the server has not ended it, and ends it.
    fn end(self) {
        for thread in &self.threads {
            assert!(!thread.is_finished(), "the flood went on until now");
        }
        self.stream.shutdown(Shutdown::Both).unwrap();
        self.threads.into_iter().for_each(|thread| thread.join().unwrap());
    }
}

/// Answers so many pings; nothing else may come.
fn answer_pings(mut client: Client, count: usize) {
    for _ in 0..count {
        let message = client.read().unwrap();
        assert!(matches!(message, Message::Ping(_)), "{message:?}");
        client.flush().unwrap();
    }
}

/// Bystanders on every loop that answer a few pings each, and a probe, while so many flood so many loops.
fn stand_by(flooders: usize, loops: usize) {
    let server = start(Config {
        threads: NonZeroUsize::new(loops).unwrap(),
        idle_timeout: Duration::from_millis(300),
        // Generous: the flooders and the bystanders share the processor with the server.
        pong_timeout: Duration::from_secs(3),
        ..config()
    });
    let bystanders: Vec<Client> =
        (0..2 * loops).map(|_| websocket(server.address, "/channels/quiet")).collect();
    let flood: Vec<Flooder> = (0..flooders).map(|_| Flooder::begin(server.address)).collect();
    let bystanders: Vec<JoinHandle<()>> =
        bystanders.into_iter().map(|client| thread::spawn(move || answer_pings(client, 3))).collect();
    for _ in 0..3 * loops {
        let begun = Instant::now();
        assert_eq!(request(server.address, "GET", "/healthz", "", b"").status, 200);
        let took = begun.elapsed();
        assert!(took < Duration::from_secs(2), "the probe took {took:?}");
    }
    bystanders.into_iter().for_each(|thread| thread.join().unwrap());
    flood.into_iter().for_each(Flooder::end);
}

#[test]
fn bystanders_of_one_flooding_publisher_answer_their_pings_and_stay() {
    stand_by(1, 1);
    stand_by(1, 2);
}

#[test]
fn bystanders_of_four_flooding_publishers_answer_their_pings_and_stay() {
    stand_by(4, 1);
    stand_by(4, 2);
}

/// Writes until the server has had enough. How many bytes it took, what is on its way included.
fn write_on(stream: &mut TcpStream) -> usize {
    let mut written = 0;
    loop {
        match stream.write(&[b'x'; 64 * 1024]) {
            Ok(len) => written += len,
            Err(error) if matches!(error.kind(), ErrorKind::ConnectionReset | ErrorKind::BrokenPipe) => {
                return written;
            }
            Err(error) => panic!("after {written} bytes: {error}"),
        }
        assert!(written < 256 << 20, "the server takes whatever it is sent");
    }
}

/// At most a message of 1 KiB, and a minute for the end: what ends earlier was ended for its bytes.
fn with_short_messages() -> Config {
    Config { max_message: 1024, close_timeout: Duration::from_secs(60), ..config() }
}

/// What a test may have written when a server has read 16 MiB and closed: both kernels' buffers, which may have grown.
const TAKEN_MAX: usize = (16 << 20) + (32 << 20);

#[test]
fn a_body_that_was_sent_whole_before_its_refusal_was_read_does_not_lose_the_refusal() {
    let server = start(with_short_messages());
    let answer = request(server.address, "POST", "/channels/a", "", &vec![b'x'; 8 << 20]);
    assert_eq!(answer.status, 413);
}

#[test]
fn what_follows_a_refusal_is_read_up_to_a_bound() {
    let server = start(with_short_messages());
    let mut stream = connect(server.address);
    let head =
        format!("POST /channels/a HTTP/1.1\r\nHost: localhost\r\nContent-Length: {}\r\n\r\n", 1u64 << 40);
    assert_eq!(exchange(&mut stream, head.as_bytes()).status, 413);
    let written = write_on(&mut stream);
    assert!((8 << 20..TAKEN_MAX).contains(&written), "{written} bytes");
    until("it is gone", || (server.handle.connections_len() == 0).then_some(()));
}

#[test]
fn what_follows_a_close_frame_is_read_up_to_a_bound() {
    let server = start(with_short_messages());
    let mut stream = raw_websocket(server.address, "/echo");
    stream.write_all(&[0x82, 0xff, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0]).unwrap();
    let written = write_on(&mut stream);
    assert!((8 << 20..TAKEN_MAX).contains(&written), "{written} bytes");
}

#[test]
fn what_the_reader_of_an_event_stream_sends_is_read_up_to_a_bound() {
    let server = start(with_short_messages());
    let mut stream = connect(server.address);
    let head = b"GET /channels/a HTTP/1.1\r\nHost: localhost\r\nAccept: text/event-stream\r\n\r\n";
    assert_eq!(exchange(&mut stream, head).status, 200);
    let written = write_on(&mut stream);
    assert!((8 << 20..TAKEN_MAX).contains(&written), "{written} bytes");
}

#[test]
fn the_reader_of_an_event_stream_that_goes_on_sending_gets_its_comments() {
    let server = start(Config { idle_timeout: Duration::from_millis(200), ..config() });
    let mut stream = connect(server.address);
    let head = b"GET /channels/a HTTP/1.1\r\nHost: localhost\r\nAccept: text/event-stream\r\n\r\n";
    assert_eq!(exchange(&mut stream, head).status, 200);
    stream.set_read_timeout(Some(Duration::from_millis(20))).unwrap();
    let mut received = Vec::new();
    until("there are comments", || {
        stream.write_all(b"x").unwrap();
        let mut buffer = [0; 1024];
        let len = stream.read(&mut buffer).unwrap_or(0);
        received.extend_from_slice(&buffer[..len]);
        let comments = received.windows(2).filter(|pair| pair == b"\n:").count();
        (comments >= 2).then_some(())
    });
}
