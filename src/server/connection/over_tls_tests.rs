//! Connections with TLS over real sockets, without an event loop: what their ends are.
//!
//! Records are tested in `tls`, and everything else over a whole server in `tests/tls.rs`.

use std::io::{ErrorKind, Read, Write};

use mio::net::TcpStream;
use rustls::client::ClientConnection;
use rustls::crypto::aws_lc_rs::cipher_suite;

use super::*;
use crate::config::Config;
use crate::server::clock::Millis;
use crate::server::connection::reading::{READ_BUFFER_LEN, Share};
use crate::server::connection::stream::Stream;
use crate::server::connection::tests::context;
use crate::server::tls::Session;
use crate::server::tls::peer_tests::*;

/// A connection with its client, and what the client was sent.
struct Pair {
    connection: Connection,
    cx: Context,
    buffer: Vec<u8>,
    client: ClientConnection,
    peer: std::net::TcpStream,
    plain: Vec<u8>,
}

impl Pair {
    fn new(session: Session, client: ClientConnection) -> Self {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let peer = std::net::TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (socket, _) = listener.accept().unwrap();
        socket.set_nonblocking(true).unwrap();
        peer.set_nonblocking(true).unwrap();
        let stream = Stream::over_tls(TcpStream::from_std(socket), TlsLayer::new(session));
        let connection = Connection::new(stream, Millis(0), Door::Public);
        let (cx, buffer) = (context(Config::default()), vec![0; READ_BUFFER_LEN]);
        Self { connection, cx, buffer, client, peer, plain: Vec::new() }
    }

    /// Sends what the client has to say and lets both sides read, until `is_done` of what the client was sent.
    fn drive(&mut self, is_done: impl Fn(&[u8]) -> bool) {
        let mut rounds = 0;
        while !is_done(&self.plain) {
            let bytes = sent_by(&mut self.client);
            self.peer.write_all(&bytes).unwrap();
            assert_ne!(self.connection.read_share(&mut self.buffer, &mut self.cx), Share::Over);
            self.cx.apply(usize::MAX);
            assert_ne!(self.connection.flush(&mut self.cx), Next::Drop);
            let mut read = vec![0; 65_536];
            match self.peer.read(&mut read) {
                Ok(len) => self.plain.extend(taken_by(&mut self.client, &read[..len]).unwrap()),
                Err(error) => assert_eq!(error.kind(), ErrorKind::WouldBlock),
            }
            rounds += 1;
            assert!(rounds < 1_000_000, "it was sent {:?} only", self.plain);
        }
    }

    /// Begins a WebSocket.
    fn upgrade(&mut self, path: &str) {
        let head =
            "Host: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13";
        let request =
            format!("GET {path} HTTP/1.1\r\n{head}\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n");
        self.client.writer().write_all(request.as_bytes()).unwrap();
        self.drive(|plain| plain.ends_with(b"\r\n\r\n"));
        assert!(self.plain.starts_with(b"HTTP/1.1 101 "));
        self.plain.clear();
    }
}

#[test]
fn a_websocket_whose_keys_are_used_up_is_closed_with_1001_while_it_can_be_told() {
    let config = short_lived(cipher_suite::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256, 100);
    let mut pair = Pair::new(Session::new(&config).unwrap(), client(&client_config(TLS12)));
    pair.upgrade("/channels/c");
    let closed = (0..100).find(|_| {
        pair.plain.clear();
        // A text of one byte, under the key 0.
        pair.client.writer().write_all(&[0x81, 0x81, 0, 0, 0, 0, b'x']).unwrap();
        pair.drive(|plain| plain.len() >= 3);
        pair.plain[..3] != [0x81, 1, b'x'] || pair.plain.len() > 3
    });
    assert!(closed.is_some_and(|rounds| rounds < 40), "{closed:?}");
    let plain = pair.plain.strip_prefix(&[0x81, 1, b'x']).unwrap_or(&pair.plain);
    assert_eq!((plain[0], &plain[2..4]), (0x88, &1001_u16.to_be_bytes()[..]));
    assert!(plain.ends_with(SPENT.as_bytes()));
}

#[test]
fn what_a_connection_holds_for_tls_is_counted_with_what_it_holds_otherwise() {
    let mut pair = Pair::new(Session::new(&terms()).unwrap(), client(&client_config(TLS13)));
    let hello = sent_by(&mut pair.client);
    pair.peer.write_all(&hello[..100]).unwrap();
    while pair.connection.private_len() == 0 {
        assert_ne!(pair.connection.read_share(&mut pair.buffer, &mut pair.cx), Share::Over);
    }
    assert!((100..=128).contains(&pair.connection.private_len()), "{}", pair.connection.private_len());
    pair.peer.write_all(&hello[100..]).unwrap();
    pair.upgrade("/channels/c");
    assert_eq!((pair.connection.private_len(), pair.connection.unsent_len()), (0, 0));
}
