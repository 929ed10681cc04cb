//! Processes that a bench starts of itself, and the client sockets that live in them.
//!
//! Sockets are spread over processes for two reasons: their CPU time must not be counted with the server's, and a
//! process may hold no more descriptors than its hard limit, often 20,000. What is measured is not known here.

mod feed;
mod payload;

use std::env;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::Duration;

pub use feed::Feed;
pub use payload::Payload;

/// The channel that every client subscribes to.
pub const CHANNEL: &str = "news";

/// The role of a process with client sockets: `clients ADDRESS COUNT PAYLOAD FORM`, see [`run_clients`].
pub const CLIENTS: &str = "clients";

/// The role that a started process plays, and its arguments.
const ROLE: &str = "FANFARE_BENCH_ROLE";

/// A client that waits longer than this has lost bytes: the slowest round takes some seconds.
const SILENCE_MAX: Duration = Duration::from_secs(60);

/// This program once more, in another role. Both sides talk in lines.
pub struct Worker {
    process: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
}

impl Worker {
    /// Starts a process that finds `role` in [`role`].
    pub fn start(role: &str) -> Self {
        let program = env::current_exe().expect("a running program has a path");
        let mut command = Command::new(program);
        command.env(ROLE, role).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut process = command.spawn().expect("this program can be started once more");
        let input = process.stdin.take().expect("the input is piped");
        let output = BufReader::new(process.stdout.take().expect("the output is piped"));
        Self { process, input, output }
    }

    /// Starts a process with `count` subscribers of a server, and waits until all are subscribed.
    pub fn start_clients(address: &str, count: usize, feed: Feed) -> Self {
        let mut clients = Self::start(&format!("{CLIENTS} {address} {count} {feed}"));
        assert_eq!(clients.hear(), "ready");
        clients
    }

    /// Says a line.
    pub fn tell(&mut self, line: &str) {
        writeln!(self.input, "{line}").expect("a worker reads until it is dropped");
    }

    /// Waits for a line.
    pub fn hear(&mut self) -> String {
        let mut line = String::new();
        self.output.read_line(&mut line).expect("a worker writes text");
        assert!(line.ends_with('\n'), "the worker has ended; it says why above");
        line.trim_end().to_owned()
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        // It keeps nothing that would be lost; an error says that it has ended already.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// The words of the role that this process was started in; `None`: it is the bench itself.
pub fn role() -> Option<Vec<String>> {
    let role = env::var(ROLE).ok()?;
    Some(role.split_whitespace().map(str::to_owned).collect())
}

/// How many subscribers: the numbers in `FANFARE_BENCH_SUBSCRIBERS`, or else those in `default`.
pub fn subscribers(default: &str) -> Vec<usize> {
    let numbers = env::var("FANFARE_BENCH_SUBSCRIBERS").unwrap_or_else(|_| default.to_owned());
    let parse = |number: &str| number.trim().parse().expect("FANFARE_BENCH_SUBSCRIBERS is like 1000,10000");
    numbers.split(',').map(parse).collect()
}

/// A worker's answer to its bench.
pub fn say(line: &str) {
    let mut out = io::stdout().lock();
    writeln!(out, "{line}").and_then(|()| out.flush()).expect("the bench reads until it ends this process");
}

/// What the bench tells its worker, until it ends.
pub fn orders() -> impl Iterator<Item = (String, usize)> {
    io::stdin().lines().map(|line| {
        let line = line.expect("the bench writes text");
        let (order, messages) = line.split_once(' ').unwrap_or((&line, "0"));
        (order.to_owned(), messages.parse().expect("an order's argument is a number of messages"))
    })
}

/// The role [`CLIENTS`]: subscribes, says `ready`, and for every order `expect K` or `publish K` says `done` as soon
/// as every socket has received exactly the frames of K messages. `publish`: the first socket sends them before, in
/// one write.
pub fn run_clients(address: &str, count: &str, feed: Feed) {
    raise_descriptor_limit();
    let count: usize = count.parse().expect("the number of clients is a number");
    let mut clients: Vec<TcpStream> = (0..count).map(|_| subscribe(address, feed)).collect();
    say("ready");
    for (order, messages) in orders() {
        if order == "publish" {
            clients[0].write_all(&feed.masked_frames(messages)).expect("the server reads its publisher");
        }
        receive(&mut clients, &feed.frames(messages));
        say("done");
    }
}

/// Takes the soft limit to the hard one.
pub fn raise_descriptor_limit() {
    rlimit::increase_nofile_limit(u64::MAX).expect("the soft limit may be raised to the hard one");
}

/// Reads `expected` from every client. It begins with the one that is written to last: this process sleeps while
/// the server is at work, and neither wakes it up for nothing nor takes its cores away.
fn receive(clients: &mut [TcpStream], expected: &[u8]) {
    let mut received = vec![0; expected.len()];
    for client in clients.iter_mut().rev() {
        client.read_exact(&mut received).expect("every client gets every message");
        assert!(received == expected, "every client gets the bytes of every message in order");
    }
}

fn subscribe(address: &str, feed: Feed) -> TcpStream {
    let mut client = TcpStream::connect(address).expect("the server takes this many clients");
    client.set_read_timeout(Some(SILENCE_MAX)).expect("60 s is a timeout");
    let request = format!(
        "GET /channels/{CHANNEL} HTTP/1.1\r\nHost: {address}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n{}\r\n",
        feed.extension_field()
    );
    client.write_all(request.as_bytes()).expect("the server reads the handshake");
    let mut response = Vec::new();
    let mut piece = [0; 512];
    while !response.ends_with(b"\r\n\r\n") {
        let len = client.read(&mut piece).expect("the server answers the handshake");
        assert!(len > 0, "the server closed instead of answering: {}", String::from_utf8_lossy(&response));
        response.extend_from_slice(&piece[..len]);
    }
    assert!(response.starts_with(b"HTTP/1.1 101 "), "{}", String::from_utf8_lossy(&response));
    client
}
