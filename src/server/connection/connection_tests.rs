//! Connections over real sockets whose kernel takes little at a time, without an event loop.

use std::io::Read;
use std::sync::Arc;

use mio::net::TcpStream;
use mio::{Poll, Token};

use super::context::Context;
use super::outbox::OUTBOX_HIGH;
use super::stream::Stream;
use super::timeouts::Due;
use super::*;
use crate::config::Config;
use crate::server::api::routes::Door;
use crate::server::broker::Broker;
use crate::server::broker::engine::Engine;
use crate::server::broker::mailbox::mailboxes;
use crate::server::broker::retention::Retention;
use crate::server::shared::Shared;

#[test]
fn a_connection_at_rest_is_small() {
    // 10,000 of them: the aim is 400 bytes each with everything else that they own. In a debug build mio's socket knows
    // more than its descriptor.
    let of_debug_build = size_of::<Stream>().saturating_sub(8);
    let size = size_of::<Connection>() - of_debug_build;
    assert!(size <= 184, "{size}");
}

/// What a connection of the only loop of a server may use.
fn context(config: Config) -> Context {
    let poll = Poll::new().unwrap();
    let mailboxes = mailboxes(std::slice::from_ref(&poll), Token(0)).unwrap();
    let broker = Broker::new(mailboxes, 0, Retention::new(&config), Engine::Local);
    Context::new(0, Arc::new(Shared::new(config, broker, 10)))
}

/// A connection whose kernel takes little at a time, and the peer's end of it.
fn narrow() -> (Connection, std::net::TcpStream) {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let peer = std::net::TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let (socket, _) = listener.accept().unwrap();
    socket.set_nonblocking(true).unwrap();
    socket.set_nodelay(true).unwrap();
    peer.set_nonblocking(true).unwrap();
    socket2::SockRef::from(&socket).set_send_buffer_size(8 * 1024).unwrap();
    let stream = Stream::new(TcpStream::from_std(socket));
    (Connection::new(stream, Millis(0), Door::Public), peer)
}

#[test]
fn answers_to_a_peer_that_reads_slowly_but_steadily_take_no_more_room_the_longer_it_asks() {
    const ANSWER_LEN: usize = 200;
    const TOTAL: usize = 4 * 1024 * 1024;
    let (mut connection, mut peer) = narrow();
    let mut cx = context(Config::default());
    let (mut taken, mut drained) = (vec![0; 4096], 0);
    for round in 0.. {
        while !connection.outbox.is_high() {
            connection.outbox.tail().extend_from_slice(&[round as u8; ANSWER_LEN]);
        }
        connection.stream.note_room();
        assert_ne!(connection.flush(&mut cx), Next::Drop);
        drained += usize::from(connection.outbox.is_empty());
        let held = connection.private_len();
        assert!(held >= connection.outbox.unsent().len());
        let sent = cx.counters.bytes_sent;
        assert!(held <= 4 * OUTBOX_HIGH, "{held} bytes are held after {sent} were sent");
        if sent >= TOTAL as u64 {
            break;
        }
        // Nothing has come yet, or something.
        let _ = peer.read(&mut taken);
    }
    assert_eq!(drained, 0, "or this says nothing");
}

#[test]
fn an_answer_has_its_time_from_when_the_socket_took_no_more_however_long_the_turn_took_to_write_it() {
    let mut cx = context(Config::default());
    let (mut connection, _peer) = narrow();
    connection.outbox.tail().extend_from_slice(&[0; 1024 * 1024]);
    cx.now = Millis(100);
    connection.finish(&mut cx);
    cx.now = Millis(10_000);
    assert_eq!(connection.flush(&mut cx), Next::Wait);
    assert_eq!(connection.deadline(&cx), Millis(40_000), "--idle-timeout is 30 s");
    assert!(!connection.is_excused(Due::Drop), "the socket has no room");
    // The edge that tells of room came while the loop was busy: what it takes is seen first.
    connection.stream.note_room();
    assert!(connection.is_excused(Due::Drop));
}

#[test]
fn a_request_counts_with_the_room_it_takes() {
    let config = Config::default();
    let mut cx = context(config);
    let (mut connection, _peer) = narrow();
    connection.receive_requests(
        b"POST /channels/a HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5000\r\n\r\n",
        &mut cx,
    );
    for _ in 0..3 {
        connection.receive_requests(&[b'x'; 1500], &mut cx);
    }
    assert_eq!(connection.private_len(), 5000, "all of it, of which the first piece is near a third");
}
