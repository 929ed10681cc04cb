//! Nodes in this process on one Redis, and the HTTP API of Pusher as an app's server calls it.
//!
//! What is expected of them is the tests'.

use std::net::SocketAddr;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use fanfare::config::{Config, Redis as RedisConfig};
use md5::{Digest, Md5};
use serde_json::Value;

use super::pusher::sign;
use super::redis::Redis;
use super::{Running, connect, exchange, request, start};

/// A node's configuration on this Redis.
pub fn on(redis: &Redis, config: Config) -> Config {
    let seed = format!("redis://127.0.0.1:{}", redis.port).parse().unwrap();
    Config { redis: Some(RedisConfig::new(seed)), ..config }
}

/// Nodes with this configuration on one Redis.
pub fn nodes<const COUNT: usize>(redis: &Redis, config: &Config) -> [Running; COUNT] {
    std::array::from_fn(|_| start(on(redis, config.clone())))
}

/// The JSON of an answer.
pub fn get(address: SocketAddr, path: &str) -> Value {
    let answer = request(address, "GET", path, "Authorization: Bearer secret\r\n", b"");
    assert_eq!(answer.status, 200, "{path}: {answer:?}");
    serde_json::from_str(&answer.body).unwrap()
}

/// A signed call of the app 1: the JSON of its answer.
pub fn call(address: SocketAddr, method: &str, path: &str, parameters: &str, body: &str) -> Value {
    let answer = exchange(&mut connect(address), &signed(method, path, parameters, body));
    assert_eq!(answer.status, 200, "{path}: {answer:?}");
    serde_json::from_str(&answer.body).unwrap()
}

/// The same as bytes.
pub fn signed(method: &str, path: &str, parameters: &str, body: &str) -> Vec<u8> {
    let path = format!("/apps/1{path}");
    let now_s = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
    let digest: String = Md5::digest(body).iter().map(|byte| format!("{byte:02x}")).collect();
    let digest = if body.is_empty() { String::new() } else { format!("&body_md5={digest}") };
    let query = format!("auth_key=app-key&auth_timestamp={now_s}&auth_version=1.0{digest}{parameters}");
    let signature = sign("app-secret", &format!("{method}\n{path}\n{query}"));
    let (target, len) = (format!("{path}?{query}&auth_signature={signature}"), body.len());
    format!(
        "{method} {target} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: {len}\r\n\r\n{body}"
    )
    .into_bytes()
}

/// Longer than what is told of other nodes may be old: two seconds, and the time of a busy machine.
pub const SOON: Duration = Duration::from_secs(4);
