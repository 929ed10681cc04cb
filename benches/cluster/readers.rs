//! Readers of the channel that is published to, and clients that join many channels and hear nothing.
//!
//! Who publishes is not known here.

use std::io::{Read, Write};
use std::net::TcpStream;

use crate::frames::{Incoming, text, upgrade};
use crate::support::{Worker, orders, say};

/// The channel.
pub const CHANNEL: &str = "news";

/// The role of readers: `readers ADDRESS COUNT LEN`.
pub const ROLE: &str = "readers";

/// The role of clients that join: `joiners ADDRESS CHANNELS`.
pub const JOINERS: &str = "joiners";

/// The channels of a client at `/channels`.
const CHANNELS_A_CLIENT: usize = 100;

/// A process with `count` readers of publications of `len` bytes.
pub fn start(address: &str, count: usize, len: usize) -> Worker {
    Worker::start_ready(&format!("{ROLE} {address} {count} {len}"))
}

/// A process that has joined so many channels.
pub fn start_joiners(address: &str, channels: usize) -> Worker {
    Worker::start_ready(&format!("{JOINERS} {address} {channels}"))
}

/// Subscribes, says `ready`, and for every order `hear K` says `done` as soon as every reader has got K publications.
pub fn run(address: &str, count: &str, len: &str) {
    let count: usize = count.parse().expect("the number of readers is a number");
    let len: usize = len.parse().expect("a length is a number");
    let path = format!("/channels/{CHANNEL}");
    let mut readers: Vec<_> = (0..count).map(|_| upgrade(address, &path, None)).collect();
    say("ready");
    let frame_len = len + if len < 126 { 2 } else { 4 };
    let mut scratch = vec![0; 256 * 1024];
    for (_, publications) in orders() {
        // This process sleeps until the one that is written to last has everything: it takes no core from the server.
        for reader in readers.iter_mut().rev() {
            drain(reader, publications * frame_len, &mut scratch);
        }
        say("done");
    }
}

fn drain(reader: &mut TcpStream, mut len: usize, scratch: &mut [u8]) {
    while len > 0 {
        let room = len.min(scratch.len());
        let read = reader.read(&mut scratch[..room]).expect("every reader gets every publication");
        assert!(read > 0, "the server closed the connection");
        len -= read;
    }
}

/// Joins, says `ready`, and stays until the process is ended.
pub fn join(address: &str, channels: &str) {
    let channels: usize = channels.parse().expect("the number of channels is a number");
    let names: Vec<_> = (0..channels).map(|number| format!("joined-{number}")).collect();
    let join = |names: &[String]| {
        let mut socket = upgrade(address, "/channels", Some("fanfare.v1.json"));
        let list: Vec<_> = names.iter().map(|name| format!(r#"{{"channel":"{name}"}}"#)).collect();
        let command = format!(r#"{{"event":"fanfare:subscribe","data":[{}]}}"#, list.join(","));
        socket.write_all(&text(&command)).expect("the server reads its clients");
        let mut incoming = Incoming::new();
        for _ in names {
            let answer = incoming.next(&mut socket);
            assert!(
                answer.starts_with(br#"{"event":"fanfare:subscribed""#),
                "{}",
                String::from_utf8_lossy(answer)
            );
        }
        socket
    };
    let sockets: Vec<_> = names.chunks(CHANNELS_A_CLIENT).map(join).collect();
    say("ready");
    orders().for_each(drop);
    drop(sockets);
}
