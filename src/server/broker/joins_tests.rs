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
    let heard = Heard::new(Millis(now));
    let user = member.map(|member| (&*member.user_id, &heard));
    let joiner = Joiner { owner, member, members_max: 2, user };
    broker.join(&name(channel), joiner, Millis(now), || (), |_| ()).unwrap()
}

/// Leaves.
fn leave(broker: &Broker, channel: &str, user_id: Option<&str>) {
    let leaver =
        Leaver { owner: Owner { hub: 0, number: 0 }, member_id: user_id, user: None, has_ended: false };
    broker.leave(&name(channel), leaver, Millis(0), |_| ());
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
    leave(&broker, "presence-a", Some("anna"));
    assert_eq!(told(&broker), []);
    join(&broker, "presence-a", 3, Some(&member("bert", 1)), 0);
    told(&broker);
    leave(&broker, "presence-a", Some("anna"));
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
    let joiner = Joiner { owner, member: Some(&cleo), members_max: 2, user: None };
    assert_eq!(broker.join(&name("presence-a"), joiner, Millis(0), || (), |_| ()).unwrap_err(), Full);
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
    leave(&broker, "presence-a", Some("anna"));
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
    leave(&broker, "cache-a", None);
    broker.sweep(Millis(1_800_000));
    broker.sweep(Millis(1_900_000));
    assert_eq!((broker.channels_len(), broker.held_len()), (0, 0));
}

/// A connection of a user in a cache channel.
struct Connected {
    member: Member,
    heard: Heard,
}

impl Connected {
    /// Joins: what it is sent of the past.
    fn join(broker: &Broker, user_id: &str, now: u64) -> (Self, Vec<String>) {
        let connected = Self { member: member(user_id, 1), heard: Heard::new(Millis(now)) };
        let Self { member, heard } = &connected;
        let owner = Owner { hub: 0, number: 1 };
        let user = Some((&*member.user_id, heard));
        let joiner = Joiner { owner, member: Some(member), members_max: 9, user };
        let joined = broker.join(&name("presence-cache-a"), joiner, Millis(now), || (), |_| ()).unwrap();
        let texts = texts(&joined.cache);
        (connected, texts)
    }

    fn leave(self, broker: &Broker, has_ended: bool, now: u64) {
        let user_id = &*self.member.user_id;
        let user = Some((user_id, &self.heard));
        let leaver = Leaver { owner: Owner { hub: 0, number: 0 }, member_id: Some(user_id), user, has_ended };
        broker.leave(&name("presence-cache-a"), leaver, Millis(now), |_| ());
    }
}

/// A broker with four events of a cache channel, published at 10, 20, 30 and 40 s.
fn with_events() -> (Broker, Poll) {
    let (broker, poll) = broker();
    for (text, at) in [("1", 10_000), ("2", 20_000), ("3", 30_000), ("4", 40_000)] {
        publish(&broker, "presence-cache-a", text, at);
    }
    (broker, poll)
}

#[test]
fn a_user_who_comes_back_within_a_minute_gets_what_came_since_the_last_sign_of_life_and_5_s_before() {
    let (broker, _poll) = with_events();
    let (anna, _) = Connected::join(&broker, "anna", 40_000);
    anna.heard.note(Millis(25_000));
    anna.leave(&broker, true, 50_000);
    publish(&broker, "presence-cache-a", "5", 60_000);
    let (again, missed) = Connected::join(&broker, "anna", 109_999);
    assert_eq!(missed, ["2", "3", "4", "5"]);
    again.leave(&broker, false, 109_999);
    assert_eq!(Connected::join(&broker, "bert", 109_999).1, ["5"]);
    assert_eq!(Connected::join(&broker, "anna", 110_000).1, ["5"], "after a minute it is a stranger");
}

#[test]
fn a_user_whose_lost_connection_has_not_been_found_out_gets_what_it_missed() {
    let (broker, _poll) = with_events();
    let (lost, _) = Connected::join(&broker, "anna", 40_000);
    publish(&broker, "presence-cache-a", "5", 50_000);
    let (_again, missed) = Connected::join(&broker, "anna", 51_000);
    assert_eq!(missed, ["4", "5"]);
    lost.leave(&broker, true, 60_000);
}

#[test]
fn who_unsubscribed_is_sent_the_last_event_alone() {
    let (broker, _poll) = with_events();
    let (anna, _) = Connected::join(&broker, "anna", 40_000);
    anna.leave(&broker, false, 41_000);
    assert_eq!(Connected::join(&broker, "anna", 42_000).1, ["4"]);
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
