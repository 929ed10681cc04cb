//! Publishers and a congested loop, over real sockets: two loops, of which the first is turned by hand and the second
//! never, so that what is published for its subscriber stays in its mailbox for as long as a test likes.

use std::collections::VecDeque;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use flate2::{Compress, Compression, FlushCompress};
use mio::Events;

use super::super::by_hand::PATIENCE;
use super::*;
use crate::config::Config;
use crate::hub::{ChannelName, Position};
use crate::server::broker::answer::{NotPublished, Waiter};
use crate::server::broker::arrivals::Arrival;
use crate::server::broker::engine::Engine;
use crate::server::broker::engine::held::Held;
use crate::server::clock::Millis;
use crate::server::handlers::program::Program;
use crate::server::{Draft, Server};
use crate::ws::{Opcode, encode_masked_frame};

/// The longest publication: with the default of `--max-lag`.
const LEN_MAX: usize = 1024 * 1024;

/// The index of the loop that is never turned.
const STUCK: usize = 1;

struct Turned {
    event_loop: EventLoop,
    events: Events,
    address: SocketAddr,
}

impl Turned {
    fn new(config: Config) -> Self {
        let listen = vec!["127.0.0.1:0".parse().unwrap()];
        let server = Server::bind(Config { listen, threads: 2.try_into().unwrap(), ..config }).unwrap();
        let address = server.local_addrs()[0];
        let mut loops = server.loops;
        let program = Arc::new(Program::new(server.handle.clone(), Config::WORKERS));
        let event_loop = loops.swap_remove(0).grow(program, Vec::new());
        let turned = Self { event_loop, events: Events::with_capacity(16), address };
        let channel = ChannelName::new("stuck").unwrap();
        let subscribed = turned.event_loop.context.shared.broker.subscribe(
            &channel,
            Arrival::test(STUCK),
            Position::Now,
            Millis(0),
            Some,
            |_| (),
        );
        assert!(subscribed.is_some());
        turned
    }

    fn turn(&mut self) {
        self.event_loop.turn_by_hand(&mut self.events);
    }

    fn turn_until(&mut self, what: &str, is_so: impl Fn(&EventLoop) -> bool) {
        self.event_loop.turn_until(&mut self.events, what, is_so);
    }

    /// Congests the other loop's mailbox.
    fn congest(&mut self) {
        while !self.event_loop.context.shared.broker.is_congested() {
            let draft = Draft::text("stuck", "x".repeat(LEN_MAX)).unwrap();
            let _ = self.event_loop.context.shared.broker.publish(draft, Waiter::Nobody, Millis(0));
        }
    }

    /// Takes what is in the other loop's mailbox, as if that loop had caught up.
    fn catch_up(&mut self) -> VecDeque<usize> {
        let mut taken = VecDeque::new();
        self.event_loop.context.shared.broker.mailbox(STUCK).take_publications(usize::MAX, &mut taken);
        taken.iter().map(|publication| publication.data.len()).collect()
    }

    /// A client on this loop: it sends its bytes, and ends with what it received, of which `is_all` says when it is all.
    fn client(&mut self, bytes: Vec<u8>, is_all: fn(&[u8]) -> bool) -> JoinHandle<Vec<u8>> {
        let before = self.event_loop.connections.len();
        let mut stream = TcpStream::connect(self.address).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        self.turn_until("it is there", |event_loop| event_loop.connections.len() > before);
        thread::spawn(move || {
            stream.write_all(&bytes).unwrap();
            let (mut received, mut buffer) = (Vec::new(), vec![0; LEN_MAX]);
            while !is_all(&received) {
                let len = stream.read(&mut buffer).unwrap();
                assert!(len > 0, "it ends after {:?}", String::from_utf8_lossy(&received));
                received.extend_from_slice(&buffer[..len]);
            }
            received
        })
    }

    fn end_of(&mut self, client: JoinHandle<Vec<u8>>) -> Vec<u8> {
        self.turn_until("the client has it all", |_| client.is_finished());
        client.join().unwrap()
    }
}

fn has_head(received: &[u8]) -> bool {
    received.windows(4).any(|bytes| bytes == b"\r\n\r\n")
}

#[test]
fn a_long_body_waits_for_a_congested_loop_for_as_long_as_that_takes_and_is_answered_then() {
    const BODY_TIMEOUT: Duration = Duration::from_secs(1);
    let mut turned = Turned::new(Config { body_timeout: BODY_TIMEOUT, ..Config::default() });
    turned.congest();
    let mut post =
        format!("POST /channels/stuck HTTP/1.1\r\nHost: localhost\r\nContent-Length: {LEN_MAX}\r\n\r\n")
            .into_bytes();
    post.resize(post.len() + LEN_MAX, b'y');
    let publisher = turned.client(post, has_head);
    turned.turn_until("it is parked", |event_loop| event_loop.reads.has_parked());
    // The next connection goes to the other loop, the one after it to this one.
    let _other = TcpStream::connect(turned.address).unwrap();
    let parked = Instant::now();
    let bystander = turned.client(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n".to_vec(), has_head);
    assert!(turned.end_of(bystander).starts_with(b"HTTP/1.1 200 "));
    while parked.elapsed() < 2 * BODY_TIMEOUT {
        turned.turn();
        assert!(turned.event_loop.reads.has_parked() && !publisher.is_finished());
    }
    assert!(turned.catch_up().iter().all(|&len| len == LEN_MAX));
    let answer = turned.end_of(publisher);
    assert!(answer.starts_with(b"HTTP/1.1 200 "), "{}", String::from_utf8_lossy(&answer));
    assert_eq!(turned.catch_up(), [LEN_MAX], "it is published once");
}

/// A message that is small as long as it is deflated.
fn deflated_frame() -> Vec<u8> {
    let mut deflated = Vec::with_capacity(LEN_MAX);
    let mut compress = Compress::new(Compression::best(), false);
    compress.compress_vec(&vec![b'y'; LEN_MAX], &mut deflated, FlushCompress::Sync).unwrap();
    deflated.truncate(deflated.len() - 4);
    let mut frame = Vec::new();
    encode_masked_frame(&mut frame, true, Opcode::Binary, [1, 2, 3, 4], &deflated);
    // RFC 7692 §6: RSV1.
    frame[0] |= 0x40;
    frame
}

#[test]
fn a_message_stops_being_inflated_while_a_loop_is_congested_and_goes_on_then() {
    let mut turned = Turned::new(Config::default());
    let mut bytes =
        b"GET /channels/stuck HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
        Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\
        Sec-WebSocket-Extensions: permessage-deflate\r\n\r\n"
            .to_vec();
    // It is a publisher by its first message.
    encode_masked_frame(&mut bytes, true, Opcode::Text, [1, 2, 3, 4], b"first");
    bytes.extend(deflated_frame());
    encode_masked_frame(&mut bytes, true, Opcode::Text, [1, 2, 3, 4], b"last");
    let publisher = turned.client(bytes, |received| received.ends_with(b"\x81\x04last"));
    let inflated_len = |event_loop: &EventLoop| {
        let key = event_loop.connections.keys().next().unwrap();
        event_loop.connections.get(key).unwrap().private_len()
    };
    turned.turn_until("a part is inflated", |event_loop| inflated_len(event_loop) > LEN_MAX / 8);
    let stopped_at = inflated_len(&turned.event_loop);
    assert!(stopped_at < LEN_MAX, "{stopped_at}: a turn's share is a fourth of it");
    turned.congest();
    turned.turn_until("it is parked", |event_loop| event_loop.reads.has_parked());
    for _ in 0..50 {
        turned.turn();
        assert!(turned.event_loop.reads.has_parked());
        assert_eq!(inflated_len(&turned.event_loop), stopped_at);
    }
    let published = turned.catch_up();
    assert_eq!(published[0], 5);
    assert!(published.iter().skip(1).all(|&len| len == LEN_MAX), "what congests: {published:?}");
    turned.end_of(publisher);
    assert_eq!(turned.catch_up(), [LEN_MAX, 4]);
}

#[test]
fn what_waits_for_an_engine_is_published_whenever_that_has_room_again() {
    let engine = Arc::new(Held::default());
    let config = Config { listen: vec!["127.0.0.1:0".parse().unwrap()], ..Config::default() };
    let server = Server::bind_with(config, Engine::Remote(engine.clone()), None).unwrap();
    let (address, handle) = (server.local_addrs()[0], server.handle());
    let serving = thread::spawn(|| server.run());
    for (published, times) in (1..=6).enumerate() {
        engine.congest(times);
        let mut stream = TcpStream::connect(address).unwrap();
        let post = "POST /channels/a HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5\r\n\r\nhello";
        stream.write_all(post.as_bytes()).unwrap();
        let began = Instant::now();
        while engine.len() == published {
            assert!(began.elapsed() < PATIENCE, "it had no room {times} times");
            thread::yield_now();
        }
    }
    handle.shutdown();
    (0..engine.len()).for_each(|_| engine.fail(&handle.shared.broker, NotPublished::Refused));
    serving.join().unwrap().unwrap();
}
