//! The queue of a receiver against a plain list, and against the truth that the receiver is to learn.

use std::collections::BTreeSet;

use proptest::collection::vec;
use proptest::prelude::*;

use super::*;

const TIMING: Timing = Timing {
    delay_ms: 300,
    arrival_ms: 0,
    linger_ms: 10,
    pause_first_ms: 100,
    pause_max_ms: 1_000,
    retry_ms: 5_000,
};

/// Small, so that they are met.
const BOUNDS: Bounds =
    Bounds { events_max: 12, len_max: 1 << 20, batch_events_max: 4, batch_len_max: 1 << 20 };

/// What happens, to one of few channels or users.
#[derive(Clone, Copy, Debug)]
enum Step {
    /// The channel gets its first subscriber, or loses its last one.
    Channel(u8),
    /// The user joins the presence channel, or leaves it.
    User(u8),
    Miss(u8),
    Count(u8),
    ClientEvent,
    /// Time goes on, and the thread looks what is to be done.
    After(u64),
    Taken,
    Failed,
    Close,
}

fn steps(with_close: bool) -> impl Strategy<Value = Vec<Step>> {
    let close = if with_close { 1 } else { 0 };
    let step = prop_oneof![
        6 => (0..3_u8).prop_map(Step::Channel),
        6 => (0..3_u8).prop_map(Step::User),
        2 => (0..2_u8).prop_map(Step::Miss),
        4 => (0..2_u8).prop_map(Step::Count),
        3 => Just(Step::ClientEvent),
        12 => prop_oneof![0..12_u64, 50..400_u64, 1_000..6_000_u64].prop_map(Step::After),
        8 => Just(Step::Taken),
        4 => Just(Step::Failed),
        close => Just(Step::Close),
    ];
    vec(step, 0..200)
}

/// The app: who is where.
#[derive(Debug, Default)]
struct World {
    channels: BTreeSet<Box<str>>,
    users: BTreeSet<Box<str>>,
    number: u64,
}

impl World {
    fn event(&mut self, step: Step) -> Option<Event> {
        self.number += 1;
        let channel = |n: u8| Box::from(format!("c{n}"));
        Some(match step {
            Step::Channel(n) => {
                let channel: Box<str> = channel(n);
                if self.channels.remove(&channel) {
                    Event::ChannelVacated { channel }
                } else {
                    self.channels.insert(channel.clone());
                    Event::ChannelOccupied { channel }
                }
            }
            Step::User(n) => {
                let (channel, user_id) = (Box::from("presence-a"), Box::from(n.to_string()));
                if self.users.remove(&user_id) {
                    Event::MemberRemoved { channel, user_id }
                } else {
                    self.users.insert(user_id.clone());
                    Event::MemberAdded { channel, user_id }
                }
            }
            Step::Miss(n) => Event::CacheMiss { channel: channel(n) },
            Step::Count(n) => {
                Event::SubscriptionCount { channel: channel(n), subscription_count: self.number }
            }
            Step::ClientEvent => {
                Event::client_event("private-a", "client-x", &self.number.to_string(), "1.2", None)
            }
            Step::After(_) | Step::Taken | Step::Failed | Step::Close => return None,
        })
    }
}

/// The rules, over a list that is searched from end to end.
#[derive(Debug, Default)]
struct Model {
    waiting: Vec<Waiting>,
    pause: Option<(u64, u64)>,
    failing_since_ms: u64,
    began_ms: u64,
    is_closed: bool,
    counts: Counts,
}

#[derive(Clone, Debug)]
struct Waiting {
    at_ms: u64,
    since_ms: u64,
    event: Event,
    is_in_flight: bool,
}

impl Model {
    fn push(&mut self, event: &Event, now: u64) {
        if self.is_closed {
            self.counts.dropped += 1;
            return;
        }
        let opposite = match event.clone() {
            Event::ChannelOccupied { channel } => Some(Event::ChannelVacated { channel }),
            Event::MemberAdded { channel, user_id } => Some(Event::MemberRemoved { channel, user_id }),
            _ => None,
        };
        if let Some(at) =
            self.waiting.iter().position(|w| Some(&w.event) == opposite.as_ref() && w.at_ms > now)
        {
            self.waiting.remove(at);
            return;
        }
        let is_same_subject = |w: &&mut Waiting| match (&w.event, event) {
            (Event::CacheMiss { channel: a }, Event::CacheMiss { channel: b })
            | (Event::SubscriptionCount { channel: a, .. }, Event::SubscriptionCount { channel: b, .. }) => {
                a == b
            }
            _ => false,
        };
        let earlier = self.waiting.iter_mut().rev().find(is_same_subject).filter(|w| !w.is_in_flight);
        if let Some(earlier) = earlier {
            earlier.event = event.clone();
            earlier.since_ms = now;
            return;
        }
        if self.waiting.len() == BOUNDS.events_max {
            self.counts.dropped += 1;
            return;
        }
        let is_delayed = matches!(event, Event::ChannelVacated { .. } | Event::MemberRemoved { .. });
        let at_ms = now + if is_delayed { TIMING.delay_ms } else { 0 };
        self.waiting.push(Waiting { at_ms, since_ms: at_ms, event: event.clone(), is_in_flight: false });
        self.waiting.sort_by_key(|w| w.at_ms);
    }

    fn next(&mut self, now: u64) -> Vec<Event> {
        if self.waiting.iter().any(|w| w.is_in_flight) {
            return Vec::new();
        }
        let is_closed = self.is_closed;
        if !is_closed && self.pause.is_some_and(|(until, _)| now < until) {
            return Vec::new();
        }
        let ready = self.waiting.iter().filter(|w| is_closed || w.at_ms <= now).count();
        let is_due = ready >= BOUNDS.batch_events_max
            || is_closed
            || self.waiting.first().is_some_and(|w| w.at_ms + TIMING.linger_ms <= now);
        if !is_due {
            return Vec::new();
        }
        self.began_ms = now;
        let batch = &mut self.waiting[..ready.min(BOUNDS.batch_events_max)];
        batch.iter_mut().for_each(|w| w.is_in_flight = true);
        batch.iter().map(|w| w.event.clone()).collect()
    }

    fn settle(&mut self, is_taken: bool, now: u64) {
        if !self.waiting.iter().any(|w| w.is_in_flight) {
            return;
        }
        let before = self.waiting.len();
        if is_taken {
            self.pause = None;
            self.waiting.retain(|w| !w.is_in_flight);
            self.counts.sent += (before - self.waiting.len()) as u64;
            return;
        }
        if self.pause.is_none() {
            self.failing_since_ms = self.began_ms;
        }
        let len = self.pause.map_or(TIMING.pause_first_ms, |(_, len)| (len * 2).min(TIMING.pause_max_ms));
        self.pause = Some((now + len, len));
        self.counts.failed += 1;
        let (closed, until) = (self.is_closed, self.began_ms);
        let failing_long = self.failing_since_ms + TIMING.retry_ms <= until;
        let is_over =
            |w: &Waiting| w.is_in_flight && (closed || failing_long && w.since_ms + TIMING.retry_ms <= until);
        self.waiting.retain(|w| !is_over(w));
        self.waiting.iter_mut().for_each(|w| w.is_in_flight = false);
        self.counts.dropped += (before - self.waiting.len()) as u64;
    }

    fn counts(&self) -> Counts {
        Counts { queued: self.waiting.len() as u64, ..self.counts }
    }
}

fn queue(bounds: Bounds) -> WebhookQueue {
    WebhookQueue::new(Kinds::listed(&[]), TIMING, bounds)
}

/// What is under the queue's invariants.
fn check(queue: &WebhookQueue) {
    assert_eq!(queue.len, queue.entries.values().map(Entry::cost).sum::<usize>());
    for (subject, place) in &queue.subjects {
        assert_eq!(queue.entries.get(place).and_then(|entry| entry.subject.as_ref()), Some(subject));
    }
}

/// Does what waits, each attempt being taken, and returns it.
fn drain(queue: &mut WebhookQueue, mut now_ms: u64) -> Vec<String> {
    let mut received = Vec::new();
    loop {
        match queue.next(now_ms) {
            Next::Send(texts) => {
                received.extend(texts.iter().map(|text| text.to_string()));
                queue.taken();
            }
            Next::WaitUntil(at_ms) => {
                assert!(at_ms > now_ms, "a wait ends later than it begins");
                now_ms = at_ms;
            }
            Next::Wait => return received,
        }
    }
}

proptest! {
    #[test]
    fn the_queue_does_what_a_plain_list_does(steps in steps(true)) {
        let (mut queue, mut model, mut world) = (queue(BOUNDS), Model::default(), World::default());
        let mut now = 0;
        for step in steps {
            if let Some(event) = world.event(step) {
                let _ = queue.push(&event, &event.to_json().into(), now);
                model.push(&event, now);
            }
            match step {
                Step::After(ms) => now += ms,
                Step::Taken => {
                    queue.taken();
                    model.settle(true, now);
                }
                Step::Failed => {
                    queue.failed(now);
                    model.settle(false, now);
                }
                Step::Close => {
                    queue.close();
                    model.is_closed = true;
                }
                Step::Channel(_) | Step::User(_) | Step::Miss(_) | Step::Count(_) | Step::ClientEvent => {}
            }
            let expected: Vec<String> = model.next(now).iter().map(Event::to_json).collect();
            let sent = match queue.next(now) {
                Next::Send(texts) => texts.iter().map(|text| text.to_string()).collect(),
                Next::Wait | Next::WaitUntil(_) => Vec::new(),
            };
            prop_assert_eq!(sent, expected);
            prop_assert_eq!(queue.counts(), model.counts());
            check(&queue);
        }
    }

    /// A receiver that fails for less than the time of retries learns everything, once and in order.
    #[test]
    fn a_receiver_that_comes_back_in_time_knows_the_truth(steps in steps(false)) {
        let bounds = Bounds { events_max: 1_000, ..BOUNDS };
        let (mut queue, mut world) = (queue(bounds), World::default());
        let (mut now, mut began, mut away_since, mut sending) = (0, 0, None, Vec::new());
        let (mut received, mut reported) = (Vec::new(), Vec::new());
        for step in steps {
            if let Some(event) = world.event(step) {
                if let Event::ClientEvent { .. } = event {
                    reported.push(event.to_json());
                }
                let _ = queue.push(&event, &event.to_json().into(), now);
            }
            match step {
                Step::After(ms) => now += ms,
                Step::Failed | Step::Taken if sending.is_empty() => {}
                Step::Failed if began - *away_since.get_or_insert(began) < TIMING.retry_ms => {
                    queue.failed(now);
                    sending.clear();
                }
                Step::Failed | Step::Taken => {
                    queue.taken();
                    received.append(&mut sending);
                    away_since = None;
                }
                Step::Channel(_) | Step::User(_) | Step::Miss(_) | Step::Count(_) | Step::ClientEvent | Step::Close => {}
            }
            if let Next::Send(texts) = queue.next(now) {
                sending = texts.iter().map(|text| text.to_string()).collect();
                began = now;
            }
        }
        queue.taken();
        received.append(&mut sending);
        received.append(&mut drain(&mut queue, now));
        prop_assert_eq!(queue.counts().dropped, 0);

        let (mut channels, mut users) = (BTreeSet::new(), BTreeSet::new());
        let mut client_events = Vec::new();
        for text in received {
            let event: serde_json::Value = serde_json::from_str(&text).unwrap();
            let name = |key: &str| Box::<str>::from(event[key].as_str().unwrap());
            match event["name"].as_str().unwrap() {
                "channel_occupied" => prop_assert!(channels.insert(name("channel")), "occupied twice"),
                "channel_vacated" => prop_assert!(channels.remove(&name("channel")), "vacated twice"),
                "member_added" => prop_assert!(users.insert(name("user_id")), "added twice"),
                "member_removed" => prop_assert!(users.remove(&name("user_id")), "removed twice"),
                "client_event" => client_events.push(text),
                _ => {}
            }
        }
        prop_assert_eq!(channels, world.channels);
        prop_assert_eq!(users, world.users);
        prop_assert_eq!(client_events, reported);
    }
}
