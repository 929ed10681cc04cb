//! The listening sockets: which clients are accepted, and which are told that there is no room.
//!
//! Which loop gets an accepted socket is decided by the caller.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, ErrorKind, Write};
use std::net::{IpAddr, Shutdown, SocketAddr};

use mio::net::{TcpListener, TcpStream};
use mio::{Interest, Registry, Token};
use socket2::{Domain, Protocol, Socket, Type};

use crate::http::{Framing, Response};
use crate::server::api::answers;
use crate::server::broker::mailbox::{Incoming, Opening};
use crate::server::clock::{self, Millis};
use crate::server::connection::table::special_token;
use crate::server::limits::{Counts, Limits, Seat, TooMany};
use crate::server::tls::received::INTERNAL_ERROR;

/// Connections that the kernel holds before they are accepted; it cuts the number to its own limit (4,096 on
/// Linux). When thousands of clients reconnect at once, those that a turn does not accept wait here.
const BACKLOG: i32 = 4096;

/// Connections accepted in one turn, so that a storm of new connections does not delay the open ones. 256 take about
/// 5 ms.
const ACCEPTS_PER_TURN_MAX: usize = 256;

/// Descriptors kept in reserve: when all others are used, one is freed to accept a client and refuse it with an answer.
const SPARES: usize = 8;

/// Refused sockets that are held open for a moment: a close with an unread request would cause a reset, and the client
/// would not see the refusal. Above this number the oldest is closed.
const REFUSED_MAX: usize = 32;

/// How long a refused socket is held.
const REFUSED_MS: u64 = 1000;

/// When not even a spare descriptor is left, no connection is accepted for this long.
const PAUSE_MS: u64 = 100;

/// The tokens of listeners follow the waker's.
const FIRST_LISTENER: usize = 1;

/// The listeners of a server, on its first loop.
#[derive(Debug)]
pub struct Acceptor {
    listeners: Vec<TcpListener>,
    /// Whether the first listener is that of `--metrics-listen`. It is served before the others, so that a storm of clients
    /// does not delay a scrape.
    has_metrics: bool,
    /// What the connections of each listener begin with.
    openings: Vec<Opening>,
    /// The origin whose pages may read the refusal: `*` or none, since no request has been read that names one.
    allow_origin: Option<&'static str>,
    /// Which listeners may have waiting connections. There is no further edge until all of them are accepted.
    is_ready: Vec<bool>,
    spares: Vec<File>,
    refused: VecDeque<(Millis, TcpStream)>,
    paused_until: Option<Millis>,
}

/// What was accepted in a turn.
#[derive(Debug, Default)]
pub struct Accepted {
    /// The clients for which there is room.
    pub incoming: Vec<Incoming>,
    /// The same for the metrics listener.
    pub operators: Vec<TcpStream>,
    /// How many clients were refused since there is no room.
    pub refused: usize,
    /// Those that were turned away for what their addresses are, and why.
    pub turned_away: Vec<(IpAddr, Turned)>,
    /// How many bytes the refusals took.
    pub refused_len: usize,
    /// Whether descriptors had run out.
    pub out_of_descriptors: bool,
}

/// Why a client was turned away.
#[derive(Debug)]
pub enum Turned {
    /// Its address has too many connections, or has begun too many handshakes.
    TooMany(TooMany),
    /// It has to send a PROXY header, and is no trusted proxy.
    NoProxy,
}

/// Binds one address.
///
/// # Errors
/// The system's error: the address is in use, not permitted, or not an address of this machine.
pub fn bind(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    if address.is_ipv6() {
        // [::] and 0.0.0.0 can then both be listened on, and each flag means what it says.
        socket.set_only_v6(true)?;
    }
    #[cfg(unix)]
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    Ok(TcpListener::from_std(socket.into()))
}

impl Acceptor {
    /// Registers the listeners, each with what its connections begin with, and the metrics listener if there is one. Pages of `allow_origin` may read refusals.
    ///
    /// # Errors
    /// There are no descriptors for the reserve.
    pub fn new(
        listeners: Vec<(TcpListener, Opening)>,
        metrics: Option<TcpListener>,
        registry: &Registry,
        allow_origin: Option<&'static str>,
    ) -> io::Result<Self> {
        let has_metrics = metrics.is_some();
        let operators = metrics.into_iter().map(|listener| (listener, Opening::Request));
        let (mut listeners, openings): (Vec<_>, Vec<_>) = operators.chain(listeners).unzip();
        for (index, listener) in listeners.iter_mut().enumerate() {
            registry.register(listener, special_token(FIRST_LISTENER + index), Interest::READABLE)?;
        }
        let mut spares = Vec::with_capacity(SPARES);
        while spares.len() < SPARES {
            spares.push(spare()?);
        }
        let is_ready = vec![false; listeners.len()];
        let (refused, paused_until) = (VecDeque::new(), None);
        Ok(Self { listeners, has_metrics, openings, allow_origin, is_ready, spares, refused, paused_until })
    }

    /// Closes the listeners for clients, and keeps the metrics listener if there is one.
    pub fn into_metrics_only(mut self) -> Option<Self> {
        if !self.has_metrics {
            return None;
        }
        self.listeners.truncate(1);
        self.openings.truncate(1);
        self.is_ready.truncate(1);
        Some(self)
    }

    /// Notes that a connection is waiting, if the token is a listener's.
    pub fn notice(&mut self, token: Token) {
        let listener = usize::MAX.wrapping_sub(token.0).wrapping_sub(FIRST_LISTENER);
        if let Some(is_ready) = self.is_ready.get_mut(listener) {
            *is_ready = true;
        }
    }

    /// Accepts waiting connections: at most as many clients and as many connections of the metrics listener as `rooms` says.
    /// The others are refused, and so are clients whose addresses are past their limits. Where `is_resting`, those that begin
    /// with TLS are left to the system for now.
    pub fn accept(
        &mut self,
        mut rooms: [usize; 2],
        limits: &Limits,
        is_resting: bool,
        now: Millis,
    ) -> Accepted {
        let mut accepted = Accepted::default();
        if self.paused_until.is_some_and(|until| now < until) {
            return accepted;
        }
        self.paused_until = None;
        for _ in 0..ACCEPTS_PER_TURN_MAX {
            let Some(index) = self.next_ready(is_resting) else { break };
            let is_metrics = self.has_metrics && index == 0;
            let room = &mut rooms[usize::from(is_metrics)];
            match self.listeners[index].accept() {
                Ok((socket, _)) if *room > 0 && is_metrics => {
                    *room -= 1;
                    accepted.operators.push(socket);
                }
                Ok((socket, peer)) if *room > 0 => {
                    let opening = self.openings[index];
                    match judge(peer.ip(), opening, limits, now) {
                        Ok(seat) => {
                            *room -= 1;
                            accepted.incoming.push(Incoming { socket, seat, opening });
                        }
                        Err(turned) => {
                            if let Turned::TooMany(too_many) = &turned {
                                let answer = self.refusal(&Response::from(too_many), index);
                                accepted.refused_len += self.refuse(socket, &answer, now);
                            }
                            accepted.turned_away.push((peer.ip(), turned));
                        }
                    }
                }
                Ok((socket, _)) => {
                    accepted.refused += 1;
                    let answer = self.refusal(&answers::over_capacity(), index);
                    accepted.refused_len += self.refuse(socket, &answer, now);
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => self.is_ready[index] = false,
                Err(error) if is_the_peers(&error) => {}
                Err(_) => {
                    accepted.out_of_descriptors = true;
                    if !self.free_a_descriptor() {
                        self.paused_until = Some(Millis(now.0 + PAUSE_MS));
                        break;
                    }
                    // The freed descriptor is for refusing the next client, not for serving it.
                    rooms = [0; 2];
                }
            }
        }
        accepted
    }

    /// The first listener with a connection that may be accepted.
    fn next_ready(&self, is_resting: bool) -> Option<usize> {
        let mut ready = self.is_ready.iter().zip(&self.openings);
        ready.position(|(&is_ready, &opening)| is_ready && !(is_resting && opening == Opening::Tls))
    }

    /// Closes the refused sockets whose time is up, and fills the reserve of descriptors again.
    pub fn expire(&mut self, now: Millis) {
        while self.refused.front().is_some_and(|&(until, _)| until <= now) {
            self.refused.pop_front();
        }
        while self.spares.len() < SPARES {
            let Ok(spare) = spare() else { break };
            self.spares.push(spare);
        }
    }

    /// Whether a connection is known to be waiting and may be accepted at once.
    pub fn has_more(&self, is_resting: bool) -> bool {
        self.paused_until.is_none() && self.next_ready(is_resting).is_some()
    }

    /// Whether a connection is known to be waiting that may be accepted once fewer handshakes wait.
    pub fn has_resting(&self) -> bool {
        self.next_ready(true) != self.next_ready(false)
    }

    /// When [`Acceptor::expire`] or a paused accept is due.
    pub fn deadline(&self) -> Option<Millis> {
        let refused = self.refused.front().map(|&(until, _)| until);
        refused.into_iter().chain(self.paused_until).min()
    }

    /// What a client of a listener is told that is not let in. Where TLS is spoken it is an alert in clear, since a handshake
    /// for who is refused would cost more than one who is let in.
    fn refusal(&self, response: &Response, index: usize) -> Vec<u8> {
        if self.openings[index] == Opening::Tls {
            return INTERNAL_ERROR.to_vec();
        }
        let is_metrics = self.has_metrics && index == 0;
        let date = clock::http_date();
        let mut answer = Vec::new();
        response.encode(
            &mut answer,
            Framing {
                date: &date,
                keep_alive: false,
                head_only: false,
                allow_origin: self.allow_origin.filter(|_| !is_metrics),
                allows_credentials: false,
                varies_by_origin: false,
                hsts_s: None,
            },
        );
        answer
    }

    /// Answers, and closes our half; the socket is held for a moment. Returns how many bytes were written.
    fn refuse(&mut self, mut socket: TcpStream, answer: &[u8], now: Millis) -> usize {
        // A new socket has room for 300 bytes; a peer that has gone needs no answer.
        let written = socket.write(answer).unwrap_or(0);
        if written < answer.len() || socket.shutdown(Shutdown::Write).is_err() {
            return written;
        }
        if self.refused.len() == REFUSED_MAX {
            self.refused.pop_front();
        }
        self.refused.push_back((Millis(now.0 + REFUSED_MS), socket));
        written
    }

    fn free_a_descriptor(&mut self) -> bool {
        self.spares.pop().is_some() || self.refused.pop_front().is_some()
    }
}

/// Whether a client may come in, by its address. Connections of a trusted proxy are counted later: for the clients that it
/// speaks for.
fn judge(peer: IpAddr, opening: Opening, limits: &Limits, now: Millis) -> Result<Option<Seat>, Turned> {
    if opening == Opening::ProxyHeader {
        return if limits.is_proxy(peer) { Ok(None) } else { Err(Turned::NoProxy) };
    }
    limits.enter(peer, Counts::Handshake, now).map_err(Turned::TooMany)
}

/// A descriptor for the reserve.
fn spare() -> io::Result<File> {
    File::open(if cfg!(windows) { "NUL" } else { "/dev/null" })
}

/// Whether the error is that of the connection that would have been accepted, not a fault on our side.
fn is_the_peers(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        ErrorKind::ConnectionAborted
            | ErrorKind::ConnectionReset
            | ErrorKind::Interrupted
            | ErrorKind::TimedOut
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;

    #[test]
    fn a_client_is_counted_when_it_is_accepted_unless_a_trusted_proxy_speaks_for_it() {
        let trust_proxy = vec!["10.0.0.0/8".parse().unwrap()];
        let limits = Limits::new(&Config { ip_connections: Some(1), trust_proxy, ..Config::default() });
        let judge = |peer: &str, opening| judge(peer.parse().unwrap(), opening, &limits, Millis(0));
        let seat = judge("203.0.113.9", Opening::Request).unwrap().unwrap();
        assert!(matches!(
            judge("203.0.113.9", Opening::Request),
            Err(Turned::TooMany(TooMany::Connections(1)))
        ));
        limits.leave(seat, Millis(0));
        assert!(judge("203.0.113.9", Opening::Request).unwrap().is_some());
        for _ in 0..3 {
            assert_eq!(judge("10.0.0.1", Opening::Request).unwrap(), None);
            assert_eq!(judge("::ffff:10.0.0.1", Opening::ProxyHeader).unwrap(), None);
            assert!(matches!(judge("203.0.113.10", Opening::ProxyHeader), Err(Turned::NoProxy)));
        }
        assert!(
            judge("203.0.113.10", Opening::Request).unwrap().is_some(),
            "who was turned away used up nothing"
        );
    }
}
