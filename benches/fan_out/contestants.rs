//! The serving sides, each in a process of its own that measures its own CPU time.
//!
//! Who subscribes, and what becomes of the figures, is not known here.

use std::io::{ErrorKind, Write};
use std::net::{TcpListener, TcpStream};

use fanfare::config::Config;
use tungstenite::protocol::WebSocketConfig;
use tungstenite::{Error, Message, WebSocket};

use crate::FEED;
use crate::support::clients::{EXPECT, PUBLISH};
use crate::support::say;
use crate::versus::rounds::{serve, serve_fanfare};

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

    /// What its clients are told: to wait for what it sends of itself, or to publish.
    pub fn order(self) -> &'static str {
        match self {
            Self::Fanfare => PUBLISH,
            Self::Floor | Self::Tungstenite => EXPECT,
        }
    }
}

/// Plays a role: says its address, takes in the clients, then obeys as [`serve`] says.
pub fn run(role: &str, subscribers: &str) {
    let subscribers = subscribers.parse().expect("the number of subscribers is a number");
    match role {
        "fanfare" => serve_fanfare(Config::default()),
        "floor" => {
            let sockets = accept(subscribers).into_iter().map(WebSocket::into_inner).collect::<Vec<_>>();
            serve(|count| FEED.frames(count), |run| sockets.iter().for_each(|socket| write(socket, run)));
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
    let text_of = |index| String::from_utf8(FEED.payload.bytes(index)).expect("the messages are text");
    (0..count).map(|index| Message::text(text_of(index))).collect()
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
