//! What the broker removes and when, with a pretend clock and without loops.

use std::time::Duration;

use mio::{Poll, Token};

use super::*;
use crate::config::{Config, Glob};
use crate::hub::{ChannelName, Gap, Position};
use crate::server::broker::answer::{Publishing, Receipt, Waiter};
use crate::server::broker::arrivals::{Arrival, Departure};
use crate::server::broker::channel::RETENTION_MS;
use crate::server::broker::draft::Draft;
use crate::server::broker::engine::Engine;
use crate::server::broker::idempotency::{IdempotencyKey, KEY_WINDOW_MS};
use crate::server::broker::mailbox::mailboxes;
use crate::server::broker::memory::PUBLICATION_LEN;
use crate::server::broker::retention::Retention;

const NOW: Millis = Millis(1_000);
const AGE_MS: u64 = 100_000;

/// A broker of one loop that keeps that many publications a channel, and the poll that its waker needs.
fn broker(count: usize) -> (Broker, Poll) {
    let poll = Poll::new().unwrap();
    let config = Config {
        history: vec![(Glob::new("*"), count)],
        history_age: vec![(Glob::new("*"), Duration::from_millis(AGE_MS))],
        ..Config::default()
    };
    let mailboxes = mailboxes(std::slice::from_ref(&poll), Token(0)).unwrap();
    (Broker::new(mailboxes, 100, Retention::new(&config), Engine::Local), poll)
}

fn publish(broker: &Broker, channel: &str, len: usize, at: u64) {
    let publishing =
        broker.publish(Draft::text(channel, "x".repeat(len)).unwrap(), Waiter::Nobody, Millis(at));
    assert!(matches!(publishing, Publishing::Done(_)));
}

fn name(channel: &str) -> ChannelName {
    ChannelName::new(channel).unwrap()
}

fn join(broker: &Broker, channel: &str) {
    broker.subscribe(&name(channel), Arrival::test(0), Position::Now, NOW, Some, |_| ());
}

/// How many publications of the channel are kept.
fn kept(broker: &Broker, channel: &str) -> usize {
    let mut kept = 0;
    broker.subscribe(
        &name(channel),
        Arrival::test(0),
        Position::Last(usize::MAX),
        NOW,
        |resumption| {
            kept = resumption.publications.len();
            None::<()>
        },
        |_| (),
    );
    kept
}

/// Has that many publications evicted.
fn evict(broker: &Broker, count: usize) -> usize {
    let before = broker.held_len();
    broker.shed(|| before - broker.held_len() >= count * PUBLICATION_LEN)
}

#[test]
fn channels_that_are_only_read_are_never_due() {
    let (broker, _poll) = broker(3);
    (0..1000).for_each(|number| join(&broker, &format!("c{number}")));
    assert_eq!(broker.due_at(), None);
    broker.unsubscribe(&name("c7"), Departure::test(0), NOW, |_| ());
    assert_eq!((broker.channels_len(), broker.due_at()), (999, None), "it had no publications");
}

#[test]
fn each_thing_is_due_at_its_own_time_and_the_earliest_first() {
    let (broker, _poll) = broker(3);
    publish(&broker, "a", 1, 1_000);
    assert_eq!(broker.due_at(), Some(Millis(1_000 + AGE_MS)));
    let key = IdempotencyKey::new(b"k").unwrap();
    let draft = Draft::text("b", "x").unwrap();
    let _ = broker.publish_once(draft, key, true, Waiter::Nobody, Millis(2_000)).unwrap();
    let keys = Millis(2_000 + KEY_WINDOW_MS);
    assert_eq!(broker.due_at(), Some(keys));
    broker.sweep(keys);
    assert_eq!((kept(&broker, "b"), broker.due_at()), (1, Some(Millis(1_000 + AGE_MS))));
    broker.sweep(Millis(1_000 + AGE_MS));
    assert_eq!((broker.channels_len(), broker.due_at()), (1, Some(Millis(2_000 + AGE_MS))));
    broker.sweep(Millis(2_000 + AGE_MS));
    assert_eq!((broker.channels_len(), broker.due_at(), broker.held_len()), (0, None, 0));
}

#[test]
fn a_channel_that_is_looked_at_too_early_is_put_back() {
    let (broker, _poll) = broker(1);
    publish(&broker, "a", 1, 1_000);
    // It takes the place of the first, which was due earlier.
    publish(&broker, "a", 1, 5_000);
    assert_eq!(broker.due_at(), Some(Millis(1_000 + AGE_MS)));
    broker.sweep(Millis(1_000 + AGE_MS));
    assert_eq!((kept(&broker, "a"), broker.due_at()), (1, Some(Millis(5_000 + AGE_MS))));
}

#[test]
fn a_channel_that_had_a_subscriber_meanwhile_is_kept_until_a_minute_after_that_left() {
    let (broker, _poll) = broker(0);
    publish(&broker, "a", 1, 1_000);
    join(&broker, "a");
    broker.sweep(Millis(1_000 + RETENTION_MS));
    assert_eq!((broker.channels_len(), broker.due_at()), (1, None));
    broker.unsubscribe(&name("a"), Departure::test(0), Millis(200_000), |_| ());
    assert_eq!(broker.due_at(), Some(Millis(200_000 + RETENTION_MS)));
    broker.sweep(Millis(200_000 + RETENTION_MS));
    assert_eq!(broker.channels_len(), 0);
}

#[test]
fn what_expires_at_once_is_removed_in_steps_of_a_turn() {
    let (broker, _poll) = broker(3);
    let channels = 3 * SWEEP_MAX;
    (0..channels).for_each(|number| publish(&broker, &format!("c{number}"), 1, 1_000));
    let now = Millis(1_000 + AGE_MS);
    let mut steps = 0;
    while broker.due_at().is_some_and(|at| at <= now) {
        let before = broker.channels_len();
        broker.sweep(now);
        assert!((1..=SWEEP_MAX).contains(&(before - broker.channels_len())));
        steps += 1;
    }
    assert_eq!((broker.channels_len(), broker.due_at()), (0, None));
    // A publication and its channel are two things.
    assert!((6..=7).contains(&steps), "{steps}");
}

#[test]
fn a_long_history_of_one_channel_is_forgotten_in_steps_too() {
    let (broker, _poll) = broker(usize::MAX);
    (0..SWEEP_MAX * 2).for_each(|_| publish(&broker, "a", 1, 1_000));
    broker.sweep(Millis(1_000 + AGE_MS));
    assert!((1..=SWEEP_MAX + 64).contains(&kept_of(&broker)), "{}", kept_of(&broker));
    broker.sweep(Millis(1_000 + AGE_MS));
    broker.sweep(Millis(1_000 + AGE_MS));
    assert_eq!(broker.channels_len(), 0);
}

/// How many publications are held.
fn kept_of(broker: &Broker) -> usize {
    broker.held_len() / (PUBLICATION_LEN + 1)
}

#[test]
fn when_memory_is_short_the_largest_history_pays_first_and_the_small_ones_stay() {
    let (broker, _poll) = broker(100);
    (0..10).for_each(|number| publish(&broker, "small", 10, number));
    (0..80).for_each(|number| publish(&broker, "large", 10, 100 + number));
    (0..40).for_each(|number| publish(&broker, "middle", 10, 200 + number));
    assert_eq!(evict(&broker, 20), 20);
    let now = || ["small", "middle", "large"].map(|channel| kept(&broker, channel));
    assert_eq!(now(), [10, 40, 60], "no more than is needed");
    assert_eq!(evict(&broker, 24), 24);
    let [small, middle, large] = now();
    assert_eq!((small, middle + large), (10, 76));
    assert!(middle.abs_diff(large) <= 4, "both have come down to the same: {middle}, {large}");
    assert_eq!(broker.evicted(), 44);
}

#[test]
fn among_equal_histories_the_oldest_publication_goes_first_whosever_it_is() {
    let (broker, _poll) = broker(100);
    for at in 0..30 {
        publish(&broker, ["a", "b", "c"][at % 3], 10, at as u64);
    }
    assert_eq!(evict(&broker, 6), 6);
    assert_eq!(["a", "b", "c"].map(|channel| kept(&broker, channel)), [8, 8, 8]);
    assert_eq!(evict(&broker, 1), 1);
    assert_eq!(["a", "b", "c"].map(|channel| kept(&broker, channel)), [7, 8, 8]);
}

#[test]
fn a_gap_counts_what_was_evicted_and_a_channel_without_readers_goes_with_its_last_publication() {
    let (broker, _poll) = broker(3);
    join(&broker, "a");
    publish(&broker, "a", 1, 1_000);
    publish(&broker, "unread", 1, 1_001);
    let mut taken = std::collections::VecDeque::new();
    broker.mailbox(0).take_publications(usize::MAX, &mut taken);
    let seen = taken[0].id;
    drop(taken);
    publish(&broker, "a", 1, 1_002);
    assert_eq!(broker.shed(|| false), 3, "and no more than there are");
    assert_eq!(broker.channels_len(), 1);
    broker.subscribe(
        &name("a"),
        Arrival::test(0),
        Position::After(seen),
        NOW,
        |resumption| {
            assert_eq!(resumption.gap, Some(Gap { missed: Some(1) }));
            None::<()>
        },
        |_| (),
    );
    assert_eq!(broker.shed(|| false), 0);
}

#[test]
fn what_a_mailbox_still_shares_is_evicted_once_and_ends_the_search() {
    let (broker, _poll) = broker(100);
    join(&broker, "a");
    (0..10).for_each(|number| publish(&broker, "a", 10, number));
    let held = broker.held_len();
    assert_eq!(broker.shed(|| broker.held_len() < held), 10);
    assert_eq!(broker.held_len(), held);
    assert_eq!(broker.shed(|| broker.held_len() < held), 0);
}

#[test]
fn idempotency_keys_outlive_a_shortage_of_memory() {
    let (broker, _poll) = broker(3);
    let once = || {
        let key = IdempotencyKey::new(b"k").unwrap();
        let draft = Draft::text("a", "x").unwrap();
        match broker.publish_once(draft, key, true, Waiter::Nobody, NOW).unwrap() {
            Publishing::Done(Receipt { is_replay, .. }) => is_replay,
            Publishing::Awaited => panic!("one node delivers at once"),
        }
    };
    assert!(!once());
    assert_eq!(broker.shed(|| false), 1);
    assert!(once(), "it is known");
}
