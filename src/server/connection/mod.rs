//! One connection: its life as one enum, and every transition of it.
//!
//! What a peer's bytes mean is in the file of each role; how bytes are sent is in `sending`. The table of connections is
//! the event loop's.

pub mod context;
mod event_stream;
mod http;
mod joining;
pub mod lag;
mod life;
mod long_poll;
pub mod outbox;
mod pusher;
pub mod reading;
pub mod replay;
mod sending;
pub mod spares;
pub mod stream;
mod subscriptions;
pub mod table;
pub mod timeouts;
mod websocket;

use context::Context;
use lag::Lateness;
use life::{Awaits, Ended, EventStream, Http, Life, LongPoll, Messages, WebSocket};
use outbox::Outbox;
use stream::Stream;
use subscriptions::Subscriptions;
use timeouts::{Deadlines, Due, Stage};

use crate::config::LagPolicy;
use crate::hub::{LogId, Subscription};
use crate::server::api::routes::Door;
use crate::server::clock::Millis;
use crate::server::metrics::counters::{Counters, Transport};
use crate::server::metrics::refusals::Reason;
use crate::ws::CloseCode;

/// A socket and its state.
///
/// The methods of a role are in the role's file. They reach this connection and a [`Context`], nothing else, and return
/// what the event loop is to do.
#[derive(Debug)]
pub struct Connection {
    pub stream: Stream,
    life: Life,
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
    /// The number of subscribers of the publication that its last bytes contained; 0 if they contained none. Capped at
    /// 65,535, far above where a publisher's share is smallest.
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
}

/// What the event loop is to do after it has called a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum Next {
    /// Nothing until the next event or deadline.
    Wait,
    /// Queue it to be read.
    Read,
    /// Drop it at the end of the turn.
    Drop,
}

impl Connection {
    /// A connection that has just been accepted. Nothing has been read.
    pub fn new(stream: Stream, now: Millis, door: Door) -> Self {
        Self {
            stream,
            life: Life::Http(Box::new(Http::new())),
            outbox: Outbox::default(),
            subscriptions: Subscriptions::None,
            lateness: Lateness::default(),
            deadlines: Deadlines::new(now),
            timer_at: Millis(u64::MAX),
            counted_len: 0,
            counted_as: Transport::Http,
            input: Input::Drained,
            door,
            audience: 0,
            discarded: 0,
        }
    }

    /// The transport that it is used for. A connection that is ending keeps its last one.
    pub fn transport(&self) -> Transport {
        match &self.life {
            Life::Http(_) => Transport::Http,
            Life::LongPoll(_) => Transport::LongPoll,
            Life::WebSocket(WebSocket { messages: Messages::Commands, .. }) => Transport::Pusher,
            Life::WebSocket(_) => Transport::WebSocket,
            Life::EventStream(_) => Transport::Sse,
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
                Stage::Closing if !self.outbox.is_empty() => Stage::Finishing,
                stage => stage,
            },
            Life::EventStream(stream) => stream.stage(),
            Life::Finishing => Stage::Finishing,
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
            Life::EventStream(_) | Life::Finishing | Life::Lingering => 0,
        };
        inbound + self.outbox.held_len() + self.subscriptions.held_len()
    }

    /// Updates the loop's counts: the bytes that it holds and its transport.
    pub fn recount(&mut self, counters: &mut Counters) {
        let held_len = u32::try_from(self.private_len()).unwrap_or(u32::MAX);
        counters.private_bytes = counters.private_bytes - u64::from(self.counted_len) + u64::from(held_len);
        self.counted_len = held_len;
        let transport = self.transport();
        if transport != self.counted_as {
            counters.note_transport(self.counted_as, transport);
            self.counted_as = transport;
        }
    }

    /// Removes it from the loop's counts.
    pub fn uncount(&self, counters: &mut Counters) {
        counters.private_bytes -= u64::from(self.counted_len);
        counters.remove_connection(self.counted_as);
    }

    /// For a connection with several subscriptions, which is flushed once per turn and not once per log: whether it has to
    /// be queued for that. True at most once until [`Connection::flush`]. `None` for other connections.
    pub fn is_to_be_queued(&mut self) -> Option<bool> {
        match &mut self.subscriptions {
            Subscriptions::None | Subscriptions::One(_) => None,
            Subscriptions::Several(several) => Some(!std::mem::replace(&mut several.is_queued, true)),
        }
    }

    /// The logs that it reads, and its lag in each. Empty if its socket has room, since it is about to be flushed then.
    pub fn lags<'a>(&'a self, cx: &'a Context) -> impl Iterator<Item = (LogId, u64)> + 'a {
        let entries = if self.stream.is_writable() { &[] } else { self.subscriptions.entries() };
        entries.iter().map(|entry| (cx.hub.log(entry.subscription), cx.hub.lag(entry.subscription)))
    }

    /// The number of unsent private bytes.
    pub fn unsent_len(&self) -> usize {
        self.outbox.unsent().len()
    }
}

/// Deadlines.
impl Connection {
    /// When it is due next if no event comes first.
    pub fn deadline(&self, cx: &Context) -> Millis {
        let deadline = self.deadlines.next(self.stage(), &cx.timeouts);
        let deadline = self.authorize_by().map_or(deadline, |at| at.min(deadline));
        let grace_end = self.grace_end(cx);
        // A grace that has ended is left to the flush of this turn.
        if grace_end > cx.now { deadline.min(grace_end) } else { deadline }
    }

    /// Whether its deadline cannot have come nearer in a flush: an open subscriber whose socket takes all that it is sent.
    pub fn is_steady(&self) -> bool {
        !self.stream.is_refused() && self.stage() == Stage::Open
    }

    /// Whether the grace of a lagging subscriber has ended, so that its flush has to apply the lag policy.
    pub fn is_grace_over(&self, cx: &Context) -> bool {
        self.grace_end(cx) <= cx.now
    }

    fn grace_end(&self, cx: &Context) -> Millis {
        let policy = match &self.subscriptions {
            Subscriptions::One(entry) => entry.policy,
            Subscriptions::None | Subscriptions::Several(_) => LagPolicy::Close,
        };
        self.lateness.deadline(policy, &cx.lag_rules)
    }

    /// Excludes the time from `since` until now, in which the peer was not read, from its deadlines.
    pub fn excuse(&mut self, since: Millis, now: Millis) {
        self.deadlines.excuse(self.stage(), since, now);
    }

    /// What is due now, if anything. Whether unread bytes or unused room excuse the peer, [`Connection::is_excused`] tells.
    pub fn due(&self, cx: &Context) -> Option<Due> {
        if self.authorize_by().is_some_and(|at| at <= cx.now) {
            return Some(Due::Unauthorized);
        }
        self.deadlines.due(self.stage(), cx.now, &cx.timeouts)
    }

    /// Whether the peer is excused from what is due, since it is not silent: it has sent bytes that are not read yet, or
    /// its socket has room again, which the flush of this turn is going to use.
    pub fn is_excused(&self, due: Due) -> bool {
        if self.stream.is_freed() && matches!(due, Due::Hangup | Due::CloseSilent | Due::Drop) {
            return true;
        }
        if self.awaits_delivery() {
            // The request was complete in time. The connection is read again after the answer.
            return due == Due::RequestTimeout;
        }
        self.is_to_be_read()
            && match due {
                Due::RequestTimeout | Due::Hangup | Due::CloseSilent => true,
                // On an event stream it is a comment, which expects no answer.
                Due::Ping => matches!(self.life, Life::WebSocket(_)),
                Due::Answer | Due::Notice | Due::Drop | Due::Unauthorized => false,
            }
    }

    /// Does what is due.
    pub fn expire(&mut self, due: Due, cx: &mut Context) -> Next {
        match (due, &mut self.life) {
            (Due::RequestTimeout, Life::Http(http)) if http.is_under_way() => self.refuse_late_request(cx),
            (Due::Answer, Life::LongPoll(_)) => {
                self.answer_poll(cx);
                return Next::Read;
            }
            // There is no asking: what the peer takes of the bytes that wait for it is its answer.
            (Due::Ping, Life::EventStream(stream)) if self.stream.is_refused() => {
                stream.awaits = Awaits::SignOfLife;
                self.deadlines.restart(cx.now);
            }
            (Due::Ping, Life::EventStream(_)) => {
                self.expect_acknowledgement(cx);
                self.say_alive(cx);
                self.deadlines.restart(cx.now);
            }
            (Due::CloseSilent, Life::EventStream(_)) => {
                cx.note(Reason::Silent, &"an event stream whose bytes were not taken");
                return Next::Drop;
            }
            (Due::Unauthorized, Life::WebSocket(_)) => self.close_unauthorized(cx),
            (Due::Notice, Life::WebSocket(_)) => {
                self.say_alive(cx);
                self.deadlines.told(cx.now, &cx.timeouts);
            }
            (Due::Ping, Life::WebSocket(_)) => self.ping(cx),
            (Due::CloseSilent, Life::WebSocket(_)) => self.close_silent(cx),
            // Its last deadline has passed, or the deadline is not one of this life.
            (
                Due::RequestTimeout
                | Due::Hangup
                | Due::Ping
                | Due::Notice
                | Due::Answer
                | Due::CloseSilent
                | Due::Unauthorized
                | Due::Drop,
                Life::Http(_)
                | Life::LongPoll(_)
                | Life::WebSocket(_)
                | Life::EventStream(_)
                | Life::Finishing
                | Life::Lingering,
            ) => return Next::Drop,
        }
        Next::Wait
    }
}

/// Transitions. `life` is changed here and nowhere else.
impl Connection {
    fn enter(&mut self, life: Life, now: Millis) {
        self.life = life;
        self.deadlines.restart(now);
    }

    /// A WebSocket handshake was accepted.
    fn become_websocket(&mut self, websocket: WebSocket, now: Millis) {
        self.enter(Life::WebSocket(websocket), now);
    }

    /// The head of an event stream is in the outbox.
    fn become_event_stream(&mut self, is_leaving: bool, now: Millis) {
        let awaits = Awaits::Nothing;
        self.enter(Life::EventStream(EventStream { awaits, is_leaving }), now);
    }

    /// A long poll begins to wait. `make` gets the HTTP connection, which continues after the answer.
    fn wait_for_publication(&mut self, make: impl FnOnce(Box<Http>) -> LongPoll, now: Millis) {
        match std::mem::replace(&mut self.life, Life::Lingering) {
            Life::Http(http) => self.enter(Life::LongPoll(Box::new(make(http))), now),
            life => self.life = life,
        }
    }

    /// Ends the wait of a long poll: the connection is an HTTP connection again. Returns what the answer needs.
    fn end_wait(&mut self, now: Millis) -> Option<Ended> {
        match std::mem::replace(&mut self.life, Life::Lingering) {
            Life::LongPoll(poll) => {
                let (http, ended) = poll.into_parts();
                self.enter(Life::Http(http), now);
                Some(ended)
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
        self.leave_channels(cx);
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
        self.leave_channels(cx);
        self.linger(cx.now);
        self.outbox = Outbox::default();
        Next::Drop
    }
}

/// Ends.
impl Connection {
    /// Ends every subscription. The rest of a started frame is still sent, the other unsent bytes of the logs are not.
    pub fn leave_channels(&mut self, cx: &mut Context) {
        self.keep_started(cx);
        while let Some(entry) = self.subscriptions.pop() {
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
        self.subscriptions.remove(subscription).is_some()
    }

    /// Closes a WebSocket with a Close frame, unless one was sent before, or an event stream with its last chunk.
    pub fn close(&mut self, code: CloseCode, reason: &str, cx: &mut Context) {
        self.leave_channels(cx);
        let code = self.pusher_code(code);
        match &mut self.life {
            Life::WebSocket(_) => self.close_websocket(code, reason, cx),
            Life::EventStream(_) => self.end_stream(reason, cx),
            Life::Http(_) | Life::LongPoll(_) | Life::Finishing | Life::Lingering => {}
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
            Life::LongPoll(_)
            | Life::WebSocket(_)
            | Life::EventStream(_)
            | Life::Finishing
            | Life::Lingering => self.close(CloseCode::TRY_AGAIN_LATER, OUT_OF_MEMORY, cx),
        }
    }

    /// The server stops: a subscriber is closed once its unsent bytes are sent, and a request under way is answered.
    pub fn say_goodbye(&mut self, cx: &mut Context) -> Next {
        match &mut self.life {
            // The flush of this turn checks whether it has unsent bytes.
            Life::WebSocket(WebSocket { is_leaving, .. })
            | Life::EventStream(EventStream { is_leaving, .. }) => {
                *is_leaving = true;
            }
            Life::LongPoll(_) => {
                self.answer_poll(cx);
                return Next::Read;
            }
            Life::Http(http) if !http.is_under_way() => self.finish(cx),
            Life::Http(_) | Life::Finishing | Life::Lingering => {}
        }
        Next::Wait
    }

    /// Whether it is closed once its unsent bytes are sent.
    fn is_leaving(&self) -> bool {
        match self.life {
            Life::WebSocket(WebSocket { is_leaving, .. })
            | Life::EventStream(EventStream { is_leaving, .. }) => is_leaving,
            Life::Http(_) | Life::LongPoll(_) | Life::Finishing | Life::Lingering => false,
        }
    }
}

#[cfg(test)]
#[path = "connection_tests.rs"]
mod tests;
