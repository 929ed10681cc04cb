//! What the exchange forgets and when, with a pretend clock and without loops.

use std::time::Duration;

use mio::{Poll, Token};

use super::*;
use crate::config::{Config, Glob};
use crate::hub::{ChannelName, Gap, Position};
use crate::server::broker::draft::Draft;
use crate::server::broker::idempotency::{IdempotencyKey, RETRY_WINDOW_MS};
use crate::server::broker::mailbox::mailboxes;
use crate::server::broker::retention::HistoryRules;
use crate::server::broker::shard::{PUBLICATION_LEN, RETENTION_MS};

const NOW: Millis = Millis(1_000);
const AGE_MS: u64 = 100_000;

/// An exchange of one loop that keeps so many publications a channel, and the poll that its waker needs.
fn exchange(count: usize) -> (Exchange, Poll) {
    let poll = Poll::new().unwrap();
    let config = Config {
        history: vec![(Glob::new("*"), count)],
        history_age: vec![(Glob::new("*"), Duration::from_millis(AGE_MS))],
        ..Config::default()
    };
    let mailboxes = mailboxes(std::slice::from_ref(&poll), Token(0)).unwrap();
    (Exchange::new(mailboxes, 100, HistoryRules::new(&config)), poll)
}

fn publish(exchange: &Exchange, channel: &str, len: usize, at: u64) {
    exchange.publish(Draft::text(channel, "x".repeat(len)).unwrap(), Millis(at));
}

fn name(channel: &str) -> ChannelName {
    ChannelName::new(channel).unwrap()
}

fn join(exchange: &Exchange, channel: &str) {
    exchange.subscribe(&name(channel), 0, Position::Now, NOW, Some);
}

/// How many publications of the channel are kept.
fn kept(exchange: &Exchange, channel: &str) -> usize {
    let mut kept = 0;
    exchange.subscribe(&name(channel), 0, Position::Last(usize::MAX), NOW, |resumption| {
        kept = resumption.publications.len();
        None::<()>
    });
    kept
}

/// Has so many publications evicted.
fn evict(exchange: &Exchange, count: usize) -> usize {
    let before = exchange.held_len();
    exchange.shed(|| before - exchange.held_len() >= count * PUBLICATION_LEN)
}

#[test]
fn channels_that_are_only_read_are_never_due() {
    let (exchange, _poll) = exchange(3);
    (0..1000).for_each(|number| join(&exchange, &format!("c{number}")));
    assert_eq!(exchange.due_at(), None);
    exchange.unsubscribe(&name("c7"), 0, NOW);
    assert_eq!((exchange.channels_len(), exchange.due_at()), (999, None), "it had no publications");
}

#[test]
fn each_thing_is_due_at_its_own_time_and_the_earliest_first() {
    let (exchange, _poll) = exchange(3);
    publish(&exchange, "a", 1, 1_000);
    assert_eq!(exchange.due_at(), Some(Millis(1_000 + AGE_MS)));
    let key = IdempotencyKey::new(b"k").unwrap();
    exchange.publish_once(Draft::text("b", "x").unwrap(), key, true, Millis(2_000)).unwrap();
    let keys = Millis(2_000 + RETRY_WINDOW_MS);
    assert_eq!(exchange.due_at(), Some(keys));
    exchange.sweep(keys);
    assert_eq!((kept(&exchange, "b"), exchange.due_at()), (1, Some(Millis(1_000 + AGE_MS))));
    exchange.sweep(Millis(1_000 + AGE_MS));
    assert_eq!((exchange.channels_len(), exchange.due_at()), (1, Some(Millis(2_000 + AGE_MS))));
    exchange.sweep(Millis(2_000 + AGE_MS));
    assert_eq!((exchange.channels_len(), exchange.due_at(), exchange.held_len()), (0, None, 0));
}

#[test]
fn a_channel_that_is_looked_at_too_early_is_put_back() {
    let (exchange, _poll) = exchange(1);
    publish(&exchange, "a", 1, 1_000);
    // It takes the place of the first, which was due earlier.
    publish(&exchange, "a", 1, 5_000);
    assert_eq!(exchange.due_at(), Some(Millis(1_000 + AGE_MS)));
    exchange.sweep(Millis(1_000 + AGE_MS));
    assert_eq!((kept(&exchange, "a"), exchange.due_at()), (1, Some(Millis(5_000 + AGE_MS))));
}

#[test]
fn a_channel_that_was_read_again_meanwhile_is_kept_until_a_minute_after_its_last_reader() {
    let (exchange, _poll) = exchange(0);
    publish(&exchange, "a", 1, 1_000);
    join(&exchange, "a");
    exchange.sweep(Millis(1_000 + RETENTION_MS));
    assert_eq!((exchange.channels_len(), exchange.due_at()), (1, None));
    exchange.unsubscribe(&name("a"), 0, Millis(200_000));
    assert_eq!(exchange.due_at(), Some(Millis(200_000 + RETENTION_MS)));
    exchange.sweep(Millis(200_000 + RETENTION_MS));
    assert_eq!(exchange.channels_len(), 0);
}

#[test]
fn what_is_due_at_once_is_forgotten_in_steps_of_a_turn() {
    let (exchange, _poll) = exchange(3);
    let channels = 3 * SWEEP_MAX;
    (0..channels).for_each(|number| publish(&exchange, &format!("c{number}"), 1, 1_000));
    let now = Millis(1_000 + AGE_MS);
    let mut steps = 0;
    while exchange.due_at().is_some_and(|at| at <= now) {
        let before = exchange.channels_len();
        exchange.sweep(now);
        assert!((1..=SWEEP_MAX).contains(&(before - exchange.channels_len())));
        steps += 1;
    }
    assert_eq!((exchange.channels_len(), exchange.due_at()), (0, None));
    // A publication and its channel are two things.
    assert!((6..=7).contains(&steps), "{steps}");
}

#[test]
fn a_long_history_of_one_channel_is_forgotten_in_steps_too() {
    let (exchange, _poll) = exchange(usize::MAX);
    (0..SWEEP_MAX * 2).for_each(|_| publish(&exchange, "a", 1, 1_000));
    exchange.sweep(Millis(1_000 + AGE_MS));
    assert!((1..=SWEEP_MAX + 64).contains(&kept_of(&exchange)), "{}", kept_of(&exchange));
    exchange.sweep(Millis(1_000 + AGE_MS));
    exchange.sweep(Millis(1_000 + AGE_MS));
    assert_eq!(exchange.channels_len(), 0);
}

/// How many publications are held.
fn kept_of(exchange: &Exchange) -> usize {
    exchange.held_len() / (PUBLICATION_LEN + 1)
}

#[test]
fn when_memory_is_short_the_largest_history_pays_first_and_the_small_ones_stay() {
    let (exchange, _poll) = exchange(100);
    (0..10).for_each(|number| publish(&exchange, "small", 10, number));
    (0..80).for_each(|number| publish(&exchange, "large", 10, 100 + number));
    (0..40).for_each(|number| publish(&exchange, "middle", 10, 200 + number));
    assert_eq!(evict(&exchange, 20), 20);
    let now = || ["small", "middle", "large"].map(|channel| kept(&exchange, channel));
    assert_eq!(now(), [10, 40, 60], "no more than is needed");
    assert_eq!(evict(&exchange, 24), 24);
    let [small, middle, large] = now();
    assert_eq!((small, middle + large), (10, 76));
    assert!(middle.abs_diff(large) <= 4, "both have come down to the same: {middle}, {large}");
    assert_eq!(exchange.evicted(), 44);
}

#[test]
fn among_equal_histories_the_oldest_publication_goes_first_whosever_it_is() {
    let (exchange, _poll) = exchange(100);
    for at in 0..30 {
        publish(&exchange, ["a", "b", "c"][at % 3], 10, at as u64);
    }
    assert_eq!(evict(&exchange, 6), 6);
    assert_eq!(["a", "b", "c"].map(|channel| kept(&exchange, channel)), [8, 8, 8]);
    assert_eq!(evict(&exchange, 1), 1);
    assert_eq!(["a", "b", "c"].map(|channel| kept(&exchange, channel)), [7, 8, 8]);
}

#[test]
fn a_gap_counts_what_was_evicted_and_a_channel_without_readers_goes_with_its_last_publication() {
    let (exchange, _poll) = exchange(3);
    join(&exchange, "a");
    publish(&exchange, "a", 1, 1_000);
    publish(&exchange, "unread", 1, 1_001);
    let mut taken = std::collections::VecDeque::new();
    exchange.mailbox(0).take_publications(usize::MAX, &mut taken);
    let seen = taken[0].id;
    drop(taken);
    publish(&exchange, "a", 1, 1_002);
    assert_eq!(exchange.shed(|| false), 3, "and no more than there are");
    assert_eq!(exchange.channels_len(), 1);
    exchange.subscribe(&name("a"), 0, Position::After(seen), NOW, |resumption| {
        assert_eq!(resumption.gap, Some(Gap { missed: Some(1) }));
        None::<()>
    });
    assert_eq!(exchange.shed(|| false), 0);
}

#[test]
fn what_a_mailbox_still_shares_is_evicted_once_and_ends_the_search() {
    let (exchange, _poll) = exchange(100);
    join(&exchange, "a");
    (0..10).for_each(|number| publish(&exchange, "a", 10, number));
    let held = exchange.held_len();
    assert_eq!(exchange.shed(|| exchange.held_len() < held), 10);
    assert_eq!(exchange.held_len(), held);
    assert_eq!(exchange.shed(|| exchange.held_len() < held), 0);
}

#[test]
fn keys_of_retries_outlive_a_shortage_of_memory() {
    let (exchange, _poll) = exchange(3);
    let once = || {
        let key = IdempotencyKey::new(b"k").unwrap();
        exchange.publish_once(Draft::text("a", "x").unwrap(), key, true, NOW).unwrap().1
    };
    assert!(!once());
    assert_eq!(exchange.shed(|| false), 1);
    assert!(once(), "it is known");
}
