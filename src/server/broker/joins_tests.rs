//! Joining and leaving as a Pusher client, with a pretend clock: members, what a cache channel keeps, when subscribers are told
//! how many they are, and what is counted as memory.

use std::collections::VecDeque;

use mio::{Poll, Token};

use super::*;
use crate::config::Config;
use crate::server::broker::answer::Waiter;
use crate::server::broker::engine::Engine;
use crate::server::broker::mailbox::mailboxes;
use crate::server::broker::retention::Retention;

fn broker() -> (Broker, Poll) {
    let poll = Poll::new().unwrap();
    let mailboxes = mailboxes(std::slice::from_ref(&poll), Token(0)).unwrap();
    (Broker::new(mailboxes, 1, Retention::new(&Config::default()), Engine::Local), poll)
}

fn name(name: &str) -> ChannelName {
    ChannelName::new(name).unwrap()
}

fn member(user_id: &str, info_len: usize) -> Member {
    Member { user_id: user_id.into(), user_info: Some(format!("\"{}\"", "x".repeat(info_len)).into()) }
}

/// Joins as a connection of this number: what it finds.
fn join(broker: &Broker, channel: &str, number: u64, member: Option<&Member>, now: u64) -> Joined<()> {
    let owner = Owner { hub: 0, number };
    let user_id = member.map(|member| &*member.user_id);
    let joiner = Joiner { owner, member, members_max: 2, user_id };
    broker.join(&name(channel), joiner, Millis(now), |_| (), |_| ()).unwrap()
}

/// Leaves since the connection has ended, which was last heard at `heard_at`.
fn leave(broker: &Broker, channel: &str, user_id: Option<&str>, heard_at: u64, now: u64) {
    let gone = user_id.map(|user_id| (user_id, Millis(heard_at)));
    let leaver = Leaver { loop_index: 0, member_id: user_id, gone };
    broker.leave(&name(channel), leaver, Millis(now), |_| ());
}

fn publish(broker: &Broker, channel: &str, text: &str, now: u64) {
    let _ = broker.publish(Draft::text(channel, text).unwrap(), Waiter::Nobody, Millis(now));
}

/// The events of the protocol that wait for the loop: name, data, the connection that is not told.
fn told(broker: &Broker) -> Vec<(String, String, Option<u64>)> {
    let mut taken = VecDeque::new();
    broker.mailbox(0).take_publications(usize::MAX, &mut taken);
    let told = taken.iter().filter(|publication| publication.source == Source::Protocol);
    told.map(|publication| {
        let event = publication.event.as_ref().unwrap().as_str().trim_start_matches("pusher_internal:");
        let data = String::from_utf8(publication.data.to_vec()).unwrap();
        (event.to_owned(), data, publication.excluded.map(|owner| owner.number))
    })
    .collect()
}

fn texts(cache: &Cache) -> Vec<String> {
    let Cache::Hit(publications) = cache else { panic!("{cache:?}") };
    publications.iter().map(|publication| String::from_utf8(publication.data.to_vec()).unwrap()).collect()
}

#[test]
fn the_others_are_told_of_the_first_connection_of_a_user_and_of_the_last() {
    let (broker, _poll) = broker();
    let anna = member("anna", 1);
    assert!(join(&broker, "presence-a", 1, Some(&anna), 0).is_new_member);
    assert!(!join(&broker, "presence-a", 2, Some(&anna), 0).is_new_member);
    let added = r#"{"user_id":"anna","user_info":"x"}"#;
    assert_eq!(told(&broker), [("member_added".into(), added.into(), Some(1))]);
    leave(&broker, "presence-a", Some("anna"), 0, 0);
    assert_eq!(told(&broker), []);
    join(&broker, "presence-a", 3, Some(&member("bert", 1)), 0);
    told(&broker);
    leave(&broker, "presence-a", Some("anna"), 0, 0);
    assert_eq!(told(&broker), [("member_removed".into(), r#"{"user_id":"anna"}"#.into(), None)]);
}

#[test]
fn a_full_channel_takes_another_connection_of_a_member_and_no_other_user() {
    let (broker, _poll) = broker();
    for (number, user) in [(1, "anna"), (2, "bert"), (3, "bert")] {
        join(&broker, "presence-a", number, Some(&member(user, 1)), 0);
    }
    let cleo = member("cleo", 1);
    let owner = Owner { hub: 0, number: 4 };
    let joiner = Joiner { owner, member: Some(&cleo), members_max: 2, user_id: None };
    assert_eq!(broker.join(&name("presence-a"), joiner, Millis(0), |_| (), |_| ()).unwrap_err(), Full);
    assert_eq!(broker.users("presence-a"), ["anna", "bert"]);
}

#[test]
fn what_members_say_of_themselves_is_counted_as_memory_while_they_are_there() {
    let (broker, _poll) = broker();
    join(&broker, "presence-a", 1, None, 0);
    let before = broker.held_len();
    join(&broker, "presence-a", 2, Some(&member("anna", 100_000)), 0);
    told(&broker);
    let held = broker.held_len() - before;
    assert!((100_000..102_000).contains(&held), "{held}");
    leave(&broker, "presence-a", Some("anna"), 0, 0);
    told(&broker);
    assert!(broker.held_len() - before < 1000);
}

#[test]
fn the_first_who_finds_a_cache_channel_empty_is_told_so_and_counted_until_something_comes() {
    let (broker, _poll) = broker();
    let is_first =
        |number| matches!(join(&broker, "cache-a", number, None, 0).cache, Cache::Miss { is_first: true });
    assert_eq!([is_first(1), is_first(2)], [true, false]);
    publish(&broker, "cache-a", "1", 0);
    assert_eq!(texts(&join(&broker, "cache-a", 3, None, 0).cache), ["1"]);
}

#[test]
fn a_cached_event_outlives_the_history_and_expires_after_30_minutes() {
    let (broker, _poll) = broker();
    publish(&broker, "cache-a", "1", 0);
    broker.sweep(Millis(1_799_999));
    assert_eq!(broker.occupation("cache-a", Millis(1_799_999)).unwrap().cached, Some(("1".into(), 1)));
    assert_eq!(texts(&join(&broker, "cache-a", 1, None, 1_799_999).cache), ["1"]);
    leave(&broker, "cache-a", None, 0, 1_799_999);
    broker.sweep(Millis(1_800_000));
    broker.sweep(Millis(1_900_000));
    assert_eq!((broker.channels_len(), broker.held_len()), (0, 0));
}

#[test]
fn a_user_who_comes_back_within_a_minute_gets_what_came_since_the_last_sign_of_life_and_5_s_before() {
    let (broker, _poll) = broker();
    let anna = member("anna", 1);
    for (text, at) in [("1", 10_000), ("2", 20_000), ("3", 30_000), ("4", 40_000)] {
        publish(&broker, "presence-cache-a", text, at);
    }
    join(&broker, "presence-cache-a", 1, Some(&anna), 40_000);
    leave(&broker, "presence-cache-a", Some("anna"), 25_000, 50_000);
    publish(&broker, "presence-cache-a", "5", 60_000);
    let back = |now| texts(&join(&broker, "presence-cache-a", 2, Some(&anna), now).cache);
    assert_eq!(back(109_999), ["2", "3", "4", "5"], "and again for the next tab of the same user");
    assert_eq!(texts(&join(&broker, "presence-cache-a", 3, Some(&member("bert", 1)), 109_999).cache), ["5"]);
    assert_eq!(back(110_000), ["5"], "after a minute it is a stranger");
}

#[test]
fn subscribers_are_told_their_number_at_each_change_and_above_100_every_5_s() {
    let (broker, _poll) = broker();
    let channel = name("a");
    let count = |now| {
        broker.tell_count(&channel, Millis(now));
        told(&broker).into_iter().map(|(_, data, _)| data).collect::<Vec<_>>()
    };
    for number in 1..=100 {
        join(&broker, "a", number, None, 0);
        assert_eq!(count(0), [format!("{{\"subscription_count\":{number}}}")]);
    }
    join(&broker, "a", 101, None, 10);
    join(&broker, "a", 102, None, 20);
    assert!(count(20).is_empty());
    broker.sweep(Millis(4999));
    assert_eq!(told(&broker), []);
    broker.sweep(Millis(5000));
    assert_eq!(told(&broker).len(), 1, "the newest number, once");
    broker.sweep(Millis(20_000));
    assert_eq!(told(&broker), []);
}
