//! Replies of a cluster of Redis 7.0.15, byte for byte, and slots against `redis-protocol`.

use bytes::BytesMut;
use proptest::collection::vec;
use proptest::prelude::*;
use redis_protocol::redis_keyslot;

use super::*;
use crate::server::redis::resp::{Bounds, Decoder};

fn reply(text: &str) -> Reply {
    let bounds = Bounds { text_len_max: 1000, reply_len_max: 100_000 };
    let mut buffer = BytesMut::from(text.split_whitespace().collect::<Vec<_>>().join("\r\n").as_str());
    buffer.extend_from_slice(b"\r\n");
    Decoder::new(bounds).decode(&mut buffer).unwrap().unwrap()
}

fn address(host: &str, port: u16) -> Address {
    Address { host: host.into(), port }
}

/// The owners, as runs of slots.
fn runs(slots: &Slots) -> Vec<(u16, u16, Option<String>)> {
    let mut runs: Vec<(u16, u16, Option<String>)> = Vec::new();
    for slot in 0..SLOTS {
        let owner = slots.owner(slot).map(Address::to_string);
        match runs.last_mut() {
            Some((_, last, same)) if *same == owner => *last = slot,
            _ => runs.push((slot, slot, owner)),
        }
    }
    runs
}

fn run(first: u16, last: u16, owner: &str) -> (u16, u16, Option<String>) {
    (first, last, (!owner.is_empty()).then(|| owner.to_owned()))
}

/// A node of `CLUSTER SHARDS`, of as many fields as Redis 7.0 gives without a hostname.
fn node(endpoint: &str, port: u16, role: &str, health: &str) -> String {
    let endpoint = if endpoint == "_" { "_".to_owned() } else { format!("+{endpoint}") };
    format!(
        "%7 $2 id $4 b5e8 $4 port :{port} $2 ip $9 127.0.0.1 $8 endpoint {endpoint} $4 role +{role} \
         $18 replication-offset :0 $6 health +{health}"
    )
}

fn shard(ranges: &[u16], nodes: &[String]) -> String {
    let ranges_text: String = ranges.iter().map(|slot| format!(" :{slot}")).collect();
    format!("%2 $5 slots *{}{ranges_text} $5 nodes *{} {}", ranges.len(), nodes.len(), nodes.join(" "))
}

fn shards(shards: &[String]) -> Reply {
    reply(&format!("*{} {}", shards.len(), shards.join(" ")))
}

#[test]
fn the_slots_of_the_specification_are_found() {
    assert_eq!(crc16(b"123456789"), 0x31c3);
    assert_eq!(slot(b"foo"), 12_182);
    assert_eq!(slot(b"{user1000}.following"), slot(b"{user1000}.followers"));
    assert_eq!(slot(b"foo{}{bar}"), crc16(b"foo{}{bar}") % SLOTS, "empty braces are none");
    assert_eq!(slot(b"foo{{bar}}zap"), slot(b"{bar"));
    assert_eq!(slot(b"foo{bar}{zap}"), slot(b"bar"));
    assert_eq!(slot(b"foo}{bar"), crc16(b"foo}{bar") % SLOTS, "braces that do not close are none");
    assert_eq!(slot(b""), 0);
    assert_eq!(slot(b"fanfare:{news}"), slot(b"fanfare:{news}:k:KEY"));
}

#[test]
fn a_map_of_shards_gives_slots_to_masters_that_are_online() {
    let reply = shards(&[
        shard(&[8001, 16383], &[node("127.0.0.1", 7402, "master", "online")]),
        shard(
            &[0, 5000, 5005, 8000],
            &[
                node("127.0.0.1", 7403, "replica", "online"),
                node("127.0.0.1", 7404, "master", "fail"),
                node("::1", 7401, "master", "online"),
            ],
        ),
        shard(&[], &[node("127.0.0.1", 7405, "master", "online")]),
    ]);
    let slots = Slots::from_shards(&reply, "127.0.0.1", false).unwrap();
    assert_eq!(
        runs(&slots),
        [
            run(0, 5000, "[::1]:7401"),
            run(5001, 5004, ""),
            run(5005, 8000, "[::1]:7401"),
            run(8001, 16383, "127.0.0.1:7402")
        ]
    );
    let masters = [address("127.0.0.1", 7402), address("::1", 7401), address("127.0.0.1", 7405)];
    assert_eq!(slots.masters(), masters, "one has no slots yet");
    assert_eq!(slots.owner(16384), None);
}

#[test]
fn a_shard_whose_master_is_gone_has_no_owner() {
    for nodes in [
        vec![],
        vec![node("127.0.0.1", 7401, "master", "fail")],
        vec![node("127.0.0.1", 7401, "master", "loading"), node("127.0.0.1", 7402, "replica", "online")],
        vec![node("127.0.0.1", 0, "master", "online")],
        vec![node("a/b", 7401, "master", "online")],
    ] {
        let slots = Slots::from_shards(&shards(&[shard(&[0, 16383], &nodes)]), "127.0.0.1", false).unwrap();
        assert_eq!(runs(&slots), [run(0, 16383, "")], "{nodes:?}");
        assert_eq!(slots.masters(), []);
    }
}

#[test]
fn a_host_that_is_not_said_is_the_one_that_was_asked() {
    let nodes = ["", "?", "_"].map(|endpoint| [node(endpoint, 7401, "master", "online")]);
    for nodes in nodes {
        let slots = Slots::from_shards(&shards(&[shard(&[0, 16383], &nodes)]), "redis.test", false).unwrap();
        assert_eq!(runs(&slots), [run(0, 16383, "redis.test:7401")]);
    }
    for host in ["_", "$1 ?", "+"] {
        let text = format!("*1 *3 :0 :16383 *4 {host} :7401 $4 b5e8 %1 $2 ip $9 127.0.0.1");
        let slots = Slots::from_slots(&reply(&text), "redis.test").unwrap();
        assert_eq!(runs(&slots), [run(0, 16383, "redis.test:7401")], "{host}");
    }
}

#[test]
fn with_tls_the_ports_of_tls_count() {
    let both = "%6 $4 port :7401 $8 tls-port :7501 $8 endpoint $1 a $4 role $6 master $6 health $6 online $2 id $1 x";
    let reply = shards(&[
        shard(&[0, 99], &[both.to_owned()]),
        shard(&[100, 16383], &[node("b", 7402, "master", "online")]),
    ]);
    let with_tls = Slots::from_shards(&reply, "asked", true).unwrap();
    assert_eq!(runs(&with_tls), [run(0, 99, "a:7501"), run(100, 16383, "")]);
    let without = Slots::from_shards(&reply, "asked", false).unwrap();
    assert_eq!(runs(&without), [run(0, 99, "a:7401"), run(100, 16383, "b:7402")]);
}

#[test]
fn a_map_of_slots_gives_them_to_the_first_server_of_each_range() {
    let reply = reply(
        "*3 *4 :0 :5000 *4 $9 127.0.0.1 :7401 $4 b5e8 %0 *4 $9 127.0.0.1 :7403 $4 5793 %0 \
         *3 :5005 :8000 *4 $9 127.0.0.1 :7401 $4 b5e8 %0 *3 :8001 :16383 *3 $11 two.example :7402 $4 c122",
    );
    let slots = Slots::from_slots(&reply, "127.0.0.1").unwrap();
    assert_eq!(
        runs(&slots),
        [
            run(0, 5000, "127.0.0.1:7401"),
            run(5001, 5004, ""),
            run(5005, 8000, "127.0.0.1:7401"),
            run(8001, 16383, "two.example:7402")
        ]
    );
    assert_eq!(slots.masters().len(), 2);
}

#[test]
fn an_empty_cluster_has_a_map_without_owners() {
    assert_eq!(runs(&Slots::from_slots(&reply("*0"), "h").unwrap()), [run(0, 16383, "")]);
    assert_eq!(runs(&Slots::from_shards(&reply("*0"), "h", false).unwrap()), [run(0, 16383, "")]);
}

#[test]
fn what_is_no_map_is_refused() {
    for text in [
        "+OK",
        "_",
        "%0",
        "*1 :1",
        "*1 *0",
        "*1 *2 :0 :1",
        "*1 *3 :0 :1 :2",
        "*1 *3 :0 :1 *1 +h",
        "*1 *3 :0 :1 *2 +h +port",
        "*1 *3 :0 :16384 *2 +h :1",
        "*1 *3 :2 :1 *2 +h :1",
        "*1 *3 :-1 :1 *2 +h :1",
    ] {
        assert_eq!(Slots::from_slots(&reply(text), "h").unwrap_err(), NoSlots, "{text}");
    }
    for text in [
        "+OK",
        "*1 %0",
        "*1 *0",
        "*1 %1 +slots *0",
        "*1 %1 +nodes *0",
        "*1 %2 +slots *1 :0 +nodes *0",
        "*1 %2 +slots *2 :0 :16384 +nodes *0",
        "*1 %2 +slots *2 :9 :8 +nodes *0",
        "*1 %2 +slots +x +nodes *0",
    ] {
        assert_eq!(Slots::from_shards(&reply(text), "h", false).unwrap_err(), NoSlots, "{text}");
    }
}

#[test]
fn the_slots_whose_owner_differs_are_told_whatever_the_order_of_the_maps() {
    let map = |text: &str| Slots::from_slots(&reply(text), "h").unwrap();
    let old = map("*2 *3 :0 :9 *2 +a :1 *3 :10 :19 *2 +b :1");
    let same = map("*3 *3 :10 :19 *2 +b :1 *3 :0 :3 *2 +a :1 *3 :4 :9 *2 +a :1");
    assert_eq!(old.moved(&same).count(), 0);
    let new = map("*2 *3 :0 :7 *2 +a :1 *3 :8 :17 *2 +b :1");
    assert_eq!(old.moved(&new).collect::<Vec<_>>(), [8, 9, 18, 19]);
    let elsewhere = map("*2 *3 :0 :9 *2 +a :2 *3 :10 :19 *2 +b :1");
    assert_eq!(old.moved(&elsewhere).collect::<Vec<_>>(), (0..10).collect::<Vec<_>>());
    assert_eq!(Slots::default().moved(&old).count(), 20);
}

#[test]
fn what_moved_has_said_counts_until_the_next_map() {
    let mut slots = Slots::from_slots(&reply("*1 *3 :0 :9 *2 +a :1"), "h").unwrap();
    slots.note_moved(5, &address("b", 1));
    slots.note_moved(6, &address("b", 1));
    slots.note_moved(5, &address("a", 1));
    slots.note_moved(16384, &address("c", 1));
    assert_eq!(runs(&slots)[..3], [run(0, 5, "a:1"), run(6, 6, "b:1"), run(7, 9, "a:1")]);
    assert_eq!(slots.masters(), [address("a", 1), address("b", 1)]);
    for port in 1..=u16::MAX {
        slots.note_moved(0, &address("endless", port));
    }
    assert_eq!(slots.masters().len(), usize::from(SLOTS), "and no more");
}

proptest! {
    #[test]
    fn slots_are_those_of_another_library(key in vec(prop_oneof![3 => any::<u8>(), 1 => Just(b'{'), 1 => Just(b'}')], 0..40)) {
        prop_assert_eq!(slot(&key), redis_keyslot(&key));
    }
}
