//! The table of who is there where nodes share a channel: what others are to know, and who is there by what they have told.

use super::*;
use crate::config::PresenceRule;
use crate::hub::Owner;
use crate::server::broker::presence::Present;
use crate::server::broker::presence_news::NEWS_MAX;
use crate::server::clock::Millis;

fn table() -> Presence {
    let mut table = Presence::new(PresenceRule::Members, 10, 0xa, 1);
    table.share();
    table
}

fn owner(number: u64) -> Owner {
    Owner { hub: 0, number }
}

fn named(sub: &str) -> Present<'_> {
    Present { sub: Some(sub), info: None, is_poll: false }
}

fn record(sub: &str, connections: Option<u64>) -> Record {
    Record { whose: Whose::User(sub.into()), here: connections.map(|count| (count, None)) }
}

fn unnamed(count: u64) -> Record {
    Record { whose: Whose::Unnamed, here: (count > 0).then_some((count, None)) }
}

/// What others are to know, and whether that is all.
fn news(table: &mut Presence, is_whole: bool) -> (Vec<Record>, bool) {
    let mut records = Vec::new();
    let is_whole = table.take_news(is_whole, &mut records);
    assert!(!table.has_news(), "they know it");
    (records, is_whole)
}

#[test]
fn others_are_told_what_has_changed_since_they_were_told() {
    let mut table = table();
    assert!(!table.has_news());
    table.join(owner(1), named("a"));
    table.join(owner(2), named("a"));
    table.join(owner(3), Present::default());
    assert_eq!(news(&mut table, false), (vec![record("a", Some(2)), unnamed(1)], false));
    table.leave(owner(1), false, Millis(0));
    table.leave(owner(2), false, Millis(0));
    assert_eq!(news(&mut table, false).0, [record("a", Some(0))], "it has left a moment ago");
    assert_eq!(news(&mut table, true), (vec![record("a", Some(0)), unnamed(1)], true));
    table.expire(Millis(5_000), usize::MAX);
    assert_eq!(news(&mut table, false).0, [record("a", None)]);
    assert_eq!(news(&mut table, false).0, []);
}

#[test]
fn more_changes_than_are_remembered_are_all_that_there_is() {
    let mut table = table();
    for number in 0..=NEWS_MAX as u64 {
        table.join(owner(number), named(&format!("u{number}")));
    }
    let (records, is_whole) = news(&mut table, false);
    assert_eq!((records.len(), is_whole), (NEWS_MAX + 1, true));
}

#[test]
fn a_user_who_has_left_here_is_there_until_the_others_say_that_it_is_not() {
    let mut table = table();
    table.begin_reading(0);
    table.join(owner(1), named("a"));
    assert!(table.change(Millis(0)).is_some());
    table.leave(owner(1), false, Millis(0));
    table.expire(Millis(5_000), usize::MAX);
    assert_eq!(table.change(Millis(5_000)), None);
    assert_eq!(table.elsewhere(), [Whose::User("a".into())]);
    table.note_elsewhere(&record("a", None));
    let change = table.change(Millis(5_000)).unwrap().data;
    assert_eq!(change, r#"{"joined":[],"left":["a"],"count":0,"anonymous":0}"#);
}

#[test]
fn users_of_other_nodes_are_members_whose_connections_add_up_and_lingering_here_is_not_disturbed() {
    let mut table = table();
    table.join(owner(1), named("a"));
    table.note_elsewhere(&record("a", Some(2)));
    table.note_elsewhere(&record("b", Some(1)));
    table.note_elsewhere(&unnamed(3));
    let expected =
        r#"{"members":[{"sub":"a","connections":3},{"sub":"b","connections":1}],"count":2,"anonymous":3}"#;
    assert_eq!(table.state(), expected);
    table.leave(owner(1), false, Millis(0));
    table.note_elsewhere(&record("a", None));
    assert_eq!(table.state(), expected.replace(":3},", ":0},"), "it may come back");
    table.join(owner(2), named("a"));
    table.leave(owner(2), false, Millis(1_000));
    table.note_elsewhere(&record("a", Some(1)));
    table.expire(Millis(6_000), usize::MAX);
    assert_eq!(table.state(), expected.replace(":3},", ":1},"));
    for gone in [record("a", None), record("b", None), unnamed(0)] {
        table.note_elsewhere(&gone);
    }
    news(&mut table, false);
    assert!(table.is_idle());
}
