//! Clients that connect, ask once and leave, one after the other: plain, with a full handshake, or with a resumed one.
//!
//! What that takes of the server, and when they come, is not known here.

use std::fmt;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::Arc;

use rustls::client::Resumption;
use rustls::{ClientConfig, HandshakeKind};

use crate::support::connector::TRUSTS;
use crate::support::{orders, say, tls};

/// The role of a process with these clients: `visitors ADDRESS VISIT`.
pub const ROLE: &str = "visitors";

/// The order to visit a number of times.
pub const ORDER: &str = "visit";

const REQUEST: &[u8] = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";

/// How a client comes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Visit {
    Plain,
    Full,
    Resumed,
}

/// Its word in a role.
impl fmt::Display for Visit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Plain => "plain",
            Self::Full => "full",
            Self::Resumed => "resumed",
        })
    }
}

/// Says `ready`, and `done` after the visits of each order.
pub fn run(address: &str, visit: &str) {
    let visits = [Visit::Plain, Visit::Full, Visit::Resumed];
    let visit = visits.into_iter().find(|known| known.to_string() == visit).expect("a visit is one of these");
    let (address, certificate) = address.split_once(TRUSTS).unwrap_or((address, ""));
    let config = match visit {
        Visit::Plain => None,
        Visit::Full => Some(tls::client_config(certificate, Resumption::disabled())),
        Visit::Resumed => Some(tls::client_config(certificate, Resumption::in_memory_sessions(8))),
    };
    if visit == Visit::Resumed {
        // The first has no ticket yet.
        assert_eq!(come(address, config.as_ref()), Some(HandshakeKind::Full));
    }
    let expected = match visit {
        Visit::Plain => None,
        Visit::Full => Some(HandshakeKind::Full),
        Visit::Resumed => Some(HandshakeKind::Resumed),
    };
    say("ready");
    for (_, count) in orders() {
        for _ in 0..count {
            assert_eq!(come(address, config.as_ref()), expected);
        }
        say("done");
    }
}

/// One visit, until the server has closed.
fn come(address: &str, config: Option<&Arc<ClientConfig>>) -> Option<HandshakeKind> {
    let mut socket = TcpStream::connect(address).expect("the server takes who comes");
    socket.set_nodelay(true).expect("TCP has no delay if told so");
    let Some(config) = config else {
        ask(&mut socket);
        return None;
    };
    let mut stream = tls::over(socket, config);
    ask(&mut stream);
    stream.conn.handshake_kind()
}

fn ask(stream: &mut (impl Read + Write)) {
    stream.write_all(REQUEST).expect("the server reads the request");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("the server answers, and says that it closes");
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
}
