//! Channels that an engine has to engage before they are joined.

use std::sync::Arc;

use mio::{Poll, Token};

use super::*;
use crate::config::Config;
use crate::hub::Position;
use crate::server::broker::answer::{Publishing, Waiter};
use crate::server::broker::arrivals::{Arrival, Departure};
use crate::server::broker::draft::Draft;
use crate::server::broker::engine::held::Held;
use crate::server::broker::mailbox::{JoinAnswer, Unavailable, mailboxes};
use crate::server::broker::queries::PageOf;
use crate::server::broker::retention::Retention;

const NOW: Millis = Millis(1_000);

fn broker() -> (Broker, Arc<Held>, Poll) {
    let (poll, engine) = (Poll::new().unwrap(), Arc::new(Held::default()));
    let mailboxes = mailboxes(std::slice::from_ref(&poll), Token(0)).unwrap();
    let retention = Retention::new(&Config::default());
    (Broker::new(mailboxes, 100, retention, Engine::Remote(engine.clone())), engine, poll)
}

fn name(text: &str) -> ChannelName {
    ChannelName::new(text).unwrap()
}

fn question(number: u64) -> JoinQuestion {
    JoinQuestion { loop_index: 0, connection: 7, number }
}

fn prepare(broker: &Broker, channels: &[&str], number: u64) -> Prepared {
    let names: Vec<_> = channels.iter().map(|channel| name(channel)).collect();
    broker.prepare(&names, question(number))
}

fn answers(broker: &Broker) -> Vec<(u64, Result<(), Unavailable>)> {
    let answers = broker.mailbox(0).take_prepared().into_iter();
    let told = answers.map(|JoinAnswer { connection, question, outcome }| {
        assert_eq!(connection, 7);
        (question, outcome)
    });
    told.collect()
}

fn join(broker: &Broker, channel: &str) {
    broker.subscribe(&name(channel), Arrival::test(0), Position::Now, NOW, Some, |_| ()).unwrap();
}

fn leave(broker: &Broker, channel: &str, now: Millis) {
    broker.unsubscribe(&name(channel), Departure::test(0), now, |_| ());
}

#[test]
fn a_connection_is_told_once_when_the_last_of_its_channels_is_ready() {
    let (broker, engine, _poll) = broker();
    assert_eq!(prepare(&broker, &["a", "b", "c"], 1), Prepared::Awaited);
    assert_eq!(engine.wanted(), ["a", "b", "c"]);
    engine.prepare(&broker);
    engine.prepare(&broker);
    assert_eq!(answers(&broker), []);
    assert!(broker.mailbox(0).may_sleep());
    engine.prepare(&broker);
    assert!(!broker.mailbox(0).may_sleep(), "an answer keeps the loop awake");
    assert_eq!(answers(&broker), [(1, Ok(()))]);
    assert_eq!(prepare(&broker, &["a", "b", "c"], 2), Prepared::Ready);
    assert_eq!(prepare(&broker, &["a", "d"], 3), Prepared::Awaited);
    assert_eq!(engine.wanted(), ["d"], "only what is not ready");
}

#[test]
fn the_first_refusal_answers_and_what_comes_after_it_says_nothing() {
    let (broker, engine, _poll) = broker();
    assert_eq!(prepare(&broker, &["a", "b", "c", "d"], 1), Prepared::Awaited);
    engine.prepare(&broker);
    engine.refuse(&broker);
    assert_eq!(answers(&broker), [(1, Err(Unavailable))]);
    engine.refuse(&broker);
    engine.prepare(&broker);
    assert_eq!(answers(&broker), []);
}

#[test]
fn the_servers_own_channels_and_companions_are_ready_at_any_time_and_numbered_here() {
    let (broker, engine, _poll) = broker();
    let own = ChannelName::new("@fanfare.dashboard").unwrap();
    let companion = name("a").companion();
    assert_eq!(broker.prepare([&own, &companion], question(1)), Prepared::Ready);
    let draft = Draft { channel: own, ..Draft::text("a", "x").unwrap() };
    assert!(matches!(broker.publish(draft, Waiter::Nobody, NOW), Publishing::Done(_)));
    assert_eq!((engine.len(), engine.wanted().len()), (0, 0));
}

#[test]
fn an_engaged_channel_is_known_until_it_is_let_go_of_whatever_the_time_and_the_memory() {
    let (broker, engine, _poll) = broker();
    let _ = prepare(&broker, &["a"], 1);
    engine.prepare(&broker);
    join(&broker, "a");
    leave(&broker, "a", NOW);
    broker.sweep(Millis(10_000_000));
    assert_eq!(broker.due_at(), None, "nothing of it expires");
    broker.shed(|| false);
    assert_eq!(broker.channels_len(), 1);
    assert!(!broker.disengage(&name("a"), Millis(10_000_000)), "somebody was told that it is ready");
    assert!(broker.disengage(&name("a"), Millis(10_000_000)));
    assert_eq!(broker.channels_len(), 0);
    assert!(broker.disengage(&name("a"), NOW), "it is not known any more");
    assert_eq!(prepare(&broker, &["a"], 2), Prepared::Awaited);
}

#[test]
fn a_channel_with_readers_or_with_somebody_about_to_join_is_not_let_go_of() {
    let (broker, engine, _poll) = broker();
    let _ = prepare(&broker, &["a"], 1);
    engine.prepare(&broker);
    join(&broker, "a");
    assert!(!broker.disengage(&name("a"), NOW));
    assert!(!broker.disengage(&name("a"), NOW));
    leave(&broker, "a", NOW);
    assert_eq!(prepare(&broker, &["a"], 2), Prepared::Ready);
    assert!(!broker.disengage(&name("a"), NOW), "the connection joins next");
    assert!(broker.disengage(&name("a"), NOW));
}

#[test]
fn a_channel_that_was_only_looked_into_is_shown_to_nobody() {
    let (broker, _engine, _poll) = broker();
    let asked = PageOf { space: None, prefix: String::new(), after: String::new(), limit: 10 };
    broker.engage(&name("a"));
    assert_eq!((broker.state_of("a"), broker.page(&asked).channels.len()), (None, 0));
    join(&broker, "a");
    assert!(broker.state_of("a").is_some() && broker.page(&asked).channels.len() == 1);
}

#[test]
fn what_is_kept_of_a_channel_that_was_let_go_of_expires_as_ever() {
    let (broker, engine, _poll) = broker();
    let _ = prepare(&broker, &["a"], 1);
    engine.prepare(&broker);
    let _ = broker.publish(Draft::text("a", "x").unwrap(), Waiter::Nobody, NOW);
    engine.release(&broker, NOW);
    assert!(!broker.disengage(&name("a"), NOW));
    assert!(broker.disengage(&name("a"), NOW));
    assert_eq!(broker.channels_len(), 1, "its history is kept");
    while let Some(due) = broker.due_at() {
        broker.sweep(due);
    }
    assert_eq!(broker.channels_len(), 0);
}

#[test]
fn changes_of_a_count_are_told_once_until_the_engine_has_looked() {
    let (broker, engine, _poll) = broker();
    join(&broker, "a");
    assert_eq!(engine.take_counts(), [""; 0], "it is not engaged");
    broker.engage(&name("a"));
    assert_eq!(engine.take_counts(), ["a"], "it has a reader already");
    for _ in 0..3 {
        join(&broker, "a");
    }
    assert_eq!(engine.take_counts(), [""; 0]);
    assert_eq!(broker.audience_of(&name("a")), (4, true));
    leave(&broker, "a", NOW);
    leave(&broker, "a", NOW);
    assert_eq!(engine.take_counts(), ["a"]);
    assert_eq!(broker.audience_of(&name("a")), (2, true));
    let _ = broker.watch(&name("a"), 0, Position::Now, NOW, Some);
    leave(&broker, "a", NOW);
    leave(&broker, "a", NOW);
    assert_eq!(engine.take_counts(), ["a"]);
    assert_eq!(broker.audience_of(&name("a")), (0, true), "who watches is a reader and no subscriber");
    assert_eq!(broker.audience_of(&name("b")), (0, false));
}

#[test]
fn a_poll_that_does_not_wait_changes_no_count() {
    let (broker, engine, _poll) = broker();
    broker.engage(&name("a"));
    broker.subscribe(&name("a"), Arrival::test(0), Position::Now, NOW, |_| None::<()>, |_| ());
    assert_eq!(engine.take_counts(), [""; 0]);
}

#[test]
fn without_an_engine_a_channel_is_ready_without_a_lock() {
    let poll = Poll::new().unwrap();
    let mailboxes = mailboxes(std::slice::from_ref(&poll), Token(0)).unwrap();
    let broker = Broker::new(mailboxes, 100, Retention::new(&Config::default()), Engine::Local);
    // Who took a lock again that this thread holds would wait for ever, or panic.
    let held: Vec<_> = broker.shards.iter().map(lock).collect();
    assert_eq!(prepare(&broker, &["a", "b"], 1), Prepared::Ready);
    assert!(broker.is_ready(&name("a")));
    drop(held);
    assert_eq!((broker.channels_len(), broker.join_timeout()), (0, None));
}

#[test]
fn a_channel_takes_no_more_memory_than_without_engines() {
    let engagement = size_of::<crate::server::broker::channel::Engagement>();
    let flags = engagement + size_of::<u32>() + size_of::<bool>();
    assert!(flags <= align_of::<ChannelState>(), "they fit where one alone would be padded");
}

#[test]
fn a_reader_with_publications_that_this_node_has_not_waits_until_the_engine_was_asked() {
    let (broker, engine, _poll) = broker();
    let channel = name("a");
    broker.begin(&channel, PublicationId { epoch: 7, sequence: 3 }, NOW);
    broker.engage(&channel);
    let sought = |epoch, sequence, number| {
        let after = Position::After(PublicationId { epoch, sequence });
        broker.prepare_sought(&[Sought::at(channel.clone(), after)], question(number))
    };
    assert_eq!(sought(7, 3, 1), Prepared::Ready);
    assert_eq!(sought(7, 1, 2), Prepared::Ready, "what it has missed is read or told as a gap");
    assert_eq!(sought(7, 4, 3), Prepared::Awaited);
    assert_eq!(sought(8, 1, 4), Prepared::Awaited, "another epoch may have begun");
    assert_eq!(engine.wanted(), ["a", "a"]);
    let anywhere = [Sought::at(channel.clone(), Position::Now), Sought::anywhere(channel.clone())];
    assert_eq!(broker.prepare_sought(&anywhere, question(5)), Prepared::Ready);
}
