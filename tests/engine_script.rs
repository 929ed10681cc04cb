//! The script that numbers, keeps and sends the publications of a channel, against a real Redis: each of its branches, and that
//! a refused one has changed nothing.
//!
//! Who calls it, and what becomes of the answers, is not known here.

#![allow(clippy::unwrap_used)] // a helper that fails fails its test

mod support;

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;

use ::redis::{Connection, RedisError, RedisResult};
use support::PATIENCE;
use support::redis::{Redis, ask, free_port};

const SCRIPT: &str = include_str!("../src/server/broker/engine/script.lua");

const TOKEN: &str = "0123456789abcdef";
const OTHER: &str = "fedcba9876543210";
const TTL_MS: i64 = 600_000;

/// What a stored publication has ahead of its record: the version and the time.
const HEAD_LEN: usize = 14;

/// A server with the script, and a connection.
struct World {
    redis: Redis,
    connection: Connection,
    sha: String,
}

/// One call of publish; tests change what matters to them.
#[derive(Clone)]
struct Publish<'a> {
    key: Option<&'a str>,
    token: &'a str,
    others: &'a str,
    epoch: &'a str,
    count: usize,
    bytes: usize,
    send: &'a str,
    fingerprint: &'a str,
    known: (&'a str, u64),
    records: Vec<&'a str>,
}

/// Epoch, first and last sequence, subscribers by node.
type Answer = (String, u64, u64, String);

/// Epoch, newest and oldest sequence, time, subscribers by node, whether it was occupied or vacated, and whether their number is
/// another one.
type Opened = (String, u64, u64, i64, String, u64, u64);

const OCCUPIED: u64 = 1;
const VACATED: u64 = 2;

fn publish<'a>(records: &[&'a str]) -> Publish<'a> {
    Publish {
        key: None,
        token: TOKEN,
        others: "",
        epoch: "a00000000001",
        count: 100,
        bytes: 1_000_000,
        send: "PUBLISH",
        fingerprint: "f",
        known: ("", 0),
        records: records.to_vec(),
    }
}

impl World {
    fn new(settings: &[&str]) -> Option<Self> {
        let redis = Redis::start(settings)?;
        let mut connection = redis.connect();
        let sha = ask(&mut connection, &[b"SCRIPT", b"LOAD", SCRIPT.as_bytes()]).unwrap();
        Some(Self { redis, connection, sha })
    }

    fn call<T: ::redis::FromRedisValue>(&mut self, keys: &[&str], words: &[&str]) -> RedisResult<T> {
        let (sha, count) = (self.sha.clone(), keys.len().to_string());
        let head = ["EVALSHA", &sha, &count];
        let words: Vec<&[u8]> = head.iter().chain(keys).chain(words).map(|word| word.as_bytes()).collect();
        ask(&mut self.connection, &words)
    }

    fn try_publish<T: ::redis::FromRedisValue>(&mut self, call: &Publish<'_>) -> RedisResult<T> {
        let (ttl, count, bytes) = (TTL_MS.to_string(), call.count.to_string(), call.bytes.to_string());
        let mut words = vec!["publish", call.token, call.others, call.epoch, &ttl, &count, &bytes, call.send];
        let newest = call.known.1.to_string();
        words.extend([call.fingerprint, call.known.0, &newest]);
        words.extend(&call.records);
        let keys: Vec<&str> = ["{c}"].into_iter().chain(call.key).collect();
        self.call(&keys, &words)
    }

    fn publish(&mut self, call: &Publish<'_>) -> Answer {
        self.try_publish(call).unwrap()
    }

    /// Sends that many records of one byte, 64 a call.
    fn fill(&mut self, mut count: usize) {
        while count > 0 {
            let some = count.min(64);
            self.publish(&publish(&vec!["x"; some]));
            count -= some;
        }
    }

    fn open(&mut self, token: &str, epoch: &str, node: &str, count: &str, known: (&str, u64)) -> Opened {
        let (ttl, newest) = (TTL_MS.to_string(), known.1.to_string());
        self.call(&["{c}"], &["open", token, "", epoch, &ttl, node, count, known.0, &newest]).unwrap()
    }

    fn ask<T: ::redis::FromRedisValue>(&mut self, line: &str) -> T {
        let words: Vec<&[u8]> = line.split(' ').map(str::as_bytes).collect();
        ask(&mut self.connection, &words).unwrap()
    }

    fn field(&mut self, field: &str) -> Option<String> {
        self.ask(&format!("HGET {{c}} {field}"))
    }

    fn all(&mut self) -> BTreeMap<String, String> {
        self.ask("HGETALL {c}")
    }

    /// The records that are kept, by their sequences.
    fn kept(&mut self) -> Vec<(u64, String)> {
        let fields = self.all().into_iter();
        let mut kept: Vec<_> = fields
            .filter_map(|(field, value)| Some((field.parse().ok()?, value[HEAD_LEN..].to_owned())))
            .collect();
        kept.sort();
        kept
    }

    /// Asserts that what is written beside the publications agrees with them.
    fn assert_consistent(&mut self) {
        let fields = self.all();
        let number = |field: &str| fields[field].parse::<u64>().unwrap();
        let kept: Vec<(u64, usize)> = fields
            .iter()
            .filter_map(|(field, value)| Some((field.parse().ok()?, value.len())))
            .collect::<BTreeMap<_, _>>()
            .into_iter()
            .collect();
        let sequences: Vec<u64> = kept.iter().map(|&(sequence, _)| sequence).collect();
        assert_eq!(sequences, (number("o")..=number("s")).collect::<Vec<_>>());
        assert_eq!(number("b"), kept.iter().map(|&(_, len)| len as u64).sum::<u64>());
    }
}

fn code(error: RedisError) -> String {
    error.code().unwrap_or_default().to_owned()
}

#[test]
fn a_fresh_channel_gets_the_epoch_that_the_node_drew_the_sequence_1_and_an_expiry() {
    let Some(mut world) = World::new(&[]) else { return };
    assert_eq!(world.publish(&publish(&["x"])), ("a00000000001".into(), 1, 1, String::new()));
    let next = Publish { epoch: "b00000000002", ..publish(&["y", "z"]) };
    assert_eq!(world.publish(&next), ("a00000000001".into(), 2, 3, String::new()));
    let expiry: i64 = world.ask("PTTL {c}");
    assert!((TTL_MS - 60_000..=TTL_MS).contains(&expiry), "{expiry}");
    assert_eq!(world.field("r").unwrap(), TOKEN);
    assert_eq!(world.kept(), [(1, "x".into()), (2, "y".into()), (3, "z".into())]);
    world.assert_consistent();
}

#[test]
fn what_is_sent_to_the_subscribers_is_the_identifier_and_what_is_stored_in_order() {
    let Some(mut world) = World::new(&[]) else { return };
    let mut other = world.redis.connect();
    other.set_read_timeout(Some(PATIENCE)).unwrap();
    let mut heard = other.as_pubsub();
    heard.subscribe("{c}").unwrap();
    let record = "\0binary\r\n\u{7f} %d";
    world.publish(&publish(&[record, "y"]));
    for sequence in [1, 2] {
        let message: Vec<u8> = heard.get_message().unwrap().get_payload().unwrap();
        let stored: Vec<u8> = world.ask(&format!("HGET {{c}} {sequence}"));
        assert_eq!(message, [format!("a00000000001-{sequence} ").as_bytes(), &stored].concat());
        let time: u64 = str::from_utf8(&stored[1..HEAD_LEN]).unwrap().parse().unwrap();
        let (seconds, _): (u64, u64) = world.ask("TIME");
        assert!(stored[0] == b'1' && (time / 1000).abs_diff(seconds) <= PATIENCE.as_secs(), "{time}");
    }
    let stored: Vec<u8> = world.ask("HGET {c} 1");
    assert_eq!(&stored[HEAD_LEN..], record.as_bytes());
}

#[test]
fn a_channel_whose_numbers_another_redis_drew_begins_a_new_epoch_and_forgets_all() {
    let Some(mut world) = World::new(&[]) else { return };
    world.publish(&publish(&["x", "y"]));
    world.open(TOKEN, "-", "n1", "3", ("", 0));
    let call = Publish { token: OTHER, epoch: "b00000000002", ..publish(&["z"]) };
    let (epoch, first, last, _) = world.publish(&call);
    assert_eq!((epoch.as_str(), first, last), ("b00000000002", 1, 1));
    assert_eq!((world.kept(), world.field("r")), (vec![(1, "z".into())], Some(OTHER.into())));
    assert!(world.ask::<i64>("PTTL {c}") > 0, "the expiry is set anew");
    let (epoch, newest, oldest, ..) = world.open(TOKEN, "c00000000003", "n1", "3", ("", 0));
    assert_eq!((epoch.as_str(), newest, oldest), ("c00000000003", 0, 1));
    assert_eq!(world.kept(), []);
    world.assert_consistent();
}

#[test]
fn the_token_of_another_live_master_is_replaced_and_the_epoch_goes_on() {
    let Some(mut world) = World::new(&[]) else { return };
    world.publish(&publish(&["x"]));
    let others = format!("1111111111111111,{TOKEN}");
    let moved = Publish { token: OTHER, others: &others, epoch: "b00000000002", ..publish(&["y"]) };
    assert_eq!(world.publish(&moved), ("a00000000001".into(), 2, 2, String::new()));
    assert_eq!(world.field("r").unwrap(), OTHER);
    assert_eq!(world.kept().len(), 2);
    let part = &OTHER[1..];
    let no_token = Publish { token: TOKEN, others: part, epoch: "c00000000003", ..publish(&["z"]) };
    assert_eq!(world.publish(&no_token).0, "c00000000003", "a part of a token is none");
}

#[test]
fn a_channel_is_trimmed_to_the_count_and_to_the_bytes_and_the_newest_stays_however_long_it_is() {
    let Some(mut world) = World::new(&[]) else { return };
    let three = |records| Publish { count: 3, ..publish(records) };
    world.publish(&three(&["1", "2"]));
    world.publish(&three(&["3", "4", "5"]));
    assert_eq!(world.kept(), [(3, "3".into()), (4, "4".into()), (5, "5".into())]);
    world.publish(&three(&["6", "7", "8", "9"]));
    assert_eq!(
        world.kept(),
        [(7, "7".into()), (8, "8".into()), (9, "9".into())],
        "more at once than are kept"
    );
    world.assert_consistent();
    let bytes = |bytes, record| Publish { bytes, ..publish(&[record]) };
    world.publish(&bytes(2 * (HEAD_LEN + 1), "a"));
    assert_eq!(world.kept(), [(9, "9".into()), (10, "a".into())]);
    world.publish(&bytes(10, "long"));
    assert_eq!(world.kept(), [(11, "long".into())]);
    world.assert_consistent();
}

#[test]
fn a_count_or_bytes_of_0_keep_nothing_and_the_sequence_goes_on() {
    let Some(mut world) = World::new(&[]) else { return };
    for (call, last) in
        [(Publish { count: 0, ..publish(&["x", "y"]) }, 3), (Publish { bytes: 0, ..publish(&["x", "y"]) }, 6)]
    {
        world.publish(&publish(&["kept"]));
        assert_eq!(world.publish(&call).2, last);
        assert_eq!(world.kept(), []);
        world.assert_consistent();
    }
    assert_eq!(world.field("o").unwrap(), "7");
}

#[test]
fn what_one_call_drops_is_bounded_and_the_next_calls_drop_the_rest() {
    let Some(mut world) = World::new(&[]) else { return };
    let many = Publish { count: 10_000, ..publish(&["x"; 64]) };
    (0..40).for_each(|_| drop(world.publish(&many)));
    let few = Publish { count: 2, ..publish(&["y"]) };
    world.publish(&few);
    assert_eq!(world.kept().len(), 2560 + 1 - 1000);
    world.assert_consistent();
    world.publish(&few);
    world.publish(&few);
    assert_eq!(world.kept(), [(2562, "y".into()), (2563, "y".into())]);
    world.assert_consistent();
}

#[test]
fn a_call_takes_64_records_and_their_sequences_have_no_hole() {
    let Some(mut world) = World::new(&[]) else { return };
    let texts: Vec<String> = (1..=64).map(|at| format!("record {at}")).collect();
    let records: Vec<&str> = texts.iter().map(String::as_str).collect();
    assert_eq!(world.publish(&publish(&records)).2, 64);
    let expected: Vec<_> = (1..).zip(texts.clone()).collect();
    assert_eq!(world.kept(), expected);
    world.assert_consistent();
}

#[test]
fn a_sequence_of_sixteen_digits_is_written_with_all_of_them() {
    let Some(mut world) = World::new(&[]) else { return };
    world.fill(1);
    world.ask::<u64>("HSET {c} s 1234567890123456 o 1234567890123457 b 0");
    assert_eq!(world.publish(&publish(&["x"])).2, 1_234_567_890_123_457);
    assert_eq!(world.field("s").unwrap(), "1234567890123457");
    assert_eq!(&world.field("1234567890123457").unwrap()[HEAD_LEN..], "x");
}

#[test]
fn a_known_idempotency_key_publishes_nothing_and_gives_what_the_first_was_answered() {
    let Some(mut world) = World::new(&[]) else { return };
    world.open(TOKEN, "a00000000001", "n1", "7", ("", 0));
    let nodes = world.field("n").unwrap();
    let first = Publish { key: Some("{c}:k:1"), fingerprint: "abc", ..publish(&["x"]) };
    assert_eq!(world.publish(&first), ("a00000000001".into(), 1, 1, nodes.clone()));
    let expiry: i64 = world.ask("PTTL {c}:k:1");
    assert!((1..=60_000).contains(&expiry), "{expiry}");
    let before = world.all();
    let again = Publish { fingerprint: "another", token: OTHER, ..first };
    let known: String = world.try_publish(&again).unwrap();
    assert_eq!(known, format!("abc a00000000001-1 {nodes}"));
    assert_eq!(world.all(), before);
}

#[test]
fn the_expiry_is_set_again_by_a_publication_once_a_quarter_of_it_is_over_and_by_each_node_that_opens() {
    let Some(mut world) = World::new(&[]) else { return };
    world.fill(1);
    world.ask::<u64>("PEXPIRE {c} 100000");
    world.fill(1);
    assert!(world.ask::<i64>("PTTL {c}") <= 100_000);
    world.ask::<u64>("HSET {c} x 1000");
    world.fill(1);
    let expiry: i64 = world.ask("PTTL {c}");
    assert!(expiry > 100_000, "{expiry}");
    let (seconds, _): (i64, i64) = world.ask("TIME");
    let next = world.field("x").unwrap().parse::<i64>().unwrap() / 1000 - seconds;
    assert!((TTL_MS / 4000 - 60..=TTL_MS / 4000 + 1).contains(&next), "{next}");
    world.ask::<u64>("PEXPIRE {c} 100000");
    world.open(TOKEN, "-", "n1", "1", ("", 0));
    assert!(world.ask::<i64>("PTTL {c}") > 100_000);
}

#[test]
fn a_node_that_opens_a_channel_learns_where_it_is_and_what_time_redis_has() {
    let Some(mut world) = World::new(&[]) else { return };
    let (epoch, newest, oldest, time, ..) = world.open(TOKEN, "a00000000009", "n1", "0", ("", 0));
    assert_eq!((epoch.as_str(), newest, oldest), ("a00000000009", 0, 1));
    let (seconds, _): (i64, i64) = world.ask("TIME");
    assert!((time / 1000).abs_diff(seconds) <= PATIENCE.as_secs());
    world.publish(&Publish { count: 2, ..publish(&["x", "y", "z"]) });
    let (epoch, newest, oldest, ..) = world.open(TOKEN, "-", "n1", "0", (&epoch, 3));
    assert_eq!((epoch.as_str(), newest, oldest), ("a00000000009", 3, 2));
}

#[test]
fn a_redis_that_has_gone_back_behind_what_a_node_has_begins_a_new_epoch() {
    let Some(mut world) = World::new(&[]) else { return };
    world.fill(5);
    let (epoch, newest, ..) = world.open(TOKEN, "b00000000002", "n1", "1", ("a00000000001", 5));
    assert_eq!((epoch.as_str(), newest), ("a00000000001", 5));
    let (epoch, newest, ..) = world.open(TOKEN, "b00000000002", "n1", "1", ("a00000000007", 9));
    assert_eq!((epoch.as_str(), newest), ("a00000000001", 5), "another epoch says nothing of this one");
    let (epoch, newest, oldest, ..) = world.open(TOKEN, "b00000000002", "n1", "1", ("a00000000001", 6));
    assert_eq!((epoch.as_str(), newest, oldest), ("b00000000002", 0, 1));
    assert_eq!(world.kept(), []);
    // By a publication as well, so that no number is given twice.
    let of = |known| Publish { known, epoch: "c00000000003", ..publish(&["x"]) };
    let epochs = [("", 0), ("b00000000002", 1), ("a00000000001", 9), ("b00000000002", 4)].map(|known| {
        let (epoch, _, last, _) = world.publish(&of(known));
        (epoch, last)
    });
    let old = "b00000000002".to_owned();
    assert_eq!(epochs, [(old.clone(), 1), (old.clone(), 2), (old, 3), ("c00000000003".to_owned(), 1)]);
}

#[test]
fn the_counts_of_nodes_are_replaced_ended_by_0_and_dropped_when_their_time_is_over() {
    let Some(mut world) = World::new(&[]) else { return };
    let counts = |text: &str| -> Vec<String> {
        let parts = text.split_terminator(';');
        parts.map(|part| part.rsplit_once(':').unwrap().0.to_owned()).collect()
    };
    let open = |world: &mut World, node: &str, count: &str| {
        let nodes = world.open(TOKEN, "a00000000001", node, count, ("", 0)).4;
        assert_eq!(world.field("n").unwrap(), nodes);
        counts(&nodes)
    };
    assert_eq!(open(&mut world, "n1", "5"), ["n1:5"]);
    assert_eq!(open(&mut world, "n2", "70"), ["n1:5", "n2:70"]);
    assert_eq!(open(&mut world, "n1", "6"), ["n2:70", "n1:6"]);
    let nodes = world.publish(&publish(&["x"])).3;
    assert_eq!(counts(&nodes), ["n2:70", "n1:6"]);
    world.ask::<u64>("HSET {c} n n2:70:1000;n3:4:99999999999999;");
    assert_eq!(open(&mut world, "n1", "6"), ["n3:4", "n1:6"]);
    assert_eq!(open(&mut world, "n3", "0"), ["n1:6"]);
}

#[test]
fn a_redis_without_memory_without_replicas_or_demoted_refuses_before_anything_has_changed() {
    let Some(mut world) = World::new(&[]) else { return };
    world.publish(&publish(&["x"]));
    let before = world.all();
    let new_epoch = Publish { token: OTHER, key: Some("{c}:k:1"), ..publish(&["y"]) };
    for (setting, refusal, end) in [
        ("CONFIG SET maxmemory 1", "OOM", "CONFIG SET maxmemory 0"),
        ("CONFIG SET min-replicas-to-write 1", "NOREPLICAS", "CONFIG SET min-replicas-to-write 0"),
        ("REPLICAOF 127.0.0.1 1", "READONLY", "REPLICAOF NO ONE"),
    ] {
        world.ask::<String>(setting);
        assert_eq!(code(world.try_publish::<Answer>(&new_epoch).unwrap_err()), refusal);
        let opened =
            world.call::<Opened>(&["{c}"], &["open", OTHER, "", "b00000000002", "1", "n", "1", "", "0"]);
        assert_eq!(code(opened.unwrap_err()), refusal);
        world.ask::<String>(end);
        assert_eq!((world.all(), world.ask::<u64>("EXISTS {c}:k:1")), (before.clone(), 0), "{refusal}");
    }
    assert_eq!(world.publish(&new_epoch).1, 1);
}

#[test]
fn a_redis_that_does_not_know_the_script_says_so_and_has_changed_nothing() {
    let Some(mut world) = World::new(&[]) else { return };
    world.ask::<String>("SCRIPT FLUSH");
    assert_eq!(code(world.try_publish::<Answer>(&publish(&["x"])).unwrap_err()), "NOSCRIPT");
    assert_eq!(world.all().len(), 0);
}

#[test]
fn the_nodes_of_a_channel_are_told_of_other_numbers_of_subscribers_and_of_no_others() {
    let Some(mut world) = World::new(&[]) else { return };
    let mut listener = world.redis.connect();
    listener.set_read_timeout(Some(PATIENCE)).unwrap();
    let mut heard = listener.as_pubsub();
    heard.subscribe("{c}").unwrap();
    let ttl = TTL_MS.to_string();
    let mut open = |node, count, dead| {
        let words =
            ["open", TOKEN, "", "a00000000001", &ttl, node, count, "a00000000001", "0", "PUBLISH", dead];
        world.call::<Opened>(&["{c}"], &words).unwrap()
    };
    // Nobody yet, two, as before, a second node, a dead one that a third finds.
    let opens = [("n1", "0", ""), ("n1", "2", ""), ("n1", "2", ""), ("n2", "1", ""), ("n3", "0", "n0,n1")];
    let changes = opens.map(|(node, count, dead)| open(node, count, dead)).map(|opened| (opened.5, opened.6));
    assert_eq!(changes, [(0, 0), (OCCUPIED, 1), (0, 0), (0, 1), (0, 1)]);
    let gone = open("n2", "0", "n0,n1");
    assert_eq!((gone.5, gone.6), (VACATED, 1));
    let back = open("n2", "1", "");
    assert_eq!((back.5, back.6), (0, 1), "they are back a moment later");
    let mut next = || {
        let told: String = heard.get_message().unwrap().get_payload().unwrap();
        let nodes = told.strip_prefix("n ").unwrap().split_terminator(';');
        nodes.map(|node| node.rsplit_once(':').unwrap().0.to_owned()).collect::<Vec<_>>().join(" ")
    };
    assert_eq!([next(), next(), next(), next(), next()], ["n1:2", "n1:2 n2:1", "n2:1", "", "n2:1"]);
}

/// A cluster of one master that has all slots.
fn cluster() -> Option<World> {
    let bus = free_port().to_string();
    let mut world = World::new(&["--cluster-enabled", "yes", "--cluster-port", &bus])?;
    world.ask::<String>("CLUSTER ADDSLOTSRANGE 0 16383");
    support::until("the cluster has all slots", || {
        world.ask::<String>("CLUSTER INFO").contains("cluster_state:ok").then_some(())
    });
    Some(world)
}

#[test]
fn keys_of_two_slots_are_refused_before_anything_has_changed() {
    let Some(mut world) = cluster() else { return };
    let call = Publish { key: Some("{d}:k:1"), send: "SPUBLISH", ..publish(&["x"]) };
    assert_eq!(code(world.try_publish::<Answer>(&call).unwrap_err()), "CROSSSLOT");
    assert_eq!(world.all().len(), 0);
    assert_eq!(world.publish(&Publish { key: Some("{c}:k:1"), ..call }).1, 1);
}

#[test]
fn in_a_cluster_the_subscribers_of_the_shard_hear_it() {
    let Some(mut world) = cluster() else { return };
    let mut socket = TcpStream::connect(("127.0.0.1", world.redis.port)).unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    socket.write_all(b"SSUBSCRIBE {c}\r\n").unwrap();
    let mut heard = BufReader::new(socket);
    let mut subscribed = [0; b"*3\r\n$10\r\nssubscribe\r\n$3\r\n{c}\r\n:1\r\n".len()];
    heard.read_exact(&mut subscribed).unwrap();
    world.publish(&Publish { send: "SPUBLISH", ..publish(&["x"]) });
    let mut lines = heard.lines().map(Result::unwrap);
    assert_eq!(lines.nth(2).unwrap(), "smessage");
    assert_eq!(lines.nth(1).unwrap(), "{c}");
    let message = lines.nth(1).unwrap();
    assert!(message.starts_with("a00000000001-1 1") && message.ends_with('x'), "{message}");
}

#[test]
fn a_hash_that_somebody_has_damaged_is_a_loss_and_ends_in_a_new_epoch() {
    let Some(mut world) = World::new(&[]) else { return };
    let long = "a".repeat(100_000);
    let damages = [
        ("s", "9007199254740992"),
        ("s", "1e300"),
        ("s", "inf"),
        ("s", "nan"),
        ("s", "-5"),
        ("s", "1.5"),
        ("s", "abc"),
        ("s", "99999999999999999999"),
        ("o", "abc"),
        ("o", "-1"),
        ("o", "1e15"),
        ("b", "abc"),
        ("b", "-1"),
        ("e", ""),
        ("e", "ab-cd"),
        ("e", "ab\r\ncd"),
        ("e", &long),
    ];
    for (field, value) in damages {
        for is_publish in [true, false] {
            let _: i64 = world.ask("DEL {c}");
            world.publish(&publish(&["x", "y"]));
            let words: [&[u8]; 4] = [b"HSET", b"{c}", field.as_bytes(), value.as_bytes()];
            let _: i64 = ask(&mut world.connection, &words).unwrap();
            let (epoch, newest) = if is_publish {
                let call = Publish { epoch: "b00000000002", ..publish(&["z"]) };
                let (epoch, _, newest, _) = world.publish(&call);
                (epoch, newest)
            } else {
                let (epoch, newest, ..) = world.open(TOKEN, "b00000000002", "n1", "1", ("", 0));
                (epoch, newest)
            };
            let expected = ("b00000000002".to_owned(), u64::from(is_publish));
            assert_eq!((epoch, newest), expected, "{field} {:.20}", value);
        }
    }
}

#[test]
fn a_number_far_ahead_of_what_is_kept_is_a_loss_when_the_channel_is_opened() {
    let Some(mut world) = World::new(&[]) else { return };
    world.publish(&publish(&["x"]));
    let _: i64 = world.ask("HSET {c} s 4000000000000000");
    let (epoch, newest, ..) = world.open(TOKEN, "b00000000002", "n1", "1", ("", 0));
    assert_eq!((epoch.as_str(), newest), ("b00000000002", 0));
}

#[test]
fn who_does_not_know_yet_that_redis_has_another_token_begins_no_new_epoch() {
    let Some(mut world) = World::new(&[]) else { return };
    let info: String = world.ask("INFO replication");
    let id = info.lines().find_map(|line| line.strip_prefix("master_replid:")).unwrap();
    let own = &id[..16];
    world.publish(&Publish { token: own, ..publish(&["x"]) });
    let late = Publish { epoch: "b00000000002", ..publish(&["y"]) };
    assert_eq!(world.publish(&late), ("a00000000001".into(), 2, 2, String::new()));
    let (epoch, newest, ..) = world.open(TOKEN, "b00000000002", "n1", "1", ("", 0));
    assert_eq!((epoch.as_str(), newest), ("a00000000001", 2));
    assert_eq!(world.field("r").unwrap(), own);
}
