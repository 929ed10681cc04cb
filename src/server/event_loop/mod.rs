//! One event loop: the order of a turn, and the connections, logs and timers that belong to it.
//!
//! What a peer's bytes mean is in `reading`, what goes out in `writing`.

pub mod acceptor;
pub mod drain;
pub mod echo;
pub mod eviction;
pub mod flush;
pub mod measure;
pub mod read_queue;
pub mod reading;
pub mod shutdown;
pub mod subscribing;
pub mod timers;

use std::collections::VecDeque;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use mio::event::Event;
use mio::net::TcpStream;
use mio::{Events, Interest, Poll, Token};

use crate::http::{Error, Limits, RequestReader};
use crate::hub::{Hub, Publication};
use crate::server::api::routes::Door;
use crate::server::broker::Broker;
use crate::server::broker::mailbox::{FIRST_LOOP, Mailbox};
use crate::server::clock::{self, Millis};
use crate::server::connection::lag::LagRules;
use crate::server::connection::spares::Spares;
#[cfg(target_os = "linux")]
use crate::server::connection::stream;
use crate::server::connection::table::{Key, Table, special_token};
use crate::server::connection::timeouts::{Due, Stage, Timeouts};
use crate::server::connection::{Connection, Phase};
use crate::server::demo::Demo;
use crate::server::encoder::Encoder;
use crate::server::event_loop::acceptor::Acceptor;
use crate::server::event_loop::drain::Drain;
use crate::server::event_loop::read_queue::ReadQueue;
use crate::server::metrics::counters::{Counters, Transport};
use crate::server::metrics::dashboard::Ticker;
use crate::server::metrics::refusals::Reason;
use crate::server::shared::Shared;
use crate::ws::CloseCode;

/// The waker's token.
pub const WAKER: Token = special_token(0);

/// Events taken from the system at once; if there are more, they are taken before the turn goes on.
const EVENTS_PER_POLL_MAX: usize = 1024;

/// One read's buffer, shared by all connections of a loop. 128 KiB holds a message of 64 KiB with its header and the end
/// of the one before it, and stays in the second-level cache.
pub(super) const READ_BUFFER_LEN: usize = 128 * 1024;

/// What a turn appends to the logs is a fourth of `--max-lag`: a burst goes out in slices, and a subscriber that reads
/// between them is never far behind.
const SLICES_PER_LAG: u64 = 4;

/// A slice is at least this long, one read's worth: what every socket takes at once needs no further cutting.
const SLICE_MIN: u64 = READ_BUFFER_LEN as u64;

/// Connections of the metrics listener at once; they are not among those that `--max-connections` counts, so that a
/// full server can still be asked. Some scrapers and probes, and those of them that have not closed yet.
pub const OPERATORS_MAX: usize = 32;

/// While another loop is behind with its mailbox, waiting publishers are looked at again after this long.
const CONGESTION_PAUSE: Duration = Duration::from_millis(1);

/// The least time between two looks for what the broker should forget: what is due within a second is forgotten
/// together. A second is nothing against the minutes for which things are kept.
const SWEEP_MS: u64 = 1000;

/// An event loop. Nothing in it is shared but [`Shared`].
#[derive(Debug)]
pub struct EventLoop {
    pub(super) index: usize,
    pub(super) shared: Arc<Shared>,
    pub(super) poll: Poll,
    pub(super) acceptor: Option<Acceptor>,
    pub(super) connections: Table<Connection>,
    pub(super) hub: Hub,
    pub(super) timers: crate::server::event_loop::timers::Timers,
    pub(super) timeouts: Timeouts,
    pub(super) lag_rules: LagRules,
    pub(super) read_buffer: Vec<u8>,
    pub(super) spares: Spares,
    /// Those that are to be read.
    pub(super) reads: ReadQueue,
    /// To be flushed in this turn, besides the subscribers of dirty logs.
    pub(super) touched: Vec<Key>,
    /// To be dropped at the end of this turn.
    pub(super) doomed: Vec<Key>,
    pub(super) drain: Option<Drain>,
    /// The demo's prices, on the first loop of a server that has them.
    pub(super) demo: Option<Demo>,
    /// Bytes that are held for single connections.
    pub(super) private_len: usize,
    /// Bytes read in this turn, and inflated from them.
    pub(super) read_len: usize,
    /// The same of the connection that is being read.
    pub(super) taken_len: usize,
    /// From when on to look for what the broker should forget, if something is due; one loop does.
    pub(super) sweep_at: Millis,
    /// From when on to look for those that hold most, if memory is short.
    pub(super) relief_at: Millis,
    /// Whether memory was short at the end of the last turn, and that look was put off.
    pub(super) is_relief_due: bool,
    pub(super) counters: Counters,
    /// Connections that came in at the metrics listener.
    pub(super) operators_len: usize,
    pub(super) ticker: Ticker,
    /// Whether somebody subscribed to the figures in this turn.
    pub(super) has_new_watcher: bool,
    /// When this turn's waiting was over, since the server's start.
    pub(super) turn_began: Duration,
    pub(super) now: Millis,
    pub(super) encoder: Encoder,
    /// Room for what is taken from the mailbox; empty between uses.
    pub(super) taken: VecDeque<Arc<Publication>>,
}

impl EventLoop {
    /// A loop with nothing in it.
    pub fn new(index: usize, shared: Arc<Shared>, poll: Poll, acceptor: Option<Acceptor>) -> Self {
        let timeouts = Timeouts::new(&shared.config);
        let lag_rules = LagRules::new(&shared.config);
        let encoder = Encoder::new(&shared.config);
        Self {
            index,
            shared,
            poll,
            acceptor,
            connections: Table::default(),
            hub: Hub::default(),
            timers: Default::default(),
            timeouts,
            lag_rules,
            read_buffer: vec![0; READ_BUFFER_LEN],
            spares: Spares::default(),
            reads: ReadQueue::default(),
            touched: Vec::new(),
            doomed: Vec::new(),
            drain: None,
            demo: None,
            private_len: 0,
            read_len: 0,
            taken_len: 0,
            sweep_at: Millis::default(),
            relief_at: Millis::default(),
            is_relief_due: false,
            counters: Counters::default(),
            operators_len: 0,
            ticker: Ticker::default(),
            has_new_watcher: false,
            turn_began: Duration::ZERO,
            now: Millis::default(),
            encoder,
            taken: VecDeque::new(),
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
        let mut events = Events::with_capacity(EVENTS_PER_POLL_MAX);
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
        self.sort_all(events);
        // Whoever is not known of by now would look silent, and come after those that were read before.
        for _ in 0..=self.connections.len() / EVENTS_PER_POLL_MAX {
            if events.iter().count() < EVENTS_PER_POLL_MAX
                || self.poll.poll(events, Some(Duration::ZERO)).is_err()
            {
                break;
            }
            self.sort_all(events);
        }
        Ok(())
    }

    fn sort_all(&mut self, events: &Events) {
        for event in events.iter() {
            self.sort(event);
        }
    }

    fn sort(&mut self, event: &Event) {
        let key = Key::from_u64(event.token().0 as u64);
        if let Some(connection) = self.connections.get_mut(key) {
            if event.is_writable() {
                connection.is_writable = true;
                self.touched.push(key);
            }
            let is_end = event.is_read_closed() || event.is_error();
            if event.is_readable() || is_end {
                self.note_readable(key, is_end);
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
            self.counters.accepted += (accepted.sockets.len() + accepted.operators.len()) as u64;
            self.counters.bytes_sent += accepted.refused_len as u64;
            if accepted.refused > 0 || accepted.out_of_descriptors {
                let (kind, reason) = if accepted.out_of_descriptors {
                    (Reason::Descriptors, "no descriptors left")
                } else if self.shared.is_over_memory() {
                    (Reason::Memory, "--max-memory is reached")
                } else {
                    (Reason::NoRoom, "--max-connections reached")
                };
                self.shared.note_several(kind, accepted.refused, self.now, &reason);
            }
            for socket in accepted.sockets {
                match self.shared.assign() {
                    index if index == self.index => self.take_in(socket, Door::Public),
                    index => self.shared.broker.mailbox(index).hand_over(socket),
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
        #[cfg(target_os = "linux")]
        stream::bound_unsent(&socket, stream::UNSENT_MAX);
        let now = self.now;
        let reader = RequestReader::new(Limits::default());
        let key = self.connections.insert(|_| Connection::new(socket, reader, now, door));
        self.counters.connections[Transport::Http as usize] += 1;
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

    /// Appends a slice of what was published, here or on other loops, to the logs. The next turn takes the next without
    /// waiting, after sockets have told that they have room again.
    fn apply(&mut self) {
        self.apply_up_to((self.lag_rules.lag_max / SLICES_PER_LAG).max(SLICE_MIN) as usize);
        for answer in self.mailbox().take_answers() {
            self.answer_publisher(answer);
        }
    }

    /// Appends all that was published so far.
    pub(super) fn apply_all(&mut self) {
        self.apply_up_to(usize::MAX);
    }

    fn apply_up_to(&mut self, len_max: usize) {
        let mailbox = self.shared.broker.mailbox(self.index);
        apply(mailbox, len_max, &mut self.taken, &mut self.encoder, &mut self.hub);
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
            if connection.lateness.deadline(&self.lag_rules) <= self.now {
                // The flush judges it once more.
                self.touched.push(key);
            }
            match connection.liveness.due(self.now, &self.timeouts) {
                // Once it has been read, it is looked at again.
                Some(due) if connection.is_excused(due) => {}
                Some(due) => self.expire_connection(key, due),
                None => self.schedule(key),
            }
        }
        self.sweep();
        if let Some(demo) = &mut self.demo {
            let Shared { demo_call, broker, .. } = &*self.shared;
            self.counters.publishes += demo.publish_due(demo_call, broker, self.now, clock::unix_ms());
        }
        self.expire_figures();
        self.expire_drain();
    }

    /// Forgets channels and publications whose time is over.
    fn sweep(&mut self) {
        if self.next_sweep().is_none_or(|at| at > self.now) {
            return;
        }
        self.broker().sweep(self.now);
        // What was too much for one turn is for the next ones.
        let is_more_due = self.broker().due_at().is_some_and(|at| at <= self.now);
        self.sweep_at = if is_more_due { self.now } else { Millis(self.now.0 + SWEEP_MS) };
    }

    fn next_sweep(&self) -> Option<Millis> {
        let due_at = self.broker().due_at().filter(|_| self.index == FIRST_LOOP)?;
        Some(due_at.max(self.sweep_at))
    }

    fn expire_connection(&mut self, key: Key, due: Due) {
        let Some(connection) = self.connections.get_mut(key) else { return };
        match (due, &mut connection.phase) {
            (Due::RequestTimeout, Phase::Http(http)) if !http.reader.is_idle() || http.awaited.is_some() => {
                self.refuse_request(key, &Error::RequestTimeout);
            }
            (Due::Answer, Phase::Http(_)) => self.answer_poll(key),
            (Due::Ping, Phase::EventStream(_)) => {
                connection.say_alive(self.timeouts.idle_ms());
                connection.liveness.enter(Stage::Open, self.now);
            }
            (Due::Notice, Phase::WebSocket(_)) => {
                connection.say_alive(self.timeouts.idle_ms());
                connection.liveness.told(self.now, &self.timeouts);
            }
            (Due::Ping, Phase::WebSocket(_)) => connection.ping(self.now, &self.timeouts),
            (Due::CloseSilent, Phase::WebSocket(_)) => {
                self.shared.note(Reason::Silent, self.now, &"no answer to a ping");
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
                self.counters.connections[connection.counted_as as usize] -= 1;
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
        let mut deadline = connection.liveness.deadline(&self.timeouts);
        let grace_end = connection.lateness.deadline(&self.lag_rules);
        // One that is over has been seen, and the flush of this turn is going to judge it.
        if grace_end > self.now {
            deadline = deadline.min(grace_end);
        }
        if deadline < connection.timer_at {
            connection.timer_at = deadline;
            self.timers.push(deadline, key);
        }
    }

    pub(super) fn mailbox(&self) -> &Mailbox {
        self.shared.broker.mailbox(self.index)
    }

    pub(super) fn broker(&self) -> &Broker {
        &self.shared.broker
    }

    fn timeout(&self) -> Option<Duration> {
        if self.reads.has_queued()
            || self.reads.has_parked() && !self.broker().is_congested()
            || self.acceptor.as_ref().is_some_and(Acceptor::has_more)
            || self.shared.stop().is_leaving() && self.drain.is_none()
            || self.demo.is_some() && self.shared.demo_call.is_made()
            || self.is_to_watch()
        {
            return Some(Duration::ZERO);
        }
        let acceptor = self.acceptor.as_ref().and_then(Acceptor::deadline);
        let drain = self.drain.as_ref().map(Drain::deadline);
        let sweep = self.next_sweep();
        let relief = self.is_relief_due.then_some(self.relief_at);
        let figures = self.ticker.deadline();
        let prices = self.demo.as_ref().and_then(Demo::next);
        let lame_duck = self.shared.drain_at();
        let deadlines = [self.timers.next(), acceptor, drain, lame_duck, sweep, relief, figures, prices];
        let until = deadlines.into_iter().flatten().min().map(|then| self.shared.until(then));
        let pause = self.reads.has_parked().then_some(CONGESTION_PAUSE);
        until.into_iter().chain(pause).min()
    }
}

/// Takes about `len_max` bytes out of the mailbox and appends them to the logs, encoded once a form.
pub(super) fn apply(
    mailbox: &Mailbox,
    len_max: usize,
    taken: &mut VecDeque<Arc<Publication>>,
    encoder: &mut Encoder,
    hub: &mut Hub,
) {
    mailbox.take_publications(len_max, taken);
    for publication in taken.drain(..) {
        hub.append(publication.channel.as_str(), |form, out| encoder.publication(&publication, form, out));
    }
}
