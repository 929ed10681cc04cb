//! Crowds in handshakes, on a loop that is turned by hand: how many have their turn, and who waits where.
//!
//! What a handshake is, is tested elsewhere.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::Instant;

use mio::Events;
use tempfile::TempDir;

use super::super::by_hand::PATIENCE;
use super::super::handshakes::REST;
use super::*;
use crate::config::{Config, Tls, TlsPair};
use crate::server::Server;
use crate::server::handlers::program::Program;
use crate::server::tls::ca::Ca;
use crate::server::tls::peer_tests::{TLS13, client, client_config, sent_by};

struct Turned {
    event_loop: EventLoop,
    events: Events,
    plain: SocketAddr,
    tls: SocketAddr,
    _files: TempDir,
}

impl Turned {
    fn new() -> Self {
        let files = tempfile::tempdir().unwrap();
        let [cert, key] = Ca::new().leaf(&["a.test"]).write(files.path(), "a");
        let listen = || vec!["127.0.0.1:0".parse().unwrap()];
        let tls = Tls { listen: listen(), pairs: vec![TlsPair { cert, key }], ..Tls::default() };
        let threads = 1.try_into().unwrap();
        let server = Server::bind(Config { listen: listen(), tls, threads, ..Config::default() }).unwrap();
        let (plain, tls) = (server.local_addrs()[0], server.tls_addrs()[0]);
        let program = Arc::new(Program::new(server.handle.clone(), Config::WORKERS));
        let event_loop = { server.loops }.swap_remove(0).grow(program, Vec::new());
        Self { event_loop, events: Events::with_capacity(1024), plain, tls, _files: files }
    }

    fn turn(&mut self) {
        self.event_loop.turn_by_hand(&mut self.events);
    }

    fn turn_until(&mut self, what: &str, is_so: impl Fn(&EventLoop) -> bool) {
        self.event_loop.turn_until(&mut self.events, what, is_so);
    }
}

#[test]
fn a_crowd_of_hellos_is_answered_over_several_turns_a_few_in_each() {
    const CROWD: usize = 200;
    let mut turned = Turned::new();
    let config = client_config(TLS13);
    let mut crowd: Vec<_> = (0..CROWD).map(|_| TcpStream::connect(turned.tls).unwrap()).collect();
    turned.turn_until("they are there", |event_loop| event_loop.connections.len() == CROWD);
    for stream in &mut crowd {
        stream.write_all(&sent_by(&mut client(&config))).unwrap();
    }
    let mut turns = Vec::new();
    let deadline = Instant::now() + PATIENCE;
    while turns.iter().sum::<usize>() < CROWD {
        let sent = turned.event_loop.context.counters.bytes_sent;
        let before = turned.event_loop.handshakes.waiting_len();
        turned.turn();
        // Those that came in this turn have been counted by now.
        let after = turned.event_loop.handshakes.waiting_len();
        if turned.event_loop.context.counters.bytes_sent > sent {
            turns.push((before - after.min(before)).max(1));
        }
        assert_eq!(turned.event_loop.context.shared.handshakes.waiting(), after);
        if after == 0 && before > 0 {
            break;
        }
        assert!(Instant::now() < deadline, "{turns:?}");
    }
    assert!(turns.len() > 3, "200 of them take longer than the budgets of three turns: {turns:?}");
    for stream in &mut crowd {
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        let mut record = [0; 6];
        stream.read_exact(&mut record).unwrap();
        assert_eq!((record[0], record[5]), (22, 2), "a ServerHello");
    }
}

#[test]
fn while_too_many_handshakes_wait_who_comes_for_tls_stays_with_the_system_and_others_are_let_in() {
    let mut turned = Turned::new();
    let waiting = |turned: &Turned| turned.event_loop.context.shared.handshakes.waiting();
    while !turned.event_loop.is_resting() {
        turned.event_loop.context.shared.handshakes.add();
    }
    assert_eq!(waiting(&turned), 513);
    let _secured = TcpStream::connect(turned.tls).unwrap();
    turned.turn_until("it is known to be there", |event_loop| event_loop.arrivals.has_resting());
    let _plain = TcpStream::connect(turned.plain).unwrap();
    turned.turn_until("the plain one is let in", |event_loop| event_loop.connections.len() == 1);
    for _ in 0..10 {
        turned.turn();
    }
    assert_eq!(turned.event_loop.connections.len(), 1);
    assert_eq!(turned.event_loop.timeout(), Some(REST), "it looks again soon, and does not spin");
    turned.event_loop.context.shared.handshakes.remove();
    turned.turn_until("the other is let in", |event_loop| event_loop.connections.len() == 2);
}
