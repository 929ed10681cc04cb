//! One connection: its phase, what it owes its peer, and what happens when it falls behind.
//!
//! What its bytes mean is decided in `reading`; which connections there are, the loop knows.

pub mod lag;
pub mod outbox;
pub mod replay;
pub mod spares;
pub mod stream;
pub mod table;
pub mod timeouts;

use std::io;
use std::net::Shutdown;

use mio::net::TcpStream;

use crate::config::LagPolicy;
use crate::http::{self, RequestReader};
use crate::hub::{Hub, PublicationId, Subscription};
use crate::server::api::handlers::Intent;
use crate::server::clock::Millis;
use crate::server::connection::lag::{LagRules, Lateness};
use crate::server::connection::outbox::Outbox;
use crate::server::connection::replay::Replay;
use crate::server::connection::stream::Transmitted;
use crate::server::connection::timeouts::{Liveness, Stage, Timeouts};
use crate::server::encoder::{self, Encoder, Notice};
use crate::server::event_loop::read_queue::Input;
use crate::server::event_loop::subscribing::Joined;
use crate::server::metrics::counters::Transport;
use crate::ws::{CloseCode, Deflate, Protocol, State};

/// A socket and all that is known of it.
#[derive(Debug)]
pub struct Connection {
    pub socket: TcpStream,
    pub phase: Phase,
    pub outbox: Outbox,
    /// What it missed and is still to be sent, ahead of its log.
    pub replay: Option<Box<Replay>>,
    pub liveness: Liveness,
    /// When a timer is going to look here; never later than the deadline.
    pub timer_at: Millis,
    /// Whether the socket has room. Cleared by a write that did not fit, set by the edge that follows.
    pub is_writable: bool,
    /// Whether the last write did not fit: what the socket takes after it, the peer has made room for.
    pub is_refused: bool,
    /// Since when it is too far behind what it reads.
    pub lateness: Lateness,
    /// The private bytes that were last counted in the loop's sum.
    pub held: usize,
    /// Whether there is something to be read. There may be no further edge.
    pub input: Input,
    /// Whether the system has told that the peer closed its half, or all: behind the bytes that are unread comes the end.
    pub has_ended: bool,
    /// How many subscribers the publication had that its last bytes brought; 0 if they brought none.
    pub audience: u32,
    /// Bytes that came in after they had ceased to count.
    pub discarded: u32,
    /// What it is counted as in the loop's counters.
    pub counted_as: Transport,
    /// Where it came in.
    pub door: Door,
}

/// Which listener a connection came in at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Door {
    /// One of `--listen`.
    Public,
    /// That of `--metrics-listen`.
    Metrics,
}

/// The life of a connection, from top to bottom; at most one of `WebSocket` and `EventStream` comes between.
#[derive(Debug)]
pub enum Phase {
    /// Requests and their answers.
    Http(Box<HttpPhase>),
    /// Frames, until a Close frame has gone both ways or the peer broke the protocol.
    WebSocket(WebSocketPhase),
    /// Chunks of an answer without an end. What the peer still sends is ignored.
    EventStream(EventStreamPhase),
    /// The outbox is sent, then our half of TCP is closed.
    Finishing,
    /// Our half is closed; what the peer still sends is ignored until it closes its own.
    Lingering,
}

/// An HTTP connection.
#[derive(Debug)]
pub struct HttpPhase {
    pub reader: RequestReader,
    /// What the answer to the present request waits for.
    pub awaited: Option<Awaited>,
    /// The origin whose pages may read the answer.
    pub allow_origin: Option<Box<str>>,
}

/// What an answer waits for.
#[derive(Debug)]
pub enum Awaited {
    /// The body of this publication.
    Body {
        /// The publication.
        intent: Intent,
        /// Whether another request may follow.
        keep_alive: bool,
    },
    /// A publication to be answered with: a long poll.
    Publication {
        /// Where it will be read.
        subscription: Subscription,
        /// The publication before it.
        since: PublicationId,
        /// Whether another request may follow.
        keep_alive: bool,
    },
}

/// An event stream.
#[derive(Debug)]
pub struct EventStreamPhase {
    /// What it reads; `None` once it is ending.
    pub subscription: Option<Subscription>,
    /// Whether it is ended as soon as it has been sent what it is owed: the server stops.
    pub is_leaving: bool,
}

/// A WebSocket connection.
#[derive(Debug)]
pub struct WebSocketPhase {
    pub protocol: Protocol,
    /// What was read and is still to be taken: how far it was is `protocol`'s to know. None once all is.
    pub rest: Option<Box<Rest>>,
    /// The compression that was agreed.
    pub deflate: Option<Deflate>,
    /// What it reads; `None` for the echo, and once it is closing.
    pub subscription: Option<Subscription>,
    /// Whether it gets a Close frame as soon as it has read what it is owed: the server stops.
    pub is_leaving: bool,
}

/// Bytes that were read and are still to be taken. In a box, so that a connection without any has one word for them.
#[derive(Debug)]
pub struct Rest(pub Box<[u8]>);

/// What a flush left to be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flushed {
    /// Nothing.
    Settled,
    /// The outbox is no longer high: read on.
    ReadOn,
    /// All is sent: say goodbye now.
    Leave,
    /// What the long poll waits for is there.
    Answer,
    /// The subscriber is too far behind.
    Lagged(Subscription),
}

impl Connection {
    /// A connection that has just been accepted and has not said anything.
    pub fn new(socket: TcpStream, reader: RequestReader, now: Millis, door: Door) -> Self {
        let phase = Phase::Http(Box::new(HttpPhase { reader, awaited: None, allow_origin: None }));
        let liveness = Liveness::new(now);
        let timer_at = Millis(u64::MAX);
        Self {
            socket,
            phase,
            outbox: Outbox::default(),
            replay: None,
            liveness,
            timer_at,
            is_writable: true,
            is_refused: false,
            lateness: Lateness::none(LagPolicy::Close),
            held: 0,
            input: Input::Drained,
            has_ended: false,
            audience: 0,
            discarded: 0,
            counted_as: Transport::Http,
            door,
        }
    }

    /// How it is used; one that is ending as before.
    pub fn transport(&self) -> Transport {
        match &self.phase {
            Phase::Http(http) => match http.awaited {
                Some(Awaited::Publication { .. }) => Transport::LongPoll,
                Some(Awaited::Body { .. }) | None => Transport::Http,
            },
            Phase::WebSocket(_) => Transport::WebSocket,
            Phase::EventStream(_) => Transport::Sse,
            Phase::Finishing | Phase::Lingering => self.counted_as,
        }
    }

    /// The room that is held for this connection alone: for what is under way in either direction.
    pub fn private_len(&self) -> usize {
        let inbound = match &self.phase {
            Phase::Http(http) => http.reader.held_len(),
            Phase::WebSocket(websocket) => {
                websocket.protocol.held_len() + websocket.rest.as_ref().map_or(0, |rest| rest.0.len())
            }
            Phase::EventStream(_) | Phase::Finishing | Phase::Lingering => 0,
        };
        inbound + self.outbox.held_len() + self.replay.as_ref().map_or(0, |replay| replay.held_len())
    }

    /// What the connection reads.
    pub fn subscription(&self) -> Option<Subscription> {
        match &self.phase {
            Phase::WebSocket(websocket) => websocket.subscription,
            Phase::EventStream(stream) => stream.subscription,
            Phase::Http(http) => match http.awaited {
                Some(Awaited::Publication { subscription, .. }) => Some(subscription),
                Some(Awaited::Body { .. }) | None => None,
            },
            Phase::Finishing | Phase::Lingering => None,
        }
    }

    /// Whether a request came while the one before it is still to be answered by a long poll.
    pub fn asks_ahead(&self) -> bool {
        match &self.phase {
            Phase::Http(http) => {
                matches!(http.awaited, Some(Awaited::Publication { .. })) && http.reader.buffered() > 0
            }
            Phase::WebSocket(_) | Phase::EventStream(_) | Phase::Finishing | Phase::Lingering => false,
        }
    }

    /// Whether something that was read is still to be taken.
    pub fn has_rest(&self) -> bool {
        matches!(&self.phase, Phase::WebSocket(websocket) if websocket.rest.is_some())
    }

    /// Whether it is read no further for now: it does not take its answers, or asks for more while a long poll waits.
    pub fn is_to_be_held(&self) -> bool {
        self.outbox.is_high() || self.asks_ahead()
    }

    /// The origin whose pages may read the answer to the present request. Taken: the next request says its own.
    pub fn allow_origin(&mut self) -> Option<Box<str>> {
        match &mut self.phase {
            Phase::Http(http) => http.allow_origin.take(),
            Phase::WebSocket(_) | Phase::EventStream(_) | Phase::Finishing | Phase::Lingering => None,
        }
    }

    /// Tells a subscriber where it begins, if it is to be told, and what it missed.
    pub fn begin(&mut self, joined: Joined) {
        if let Some(notice) = joined.notice {
            encoder::notice(notice, joined.subscription.form(), self.outbox.tail());
        }
        self.replay = Replay::new(joined.missed);
        self.lateness = Lateness::none(joined.policy);
        #[cfg(target_os = "linux")]
        if joined.policy == LagPolicy::Latest {
            stream::bound_unsent(&self.socket, stream::UNSENT_LATEST_MAX);
        }
    }

    /// Says that the server is there, as far as the form of its subscription has words for it. Who has not taken what
    /// came before needs no other.
    pub fn say_alive(&mut self, idle_ms: u64) {
        if let Some(subscription) = self.subscription()
            && self.outbox.is_empty()
        {
            encoder::notice(Notice::Alive { idle_ms }, subscription.form(), self.outbox.tail());
        }
    }

    /// Asks an open WebSocket whether its peer is there, and says in the same write that the server is.
    pub fn ping(&mut self, now: Millis, timeouts: &Timeouts) {
        self.say_alive(timeouts.idle_ms());
        self.liveness.told(now, timeouts);
        if let Phase::WebSocket(websocket) = &mut self.phase {
            websocket.protocol.ping(b"", self.outbox.tail());
            self.liveness.enter(Stage::Pinged, now);
        }
    }

    /// Ends the subscription: the rest of a started frame is kept, the rest of the log is not. The caller tells
    /// the broker.
    #[must_use]
    pub fn detach(&mut self, hub: &mut Hub) -> Option<Subscription> {
        let subscription = self.subscription()?;
        match &mut self.phase {
            Phase::WebSocket(websocket) => websocket.subscription = None,
            Phase::EventStream(stream) => stream.subscription = None,
            Phase::Http(http) => http.awaited = None,
            Phase::Finishing | Phase::Lingering => {}
        }
        self.replay = None;
        self.lateness.clear();
        self.take_started(subscription, hub);
        Some(subscription)
    }

    /// Says goodbye: a Close frame, unless one went out before, whose answer is awaited; or the end of the stream. Detach
    /// first.
    pub fn close(&mut self, code: CloseCode, reason: &str, now: Millis) {
        debug_assert!(self.subscription().is_none(), "nothing follows a goodbye");
        match &mut self.phase {
            Phase::WebSocket(websocket) if websocket.protocol.state() == State::Open => {
                websocket.protocol.close(code, reason, self.outbox.tail());
                self.liveness.enter(Stage::Closing, now);
            }
            Phase::EventStream(_) => {
                http::encode_comment(self.outbox.tail(), reason);
                self.outbox.tail().extend_from_slice(http::LAST_CHUNK);
                self.finish(now);
            }
            Phase::WebSocket(_) | Phase::Http(_) | Phase::Finishing | Phase::Lingering => {}
        }
    }

    /// Whether it gets a goodbye as soon as it has been sent what it is owed, from now on or not any more.
    pub fn set_leaving(&mut self, leaving: bool) {
        match &mut self.phase {
            Phase::WebSocket(WebSocketPhase { is_leaving, .. })
            | Phase::EventStream(EventStreamPhase { is_leaving, .. }) => *is_leaving = leaving,
            Phase::Http(_) | Phase::Finishing | Phase::Lingering => {}
        }
    }

    /// Sends what is owed, then closes TCP from our side (RFC 6455 §7.1.1: the server first). Detach first.
    pub fn finish(&mut self, now: Millis) {
        debug_assert!(self.subscription().is_none(), "nothing follows the end");
        self.phase = Phase::Finishing;
        self.liveness.enter(Stage::Lingering, now);
    }

    /// Writes what the socket takes, with one system call: the rest of a started frame, then the outbox, then the
    /// log. That call is a connection's write budget of a turn. Who came back and missed more than an outbox gets it
    /// outbox by outbox, as quickly as the socket takes it. What was written is added to `sent`.
    ///
    /// # Errors
    /// The connection is broken.
    pub fn flush(
        &mut self,
        hub: &mut Hub,
        encoder: &mut Encoder,
        rules: &LagRules,
        now: Millis,
        sent: &mut u64,
    ) -> io::Result<Flushed> {
        let subscription = self.subscription();
        if let (Phase::Http(_), Some(poll)) = (&self.phase, subscription)
            && hub.lag(poll) > 0
        {
            return Ok(Flushed::Answer);
        }
        if self.is_writable
            && let Some(subscription) = subscription
            && self.lateness.is_stale(now)
            && hub.unread_publications(subscription) > 1
        {
            return Ok(Flushed::Lagged(subscription));
        }
        let (was_refused, sent_before) = (self.is_refused, *sent);
        while self.is_writable {
            let is_whole = subscription.is_none_or(|subscription| self.prepare(subscription, hub, encoder));
            self.write_once(subscription.filter(|_| is_whole), hub, sent)?;
            if is_whole {
                break;
            }
        }
        if was_refused && *sent > sent_before {
            self.liveness.took(now, self.input == Input::Held);
        }
        if let Some(subscription) = subscription {
            if self.is_writable || hub.lag(subscription) == 0 {
                self.lateness.clear();
            } else if self.lateness.is_due(|bound| hub.is_lagged(subscription, bound), now, rules) {
                return Ok(Flushed::Lagged(subscription));
            }
        }
        self.after_flush(subscription, hub)
    }

    /// Fills the outbox with what comes before the log. False if there is more of it than an outbox takes.
    fn prepare(&mut self, subscription: Subscription, hub: &mut Hub, encoder: &mut Encoder) -> bool {
        if let Some(replay) = &mut self.replay {
            if !replay.refill(subscription.form(), encoder, &mut self.outbox) {
                return false;
            }
            self.replay = None;
        }
        let missed = hub.take_missed(subscription);
        if missed > 0 {
            encoder::notice(Notice::Lagged(missed), subscription.form(), self.outbox.tail());
        }
        true
    }

    /// What happens to a subscriber that is too far behind; who is moved is at most `lag_max` bytes behind then. True if
    /// it has to be closed.
    #[must_use]
    pub fn lagged(&mut self, subscription: Subscription, hub: &mut Hub, lag_max: u64) -> bool {
        self.take_started(subscription, hub);
        self.lateness.clear();
        match self.lateness.policy() {
            LagPolicy::Close => return true,
            LagPolicy::Skip => hub.skip_oldest(subscription, lag_max),
            LagPolicy::Latest => hub.skip_to_newest(subscription, lag_max),
        }
        false
    }

    fn write_once(
        &mut self,
        subscription: Option<Subscription>,
        hub: &mut Hub,
        sent: &mut u64,
    ) -> io::Result<()> {
        let started_len = subscription.map_or(0, |subscription| hub.started(subscription).len());
        let unread = subscription.map_or(&[][..], |subscription| hub.unread(subscription));
        let outbox_len = self.outbox.unsent().len();
        let runs = if outbox_len == 0 {
            [unread, &[], &[]]
        } else {
            let (started, rest) = unread.split_at(started_len);
            [started, self.outbox.unsent(), rest]
        };
        if outbox_len == 0 && unread.is_empty() {
            return Ok(());
        }
        let written = match stream::transmit(&self.socket, &runs)? {
            Transmitted::All(len) => {
                self.is_refused = false;
                len
            }
            Transmitted::Part(len) => {
                self.is_writable = false;
                self.is_refused = true;
                len
            }
        };
        *sent += written as u64;
        let from_outbox = written.saturating_sub(started_len).min(outbox_len);
        self.outbox.consume(from_outbox);
        if let Some(subscription) = subscription {
            hub.advance(subscription, written - from_outbox);
        }
        Ok(())
    }

    fn after_flush(&mut self, subscription: Option<Subscription>, hub: &Hub) -> io::Result<Flushed> {
        if self.is_leaving()
            && self.replay.is_none()
            && subscription.is_none_or(|subscription| hub.lag(subscription) == 0)
        {
            return Ok(Flushed::Leave);
        }
        if matches!(self.phase, Phase::Finishing) && self.outbox.is_empty() {
            self.phase = Phase::Lingering;
            return match self.socket.shutdown(Shutdown::Write) {
                Err(error) if error.kind() != io::ErrorKind::NotConnected => Err(error),
                // The peer may have closed its half already; no edge tells of that again.
                _ => Ok(Flushed::ReadOn),
            };
        }
        if self.input == Input::Held && !self.is_to_be_held() {
            return Ok(Flushed::ReadOn);
        }
        Ok(Flushed::Settled)
    }

    fn is_leaving(&self) -> bool {
        match self.phase {
            Phase::WebSocket(WebSocketPhase { is_leaving, .. })
            | Phase::EventStream(EventStreamPhase { is_leaving, .. }) => is_leaving,
            Phase::Http(_) | Phase::Finishing | Phase::Lingering => false,
        }
    }

    fn take_started(&mut self, subscription: Subscription, hub: &mut Hub) {
        let started = hub.started(subscription);
        if !started.is_empty() {
            let len = started.len();
            self.outbox.prepend(started);
            hub.advance(subscription, len);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::server::connection::outbox::OUTBOX_HIGH;

    #[test]
    fn a_connection_at_rest_is_small() {
        // 10,000 of them: the aim is 400 bytes each with everything else that they own.
        assert!(size_of::<Connection>() <= 216, "{}", size_of::<Connection>());
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
        let reader = RequestReader::new(http::Limits::default());
        (Connection::new(TcpStream::from_std(socket), reader, Millis(0), Door::Public), peer)
    }

    #[test]
    fn answers_to_a_peer_that_reads_slowly_but_steadily_take_no_more_room_the_longer_it_asks() {
        const ANSWER_LEN: usize = 200;
        const TOTAL: usize = 4 * 1024 * 1024;
        let (mut connection, mut peer) = narrow();
        let (mut hub, mut encoder) = (Hub::default(), Encoder::new(&crate::config::Config::default()));
        let rules = LagRules::new(&crate::config::Config::default());
        let (mut sent, mut taken, mut drained) = (0, vec![0; 4096], 0);
        for round in 0.. {
            while !connection.outbox.is_high() {
                connection.outbox.tail().extend_from_slice(&[round as u8; ANSWER_LEN]);
            }
            connection.is_writable = true;
            connection.flush(&mut hub, &mut encoder, &rules, Millis(0), &mut sent).unwrap();
            drained += usize::from(connection.outbox.is_empty());
            let held = connection.private_len();
            assert!(held >= connection.outbox.unsent().len());
            assert!(held <= 4 * OUTBOX_HIGH, "{held} bytes are held after {sent} were sent");
            if sent >= TOTAL as u64 {
                break;
            }
            // Nothing has come yet, or something.
            let _ = io::Read::read(&mut peer, &mut taken);
        }
        assert_eq!(drained, 0, "or this says nothing");
    }

    #[test]
    fn a_request_counts_with_the_room_it_takes() {
        let (mut connection, _peer) = narrow();
        let Phase::Http(http) = &mut connection.phase else { unreachable!("it has just been accepted") };
        http.reader.receive(b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 5000\r\n\r\n");
        assert!(matches!(http.reader.poll(), Ok(Some(http::Event::Head(_)))));
        http.reader.read_body(5000).unwrap();
        for _ in 0..3 {
            http.reader.receive(&[b'x'; 1500]);
            assert_eq!(http.reader.poll(), Ok(None));
        }
        assert_eq!(connection.private_len(), 6000, "twice the first piece, and twice that");
    }
}
