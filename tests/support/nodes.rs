//! Nodes that share channels by a Redis, and publishers that say what became of each of their publications.
//!
//! What subscribers hear is `witness`'s.

use std::collections::HashMap;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::num::NonZeroUsize;
use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use fanfare::config::{Config, Glob, Redis as RedisConfig};
use serde_json::Value;

use super::witness::Id;
use super::{Answer, PATIENCE, Running, config, request, start, until};

/// Time that a node of a test waits for Redis: long enough for a machine that is busy, short enough to be waited for.
pub const TIMEOUT: Duration = Duration::from_secs(1);

/// A publisher that was refused tries again after this.
const PAUSE: Duration = Duration::from_millis(20);

/// A configuration that shares channels by the Redis at this port, and keeps all that a test publishes.
pub fn by_redis(port: u16) -> Config {
    by_url(&format!("redis://127.0.0.1:{port}"))
}

/// The same by its address.
pub fn by_url(url: &str) -> Config {
    let redis = RedisConfig { timeout: TIMEOUT, ..RedisConfig::new(url.parse().unwrap()) };
    let every = || Glob::new("*");
    let (history, history_bytes) = (vec![(every(), 100_000)], vec![(every(), 64 << 20)]);
    Config { redis: Some(redis), threads: NonZeroUsize::MIN, history, history_bytes, ..config() }
}

/// The same for a node that waits for Redis so long that nothing but a fault makes it give up, however busy the machine is.
pub fn patient(port: u16) -> Config {
    let mut config = by_redis(port);
    config.redis.as_mut().unwrap().timeout = PATIENCE / 3;
    config
}

/// That many such nodes.
pub fn patient_nodes(port: u16, count: usize) -> Vec<Running> {
    (0..count).map(|_| start(patient(port))).collect()
}

/// That many nodes on the Redis at this port.
pub fn nodes(port: u16, count: usize) -> Vec<Running> {
    (0..count).map(|_| start(by_redis(port))).collect()
}

/// Waits until a node says that it is ready, or that it is not.
pub fn wait_for_readiness(node: SocketAddr, status: u16) {
    until("the node says whether it is ready", || {
        (request(node, "GET", "/readyz", "", b"").status == status).then_some(())
    });
}

/// Publishes a text, and returns the answer whatever it is.
pub fn post(node: SocketAddr, channel: &str, fields: &str, text: &str) -> Answer {
    let fields = format!("Content-Type: text/plain\r\n{fields}");
    request(node, "POST", &format!("/channels/{channel}"), &fields, text.as_bytes())
}

/// The identifier in an answer to a publisher.
pub fn id_of(answer: &Answer) -> Id {
    let body: Value = serde_json::from_str(&answer.body).unwrap();
    Id::of(body["id"].as_str().unwrap())
}

/// What became of publications, by their texts.
#[derive(Debug, Default)]
pub struct Published {
    /// Those that were answered with an identifier.
    pub ids: HashMap<String, Id>,
    /// Those that may have been published or not.
    pub unknown: Vec<String>,
    /// How often something was not published, and was tried again.
    pub refusals: usize,
    /// The longest time that an answer took.
    pub slowest: Duration,
}

/// Whether publications have keys: then those of which nothing is known are repeated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Keys {
    With,
    Without,
}

/// A publisher on a thread of its own, which goes on until it is stopped.
pub struct Publisher {
    stop: Sender<()>,
    thread: JoinHandle<Published>,
    answered: Arc<Mutex<usize>>,
}

impl Publisher {
    /// Publishes `NAME-0`, `NAME-1`, … at this pace, each as often as it is said not to be published.
    pub fn start(nodes: &[SocketAddr], channel: &str, name: &str, keys: Keys, pace: Duration) -> Self {
        let (stop, stopped) = mpsc::channel();
        let (nodes, channel, name) = (nodes.to_vec(), channel.to_owned(), name.to_owned());
        let answered = Arc::new(Mutex::new(0));
        let count = Arc::clone(&answered);
        let thread = thread::spawn(move || {
            let mut run =
                Run { nodes, channel, keys, node: 0, stream: None, published: Published::default() };
            for number in 0.. {
                run.publish(&format!("{name}-{number}"));
                *count.lock().unwrap() = run.published.ids.len();
                if stopped.recv_timeout(pace) != Err(RecvTimeoutError::Timeout) {
                    break;
                }
            }
            run.published
        });
        Self { stop, thread, answered }
    }

    /// Waits until this many more were published.
    pub fn more(&self, count: usize) {
        let before = *self.answered.lock().unwrap();
        until("more is published", || (*self.answered.lock().unwrap() >= before + count).then_some(()));
    }

    /// Stops it, and says what became of all.
    pub fn end(self) -> Published {
        drop(self.stop);
        self.thread.join().unwrap()
    }
}

struct Run {
    nodes: Vec<SocketAddr>,
    channel: String,
    keys: Keys,
    /// The node that is used, and the connection to it.
    node: usize,
    stream: Option<TcpStream>,
    published: Published,
}

/// What became of one attempt.
enum Fate {
    Published(Id),
    Refused,
    Unknown,
}

impl Run {
    fn publish(&mut self, text: &str) {
        let deadline = Instant::now() + PATIENCE;
        loop {
            assert!(Instant::now() < deadline, "{text} is not published for a long time");
            let asked_at = Instant::now();
            let fate = self.attempt(text);
            self.published.slowest = self.published.slowest.max(asked_at.elapsed());
            match fate {
                Fate::Published(id) => {
                    self.published.ids.insert(text.to_owned(), id);
                    return;
                }
                Fate::Refused => {
                    self.published.refusals += 1;
                    thread::park_timeout(PAUSE);
                }
                Fate::Unknown if self.keys == Keys::With => thread::park_timeout(PAUSE),
                Fate::Unknown => {
                    self.published.unknown.push(text.to_owned());
                    return;
                }
            }
        }
    }

    fn attempt(&mut self, text: &str) -> Fate {
        let node = self.nodes[self.node % self.nodes.len()];
        let Some(mut stream) = self.stream.take().or_else(|| TcpStream::connect(node).ok()) else {
            self.node += 1;
            return Fate::Refused;
        };
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.set_nodelay(true).unwrap();
        let Some(answer) = self.ask(&mut stream, text) else {
            self.node += 1;
            return Fate::Unknown;
        };
        self.stream = Some(stream);
        match answer.status {
            200 => Fate::Published(id_of(&answer)),
            503 => {
                assert!(answer.head.contains("\r\nRetry-After: "), "{answer:?}");
                Fate::Refused
            }
            504 => Fate::Unknown,
            _ => panic!("{answer:?}"),
        }
    }

    /// The answer; `None` if the connection ends instead, since its node was killed.
    fn ask(&self, stream: &mut TcpStream, text: &str) -> Option<Answer> {
        let key = match self.keys {
            Keys::With => format!("Idempotency-Key: {text}\r\n"),
            Keys::Without => String::new(),
        };
        let head = format!("POST /channels/{} HTTP/1.1\r\nHost: localhost\r\n{key}", self.channel);
        let body = format!("Content-Type: text/plain\r\nContent-Length: {}\r\n\r\n{text}", text.len());
        stream.write_all([head, body].concat().as_bytes()).ok()?;
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            let mut byte = [0];
            stream.read_exact(&mut byte).ok()?;
            head.push(byte[0]);
        }
        let head = String::from_utf8(head).unwrap();
        let len = head.lines().find_map(|line| line.strip_prefix("Content-Length: ")).unwrap();
        let mut body = vec![0; len.parse().unwrap()];
        stream.read_exact(&mut body).ok()?;
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        Some(Answer { status, head, body: String::from_utf8(body).unwrap() })
    }
}
