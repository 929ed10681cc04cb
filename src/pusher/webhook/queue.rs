//! The events that one receiver has not taken yet: which are sent next and when, and which are dropped.
//!
//! Times are milliseconds of one clock, whichever that is. Nothing is sent here.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use super::event::{Event, Kinds};
use crate::pusher::app::WebhookEvent;

/// When events are sent, in milliseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timing {
    /// How long `channel_vacated` and `member_removed` wait for the opposite: 3 s, as hosted Pusher has it.
    pub delay_ms: u64,
    /// How long `channel_occupied` and `member_added` wait: not at all; with several servers that report of the same channels, so long
    /// that what another one has reported before goes ahead.
    pub arrival_ms: u64,
    /// How long an event waits for others to share a request with: 100 ms, of which nobody notices anything who is told
    /// over HTTP.
    pub linger_ms: u64,
    /// The pause after a first failed attempt; each further one doubles it: 1 s.
    pub pause_first_ms: u64,
    /// The longest pause: 10 s, so that a receiver that is back is found soon, and that the last attempt begins within 5
    /// minutes even if every attempt takes 10 s.
    pub pause_max_ms: u64,
    /// An event is dropped after a failed attempt that began this long after the event could first be sent, and this long
    /// after the first of the failed attempts since the receiver last took something: 280 s.
    pub retry_ms: u64,
}

impl Timing {
    /// That of one server.
    pub const DEFAULT: Self = Self {
        delay_ms: 3_000,
        arrival_ms: 0,
        linger_ms: 100,
        pause_first_ms: 1_000,
        pause_max_ms: 10_000,
        retry_ms: 280_000,
    };
}

impl Default for Timing {
    fn default() -> Self {
        Self::DEFAULT
    }
}

/// How much a queue and a request may hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bounds {
    /// The most events that wait: 50,000, which a receiver that is away for the time of retries misses at 178 per second.
    pub events_max: usize,
    /// The most bytes that waiting events take, each with an estimate of what keeping it takes: 16 MiB.
    pub len_max: usize,
    /// The most events of a request: 200, which is 2,000 per second to a receiver that answers within 100 ms.
    pub batch_events_max: usize,
    /// The most bytes of events of a request, if it has more than one: 64 KiB. Express refuses a body of more than 100 KiB
    /// unless told otherwise.
    pub batch_len_max: usize,
}

impl Default for Bounds {
    fn default() -> Self {
        Self {
            events_max: 50_000,
            len_max: 16 * 1024 * 1024,
            batch_events_max: 200,
            batch_len_max: 64 * 1024,
        }
    }
}

/// What keeping an event takes besides its text: its places in the tree and among the subjects, and three allocations.
const ENTRY_LEN: usize = 200;

/// What became of an event that was reported.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pushed {
    /// It waits. [`WebhookQueue::next`] is to be asked at this time, unless it has named an earlier one.
    Waits(u64),
    /// The receiver is not told of its kind, it has cancelled an event or was cancelled, or a waiting event has taken its
    /// place.
    Settled,
    /// The queue is full, or closed.
    Dropped,
}

/// What is to be done now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Next {
    /// Send these, then say how that went by [`WebhookQueue::taken`] or [`WebhookQueue::failed`].
    Send(Vec<Arc<str>>),
    /// Ask again at this time.
    WaitUntil(u64),
    /// Nothing waits.
    Wait,
}

/// What became of events so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Events that wait, those that are being sent among them.
    pub queued: u64,
    /// Events that the receiver took.
    pub sent: u64,
    /// Attempts that failed.
    pub failed: u64,
    /// Events that were dropped.
    pub dropped: u64,
}

impl Counts {
    /// Adds those of another queue.
    pub fn add(&mut self, other: Self) {
        self.queued += other.queued;
        self.sent += other.sent;
        self.failed += other.failed;
        self.dropped += other.dropped;
    }
}

/// The waiting events of one receiver. How to drive it: ask [`WebhookQueue::next`] for what to do, send what it gives, and
/// report the outcome before asking again; wait until the time that it or [`WebhookQueue::push`] names.
#[derive(Debug)]
pub struct WebhookQueue {
    kinds: Kinds,
    timing: Timing,
    bounds: Bounds,
    /// In the order of sending. Invariant: `len` is the sum of their costs.
    entries: BTreeMap<Place, Entry>,
    len: usize,
    /// The newest entry about each subject. Invariant: each place is that of an entry with this subject.
    subjects: HashMap<Arc<Subject>, Place>,
    in_flight: Option<InFlight>,
    /// The newest time that was handed in: loops read their clocks at different moments.
    now_ms: u64,
    last_number: u64,
    /// Set if the last attempt failed.
    failing: Option<Failing>,
    is_closed: bool,
    sent: u64,
    failed: u64,
    dropped: u64,
}

/// Where an event stands: when it may first be sent, then in the order of reports.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Place {
    at_ms: u64,
    number: u64,
}

#[derive(Debug)]
struct Entry {
    text: Arc<str>,
    /// Since when it could be sent, for the time of retries.
    since_ms: u64,
    subject: Option<Arc<Subject>>,
}

/// What a later event may be about as well.
#[derive(Debug, PartialEq, Eq, Hash)]
struct Subject {
    kind: WebhookEvent,
    channel: Box<str>,
    user_id: Option<Box<str>>,
}

/// The attempt that is under way: all entries up to this place.
#[derive(Clone, Copy, Debug)]
struct InFlight {
    last: Place,
    began_ms: u64,
}

/// A receiver that takes nothing at present.
#[derive(Clone, Copy, Debug)]
struct Failing {
    /// When the first failed attempt began.
    since_ms: u64,
    /// The next attempt is made after this pause.
    pause_ms: u64,
    pause_until_ms: u64,
}

impl WebhookQueue {
    /// An empty queue for these kinds of events.
    #[must_use]
    pub fn new(kinds: Kinds, timing: Timing, bounds: Bounds) -> Self {
        Self {
            kinds,
            timing,
            bounds,
            entries: BTreeMap::new(),
            len: 0,
            subjects: HashMap::new(),
            in_flight: None,
            now_ms: 0,
            last_number: 0,
            failing: None,
            is_closed: false,
            sent: 0,
            failed: 0,
            dropped: 0,
        }
    }

    /// From now on, the receiver is told of these kinds. What waits is sent all the same.
    pub fn set_kinds(&mut self, kinds: Kinds) {
        self.kinds = kinds;
    }

    /// No event is taken from now on, and those that wait are sent at once, each once.
    pub fn close(&mut self) {
        self.is_closed = true;
    }

    /// Whether it was closed.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.is_closed
    }

    /// What became of events so far.
    #[must_use]
    pub fn counts(&self) -> Counts {
        let queued = self.entries.len() as u64;
        Counts { queued, sent: self.sent, failed: self.failed, dropped: self.dropped }
    }

    /// Takes an event; `text` is its JSON, which the queues of several receivers share. O(log n) in the waiting events.
    #[must_use]
    pub fn push(&mut self, event: &Event, text: &Arc<str>, now_ms: u64) -> Pushed {
        self.now_ms = self.now_ms.max(now_ms);
        if self.is_closed {
            return self.drop_new(event);
        }
        match event {
            Event::ChannelOccupied { channel } => {
                if self.cancel(&Subject::of(WebhookEvent::ChannelVacated, channel, None)) {
                    return Pushed::Settled;
                }
                let subject = self.arrival_of(WebhookEvent::ChannelOccupied, channel, None);
                self.append(event, text, subject, self.after_ms(self.timing.arrival_ms))
            }
            Event::MemberAdded { channel, user_id } => {
                if self.cancel(&Subject::of(WebhookEvent::MemberRemoved, channel, Some(user_id))) {
                    return Pushed::Settled;
                }
                let subject = self.arrival_of(WebhookEvent::MemberAdded, channel, Some(user_id));
                self.append(event, text, subject, self.after_ms(self.timing.arrival_ms))
            }
            Event::ChannelVacated { channel } => {
                let arrival = self.arrival_of(WebhookEvent::ChannelOccupied, channel, None);
                let subject = Subject::of(WebhookEvent::ChannelVacated, channel, None);
                self.delay(event, text, subject, arrival)
            }
            Event::MemberRemoved { channel, user_id } => {
                let arrival = self.arrival_of(WebhookEvent::MemberAdded, channel, Some(user_id));
                let subject = Subject::of(WebhookEvent::MemberRemoved, channel, Some(user_id));
                self.delay(event, text, subject, arrival)
            }
            Event::ClientEvent { .. } => self.append(event, text, None, self.now_ms),
            Event::CacheMiss { channel } => {
                self.replace(event, text, Subject::of(WebhookEvent::CacheMiss, channel, None))
            }
            Event::SubscriptionCount { channel, .. } => {
                self.replace(event, text, Subject::of(WebhookEvent::SubscriptionCount, channel, None))
            }
        }
    }

    /// What is to be done now. Until an attempt has been reported as [`taken`](Self::taken) or [`failed`](Self::failed),
    /// there is nothing. O(events of a request).
    #[must_use]
    pub fn next(&mut self, now_ms: u64) -> Next {
        self.now_ms = self.now_ms.max(now_ms);
        if self.in_flight.is_some() {
            return Next::Wait;
        }
        let Some(first) = self.entries.keys().next().copied() else { return Next::Wait };
        if self.now_ms < self.pause_until_ms() && !self.is_closed {
            return Next::WaitUntil(self.pause_until_ms());
        }
        let Batch { texts, last, is_full } = self.batch();
        let Some(last) = last.filter(|_| is_full || self.is_closed || self.due_ms(first) <= self.now_ms)
        else {
            return Next::WaitUntil(self.due_ms(first));
        };
        self.in_flight = Some(InFlight { last, began_ms: self.now_ms });
        Next::Send(texts)
    }

    /// The receiver took what [`next`](Self::next) gave. Returns the number of events.
    pub fn taken(&mut self) -> u64 {
        let Some(InFlight { last, .. }) = self.in_flight.take() else { return 0 };
        self.failing = None;
        let taken = self.remove_until(last, |_| true);
        self.sent += taken;
        taken
    }

    /// The attempt failed: the events are tried again after a pause, but for those whose time is over. Returns how many are
    /// dropped.
    pub fn failed(&mut self, now_ms: u64) -> u64 {
        self.now_ms = self.now_ms.max(now_ms);
        let Some(InFlight { last, began_ms }) = self.in_flight.take() else { return 0 };
        let timing = self.timing;
        let since_ms = self.failing.map_or(began_ms, |failing| failing.since_ms);
        let pause_ms =
            self.failing.map_or(timing.pause_first_ms, |failing| failing.pause_ms.saturating_mul(2));
        let pause_ms = pause_ms.min(timing.pause_max_ms);
        let pause_until_ms = self.now_ms.saturating_add(pause_ms);
        self.failing = Some(Failing { since_ms, pause_ms, pause_until_ms });
        self.failed += 1;
        let is_closed = self.is_closed;
        let dropped = self.remove_until(last, |entry| {
            is_closed || entry.since_ms.max(since_ms).saturating_add(timing.retry_ms) <= began_ms
        });
        self.dropped += dropped;
        dropped
    }

    /// Drops all that waits, and takes nothing more. Returns how many events were dropped.
    pub fn abandon(&mut self) -> u64 {
        self.is_closed = true;
        self.in_flight = None;
        let dropped = self.entries.len() as u64;
        self.entries.clear();
        self.subjects.clear();
        self.len = 0;
        self.dropped += dropped;
        dropped
    }

    /// When a request with the event at that place is due.
    fn due_ms(&self, place: Place) -> u64 {
        place.at_ms.saturating_add(self.timing.linger_ms)
    }

    /// The end of the last pause.
    fn pause_until_ms(&self) -> u64 {
        self.failing.map_or(0, |failing| failing.pause_until_ms)
    }

    /// The first events that may be sent, as far as a request holds them.
    fn batch(&self) -> Batch {
        let at_ms = if self.is_closed { u64::MAX } else { self.now_ms };
        let (mut texts, mut len, mut last) = (Vec::new(), 0, None);
        for (place, entry) in self.entries.range(..=Place { at_ms, number: u64::MAX }) {
            len += entry.text.len();
            let is_full = texts.len() == self.bounds.batch_events_max
                || (!texts.is_empty() && len > self.bounds.batch_len_max);
            if is_full {
                return Batch { texts, last, is_full };
            }
            texts.push(Arc::clone(&entry.text));
            last = Some(*place);
        }
        let is_full = texts.len() == self.bounds.batch_events_max;
        Batch { texts, last, is_full }
    }

    /// Removes the event about the subject if it still waits for its opposite. Returns whether there was one.
    fn cancel(&mut self, subject: &Subject) -> bool {
        let waiting = self.subjects.get(subject).copied().filter(|place| place.at_ms > self.now_ms);
        if let Some(place) = waiting {
            self.remove(place);
        }
        waiting.is_some()
    }

    /// The subject of an event whose opposite may follow before it is sent; none where it does not wait.
    fn arrival_of(&self, kind: WebhookEvent, channel: &str, user_id: Option<&str>) -> Option<Subject> {
        (self.timing.arrival_ms > 0).then(|| Subject::of(kind, channel, user_id))
    }

    fn after_ms(&self, ms: u64) -> u64 {
        self.now_ms.saturating_add(ms)
    }

    /// Takes an event that waits for its opposite. It does not go ahead of its opposite that waits.
    fn delay(
        &mut self,
        event: &Event,
        text: &Arc<str>,
        subject: Subject,
        arrival: Option<Subject>,
    ) -> Pushed {
        if self.subjects.get(&subject).is_some_and(|place| place.at_ms > self.now_ms) {
            return Pushed::Settled;
        }
        let arrives = arrival.and_then(|arrival| self.subjects.get(&arrival));
        let arrives_ms = arrives.map_or(0, |place| place.at_ms);
        self.append(event, text, Some(subject), self.after_ms(self.timing.delay_ms).max(arrives_ms))
    }

    /// Takes an event that takes the place of an earlier one about the same subject, unless that is being sent.
    fn replace(&mut self, event: &Event, text: &Arc<str>, subject: Subject) -> Pushed {
        let sending = self.in_flight.map(|in_flight| in_flight.last);
        let earlier = self.subjects.get(&subject).filter(|place| sending.is_none_or(|last| **place > last));
        let Some(entry) = earlier.and_then(|place| self.entries.get_mut(place)) else {
            return self.append(event, text, Some(subject), self.now_ms);
        };
        self.len -= entry.cost();
        entry.text = Arc::clone(text);
        entry.since_ms = self.now_ms;
        self.len += entry.cost();
        Pushed::Settled
    }

    fn append(&mut self, event: &Event, text: &Arc<str>, subject: Option<Subject>, at_ms: u64) -> Pushed {
        if !self.kinds.contains(event.kind()) {
            return Pushed::Settled;
        }
        let subject = subject.map(Arc::new);
        let entry = Entry { text: Arc::clone(text), since_ms: at_ms, subject };
        let is_full = self.entries.len() >= self.bounds.events_max
            || self.len.saturating_add(entry.cost()) > self.bounds.len_max;
        if is_full {
            return self.drop_new(event);
        }
        self.last_number += 1;
        let place = Place { at_ms: entry.since_ms, number: self.last_number };
        if let Some(subject) = &entry.subject {
            self.subjects.insert(Arc::clone(subject), place);
        }
        self.len += entry.cost();
        self.entries.insert(place, entry);
        Pushed::Waits(self.due_ms(place).max(self.pause_until_ms()))
    }

    fn drop_new(&mut self, event: &Event) -> Pushed {
        if !self.kinds.contains(event.kind()) {
            return Pushed::Settled;
        }
        self.dropped += 1;
        Pushed::Dropped
    }

    /// Removes the entries up to that place for which the rule holds.
    fn remove_until(&mut self, last: Place, is_over: impl Fn(&Entry) -> bool) -> u64 {
        let ended = self.entries.range(..=last).filter(|(_, entry)| is_over(entry));
        let ended: Vec<_> = ended.map(|(place, _)| *place).collect();
        ended.iter().for_each(|place| self.remove(*place));
        ended.len() as u64
    }

    fn remove(&mut self, place: Place) {
        let Some(entry) = self.entries.remove(&place) else { return };
        self.len -= entry.cost();
        if let Some(subject) = &entry.subject
            && self.subjects.get(subject) == Some(&place)
        {
            self.subjects.remove(subject);
        }
    }
}

/// The first events that may be sent.
struct Batch {
    texts: Vec<Arc<str>>,
    last: Option<Place>,
    /// Whether a request holds no more.
    is_full: bool,
}

impl Entry {
    /// The bytes that it counts for. A subject repeats names that the text has.
    fn cost(&self) -> usize {
        let copies = if self.subject.is_some() { 2 } else { 1 };
        self.text.len() * copies + ENTRY_LEN
    }
}

impl Subject {
    fn of(kind: WebhookEvent, channel: &str, user_id: Option<&str>) -> Self {
        Self { kind, channel: channel.into(), user_id: user_id.map(Into::into) }
    }
}

#[cfg(test)]
#[path = "queue_tests.rs"]
mod tests;

#[cfg(test)]
#[path = "queue_model_tests.rs"]
mod model_tests;
