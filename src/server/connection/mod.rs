//! One connection: its life as one enum, and every transition of it.
//!
//! What a peer's bytes mean is in the file of each role; how bytes are sent is in `sending`. The table of connections is
//! the event loop's.

mod acting;
mod admission;
mod aside;
mod attending;
mod auditing;
pub mod audits;
mod authorizing;
mod awaiting;
mod batching;
mod calling;
mod carried;
mod carrier;
mod client;
pub mod clients;
mod consulting;
pub mod context;
mod due;
mod event_stream;
mod grants;
mod http;
mod joining;
mod judging;
pub mod lag;
mod late;
mod life;
mod live;
mod long_poll;
mod many_poll;
mod many_stream;
mod multiplex;
mod obeying;
pub mod outbox;
mod over_http;
mod over_tls;
mod pacing;
mod pipe;
mod places;
mod preparing;
mod programs;
mod progress;
mod pusher;
pub mod reading;
pub mod replay;
mod reporting;
mod sending;
pub mod spares;
mod standing;
pub mod stream;
mod subscriptions;
pub mod table;
mod tenure;
pub mod throttle;
pub mod timeouts;
pub mod tls;
mod watching;
mod websocket;
mod writing;

use std::sync::Arc;

use context::Context;
use lag::Lateness;
use life::{After, Awaits, Carrier, EventStream, Http, Life, LongPoll, Messages, WebSocket};
use outbox::Outbox;
use places::Places;
use stream::Stream;
use subscriptions::Subscriptions;
use timeouts::{Deadlines, Stage};
use tls::TlsLayer;

use crate::hub::{Hub, LogId, Subscription};
use crate::server::access::Identity;
use crate::server::api::routes::Door;
use crate::server::clock::Millis;
use crate::server::handlers::message::ClosedBy;
use crate::server::limits::Seat;
use crate::server::metrics::counters::{Counters, Transport};
use crate::ws::CloseCode;

/// A socket and its state.
///
/// The methods of a role are in the role's file. They reach this connection and a [`Context`], nothing else, and return
/// what the event loop is to do.
#[derive(Debug)]
pub struct Connection {
    pub stream: Stream,
    life: Life,
    /// Who the client is, by what its newest request carried. `None`: nobody in particular.
    pub identity: Option<Arc<Identity>>,
    outbox: Outbox,
    subscriptions: Subscriptions,
    /// Since when it lags by more than its policy allows.
    lateness: Lateness,
    deadlines: Deadlines,
    /// The deadline of its live entry in the loop's queue; never later than its own deadline.
    pub timer_at: Millis,
    /// The private bytes that the loop's sum includes for it. More than 4 GiB, possible with a `--max-message` of that
    /// size, count as 4 GiB.
    pub counted_len: u32,
    /// The transport under which it is counted.
    pub counted_as: Transport,
    /// Whether it has unread input, and what that waits for.
    pub input: Input,
    /// Which listener accepted it.
    pub door: Door,
    /// What it holds under the limit of its client's address.
    seat: Option<Seat>,
    /// The number of subscribers of the publication that its last bytes contained, 1 if that is not known yet; 0 if they contained
    /// none. Capped at 65,535, far above where a publisher's share is smallest.
    audience: u16,
    /// The number of bytes that were read and ignored.
    discarded: u32,
}

/// The state of a connection's input.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Input {
    /// Everything is read. An edge announces the next bytes.
    Drained,
    /// The connection is in the queue to be read.
    Queued,
    /// The connection publishes, and waits until no loop's mailbox is congested.
    Parked,
    /// The connection is not read until its peer has taken its answers, or its long poll is answered.
    Held,
    /// The connection has sent more than its pace allows, and is not read until it may go on.
    Throttled,
}

/// What the event loop is to do after it has called a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum Next {
    /// Nothing until the next event or deadline.
    Wait,
    /// Queue it to be read.
    Read,
    /// It has taken what its session gave it: the session may write again.
    Carry,
    /// Drop it at the end of the turn.
    Drop,
}

impl Connection {
    /// A connection that has just been accepted. Nothing has been read.
    pub fn new(stream: Stream, now: Millis, door: Door) -> Self {
        Self {
            stream,
            life: Life::Http(Box::new(Http::new())),
            identity: None,
            outbox: Outbox::default(),
            subscriptions: Subscriptions::None,
            lateness: Lateness::default(),
            deadlines: Deadlines::new(now),
            timer_at: Millis(u64::MAX),
            counted_len: 0,
            counted_as: Transport::Http,
            input: Input::Drained,
            door,
            seat: None,
            audience: 0,
            discarded: 0,
        }
    }

    /// The transport that it is used for. A connection that is ending keeps its last one.
    pub fn transport(&self) -> Transport {
        match &self.life {
            Life::Http(_) => Transport::Http,
            Life::LongPoll(_) => Transport::LongPoll,
            Life::WebSocket(WebSocket { messages: Messages::Pusher, .. }) => Transport::Pusher,
            Life::WebSocket(_) => Transport::WebSocket,
            Life::EventStream(_) => Transport::Sse,
            Life::Carried(_) => Transport::PusherHttp,
            Life::Carrier(_) => Transport::Http,
            Life::Finishing | Life::Lingering => self.counted_as,
        }
    }

    /// What the peer is expected to do next.
    fn stage(&self) -> Stage {
        match &self.life {
            Life::Http(http) => http.stage(),
            Life::LongPoll(poll) => poll.stage(),
            // An answer to the Close frame is expected only after the peer has taken the bytes ahead of that frame.
            Life::WebSocket(websocket) => match websocket.stage() {
                Stage::Closing if self.unsent_len() > 0 => Stage::Finishing,
                stage => stage,
            },
            Life::EventStream(stream) => stream.stage(),
            Life::Carried(session) => session.stage(),
            Life::Carrier(_) if self.unsent_len() == 0 => Stage::Carrying,
            Life::Carrier(_) | Life::Finishing => Stage::Finishing,
            Life::Lingering => Stage::Lingering,
        }
    }

    /// The bytes of memory held for this connection alone: requests, messages and private bytes under way, in both
    /// directions.
    pub fn private_len(&self) -> usize {
        let inbound = match &self.life {
            Life::Http(http) => http.held_len(),
            Life::LongPoll(poll) => poll.held_len(),
            Life::WebSocket(websocket) => websocket.held_len(),
            Life::Carried(session) => session.held_len(),
            Life::Carrier(carrier) => carrier.held_len(),
            Life::EventStream(stream) => stream.held_len(),
            Life::Finishing | Life::Lingering => 0,
        };
        let tls = self.stream.tls().map_or(0, TlsLayer::held_len);
        inbound + self.outbox.held_len() + self.subscriptions.held_len() + tls
    }

    /// Updates the loop's counts: the bytes that it holds and its transport.
    pub fn recount(&mut self, counters: &mut Counters) {
        let held_len = u32::try_from(self.private_len()).unwrap_or(u32::MAX);
        counters.private_bytes = counters.private_bytes - u64::from(self.counted_len) + u64::from(held_len);
        self.counted_len = held_len;
        let transport = self.transport();
        if transport != self.counted_as {
            counters.note_transport(self.counted_as, transport, self.stream.tls().is_some());
            self.counted_as = transport;
        }
    }

    /// Includes a connection of another loop in the counts of this one.
    pub fn count_anew(&mut self, counters: &mut Counters) {
        counters.add_connection(self.stream.tls().is_some());
        (self.counted_len, self.counted_as) = (0, Transport::Http);
        self.timer_at = Millis(u64::MAX);
        self.recount(counters);
    }

    /// Removes it from the loop's counts.
    pub fn uncount(&self, counters: &mut Counters) {
        counters.private_bytes -= u64::from(self.counted_len);
        counters.remove_connection(self.counted_as, self.stream.tls().is_some());
    }

    /// The log of one of its subscriptions has something new, and `hint` is the hub's for that subscription. For a connection with several, which is flushed once per turn
    /// and not once per log: whether it has to be queued for that. True at most once until [`Connection::flush`]. `None`
    /// for other connections.
    pub fn note_unread(&mut self, subscription: Subscription, hint: u32, hub: &mut Hub) -> Option<bool> {
        match &mut self.subscriptions {
            Subscriptions::None | Subscriptions::One(_) => None,
            Subscriptions::Several(several) => {
                several.note_unread(subscription, hint, hub);
                Some(!std::mem::replace(&mut several.is_queued, true))
            }
        }
    }

    /// Whether the list of several subscriptions has all that have unread bytes. O(subscriptions), for debug builds.
    pub fn is_sound(&self, hub: &Hub) -> bool {
        match &self.subscriptions {
            Subscriptions::None | Subscriptions::One(_) => true,
            Subscriptions::Several(several) => several.is_sound(hub),
        }
    }

    /// The logs that it reads, and its lag in each. Empty if its socket has room, since it is about to be flushed then.
    pub fn lags<'a>(&'a self, cx: &'a Context) -> impl Iterator<Item = (LogId, u64)> + 'a {
        let entries = (!self.stream.is_writable()).then(|| self.subscriptions.listed()).into_iter().flatten();
        entries.map(|entry| (cx.hub.log(entry.subscription), cx.hub.lag(entry.subscription)))
    }

    /// The number of unsent private bytes. Bytes of logs that were sealed are private from then on.
    pub fn unsent_len(&self) -> usize {
        self.outbox.unsent().len() + self.stream.sealed_len()
    }
}

/// Transitions. `life` is changed here and nowhere else.
impl Connection {
    fn enter(&mut self, life: Life, now: Millis) {
        self.life = life;
        self.deadlines.restart(now);
    }

    /// A WebSocket handshake was accepted.
    fn become_websocket(&mut self, mut websocket: WebSocket, now: Millis) {
        websocket.set_tenure(self.take_tenure());
        self.enter(Life::WebSocket(websocket), now);
    }

    /// The head of an event stream is in the outbox. `places` if it is one of several channels.
    fn become_event_stream(
        &mut self,
        is_leaving: bool,
        is_envelope: bool,
        places: Option<Box<Places>>,
        now: Millis,
    ) {
        let (awaits, tenure) = (Awaits::Nothing, self.take_tenure());
        let stream = EventStream { awaits, is_leaving, is_envelope, places, tenure, late: None };
        self.enter(Life::EventStream(stream), now);
    }

    /// A long poll begins to wait. `make` gets the HTTP connection, which continues after the answer.
    fn wait_for_publication(&mut self, make: impl FnOnce(Box<Http>) -> LongPoll, now: Millis) {
        match std::mem::replace(&mut self.life, Life::Lingering) {
            Life::Http(http) => self.enter(Life::LongPoll(Box::new(make(http))), now),
            life => self.life = life,
        }
    }

    /// Ends the wait of a long poll: the connection is an HTTP connection again. Returns what follows the answer.
    fn end_wait(&mut self, now: Millis) -> Option<After> {
        match std::mem::replace(&mut self.life, Life::Lingering) {
            Life::LongPoll(poll) => {
                let (http, after) = poll.into_parts();
                self.enter(Life::Http(http), now);
                Some(after)
            }
            life => {
                self.life = life;
                None
            }
        }
    }

    /// A request carries a session from now on. `make` gets the HTTP connection, which continues after a poll.
    fn become_carrier(&mut self, make: impl FnOnce(Box<Http>) -> Carrier, now: Millis) {
        match std::mem::replace(&mut self.life, Life::Lingering) {
            Life::Http(http) => self.enter(Life::Carrier(Box::new(make(http))), now),
            life => self.life = life,
        }
    }

    /// A poll that carried a session is to be answered: the connection is an HTTP connection again. Returns what follows the
    /// answer.
    fn end_carrying(&mut self, now: Millis) -> Option<After> {
        match std::mem::replace(&mut self.life, Life::Lingering) {
            Life::Carrier(carrier) => {
                let Carrier { http, after, .. } = *carrier;
                self.enter(Life::Http(http), now);
                Some(after)
            }
            life => {
                self.life = life;
                None
            }
        }
    }

    /// Ends the connection after the outbox is sent: TCP is closed from our side (RFC 6455 §7.1.1: the server first).
    /// Subscriptions end now.
    fn finish(&mut self, cx: &mut Context) {
        self.lose_actor(cx);
        self.leave_channels(cx);
        if self.stream.is_handshaking() {
            // There are no keys to send it with.
            self.outbox = Outbox::default();
        }
        if !matches!(self.life, Life::Finishing | Life::Lingering) {
            self.enter(Life::Finishing, cx.now);
        }
    }

    /// The outbox is sent and our half is closed. The peer has `--close-timeout` to close its own.
    fn linger(&mut self, now: Millis) {
        self.enter(Life::Lingering, now);
    }

    /// Drops the connection with its unsent bytes, without a Close frame.
    pub fn cut(&mut self, cx: &mut Context) -> Next {
        self.lose_actor(cx);
        self.leave_channels(cx);
        // A session is still known by its name, so that the loop forgets it and ends its request.
        if !matches!(self.life, Life::Carried(_)) {
            self.linger(cx.now);
        }
        self.outbox = Outbox::default();
        Next::Drop
    }
}

/// Ends.
impl Connection {
    /// Ends every subscription. The rest of a started frame is still sent, the other unsent bytes of the logs are not. A
    /// request that carries a session does so no more.
    pub fn leave_channels(&mut self, cx: &mut Context) {
        self.release_session(cx);
        self.forget_late();
        self.keep_started(cx);
        for entry in std::mem::take(&mut self.subscriptions).into_entries() {
            self.end_subscription(entry.subscription, cx);
        }
        self.sign_out(cx);
        self.lateness.clear();
    }

    /// Takes one subscription from the connection, which the caller then ends. The rest of a started frame is still sent,
    /// its other unsent bytes are not. False if this connection does not have the subscription.
    fn detach(&mut self, subscription: Subscription, cx: &mut Context) -> bool {
        // A started frame of another channel stays where it is.
        if !cx.hub.started(subscription).is_empty() {
            self.keep_started(cx);
        }
        self.subscriptions.remove(subscription, &mut cx.hub).is_some()
    }

    /// Closes a WebSocket with a Close frame, unless one was sent before, or an event stream with its last chunk.
    pub fn close(&mut self, code: CloseCode, reason: &str, cx: &mut Context) {
        self.tell_last_places(cx);
        self.end_actor(Some(code), reason, ClosedBy::Server, cx);
        self.leave_channels(cx);
        let code = self.pusher_code(code);
        match &mut self.life {
            Life::WebSocket(_) => self.close_websocket(code, reason, cx),
            Life::EventStream(_) => self.end_stream(reason, cx),
            Life::Carried(_) => self.close_session(code, reason),
            Life::Http(_) | Life::LongPoll(_) | Life::Carrier(_) | Life::Finishing | Life::Lingering => {}
        }
    }

    /// Ends the connection because memory is short.
    pub fn end_for_memory(&mut self, cx: &mut Context) {
        const OUT_OF_MEMORY: &str =
            "the server is out of memory (--max-memory), and you held most; reconnect in a moment";
        if matches!(self.life, Life::LongPoll(_)) {
            self.abandon_poll(cx);
        }
        match self.life {
            Life::Http(_) => self.refuse_for_memory(cx),
            Life::Carrier(_) => self.finish(cx),
            Life::LongPoll(_)
            | Life::WebSocket(_)
            | Life::EventStream(_)
            | Life::Carried(_)
            | Life::Finishing
            | Life::Lingering => self.close(CloseCode::TRY_AGAIN_LATER, OUT_OF_MEMORY, cx),
        }
    }

    /// The server stops: a subscriber is closed once its unsent bytes are sent, and a request under way is answered.
    pub fn say_goodbye(&mut self, cx: &mut Context) -> Next {
        self.tell_stopping(cx);
        if matches!(self.life, Life::Http(_)) && self.join_question().is_some() {
            return self.miss_channels(cx);
        }
        match &mut self.life {
            // The flush of this turn checks whether it has unsent bytes.
            Life::WebSocket(WebSocket { is_leaving, .. })
            | Life::EventStream(EventStream { is_leaving, .. }) => {
                *is_leaving = true;
            }
            Life::Carried(session) => session.is_leaving = true,
            Life::LongPoll(_) => {
                self.answer_poll(cx);
                return Next::Read;
            }
            Life::Http(http) if !http.is_under_way() => self.finish(cx),
            // What it carries is the session's to say.
            Life::Carrier(_) => {}
            Life::Http(_) | Life::Finishing | Life::Lingering => {}
        }
        Next::Wait
    }

    /// Whether it is closed once its unsent bytes are sent.
    fn is_leaving(&self) -> bool {
        match self.life {
            Life::WebSocket(WebSocket { is_leaving, .. })
            | Life::EventStream(EventStream { is_leaving, .. }) => is_leaving,
            Life::Carried(ref session) => session.is_leaving && !session.is_closing,
            Life::Http(_) | Life::LongPoll(_) | Life::Carrier(_) | Life::Finishing | Life::Lingering => false,
        }
    }
}

#[cfg(test)]
#[path = "connection_tests.rs"]
mod tests;

#[cfg(test)]
#[path = "several_tests.rs"]
mod several_tests;

#[cfg(test)]
#[path = "interrupted_tests.rs"]
mod interrupted_tests;
