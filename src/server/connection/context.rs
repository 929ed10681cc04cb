//! What a connection may use besides itself, borrowed from its event loop next to the table of connections.
//!
//! No other connection, no poll and no timer can be reached from here.

use std::collections::VecDeque;
use std::fmt;
use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;

use super::audits::Audits;
use super::clients::Clients;
use super::lag::LagRules;
use super::pipe::Pipe;
use super::spares::Spares;
use super::throttle::Throttle;
use super::timeouts::Timeouts;
use super::tls::Sealing;
use crate::hub::{
    ChannelName, Hub, Interruption, Lost, Owner, Position, Publication, PublicationId, Resumption, Says,
    Sending, Source, Subscription, WireForm,
};
use crate::server::access::{Access, Identity, Refusal};
use crate::server::apps::running::RunningApp;
use crate::server::broker::answer::Waiter;
use crate::server::broker::arrivals::{Arrival, Departure};
use crate::server::broker::attendance::{Known, Polled};
use crate::server::broker::audience::Cache;
use crate::server::broker::calls::{Call, Congested};
use crate::server::broker::joins::{Full, Joined, Joiner, Leaver};
use crate::server::broker::mailbox::{FIRST_LOOP, Mailbox};
use crate::server::broker::presence::Present;
use crate::server::broker::roads::Road;
use crate::server::clock::Millis;
use crate::server::encoder::Encoder;
use crate::server::handle::Handle;
use crate::server::handlers::actors::Actors;
use crate::server::handlers::link::{Address, Door};
use crate::server::handlers::program::Program;
use crate::server::metrics::counters::Counters;
use crate::server::metrics::dashboard::FIGURES_CHANNEL;
use crate::server::metrics::refusals::Reason;
use crate::server::shared::Shared;

/// Bytes read from all sockets in a turn; connections that were not read keep their places in the queue. A payload is
/// written twice before it is sent, into the channel's history and into its logs: 256 KiB are still in a cache by then.
/// Memory is compared with `--max-memory` once a turn, so a loop exceeds it by at most this and one share.
const READ_LEN_PER_TURN_MAX: usize = 256 * 1024;

/// The part of an event loop that its connections use.
#[derive(Debug)]
pub struct Context {
    /// What all loops share: the broker, the configuration, the state of the stop.
    pub shared: Arc<Shared>,
    /// The number of this loop.
    pub loop_index: usize,
    /// The rules of access that hold in this turn.
    pub access: Arc<Access>,
    /// The wall clock's time at zero of `now`, in milliseconds since 1970.
    pub began_unix_ms: u64,
    /// The channels that this loop has subscribers of.
    pub hub: Hub,
    pub encoder: Encoder,
    pub counters: Counters,
    pub spares: Spares,
    /// The pace of messages.
    pub throttle: Throttle,
    /// The addresses that proxies have said.
    pub clients: Clients,
    /// Where sessions over HTTP requests write.
    pub pipe: Pipe,
    /// Where connections with TLS make their records.
    pub sealing: Sealing,
    /// Publications by keys whose outcome is awaited.
    pub audits: Audits,
    /// Requests that carried sessions and do so no more. The loop tells the sessions.
    pub released: Vec<Released>,
    /// What a program has brought.
    pub program: Arc<Program>,
    /// The sessions of the program.
    pub actors: Actors,
    /// The way into this loop.
    door: Arc<dyn Door>,
    pub timeouts: Timeouts,
    pub lag_rules: LagRules,
    /// The time when this turn's wait ended; from the flush phase on, the time when that began.
    pub now: Millis,
    /// The key of the connection that is being called, as the owner of its subscriptions.
    pub owner: u64,
    /// Bytes read in this turn, and bytes inflated from them.
    pub read_len: usize,
    /// The same for the connection that is being read, and what it has met.
    pub share: super::progress::Progress,
    /// Whether the dashboard's figures got a new subscriber in this turn.
    pub has_new_watcher: bool,
    /// Draws numbers that clients cannot guess: the digests of a counter under a random key.
    random: RandomState,
    drawn: u64,
    /// What the command that is carried out cannot join, since its client has more of it than this node, and it cannot be looked for.
    pub unready: Vec<ChannelName>,
    /// How often it was asked whether channels can be joined.
    join_questions: u64,
    /// Publications that the program is to be told of, when no lock is held.
    tapped: VecDeque<Arc<Publication>>,
    /// Reused buffer for what is taken from the mailbox; empty between uses.
    taken: VecDeque<Arc<Publication>>,
}

/// A request that carries its session no more, by the numbers of their keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Released {
    pub session: u64,
    pub carrier: u64,
}

/// The way into a loop by its mailbox.
#[derive(Debug)]
struct LoopDoor {
    mailboxes: Arc<[Mailbox]>,
    loop_index: usize,
}

impl Door for LoopDoor {
    fn call(&self, call: Call) -> Result<(), Congested> {
        self.mailboxes[self.loop_index].call(call)
    }

    fn call_anyway(&self, call: Call) {
        self.mailboxes[self.loop_index].call_anyway(call);
    }
}

/// What readers know after what is in a mailbox.
fn says(publication: &Publication) -> Says {
    match publication.source {
        Source::Publisher | Source::Client { .. } => Says::Publication(Some(publication.id)),
        Source::Notice(Interruption::Gap(gap)) => Says::Gap(Lost { gap, since: publication.id }),
        Source::Protocol | Source::Notice(Interruption::Paused | Interruption::Resumed) => Says::Notice,
    }
}

impl Context {
    /// For the loop with this index.
    pub fn new(loop_index: usize, shared: Arc<Shared>) -> Self {
        let timeouts = Timeouts::new(&shared.config);
        let lag_rules = LagRules::new(&shared.config);
        let encoder = Encoder::new(&shared.config);
        let throttle = Throttle::new(shared.limits.messages());
        Self {
            program: Arc::new(Program::new(Handle::new(Arc::clone(&shared)), shared.config.workers)),
            actors: Actors::default(),
            door: Arc::new(LoopDoor { mailboxes: shared.broker.shared_mailboxes(), loop_index }),
            access: shared.access(),
            began_unix_ms: shared.clock.began_unix_ms(),
            shared,
            loop_index,
            hub: Hub::default(),
            encoder,
            counters: Counters::default(),
            spares: Spares::default(),
            throttle,
            clients: Clients::default(),
            pipe: Pipe::default(),
            sealing: Sealing::default(),
            audits: Audits::default(),
            released: Vec::new(),
            timeouts,
            lag_rules,
            now: Millis::default(),
            owner: 0,
            read_len: 0,
            share: Default::default(),
            has_new_watcher: false,
            random: RandomState::new(),
            drawn: 0,
            unready: Vec::new(),
            join_questions: 0,
            tapped: VecDeque::new(),
            taken: VecDeque::new(),
        }
    }

    /// How other threads reach the connection that is being called.
    pub fn address(&self) -> Address {
        Address { door: Arc::clone(&self.door), connection: self.owner }
    }

    /// Counts a refusal, and logs it if it is time for a line.
    pub fn note(&self, reason: Reason, what: &dyn fmt::Display) {
        self.shared.note(reason, self.now, what);
    }

    /// The wall clock's time, in seconds since 1970.
    pub fn unix_s(&self) -> u64 {
        (self.began_unix_ms + self.now.0) / 1000
    }

    /// Counts the refusal of a client, and logs it if it is time for a line: with the name of its key or user, and never
    /// with a token.
    pub fn note_refusal(&self, refusal: &Refusal, who: Option<&Identity>) {
        let Some(reason) = Reason::of_status(refusal.status()) else { return };
        match who {
            Some(who) => self.note(reason, &format_args!("{}: {refusal}", who.log_name())),
            None => self.note(reason, &refusal.log_text()),
        }
    }

    /// Checks that what let the client in is still good: its key is known, and its token not revoked.
    ///
    /// # Errors
    /// It is not.
    pub fn check_known(&self, who: Option<&Identity>) -> Result<(), Refusal> {
        match who {
            Some(who) => {
                self.access.check_known(who)?;
                self.shared.guard.check_revoked(who)
            }
            None => Ok(()),
        }
    }

    /// A number that clients cannot guess.
    pub fn draw(&mut self) -> u64 {
        self.drawn += 1;
        self.random.hash_one(self.drawn)
    }

    /// The number of the next question whether channels can be joined.
    pub fn next_join_question(&mut self) -> u64 {
        self.join_questions += 1;
        self.join_questions
    }

    /// Whether publishers have to wait, since some loop's mailbox is congested, for the rest of a share.
    pub fn is_congested(&self) -> bool {
        self.share.is_congested(&self.shared.broker)
    }

    /// Whether connections are closed because the server stops.
    pub fn is_leaving(&self) -> bool {
        self.shared.stop().is_leaving()
    }

    /// Whether this turn has used up its budget of bytes to read.
    pub fn is_read_out(&self) -> bool {
        self.read_len > READ_LEN_PER_TURN_MAX
    }

    /// Counts bytes that a connection has read, or inflated from what it has read.
    pub fn note_taken(&mut self, len: usize) {
        self.read_len += len;
        self.share.taken_len += len;
    }

    /// The connection that is being called, as the publisher that gets the answer.
    pub fn waiter(&self) -> Waiter {
        self.waiter_of(0)
    }

    /// The same, where it awaits several answers: of this publication.
    pub fn waiter_of(&self, request: u64) -> Waiter {
        Waiter::Connection { loop_index: self.loop_index, connection: self.owner, request }
    }

    /// The bytes that this loop holds for its clients.
    pub fn held_len(&self) -> usize {
        let own = self.counters.private_bytes + self.counters.connection_bytes;
        usize::try_from(own).unwrap_or(usize::MAX) + self.hub.log_bytes()
    }

    /// Takes publications of about `len_max` bytes out of the mailbox and appends them to the logs, encoded once per wire
    /// form. Returns how many bytes it took.
    pub fn apply(&mut self, len_max: usize) -> usize {
        let Self { shared, loop_index, hub, encoder, taken, tapped, program, .. } = self;
        let is_told = *loop_index == FIRST_LOOP && !program.watching.taps.is_empty();
        let len = shared.broker.mailbox(*loop_index).take_publications(len_max, taken);
        for publication in taken.drain(..) {
            let name = publication.channel.as_str();
            let excluded = publication.excluded.filter(|owner| owner.hub == *loop_index);
            let excluded = excluded.and_then(|owner| hub.subscription_of(name, owner.number));
            let says = says(&publication);
            let sending = Sending { excluded, frame: publication.frames.plain(), says };
            hub.append_with(name, sending, |form, out| encoder.publication(&publication, form, out));
            if is_told && matches!(says, Says::Publication(_)) {
                tapped.push_back(publication);
            }
        }
        len
    }

    /// Tells the program of the publications that it wants to be told of. No lock may be held: it may publish.
    pub fn tell_taps(&mut self) {
        while let Some(publication) = self.tapped.pop_front() {
            let program = &self.program;
            program.watching.tap(&publication, program.on_panic, |said| {
                program.note_panic();
                self.note(
                    Reason::Handler,
                    &format_args!("a tap of {}, which panicked: {said}", publication.channel),
                );
            });
        }
    }

    /// Calls `join` under the channel's lock: nothing can be published to the channel meanwhile, and all earlier
    /// publications are in the logs. If `join` returns something, a subscriber is counted, and is there for the others as
    /// `present`. Where it returns nothing, the client of a poll is there until it polls again.
    pub fn under_lock<T>(
        &mut self,
        channel: &ChannelName,
        (position, form): (Position, WireForm),
        present: Present<'_>,
        join: impl FnOnce(&mut Hub, Resumption) -> Option<T>,
    ) -> Option<T> {
        if form.is_watching() {
            return self.watch_under_lock(channel, position, join);
        }
        self.has_new_watcher |= channel.as_str() == FIGURES_CHANNEL;
        let (shared, now) = (Arc::clone(&self.shared), self.now);
        let arrival = Arrival { owner: self.owner(), present, road: Road::of(form) };
        let app = shared.apps.of_channel(channel);
        let reports = shared.broker.reports();
        let join = |resumption| {
            // Everything, whatever the slice of a turn: only publications from after the join may follow in the logs.
            self.apply(usize::MAX);
            join(&mut self.hub, resumption)
        };
        let joined = shared.broker.subscribe(channel, arrival, position, now, join, |subscribers| {
            if let Some(app) = app.as_ref().filter(|_| reports) {
                app.note_joined(channel, subscribers, now);
            }
        });
        if joined.is_some() {
            self.tell_count(app.as_deref(), channel);
        }
        joined
    }

    /// As [`Context::under_lock`], for a reader that watches: nobody is told of it, and it is in no count.
    fn watch_under_lock<T>(
        &mut self,
        channel: &ChannelName,
        position: Position,
        join: impl FnOnce(&mut Hub, Resumption) -> Option<T>,
    ) -> Option<T> {
        let (shared, loop_index, now) = (Arc::clone(&self.shared), self.loop_index, self.now);
        shared.broker.watch(channel, loop_index, position, now, |resumption| {
            self.apply(usize::MAX);
            join(&mut self.hub, resumption)
        })
    }

    /// Joins a channel as a Pusher client: `join` is called as in [`Context::under_lock`].
    ///
    /// # Errors
    /// The channel has as many members as it may have.
    pub fn join_as_pusher<T>(
        &mut self,
        app: &RunningApp,
        channel: &ChannelName,
        joiner: Joiner<'_>,
        join: impl FnOnce(&mut Hub) -> T,
    ) -> Result<Joined<T>, Full> {
        let (shared, now) = (Arc::clone(&self.shared), self.now);
        let join = || {
            self.apply(usize::MAX);
            join(&mut self.hub)
        };
        let reports = shared.broker.reports();
        let joined = shared.broker.join(channel, joiner, now, join, |joined| {
            if !reports {
                return;
            }
            app.note_joined(channel, joined.subscribers, now);
            if let Some(member) = joiner.member.filter(|_| joined.is_new_member) {
                app.note_member(channel, &member.user_id, now);
            }
            if matches!(joined.cache, Cache::Miss { is_first: true }) {
                app.note_cache_miss(channel, now);
            }
        })?;
        self.tell_count(Some(app), channel);
        Ok(joined)
    }

    /// Begins to read the companion of a channel, in a form for readers of several channels: each publication of it says who
    /// has come and gone. Returns the subscription, which ends by [`Context::unsubscribe`], and the data of the first
    /// `fanfare:presence`: who is there, with the `since` on which the companion's publications follow. `None` where it is
    /// not told who is there. Call it after the channel itself is subscribed to, so that the reader finds itself.
    ///
    /// Each change counts: the entry of the subscription has the policy [`LagPolicy::Close`](crate::config::LagPolicy::Close).
    pub fn join_presence(&mut self, channel: &ChannelName, form: WireForm) -> Option<(Subscription, String)> {
        let (shared, loop_index) = (Arc::clone(&self.shared), self.loop_index);
        let begin = |newest| self.subscribe_to_companion(channel, form, newest);
        let reading = shared.broker.read_presence(channel, loop_index, begin)?;
        Some((reading.subscribed, reading.data))
    }

    /// The same for a long poll, that subscribes only if it need not be told who is there, and `may_wait`.
    pub fn poll_presence(
        &mut self,
        channel: &ChannelName,
        form: WireForm,
        known: Known,
        may_wait: bool,
    ) -> Option<Polled<Subscription>> {
        let (shared, loop_index, now) = (Arc::clone(&self.shared), self.loop_index, self.now);
        shared.broker.poll_presence(channel, loop_index, known, now, |newest| {
            may_wait.then(|| self.subscribe_to_companion(channel, form, newest))
        })
    }

    /// Call it under the lock of the channel, whose newest change is that.
    fn subscribe_to_companion(
        &mut self,
        channel: &ChannelName,
        form: WireForm,
        newest: PublicationId,
    ) -> Subscription {
        self.apply(usize::MAX);
        let subscription = self.hub.subscribe(&channel.companion(), form, self.owner);
        self.hub.note_newest(subscription, newest);
        subscription
    }

    /// The connection that is being called, which has subscribed to the channel, has proved to be somebody else than it was
    /// there, or to have another info.
    pub fn identify_in(&mut self, channel: &ChannelName, present: Present<'_>) {
        self.shared.broker.identify(
            channel,
            Arrival { owner: self.owner(), present, road: Road::WebSocket },
            self.now,
        );
    }

    /// Who is in a channel now, as the data of `fanfare:presence`: JSON. `None` where that is not told.
    pub fn presence_of(&self, channel: &ChannelName) -> Option<String> {
        self.shared.broker.presence_of(channel)
    }

    /// The connection that is being called, as the sender that does not get its own events.
    pub fn owner(&self) -> Owner {
        Owner { hub: self.loop_index, number: self.owner }
    }

    /// The number of a channel's subscribers has changed: they are told, if the app wants it.
    fn tell_count(&self, app: Option<&RunningApp>, channel: &ChannelName) {
        if app.is_some_and(|app| app.tells_count(channel)) {
            self.shared.broker.tell_count(channel, self.now);
        }
    }

    /// Ends a subscription in the hub and in the broker. The caller has kept the rest of its started frame.
    pub fn unsubscribe(&mut self, subscription: Subscription) {
        let channel = self.hub.channel(subscription).clone();
        if subscription.form().is_watching() {
            self.shared.broker.unwatch(&channel, self.loop_index, self.now);
            return self.hub.unsubscribe(subscription);
        }
        if let Some(channel) = channel.accompanied() {
            self.shared.broker.end_presence(&channel, self.loop_index, self.now);
            return self.hub.unsubscribe(subscription);
        }
        let departure = Departure { owner: self.owner(), road: Road::of(subscription.form()) };
        let app = self.shared.apps.of_channel(&channel);
        let reports = self.shared.broker.reports();
        self.shared.broker.unsubscribe(&channel, departure, self.now, |subscribers| {
            if let Some(app) = app.as_ref().filter(|_| reports) {
                app.note_left(&channel, subscribers, self.now);
            }
        });
        self.hub.unsubscribe(subscription);
        self.tell_count(app.as_deref(), &channel);
    }

    /// Ends the subscription of a Pusher client.
    pub fn leave_as_pusher(&mut self, app: &RunningApp, subscription: Subscription, leaver: Leaver<'_>) {
        let channel = self.hub.channel(subscription).clone();
        let reports = self.shared.broker.reports();
        self.shared.broker.leave(&channel, leaver, self.now, |left| {
            if !reports {
                return;
            }
            if let Some(user_id) = leaver.member_id.filter(|_| left.is_member_gone) {
                app.note_member_gone(&channel, user_id, self.now);
            }
            app.note_left(&channel, left.subscribers, self.now);
        });
        self.hub.unsubscribe(subscription);
        self.tell_count(Some(app), &channel);
    }

    /// Puts the counters where other threads read them.
    pub fn put_counters(&mut self) {
        self.counters.deliveries = *self.hub.deliveries();
        self.counters.passed_over = self.hub.passed_over();
        self.counters.log_bytes = self.hub.log_bytes() as u64;
        self.counters.lag_max = self.hub.lag_max() as u64;
        self.shared.meters.board(self.loop_index).put(&self.counters);
    }
}
