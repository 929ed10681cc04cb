//! What a real Redis says, as it is decoded: replies, pushes, refusals and the map of a cluster's slots.
//!
//! Who asks for it, and what becomes of it, is not known here.

#![allow(clippy::unwrap_used)] // a helper that fails fails its test

mod support;

use std::io::{Read, Write};
use std::net::TcpStream;

use bytes::BytesMut;
use fanfare::server::bare_redis::{
    Address, Bounds, Command, Decoder, Fate, Reason, Refusal, Reply, SLOTS, Slots, slot,
};
use support::redis::{Redis, ask, free_port};
use support::{PATIENCE, until};

/// A connection that speaks RESP3.
struct Link {
    stream: TcpStream,
    decoder: Decoder,
    buffer: BytesMut,
}

impl Link {
    fn to(port: u16) -> Self {
        let stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        let bounds = Bounds { text_len_max: 16 << 20, reply_len_max: 32 << 20 };
        let mut link = Self { stream, decoder: Decoder::new(bounds), buffer: BytesMut::new() };
        let hello = link.ask(&["HELLO", "3"]);
        assert_eq!(hello.field(b"proto").unwrap().as_number(), Some(3));
        link
    }

    fn send(&mut self, words: &[&str]) {
        let mut out = BytesMut::new();
        words.iter().fold(Command::new(&mut out, words.len()), |command, word| command.word(word.as_bytes()));
        self.stream.write_all(&out).unwrap();
    }

    fn next(&mut self) -> Reply {
        loop {
            if let Some(reply) = self.decoder.decode(&mut self.buffer).unwrap() {
                return reply;
            }
            let mut piece = [0; 64 * 1024];
            let len = self.stream.read(&mut piece).unwrap();
            assert!(len > 0, "Redis has closed the connection");
            self.buffer.extend_from_slice(&piece[..len]);
        }
    }

    fn ask(&mut self, words: &[&str]) -> Reply {
        self.send(words);
        self.next()
    }

    fn refusal(&mut self, words: &[&str]) -> Refusal {
        match self.ask(words) {
            Reply::Error(text) => Refusal::of(&text, "127.0.0.1"),
            other => panic!("{words:?}: {other:?}"),
        }
    }
}

fn texts(replies: &[Reply]) -> Vec<String> {
    replies
        .iter()
        .map(|reply| String::from_utf8_lossy(reply.as_text().unwrap_or(b"?")).into_owned())
        .collect()
}

#[test]
fn replies_and_pushes_of_redis_are_decoded_in_their_order() {
    let Some(redis) = Redis::start(&[]) else { return };
    let mut link = Link::to(redis.port);
    link.send(&["SUBSCRIBE", "c"]);
    link.send(&["HSET", "h", "e", "a00000000001", "s", "7"]);
    link.send(&["HMGET", "h", "e", "s", "gone"]);
    let Reply::Push(subscribed) = link.next() else { panic!("no push") };
    assert_eq!(texts(&subscribed), ["subscribe", "c", "?"]);
    assert_eq!(link.next(), Reply::Number(2));
    let fields = link.next().into_list().unwrap();
    assert_eq!(fields[0].as_text(), Some(b"a00000000001".as_slice()));
    assert_eq!((fields[1].as_number(), &fields[2]), (Some(7), &Reply::Nil));

    let mut other = redis.connect();
    let heard: i64 = ask(&mut other, &[b"PUBLISH", b"c", b"\r\n\0"]).unwrap();
    assert_eq!(heard, 1);
    let Reply::Push(message) = link.next() else { panic!("no push") };
    assert_eq!(texts(&message), ["message", "c", "\r\n\0"]);

    // What is read in 64 KiB, and is longer.
    let long = "x".repeat(3 << 20);
    let set: String = ask(&mut other, &[b"SET", b"long", long.as_bytes()]).unwrap();
    assert_eq!(set, "OK");
    let list = link.ask(&["MGET", "long", "long", "gone"]).into_list().unwrap();
    assert!(list[..2].iter().all(|text| text.as_text() == Some(long.as_bytes())) && list[2] == Reply::Nil);
    assert!(link.buffer.is_empty());
}

#[test]
fn refusals_of_redis_say_whether_the_command_was_executed() {
    const WRITE: &str = "#!lua\nreturn redis.call('SET', KEYS[1], 'x')";
    let Some(redis) = Redis::start(&[]) else { return };
    let mut link = Link::to(redis.port);
    let write = ["EVAL", WRITE, "1", "k"];
    let mut check = |set: &[&str], words: &[&str], reason: Reason, fate: Fate, unset: &[&str]| {
        if !set.is_empty() {
            assert_eq!(texts(&[link.ask(set)]), ["OK"], "{set:?}");
        }
        let refusal = link.refusal(words);
        assert_eq!((&refusal.reason, refusal.fate()), (&reason, fate), "{refusal}");
        if !unset.is_empty() {
            assert_eq!(texts(&[link.ask(unset)]), ["OK"], "{unset:?}");
        }
    };
    let unknown = ["EVALSHA", "0000000000000000000000000000000000000000", "1", "k"];
    check(&[], &unknown, Reason::NoScript, Fate::LoadScript, &[]);
    let (full, room) = (["CONFIG", "SET", "maxmemory", "1"], ["CONFIG", "SET", "maxmemory", "0"]);
    check(&full, &write, Reason::OutOfMemory, Fate::Never, &room);
    let replicas = |count| ["CONFIG", "SET", "min-replicas-to-write", count];
    check(&replicas("1"), &write, Reason::NoReplicas, Fate::Again, &replicas("0"));
    let master = ["REPLICAOF", "NO", "ONE"];
    check(&["REPLICAOF", "127.0.0.1", "1"], &write, Reason::ReadOnly, Fate::AgainAtMaster, &master);
    let halfway = "#!lua\nredis.call('SET', KEYS[1], 'x') return redis.call('HGET', KEYS[1], 'f')";
    check(&[], &["EVAL", halfway, "1", "k"], Reason::RaisedByScript, Fate::Unknown, &["SET", "k", "1"]);
    check(&[], &["HGET", "k", "f"], Reason::WrongType, Fate::Never, &[]);
    check(&[], &["NO-SUCH-COMMAND"], Reason::Other, Fate::Never, &[]);
    let user = ["ACL", "SETUSER", "reader", "on", ">word", "+@read", "+auth", "~a"];
    check(
        &user,
        &["AUTH", "reader", "other"],
        Reason::WrongPassword,
        Fate::Never,
        &["AUTH", "reader", "word"],
    );
    check(&[], &["GET", "k"], Reason::NoPermission, Fate::Never, &[]);
}

#[test]
fn the_map_of_a_cluster_is_the_same_by_shards_and_by_slots() {
    let bus = free_port().to_string();
    let settings =
        ["--cluster-enabled", "yes", "--cluster-port", &bus, "--cluster-require-full-coverage", "no"];
    let Some(redis) = Redis::start(&settings) else { return };
    let mut link = Link::to(redis.port);
    let down = link.refusal(&["GET", "k"]);
    assert_eq!((&down.reason, down.fate()), (&Reason::ClusterDown, Fate::Again));
    assert_eq!(texts(&[link.ask(&["CLUSTER", "ADDSLOTSRANGE", "0", "9000", "9002", "16383"])]), ["OK"]);
    let own = Address { host: "redis.test".into(), port: redis.port };
    let mut maps = |host: &str| {
        let shards = Slots::from_shards(&link.ask(&["CLUSTER", "SHARDS"]), host, false).unwrap();
        let slots = Slots::from_slots(&link.ask(&["CLUSTER", "SLOTS"]), host).unwrap();
        (shards, slots)
    };
    // It does not know its own address, as nobody has told it.
    let (shards, slots) = maps("redis.test");
    assert_eq!(shards.moved(&slots).count(), 0);
    assert_eq!(shards.masters(), std::slice::from_ref(&own));
    assert_eq!((0..SLOTS).filter(|&slot| shards.owner(slot) != Some(&own)).collect::<Vec<_>>(), [9001]);

    let key = "fanfare:{news}:k:7";
    let said = link.ask(&["CLUSTER", "KEYSLOT", key]).as_number();
    assert_eq!(said, Some(u64::from(slot(key.as_bytes()))));
    let crossing = until("the cluster is up", || {
        let refusal = link.refusal(&["MGET", "a", "b"]);
        (refusal.reason != Reason::ClusterDown).then_some(refusal)
    });
    assert_eq!((&crossing.reason, crossing.fate()), (&Reason::CrossSlot, Fate::Never));
}
