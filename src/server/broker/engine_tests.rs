//! The broker with an engine that delivers later: order, idempotency, history and answers.

use std::thread;

use mio::{Poll, Token};

use super::*;
use crate::config::Config;
use crate::hub::Gap;
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
    (Broker::new(mailboxes(&polls, Token(0)).unwrap(), 100, retention, remote), engine, polls)
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
    assert_eq!(publish_once(&broker, "y", "k", 3), Err(KeyRefused::Reused));
    assert_eq!(engine.len(), 1);
    engine.release(&broker, NOW);
    assert_eq!(answers(&broker), [(1, 1, false), (2, 1, true)]);
    let Ok(Publishing::Done(receipt)) = publish_once(&broker, "x", "k", 4) else { panic!() };
    assert_eq!((receipt.published.id.sequence, receipt.is_replay, engine.len()), (1, true, 0));
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

#[test]
fn a_number_under_another_epoch_begins_the_channel_anew() {
    let (broker, engine, _polls) = broker();
    publish(&broker, "x", 1);
    engine.release(&broker, NOW);
    let before = PublicationId { epoch: EPOCH, sequence: 1 };
    let id = PublicationId { epoch: EPOCH + 1, sequence: 1 };
    broker.deliver(broker.publication(draft("y"), id), NOW);
    assert_eq!(kept(&broker, Position::After(before)), (vec![1], Some(Gap { missed: None })));
    assert_eq!(kept(&broker, Position::After(id)), (vec![], None));
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
