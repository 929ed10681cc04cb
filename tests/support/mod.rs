//! What the tests over real sockets share: a server on a free port, clients that are not ours, raw HTTP.
//!
//! Nothing is asserted here about the server but that it is there.

#![allow(clippy::unwrap_used)] // a helper that fails fails its test
#![allow(dead_code)] // each test binary uses a part

pub mod steady;
pub mod streams;

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::num::NonZeroUsize;
use std::process::{Child, ChildStdout, Command, ExitStatus, Stdio};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use fanfare::config::{Config, Glob};
use fanfare::server::{Draft, Handle, PublishError, Server};
use socket2::{Domain, Socket, Type};
use tungstenite::client::IntoClientRequest;
use tungstenite::handshake::client::{Request, Response};
use tungstenite::protocol::CloseFrame;
use tungstenite::{Message, WebSocket};

/// A client that got this far and hears nothing has found a bug.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// The answer to a handshake that was not accepted.
pub type Refused = tungstenite::http::Response<Option<Vec<u8>>>;

/// A WebSocket client.
pub type Client = WebSocket<TcpStream>;

/// A server in this process, stopped when it goes out of scope.
pub struct Running {
    pub address: SocketAddr,
    /// That of the metrics, if there is one.
    pub metrics: Option<SocketAddr>,
    pub handle: Handle,
    thread: Option<JoinHandle<std::io::Result<()>>>,
}

/// Development mode on a free port, with two loops and no drain.
pub fn config() -> Config {
    Config {
        listen: vec!["127.0.0.1:0".parse().unwrap()],
        threads: NonZeroUsize::new(2).unwrap(),
        drain: Duration::ZERO,
        ..Config::default()
    }
}

/// With the key `secret`, and channels `chat-*` open to clients.
pub fn with_key() -> Config {
    Config { publish_key: Some("secret".into()), client_publish: vec![Glob::new("chat-*")], ..config() }
}

/// Starts a server.
pub fn start(config: Config) -> Running {
    let server = Server::bind(config).unwrap();
    let (address, metrics, handle) = (server.local_addrs()[0], server.metrics_addr(), server.handle());
    Running { address, metrics, handle, thread: Some(thread::spawn(|| server.run())) }
}

impl Running {
    /// Waits for the end of a server that has been told to stop.
    pub fn join(mut self) -> std::io::Result<()> {
        self.thread.take().unwrap().join().unwrap()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if let Some(thread) = self.thread.take() {
            self.handle.shutdown_now();
            let ended = thread.join();
            if !thread::panicking() {
                ended.unwrap().unwrap();
            }
        }
    }
}

/// A plain connection that does not wait for ever.
pub fn connect(address: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.set_write_timeout(Some(PATIENCE)).unwrap();
    stream.set_nodelay(true).unwrap();
    stream
}

/// A handshake with these header fields besides the usual ones.
pub fn handshake(
    address: SocketAddr,
    path: &str,
    fields: &[(&'static str, &str)],
) -> Result<(Client, Response), Box<Refused>> {
    match tungstenite::client(websocket_request(address, path, fields), connect(address)) {
        Ok(accepted) => Ok(accepted),
        Err(tungstenite::HandshakeError::Failure(tungstenite::Error::Http(response))) => Err(response),
        Err(error) => panic!("neither accepted nor refused: {error}"),
    }
}

/// A WebSocket to this path.
pub fn websocket(address: SocketAddr, path: &str) -> Client {
    handshake(address, path, &[]).unwrap().0
}

/// A WebSocket to this path whose kernel takes little, and that does not read by itself.
pub fn stalled(address: SocketAddr, path: &str, fields: &[(&'static str, &str)]) -> Client {
    let stream = connect_narrowly(address, 4096);
    tungstenite::client(websocket_request(address, path, fields), stream).unwrap().0
}

/// A plain connection whose kernel takes about so many bytes.
pub fn connect_narrowly(address: SocketAddr, bytes: usize) -> TcpStream {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    socket.set_recv_buffer_size(bytes).unwrap();
    socket.connect(&address.into()).unwrap();
    let stream = TcpStream::from(socket);
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream
}

fn websocket_request(address: SocketAddr, path: &str, fields: &[(&'static str, &str)]) -> Request {
    let mut request = format!("ws://{address}{path}").into_client_request().unwrap();
    for (name, value) in fields {
        request.headers_mut().insert(*name, value.parse().unwrap());
    }
    request
}

/// A WebSocket to this path by hand: what it says from now on, and whether it answers, is the test's.
pub fn raw_websocket(address: SocketAddr, path: &str) -> TcpStream {
    let mut stream = connect(address);
    assert_eq!(exchange(&mut stream, &upgrade_request(path)).status, 101);
    stream
}

/// The handshake as a client writes it.
pub fn upgrade_request(path: &str) -> Vec<u8> {
    let head = format!(
        "GET {path} HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
    );
    head.into_bytes()
}

/// All that comes until the end of the stream.
pub fn rest(stream: &mut TcpStream) -> Vec<u8> {
    let mut rest = Vec::new();
    stream.read_to_end(&mut rest).unwrap();
    rest
}

/// Closes with a reset instead of an end.
pub fn reset(stream: TcpStream) {
    socket2::SockRef::from(&stream).set_linger(Some(Duration::ZERO)).unwrap();
}

/// A subscriber of the channel that speaks envelopes.
pub fn envelopes(address: SocketAddr, channel: &str) -> Client {
    let fields = [("Sec-WebSocket-Protocol", "fanfare.v1.json")];
    let (client, response) = handshake(address, &format!("/channels/{channel}"), &fields).unwrap();
    assert_eq!(response.headers()["sec-websocket-protocol"], "fanfare.v1.json");
    client
}

/// The next text.
pub fn text(client: &mut Client) -> String {
    match client.read().unwrap() {
        Message::Text(text) => text.to_string(),
        other => panic!("not a text: {other:?}"),
    }
}

/// What the client is closed with; earlier messages are passed over.
pub fn close_frame(client: &mut Client) -> Option<CloseFrame> {
    loop {
        if let Message::Close(frame) = client.read().unwrap() {
            return frame;
        }
    }
}

/// An HTTP answer: status, head and body.
#[derive(Debug, PartialEq, Eq)]
pub struct Answer {
    pub status: u16,
    pub head: String,
    pub body: String,
}

/// Sends the bytes and reads one answer by its Content-Length.
pub fn exchange(stream: &mut TcpStream, request: &[u8]) -> Answer {
    stream.write_all(request).unwrap();
    read_answer(stream)
}

/// Reads one answer.
pub fn read_answer(stream: &mut TcpStream) -> Answer {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        stream.read_exact(&mut byte).unwrap();
        head.push(byte[0]);
    }
    let head = String::from_utf8(head).unwrap();
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    let len = head
        .lines()
        .find_map(|line| line.strip_prefix("Content-Length: "))
        .map_or(0, |len| len.parse().unwrap());
    let mut body = vec![0; len];
    stream.read_exact(&mut body).unwrap();
    Answer { status, head, body: String::from_utf8(body).unwrap() }
}

/// A request on a connection of its own.
pub fn request(address: SocketAddr, method: &str, path: &str, fields: &str, body: &[u8]) -> Answer {
    let head = format!(
        "{method} {path} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {}\r\n{fields}\r\n",
        body.len()
    );
    exchange(&mut connect(address), &[head.as_bytes(), body].concat())
}

/// Publishes a text.
pub fn publish(address: SocketAddr, channel: &str, text: &str) -> Answer {
    let answer = request(
        address,
        "POST",
        &format!("/channels/{channel}"),
        "Content-Type: text/plain\r\n",
        text.as_bytes(),
    );
    assert_eq!(answer.status, 200, "{answer:?}");
    answer
}

/// Publishes by the handle, again while the loops are behind.
pub fn publish_draft(handle: &Handle, draft: &Draft) {
    until("the loops take it", || match handle.publish(draft.clone()) {
        Err(PublishError::Congested) => None,
        published => Some(published.unwrap()),
    });
}

/// The binary as a process, killed when it goes out of scope.
pub struct Process {
    pub child: Child,
    pub address: SocketAddr,
    pub output: BufReader<ChildStdout>,
}

/// Starts the binary; the first line of its output tells the port.
pub fn spawn(command: &mut Command) -> Process {
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    let mut output = BufReader::new(child.stdout.take().unwrap());
    let mut line = String::new();
    output.read_line(&mut line).unwrap();
    let address = line.trim().strip_prefix("listening on http://").unwrap_or_else(|| panic!("{line:?}"));
    Process { address: address.parse().unwrap(), child, output }
}

/// The binary with these flags, on a free port.
pub fn fanfare(flags: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_fanfare"));
    command.args(["--listen", "127.0.0.1:0"]).args(flags);
    command
}

impl Process {
    /// Sends a signal.
    pub fn signal(&self, name: &str) {
        let status =
            Command::new("kill").args([format!("-{name}"), self.child.id().to_string()]).status().unwrap();
        assert!(status.success());
    }

    /// Waits for the end.
    pub fn wait(&mut self) -> ExitStatus {
        until("the process ends", || self.child.try_wait().unwrap())
    }

    /// How many descriptors it has open.
    pub fn descriptors(&self) -> usize {
        fs::read_dir(format!("/proc/{}/fd", self.child.id())).unwrap().count()
    }

    /// Its resident memory, in KiB.
    pub fn resident_kib(&self) -> u64 {
        self.status_kib("VmRSS:")
    }

    /// The most resident memory that it ever had, in KiB.
    pub fn resident_peak_kib(&self) -> u64 {
        self.status_kib("VmHWM:")
    }

    fn status_kib(&self, field: &str) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix(field)).unwrap();
        line.trim().trim_end_matches(" kB").parse().unwrap()
    }

    /// The processor time that it has used, in clock ticks.
    pub fn cpu_ticks(&self) -> u64 {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.child.id())).unwrap();
        let fields: Vec<&str> = stat.rsplit(')').next().unwrap().split_whitespace().collect();
        fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Asks again until there is an answer, and gives up loudly.
pub fn until<T>(what: &str, mut ask: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(answer) = ask() {
            return answer;
        }
        assert!(Instant::now() < deadline, "gave up waiting until {what}");
        thread::yield_now();
    }
}
