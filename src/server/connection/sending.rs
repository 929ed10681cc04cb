//! How the bytes of a connection are sent: the rest of a started frame, then its private bytes, then the logs that it
//! reads. And how the lag policy is applied to a subscriber that does not keep up.
//!
//! When a connection is flushed is the event loop's to decide.

use std::cmp::Reverse;
use std::fmt;
use std::io;

use super::context::Context;
use super::lag::FRESH_MS;
use super::life::{Awaits, Life};
use super::outbox::Outbox;
use super::stream::Outlet;
use super::subscriptions::{Entry, Subscriptions};
use super::watching::name_of;
use super::writing::{Writer, write_one, write_outbox, write_several};
use super::{Connection, Input, Next};
use crate::config::LagPolicy;
use crate::hub::{Hub, Lost, Subscription};
use crate::server::encoder::{self, Notice};
use crate::server::metrics::refusals::Reason;
use crate::ws::CloseCode;

/// The close reason for a subscriber that lags too far.
const LAGGED: &str = "too far behind (--max-lag); reconnect to go on from the newest";

/// The close reason for a peer that does not take what the session sends it.
const FLOODED: &str = "too far behind (--max-lag): you do not take what you are sent";

/// The close reason when the server stops.
const GOODBYE: &str = "the server is stopping; reconnect in a moment";

/// What is to be done after a write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Flushed {
    /// Nothing.
    Settled,
    /// The outbox has drained far enough: read again.
    ReadOn,
    /// Everything is sent, and the server stops: close now.
    Leave,
    /// The keys of its TLS session are used up but for the end: close now.
    Spent,
    /// A publication has arrived for the long poll.
    Answer,
    /// The connection lags by too many bytes, or for too long.
    Lagged,
    /// Its session has sent more than its peer takes.
    Flooded,
    /// Unsent publications of channels under [`LagPolicy::Latest`] are too old.
    Stale,
    /// A request has taken what its session gave it.
    Taken,
    /// The last line of a session is written.
    Over,
}

impl Connection {
    /// Writes what the socket takes, and does what is due after that.
    pub fn flush(&mut self, cx: &mut Context) -> Next {
        let next = self.flush_all(cx);
        self.outbox.give_back(&mut cx.spares);
        next
    }

    fn flush_all(&mut self, cx: &mut Context) -> Next {
        if let Subscriptions::Several(several) = &mut self.subscriptions {
            several.is_queued = false;
        }
        if let Life::Carried(session) = &self.life {
            cx.pipe.open(session.room());
        }
        let mut next = Next::Wait;
        // This ends: each of these outcomes removes its own cause.
        loop {
            match self.write(cx) {
                Ok(Flushed::Settled) => return next,
                Ok(Flushed::ReadOn) => return Next::Read,
                Ok(Flushed::Taken) => return Next::Carry,
                Ok(Flushed::Over) => return Next::Drop,
                Ok(Flushed::Leave) => self.close(CloseCode::GOING_AWAY, GOODBYE, cx),
                Ok(Flushed::Spent) => self.end_spent(cx),
                Ok(Flushed::Answer) => {
                    self.answer_poll(cx);
                    // A request may have arrived during the wait.
                    next = Next::Read;
                }
                Ok(Flushed::Flooded) => {
                    cx.note(Reason::Lagged, &FLOODED);
                    self.close(CloseCode::TRY_AGAIN_LATER, FLOODED, cx);
                }
                Ok(Flushed::Stale) => {
                    self.skip_stale(cx);
                    self.lateness.clear();
                }
                Ok(Flushed::Lagged) => {
                    self.apply_lag_policy(cx);
                    if !self.stream.is_writable() {
                        return next;
                    }
                }
                Err(_) => return Next::Drop,
            }
        }
    }

    /// Writes what the socket takes, as a rule with one system call: a connection's write budget of a turn. A reconnected
    /// subscriber that missed more than an outbox holds is sent one outbox after the other, as long as the socket takes
    /// them.
    fn write(&mut self, cx: &mut Context) -> io::Result<Flushed> {
        if self.is_poll_ready(cx) {
            return Ok(Flushed::Answer);
        }
        if self.stream.is_writable() && self.is_stale(cx) {
            return Ok(Flushed::Stale);
        }
        let (was_refused, sent_before) = (self.stream.is_refused(), cx.counters.bytes_sent);
        while self.stream.is_writable() {
            let is_whole = self.prepare(cx);
            let has_more = self.write_once(cx)?;
            let has_to_tell = self.note_places(cx);
            if is_whole && !has_more && !has_to_tell {
                break;
            }
        }
        debug_assert!(!self.stream.is_freed(), "or a peer would be excused for ever");
        if was_refused && cx.counters.bytes_sent > sent_before {
            self.note_took(cx);
        } else if self.stream.is_refused() && !was_refused {
            self.deadlines.was_refused(self.stage(), cx.now);
        }
        if let Life::EventStream(_) = self.life
            && self.stream.is_refused()
            && !was_refused
        {
            self.expect_progress(cx);
        }
        if self.is_spent() {
            return Ok(Flushed::Spent);
        }
        if self.is_lagging(cx) {
            return Ok(Flushed::Lagged);
        }
        self.after_write(cx)
    }

    /// Whether its session has sent more than `--max-lag` that the socket does not take, besides the newest message, which may
    /// have any length.
    fn is_flooded(&self, cx: &Context) -> bool {
        let Some(id) = self.actor_id() else { return false };
        let others_len = (self.unsent_len() as u64).saturating_sub(cx.actors.newest_len(id));
        others_len > cx.lag_rules.lag_max && !self.stream.is_writable()
    }

    /// The peer took bytes after the socket had refused some: a sign of life.
    fn note_took(&mut self, cx: &Context) {
        let stage = self.stage();
        self.deadlines.took(stage, cx.now, self.input == Input::Held);
        match &mut self.life {
            Life::WebSocket(websocket) => websocket.heard(),
            Life::EventStream(stream) => stream.awaits = Awaits::Nothing,
            Life::Http(_)
            | Life::LongPoll(_)
            | Life::Carried(_)
            | Life::Carrier(_)
            | Life::Finishing
            | Life::Lingering => {}
        }
    }

    /// Fills the outbox with what goes ahead of the logs: replays, notices of lag and positions. False if a replay is not
    /// finished.
    fn prepare(&mut self, cx: &mut Context) -> bool {
        let is_whole = self.refill(cx);
        self.tell_places(cx);
        is_whole
    }

    fn refill(&mut self, cx: &mut Context) -> bool {
        let Context { hub, encoder, timeouts, .. } = cx;
        let mut is_whole = true;
        self.subscriptions.for_each_listed(|entry| {
            let Entry { subscription, replay, .. } = entry;
            if let Some(missed) = replay {
                if !missed.refill(subscription.form(), encoder, &mut self.outbox) {
                    is_whole = false;
                    return;
                }
                *replay = None;
            }
            tell_skipped(*subscription, hub, timeouts.idle_ms(), &mut self.outbox);
        });
        is_whole
    }

    /// Tells the reader of several channels what it has skipped since it was last told.
    pub(super) fn tell_skipped(&mut self, cx: &mut Context) {
        for entry in self.subscriptions.listed().filter(|entry| entry.replay.is_none()) {
            tell_skipped(entry.subscription, &mut cx.hub, cx.timeouts.idle_ms(), &mut self.outbox);
        }
    }

    /// One write. Returns whether logs have bytes beyond those that were offered to the socket: of a single subscription,
    /// a write ends before a publication that excludes it; of several, the number of runs is bounded.
    pub(super) fn write_once(&mut self, cx: &mut Context) -> io::Result<bool> {
        let Self { stream, outbox, subscriptions, .. } = self;
        let Context { hub, counters, pipe, sealing, .. } = cx;
        let outlet = Outlet { pipe, sealing, sent: &mut counters.bytes_sent };
        let mut writer = Writer { stream, outlet };
        match subscriptions {
            Subscriptions::None => write_outbox(&mut writer, outbox),
            Subscriptions::One(Entry { replay: Some(_), .. }) => write_outbox(&mut writer, outbox),
            Subscriptions::One(entry) => write_one(&mut writer, outbox, entry.subscription, hub),
            Subscriptions::Several(several) => write_several(&mut writer, outbox, several, hub),
        }
    }

    fn say_end(&mut self, cx: &mut Context) -> io::Result<()> {
        let Context { counters, pipe, sealing, .. } = cx;
        self.stream.end(&mut Outlet { pipe, sealing, sent: &mut counters.bytes_sent })
    }

    fn after_write(&mut self, cx: &mut Context) -> io::Result<Flushed> {
        if self.outbox.is_empty() {
            match &mut self.life {
                Life::Carried(session) if session.is_closing => return Ok(Flushed::Over),
                Life::Carrier(carrier) if carrier.is_fed => {
                    carrier.is_fed = false;
                    return Ok(Flushed::Taken);
                }
                Life::Http(_)
                | Life::LongPoll(_)
                | Life::WebSocket(_)
                | Life::EventStream(_)
                | Life::Carried(_)
                | Life::Carrier(_)
                | Life::Finishing
                | Life::Lingering => {}
            }
        }
        if self.is_leaving() && !self.subscriptions.has_replay() && self.lag(cx) == 0 {
            return Ok(Flushed::Leave);
        }
        if matches!(self.life, Life::Finishing) && self.outbox.is_empty() {
            self.say_end(cx)?;
            if self.stream.sealed_len() == 0 {
                self.linger(cx.now);
                self.stream.close_half()?;
                // The peer may have closed its half already, and no further edge would announce it.
                return Ok(Flushed::ReadOn);
            }
        }
        if self.is_flooded(cx) {
            return Ok(Flushed::Flooded);
        }
        if self.input == Input::Held && !self.is_to_be_held() || self.is_drain_due(cx) {
            return Ok(Flushed::ReadOn);
        }
        Ok(Flushed::Settled)
    }

    /// Moves the rest of a partly written frame to the front of the outbox, so that its log need not be kept.
    pub(super) fn keep_started(&mut self, cx: &mut Context) {
        let subscription = match &mut self.subscriptions {
            Subscriptions::None => return,
            Subscriptions::One(entry) => entry.subscription,
            Subscriptions::Several(several) => {
                let Some(entry) = several.started() else { return };
                let subscription = entry.subscription;
                several.finish_started();
                subscription
            }
        };
        let started = cx.hub.started(subscription);
        if !started.is_empty() {
            let len = started.len();
            self.outbox.prepend(started);
            cx.hub.advance(subscription, len);
        }
    }
}

/// Lag.
impl Connection {
    /// The unsent bytes of all its channels.
    pub(super) fn lag(&self, cx: &Context) -> u64 {
        self.subscriptions.listed().map(|entry| cx.hub.lag(entry.subscription)).sum()
    }

    /// Whether unsent publications under [`LagPolicy::Latest`] are too old, and there are newer ones.
    fn is_stale(&self, cx: &Context) -> bool {
        match &self.subscriptions {
            Subscriptions::None => false,
            Subscriptions::One(entry) => {
                self.lateness.is_stale(entry.policy, cx.now) && has_newer(entry, &cx.hub)
            }
            Subscriptions::Several(several) => {
                several.latest.is_stale(LagPolicy::Latest, cx.now)
                    && several.listed().any(|(_, entry)| is_latest(entry) && has_newer(entry, &cx.hub))
            }
        }
    }

    /// Checks the lag after a write. True if a policy has to be applied.
    fn is_lagging(&mut self, cx: &Context) -> bool {
        let Context { hub, now, lag_rules, .. } = cx;
        match &mut self.subscriptions {
            Subscriptions::None => false,
            Subscriptions::One(entry) => {
                if self.stream.is_writable() || hub.lag(entry.subscription) == 0 {
                    self.lateness.clear();
                    return false;
                }
                let is_past = |bound| hub.is_lagged(entry.subscription, bound);
                self.lateness.is_due(entry.policy, is_past, *now, lag_rules)
            }
            Subscriptions::Several(several) => {
                if self.stream.is_writable() {
                    self.lateness.clear();
                    several.latest.clear();
                    return false;
                }
                let (mut all, mut latest) = (Lag::default(), Lag::default());
                for (_, entry) in several.listed() {
                    all.add(entry, hub);
                    if is_latest(entry) {
                        latest.add(entry, hub);
                    }
                }
                if latest.bytes == 0 {
                    several.latest.clear();
                }
                let is_latest_due = latest.bytes > 0
                    && several.latest.is_due(
                        LagPolicy::Latest,
                        |bound| latest.is_past(bound),
                        *now,
                        lag_rules,
                    );
                let is_past = |bound| all.is_past(bound);
                self.lateness.is_due(LagPolicy::Close, is_past, *now, lag_rules) || is_latest_due
            }
        }
    }

    /// Skips to the newest publication in each channel under [`LagPolicy::Latest`].
    fn skip_stale(&mut self, cx: &mut Context) {
        self.keep_started(cx);
        for entry in self.subscriptions.listed() {
            if is_latest(entry) && has_newer(entry, &cx.hub) {
                note_lagged(entry, &format_args!("has been behind for {FRESH_MS} ms"), cx);
                cx.hub.skip_to_newest(entry.subscription, cx.lag_rules.lag_max);
            }
        }
        if let Subscriptions::Several(several) = &mut self.subscriptions {
            several.latest.clear();
        }
    }

    /// Applies the policies of the channels in which it lags: publications that may be skipped are. If that is not enough,
    /// the connection is closed.
    fn apply_lag_policy(&mut self, cx: &mut Context) {
        const PAST_MAX_LAG: &str = "is past --max-lag";
        self.keep_started(cx);
        self.lateness.clear();
        let lag_max = cx.lag_rules.lag_max;
        // The bound is for all channels together, so each channel in which it lags gets its part of it.
        let part = lag_max / self.subscriptions.listed().count().max(1) as u64;
        for entry in self.subscriptions.listed() {
            let may_skip = has_newer(entry, &cx.hub) || cx.hub.is_lagged(entry.subscription, part);
            if entry.policy == LagPolicy::Close || !may_skip {
                continue;
            }
            note_lagged(entry, &PAST_MAX_LAG, cx);
            match entry.policy {
                LagPolicy::Close => {}
                LagPolicy::Skip => cx.hub.skip_oldest(entry.subscription, part),
                LagPolicy::Latest => cx.hub.skip_to_newest(entry.subscription, part),
            }
        }
        if let Subscriptions::Several(several) = &mut self.subscriptions {
            several.latest.clear();
        }
        for subscription in self.to_blame(cx) {
            // It may have ended with the channel that it accompanied.
            let Some(entry) = self.subscriptions.listed().find(|entry| entry.subscription == subscription)
            else {
                continue;
            };
            if !self.is_past_max_lag(cx) {
                break;
            }
            note_lagged(entry, &PAST_MAX_LAG, cx);
            if self.multiplex().is_none() {
                return self.close(CloseCode::TRY_AGAIN_LATER, LAGGED, cx);
            }
            self.expel_lagging(subscription, cx);
        }
    }

    /// The subscriptions under [`LagPolicy::Close`] in which it lags, the one with the largest lag first.
    fn to_blame(&self, cx: &Context) -> Vec<Subscription> {
        let closing = self.subscriptions.listed().filter(|entry| entry.policy == LagPolicy::Close);
        let mut lags: Vec<_> =
            closing.map(|entry| (cx.hub.lag(entry.subscription), entry.subscription)).collect();
        lags.retain(|&(lag, _)| lag > 0);
        lags.sort_by_key(|&(lag, _)| Reverse(lag));
        lags.into_iter().map(|(_, subscription)| subscription).collect()
    }

    /// Whether it lags too far even now that publications were skipped. A single subscription under [`LagPolicy::Close`]
    /// does: nothing was.
    fn is_past_max_lag(&self, cx: &Context) -> bool {
        let Subscriptions::Several(several) = &self.subscriptions else { return true };
        let mut left = Lag::default();
        several.listed().any(|(_, entry)| {
            left.add(entry, &cx.hub);
            left.is_past(cx.lag_rules.lag_max)
        })
    }
}

/// The lag of a connection in some of its channels.
#[derive(Default)]
struct Lag {
    bytes: u64,
    /// Those of publications that exclude it, and of notices.
    others: u64,
    publications: u64,
}

impl Lag {
    fn add(&mut self, entry: &Entry, hub: &Hub) {
        self.bytes += hub.lag(entry.subscription);
        self.others += hub.other_len(entry.subscription);
        self.publications += hub.unread_publications(entry.subscription);
    }

    /// Whether it is more than this many bytes, and that by more than one publication, since a single one may have any
    /// length, or by publications that exclude the connection, which the logs keep for it all the same, and notices.
    fn is_past(&self, bound: u64) -> bool {
        self.bytes > bound && (self.publications > 1 || self.others > bound)
    }
}

/// Tells a subscriber how many publications it has skipped since it was last told, if it has, and what was lost before those
/// could come to this node.
fn tell_skipped(subscription: Subscription, hub: &mut Hub, idle_ms: u64, outbox: &mut Outbox) {
    let skipped = hub.take_missed(subscription);
    let lagged = (skipped > 0).then_some(Notice::Lagged(skipped));
    let gap = hub.take_lost(subscription).map(|Lost { gap, since }| Notice::Gap { gap, since, idle_ms });
    for notice in lagged.into_iter().chain(gap) {
        let name = name_of(subscription, hub);
        encoder::notice(notice, subscription.form(), Some(name.local()), outbox.tail());
    }
}

fn is_latest(entry: &Entry) -> bool {
    entry.policy == LagPolicy::Latest
}

fn has_newer(entry: &Entry, hub: &Hub) -> bool {
    hub.unread_publications(entry.subscription) > 1
}

/// Counts and logs that a policy is applied to a subscriber; `it` is what the log line says of the subscriber.
fn note_lagged(entry: &Entry, it: &dyn fmt::Display, cx: &mut Context) {
    let (policy, channel) = (entry.policy, cx.hub.channel(entry.subscription));
    cx.note(Reason::Lagged, &format_args!("a subscriber of {channel} {it}: {policy:?}"));
    cx.counters.note_lagged(policy);
}
