//! The serving sides, each in a process of its own that measures its own CPU time.
//!
//! Who subscribes, and what becomes of the figures, is not known here.

use std::io::Write;
use std::net::TcpStream;

use fanfare::config::Config;
use tungstenite::{Message, WebSocket};

use crate::FEED;
use crate::support::clients::{EXPECT, PUBLISH};
use crate::support::naive::{accept, send};
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
            let sockets = accept(subscribers, TUNGSTENITE_READ_LEN)
                .into_iter()
                .map(WebSocket::into_inner)
                .collect::<Vec<_>>();
            serve(|count| FEED.frames(count), |run| sockets.iter().for_each(|socket| write(socket, run)));
        }
        "tungstenite" => {
            let mut sockets = accept(subscribers, TUNGSTENITE_READ_LEN);
            serve(messages, |messages| {
                for socket in &mut sockets {
                    messages.iter().for_each(|message| send(socket, message.clone()));
                }
            });
        }
        unknown => unreachable!("the bench starts no role {unknown}"),
    }
}

fn write(mut socket: &TcpStream, run: &[u8]) {
    let written = socket.write(run).expect("the clients stay");
    assert_eq!(written, run.len(), "the buffer of a socket holds a turn");
}

fn messages(count: usize) -> Vec<Message> {
    let text_of = |index| String::from_utf8(FEED.payload.bytes(index)).expect("the messages are text");
    (0..count).map(|index| Message::text(text_of(index))).collect()
}
