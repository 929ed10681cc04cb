//! What Fanfare is compared with: a loop that only moves the bytes, and a loop around tungstenite.
//!
//! Both serve any path as an echo, the first also a POST, and neither is measured here.

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;

use fanfare::ws::unmask;
use mio::{Events, Interest, Poll, Token};
use tungstenite::{Error, WebSocket};

use crate::senders::{Workload, post};
use crate::support::naive::{accept, listen_for, send};

/// The loop that only moves the bytes: one read, the mask off where they lie, one write. It checks nothing, keeps nothing
/// and knows how long the messages are.
pub const FLOOR: &str = "floor";

/// `read` and `send` of tungstenite.
pub const TUNGSTENITE: &str = "tungstenite";

/// The floor reads the longest message at once.
const READ_LEN: usize = 128 * 1024;

/// tungstenite's, allocated for each socket; its default would be 256 MB for 2,000.
const TUNGSTENITE_READ_LEN: usize = 64 * 1024;

const EVENTS_MAX: usize = 1024;

/// The server's answer to a POST, at some time.
const ANSWER: &[u8] = b"HTTP/1.1 200 OK\r\nDate: Sat, 21 Nov 2026 16:00:00 GMT\r\n\
    Content-Type: application/json\r\nContent-Length: 44\r\nVary: Origin\r\nConnection: keep-alive\r\n\r\n\
    {\"id\":\"8c1f5d0e7a21-10000\",\"subscribers\":0}\n";

/// Plays a role until the process is ended: says its address, takes in the clients and serves them.
pub fn run(role: &str, workload: &str, sockets: &str, len: &str) {
    let sockets = sockets.parse().expect("the number of sockets is a number");
    let len = len.parse().expect("a length is a number");
    match (role, Workload::from_word(workload)) {
        (FLOOR, Workload::Post) => {
            let request_len = post(&vec![0; len]).len();
            let (mut buffer, mut taken) = (vec![0; READ_LEN], vec![0; sockets]);
            let clients = listen_for(sockets).collect::<Vec<_>>();
            clients.iter().for_each(|socket| socket.set_nonblocking(true).expect("a socket need not block"));
            serve(clients, |index, socket| answer(socket, &mut buffer, &mut taken[index], request_len));
        }
        (FLOOR, Workload::Echo | Workload::Publish | Workload::Room) => {
            let mut floor = Floor::new(sockets, len);
            serve(
                accept(sockets, TUNGSTENITE_READ_LEN).into_iter().map(WebSocket::into_inner).collect(),
                |index, socket| {
                    floor.echo(index, socket);
                },
            );
        }
        (TUNGSTENITE, Workload::Echo | Workload::Publish | Workload::Room) => {
            let mut websockets = accept(sockets, TUNGSTENITE_READ_LEN);
            let handles = websockets.iter().map(|websocket| handle(websocket.get_ref())).collect();
            serve(handles, |index, _| echo_messages(&mut websockets[index]));
        }
        (unknown, workload) => unreachable!("the bench starts no {unknown} for {workload}"),
    }
}

/// The floor of a POST: counts the bytes of the request, and writes an answer after the last.
fn answer(mut socket: &TcpStream, buffer: &mut [u8], taken: &mut usize, request_len: usize) {
    match socket.read(buffer) {
        Err(error) if error.kind() == ErrorKind::WouldBlock => return,
        read => *taken += read.expect("the clients stay until this process is ended"),
    }
    assert!(*taken <= request_len, "one request is under way");
    if *taken == request_len {
        *taken = 0;
        write(socket, ANSWER);
    }
}

fn handle(socket: &TcpStream) -> TcpStream {
    socket.try_clone().expect("there are descriptors enough")
}

/// Calls `echo` whenever a socket has become readable, as long as the process lives.
fn serve(sockets: Vec<TcpStream>, mut echo: impl FnMut(usize, &TcpStream)) {
    let mut poll = Poll::new().expect("the system can poll");
    let mut registered: Vec<_> =
        sockets.iter().map(|socket| mio::net::TcpStream::from_std(handle(socket))).collect();
    for (index, socket) in registered.iter_mut().enumerate() {
        let registry = poll.registry();
        registry.register(socket, Token(index), Interest::READABLE).expect("a socket can be polled");
    }
    let mut events = Events::with_capacity(EVENTS_MAX);
    loop {
        match poll.poll(&mut events, None) {
            Err(error) if error.kind() == ErrorKind::Interrupted => continue,
            polled => polled.expect("the system can poll"),
        }
        for event in &events {
            echo(event.token().0, &sockets[event.token().0]);
        }
    }
}

/// ```text
///   read     81 fe LEN key payload           what is written begins 4 bytes later, over the key
///   written            81 7e LEN payload
/// ```
struct Floor {
    buffer: Vec<u8>,
    /// Of a masked frame.
    header_len: usize,
    payload_len: usize,
    /// Where each socket is.
    places: Vec<Place>,
}

/// How much of a message's payload has gone through, and its key.
#[derive(Clone, Copy, Default)]
struct Place {
    taken: usize,
    key: [u8; 4],
}

impl Floor {
    fn new(sockets: usize, payload_len: usize) -> Self {
        let header_len = match payload_len {
            0..=125 => 6,
            126..=0xFFFF => 8,
            _ => 14,
        };
        Self { buffer: vec![0; READ_LEN], header_len, payload_len, places: vec![Place::default(); sockets] }
    }

    fn echo(&mut self, index: usize, mut socket: &TcpStream) {
        let len = match socket.read(&mut self.buffer) {
            Err(error) if error.kind() == ErrorKind::WouldBlock => return,
            read => read.expect("the clients stay until this process is ended"),
        };
        let (place, header_len) = (&mut self.places[index], self.header_len);
        let mut run = &mut self.buffer[..len];
        let mut payload_from = 0;
        if place.taken == 0 && len > 0 {
            assert!(len >= header_len, "a client writes a header at once");
            place.key.copy_from_slice(&run[header_len - 4..header_len]);
            run.copy_within(..header_len - 4, 4);
            run = &mut run[4..];
            run[1] &= 0x7F;
            payload_from = header_len - 4;
        }
        let payload = &mut run[payload_from..];
        unmask(payload, place.key, place.taken as u64);
        place.taken += payload.len();
        assert!(place.taken <= self.payload_len, "one message is under way");
        if place.taken == self.payload_len {
            place.taken = 0;
        }
        write(socket, run);
    }
}

fn write(mut socket: &TcpStream, mut run: &[u8]) {
    while !run.is_empty() {
        match socket.write(run) {
            Ok(len) => run = &run[len..],
            Err(error) if error.kind() == ErrorKind::WouldBlock => {
                socket.set_nonblocking(false).expect("a socket may block");
                socket.write_all(run).expect("the clients stay");
                socket.set_nonblocking(true).expect("a socket need not block");
                return;
            }
            Err(error) => unreachable!("the clients stay: {error}"),
        }
    }
}

fn echo_messages(websocket: &mut WebSocket<TcpStream>) {
    loop {
        match websocket.read() {
            Ok(message) => send(websocket, message),
            Err(Error::Io(error)) if error.kind() == ErrorKind::WouldBlock => return,
            Err(error) => unreachable!("the clients stay: {error}"),
        }
    }
}
