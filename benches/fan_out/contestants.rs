//! The serving sides, each in a process of its own that measures its own CPU time.
//!
//! Who subscribes, and what becomes of the figures, is not known here.

use std::io::{ErrorKind, Write};
use std::net::{TcpListener, TcpStream};
use std::num::NonZeroUsize;
use std::thread;
use std::time::Duration;

use cpu_time::ProcessTime;
use fanfare::config::Config;
use fanfare::server::Server;
use tungstenite::protocol::WebSocketConfig;
use tungstenite::{Error, Message, WebSocket};

use crate::support::{self, frames, orders, say};

/// Longer than the bench: no ping disturbs a round.
const IDLE_TIMEOUT: Duration = Duration::from_secs(24 * 60 * 60);

/// tungstenite's read buffer, allocated for each socket. Nothing is read; its default would be 1.3 GB here.
const TUNGSTENITE_READ_LEN: usize = 4096;

/// Who sends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Contestant {
    /// The server of this crate with one loop. Its first subscriber publishes.
    Fanfare,
    /// A loop of one `write` a socket, of bytes that are there already: what the kernel takes for itself.
    Floor,
    /// A loop of `send` a socket and message.
    Tungstenite,
}

impl Contestant {
    /// The role of its process.
    pub fn role(self) -> &'static str {
        match self {
            Self::Fanfare => "fanfare",
            Self::Floor => "floor",
            Self::Tungstenite => "tungstenite",
        }
    }

    /// Whether it is told by the bench to send; the other way is a publication.
    pub fn is_told(self) -> bool {
        match self {
            Self::Fanfare => false,
            Self::Floor | Self::Tungstenite => true,
        }
    }
}

/// Plays a role: says its address, takes in the clients, then obeys `begin K`, `go` (if it is told) and `end`, which
/// is answered with the CPU nanoseconds of this process since `begin`.
pub fn run(role: &str, subscribers: &str) {
    support::raise_descriptor_limit();
    let subscribers = subscribers.parse().expect("the number of subscribers is a number");
    match role {
        "fanfare" => serve_fanfare(),
        "floor" => {
            let sockets = accept(subscribers).into_iter().map(WebSocket::into_inner).collect::<Vec<_>>();
            serve(frames, |run| sockets.iter().for_each(|socket| write(socket, run)));
        }
        "tungstenite" => {
            let mut sockets = accept(subscribers);
            serve(messages, |messages| {
                for socket in &mut sockets {
                    messages.iter().for_each(|message| send(socket, message));
                }
            });
        }
        unknown => unreachable!("the bench starts no role {unknown}"),
    }
}

fn serve_fanfare() {
    let listen = vec!["127.0.0.1:0".parse().expect("this is an address")];
    let config =
        Config { listen, threads: NonZeroUsize::MIN, idle_timeout: IDLE_TIMEOUT, ..Config::default() };
    let server = Server::bind(config).expect("a free port of the loopback interface");
    say(&server.local_addrs()[0].to_string());
    thread::spawn(move || server.run().expect("the loop goes on until the process ends"));
    serve(|_| (), |()| unreachable!("nobody tells it to send"));
}

/// Obeys orders. What `prepare` makes of a number of messages is not measured, what `send` does with it is.
fn serve<T>(prepare: impl Fn(usize) -> T, mut send: impl FnMut(&T)) {
    let mut prepared = prepare(0);
    let mut start = ProcessTime::now();
    for (order, messages) in orders() {
        match order.as_str() {
            "begin" => {
                prepared = prepare(messages);
                say("begun");
                start = ProcessTime::now();
            }
            "go" => send(&prepared),
            "end" => say(&start.elapsed().as_nanos().to_string()),
            unknown => unreachable!("the bench gives no order {unknown}"),
        }
    }
}

/// Takes in the clients; their sockets are what Fanfare makes of its own.
fn accept(subscribers: usize) -> Vec<WebSocket<TcpStream>> {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port of the loopback interface");
    say(&listener.local_addr().expect("a listener has an address").to_string());
    let config = WebSocketConfig::default().read_buffer_size(TUNGSTENITE_READ_LEN);
    let accept_one = |_| {
        let (socket, _) = listener.accept().expect("there are descriptors enough");
        socket.set_nodelay(true).expect("TCP has no delay if told so");
        let websocket =
            tungstenite::accept_with_config(socket, Some(config)).expect("the handshake is right");
        websocket.get_ref().set_nonblocking(true).expect("a socket need not block");
        websocket
    };
    (0..subscribers).map(accept_one).collect()
}

fn write(mut socket: &TcpStream, run: &[u8]) {
    let written = socket.write(run).expect("the clients stay");
    assert_eq!(written, run.len(), "the buffer of a socket holds a turn");
}

fn messages(count: usize) -> Vec<Message> {
    let run = frames(count);
    let payload_of = |frame: &[u8]| String::from_utf8(frame[2..].to_vec()).expect("the messages are text");
    run.chunks_exact(run.len().max(1) / count.max(1)).map(|frame| Message::text(payload_of(frame))).collect()
}

fn send(socket: &mut WebSocket<TcpStream>, message: &Message) {
    let mut sent = socket.send(message.clone());
    while let Err(error) = sent {
        match error {
            // The message is in tungstenite's buffer: the client is waited for.
            Error::Io(error) if error.kind() == ErrorKind::WouldBlock => sent = wait_and_flush(socket),
            error => unreachable!("the clients stay: {error}"),
        }
    }
}

fn wait_and_flush(socket: &mut WebSocket<TcpStream>) -> Result<(), Error> {
    socket.get_ref().set_nonblocking(false)?;
    socket.flush()?;
    Ok(socket.get_ref().set_nonblocking(true)?)
}
