//! What is done on all nodes by one of them: users of Pusher apps whose connections end, tokens that are revoked.

#![allow(clippy::unwrap_used)] // a helper that fails fails its test

mod support;

use std::net::SocketAddr;
use std::time::{SystemTime, UNIX_EPOCH};

use fanfare::config::Config;
use fanfare::pusher::App;
use fanfare::token::{Key, Keys};
use jsonwebtoken::{EncodingKey, Header};
use serde_json::json;
use support::fleet::{call, nodes, on};
use support::nodes::{by_redis, wait_for_readiness};
use support::proxy::Proxy;
use support::pusher::Pusher;
use support::redis::{Memory, Redis, ask};
use support::*;

const SECRET: &[u8] = b"0123456789abcdef0123456789abcdef";

fn configured() -> Config {
    let mut token_keys = Keys::default();
    token_keys.push(Key::secret("k", SECRET).unwrap()).unwrap();
    Config { apps: vec![App::new("1", "app-key", "app-secret")], token_keys, ..with_key() }
}

/// A token of this user, with a name.
fn token(sub: &str, jti: &str) -> String {
    let now_s = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
    let claims = json!({
        "sub": sub, "jti": jti, "iat": now_s - 60, "exp": now_s + 600, "fanfare": {"subscribe": ["news"]}
    });
    jsonwebtoken::encode(&Header::default(), &claims, &EncodingKey::from_secret(SECRET)).unwrap()
}

/// A subscriber of `news` with this token; the status where it is refused.
fn subscriber(address: SocketAddr, token: &str) -> Result<Client, u16> {
    let bearer = format!("Bearer {token}");
    let client = handshake(address, "/channels/news", &[("Authorization", &bearer)]);
    client.map(|(client, _)| client).map_err(|refused| refused.status().as_u16())
}

fn revoke(address: SocketAddr, body: &str) {
    let answer = request(address, "POST", "/revoke", "Authorization: Bearer secret\r\n", body.as_bytes());
    assert_eq!((answer.status, answer.body.as_str()), (200, r#"{"revoked":0}"#), "{answer:?}");
}

#[test]
fn the_connections_of_a_user_end_on_all_nodes_and_those_of_others_stay() {
    let Some(redis) = Redis::start(&[]) else { return };
    let [a, b] = nodes(&redis, &configured());
    let mut clients = [Pusher::connect(a.address), Pusher::connect(b.address)];
    clients.iter_mut().for_each(|client| client.sign_in("anna", &[]));
    let mut other = Pusher::connect(b.address);
    other.sign_in("bert", &[]);
    assert_eq!(call(a.address, "POST", "/users/anna/terminate_connections", "", "{}"), json!({}));
    for client in &mut clients {
        assert_eq!(client.closed(), (4009, "the app has ended this user's connections".into()));
    }
    other.has_nothing_more();
}

#[test]
fn what_is_revoked_at_one_node_is_revoked_at_all_also_at_one_that_starts_later() {
    let Some(redis) = Redis::start(&[]) else { return };
    let [a, b] = nodes(&redis, &configured());
    let (anna, bert) = (token("anna", "x 1"), token("bert", "x 2"));
    let mut clients = [subscriber(b.address, &anna).unwrap(), subscriber(b.address, &bert).unwrap()];
    let mut stays = subscriber(b.address, &token("bert", "x 3")).unwrap();
    revoke(a.address, r#"{"sub":"anna"}"#);
    revoke(a.address, r#"{"jti":"x 2"}"#);
    for client in &mut clients {
        assert_eq!(u16::from(close_frame(client).unwrap().code), 4403);
    }
    let c = start(on(&redis, configured()));
    for node in [&a, &b, &c] {
        until("the node has read what was revoked", || match subscriber(node.address, &anna) {
            Ok(_) => None,
            Err(status) => {
                assert_eq!(status, 403);
                Some(())
            }
        });
        assert_eq!(subscriber(node.address, &bert).err(), Some(403));
    }
    let key = "Authorization: Bearer secret\r\nContent-Type: text/plain\r\n";
    assert_eq!(request(a.address, "POST", "/channels/news", key, b"hi").status, 200);
    assert_eq!(text(&mut stays), "hi");
}

#[test]
fn what_is_revoked_while_connections_to_redis_break_is_revoked_at_all_nodes() {
    let Some(redis) = Redis::start(&[]) else { return };
    let [a, b] = nodes(&redis, &configured());
    let mut connection = redis.connect();
    for round in 0..5 {
        let (sub, jti) = (format!("u{round}"), format!("j{round}"));
        let mut client = subscriber(b.address, &token(&sub, &jti)).unwrap();
        ask::<i64>(&mut connection, &[b"CLIENT", b"KILL", b"TYPE", b"normal", b"SKIPME", b"yes"]).unwrap();
        ask::<i64>(&mut connection, &[b"CLIENT", b"KILL", b"TYPE", b"pubsub"]).unwrap();
        revoke(a.address, &format!(r#"{{"sub":"{sub}"}}"#));
        assert_eq!(u16::from(close_frame(&mut client).unwrap().code), 4403);
    }
}

#[test]
fn what_a_full_redis_does_not_keep_is_told_at_once_and_kept_when_there_is_room() {
    let Some(redis) = Redis::start(&["--maxmemory-policy", "noeviction"]) else { return };
    let [a, b] = nodes(&redis, &configured());
    let anna = token("anna", "x 1");
    let mut client = subscriber(b.address, &anna).unwrap();
    let _: String = redis.ask("CONFIG SET maxmemory 1");
    revoke(a.address, r#"{"sub":"anna"}"#);
    assert_eq!(u16::from(close_frame(&mut client).unwrap().code), 4403);
    assert_eq!(redis.ask::<i64>("EXISTS fanfare:revoked"), 0, "Redis is full");
    let _: String = redis.ask("CONFIG SET maxmemory 0");
    until("it is kept", || (redis.ask::<i64>("ZCARD fanfare:revoked") == 1).then_some(()));
    let c = start(on(&redis, configured()));
    until("the node has read what was revoked", || {
        (subscriber(c.address, &anna).err()? == 403).then_some(())
    });
}

#[test]
fn the_connections_of_a_user_end_on_all_nodes_also_while_those_to_redis_break() {
    let Some(redis) = Redis::start(&[]) else { return };
    let [a, b] = nodes(&redis, &configured());
    let mut connection = redis.connect();
    for round in 0..10 {
        let user = format!("u{round}");
        let mut client = Pusher::connect(b.address);
        client.sign_in(&user, &[]);
        ask::<i64>(&mut connection, &[b"CLIENT", b"KILL", b"TYPE", b"normal", b"SKIPME", b"yes"]).unwrap();
        ask::<i64>(&mut connection, &[b"CLIENT", b"KILL", b"TYPE", b"pubsub"]).unwrap();
        call(a.address, "POST", &format!("/users/{user}/terminate_connections"), "", "{}");
        assert_eq!(client.closed(), (4009, "the app has ended this user's connections".into()));
    }
}

#[test]
fn the_connections_of_a_user_end_at_a_node_that_comes_back_to_redis_later_and_those_that_come_then_stay() {
    let Some(mut redis) = Redis::start(&[]) else { return };
    let proxy = Proxy::to(redis.port);
    let a = start(on(&redis, configured()));
    let b = start(Config { redis: by_redis(proxy.address.port()).redis, ..configured() });
    let mut client = Pusher::connect(b.address);
    client.sign_in("anna", &[]);
    proxy.close(true);
    proxy.cut();
    redis.kill();
    assert_eq!(call(a.address, "POST", "/users/anna/terminate_connections", "", "{}"), json!({}));
    redis.start_again(Memory::Lost);
    until("it is kept", || (redis.ask::<i64>("ZCARD fanfare:ended") == 1).then_some(()));
    proxy.close(false);
    assert_eq!(client.closed(), (4009, "the app has ended this user's connections".into()));
    let mut comes = Pusher::connect(b.address);
    comes.sign_in("anna", &[]);
    proxy.cut();
    wait_for_readiness(b.address, 200);
    let other = start(on(&redis, configured()));
    let mut at_other = Pusher::connect(other.address);
    at_other.sign_in("anna", &[]);
    comes.has_nothing_more();
    at_other.has_nothing_more();
}
