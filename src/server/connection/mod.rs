//! One connection: its life as one enum, and every transition of it.
//!
//! What a peer's bytes mean is in the file of each role, how its bytes leave in `sending`; which connections there are
//! the event loop knows.

pub mod context;
mod event_stream;
mod http;
mod joining;
pub mod lag;
mod life;
mod long_poll;
pub mod outbox;
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
use life::{Ended, EventStream, Http, Life, LongPoll, WebSocket};
use outbox::Outbox;
use stream::Stream;
use subscriptions::Subscriptions;
use timeouts::{Deadlines, Due, Stage};

use crate::config::LagPolicy;
use crate::hub::{LogId, Subscription};
use crate::server::api::routes::Door;
use crate::server::clock::Millis;
use crate::server::metrics::counters::{Counters, Transport};
use crate::ws::CloseCode;

/// A socket and all that is known of it.
///
/// The methods of a role are in its file. They reach this connection and a [`Context`], nothing else, and return what the
/// event loop is to do.
#[derive(Debug)]
pub struct Connection {
    pub stream: Stream,
    life: Life,
    outbox: Outbox,
    subscriptions: Subscriptions,
    /// Since when it lags too far.
    lateness: Lateness,
    deadlines: Deadlines,
    /// When a timer is going to look here; never later than the deadline.
    pub timer_at: Millis,
    /// The private bytes that were last counted in the loop's sum. More than 4 GiB, which takes a `--max-message` of as much,
    /// count as 4 GiB.
    pub counted_len: u32,
    /// What it was last counted as.
    pub counted_as: Transport,
    /// Where its unread input is.
    pub input: Input,
    /// Which listener it came in at.
    pub door: Door,
    /// How many subscribers the publication had that its last bytes brought; 0 if they brought none. More than 65,535 count
    /// as that many: a publisher's share is the smallest long before.
    audience: u16,
    /// Bytes that came in after they had ceased to count.
    discarded: u32,
}

/// The unread input of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Input {
    /// None is known of: an edge tells of the next.
    Drained,
    /// It is in the queue.
    Queued,
    /// It publishes, and waits until the loops have caught up.
    Parked,
    /// It is read no further until it has taken its answers, or its long poll is answered.
    Held,
}

/// What the event loop is to do with a connection that it has called.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum Next {
    /// Nothing, until something happens.
    Wait,
    /// Read it when its turn has come.
    Read,
    /// Drop it at the end of the turn.
    Drop,
}

impl Connection {
    /// A connection that has just been accepted and has not said anything.
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

    /// How it is used; one that is ending as before.
    pub fn transport(&self) -> Transport {
        match &self.life {
            Life::Http(_) => Transport::Http,
            Life::LongPoll(_) => Transport::LongPoll,
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
            // The Close frame is not what it waits for before it has taken what stands ahead of that.
            Life::WebSocket(websocket) => match websocket.stage() {
                Stage::Closing if !self.outbox.is_empty() => Stage::Finishing,
                stage => stage,
            },
            Life::EventStream(_) => Stage::Open,
            Life::Finishing => Stage::Finishing,
            Life::Lingering => Stage::Lingering,
        }
    }

    /// The room that is held for this connection alone: for what is under way in either direction.
    pub fn private_len(&self) -> usize {
        let inbound = match &self.life {
            Life::Http(http) => http.held_len(),
            Life::LongPoll(poll) => poll.held_len(),
            Life::WebSocket(websocket) => websocket.held_len(),
            Life::EventStream(_) | Life::Finishing | Life::Lingering => 0,
        };
        inbound + self.outbox.held_len() + self.subscriptions.held_len()
    }

    /// Counts what it holds and how it is used now, in the place of what was counted before.
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

    /// Counts it no more.
    pub fn uncount(&self, counters: &mut Counters) {
        counters.private_bytes -= u64::from(self.counted_len);
        counters.remove_connection(self.counted_as);
    }

    /// Whether several channels are read: such a connection is flushed once a turn and not once a channel. True only
    /// once a turn, until [`Connection::flush`].
    pub fn is_to_be_queued(&mut self) -> Option<bool> {
        match &mut self.subscriptions {
            Subscriptions::None | Subscriptions::One(_) => None,
            Subscriptions::Several(several) => Some(!std::mem::replace(&mut several.is_queued, true)),
        }
    }

    /// The logs that it reads, and how far it lags in each; none if its socket has room, since it is about to be flushed
    /// then.
    pub fn lags<'a>(&'a self, cx: &'a Context) -> impl Iterator<Item = (LogId, u64)> + 'a {
        let entries = if self.stream.is_writable() { &[] } else { self.subscriptions.entries() };
        entries.iter().map(|entry| (cx.hub.log(entry.subscription), cx.hub.lag(entry.subscription)))
    }

    /// How many private bytes it does not take.
    pub fn unsent_len(&self) -> usize {
        self.outbox.unsent().len()
    }
}

/// Deadlines.
impl Connection {
    /// When it is to be looked at although nothing happens.
    pub fn deadline(&self, cx: &Context) -> Millis {
        let deadline = self.deadlines.next(self.stage(), &cx.timeouts);
        let grace_end = self.grace_end(cx);
        // One that is over has been seen, and the flush of this turn is going to judge it.
        if grace_end > cx.now { deadline.min(grace_end) } else { deadline }
    }

    /// Whether the grace of a lagging subscriber is over: its flush judges it once more.
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

    /// The peer was not read from `since` until now.
    pub fn excuse(&mut self, since: Millis, now: Millis) {
        self.deadlines.excuse(self.stage(), since, now);
    }

    /// What is due by the time, if anything is. Nothing while the peer has bytes that were not read, or room that was not
    /// used: it is looked at again after that.
    pub fn due(&self, cx: &Context) -> Option<Due> {
        self.deadlines.due(self.stage(), cx.now, &cx.timeouts)
    }

    /// Whether what is due would be said of a peer that is not silent: its bytes are there, and were not read yet; or its
    /// socket has told of room, which the flush of this turn is going to use.
    pub fn is_excused(&self, due: Due) -> bool {
        if self.stream.is_freed() && matches!(due, Due::Hangup | Due::CloseSilent | Due::Drop) {
            return true;
        }
        if self.awaits_delivery() {
            // The request was complete in time. It is read again after the answer.
            return due == Due::RequestTimeout;
        }
        self.is_to_be_read()
            && match due {
                Due::RequestTimeout | Due::Hangup | Due::CloseSilent => true,
                // To an event stream it is no question.
                Due::Ping => matches!(self.life, Life::WebSocket(_)),
                Due::Answer | Due::Notice | Due::Drop => false,
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
            (Due::Ping, Life::EventStream(_)) => {
                self.say_alive(cx);
                self.deadlines.restart(cx.now);
            }
            (Due::Notice, Life::WebSocket(_)) => {
                self.say_alive(cx);
                self.deadlines.told(cx.now, &cx.timeouts);
            }
            (Due::Ping, Life::WebSocket(_)) => self.ping(cx),
            (Due::CloseSilent, Life::WebSocket(_)) => self.close_silent(cx),
            // Nothing more is due.
            (
                Due::RequestTimeout
                | Due::Hangup
                | Due::Ping
                | Due::Notice
                | Due::Answer
                | Due::CloseSilent
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

/// Transitions. Nobody else changes `life`.
impl Connection {
    fn enter(&mut self, life: Life, now: Millis) {
        self.life = life;
        self.deadlines.restart(now);
    }

    /// A handshake was accepted.
    fn become_websocket(&mut self, websocket: WebSocket, now: Millis) {
        self.enter(Life::WebSocket(websocket), now);
    }

    /// The head of an event stream is in the outbox.
    fn become_event_stream(&mut self, is_leaving: bool, now: Millis) {
        self.enter(Life::EventStream(EventStream { is_leaving }), now);
    }

    /// A long poll waits; `make` is given the HTTP connection that goes on once it is answered.
    fn wait_for_publication(&mut self, make: impl FnOnce(Box<Http>) -> LongPoll, now: Millis) {
        match std::mem::replace(&mut self.life, Life::Lingering) {
            Life::Http(http) => self.enter(Life::LongPoll(Box::new(make(http))), now),
            life => self.life = life,
        }
    }

    /// A long poll waits no more: what it was, and the connection is an HTTP one again.
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

    /// Sends what is in the outbox, then closes TCP from our side (RFC 6455 §7.1.1: the server first). Nothing is read
    /// from a channel any more.
    fn finish(&mut self, cx: &mut Context) {
        self.leave_channels(cx);
        if !matches!(self.life, Life::Finishing | Life::Lingering) {
            self.enter(Life::Finishing, cx.now);
        }
    }

    /// The outbox is sent: our half is closed, and the peer has some time to close its own.
    fn linger(&mut self, now: Millis) {
        self.enter(Life::Lingering, now);
    }

    /// Drops what was to be sent: there is no room for a goodbye.
    pub fn cut(&mut self, cx: &mut Context) -> Next {
        self.leave_channels(cx);
        self.linger(cx.now);
        self.outbox = Outbox::default();
        Next::Drop
    }
}

/// Ends.
impl Connection {
    /// Ends every subscription. The rest of a started frame is kept, the rest of the logs is not.
    pub fn leave_channels(&mut self, cx: &mut Context) {
        self.keep_started(cx);
        while let Some(entry) = self.subscriptions.pop() {
            cx.unsubscribe(entry.subscription);
        }
        self.lateness.clear();
    }

    /// Ends one subscription; what it had not begun to send of that channel is not sent. False if it is none of this
    /// connection's.
    #[cfg_attr(not(test), expect(dead_code, reason = "no protocol leaves one of several channels yet"))]
    pub fn leave_channel(&mut self, subscription: Subscription, cx: &mut Context) -> bool {
        // A frame of another channel goes on.
        if !cx.hub.started(subscription).is_empty() {
            self.keep_started(cx);
        }
        let is_known = self.subscriptions.remove(subscription).is_some();
        if is_known {
            cx.unsubscribe(subscription);
        }
        is_known
    }

    /// Says goodbye: a Close frame, unless one went out before, whose answer is awaited; or the end of the stream.
    pub fn close(&mut self, code: CloseCode, reason: &str, cx: &mut Context) {
        self.leave_channels(cx);
        match &mut self.life {
            Life::WebSocket(_) => self.close_websocket(code, reason, cx),
            Life::EventStream(_) => self.end_stream(reason, cx),
            Life::Http(_) | Life::LongPoll(_) | Life::Finishing | Life::Lingering => {}
        }
    }

    /// Ends the connection because memory is short.
    pub fn end_for_memory(&mut self, cx: &mut Context) {
        const OUT_OF_MEMORY: &str =
            "the server is out of memory (--max-memory), and you held most; come back in a moment";
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

    /// The server stops: a subscriber is closed as soon as it has been sent all, a request that is under way is answered.
    pub fn say_goodbye(&mut self, cx: &mut Context) -> Next {
        match &mut self.life {
            // The flush at the end of this turn finds out whether it has unsent bytes.
            Life::WebSocket(WebSocket { is_leaving, .. }) | Life::EventStream(EventStream { is_leaving }) => {
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

    /// Whether it gets a goodbye as soon as it has been sent all.
    fn is_leaving(&self) -> bool {
        match self.life {
            Life::WebSocket(WebSocket { is_leaving, .. }) | Life::EventStream(EventStream { is_leaving }) => {
                is_leaving
            }
            Life::Http(_) | Life::LongPoll(_) | Life::Finishing | Life::Lingering => false,
        }
    }
}

#[cfg(test)]
#[path = "connection_tests.rs"]
mod tests;
