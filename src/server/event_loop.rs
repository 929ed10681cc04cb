//! One event loop: the order of a turn, and the connections, logs and timers that belong to it.
//!
//! What a peer's bytes mean is in `reading`, what goes out in `writing`.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use mio::event::Event;
use mio::net::TcpStream;
use mio::{Events, Interest, Poll, Token};

use super::acceptor::Acceptor;
use super::connection::{Connection, Door, Phase};
use super::connections::{Connections, Key, special_token};
use super::demo::Demo;
use super::drain::Drain;
use super::exchange::{Exchange, SWEEPER};
use super::figures::Ticker;
use super::liveness::{Due, Millis, Stage, Timeouts};
use super::mailbox::Mailbox;
use super::refusals::Kind;
use super::render::Renderer;
use super::shared::{Shared, Stop};
use super::spares::Spares;
use super::tally::{Tally, Transport};
use crate::http::{self, Error, Limits, RequestReader};
use crate::hub::{Hub, Publication};
use crate::ws::CloseCode;

/// The waker's token.
pub const WAKER: Token = special_token(0);

/// Events taken from the system at once; more wait for the next turn.
const EVENTS_PER_TURN_MAX: usize = 1024;

/// One read's buffer, shared by all connections of a loop. 128 KiB holds a message of 64 KiB with its header and the end
/// of the one before it, and stays in the second-level cache.
const READ_BUFFER_LEN: usize = 128 * 1024;

/// Connections of the metrics listener at once; they are not among those that `--max-connections` counts, so that a
/// full server can still be asked. Some scrapers and probes, and those of them that have not closed yet.
pub const OPERATORS_MAX: usize = 32;

/// While another loop is behind with its mailbox, publishers are looked at again after this long.
const CONGESTION_PAUSE: Duration = Duration::from_millis(1);

/// How often a loop looks for what the exchange should forget. A second is nothing against the minutes for
/// which things are kept, and a look at ten thousand channels takes half a millisecond.
const SWEEP_MS: u64 = 1000;

/// An event loop. Nothing in it is shared but [`Shared`].
#[derive(Debug)]
pub struct EventLoop {
    pub(super) index: usize,
    pub(super) shared: Arc<Shared>,
    pub(super) poll: Poll,
    pub(super) acceptor: Option<Acceptor>,
    pub(super) connections: Connections<Connection>,
    pub(super) hub: Hub,
    pub(super) timers: super::timers::Timers,
    pub(super) timeouts: Timeouts,
    pub(super) read_buffer: Vec<u8>,
    pub(super) spares: Spares,
    /// To be read in this turn.
    pub(super) readable: Vec<Key>,
    /// To be read in the next turn, without waiting for an edge.
    pub(super) read_again: Vec<Key>,
    /// To be flushed in this turn, besides the subscribers of dirty logs.
    pub(super) touched: Vec<Key>,
    /// To be dropped at the end of this turn.
    pub(super) doomed: Vec<Key>,
    pub(super) drain: Option<Drain>,
    /// The demo's prices, on the first loop of a server that has them.
    pub(super) demo: Option<Demo>,
    /// Bytes that are held for single connections.
    pub(super) private_len: usize,
    /// Bytes read in this turn.
    pub(super) read_len: usize,
    /// When to look for what the exchange should forget; one loop does.
    pub(super) sweep_at: Millis,
    pub(super) tally: Tally,
    /// Connections that came in at the metrics listener.
    pub(super) operators_len: usize,
    pub(super) ticker: Ticker,
    /// Whether somebody subscribed to the figures in this turn.
    pub(super) has_new_watcher: bool,
    /// When this turn's waiting was over, since the server's start.
    pub(super) turn_began: Duration,
    pub(super) now: Millis,
    pub(super) renderer: Renderer,
    /// Room for what is taken from the mailbox; empty between uses.
    pub(super) taken: Vec<Arc<Publication>>,
}

impl EventLoop {
    /// A loop with nothing in it.
    pub fn new(index: usize, shared: Arc<Shared>, poll: Poll, acceptor: Option<Acceptor>) -> Self {
        let timeouts = Timeouts::new(&shared.config);
        let renderer = Renderer::new(&shared.config);
        Self {
            index,
            shared,
            poll,
            acceptor,
            connections: Connections::default(),
            hub: Hub::default(),
            timers: Default::default(),
            timeouts,
            read_buffer: vec![0; READ_BUFFER_LEN],
            spares: Spares::default(),
            readable: Vec::new(),
            read_again: Vec::new(),
            touched: Vec::new(),
            doomed: Vec::new(),
            drain: None,
            demo: None,
            private_len: 0,
            read_len: 0,
            sweep_at: Millis::default(),
            tally: Tally::default(),
            operators_len: 0,
            ticker: Ticker::default(),
            has_new_watcher: false,
            turn_began: Duration::ZERO,
            now: Millis::default(),
            renderer,
            taken: Vec::new(),
        }
    }

    /// Turns until the server stops.
    ///
    /// # Errors
    /// The system cannot tell what is ready any more.
    pub fn run(mut self) -> io::Result<()> {
        let result = self.take_turns();
        self.shared.end_loop();
        result
    }

    fn take_turns(&mut self) -> io::Result<()> {
        let mut events = Events::with_capacity(EVENTS_PER_TURN_MAX);
        while self.turn(&mut events)? {}
        Ok(())
    }

    /// One turn. What is published in it leaves in one write a subscriber, at its end. False after the last.
    fn turn(&mut self, events: &mut Events) -> io::Result<bool> {
        self.wait(events)?;
        self.accept();
        self.read();
        self.apply();
        self.expire();
        self.flush();
        self.relieve();
        self.reap();
        self.measure();
        Ok(!self.is_stopped())
    }

    /// Waits for events, a wake or the next deadline, and sorts what came.
    fn wait(&mut self, events: &mut Events) -> io::Result<()> {
        let timeout = if self.mailbox().may_sleep() { self.timeout() } else { Some(Duration::ZERO) };
        match self.poll.poll(events, timeout) {
            Err(error) if error.kind() != io::ErrorKind::Interrupted => return Err(error),
            _ => self.mailbox().is_up(),
        }
        self.turn_began = self.shared.elapsed();
        self.now = Millis(self.turn_began.as_millis() as u64);
        self.read_len = 0;
        self.readable.append(&mut self.read_again);
        for event in events.iter() {
            self.sort(event);
        }
        Ok(())
    }

    fn sort(&mut self, event: &Event) {
        let key = Key::from_u64(event.token().0 as u64);
        if let Some(connection) = self.connections.get_mut(key) {
            if event.is_writable() {
                connection.is_writable = true;
                self.touched.push(key);
            }
            connection.is_read_closed |= event.is_read_closed() || event.is_error();
            if event.is_readable() || connection.is_read_closed {
                self.readable.push(key);
            }
        } else if let Some(acceptor) = &mut self.acceptor {
            acceptor.notice(event.token());
        }
    }

    /// Takes in new connections, and those that the first loop handed over.
    fn accept(&mut self) {
        if let Some(acceptor) = &mut self.acceptor {
            let operators_room = OPERATORS_MAX.saturating_sub(self.operators_len);
            let accepted = acceptor.accept(self.shared.room(), operators_room, self.now);
            self.tally.accepted += (accepted.sockets.len() + accepted.operators.len()) as u64;
            self.tally.bytes_sent += accepted.refused_len as u64;
            if accepted.refused > 0 || accepted.out_of_descriptors {
                let (kind, reason) = if accepted.out_of_descriptors {
                    (Kind::Descriptors, "no descriptors left")
                } else if self.shared.is_over_memory() {
                    (Kind::Memory, "--max-memory is reached")
                } else {
                    (Kind::NoRoom, "--max-connections reached")
                };
                self.shared.note_several(kind, accepted.refused, self.now, &reason);
            }
            for socket in accepted.sockets {
                match self.shared.assign() {
                    index if index == self.index => self.take_in(socket, Door::Public),
                    index => self.shared.exchange.mailbox(index).hand_over(socket),
                }
            }
            for socket in accepted.operators {
                self.operators_len += 1;
                self.take_in(socket, Door::Metrics);
            }
        }
        for socket in self.mailbox().take_sockets() {
            self.take_in(socket, Door::Public);
        }
    }

    fn take_in(&mut self, socket: TcpStream, door: Door) {
        // Nagle's delay would hold a small publication back until the one before it is acknowledged.
        let is_ready = socket.set_nodelay(true).is_ok();
        let now = self.now;
        let reader = RequestReader::new(Limits::default());
        let key = self.connections.insert(|_| Connection::new(socket, reader, now, door));
        self.tally.connections[Transport::Http as usize] += 1;
        let connection = self.connections.get_mut(key).expect("it has just been inserted");
        let interest = Interest::READABLE | Interest::WRITABLE;
        let is_registered = self.poll.registry().register(&mut connection.socket, key.token(), interest);
        // A probe is answered until the end.
        let is_welcome = self.drain.is_none() || door == Door::Metrics;
        if is_ready && is_registered.is_ok() && is_welcome {
            self.schedule(key);
        } else {
            self.doomed.push(key);
        }
    }

    /// Reads from those that have something, until the turn's share is used up. The rest come first in the next turn,
    /// ahead of those that had theirs in this one.
    fn read(&mut self) {
        let mut readable = std::mem::take(&mut self.readable);
        let mut served = 0;
        while served < readable.len() && !self.has_read_enough() {
            self.read_connection(readable[served]);
            served += 1;
        }
        readable.drain(..served);
        readable.append(&mut self.read_again);
        self.readable = std::mem::replace(&mut self.read_again, readable);
    }

    /// Appends what was published, here or on other loops, to the logs.
    pub(super) fn apply(&mut self) {
        apply(self.shared.exchange.mailbox(self.index), &mut self.taken, &mut self.renderer, &mut self.hub);
    }

    /// Does what is due by the time: silent peers, late requests, the stop.
    fn expire(&mut self) {
        if let Some(acceptor) = &mut self.acceptor {
            acceptor.expire(self.now);
        }
        while let Some((at, key)) = self.timers.pop(self.now) {
            let Some(connection) = self.connections.get_mut(key) else { continue };
            if connection.timer_at != at {
                continue;
            }
            connection.timer_at = Millis(u64::MAX);
            match connection.liveness.due(self.now, &self.timeouts) {
                Some(due) => self.expire_connection(key, due),
                None => self.schedule(key),
            }
        }
        self.sweep();
        self.expire_prices();
        self.expire_figures();
        self.expire_drain();
    }

    /// Forgets channels and publications whose time is over.
    fn sweep(&mut self) {
        if self.index == SWEEPER && self.now >= self.sweep_at {
            self.exchange().sweep(self.now);
            self.sweep_at = Millis(self.now.0 + SWEEP_MS);
        }
    }

    fn expire_connection(&mut self, key: Key, due: Due) {
        let Some(connection) = self.connections.get_mut(key) else { return };
        match (due, &mut connection.phase) {
            (Due::RequestTimeout, Phase::Http(http)) if !http.reader.is_idle() || http.awaited.is_some() => {
                self.refuse_request(key, &Error::RequestTimeout);
            }
            (Due::Answer, Phase::Http(_)) => self.answer_poll(key),
            (Due::Ping, Phase::EventStream(_)) => {
                // Who has not taken the last one needs no other.
                if connection.outbox.is_empty() {
                    http::encode_comment(connection.outbox.tail(), "");
                }
                connection.liveness.enter(Stage::Open, self.now);
            }
            (Due::Ping, Phase::WebSocket(websocket)) => {
                websocket.protocol.ping(b"", connection.outbox.tail());
                connection.liveness.enter(Stage::Pinged, self.now);
            }
            (Due::CloseSilent, Phase::WebSocket(_)) => {
                self.shared.note(Kind::Silent, self.now, &"no answer to a ping");
                self.close_connection(key, CloseCode::GOING_AWAY, "no answer to a ping");
            }
            // Nothing more is due: it is dropped at the end of this turn.
            _ => return self.doomed.push(key),
        }
        self.touched.push(key);
        self.schedule(key);
    }

    /// Drops who is done. Their descriptors are free for the next turn.
    fn reap(&mut self) {
        let mut doomed = std::mem::take(&mut self.doomed);
        for key in doomed.drain(..) {
            self.leave_channel(key);
            if let Some(mut connection) = self.connections.remove(key) {
                self.private_len -= connection.held;
                self.tally.connections[connection.counted_as as usize] -= 1;
                // Closing the descriptor would do; other systems than Linux want to be told.
                let _ = self.poll.registry().deregister(&mut connection.socket);
                match connection.door {
                    Door::Public => self.shared.release(self.index),
                    Door::Metrics => self.operators_len -= 1,
                }
            }
        }
        self.doomed = doomed;
    }

    /// Sets the timer of a connection whose deadline may have come nearer.
    pub(super) fn schedule(&mut self, key: Key) {
        let Some(connection) = self.connections.get_mut(key) else { return };
        let deadline = connection.liveness.deadline(&self.timeouts);
        if deadline < connection.timer_at {
            connection.timer_at = deadline;
            self.timers.push(deadline, key);
        }
    }

    pub(super) fn mailbox(&self) -> &Mailbox {
        self.shared.exchange.mailbox(self.index)
    }

    pub(super) fn exchange(&self) -> &Exchange {
        &self.shared.exchange
    }

    fn timeout(&self) -> Option<Duration> {
        if !self.read_again.is_empty() {
            // What is to be read again waits for another loop only if every publisher does.
            return Some(if self.exchange().is_congested() { CONGESTION_PAUSE } else { Duration::ZERO });
        }
        if self.acceptor.as_ref().is_some_and(Acceptor::has_more)
            || self.shared.stop() != Stop::No && self.drain.is_none()
            || self.is_called_for_prices()
            || self.is_to_watch()
        {
            return Some(Duration::ZERO);
        }
        let acceptor = self.acceptor.as_ref().and_then(Acceptor::deadline);
        let drain = self.drain.as_ref().map(Drain::deadline);
        let sweep = (self.index == SWEEPER && self.exchange().channels_len() > 0).then_some(self.sweep_at);
        let figures = self.ticker.deadline();
        let prices = self.demo.as_ref().and_then(Demo::next);
        let deadlines = [self.timers.next(), acceptor, drain, sweep, figures, prices];
        Some(self.shared.until(deadlines.into_iter().flatten().min()?))
    }
}

/// Takes what is in the mailbox and appends it to the logs, encoded once a form.
pub(super) fn apply(
    mailbox: &Mailbox,
    taken: &mut Vec<Arc<Publication>>,
    renderer: &mut Renderer,
    hub: &mut Hub,
) {
    mailbox.take_publications(taken);
    for publication in taken.drain(..) {
        hub.append(publication.channel.as_str(), |form, out| renderer.publication(&publication, form, out));
    }
}
