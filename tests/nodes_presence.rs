//! Who is in a channel over all nodes: presence channels of Pusher, and channels where `--presence` tells who is there.

#![allow(clippy::unwrap_used)] // a helper that fails fails its test

mod support;

use std::net::SocketAddr;
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use fanfare::config::{Config, Glob, PresenceRule};
use fanfare::pusher::App;
use fanfare::token::{Key, Keys};
use jsonwebtoken::{EncodingKey, Header};
use serde_json::{Value, json};
use support::fleet::{call, get, nodes, on};
use support::multiplex::{multiplex_with, next, say};
use support::pusher::Pusher;
use support::redis::{Redis, ask};
use support::*;

const ROOM: &str = "presence-room";

const ADDED: &str = "pusher_internal:member_added";
const REMOVED: &str = "pusher_internal:member_removed";

fn configured() -> Config {
    Config {
        apps: vec![App::new("1", "app-key", "app-secret")],
        presence: vec![(Glob::new("chat-*"), PresenceRule::Members)],
        ..with_key()
    }
}

/// A client that has joined as this user, and whom it found.
fn join(address: SocketAddr, user_id: &str) -> (Pusher, Vec<String>) {
    let mut client = Pusher::connect(address);
    let found = client.join(ROOM, user_id);
    assert_eq!(found["presence"]["count"], found["presence"]["ids"].as_array().unwrap().len());
    (client, found["presence"]["hash"].as_object().unwrap().keys().cloned().collect())
}

fn expect(client: &mut Pusher, event: &str, user_id: &str) {
    let (channel, data) = client.expect(event);
    assert_eq!((channel.as_str(), &data["user_id"]), (ROOM, &user_id.into()));
}

/// The users of the room, as a node tells an app's server.
fn users(node: &Running) -> Value {
    call(node.address, "GET", &format!("/channels/{ROOM}/users"), "", "")["users"].clone()
}

#[test]
fn a_user_who_joins_at_one_node_is_told_to_the_members_at_the_others_and_found_by_who_joins_there() {
    let Some(redis) = Redis::start(&[]) else { return };
    let [a, b] = nodes(&redis, &configured());
    let (mut anna, found) = join(a.address, "anna");
    assert_eq!(found, ["anna"]);
    expect_found(&redis, 1);
    let (mut bert, found) = join(b.address, "bert");
    assert_eq!(found, ["anna", "bert"]);
    let (_, data) = anna.expect(ADDED);
    assert_eq!(data, json!({"user_id": "bert", "user_info": {"name": "bert"}}));
    // At a node where nobody is.
    let c = start(on(&redis, configured()));
    for node in [&a, &b, &c] {
        assert_eq!(users(node), json!([{"id": "anna"}, {"id": "bert"}]));
        let info = call(node.address, "GET", &format!("/channels/{ROOM}"), "&info=user_count", "");
        assert_eq!(info["user_count"], 2, "{info}");
    }
    bert.send("pusher:unsubscribe", json!({"channel": ROOM}));
    expect(&mut anna, REMOVED, "bert");
    anna.has_nothing_more();
    assert_eq!(users(&a), json!([{"id": "anna"}]));
}

/// Waits until Redis knows so many users of the room.
fn expect_found(redis: &Redis, count: usize) {
    let mut connection = redis.connect();
    until("Redis knows the users", || {
        let fields: Vec<String> = ask(&mut connection, &[b"HKEYS", b"fanfare:{presence-room}:u"]).unwrap();
        (fields.iter().filter(|field| field.starts_with('m')).count() == count).then_some(())
    });
}

/// Anna at the one node, Cleo at the other, and last Bert at the first, all of whom know of each other.
fn anna_cleo_and_bert(redis: &Redis, a: &Running, b: &Running) -> (Pusher, Pusher, Pusher) {
    let (mut anna, _) = join(a.address, "anna");
    expect_found(redis, 1);
    let (mut cleo, _) = join(b.address, "cleo");
    expect(&mut anna, ADDED, "cleo");
    let (bert, _) = join(a.address, "bert");
    expect(&mut anna, ADDED, "bert");
    expect(&mut cleo, ADDED, "bert");
    (anna, cleo, bert)
}

#[test]
fn a_user_at_two_nodes_is_added_once_and_removed_with_its_last_connection() {
    let Some(redis) = Redis::start(&[]) else { return };
    let [a, b] = nodes(&redis, &configured());
    let (mut anna, mut cleo, bert_at_a) = anna_cleo_and_bert(&redis, &a, &b);
    let (bert_at_b, found) = join(b.address, "bert");
    assert_eq!(found, ["anna", "bert", "cleo"]);
    drop(bert_at_a);
    // What comes next is told in order behind what is not told.
    let (dora, _) = join(a.address, "dora");
    expect(&mut anna, ADDED, "dora");
    expect(&mut cleo, ADDED, "dora");
    drop(bert_at_b);
    expect(&mut anna, REMOVED, "bert");
    expect(&mut cleo, REMOVED, "bert");
    drop(dora);
    expect(&mut anna, REMOVED, "dora");
    expect(&mut cleo, REMOVED, "dora");
}

#[test]
#[allow(clippy::disallowed_methods)] // that nothing comes is seen after a while only
fn a_user_that_changes_nodes_is_told_neither_as_gone_nor_as_new() {
    let Some(redis) = Redis::start(&[]) else { return };
    let [a, b] = nodes(&redis, &configured());
    let (mut anna, mut cleo, mut bert) = anna_cleo_and_bert(&redis, &a, &b);
    for turn in 0..20 {
        let to = [&b, &a][turn % 2].address;
        // Before it leaves the one, it is at the other, and then there is a moment in which it is at none.
        let next = if turn % 4 < 2 { Some(join(to, "bert")) } else { None };
        drop(bert);
        let (next, found) = next.unwrap_or_else(|| join(to, "bert"));
        assert_eq!(found, ["anna", "bert", "cleo"]);
        bert = next;
    }
    thread::sleep(Duration::from_millis(1_500));
    anna.has_nothing_more();
    cleo.has_nothing_more();
    // Somebody else by the same name is told as such.
    drop(bert);
    expect_found(&redis, 2);
    let mut albert = Pusher::connect(b.address);
    albert.join_named(ROOM, "bert", "Albert");
    for client in [&mut anna, &mut cleo] {
        expect(client, REMOVED, "bert");
        let (_, data) = client.expect(ADDED);
        assert_eq!(data, json!({"user_id": "bert", "user_info": {"name": "Albert"}}));
        client.has_nothing_more();
    }
}

#[test]
#[allow(clippy::disallowed_methods)] // that nothing comes is seen after a while only
fn who_comes_back_while_redis_is_away_is_not_told_as_gone() {
    let Some(redis) = Redis::start(&[]) else { return };
    let [a, b] = nodes(&redis, &configured());
    let (mut anna, mut cleo, bert) = anna_cleo_and_bert(&redis, &a, &b);
    drop(bert);
    // Redis knows that it has left, and not that it comes back.
    expect_found(&redis, 2);
    redis.signal("STOP");
    let (_bert, found) = join(b.address, "bert");
    assert_eq!(found, ["anna", "bert", "cleo"]);
    thread::sleep(Duration::from_millis(1_500));
    redis.signal("CONT");
    expect_found(&redis, 3);
    thread::sleep(Duration::from_millis(2_500));
    anna.has_nothing_more();
    cleo.has_nothing_more();
}

#[test]
fn nobody_is_told_as_gone_while_redis_is_away_or_has_forgotten_all() {
    let Some(redis) = Redis::start(&[]) else { return };
    let [a, b] = nodes(&redis, &configured());
    let (mut anna, _) = join(a.address, "anna");
    expect_found(&redis, 1);
    let (mut bert, _) = join(b.address, "bert");
    expect(&mut anna, ADDED, "bert");
    let mut connection = redis.connect();
    for forget in [false, true, true] {
        if forget {
            ask::<String>(&mut connection, &[b"FLUSHALL"]).unwrap();
        }
        ask::<i64>(&mut connection, &[b"CLIENT", b"KILL", b"TYPE", b"normal", b"SKIPME", b"yes"]).unwrap();
        ask::<i64>(&mut connection, &[b"CLIENT", b"KILL", b"TYPE", b"pubsub"]).unwrap();
        expect_found(&redis, 2);
        let (cleo, found) = join(b.address, "cleo");
        assert_eq!(found, ["anna", "bert", "cleo"]);
        expect(&mut anna, ADDED, "cleo");
        expect(&mut bert, ADDED, "cleo");
        drop(cleo);
        expect(&mut anna, REMOVED, "cleo");
        expect(&mut bert, REMOVED, "cleo");
    }
    assert_eq!(users(&a), json!([{"id": "anna"}, {"id": "bert"}]));
}

#[test]
fn the_users_of_a_node_that_ends_are_gone_and_those_who_were_elsewhere_too_stay() {
    let Some(redis) = Redis::start(&[]) else { return };
    let [a, b] = nodes(&redis, &configured());
    let (mut anna, _) = join(a.address, "anna");
    let (_anna_at_b, _) = join(b.address, "anna");
    let (_bert, _) = join(b.address, "bert");
    expect(&mut anna, ADDED, "bert");
    drop(b);
    expect(&mut anna, REMOVED, "bert");
    anna.has_nothing_more();
    assert_eq!(users(&a), json!([{"id": "anna"}]));
}

#[test]
fn records_of_a_node_that_has_died_are_swept_by_whoever_has_the_channel() {
    let Some(redis) = Redis::start(&[]) else { return };
    let mut connection = redis.connect();
    // As a node that died left them, whose time is over.
    let key: &[u8] = b"fanfare:{presence-room}:u";
    let fields: [&[u8]; 6] = [b"n", b"0123456789ab:1;", b"v", b"7", b"mdora", b"0123456789ab:1; {}"];
    ask::<i64>(&mut connection, &[&[b"HSET", key][..], &fields].concat()).unwrap();
    let [a] = nodes(&redis, &configured());
    let (mut anna, found) = join(a.address, "anna");
    assert_eq!(found, ["anna", "dora"]);
    expect(&mut anna, REMOVED, "dora");
    expect_found(&redis, 1);
}

// ---- Channels where it is told who is there ----

fn present(node: &Running, channel: &str) -> Value {
    get(node.address, &format!("/channels/{channel}/presence"))
}

#[test]
fn who_is_there_without_a_name_is_counted_over_all_nodes() {
    let Some(redis) = Redis::start(&[]) else { return };
    let [a, b] = nodes(&redis, &configured());
    let _at_a = envelopes(a.address, "chat-1");
    let at_b: Vec<_> = (0..2).map(|_| envelopes(b.address, "chat-1")).collect();
    let wait_for = |count: u64| {
        for node in [&a, &b] {
            until("the node counts all", || (present(node, "chat-1")["anonymous"] == count).then_some(()));
        }
    };
    wait_for(3);
    drop(at_b);
    wait_for(1);
}

const SECRET: &[u8] = b"0123456789abcdef0123456789abcdef";

/// Tells who is in `chat-*`, to those whose token names it.
fn with_tokens() -> Config {
    let mut token_keys = Keys::default();
    token_keys.push(Key::secret("k", SECRET).unwrap()).unwrap();
    Config { token_keys, ..configured() }
}

/// A client of `/channels` that is this user and is told who is in the channel, and what it was told first.
fn watcher(address: SocketAddr, sub: &str, channel: &str) -> (Client, Value) {
    let now_s = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
    let rights = json!({"subscribe": ["*"], "presence": ["*"], "info": {"name": sub}});
    let claims = json!({"sub": sub, "iat": now_s, "exp": now_s + 600, "fanfare": rights});
    let token = jsonwebtoken::encode(&Header::default(), &claims, &EncodingKey::from_secret(SECRET)).unwrap();
    let bearer = format!("Bearer {token}");
    let mut client = multiplex_with(address, "/channels", &[("Authorization", &bearer)]);
    assert_eq!(next(&mut client)["event"], "fanfare:authorized");
    let wanted =
        json!({"event": "fanfare:subscribe", "ref": 1, "data": [{"channel": channel, "presence": true}]});
    say(&mut client, &wanted.to_string());
    assert_eq!(next(&mut client)["event"], "fanfare:subscribed");
    let first = next(&mut client);
    assert_eq!(first["event"], "fanfare:presence", "{first}");
    let data = first["data"].clone();
    (client, data)
}

/// The next change that a watcher is told.
fn change(client: &mut Client) -> Value {
    let told = next(client);
    assert_eq!(told["event"], "fanfare:presence", "{told}");
    told["data"].clone()
}

#[test]
fn who_is_there_is_told_over_all_nodes_and_a_user_at_two_of_them_leaves_once_after_the_grace() {
    let Some(redis) = Redis::start(&[]) else { return };
    let [a, b] = nodes(&redis, &with_tokens());
    let (mut anna, first) = watcher(a.address, "anna", "chat-1");
    assert_eq!(first["count"], 1, "{first}");
    until("the other node has heard of her", || (present(&b, "chat-1")["count"] == 1).then_some(()));
    let (bert_at_b, first) = watcher(b.address, "bert", "chat-1");
    let subs: Vec<_> = first["members"].as_array().unwrap().iter().map(|member| &member["sub"]).collect();
    assert_eq!(subs, ["anna", "bert"]);
    let joined = change(&mut anna);
    assert_eq!(joined["joined"], json!([{"sub": "bert", "info": {"name": "bert"}}]), "{joined}");
    let (bert_at_a, _) = watcher(a.address, "bert", "chat-1");
    for node in [&a, &b] {
        until("both connections are counted", || {
            let members = present(node, "chat-1")["members"].clone();
            (members[1] == json!({"sub": "bert", "info": {"name": "bert"}, "connections": 2})).then_some(())
        });
    }
    let gone_at = Instant::now();
    drop((bert_at_a, bert_at_b));
    let left = change(&mut anna);
    assert_eq!((&left["left"], &left["count"]), (&json!(["bert"]), &json!(1)), "{left}");
    assert!(gone_at.elapsed() >= Duration::from_secs(5), "a page that is loaded again is back by then");
}
