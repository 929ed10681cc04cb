//! Presence under the lock, with a pretend clock: what is in the mailboxes of loops whose connections read a companion, and what
//! of it is not seen anywhere else.

use std::collections::VecDeque;

use mio::{Poll, Token};

use super::*;
use crate::config::{Config, Glob};
use crate::hub::{Owner, Position};
use crate::server::broker::arrivals::PresenceRules;
use crate::server::broker::engine::Engine;
use crate::server::broker::mailbox::mailboxes;
use crate::server::broker::presence::Present;
use crate::server::broker::retention::Retention;
use crate::server::broker::roads::Road;

/// A broker of two loops, which tells who is in `chat*`, and how many are in `count*`.
fn broker() -> (Broker, Vec<Poll>) {
    let presence = vec![
        (Glob::new("chat*"), PresenceRule::Members),
        (Glob::new("count*"), PresenceRule::Count),
        (Glob::new("@*"), PresenceRule::Members),
    ];
    let config = Config { presence, ..Config::default() };
    let polls: Vec<Poll> = (0..2).map(|_| Poll::new().unwrap()).collect();
    let broker = Broker::new(mailboxes(&polls, Token(0)).unwrap(), 1, Retention::new(&config), Engine::Local);
    (broker.with_presence(PresenceRules::new(&config)), polls)
}

fn name(name: &str) -> ChannelName {
    ChannelName::new(name).unwrap()
}

fn owner(hub: usize, number: u64) -> Owner {
    Owner { hub, number }
}

fn join(broker: &Broker, channel: &str, owner: Owner, sub: Option<&str>, now: u64) {
    let arrival = Arrival { owner, present: Present { sub, ..Present::default() }, road: Road::WebSocket };
    broker.subscribe(&name(channel), arrival, Position::Now, Millis(now), Some, |_| ()).unwrap();
}

fn leave(broker: &Broker, channel: &str, owner: Owner, now: u64) {
    broker.unsubscribe(&name(channel), Departure { owner, road: Road::WebSocket }, Millis(now), |_| ());
}

fn read(broker: &Broker, channel: &str, loop_index: usize) -> String {
    broker.read_presence(&name(channel), loop_index, |_| ()).unwrap().data
}

/// What waits for a loop: channel, sequence and data of each publication.
fn taken(broker: &Broker, loop_index: usize) -> Vec<(String, u64, String)> {
    let mut taken = VecDeque::new();
    broker.mailbox(loop_index).take_publications(usize::MAX, &mut taken);
    let told = |publication: &std::sync::Arc<crate::hub::Publication>| {
        let data = String::from_utf8(publication.data.to_vec()).unwrap();
        (publication.channel.to_string(), publication.id.sequence, data)
    };
    taken.iter().map(told).collect()
}

#[test]
fn readers_of_a_companion_are_told_on_every_loop_and_subscribers_of_the_channel_are_not() {
    let (broker, _polls) = broker();
    join(&broker, "chat-7", owner(0, 1), Some("a"), 0);
    let began = read(&broker, "chat-7", 1);
    assert!(
        began.starts_with(r#"{"members":[{"sub":"a","connections":1}],"count":1,"anonymous":0,"since":""#)
    );
    join(&broker, "chat-7", owner(0, 2), Some("b"), 0);
    let change = r#"{"joined":[{"sub":"b"}],"left":[],"count":2,"anonymous":0}"#;
    assert_eq!(taken(&broker, 1), [("#presence/chat-7".to_owned(), 1, change.to_owned())]);
    assert_eq!(taken(&broker, 0), []);
}

#[test]
fn who_has_left_is_told_by_the_sweep_and_what_was_collected_too() {
    let (broker, _polls) = broker();
    join(&broker, "chat-7", owner(0, 1), Some("a"), 0);
    join(&broker, "chat-7", owner(0, 2), Some("b"), 0);
    read(&broker, "chat-7", 0);
    leave(&broker, "chat-7", owner(0, 2), 1000);
    assert_eq!(broker.due_at(), Some(Millis(6000)));
    broker.sweep(Millis(5999));
    assert_eq!(taken(&broker, 0), []);
    broker.sweep(Millis(6000));
    let left = r#"{"joined":[],"left":["b"],"count":1,"anonymous":0}"#;
    assert_eq!(taken(&broker, 0)[0].2, left);
    join(&broker, "chat-7", owner(0, 3), Some("c"), 6001);
    join(&broker, "chat-7", owner(0, 4), Some("d"), 6002);
    assert_eq!((taken(&broker, 0).len(), broker.due_at()), (0, Some(Millis(7000))));
    broker.sweep(Millis(7000));
    let joined = r#"{"joined":[{"sub":"c"},{"sub":"d"}],"left":[],"count":3,"anonymous":0}"#;
    assert_eq!(taken(&broker, 0)[0].2, joined);
}

#[test]
fn a_companion_is_no_channel_of_the_broker() {
    let (broker, _polls) = broker();
    join(&broker, "chat-7", owner(0, 1), None, 0);
    read(&broker, "chat-7", 0);
    join(&broker, "chat-7", owner(0, 2), Some("a"), 0);
    assert_eq!(broker.channels_len(), 1);
    let mut shown = Vec::new();
    broker.show_occupied(|name, subscribers, _| shown.push((name.to_string(), subscribers)));
    broker.take_busy(|name, published, subscribers| {
        assert_eq!(published, 0, "a change is no publication of the channel");
        shown.push((name.to_string(), subscribers));
    });
    assert_eq!(shown, [("chat-7".to_owned(), 2), ("chat-7".to_owned(), 2)]);
    assert_eq!(broker.subscribers_len("#presence/chat-7"), None);
}

#[test]
fn a_channel_is_known_while_somebody_may_come_back_or_reads_who_comes() {
    let (broker, _polls) = broker();
    join(&broker, "chat-7", owner(0, 1), Some("a"), 0);
    leave(&broker, "chat-7", owner(0, 1), 0);
    assert_eq!((broker.channels_len(), broker.due_at()), (1, Some(Millis(5000))));
    let there = r#"{"members":[{"sub":"a","connections":0}],"count":1,"anonymous":0}"#;
    assert_eq!(broker.presence_of(&name("chat-7")).as_deref(), Some(there));
    broker.shed(|| false);
    assert_eq!(broker.channels_len(), 1, "nor is it evicted");
    broker.sweep(Millis(5000));
    assert_eq!((broker.channels_len(), broker.held_len(), broker.due_at()), (0, 0, None));
    read(&broker, "chat-7", 0);
    assert_eq!(broker.channels_len(), 1);
    broker.end_presence(&name("chat-7"), 0, Millis(6000));
    assert_eq!((broker.channels_len(), broker.held_len(), broker.due_at()), (0, 0, None));
}

/// What a poll with this knowledge finds, whether it waits or not.
fn poll(broker: &Broker, known: Known, may_wait: bool) -> Polled<PublicationId> {
    broker
        .poll_presence(&name("chat-7"), 0, known, Millis(0), |newest| may_wait.then_some(newest))
        .expect("it is told who is there")
}

#[test]
fn a_poll_that_knows_who_is_there_reads_what_changes_and_one_that_does_not_is_told() {
    let (broker, _polls) = broker();
    let first = poll(&broker, Known::Nothing, true);
    assert!(matches!(&first.found, Found::State(data) if data.contains(r#""members":[],"#)), "{first:?}");
    assert_eq!((broker.channels_len(), broker.held_len()), (0, 0), "it leaves nothing behind");
    join(&broker, "chat-7", owner(0, 1), Some("a"), 0);
    let Polled { newest, found } = poll(&broker, Known::Change(first.newest), true);
    assert!(matches!(&found, Found::State(data) if data.contains(r#"{"sub":"a","#)), "{found:?}");
    assert!(matches!(poll(&broker, Known::Change(newest), false).found, Found::Nothing));
    assert_eq!(taken(&broker, 0), [], "none of them reads");
    assert!(matches!(poll(&broker, Known::Change(newest), true).found, Found::Reading(id) if id == newest));
    assert!(matches!(poll(&broker, Known::Enough, true).found, Found::Reading(_)));
    join(&broker, "chat-7", owner(0, 2), Some("b"), 0);
    assert_eq!(taken(&broker, 0).len(), 1);
    assert!(broker.poll_presence(&name("news"), 0, Known::Nothing, Millis(0), |_| None::<()>).is_none());
}

#[test]
fn where_no_rule_fits_nothing_is_kept_and_nothing_told() {
    let (broker, _polls) = broker();
    for channel in ["news", "@fanfare.dashboard"] {
        let channel = name(channel);
        join(&broker, channel.as_str(), owner(0, 1), Some("a"), 0);
        assert!(!broker.has_presence(&channel));
        assert_eq!(broker.presence_of(&channel), None);
        assert!(broker.read_presence(&channel, 0, |_| unreachable!("it is not read")).is_none());
        leave(&broker, channel.as_str(), owner(0, 1), 0);
    }
    assert!(!broker.has_presence(&name("chat-7").in_space("7")), "channels of another app are not told of");
    assert_eq!((broker.channels_len(), broker.due_at()), (0, None));
}

#[test]
fn a_channel_that_nobody_is_in_is_empty() {
    let (broker, _polls) = broker();
    let empty = broker.presence_of(&name("chat-7"));
    assert_eq!(empty.as_deref(), Some(r#"{"members":[],"count":0,"anonymous":0}"#));
    let counted = broker.presence_of(&name("count-7"));
    assert_eq!(counted.as_deref(), Some(r#"{"members":null,"count":0,"anonymous":0}"#));
    assert_eq!(broker.channels_len(), 0, "who asks makes nothing");
}

#[test]
fn a_poll_that_is_answered_at_once_is_of_somebody_who_is_there() {
    let (broker, _polls) = broker();
    let poll = |is_poll| {
        let present = Present { sub: Some("a"), info: None, is_poll };
        let arrival = Arrival { owner: owner(0, 1), present, road: Road::WebSocket };
        let joined =
            broker.subscribe(&name("chat-7"), arrival, Position::Now, Millis(0), |_| None::<()>, |_| ());
        assert!(joined.is_none());
    };
    poll(false);
    assert_eq!(broker.channels_len(), 0, "one that does not wait is of nobody");
    poll(true);
    assert_eq!(broker.due_at(), Some(Millis(30_000)));
    broker.sweep(Millis(30_000));
    assert_eq!((broker.channels_len(), broker.held_len()), (0, 0));
}

#[test]
fn who_reads_again_after_a_pause_has_another_beginning() {
    let (broker, _polls) = broker();
    read(&broker, "chat-7", 0);
    join(&broker, "chat-7", owner(0, 1), Some("a"), 0);
    broker.end_presence(&name("chat-7"), 0, Millis(0));
    join(&broker, "chat-7", owner(0, 2), Some("b"), 0);
    let began = read(&broker, "chat-7", 0);
    assert!(began.contains(r#""count":2,"#) && began.ends_with(r#"-2"}"#), "{began}");
    assert_eq!(taken(&broker, 0).len(), 1);
}
