//! Many clients that shake hands at once, or begin to and do not go on. Nothing of their handshakes is resumed.
//!
//! Who notices is not known here.

#![allow(clippy::disallowed_methods)] // clients that stay, or stall, do nothing meanwhile

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use cpu_time::ProcessTime;
use mio::{Events, Interest, Poll, Token};
use rustls::client::Resumption;
use rustls::{ClientConfig, ClientConnection};

use crate::support::connector::TRUSTS;
use crate::support::{CHANNEL, Form, orders, say, tls};

/// The role of their process: `crowd ADDRESS CONNECTED FRESH`, how many are connected at first, and how many come. Each order
/// is answered, when it has been obeyed, with the seconds that this took, those of this process' CPU time, and how often a
/// client was cut off and had to come again.
pub const ROLE: &str = "crowd";

/// The order to lose all connections and to come back: the channel is not that in which the others are measured.
pub const RECONNECT: &str = "reconnect";

/// The order to begin handshakes, and not to go on for [`STALLED`].
pub const STALL: &str = "stall";

/// The order to do nothing for a number of seconds.
pub const STAY: &str = "stay";

/// Half of the time that a server gives a handshake.
const STALLED: Duration = Duration::from_secs(5);

/// How many connect at once where nothing is measured.
const GROUP: usize = 100;

/// The channel of those that come: nothing is published there.
const ELSEWHERE: &str = "quiet";

/// A client that is cut off more often than this has no server.
const AGAIN_MAX: usize = 10;

/// The clients are one thread: on a machine with few cores several would keep the server and who measures from these.
struct Crowd {
    address: SocketAddr,
    config: Arc<ClientConfig>,
    poll: Poll,
    again: usize,
}

/// A client that has not connected yet. Its keys, which cost it most, are made and its hello is written.
struct Fresh {
    session: ClientConnection,
    hello: Vec<u8>,
}

/// One that is on its way, or has arrived.
struct Client {
    socket: mio::net::TcpStream,
    session: ClientConnection,
    /// Empty once it is sent.
    hello: Vec<u8>,
    has_asked: bool,
    answer: Vec<u8>,
    again: usize,
}

/// Says `ready` when those are connected that are to be, and obeys.
pub fn run(address: &str, connected: &str, fresh: &str) {
    let [connected, fresh] =
        [connected, fresh].map(|count| count.parse::<usize>().expect("the number of clients is a number"));
    let (address, certificate) = address.split_once(TRUSTS).expect("TLS is spoken there");
    let mut crowd = Crowd {
        address: address.parse().expect("this is an address"),
        config: tls::client_config(certificate, Resumption::disabled()),
        poll: Poll::new().expect("the system has polls"),
        again: 0,
    };
    let groups = (0..connected).step_by(GROUP).map(|at| GROUP.min(connected - at));
    let mut connected: Vec<_> = groups.flat_map(|count| crowd.come(crowd.prepare(count))).collect();
    let mut prepared = crowd.prepare(fresh);
    say("ready");
    for (order, seconds) in orders() {
        let (begun, used) = (Instant::now(), ProcessTime::now());
        crowd.again = 0;
        match order.as_str() {
            RECONNECT => {
                connected.clear();
                connected = crowd.come(std::mem::take(&mut prepared));
            }
            STALL => crowd.stall(std::mem::take(&mut prepared)),
            STAY => thread::sleep(Duration::from_secs(seconds as u64)),
            unknown => unreachable!("the bench gives no order {unknown}"),
        }
        let [lasted, used] = [begun.elapsed(), used.elapsed()].map(|time| time.as_secs_f64());
        say(&format!("{lasted:.3} {used:.3} {}", crowd.again));
    }
}

impl Crowd {
    fn prepare(&self, count: usize) -> Vec<Fresh> {
        (0..count).map(|_| Fresh::new(&self.config)).collect()
    }

    /// All connect at once. Returns them when each has a WebSocket.
    fn come(&mut self, fresh: Vec<Fresh>) -> Vec<Client> {
        let connect = |(index, fresh)| Client::connect(fresh, self.address, &self.poll, Token(index), 0);
        let mut clients: Vec<_> = fresh.into_iter().enumerate().map(connect).collect();
        let mut waiting = clients.len();
        let mut events = Events::with_capacity(1024);
        while waiting > 0 {
            self.poll.poll(&mut events, None).expect("a poll can be waited for");
            for event in &events {
                let client = &mut clients[event.token().0];
                if client.has_arrived() {
                    continue;
                }
                if client.go_on(self.address).is_err() {
                    self.again += 1;
                    let again = client.again + 1;
                    assert!(again <= AGAIN_MAX, "the server cuts off who comes");
                    let fresh = Fresh::new(&self.config);
                    *client = Client::connect(fresh, self.address, &self.poll, event.token(), again);
                } else if client.has_arrived() {
                    waiting -= 1;
                }
            }
        }
        clients
    }

    fn stall(&self, clients: Vec<Fresh>) {
        let begin = |(index, Fresh { hello, .. }): (usize, Fresh)| {
            let len = if index % 2 == 0 { hello.len() } else { hello.len() / 2 };
            let mut socket = TcpStream::connect(self.address).expect("the server takes who comes");
            socket.write_all(&hello[..len]).expect("a socket takes a hello");
            socket
        };
        let stalled: Vec<_> = clients.into_iter().enumerate().map(begin).collect();
        thread::sleep(STALLED);
        drop(stalled);
    }
}

impl Fresh {
    fn new(config: &Arc<ClientConfig>) -> Self {
        let mut session = tls::session(config);
        let mut hello = Vec::new();
        session.write_tls(&mut hello).expect("a vector takes a hello");
        Self { session, hello }
    }
}

impl Client {
    fn connect(fresh: Fresh, address: SocketAddr, poll: &Poll, token: Token, again: usize) -> Self {
        let Fresh { session, hello } = fresh;
        let mut socket = mio::net::TcpStream::connect(address).expect("there are ports enough");
        let both = Interest::READABLE | Interest::WRITABLE;
        poll.registry().register(&mut socket, token, both).expect("there is room for it");
        Self { socket, session, hello, has_asked: false, answer: Vec::new(), again }
    }

    fn has_arrived(&self) -> bool {
        self.answer.ends_with(b"\r\n\r\n")
    }

    /// What there is to do after an event.
    ///
    /// # Errors
    /// It was cut off.
    fn go_on(&mut self, address: SocketAddr) -> std::io::Result<()> {
        if !self.hello.is_empty() {
            match self.socket.write(&self.hello) {
                Ok(len) => assert_eq!(len, self.hello.len(), "a new socket takes a hello"),
                // It is not connected yet.
                Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::NotConnected) => {
                    return Ok(());
                }
                Err(error) => return Err(error),
            }
            self.hello = Vec::new();
        }
        loop {
            match self.session.read_tls(&mut self.socket) {
                Ok(0) => return Err(ErrorKind::UnexpectedEof.into()),
                Ok(_) => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(error),
            }
            let state = self.session.process_new_packets().map_err(std::io::Error::other)?;
            if !self.session.is_handshaking() && !self.has_asked {
                self.has_asked = true;
                let request = Form::WEBSOCKET.request(&address.to_string()).replace(CHANNEL, ELSEWHERE);
                self.session.writer().write_all(request.as_bytes())?;
            }
            while self.session.wants_write() {
                // A new socket takes as little.
                self.session.write_tls(&mut self.socket)?;
            }
            let at = self.answer.len();
            self.answer.resize(at + state.plaintext_bytes_to_read(), 0);
            self.session.reader().read_exact(&mut self.answer[at..])?;
        }
    }
}
