//! Publishers: each sends a publication, and waits for the answer before the next.
//!
//! Where the server is, and what the figures mean, is not known here.

use std::fmt;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use crate::frames::{Incoming, connect, text, upgrade};
use crate::readers::CHANNEL;
use crate::support::{Worker, orders, say};
use crate::versus::table::quartiles;

/// The role: `publishers ADDRESS WAY CONNECTIONS LEN`.
pub const ROLE: &str = "publishers";

/// How publications come to the server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    Post,
    /// By a command of a WebSocket at `/channels`.
    Command,
}

impl fmt::Display for Way {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Post => "POST",
            Self::Command => "WebSocket",
        })
    }
}

/// The process, from the side of the bench.
pub struct Publishers {
    worker: Worker,
    connections: usize,
}

/// How long answers took: the median, and what one of a hundred exceeds.
#[derive(Clone, Copy, Debug)]
pub struct Answered {
    pub median: Duration,
    pub p99: Duration,
}

impl Publishers {
    /// Connects.
    pub fn start(address: &str, way: Way, connections: usize, len: usize) -> Self {
        Self {
            worker: Worker::start_ready(&format!("{ROLE} {address} {way} {connections} {len}")),
            connections,
        }
    }

    /// Publishes this many over all connections together, as far as they share it evenly; gives how many, and the times.
    pub fn publish(&mut self, count: usize) -> (usize, Answered) {
        self.begin(count);
        self.end(count)
    }

    /// The same in two halves, for who has something to wait for between.
    pub fn begin(&mut self, count: usize) {
        self.worker.tell(&format!("publish {}", count.div_ceil(self.connections)));
    }

    pub fn end(&mut self, count: usize) -> (usize, Answered) {
        let line = self.worker.hear();
        let mut words = line.split(' ').map(|word| word.parse().expect("times in ns"));
        let mut time = || Duration::from_nanos(words.next().expect("two times"));
        (count.div_ceil(self.connections) * self.connections, Answered { median: time(), p99: time() })
    }
}

/// Connects, says `ready`, and for every order `publish K` has each connection publish K, and says how long answers took.
pub fn run(address: &str, way: &str, connections: &str, len: &str) {
    let connections: usize = connections.parse().expect("the number of connections is a number");
    let payload = "x".repeat(len.parse().expect("a length is a number"));
    let way = if way == "POST" { Way::Post } else { Way::Command };
    let mut clients: Vec<_> = (0..connections).map(|_| Client::new(address, way, &payload)).collect();
    say("ready");
    for (_, count) in orders() {
        let mut times = Vec::new();
        for _ in 0..count {
            clients.iter_mut().for_each(Client::send);
            times.extend(clients.iter_mut().map(Client::hear));
        }
        let [_, median, _] = quartiles(times.iter().map(Duration::as_secs_f64));
        times.sort_unstable();
        let p99 = times[(times.len() - 1) * 99 / 100];
        say(&format!("{} {}", Duration::from_secs_f64(median).as_nanos(), p99.as_nanos()));
    }
}

struct Client {
    socket: TcpStream,
    way: Way,
    message: Vec<u8>,
    incoming: Incoming,
    since: Instant,
}

impl Client {
    fn new(address: &str, way: Way, payload: &str) -> Self {
        let (socket, message) = match way {
            Way::Post => {
                let len = payload.len();
                let head = format!(
                    "POST /channels/{CHANNEL} HTTP/1.1\r\nHost: {address}\r\nContent-Type: text/plain\r\n"
                );
                (connect(address), format!("{head}Content-Length: {len}\r\n\r\n{payload}").into_bytes())
            }
            Way::Command => {
                let command = format!(r#"{{"channel":"{CHANNEL}","data":"{payload}","ref":1}}"#);
                (upgrade(address, "/channels", Some("fanfare.v1.json")), text(&command))
            }
        };
        Self { socket, way, message, incoming: Incoming::new(), since: Instant::now() }
    }

    fn send(&mut self) {
        self.since = Instant::now();
        self.socket.write_all(&self.message).expect("the server reads its publisher");
    }

    fn hear(&mut self) -> Duration {
        match self.way {
            Way::Post => self.hear_post(),
            Way::Command => {
                let answer = self.incoming.next(&mut self.socket);
                assert!(
                    answer.starts_with(br#"{"event":"fanfare:published""#),
                    "{}",
                    String::from_utf8_lossy(answer)
                );
            }
        }
        self.since.elapsed()
    }

    fn hear_post(&mut self) {
        let mut piece = [0; 1024];
        let mut len = 0;
        while !piece[..len].ends_with(b"}\n") {
            let read = self.socket.read(&mut piece[len..]).expect("the server answers");
            assert!(read > 0, "the server closed the connection: {}", String::from_utf8_lossy(&piece[..len]));
            len += read;
        }
        assert!(piece.starts_with(b"HTTP/1.1 200 "), "{}", String::from_utf8_lossy(&piece[..len]));
    }
}
