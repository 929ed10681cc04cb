//! One event loop: the order of a turn, and what a loop owns: connections, poll and timers.
//!
//! What a peer's bytes mean and what is sent is not decided here. A connection is called with a [`Context`] and returns
//! what the loop is to do ([`Next`]). No method of the loop is written outside this folder.

mod accept;
pub mod acceptor;
mod arrivals;
mod burdens;
#[cfg(test)]
mod by_hand;
mod drain;
mod eviction;
pub mod exchange;
mod expire;
mod flush;
mod handshakes;
mod handshaking;
mod housekeeping;
mod measure;
mod read;
mod read_queue;
pub mod seed;
mod sessions;
mod shutdown;
pub mod ticks;
mod timers;

use std::io;
use std::sync::Arc;
use std::time::Duration;

use acceptor::Acceptor;
use arrivals::Arrivals;
use burdens::Eviction;
use drain::Drain;
use exchange::Exchange;
use handshakes::{Handshakes, REST};
use housekeeping::{FirstLoop, Sweep};
use mio::event::Event;
use mio::{Events, Poll, Token};
use read_queue::ReadQueue;
use timers::Timers;

use crate::server::access::Asker;
use crate::server::broker::answer::PublishAnswer;
use crate::server::broker::calls::Call;
use crate::server::broker::mailbox::{JoinAnswer, Mailbox, Order, OrderKind, Verdict};
use crate::server::clock::Millis;
use crate::server::connection::context::Context;
use crate::server::connection::reading::READ_BUFFER_LEN;
use crate::server::connection::table::{Key, Table, special_token};
use crate::server::connection::{Connection, Input, Next};
use crate::server::shared::Shared;

pub use arrivals::OPERATORS_MAX;

/// The waker's token.
pub const WAKER: Token = special_token(0);

/// Events taken from the system in one call. If there are more, they are taken before the turn continues.
const EVENTS_PER_POLL_MAX: usize = 1024;

/// A turn appends at most this part of `--max-lag`, a fourth, to the logs: a burst is sent in slices, and a subscriber that
/// reads between them never lags far.
const SLICES_PER_LAG: u64 = 4;

/// The shortest slice: one read's worth. Sockets take that much at once, so cutting it further would gain nothing.
const SLICE_MIN: u64 = READ_BUFFER_LEN as u64;

/// While the mailbox of some loop is congested, parked publishers are checked again after this long.
const CONGESTION_PAUSE: Duration = Duration::from_millis(1);

/// An event loop. Other threads reach nothing of it but [`Shared`].
#[derive(Debug)]
pub struct EventLoop {
    /// What its connections may use, borrowed next to the table of connections and never through it.
    context: Context,
    connections: Table,
    poll: Poll,
    timers: Timers,
    arrivals: Arrivals,
    /// The way in for connections of other loops.
    exchange: Arc<Exchange>,
    /// The connections with unread input, and the buffer that all of them are read into.
    reads: ReadQueue,
    read_buffer: Vec<u8>,
    handshakes: Handshakes,
    /// Connections to be flushed in this turn, besides the readers of dirty logs.
    touched: Vec<Key>,
    /// Connections to be dropped at the end of this turn.
    doomed: Vec<Key>,
    drain: Option<Drain>,
    eviction: Eviction,
    sweep: Sweep,
    /// What the first loop does for the whole server. Unused on the other loops.
    first_loop: FirstLoop,
    /// How many bytes this turn may still append to the logs.
    slice_left: usize,
    /// The reloads of apps that its connections have been checked for.
    apps_generation: u64,
    /// The changes of access that its connections have been checked for.
    access_generation: u64,
    /// When this turn's wait ended, as time since the server's start.
    turn_began: Duration,
}

impl EventLoop {
    /// A loop without connections.
    pub fn new(
        index: usize,
        shared: Arc<Shared>,
        exchange: Arc<Exchange>,
        poll: Poll,
        acceptor: Option<Acceptor>,
    ) -> Self {
        Self {
            context: Context::new(index, shared),
            connections: Table::default(),
            poll,
            timers: Timers::default(),
            arrivals: Arrivals::new(acceptor),
            exchange,
            reads: ReadQueue::default(),
            read_buffer: vec![0; READ_BUFFER_LEN],
            handshakes: Handshakes::default(),
            touched: Vec::new(),
            doomed: Vec::new(),
            drain: None,
            eviction: Eviction::default(),
            sweep: Sweep::default(),
            first_loop: FirstLoop::default(),
            slice_left: 0,
            apps_generation: 1,
            access_generation: 0,
            turn_began: Duration::ZERO,
        }
    }

    /// Takes turns until the server stops.
    ///
    /// # Errors
    /// The poll failed: the loop cannot learn which sockets are ready.
    pub fn run(mut self) -> io::Result<()> {
        let result = self.take_turns();
        self.end_sessions();
        self.context.shared.end_loop();
        result
    }

    fn take_turns(&mut self) -> io::Result<()> {
        let mut events = Events::with_capacity(EVENTS_PER_POLL_MAX);
        while self.turn(&mut events)? {}
        Ok(())
    }

    /// One turn. What is published in it is sent at its end, with one write per subscriber. False after the last turn.
    fn turn(&mut self, events: &mut Events) -> io::Result<bool> {
        self.wait(events)?;
        self.accept();
        self.apply();
        self.read();
        self.apply();
        self.expire();
        self.flush();
        self.evict();
        self.reap();
        self.measure();
        Ok(!self.is_stopped())
    }

    /// Waits for an event, a wake or the next deadline, and notes what each event says.
    fn wait(&mut self, events: &mut Events) -> io::Result<()> {
        // The mailbox first: a wake that found the loop awake has done nothing, and what it was for is seen from then on.
        let may_sleep = self.mailbox().may_sleep()
            && self.exchange.is_empty(self.context.loop_index)
            && self.has_taken_reloads();
        let timeout = if may_sleep { self.timeout() } else { Some(Duration::ZERO) };
        match self.poll.poll(events, timeout) {
            Err(error) if error.kind() != io::ErrorKind::Interrupted => return Err(error),
            _ => self.mailbox().is_up(),
        }
        self.begin_turn();
        self.sort_all(events);
        // A peer whose event is still in the system would look silent to the expire phase, and would be read after peers
        // that have been read already.
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

    fn begin_turn(&mut self) {
        let cx = &mut self.context;
        self.turn_began = cx.shared.clock.elapsed();
        cx.now = Millis(self.turn_began.as_millis() as u64);
        cx.began_unix_ms = cx.shared.clock.began_unix_ms();
        cx.read_len = 0;
        self.slice_left = (cx.lag_rules.lag_max / SLICES_PER_LAG).max(SLICE_MIN) as usize;
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
                connection.stream.note_room();
                self.touched.push(key);
            }
            if event.is_error() && connection.input == Input::Throttled {
                // It would be found broken when it is read, which may be late, and what it has sent is lost.
                return self.doomed.push(key);
            }
            let is_end = event.is_read_closed() || event.is_error();
            if event.is_readable() || is_end {
                self.note_readable(key, is_end);
            }
        } else {
            self.arrivals.notice(event.token());
        }
    }

    /// Takes a slice of the publications in the mailbox, of this loop and of others, and appends them to the logs; then
    /// answers publishers. If publications are left, the next turn does not wait: it polls for sockets that have room
    /// again and takes the next slice.
    fn apply(&mut self) {
        self.slice_left -= self.context.apply(self.slice_left).min(self.slice_left);
        self.context.tell_taps();
        for answer in self.mailbox().take_answers() {
            self.answer_publisher(answer);
        }
        for verdict in self.mailbox().take_verdicts() {
            self.bring(verdict);
        }
        if self.context.shared.broker.has_engine() {
            for answer in self.mailbox().take_prepared() {
                self.let_join(answer);
            }
        }
        for call in self.mailbox().take_calls() {
            self.hand_over(call);
        }
        for order in self.mailbox().take_orders() {
            self.obey(&order);
        }
        self.check_apps();
        self.check_access();
    }

    /// Brings what the backend has decided to a connection. It may have been dropped in the meantime.
    fn bring(&mut self, verdict: Verdict) {
        let key = Key::from_u64(verdict.connection);
        let Some((connection, cx)) = self.with(key) else { return };
        let next = connection.receive_verdict(verdict.question, verdict.decisions, cx);
        self.touched.push(key);
        self.settle(key, next);
    }

    /// Tells a connection whether the channels that it waits for can be joined. It may have been dropped in the meantime.
    fn let_join(&mut self, answer: JoinAnswer) {
        let key = Key::from_u64(answer.connection);
        let Some((connection, cx)) = self.with(key) else { return };
        let next = connection.receive_join_answer(answer, cx);
        self.touched.push(key);
        self.settle(key, next);
    }

    /// Hands a connection what another thread has for it. It may have been dropped in the meantime.
    fn hand_over(&mut self, call: Call) {
        let key = Key::from_u64(call.connection);
        let Some((connection, cx)) = self.with(key) else { return };
        let next = connection.receive_call(call.what, cx);
        self.touched.push(key);
        self.settle(key, next);
    }

    /// Has a connection do what another thread wants. It may have been dropped in the meantime.
    fn obey(&mut self, order: &Order) {
        let key = Key::from_u64(order.connection);
        let Some((connection, cx)) = self.with(key) else { return };
        let next = connection.obey(&order.what, cx);
        self.touched.push(key);
        self.settle(key, next);
    }

    /// Whether [`Self::check_apps`] and [`Self::check_access`] have nothing to do.
    fn has_taken_reloads(&self) -> bool {
        let shared = &self.context.shared;
        self.apps_generation == shared.apps.generation() && self.access_generation == shared.generation()
    }

    /// Closes the clients of apps that a reload has removed or disabled. O(connections) after a reload.
    fn check_apps(&mut self) {
        let generation = self.context.shared.apps.generation();
        if std::mem::replace(&mut self.apps_generation, generation) == generation {
            return;
        }
        for key in self.connections.keys().collect::<Vec<_>>() {
            let Some((connection, cx)) = self.with(key) else { continue };
            connection.check_app(cx);
            self.touched.push(key);
            self.settle(key, Next::Wait);
        }
    }

    /// Takes the rules of access of a reload, and ends the connections that may stay no more: by those rules, or since their
    /// tokens were revoked. O(connections) after a reload or a revocation.
    fn check_access(&mut self) {
        let generation = self.context.shared.generation();
        if std::mem::replace(&mut self.access_generation, generation) == generation {
            return;
        }
        self.context.access = self.context.shared.access();
        let passes = self.context.shared.guard.take_passes(self.context.loop_index);
        let mut ended = vec![0; passes.len()];
        for key in self.connections.keys().collect::<Vec<_>>() {
            let Some((connection, cx)) = self.with(key) else { continue };
            // Asked before: who has ended is nobody any more.
            let fitting = (0..passes.len()).filter(|&at| connection.is_revoked_by(&passes[at]));
            let fitting: Vec<usize> = fitting.collect();
            let (is_revoked, next) = connection.check_standing(&passes, cx);
            if is_revoked {
                fitting.into_iter().for_each(|at| ended[at] += 1);
            }
            self.touched.push(key);
            self.settle(key, next);
        }
        for (pass, ended) in passes.iter().zip(ended) {
            if let Some(ended) = pass.finish(ended)
                && let Some(Asker { loop_index, connection }) = pass.asker
            {
                let order = Order { connection, what: OrderKind::Revoked(ended) };
                self.context.shared.broker.mailbox(loop_index).order(order);
            }
        }
    }

    /// Answers a connection whose publication has been delivered, or has failed. The connection may have been dropped, or
    /// its request answered, in the meantime.
    fn answer_publisher(&mut self, answer: PublishAnswer) {
        let key = Key::from_u64(answer.connection);
        let Context { audits, shared, .. } = &mut self.context;
        audits.settle(answer.request, answer.outcome, shared.audit.as_ref());
        let Some((connection, cx)) = self.with(key) else {
            let is_new = answer.outcome.is_ok_and(|receipt| !receipt.is_replay);
            self.context.counters.note_keyless_publishes(u64::from(is_new));
            return;
        };
        let next = connection.receive_outcome(answer.request, answer.outcome, cx);
        self.touched.push(key);
        self.settle(key, next);
    }

    /// A connection and its [`Context`], prepared to call the connection.
    fn with(&mut self, key: Key) -> Option<(&mut Connection, &mut Context)> {
        let connection = self.connections.get_mut(key)?;
        self.context.owner = key.to_u64();
        Some((connection, &mut self.context))
    }

    /// Does what a connection returned. If the connection stays, its memory is counted again and its timer is set, since
    /// its deadline may be earlier than before.
    fn settle(&mut self, key: Key, next: Next) {
        match next {
            Next::Wait => {}
            Next::Read => self.queue_to_read(key),
            Next::Carry => self.carry_on(key),
            // It needs no timer any more.
            Next::Drop => return self.doomed.push(key),
        }
        let Some(connection) = self.connections.get_mut(key) else { return };
        note(connection, key, &mut self.context, &mut self.timers);
    }

    /// Drops the connections that have ended. Their descriptors are free for the next turn.
    fn reap(&mut self) {
        // A session that is dropped may end the request that carries it, and the other way round.
        while let Some(key) = self.doomed.pop() {
            let Some(mut connection) = self.connections.remove(key) else { continue };
            self.context.owner = key.to_u64();
            connection.lose_actor(&mut self.context);
            connection.leave_channels(&mut self.context);
            connection.give_back(&mut self.context);
            connection.uncount(&mut self.context.counters);
            connection.stream.deregister(self.poll.registry());
            self.arrivals.release(&connection, &self.context);
            self.forget_session(key, &connection);
        }
        self.release();
    }

    fn mailbox(&self) -> &Mailbox {
        self.context.shared.broker.mailbox(self.context.loop_index)
    }

    /// How long the poll may wait; `None` stands for "until an event".
    fn timeout(&self) -> Option<Duration> {
        if self.reads.has_queued()
            || self.reads.has_parked() && !self.context.shared.broker.is_congested()
            || self.handshakes.are_waiting()
            || self.arrivals.has_more(self.is_resting())
            || self.context.is_leaving() && self.drain.is_none()
            || self.is_called()
        {
            return Some(Duration::ZERO);
        }
        let deadlines = [self.timers.next(), self.arrivals.deadline(), self.eviction.deadline()];
        let deadlines = deadlines.into_iter().chain([self.reads.throttled_until()]);
        let deadlines = deadlines.chain(self.stop_deadlines()).chain(self.housekeeping_deadlines());
        let deadlines = deadlines.chain([self.room_due_at()]);
        let until = deadlines.flatten().min().map(|then| self.context.shared.clock.until(then));
        let pause = self.reads.has_parked().then_some(CONGESTION_PAUSE);
        let rest = self.arrivals.has_resting().then_some(REST);
        until.into_iter().chain(pause).chain(rest).min()
    }

    /// Whether no more handshakes are to be begun for now.
    fn is_resting(&self) -> bool {
        self.context.shared.handshakes.are_too_many()
    }
}

/// Counts the memory of a connection again, and sets its timer, since its deadline may be earlier than before.
fn note(connection: &mut Connection, key: Key, context: &mut Context, timers: &mut Timers) {
    connection.recount(&mut context.counters);
    let deadline = connection.deadline(context);
    if deadline < connection.timer_at {
        connection.timer_at = deadline;
        timers.push(deadline, key);
    }
}
