//! What the script decides for webhooks, against a real Redis: which node is to report what, whether it hears the answer or not, and
//! whether Redis remembers or not.
//!
//! What else the script does is in `engine_script`.

#![allow(clippy::unwrap_used)] // a helper that fails fails its test

mod support;

use ::redis::{Connection, FromRedisValue};
use support::redis::{Redis, ask};

const SCRIPT: &str = include_str!("../src/server/broker/engine/script.lua");

/// A server with the script, and a connection.
struct World {
    _redis: Redis,
    connection: Connection,
    sha: String,
}

/// What a node has heard of a channel's subscribers, and what it says.
struct Count {
    node: &'static str,
    heard: u64,
}

/// What a node has heard of a channel's members.
struct Roster {
    node: &'static str,
    born: String,
    heard: String,
    is_unheard: bool,
    members: Vec<&'static str>,
    /// Those of which it waits to hear whether their departure is to be reported.
    departed: Vec<String>,
    /// Of how many of the first of these it knows that nobody has reported it.
    unreported_len: &'static str,
    /// Until when it may be told that, by Redis's clock.
    report_by: &'static str,
}

const NOTHING: (u64, u64) = (0, 0);
const OCCUPIED: u64 = 1;
const VACATED: u64 = 2;

/// The members that have come, and those whose departure is to be reported.
type Decided = (Vec<String>, Vec<String>);

/// The number of the last change, whether the node was known, members that have come and those that have gone of which that is not to be
/// reported yet, what the hash is called, the members whose departure is to be reported, and which call this was.
type Told = (u64, u64, Vec<String>, Vec<String>, String, Vec<String>, String);

impl World {
    fn new() -> Option<Self> {
        let redis = Redis::start(&[])?;
        let mut connection = redis.connect();
        let sha = ask(&mut connection, &[b"SCRIPT", b"LOAD", SCRIPT.as_bytes()]).unwrap();
        Some(Self { _redis: redis, connection, sha })
    }

    fn call<T: FromRedisValue>(&mut self, key: &str, words: &[&str]) -> T {
        let sha = self.sha.clone();
        let head = ["EVALSHA", &sha, "1", key];
        let words: Vec<&[u8]> = head.iter().chain(words).map(|word| word.as_bytes()).collect();
        ask(&mut self.connection, &words).unwrap()
    }

    fn forget(&mut self) {
        let _: String = ask(&mut self.connection, &[b"FLUSHALL"]).unwrap();
    }

    /// A node has not said for too long that it lives.
    fn is_silent(&mut self, node: &str) {
        let nodes: String = ask(&mut self.connection, &[b"HGET", b"{c}:u", b"n"]).unwrap();
        let entry = nodes.split(';').find(|entry| entry.starts_with(&format!("{node}:"))).unwrap();
        let nodes = nodes.replace(entry, &format!("{node}:1000"));
        let _: u64 = ask(&mut self.connection, &[b"HSET", b"{c}:u", b"n", nodes.as_bytes()]).unwrap();
    }

    /// Whoever has gone went long ago: the times of the departures that are not reported yet are others.
    fn wait(&mut self) {
        const BACK: &str = "local r = redis.call('HGET', KEYS[1], 'r') \
             if r then r = cmsgpack.unpack(r) for user in pairs(r) do r[user] = 1000 end \
             redis.call('HSET', KEYS[1], 'r', cmsgpack.pack(r)) end return 1";
        let _: u64 = ask(&mut self.connection, &[b"EVAL", BACK.as_bytes(), b"1", b"{c}:u"]).unwrap();
    }
}

impl Count {
    fn of(node: &'static str) -> Self {
        Self { node, heard: 0 }
    }

    /// Says how many subscribers it has, and does not hear the answer.
    fn lost(&self, world: &mut World, count: u64) -> (u64, u64) {
        self.lost_without(world, count, "")
    }

    /// The same where one is known to be dead.
    fn lost_without(&self, world: &mut World, count: u64, dead: &str) -> (u64, u64) {
        let (count, heard) = (count.to_string(), self.heard.to_string());
        let words =
            ["open", "t", "", "a00000000001", "600000", self.node, &count, "", "0", "PUBLISH", dead, &heard];
        let opened: (String, u64, u64, i64, String, u64, u64) = world.call("{c}", &words);
        (opened.5, opened.6)
    }

    fn says(&mut self, world: &mut World, count: u64) -> (u64, u64) {
        let told = self.lost(world, count);
        self.heard = count;
        told
    }

    /// Asks whether it is to report that the channel is vacated.
    fn reports(&self, world: &mut World) -> bool {
        world.call::<(u64, u64)>("{c}", &["vacate", "t", "", "", "0", self.node, ""]).0 == 1
    }

    /// Says that it ends.
    fn ends(&mut self, world: &mut World) {
        let words = ["open", "t", "", "a00000000001", "600000", self.node, "0", "", "0", "PUBLISH", "", "-"];
        let _: (String, u64, u64, i64, String, u64, u64) = world.call("{c}", &words);
    }
}

impl Roster {
    fn of(node: &'static str) -> Self {
        let (born, members, departed) = Default::default();
        let (heard, is_unheard, unreported_len, report_by) = ("0".into(), false, "0", "9e15");
        Self { node, born, heard, is_unheard, members, departed, unreported_len, report_by }
    }

    fn call(&mut self, world: &mut World, members: &[&'static str], is_ending: bool) -> Told {
        let live = match members {
            [] if is_ending => "-1",
            [] => "0",
            _ => "75000",
        };
        let heard = if self.is_unheard { self.heard.clone() } else { String::new() };
        let mut words = vec!["members", "t", "", "", "0", self.node, live, "1", "PUBLISH", "{c}"];
        let born = self.born.clone();
        let (departed_len, gone) = (self.departed.len().to_string(), self.departed.clone());
        words.extend([heard.as_str(), &born, self.report_by, &departed_len, self.unreported_len]);
        words.extend(gone.iter().map(String::as_str));
        let fields = |user: &str| format!("m{user}");
        let departed = self.members.iter().filter(|user| !members.contains(user));
        let said: Vec<_> =
            members.iter().map(|user| (user, "1")).chain(departed.map(|user| (user, ""))).collect();
        let said: Vec<_> = said
            .into_iter()
            .map(|(user, here)| (fields(user), here, if self.members.contains(user) { "1" } else { "" }))
            .collect();
        words.extend(said.iter().flat_map(|(field, here, known)| [field.as_str(), here, "", known]));
        world.call("{c}:u", &words)
    }

    /// Says who is here, and does not hear the answer.
    fn lost(&mut self, world: &mut World, members: &[&'static str]) {
        let _ = self.call(world, members, false);
        self.is_unheard = true;
    }

    fn says(&mut self, world: &mut World, members: &[&'static str]) -> Decided {
        let told = self.call(world, members, false);
        self.hears(members, told)
    }

    /// Says that it ends.
    fn ends(&mut self, world: &mut World) -> Decided {
        let told = self.call(world, &[], true);
        self.hears(&[], told)
    }

    fn hears(
        &mut self,
        members: &[&'static str],
        (_, _, mut came, mut left, born, mut gone, heard): Told,
    ) -> Decided {
        came.sort();
        left.sort();
        gone.sort();
        (self.heard, self.departed, self.born) = (heard, left, born);
        (self.is_unheard, self.members) = (false, members.to_vec());
        (came, gone)
    }

    /// Says who is here, of whom these have left the last node by that; a departure is reported after a while.
    fn left(&mut self, world: &mut World, members: &[&'static str], left: &[&str]) {
        assert_eq!(self.says(world, members), nobody());
        assert_eq!(self.departed, left);
    }
}

fn came(users: &[&str]) -> Decided {
    (users.iter().map(|&user| user.into()).collect(), Vec::new())
}

fn gone(users: &[&str]) -> Decided {
    (Vec::new(), users.iter().map(|&user| user.into()).collect())
}

fn nobody() -> Decided {
    Decided::default()
}

#[test]
fn a_departure_is_reported_a_while_after_it_once_by_whichever_node_asks_first() {
    let Some(mut world) = World::new() else { return };
    let [mut a, mut b] = ["a", "b"].map(Roster::of);
    assert_eq!(a.says(&mut world, &["anna", "bert"]), came(&["anna", "bert"]));
    assert_eq!(b.says(&mut world, &["carl"]), came(&["carl"]));
    a.left(&mut world, &[], &["anna", "bert"]);
    a.left(&mut world, &[], &["anna", "bert"]);
    world.wait();
    assert_eq!(a.says(&mut world, &[]), gone(&["anna", "bert"]));
    assert_eq!(a.says(&mut world, &[]), nobody());
    b.left(&mut world, &[], &["carl"]);
    world.wait();
    // The node that it left has died.
    assert_eq!(a.says(&mut world, &["dora"]), (vec!["dora".into()], vec!["carl".into()]));
    assert_eq!(b.says(&mut world, &[]), nobody());
}

#[test]
fn who_comes_back_before_its_departure_is_reported_was_never_away_whenever_that_is() {
    let Some(mut world) = World::new() else { return };
    let [mut a, mut b] = ["a", "b"].map(Roster::of);
    assert_eq!(a.says(&mut world, &["anna", "bert", "carl"]), came(&["anna", "bert", "carl"]));
    a.left(&mut world, &[], &["anna", "bert", "carl"]);
    assert_eq!(b.says(&mut world, &["anna"]), nobody(), "a moment later");
    world.wait();
    assert_eq!(b.says(&mut world, &["anna", "bert"]), gone(&["carl"]), "much later");
    assert_eq!(a.says(&mut world, &[]), nobody());
    assert_eq!(b.says(&mut world, &["anna", "bert", "carl"]), came(&["carl"]));
}

#[test]
fn a_node_that_did_not_hear_that_members_have_come_and_gone_is_told_again() {
    let Some(mut world) = World::new() else { return };
    let [mut a, mut b] = ["a", "b"].map(Roster::of);
    a.lost(&mut world, &["anna", "bert"]);
    assert_eq!(b.says(&mut world, &["anna"]), nobody());
    assert_eq!(a.says(&mut world, &["anna", "bert"]), came(&["anna", "bert"]));
    assert_eq!(a.says(&mut world, &["anna", "bert"]), nobody(), "it has heard it");
    a.lost(&mut world, &["anna"]);
    a.lost(&mut world, &["anna"]);
    a.left(&mut world, &["anna"], &["bert"]);
    world.wait();
    a.lost(&mut world, &["anna"]);
    assert_eq!(a.says(&mut world, &["anna"]), gone(&["bert"]));
    assert_eq!(a.says(&mut world, &["anna"]), nobody());
}

#[test]
fn what_a_node_has_heard_is_not_told_again_where_its_next_call_was_lost_on_the_way() {
    let Some(mut world) = World::new() else { return };
    let mut a = Roster::of("a");
    assert_eq!(a.says(&mut world, &["anna"]), came(&["anna"]));
    a.is_unheard = true;
    a.left(&mut world, &[], &["anna"]);
}

#[test]
fn of_nodes_that_did_not_hear_who_was_the_last_to_leave_the_one_is_told_that_was() {
    let Some(mut world) = World::new() else { return };
    let [mut a, mut b] = ["a", "b"].map(Roster::of);
    assert_eq!(a.says(&mut world, &["anna"]), came(&["anna"]));
    assert_eq!(b.says(&mut world, &["anna"]), nobody());
    a.lost(&mut world, &[]);
    b.lost(&mut world, &[]);
    a.left(&mut world, &[], &[]);
    b.left(&mut world, &[], &["anna"]);
}

#[test]
fn who_is_back_before_a_node_hears_that_it_is_to_report_the_departure_has_not_gone() {
    let Some(mut world) = World::new() else { return };
    let [mut a, mut b] = ["a", "b"].map(Roster::of);
    assert_eq!(a.says(&mut world, &["anna", "bert"]), came(&["anna", "bert"]));
    a.left(&mut world, &[], &["anna", "bert"]);
    world.wait();
    a.lost(&mut world, &[]);
    assert_eq!(b.says(&mut world, &["anna"]), came(&["anna"]));
    assert_eq!(a.says(&mut world, &[]), gone(&["bert"]));
}

#[test]
fn what_a_node_that_has_died_may_not_have_reported_is_reported_by_another() {
    let Some(mut world) = World::new() else { return };
    let [mut a, mut b] = ["a", "b"].map(Roster::of);
    assert_eq!(b.says(&mut world, &["dora"]), came(&["dora"]));
    assert_eq!(a.says(&mut world, &["anna"]), came(&["anna"]));
    assert_eq!(a.says(&mut world, &["anna", "bert"]), came(&["bert"]));
    assert_eq!(a.says(&mut world, &["anna", "bert"]), nobody());
    // They have gone from the one to the other.
    assert_eq!(b.says(&mut world, &["anna", "dora"]), nobody());
    world.is_silent("a");
    assert_eq!(b.says(&mut world, &["anna", "dora"]), came(&["anna", "bert"]));
    assert_eq!(b.departed, ["bert"]);
    assert_eq!(b.says(&mut world, &["anna", "dora"]), nobody());
    let [mut a, mut b] = ["a", "b"].map(Count::of);
    assert_eq!(a.says(&mut world, 1), (OCCUPIED, 1));
    assert_eq!(b.says(&mut world, 1), (0, 1));
    assert_eq!(b.lost_without(&mut world, 1, "a"), (OCCUPIED, 1));
    assert_eq!(b.lost_without(&mut world, 1, "a"), NOTHING);
}

#[test]
fn who_is_answered_too_late_is_given_nothing_to_report() {
    let Some(mut world) = World::new() else { return };
    let mut a = Roster::of("a");
    assert_eq!(a.says(&mut world, &["anna"]), came(&["anna"]));
    a.left(&mut world, &[], &["anna"]);
    world.wait();
    for late in ["", "1700000000000"] {
        a.report_by = late;
        a.left(&mut world, &[], &["anna"]);
    }
    a.report_by = "9e15";
    assert_eq!(a.says(&mut world, &[]), gone(&["anna"]));
    let mut a = Count::of("a");
    assert_eq!((a.says(&mut world, 1), a.says(&mut world, 0)), ((OCCUPIED, 1), (VACATED, 1)));
    let late = ["vacate", "t", "", "", "0", "a", "1700000000000"];
    assert_eq!(world.call::<(u64, u64)>("{c}", &late).0, 2);
    assert!(a.reports(&mut world));
}

#[test]
fn a_node_that_ends_reports_at_once_who_has_gone_and_who_comes_back_comes() {
    let Some(mut world) = World::new() else { return };
    let [mut a, mut b] = ["a", "b"].map(Roster::of);
    assert_eq!(a.says(&mut world, &["anna", "bert", "carl"]), came(&["anna", "bert", "carl"]));
    assert_eq!(b.says(&mut world, &["carl", "dora"]), came(&["dora"]));
    a.left(&mut world, &["bert", "carl"], &["anna"]);
    b.left(&mut world, &["carl"], &["dora"]);
    assert_eq!(a.ends(&mut world), gone(&["anna", "bert"]));
    assert!(a.departed.is_empty(), "nothing is reported twice");
    assert_eq!(b.says(&mut world, &["anna", "bert", "carl", "dora"]), came(&["anna", "bert"]));
}

#[test]
fn a_redis_that_has_forgotten_members_is_told_who_has_gone_since_by_the_first_node_that_had_them() {
    let Some(mut world) = World::new() else { return };
    let [mut a, mut b] = ["a", "b"].map(Roster::of);
    assert_eq!(
        a.says(&mut world, &["anna", "bert", "carl", "emil"]),
        came(&["anna", "bert", "carl", "emil"])
    );
    assert_eq!(b.says(&mut world, &["anna"]), nobody());
    a.left(&mut world, &["anna", "bert", "carl"], &["emil"]);
    world.forget();
    assert_eq!(a.says(&mut world, &["carl", "dora"]), came(&["dora"]));
    assert_eq!(a.departed, ["anna", "bert", "emil"]);
    b.left(&mut world, &[], &[]);
    world.wait();
    assert_eq!(a.says(&mut world, &["dora"]), gone(&["anna", "bert", "emil"]));
    assert_eq!(a.departed, ["carl"]);
}

#[test]
fn a_member_that_another_node_still_has_comes_back_after_it_was_taken_for_gone() {
    let Some(mut world) = World::new() else { return };
    let [mut a, mut b] = ["a", "b"].map(Roster::of);
    assert_eq!(a.says(&mut world, &["anna", "bert"]), came(&["anna", "bert"]));
    assert_eq!(b.says(&mut world, &["anna", "bert"]), nobody());
    world.forget();
    a.left(&mut world, &["bert"], &["anna"]);
    assert_eq!(b.says(&mut world, &["anna", "bert"]), nobody(), "that was not reported");
    world.forget();
    a.left(&mut world, &[], &["anna", "bert"]);
    world.wait();
    assert_eq!(a.says(&mut world, &[]), gone(&["anna", "bert"]));
    assert_eq!(b.says(&mut world, &["anna", "bert"]), came(&["anna", "bert"]));
}

#[test]
fn who_comes_back_after_redis_lost_its_memory_is_reported_if_its_departure_may_have_been() {
    let Some(mut world) = World::new() else { return };
    let [mut a, mut b] = ["a", "b"].map(Roster::of);
    assert_eq!(a.says(&mut world, &["anna", "bert"]), came(&["anna", "bert"]));
    assert_eq!(b.says(&mut world, &["dora"]), came(&["dora"]));
    a.left(&mut world, &[], &["anna", "bert"]);
    world.wait();
    assert_eq!(b.says(&mut world, &["dora"]), gone(&["anna", "bert"]), "which a does not know");
    world.forget();
    a.left(&mut world, &[], &["anna", "bert"]);
    assert_eq!(b.says(&mut world, &["anna", "dora"]), came(&["anna"]));
    assert_eq!(a.says(&mut world, &["bert"]), came(&["bert"]));
}

#[test]
fn who_comes_back_after_redis_lost_its_memory_is_not_reported_if_its_departure_was_not() {
    let Some(mut world) = World::new() else { return };
    let [mut a, mut b] = ["a", "b"].map(Roster::of);
    assert_eq!(a.says(&mut world, &["anna", "bert", "carl"]), came(&["anna", "bert", "carl"]));
    a.left(&mut world, &["anna"], &["bert", "carl"]);
    assert_eq!(b.says(&mut world, &["carl", "dora"]), came(&["dora"]));
    world.forget();
    // One has left since Redis knew that it is there, one just before, and one had gone to the other node.
    a.unreported_len = "1";
    a.left(&mut world, &[], &["anna", "bert", "carl"]);
    assert_eq!(b.says(&mut world, &["anna", "bert", "carl", "dora"]), nobody());
}

#[test]
fn nothing_that_a_hash_keeps_for_webhooks_outlives_it_for_long() {
    let Some(mut world) = World::new() else { return };
    let mut a = Roster::of("a");
    a.says(&mut world, &["anna"]);
    a.says(&mut world, &[]);
    let left_ms: i64 = ask(&mut world.connection, &[b"PTTL", b"{c}:u"]).unwrap();
    assert!((1..=60_000).contains(&left_ms), "{left_ms}");
}

#[test]
fn a_node_that_did_not_hear_that_a_channel_is_occupied_or_vacated_is_told_again() {
    let Some(mut world) = World::new() else { return };
    let [mut a, mut b] = ["a", "b"].map(Count::of);
    a.lost(&mut world, 1);
    assert_eq!(a.says(&mut world, 1), (OCCUPIED, 1));
    assert_eq!(a.says(&mut world, 1), NOTHING);
    assert_eq!(b.says(&mut world, 2), (0, 1));
    assert_eq!(b.says(&mut world, 0), (0, 1));
    b.lost(&mut world, 1);
    assert_eq!(b.says(&mut world, 1), (0, 1), "it was occupied before");
    b.lost(&mut world, 0);
    a.lost(&mut world, 0);
    assert_eq!(b.says(&mut world, 0), NOTHING, "a was the last");
    assert_eq!(a.says(&mut world, 0), (VACATED, 1));
    assert_eq!(a.says(&mut world, 0), NOTHING);
    assert!(!b.reports(&mut world) && a.reports(&mut world));
}

#[test]
fn a_channel_of_which_nobody_was_told_that_it_was_occupied_is_occupied_by_the_next() {
    let Some(mut world) = World::new() else { return };
    let [mut a, mut b] = ["a", "b"].map(Count::of);
    a.lost(&mut world, 1);
    assert_eq!(a.says(&mut world, 0).0, 0, "nothing is to be reported");
    assert!(!a.reports(&mut world));
    assert_eq!(b.says(&mut world, 1), (OCCUPIED, 1));
}

#[test]
fn a_channel_that_is_occupied_again_was_not_vacated_unless_that_was_reported() {
    let Some(mut world) = World::new() else { return };
    let [mut a, mut b] = ["a", "b"].map(Count::of);
    assert_eq!(a.says(&mut world, 1), (OCCUPIED, 1));
    assert_eq!(a.says(&mut world, 0), (VACATED, 1));
    assert_eq!(b.says(&mut world, 1), (0, 1));
    assert!(!a.reports(&mut world));
    assert_eq!(b.says(&mut world, 0), (VACATED, 1));
    assert!(!a.reports(&mut world) && b.reports(&mut world));
    assert!(b.reports(&mut world), "it has not heard the answer");
    assert_eq!(a.says(&mut world, 1), (OCCUPIED, 1));
    assert!(!b.reports(&mut world), "and is told too late now");
    assert_eq!(a.says(&mut world, 0), (VACATED, 1));
    a.ends(&mut world);
    assert_eq!(b.says(&mut world, 2), (OCCUPIED, 1), "who ends reports at once");
    b.ends(&mut world);
    assert_eq!(a.says(&mut world, 1), (OCCUPIED, 1));
    assert_eq!(a.says(&mut world, 0), (VACATED, 1));
    world.forget();
    assert!(a.reports(&mut world), "nobody has it");
}

#[test]
fn a_channel_that_is_occupied_again_before_a_node_hears_that_it_is_vacated_was_not() {
    let Some(mut world) = World::new() else { return };
    let [mut a, mut b] = ["a", "b"].map(Count::of);
    assert_eq!(a.says(&mut world, 1), (OCCUPIED, 1));
    a.lost(&mut world, 0);
    assert_eq!(b.says(&mut world, 1), (0, 1), "a moment later");
    assert_eq!(a.says(&mut world, 0), NOTHING);
    b.lost(&mut world, 0);
    assert_eq!(b.says(&mut world, 1), (0, 1), "nobody was told that it is vacated");
}

#[test]
fn a_redis_that_has_forgotten_a_channel_is_told_that_it_is_vacated_by_the_first_node_that_had_it() {
    let Some(mut world) = World::new() else { return };
    let [mut a, mut b] = ["a", "b"].map(Count::of);
    assert_eq!(a.says(&mut world, 1), (OCCUPIED, 1));
    assert_eq!(b.says(&mut world, 2), (0, 1));
    world.forget();
    assert_eq!([a.says(&mut world, 1), b.says(&mut world, 2)], [NOTHING; 2], "they have them still");
    world.forget();
    assert_eq!(a.says(&mut world, 0), (VACATED, 1));
    assert_eq!(b.says(&mut world, 0), NOTHING);
    assert_eq!(b.says(&mut world, 1), (0, 1), "a moment later");
    world.forget();
    assert_eq!(a.says(&mut world, 1), (OCCUPIED, 1), "it had none");
    assert_eq!(b.says(&mut world, 0), NOTHING, "that they are fewer is said already");
    world.forget();
    assert_eq!(a.says(&mut world, 2), (0, 1));
    world.forget();
    assert_eq!(a.says(&mut world, 3), (0, 1));
    b.heard = 2;
    assert_eq!(b.says(&mut world, 2), (0, 1), "a did not know of them");
}

#[test]
fn what_was_decided_outlives_the_epoch() {
    let Some(mut world) = World::new() else { return };
    let mut a = Count::of("a");
    a.lost(&mut world, 1);
    let _: u64 = ask(&mut world.connection, &[b"HSET", b"{c}", b"r", b"another"]).unwrap();
    assert_eq!(a.says(&mut world, 1), (OCCUPIED, 1));
}
