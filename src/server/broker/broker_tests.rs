//! The broker without loops: the order, and the positions of reconnecting subscribers.

use std::collections::VecDeque;
use std::time::Duration;

use mio::{Events, Poll, Token};

use super::*;
use crate::config::{Config, Glob};
use crate::hub::Gap;
use crate::server::broker::activity::SHOWN_AT_REST_MAX;
use crate::server::broker::arrivals::{Arrival, Departure};
use crate::server::broker::channel::RETENTION_MS;
use crate::server::broker::idempotency::KEY_WINDOW_MS;
use crate::server::broker::mailbox::mailboxes;

const NOW: Millis = Millis(1_000);

/// A broker of that many loops, and the polls that their wakers need.
fn broker(loops: usize) -> (Broker, Vec<Poll>) {
    let polls: Vec<Poll> = (0..loops).map(|_| Poll::new().unwrap()).collect();
    let rules = Retention::new(&Config { history: vec![(Glob::new("*"), 3)], ..Config::default() });
    (Broker::new(mailboxes(&polls, Token(0)).unwrap(), 100, rules, Engine::Local), polls)
}

fn name() -> ChannelName {
    ChannelName::new("a").unwrap()
}

fn publish(broker: &Broker, text: &str) -> Published {
    publish_to(broker, "a", text)
}

fn publish_to(broker: &Broker, channel: &str, text: &str) -> Published {
    let publishing = broker.publish(Draft::text(channel, text).unwrap(), Waiter::Nobody, NOW);
    let Publishing::Done(Receipt { published, is_replay: false }) = publishing else {
        panic!("one node delivers at once: {publishing:?}");
    };
    published
}

fn once(
    broker: &Broker,
    draft: Draft,
    key: IdempotencyKey,
    has_room: bool,
    now: Millis,
) -> Result<Receipt, KeyRefused> {
    match broker.publish_once(draft, key, has_room, Waiter::Nobody, now)? {
        Publishing::Done(receipt) => Ok(receipt),
        Publishing::Awaited => panic!("one node delivers at once"),
    }
}

/// Joins the channel from now on.
fn join(broker: &Broker, loop_index: usize) {
    resume(broker, loop_index, Position::Now);
}

/// Joins the channel: what follows after which identifier, and the gap.
fn resume(broker: &Broker, loop_index: usize, position: Position) -> (Vec<u64>, PublicationId, Option<Gap>) {
    let resumption =
        broker.subscribe(&name(), Arrival::test(loop_index), position, NOW, Some, |_| ()).unwrap();
    let sequences = resumption.publications.iter().map(|publication| publication.id.sequence).collect();
    (sequences, resumption.since, resumption.gap)
}

fn leave(broker: &Broker, loop_index: usize) {
    broker.unsubscribe(&name(), Departure::test(loop_index), NOW, |_| ());
}

#[test]
fn changes_of_a_channels_subscribers_are_reported_in_their_order_whichever_loops_they_are_made_by() {
    let (broker, _polls) = broker(4);
    let reported = Mutex::new(vec![0]);
    let report = |subscribers: u64| lock(&reported).push(subscribers);
    std::thread::scope(|scope| {
        for loop_index in 0..4 {
            let (broker, report) = (&broker, &report);
            scope.spawn(move || {
                for _ in 0..500 {
                    broker.subscribe(&name(), Arrival::test(loop_index), Position::Now, NOW, Some, report);
                    broker.unsubscribe(&name(), Departure::test(loop_index), NOW, report);
                }
            });
        }
    });
    let reported = lock(&reported);
    assert_eq!((reported.len(), reported.last()), (4001, Some(&0)));
    assert!(reported.windows(2).all(|pair| pair[0].abs_diff(pair[1]) == 1), "one at a time");
}

fn key(text: &str) -> IdempotencyKey {
    IdempotencyKey::new(text.as_bytes()).unwrap()
}

fn publish_once(broker: &Broker, text: &str, key_text: &str, now: u64) -> Result<(u64, bool), KeyRefused> {
    let Receipt { published, is_replay } =
        once(broker, Draft::text("a", text).unwrap(), key(key_text), true, Millis(now))?;
    Ok((published.id.sequence, is_replay))
}

fn taken(broker: &Broker, loop_index: usize) -> Vec<u64> {
    let mut taken = Default::default();
    broker.mailbox(loop_index).take_publications(usize::MAX, &mut taken);
    taken.iter().map(|publication| publication.id.sequence).collect()
}

#[test]
fn every_loop_with_a_subscriber_gets_every_publication_in_order() {
    let (broker, _polls) = broker(3);
    join(&broker, 0);
    join(&broker, 2);
    join(&broker, 2);
    for sequence in 1..=3 {
        let published = publish(&broker, "x");
        assert_eq!((published.id.sequence, published.subscribers), (sequence, 3));
    }
    assert_eq!(taken(&broker, 0), [1, 2, 3]);
    assert_eq!(taken(&broker, 1), [0u64; 0]);
    assert_eq!(taken(&broker, 2), [1, 2, 3]);
}

#[test]
fn a_loop_whose_last_subscriber_has_left_gets_nothing() {
    let (broker, _polls) = broker(2);
    join(&broker, 0);
    join(&broker, 1);
    leave(&broker, 1);
    assert_eq!(publish(&broker, "x").subscribers, 1);
    assert_eq!(taken(&broker, 1), [0u64; 0]);
}

#[test]
fn a_reconnecting_subscriber_gets_what_was_published_meanwhile() {
    let (broker, _polls) = broker(1);
    join(&broker, 0);
    let seen = publish(&broker, "seen").id;
    leave(&broker, 0);
    publish(&broker, "missed");
    publish(&broker, "missed");
    assert_eq!(resume(&broker, 0, Position::After(seen)), (vec![2, 3], seen, None));
}

#[test]
fn a_channel_with_publications_outlives_its_last_subscriber_for_a_while_and_is_then_another() {
    let (broker, _polls) = broker(1);
    join(&broker, 0);
    let first = publish(&broker, "x").id;
    taken(&broker, 0);
    leave(&broker, 0);
    let age_ms = Config::HISTORY_AGE.as_millis() as u64;
    broker.sweep(Millis(NOW.0 + age_ms - 1));
    assert_eq!(broker.channels_len(), 1);
    broker.sweep(Millis(NOW.0 + age_ms));
    assert_eq!((broker.channels_len(), broker.held_len()), (0, 0));
    let (missed, since, gap) = resume(&broker, 0, Position::After(first));
    assert_eq!((missed, gap), (vec![], Some(Gap { missed: None })));
    assert_ne!(since.epoch, first.epoch);
}

#[test]
fn without_history_the_sequence_is_known_for_a_minute() {
    let polls = [Poll::new().unwrap()];
    let rules = Retention::new(&Config { history: vec![(Glob::new("*"), 0)], ..Config::default() });
    let broker = Broker::new(mailboxes(&polls, Token(0)).unwrap(), 100, rules, Engine::Local);
    let first = publish(&broker, "x").id;
    broker.sweep(Millis(NOW.0 + RETENTION_MS - 1));
    assert_eq!(resume(&broker, 0, Position::After(first)), (vec![], first, None));
    leave(&broker, 0);
    broker.sweep(Millis(NOW.0 + RETENTION_MS));
    assert_eq!(broker.channels_len(), 0);
}

#[test]
fn a_channel_without_publications_is_removed_at_once_and_no_subscriber_notices() {
    let (broker, _polls) = broker(1);
    let (_, beginning, _) = resume(&broker, 0, Position::Now);
    leave(&broker, 0);
    assert_eq!(broker.channels_len(), 0);
    let (missed, since, gap) = resume(&broker, 0, Position::After(beginning));
    assert_eq!((missed, since.sequence, gap), (vec![], 0, None));
    leave(&broker, 0);
    publish(&broker, "x");
    let (missed, _, gap) = resume(&broker, 0, Position::After(beginning));
    assert_eq!((missed, gap), (vec![1], None));
}

#[test]
fn a_subscriber_at_the_beginning_of_an_earlier_epoch_is_told_of_a_gap() {
    let (broker, _polls) = broker(1);
    let (_, beginning, _) = resume(&broker, 0, Position::Now);
    leave(&broker, 0);
    publish(&broker, "of a life that nobody saw");
    broker.sweep(Millis(NOW.0 + 1_000_000));
    publish(&broker, "x");
    let (missed, _, gap) = resume(&broker, 0, Position::After(beginning));
    assert_eq!((missed, gap), (vec![1], Some(Gap { missed: None })));
}

#[test]
fn the_beginning_of_another_servers_channel_is_not_this_ones() {
    let (broker, _polls) = broker(1);
    publish(&broker, "x");
    for epoch in [99, 1000] {
        let position = Position::After(PublicationId { epoch, sequence: 0 });
        let (missed, _, gap) = resume(&broker, 0, position);
        assert_eq!((missed, gap), (vec![1], Some(Gap { missed: None })));
    }
}

#[test]
fn the_first_channel_wakes_the_first_loop_and_the_second_does_not() {
    let (broker, mut polls) = broker(2);
    let mut woken = |index: usize| {
        broker.mailbox(index).is_up();
        broker.mailbox(index).may_sleep();
        let mut events = Events::with_capacity(1);
        polls[index].poll(&mut events, Some(Duration::ZERO)).unwrap();
        !events.is_empty()
    };
    broker.mailbox(FIRST_LOOP).may_sleep();
    publish(&broker, "to nobody");
    assert!(woken(FIRST_LOOP));
    assert!(!woken(1));
    publish_to(&broker, "b", "x");
    assert!(!woken(FIRST_LOOP));
}

#[test]
fn a_join_that_gives_nothing_is_not_counted() {
    let (broker, _polls) = broker(1);
    let joined: Option<()> =
        broker.subscribe(&name(), Arrival::test(0), Position::Now, NOW, |_| None, |_| ());
    assert_eq!((joined, broker.channels_len()), (None, 0));
    assert_eq!(publish(&broker, "x").subscribers, 0);
}

#[test]
fn who_watches_a_channel_gets_its_publications_and_is_in_no_count() {
    let (broker, _polls) = broker(2);
    let watch = |loop_index| broker.watch(&name(), loop_index, Position::Now, NOW, Some).unwrap();
    watch(1);
    assert_eq!(broker.subscribers_len("a"), Some(0));
    broker.show_occupied(|name, _, _| panic!("nobody has subscribed to {name}"));
    let mut told = Vec::new();
    broker
        .subscribe(&name(), Arrival::test(0), Position::Now, NOW, Some, |subscribers| told.push(subscribers))
        .unwrap();
    assert_eq!(publish(&broker, "x").subscribers, 1);
    let mut taken = VecDeque::new();
    assert!(
        broker.mailbox(1).take_publications(usize::MAX, &mut taken) > 0,
        "the loop of the watcher gets it"
    );
    broker.unsubscribe(&name(), Departure::test(0), NOW, |subscribers| told.push(subscribers));
    assert_eq!(told, [1, 0]);
    broker.sweep(Millis(NOW.0 + 1_000_000_000));
    assert_eq!(broker.channels_len(), 1, "it is watched");
    broker.unwatch(&name(), 1, NOW);
    broker.sweep(Millis(NOW.0 + 1_000_000_000));
    assert_eq!(broker.channels_len(), 0);
}

#[test]
fn a_retry_within_a_minute_publishes_once_and_gets_the_same_answer() {
    let (broker, _polls) = broker(1);
    join(&broker, 0);
    assert_eq!(publish_once(&broker, "x", "k", 0), Ok((1, false)));
    assert_eq!(publish_once(&broker, "x", "k", 59_999), Ok((1, true)));
    assert_eq!(publish_once(&broker, "x", "other", 59_999), Ok((2, false)));
    assert_eq!(publish_once(&broker, "x", "k", 60_000), Ok((3, false)));
    assert_eq!(taken(&broker, 0), [1, 2, 3]);
}

#[test]
fn a_key_that_comes_with_something_else_publishes_nothing() {
    let (broker, _polls) = broker(1);
    assert_eq!(publish_once(&broker, "x", "k", 0), Ok((1, false)));
    assert_eq!(publish_once(&broker, "y", "k", 1), Err(KeyRefused::Reused));
    let binary = Draft::binary("a", &b"x"[..]).unwrap();
    assert_eq!(once(&broker, binary, key("k"), true, Millis(1)), Err(KeyRefused::Reused));
    assert_eq!(publish(&broker, "z").id.sequence, 2);
}

#[test]
fn where_there_is_no_room_a_known_key_is_answered_and_a_new_one_refused() {
    let (broker, _polls) = broker(1);
    let once = |key_text| once(&broker, Draft::text("a", "x").unwrap(), key(key_text), false, NOW);
    assert_eq!(publish_once(&broker, "x", "known", NOW.0), Ok((1, false)));
    assert!(once("known").unwrap().is_replay);
    assert_eq!(once("new"), Err(KeyRefused::NoRoom));
}

/// Publishes by new keys, each to the channel that `channel_of` says, until one is refused. How many were taken.
fn keys_taken(broker: &Broker, key_len: usize, channel_of: impl Fn(usize) -> String) -> usize {
    for at in 0..100_000 {
        let text = format!("{at}-{}", "k".repeat(key_len));
        let draft = Draft::text(&channel_of(at), "x").unwrap();
        match once(broker, draft, key(&text), true, NOW) {
            Ok(receipt) => assert!(!receipt.is_replay),
            Err(refused) => {
                assert_eq!(refused, KeyRefused::ShareUsed);
                return at;
            }
        }
    }
    panic!("there is no bound");
}

#[test]
fn keys_are_refused_above_an_eighth_of_the_memory_and_those_that_are_known_and_all_else_are_served() {
    let memory = 1024 * 1024;
    let (broker, _polls) = broker(1);
    let broker = broker.with_memory(memory);
    assert_eq!(publish_once(&broker, "x", "known", NOW.0), Ok((1, false)));
    let taken = keys_taken(&broker, 0, |_| "a".to_owned());
    assert!((900..1_024).contains(&taken), "{taken}");
    assert!(broker.held_len() < memory as usize / 8 + 10 * 1024, "beside them, three publications are kept");
    assert_eq!(publish_once(&broker, "x", "known", NOW.0), Ok((1, true)));
    assert_eq!(publish_once(&broker, "y", "known", NOW.0), Err(KeyRefused::Reused));
    assert_eq!(publish(&broker, "z").id.sequence, taken as u64 + 2);
    assert_eq!(publish_once(&broker, "x", "new", NOW.0), Err(KeyRefused::ShareUsed));
    broker.sweep(Millis(NOW.0 + KEY_WINDOW_MS));
    assert!(publish_once(&broker, "x", "new", NOW.0 + KEY_WINDOW_MS).is_ok(), "a minute later");
}

#[test]
fn a_long_key_takes_no_more_of_the_share_than_a_short_one() {
    let taken = [0, 240].map(|key_len| {
        let (broker, _polls) = broker(1);
        keys_taken(&broker.with_memory(1024 * 1024), key_len, |_| "a".to_owned())
    });
    assert_eq!(taken[0], taken[1]);
}

#[test]
fn a_channel_that_is_kept_for_its_keys_counts_among_their_share() {
    let (broker, _polls) = broker(1);
    let broker = broker.with_memory(1024 * 1024);
    let taken = keys_taken(&broker, 0, |at| format!("a-{at}"));
    assert_eq!(taken, 128);
    broker.shed(|| false);
    assert_eq!(broker.channels_len(), taken);
    assert!(broker.held_len() <= 128 * 1024, "what cannot be evicted is the share at most");
}

#[test]
fn what_was_published_before_joining_is_in_the_mailbox_by_then() {
    let (broker, _polls) = broker(1);
    join(&broker, 0);
    publish(&broker, "before");
    broker.subscribe(
        &name(),
        Arrival::test(0),
        Position::Now,
        NOW,
        |_| {
            assert_eq!(taken(&broker, 0), [1]);
            Some(())
        },
        |_| (),
    );
    publish(&broker, "after");
    assert_eq!(taken(&broker, 0), [2]);
}

#[test]
fn a_loop_that_does_not_take_its_publications_holds_publishers_back_until_it_does() {
    let (broker, _polls) = broker(1);
    join(&broker, 0);
    let text = "x".repeat(1024 * 1024);
    for _ in 0..4 {
        assert!(!broker.is_congested());
        publish(&broker, &text);
    }
    assert!(broker.is_congested());
    taken(&broker, 0);
    assert!(!broker.is_congested());
}

#[test]
fn a_loop_that_has_much_to_write_for_what_it_has_not_taken_holds_publishers_back() {
    let (broker, _polls) = broker(2);
    let text = "x".repeat(1024 * 1024);
    for _ in 0..20 {
        join(&broker, 1);
    }
    publish(&broker, &text);
    assert!(!broker.is_congested(), "20 MiB are to be written");
    publish(&broker, &text);
    assert!(broker.is_congested(), "40 MiB are to be written");
    taken(&broker, 0);
    assert!(broker.is_congested(), "by the other loop");
    taken(&broker, 1);
    assert!(!broker.is_congested());
}

#[test]
fn a_channel_shows_what_was_published_since_it_was_last_looked_at() {
    let (broker, _polls) = broker(2);
    join(&broker, 0);
    join(&broker, 1);
    let shown = || {
        let mut shown = Vec::new();
        broker.take_busy(|name, count, subscribers| shown.push((name.to_string(), count, subscribers)));
        shown
    };
    assert_eq!(shown(), [("a".to_string(), 0, 2)]);
    publish(&broker, "x");
    publish(&broker, "x");
    assert_eq!(shown(), [("a".to_string(), 2, 2)]);
    leave(&broker, 1);
    assert_eq!(shown(), [("a".to_string(), 0, 1)]);
    assert_eq!((broker.subscribers_len("a"), broker.subscribers_len("b")), (Some(1), None));
}

#[test]
fn of_many_channels_only_those_that_were_published_to_are_shown_and_only_while_somebody_asks() {
    let (broker, _polls) = broker(1);
    for number in 0..=SHOWN_AT_REST_MAX {
        let name = ChannelName::new(&format!("c{number}")).unwrap();
        broker.subscribe(&name, Arrival::test(0), Position::Now, NOW, Some, |_| ());
    }
    publish(&broker, "nobody has asked");
    let shown = || {
        let mut shown = Vec::new();
        broker.take_busy(|name, count, _| shown.push((name.to_string(), count)));
        shown
    };
    assert_eq!(shown(), []);
    publish(&broker, "x");
    publish_to(&broker, "c7", "x");
    publish(&broker, "x");
    let mut busy = shown();
    busy.sort();
    assert_eq!(busy, [("a".to_string(), 2), ("c7".to_string(), 1)]);
    publish(&broker, "x");
    broker.stop_counting();
    publish(&broker, "x");
    assert_eq!(shown(), []);
}
