//! The serving sides, each in a process of its own that measures its own CPU time.
//!
//! Who subscribes, and what becomes of the figures, is not known here.

use std::io::Write;
use std::path::PathBuf;
use std::thread;

use fanfare::config::{Config, Tls, TlsPair};

use crate::floor::Acceptor;
use crate::support::clients::{EXPECT, PUBLISH};
use crate::support::connector::TRUSTS;
use crate::support::naive::listen_at;
use crate::support::tls::Certificate;
use crate::versus::rounds::{serve, serve_fanfare, serve_fanfare_at};
use crate::{FEED, crowd, handshakes, support, watchers};

/// Who sends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Contestant {
    /// A loop of one `encrypt` and one `write` a socket.
    Floor,
    /// A loop that shakes hands, answers a request and closes, one client after the other.
    Visits,
    /// The server of this crate with one loop. Its first subscriber publishes.
    Tls,
    /// The same without TLS.
    Plain,
}

impl Contestant {
    /// The role of its process. `subscribers` is how many the floor waits for.
    pub fn role(self, certificate: &Certificate, subscribers: usize) -> String {
        let [cert, key] = certificate.files();
        let files = format!("{} {}", cert.display(), key.display());
        match self {
            Self::Floor => format!("floor {files} {subscribers}"),
            Self::Visits => format!("visits {files}"),
            Self::Tls => format!("tls {files}"),
            Self::Plain => "plain".into(),
        }
    }

    /// What its clients are told: to wait for what it sends of itself, or to publish.
    pub fn order(self) -> &'static str {
        match self {
            Self::Floor => EXPECT,
            Self::Visits => handshakes::ORDER,
            Self::Tls | Self::Plain => PUBLISH,
        }
    }
}

/// Plays a role: says its address, takes in the clients, then obeys as [`serve`] says.
pub fn run(role: &[&str]) {
    match role {
        ["floor", cert, key, subscribers] => serve_floor(cert, key, subscribers),
        ["visits", cert, key] => serve_visits(cert, key),
        ["tls", cert, key] => serve_tls(cert, key),
        ["plain"] => serve_fanfare(Config::default()),
        [handshakes::ROLE, address, visit] => handshakes::run(address, visit),
        [watchers::ROLE, address, count] => watchers::run(address, count),
        [crowd::ROLE, address, connected, fresh] => crowd::run(address, connected, fresh),
        unknown => unreachable!("the bench starts no role {unknown:?}"),
    }
}

fn serve_tls(cert: &str, key: &str) {
    let listen = vec!["127.0.0.1:0".parse().expect("this is an address")];
    let pairs = vec![TlsPair { cert: PathBuf::from(cert), key: PathBuf::from(key) }];
    let config = Config { tls: Tls { listen, pairs, ..Tls::default() }, ..Config::default() };
    serve_fanfare_at(config, |server| format!("{}{TRUSTS}{cert}", server.tls_addrs()[0]));
}

fn serve_floor(cert: &str, key: &str, subscribers: &str) {
    let subscribers = subscribers.parse().expect("the number of subscribers is a number");
    let (address, sockets) = listen_at(subscribers);
    support::say(&format!("{address}{TRUSTS}{cert}"));
    let acceptor = Acceptor::new(cert, key);
    let mut peers: Vec<_> = sockets.map(|socket| acceptor.accept(socket)).collect();
    let mut record = Vec::new();
    serve(
        |count| FEED.frames(count),
        |run| {
            for peer in &mut peers {
                let len = peer.seal(run, &mut record);
                let written = peer.socket.write(&record[..len]).expect("the clients stay");
                assert_eq!(written, len, "the buffer of a socket holds a turn");
            }
        },
    );
}

fn serve_visits(cert: &str, key: &str) {
    let (address, sockets) = listen_at(usize::MAX);
    support::say(&format!("{address}{TRUSTS}{cert}"));
    let acceptor = Acceptor::new(cert, key);
    thread::spawn(move || sockets.for_each(|socket| acceptor.visit(socket)));
    serve(|_| (), |()| unreachable!("nobody tells it to send"));
}
