//! The broker with an engine that delivers later: order, idempotency, history and answers.

use std::thread;

use mio::{Poll, Token};

use super::*;
use crate::config::Config;
use crate::hub::{Gap, Interruption, Resumption, Source};
use crate::server::broker::answer::Reply;
use crate::server::broker::arrivals::Arrival;
use crate::server::broker::engine::held::{EPOCH, Held};
use crate::server::broker::mailbox::mailboxes;

const NOW: Millis = Millis(1_000);

/// A broker of two loops, its engine, and the polls that the loops' wakers need.
fn broker() -> (Broker, Arc<Held>, Vec<Poll>) {
    let polls: Vec<Poll> = (0..2).map(|_| Poll::new().unwrap()).collect();
    let engine = Arc::new(Held::default());
    let retention = Retention::new(&Config::default());
    let remote = Engine::Remote(engine.clone());
    let broker = Broker::new(mailboxes(&polls, Token(0)).unwrap(), 100, retention, remote);
    engine.begin(&broker, &name(), NOW);
    (broker, engine, polls)
}

fn name() -> ChannelName {
    ChannelName::new("a").unwrap()
}

fn draft(text: &str) -> Draft {
    Draft::text("a", text).unwrap()
}

/// The connection 7 of the second loop, for which this is the publication `request`.
fn waiter(request: u64) -> Waiter {
    Waiter::Connection { loop_index: 1, connection: 7, request }
}

fn publish(broker: &Broker, text: &str, request: u64) {
    assert_eq!(broker.publish(draft(text), waiter(request), NOW), Publishing::Awaited);
}

fn publish_once(broker: &Broker, text: &str, key: &str, request: u64) -> Result<Publishing, KeyRefused> {
    let key = IdempotencyKey::new(key.as_bytes()).unwrap();
    broker.publish_once(draft(text), key, true, waiter(request), NOW)
}

/// The answers that the second loop's connection has got: request, sequence, whether it is a replay.
fn answers(broker: &Broker) -> Vec<(u64, u64, bool)> {
    let answers = broker.mailbox(1).take_answers().into_iter();
    let told = answers.map(|answer| {
        assert_eq!(answer.connection, 7);
        let Receipt { published, is_replay } = answer.outcome.unwrap();
        assert_eq!(published.id.epoch, EPOCH);
        (answer.request, published.id.sequence, is_replay)
    });
    told.collect()
}

fn taken(broker: &Broker, loop_index: usize) -> Vec<(u64, Vec<u8>)> {
    let mut taken = Default::default();
    broker.mailbox(loop_index).take_publications(usize::MAX, &mut taken);
    taken.iter().map(|publication| (publication.id.sequence, publication.data.to_vec())).collect()
}

fn kept(broker: &Broker, position: Position) -> (Vec<u64>, Option<Gap>) {
    let mut kept = (Vec::new(), None);
    broker.subscribe(
        &name(),
        Arrival::test(0),
        position,
        NOW,
        |resumption| {
            let sequences = resumption.publications.iter().map(|publication| publication.id.sequence);
            kept = (sequences.collect(), resumption.gap);
            None::<()>
        },
        |_| (),
    );
    kept
}

#[test]
fn a_publication_that_is_awaited_is_neither_kept_nor_delivered_nor_answered_before_the_engine_delivers_it() {
    let (broker, engine, _polls) = broker();
    broker.subscribe(&name(), Arrival::test(0), Position::Now, NOW, Some, |_| ());
    publish(&broker, "x", 1);
    assert_eq!(kept(&broker, Position::Last(9)), (vec![], None));
    assert_eq!((taken(&broker, 0), answers(&broker)), (vec![], vec![]));
    engine.release(&broker, NOW);
    assert_eq!(kept(&broker, Position::Last(9)), (vec![1], None));
    assert_eq!(taken(&broker, 0), [(1, b"x".to_vec())]);
    assert_eq!(answers(&broker), [(1, 1, false)]);
}

#[test]
fn all_loops_see_the_order_of_the_engine_and_each_publisher_gets_its_own_answer() {
    let (broker, engine, _polls) = broker();
    for loop_index in [0, 1] {
        broker.subscribe(&name(), Arrival::test(loop_index), Position::Now, NOW, Some, |_| ());
    }
    for (request, text) in [(1, "x"), (2, "y"), (3, "z")] {
        publish(&broker, text, request);
    }
    while engine.len() > 0 {
        engine.release(&broker, NOW);
    }
    let order = [(1, b"x".to_vec()), (2, b"y".to_vec()), (3, b"z".to_vec())];
    assert_eq!((taken(&broker, 0), taken(&broker, 1)), (order.to_vec(), order.to_vec()));
    assert_eq!(answers(&broker), [(1, 1, false), (2, 2, false), (3, 3, false)]);
}

#[test]
fn a_subscriber_that_joins_while_a_publication_is_awaited_gets_it_once_and_is_counted() {
    let (broker, engine, _polls) = broker();
    publish(&broker, "x", 1);
    let joined = broker.subscribe(&name(), Arrival::test(0), Position::Now, NOW, Some, |_| ()).unwrap();
    assert_eq!((joined.publications.len(), joined.gap), (0, None));
    engine.release(&broker, NOW);
    assert_eq!(taken(&broker, 0).len(), 1);
    let answer = broker.mailbox(1).take_answers().remove(0);
    assert_eq!(answer.outcome.unwrap().published.subscribers, 1);
}

#[test]
fn the_same_key_again_while_the_first_is_awaited_is_published_once_and_answered_with_it() {
    let (broker, engine, _polls) = broker();
    assert_eq!(publish_once(&broker, "x", "k", 1), Ok(Publishing::Awaited));
    assert_eq!(publish_once(&broker, "x", "k", 2), Ok(Publishing::Awaited));
    assert_eq!(engine.len(), 1);
    engine.release(&broker, NOW);
    assert_eq!(publish_once(&broker, "y", "k", 3), Err(KeyRefused::Reused));
    assert_eq!(answers(&broker), [(1, 1, false), (2, 1, true)]);
    let Ok(Publishing::Done(receipt)) = publish_once(&broker, "x", "k", 4) else { panic!() };
    assert_eq!((receipt.published.id.sequence, receipt.is_replay, engine.len()), (1, true, 0));
}

#[test]
fn whose_the_key_is_of_two_publications_that_are_awaited_says_the_engine() {
    let (broker, engine, _polls) = broker();
    assert_eq!(publish_once(&broker, "x", "k", 1), Ok(Publishing::Awaited));
    assert_eq!(publish_once(&broker, "y", "k", 2), Ok(Publishing::Awaited));
    assert_eq!(engine.len(), 2);
    // The first has used the key of an earlier one, which the second is again.
    engine.fail(&broker, NotPublished::KeyReused);
    engine.release(&broker, NOW);
    let told: Vec<_> = broker.mailbox(1).take_answers().into_iter().map(|answer| answer.outcome).collect();
    assert_eq!(told[0], Err(NotPublished::KeyReused));
    assert!(told[1].is_ok(), "{told:?}");
    assert_eq!(publish_once(&broker, "z", "k", 3), Ok(Publishing::Awaited), "nobody has it here");
}

#[test]
fn a_publication_that_fails_is_answered_to_all_who_made_it_and_its_key_is_free() {
    let (broker, engine, _polls) = broker();
    assert_eq!(publish_once(&broker, "x", "k", 1), Ok(Publishing::Awaited));
    assert_eq!(publish_once(&broker, "x", "k", 2), Ok(Publishing::Awaited));
    engine.fail(&broker, NotPublished::Unanswered);
    let told: Vec<_> = broker.mailbox(1).take_answers().into_iter().map(|answer| answer.outcome).collect();
    assert_eq!(told, [Err(NotPublished::Unanswered); 2]);
    assert_eq!(publish_once(&broker, "another", "k", 3), Ok(Publishing::Awaited));
    engine.release(&broker, NOW);
    assert_eq!(answers(&broker), [(3, 1, false)]);
}

#[test]
fn a_channel_that_only_failed_publications_named_is_removed_in_time() {
    let (broker, engine, _polls) = broker();
    assert_eq!(publish_once(&broker, "x", "k", 1), Ok(Publishing::Awaited));
    engine.fail(&broker, NotPublished::Refused);
    broker.sweep(broker.due_at().unwrap());
    assert_eq!((broker.channels_len(), broker.held_len()), (0, 0));
}

fn id(epoch: u64, sequence: u64) -> PublicationId {
    PublicationId { epoch, sequence }
}

/// What the loops have been told happens to the channel, and after which publication.
fn interruptions(broker: &Broker, loop_index: usize) -> Vec<(Interruption, PublicationId)> {
    let mut taken = Default::default();
    broker.mailbox(loop_index).take_publications(usize::MAX, &mut taken);
    let notices = taken.iter().filter_map(|publication| match publication.source {
        Source::Notice(happens) => Some((happens, publication.id)),
        Source::Publisher | Source::Client { .. } | Source::Protocol => None,
    });
    notices.collect()
}

#[test]
fn a_channel_begins_where_the_engine_says() {
    let (broker, _, _polls) = broker();
    broker.begin(&name(), id(EPOCH, 41), NOW);
    assert_eq!(kept(&broker, Position::After(id(EPOCH, 41))), (vec![], None));
    broker.deliver(broker.publication(draft("x"), id(EPOCH, 42)), NOW, NOW);
    assert_eq!(kept(&broker, Position::After(id(EPOCH, 41))), (vec![42], None));
    assert_eq!(kept(&broker, Position::After(id(EPOCH, 40))), (vec![42], Some(Gap { missed: Some(1) })));
}

#[test]
fn a_gap_forgets_what_is_kept_and_the_channel_goes_on_after_it() {
    let (broker, engine, _polls) = broker();
    for request in 1..=3 {
        publish(&broker, "x", request);
        engine.release(&broker, NOW);
    }
    engine.gap(&broker, &name(), Gap { missed: Some(4) }, id(EPOCH, 7), NOW);
    assert_eq!(kept(&broker, Position::Last(9)), (vec![], None));
    publish(&broker, "y", 4);
    engine.release(&broker, NOW);
    for (position, missed) in [(7, None), (3, Some(4)), (1, Some(6))] {
        let gap = missed.map(|missed| Gap { missed: Some(missed) });
        assert_eq!(kept(&broker, Position::After(id(EPOCH, position))), (vec![8], gap), "{position}");
    }
}

#[test]
fn after_a_gap_into_another_epoch_nobody_of_the_old_one_is_told_how_many_are_lost() {
    let (broker, engine, _polls) = broker();
    publish(&broker, "x", 1);
    engine.release(&broker, NOW);
    engine.gap(&broker, &name(), Gap { missed: None }, id(EPOCH + 1, 0), NOW);
    publish(&broker, "y", 2);
    engine.release(&broker, NOW);
    let lost = Some(Gap { missed: None });
    assert_eq!(kept(&broker, Position::After(id(EPOCH, 1))), (vec![1], lost));
    assert_eq!(kept(&broker, Position::After(id(EPOCH, 0))), (vec![1], lost), "also not at its beginning");
    assert_eq!(kept(&broker, Position::After(id(EPOCH + 1, 0))), (vec![1], None));
}

#[test]
fn the_beginning_of_an_epoch_that_the_engine_drew_is_never_taken_for_that_of_a_later_one() {
    let (broker, _, _polls) = broker();
    // The epochs of a single node count up from 100: 150 would be one of a channel that was removed.
    broker.begin(&name(), id(200, 0), NOW);
    assert_eq!(kept(&broker, Position::After(id(150, 0))), (vec![], Some(Gap { missed: None })));
}

#[test]
fn loops_with_readers_are_told_of_a_gap_a_pause_and_its_end_in_their_order() {
    let (broker, engine, _polls) = broker();
    broker.subscribe(&name(), Arrival::test(1), Position::Now, NOW, Some, |_| ());
    broker.pause(&name());
    engine.gap(&broker, &name(), Gap { missed: Some(2) }, id(EPOCH, 2), NOW);
    broker.resume(&name());
    let told = [
        (Interruption::Paused, id(EPOCH, 0)),
        (Interruption::Gap(Gap { missed: Some(2) }), id(EPOCH, 2)),
        (Interruption::Resumed, id(EPOCH, 2)),
    ];
    assert_eq!((interruptions(&broker, 0), interruptions(&broker, 1)), (vec![], told.to_vec()));
    assert_eq!(broker.held_len(), Broker::held_len(&self::broker().0), "what was told is not kept");
}

#[test]
fn a_channel_that_is_not_known_is_not_begun_to_be_paused() {
    let (broker, _, _polls) = broker();
    broker.pause(&ChannelName::new("b").unwrap());
    assert_eq!(broker.channels_len(), 1);
}

#[test]
fn a_gap_makes_new_pusher_clients_miss_the_event_that_was_cached() {
    let (broker, engine, _polls) = broker();
    let name = ChannelName::new("cache-a").unwrap();
    engine.begin(&broker, &name, NOW);
    assert_eq!(
        broker.publish(Draft::text("cache-a", "x").unwrap(), Waiter::Nobody, NOW),
        Publishing::Awaited
    );
    engine.release(&broker, NOW);
    let held_len = broker.held_len();
    engine.gap(&broker, &name, Gap { missed: Some(1) }, id(EPOCH, 2), NOW);
    assert!(broker.held_len() < held_len, "neither the history nor the cache keeps it");
    let cached =
        lock(broker.shard("cache-a")).channels[&name].audience.as_ref().and_then(|it| it.cached_at());
    assert_eq!(cached, None);
}

#[test]
fn what_is_delivered_late_is_as_old_as_the_engine_says_and_expires_with_that() {
    let (broker, _, _polls) = broker();
    let age_ms = Retention::new(&Config::default()).of("a").age_ms;
    let now = Millis(NOW.0 + 2 * age_ms);
    let deliver = |sequence, at| {
        broker.deliver(broker.publication(draft("x"), id(EPOCH, sequence)), Millis(at), now);
    };
    broker.subscribe(&name(), Arrival::test(0), Position::Now, NOW, Some, |_| ());
    deliver(1, NOW.0);
    assert_eq!(taken(&broker, 0), [(1, b"x".to_vec())], "too old to be kept, and delivered");
    deliver(2, now.0 - age_ms + 10);
    deliver(3, now.0 - age_ms + 5);
    deliver(4, now.0 + 1000);
    broker.sweep(now);
    assert_eq!(broker.due_at(), Some(Millis(now.0 + 10)));
    broker.sweep(Millis(now.0 + 9));
    assert_eq!(kept_at(&broker, Millis(now.0 + 9)), [2, 3, 4]);
    broker.sweep(Millis(now.0 + 10));
    assert_eq!(kept_at(&broker, Millis(now.0 + 10)), [4], "no time in a history is before that ahead of it");
    broker.sweep(Millis(now.0 + age_ms));
    assert_eq!(
        kept_at(&broker, Millis(now.0 + age_ms)),
        Vec::<u64>::new(),
        "nor after that at which it came"
    );
}

/// What is kept at a time.
fn kept_at(broker: &Broker, now: Millis) -> Vec<u64> {
    let mut kept = Vec::new();
    let note = |resumption: Resumption| {
        kept = resumption.publications.iter().map(|publication| publication.id.sequence).collect();
        None::<()>
    };
    broker.subscribe(&name(), Arrival::test(0), Position::Last(9), now, note, |_| ());
    kept
}

#[test]
fn a_thread_that_publishes_waits_until_the_engine_has_delivered() {
    let (broker, engine, _polls) = broker();
    let reply = Arc::new(Reply::default());
    let publishing = broker.publish(draft("x"), Waiter::Thread(Arc::clone(&reply)), NOW);
    assert_eq!(publishing, Publishing::Awaited);
    let waiting = thread::spawn(move || reply.wait());
    engine.release(&broker, NOW);
    assert_eq!(waiting.join().unwrap().unwrap().published.id.sequence, 1);
}

#[test]
fn a_key_that_the_engine_knows_is_answered_with_the_earlier_publication_to_all_who_used_it() {
    let (broker, engine, _polls) = broker();
    assert_eq!(publish_once(&broker, "x", "k", 1), Ok(Publishing::Awaited));
    assert_eq!(publish_once(&broker, "x", "k", 2), Ok(Publishing::Awaited));
    let id = PublicationId { epoch: EPOCH, sequence: 9 };
    engine.know(&broker, Published { id, subscribers: 4 });
    assert_eq!(answers(&broker), [(1, 9, true), (2, 9, true)]);
    let Ok(Publishing::Done(receipt)) = publish_once(&broker, "x", "k", 3) else { panic!() };
    assert_eq!((receipt.published.id, receipt.is_replay), (id, true));
}
