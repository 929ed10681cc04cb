//! One channel on a node whose numbers Redis draws: how far it has been delivered, whether something is missing, and what to ask
//! Redis for then. Events and times come in, actions go out.
//!
//! Redis's bytes, connections, histories and subscribers are not known here. A channel that no request has named, or that is
//! forgotten, has no value of this type.
//!
//! ```text
//!  new ──> Joining ──> Live <──> Filling          any ──> Stale (no connection) ──> Joining
//!                       └──> Leaving ──> forgotten
//! ```

mod leaving;

use crate::hub::{Gap, PublicationId};
use crate::server::broker::engine::filling::{Filling, READ_MAX, READ_PART, fitting};
use crate::server::broker::engine::signal::{Action, Event, Opening, RENEW_STEP_MS, Reading, Record, Rules};
use crate::server::clock::Millis;

/// The number of subscribers is told this long after it was last told, so it is at most about 2 s old at other nodes.
pub const COUNT_MS: u64 = 2_000;

/// What Redis refused is asked again after this long, then twice as long each time, up to the second.
const RETRY_MS: u64 = 50;
const RETRY_MS_MAX: u64 = 2_000;
const DOUBLINGS_MAX: u32 = 6;

/// A channel.
///
/// Invariants: there is a position before the channel is ready, live or being filled. An attempt has one open in flight at most,
/// and one read. While it is filled, something after the position is known to exist and is not held.
#[derive(Debug)]
pub struct Channel {
    state: State,
    rules: Rules,
    /// The last publication that was delivered or told as the end of a gap.
    position: Option<PublicationId>,
    /// How many publications the next read asks for, at most.
    read_max: u8,
    /// Whether requests may join.
    is_ready: bool,
    /// The number of the commands whose answers count. Its upper half is the serial.
    attempt: u64,
    /// Whether an open of this attempt is in flight.
    is_opening: bool,
    /// The subscribers on this node, how many the last open said, and the most that Redis may believe apart from that one.
    count: u64,
    said: u64,
    told: u64,
    said_at: Millis,
    renew_at: Millis,
    /// Since when nobody wants it.
    unwanted_at: Option<Millis>,
    /// Whether somebody may be about to join it though nobody wants it.
    is_expected: bool,
    /// Whether too many others that nobody wants have come after it.
    is_crowded_out: bool,
    /// When what was refused is asked again, and how often it was refused.
    retry_at: Option<Millis>,
    refusals: u32,
}

#[derive(Debug)]
enum State {
    /// An open was sent, or will be again when it was refused. Publications that come before its answer are a part of that.
    Joining,
    /// Nothing is missing.
    Live,
    /// Something after the position is read.
    Filling(Box<Filling>),
    /// There is no connection.
    Stale,
    /// Redis is told that this node has no subscribers left.
    Leaving,
}

impl Channel {
    /// A channel that a request names for the first time. `serial` is another for each value of this type: answers to commands of
    /// one that was forgotten may still be on their way.
    #[must_use]
    pub fn new(
        rules: Rules,
        serial: u32,
        is_connected: bool,
        now: Millis,
        actions: &mut Vec<Action>,
    ) -> Self {
        let mut channel = Self {
            state: State::Stale,
            rules,
            position: None,
            read_max: READ_MAX,
            is_ready: false,
            attempt: u64::from(serial) << u32::BITS,
            is_opening: false,
            count: 0,
            said: 0,
            told: 0,
            said_at: now,
            renew_at: now,
            unwanted_at: None,
            is_expected: false,
            is_crowded_out: false,
            retry_at: None,
            refusals: 0,
        };
        if is_connected {
            channel.subscribe(now, actions);
        }
        channel
    }

    /// Whether requests may join at once: what they would miss is delivered to all.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        self.is_ready
    }

    /// The newest publication that this node has, or that there was when the channel was joined.
    #[must_use]
    pub fn position(&self) -> Option<PublicationId> {
        self.position
    }

    /// Whether nothing is missing.
    #[must_use]
    pub fn is_live(&self) -> bool {
        matches!(self.state, State::Live)
    }

    /// The subscribers on this node, as they were counted last.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.count
    }

    /// The bytes that are held because something before them is missing.
    #[must_use]
    pub fn held_len(&self) -> usize {
        match &self.state {
            State::Filling(filling) => filling.held_len,
            State::Joining | State::Live | State::Stale | State::Leaving => 0,
        }
    }

    /// When [`Event::Tick`] is due.
    #[must_use]
    pub fn due(&self) -> Option<Millis> {
        let command_at = match self.state {
            State::Live | State::Filling(_) if self.is_opening => self.retry_at,
            State::Live | State::Filling(_) => self.retry_at.or_else(|| Some(self.report_at())),
            State::Joining | State::Leaving => self.retry_at,
            State::Stale => None,
        };
        let leave_at = self.quiet_at().filter(|_| !self.is_mute());
        command_at.into_iter().chain(leave_at).min()
    }

    /// Takes an event, and adds what is to be done.
    pub fn take(&mut self, event: Event, now: Millis, actions: &mut Vec<Action>) {
        match event {
            Event::Wanted => self.wanted(now, actions),
            // It is left by a tick, ahead of which nobody may join it any more.
            Event::Unwanted => {
                self.unwanted_at.get_or_insert(now);
            }
            Event::Expected => {
                (self.unwanted_at, self.is_expected, self.is_crowded_out) = (Some(now), true, false);
            }
            Event::CrowdedOut => self.is_crowded_out = self.is_unwanted(),
            Event::Counted(count) => self.count = count,
            Event::Connected => self.connected(now, actions),
            Event::Disconnected => self.disconnected(now, actions),
            Event::Pushed(record, room) => self.pushed(record, room, now, actions),
            Event::Opened(attempt, opening) if attempt == self.attempt => self.opened(opening, now, actions),
            Event::NotOpened(attempt) if attempt == self.attempt => self.not_opened(now, actions),
            Event::Known(newest) => self.known(newest, now, actions),
            Event::Read(attempt, reading) if attempt == self.attempt => self.read(reading, now, actions),
            Event::NotRead(attempt) if attempt == self.attempt => {
                if let State::Filling(filling) = &mut self.state {
                    filling.reading = None;
                    self.refused(now);
                }
            }
            // Of an attempt that was given up.
            Event::Opened(..) | Event::NotOpened(_) | Event::Read(..) | Event::NotRead(_) => {}
            Event::Renew => {
                self.renew_at = self.renew_at.min(now);
                self.tick(now, actions);
            }
            Event::Tick => self.tick(now, actions),
        }
    }

    fn wanted(&mut self, now: Millis, actions: &mut Vec<Action>) {
        (self.unwanted_at, self.is_expected, self.is_crowded_out) = (None, false, false);
        match self.state {
            State::Leaving => self.subscribe(now, actions),
            State::Joining | State::Live | State::Filling(_) | State::Stale => {}
        }
    }

    fn connected(&mut self, now: Millis, actions: &mut Vec<Action>) {
        match self.state {
            State::Stale if self.is_quiet(now) => self.leave(now, actions),
            State::Stale => self.subscribe(now, actions),
            State::Joining | State::Live | State::Filling(_) | State::Leaving => {}
        }
    }

    fn disconnected(&mut self, now: Millis, actions: &mut Vec<Action>) {
        self.give_up_attempt();
        if let State::Filling(filling) = &self.state
            && filling.reading.is_some()
        {
            self.read_max = (self.read_max / READ_PART).max(1);
        }
        self.state = State::Stale;
        self.tick(now, actions);
    }

    /// Answers to what is in flight do not count any more. Redis may have executed it or not.
    fn give_up_attempt(&mut self) {
        self.attempt += 1;
        if std::mem::take(&mut self.is_opening) {
            self.told = self.told.max(self.said);
        }
        self.retry_at = None;
    }

    /// One write of both is a join without a hole: Redis answers in the order of execution. What comes before the answer to the
    /// open is not newer than it says, what comes after it is.
    fn subscribe(&mut self, now: Millis, actions: &mut Vec<Action>) {
        actions.push(Action::Subscribe);
        self.rejoin(now, actions);
    }

    /// Asks anew where the channel is, while it is subscribed.
    fn rejoin(&mut self, now: Millis, actions: &mut Vec<Action>) {
        self.give_up_attempt();
        self.state = State::Joining;
        self.open(self.count, now, actions);
    }

    fn open(&mut self, count: u64, now: Millis, actions: &mut Vec<Action>) {
        (self.said, self.said_at, self.is_opening) = (count, now, true);
        actions.push(Action::Open { attempt: self.attempt, count, known: self.position });
    }

    fn opened(&mut self, opening: Opening, now: Millis, actions: &mut Vec<Action>) {
        let is_joining = match self.state {
            State::Joining => true,
            State::Live | State::Filling(_) => false,
            State::Leaving => return actions.push(Action::Forget),
            State::Stale => unreachable!("a lost connection ends the attempt"),
        };
        (self.told, self.is_opening, self.refusals) = (self.said, false, 0);
        // Channels that were joined at one time are not renewed at one time: a number that is told does not put it off.
        if is_joining || self.renew_at <= now {
            let part = if is_joining { u64::from(self.rules.phase) + 1 } else { 256 };
            let due = now.0 + self.rules.renew_ms * part / 256;
            self.renew_at = Millis(due.next_multiple_of(RENEW_STEP_MS));
        }
        let newest = opening.newest;
        match self.position {
            Some(position) if position.epoch == newest.epoch && position.sequence <= newest.sequence => {}
            Some(position) if position.epoch == newest.epoch => {
                // It has gone back. Redis begins a new epoch when it is told next what this node knows.
                self.state = State::Joining;
                return self.refused(now);
            }
            Some(_) | None => self.begin(opening, actions),
        }
        self.fill(newest.sequence, actions);
    }

    /// Goes to the beginning of what Redis has of another epoch.
    fn begin(&mut self, opening: Opening, actions: &mut Vec<Action>) {
        let Opening { newest, oldest } = opening;
        let past = oldest.saturating_sub(1).min(newest.sequence);
        if self.is_ready {
            let since = PublicationId { epoch: newest.epoch, sequence: past };
            self.position = Some(since);
            actions.push(Action::Gap(Gap { missed: None }, since));
        } else {
            let past = past.max(newest.sequence.saturating_sub(self.rules.keep));
            let since = PublicationId { epoch: newest.epoch, sequence: past };
            self.position = Some(since);
            actions.push(Action::Begin(since));
        }
        // What is held, and what a read in flight has asked for, is of the epoch before.
        self.attempt += 1;
        self.state = State::Live;
    }

    /// Fills up to this publication, at least.
    fn fill(&mut self, newest: u64, actions: &mut Vec<Action>) {
        match &mut self.state {
            State::Filling(filling) => filling.newest = filling.newest.max(newest),
            State::Joining | State::Live => self.state = State::Filling(Box::new(Filling::to(newest))),
            State::Stale | State::Leaving => unreachable!("nothing is filled without a subscription"),
        }
        self.advance(actions);
    }

    /// Delivers what is held and next, then asks for what is missing, or is live.
    fn advance(&mut self, actions: &mut Vec<Action>) {
        let State::Filling(filling) = &mut self.state else { return };
        if filling.reading.is_some() {
            return;
        }
        let position = self.position.as_mut().expect("a channel has a position before it is filled");
        while let Some(record) = filling.take_until(position.sequence + 1) {
            if record.id.sequence > position.sequence {
                *position = record.id;
                actions.push(Action::Deliver(record));
            }
        }
        let from = position.sequence + 1;
        let missing = filling.held.front().map_or(filling.newest, |first| first.id.sequence - 1);
        if missing >= from {
            let to = missing.min(from + u64::from(self.read_max) - 1);
            filling.reading = Some(to);
            actions.push(Action::Read { attempt: self.attempt, from, to });
            return;
        }
        self.state = State::Live;
        if !self.is_ready {
            self.is_ready = true;
            actions.push(Action::Ready);
        }
    }

    fn read(&mut self, reading: Reading, now: Millis, actions: &mut Vec<Action>) {
        let State::Filling(filling) = &mut self.state else { return };
        let Some(to) = filling.reading.take() else { return };
        self.refusals = 0;
        self.read_max = fitting(&reading.stored);
        let position = self.position.expect("a channel has a position before it is filled");
        if reading.epoch != Some(position.epoch) {
            return self.rejoin(now, actions);
        }
        // What is held need not be read, though Redis does not keep it any more.
        let first_held = filling.held.front().map(|first| first.id.sequence);
        let trimmed = first_held.map_or(reading.oldest, |first| reading.oldest.min(first));
        self.skip_to(trimmed.saturating_sub(1), actions);
        let mut is_one_absent = false;
        let from = position.sequence + 1;
        let stored = reading.stored.into_iter().chain(std::iter::repeat(None));
        for (sequence, stored) in (from..=to).zip(stored) {
            if sequence < trimmed {
                continue;
            }
            let Some(stored) = stored else {
                is_one_absent |= sequence >= reading.oldest;
                continue;
            };
            self.skip_to(sequence - 1, actions);
            self.deliver(Record { id: PublicationId { sequence, ..position }, stored }, actions);
        }
        if is_one_absent {
            // Somebody has deleted it, or Redis has gone back: then a new epoch begins once Redis is told what this node knows.
            self.skip_to(to, actions);
            return self.rejoin(now, actions);
        }
        self.advance(actions);
    }

    /// What Redis has and this node has not was not pushed, or is about to be read.
    fn known(&mut self, newest: PublicationId, now: Millis, actions: &mut Vec<Action>) {
        let is_subscribed = matches!(self.state, State::Live | State::Filling(_));
        match self.position.filter(|_| is_subscribed) {
            Some(position) if position.epoch != newest.epoch => self.rejoin(now, actions),
            Some(position) if position.sequence < newest.sequence => self.fill(newest.sequence, actions),
            // Of an earlier connection, or nothing is missing.
            Some(_) | None => {}
        }
    }

    fn pushed(&mut self, record: Record, room: usize, now: Millis, actions: &mut Vec<Action>) {
        let is_subscribed = matches!(self.state, State::Live | State::Filling(_));
        let Some(position) = self.position.filter(|_| is_subscribed) else { return };
        if record.id.epoch != position.epoch {
            return self.rejoin(now, actions);
        }
        let sequence = record.id.sequence;
        match &mut self.state {
            State::Live if sequence == position.sequence + 1 => self.deliver(record, actions),
            State::Live if sequence > position.sequence => {
                let mut filling = Filling::to(sequence);
                filling.hold(record, room);
                self.state = State::Filling(Box::new(filling));
                self.advance(actions);
            }
            State::Filling(filling) if sequence > position.sequence => {
                filling.newest = filling.newest.max(sequence);
                filling.hold(record, room);
            }
            // It has been delivered, or is a part of what the open says.
            State::Live | State::Filling(_) | State::Joining | State::Stale | State::Leaving => {}
        }
    }

    fn deliver(&mut self, record: Record, actions: &mut Vec<Action>) {
        self.position = Some(record.id);
        actions.push(Action::Deliver(record));
    }

    /// Tells of what is missing up to this publication, if anything is.
    fn skip_to(&mut self, sequence: u64, actions: &mut Vec<Action>) {
        let position = self.position.as_mut().expect("a channel has a position before it is filled");
        if sequence <= position.sequence {
            return;
        }
        let gap = Gap { missed: Some(sequence - position.sequence) };
        position.sequence = sequence;
        actions.push(if self.is_ready { Action::Gap(gap, *position) } else { Action::Begin(*position) });
    }

    fn not_opened(&mut self, now: Millis, actions: &mut Vec<Action>) {
        self.is_opening = false;
        match self.state {
            // Other nodes count its subscribers a while longer.
            State::Leaving if self.refusals == DOUBLINGS_MAX => actions.push(Action::Forget),
            State::Leaving | State::Joining | State::Live | State::Filling(_) => self.refused(now),
            State::Stale => unreachable!("a lost connection ends the attempt"),
        }
    }

    fn refused(&mut self, now: Millis) {
        self.retry_at = Some(Millis(now.0 + RETRY_MS_MAX.min(RETRY_MS << self.refusals)));
        self.refusals = DOUBLINGS_MAX.min(self.refusals + 1);
    }

    fn tick(&mut self, now: Millis, actions: &mut Vec<Action>) {
        if self.is_quiet(now) && !self.is_mute() {
            return self.leave(now, actions);
        }
        let is_retry = self.retry_at.take_if(|at| *at <= now).is_some();
        if self.retry_at.is_some() {
            return;
        }
        match self.state {
            State::Joining if is_retry => self.open(self.count, now, actions),
            State::Leaving if is_retry => self.open(0, now, actions),
            State::Live | State::Filling(_) => {
                if !self.is_opening && (is_retry || self.report_at() <= now) {
                    self.open(self.count, now, actions);
                }
                self.advance(actions);
            }
            State::Joining | State::Stale | State::Leaving => {}
        }
    }

    /// When Redis is told next that the channel is in use here, and by how many.
    fn report_at(&self) -> Millis {
        let counted_at = match self.said {
            // Where nobody was, the first one is told at once: that is what others ask for.
            0 => self.said_at,
            _ => Millis(self.said_at.0 + COUNT_MS),
        };
        if self.count == self.said { self.renew_at } else { self.renew_at.min(counted_at) }
    }
}

#[cfg(test)]
#[path = "channel_tests.rs"]
mod tests;

#[cfg(test)]
#[path = "channel_model_tests.rs"]
mod model_tests;
