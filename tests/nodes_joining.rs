//! How long a node with many channels takes to join them all anew, and what it costs while nothing happens: measurements, run by
//! `cargo test --release --test nodes_joining -- --ignored --nocapture`.
//!
//! Nothing else is asserted here.

#![allow(clippy::unwrap_used)] // a helper that fails fails its test

mod support;

use std::net::SocketAddr;
use std::thread;
use std::time::{Duration, Instant};

use support::redis::Redis;
use support::*;
use tungstenite::Message;

/// Channels of one connection.
const SHARE: usize = 1_000;

/// Channels that one command names.
const NAMED: usize = 100;

/// Subscribes to this many channels over as few connections as needed: each asks for some, then for some more.
fn subscribe(address: SocketAddr, count: usize) -> Vec<Client> {
    let mut clients: Vec<_> = (0..count / SHARE).map(|_| multiplex::multiplex(address)).collect();
    for round in 0..SHARE / NAMED {
        for (at, client) in clients.iter_mut().enumerate() {
            let first = at * SHARE + round * NAMED;
            let names: Vec<_> =
                (first..first + NAMED).map(|at| format!(r#"{{"channel":"c{at}"}}"#)).collect();
            let command = format!(r#"{{"event":"fanfare:subscribe","data":[{}]}}"#, names.join(","));
            client.send(Message::text(command)).unwrap();
        }
        for client in &mut clients {
            for _ in 0..NAMED {
                let answer = text(client);
                assert!(answer.contains("fanfare:subscribed"), "{answer}");
            }
        }
    }
    clients
}

fn start_node(redis: &Redis) -> Process {
    let url = format!("redis://127.0.0.1:{}", redis.port);
    let most = (2 * SHARE).to_string();
    spawn(&mut fanfare(&[
        "--redis",
        &url,
        "--client-subscriptions",
        &most,
        "--idle-timeout",
        "1h",
        "--threads",
        "1",
    ]))
}

/// The processor time of a process by its id, in ticks of 10 ms.
fn ticks(id: u32) -> u64 {
    let stat = std::fs::read_to_string(format!("/proc/{id}/stat")).unwrap();
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap().split_whitespace().collect();
    fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap()
}

#[test]
#[ignore = "a measurement, of half a minute"]
fn a_hundred_thousand_channels_are_joined_anew_within_ten_seconds() {
    const CHANNELS: usize = 100_000;
    let Some(redis) = Redis::start(&[]) else { return };
    let node = start_node(&redis);
    let begun = Instant::now();
    let clients = subscribe(node.address, CHANNELS);
    println!("{CHANNELS} channels joined by {} clients in {:?}", clients.len(), begun.elapsed());
    let before = redis.calls("evalsha");
    let (node_ticks, redis_ticks) = (node.cpu_ticks(), ticks(redis.child.id()));
    let begun = Instant::now();
    let _: u64 = redis.ask("CLIENT KILL TYPE pubsub");
    let joined = || (redis.calls("evalsha") >= before + CHANNELS as u64).then_some(());
    until("all channels are joined anew", || {
        thread::sleep(Duration::from_millis(20));
        joined()
    });
    let time = begun.elapsed();
    println!(
        "joined anew in {time:?}: processor time of the node {} ms, of Redis {} ms",
        10 * (node.cpu_ticks() - node_ticks),
        10 * (ticks(redis.child.id()) - redis_ticks)
    );
    assert!(time < Duration::from_secs(10), "{time:?}");
}

#[test]
#[ignore = "a measurement, of half a minute"]
fn a_node_with_fifty_thousand_channels_in_which_nothing_happens_needs_less_than_a_hundredth_of_a_core() {
    const TIME: Duration = Duration::from_secs(20);
    let Some(redis) = Redis::start(&[]) else { return };
    let node = start_node(&redis);
    let _clients = subscribe(node.address, 50_000);
    // What joining leaves to be done: the numbers of subscribers are told.
    thread::sleep(Duration::from_secs(15));
    let (before, calls) = (node.cpu_ticks(), redis.calls("evalsha"));
    thread::sleep(TIME);
    let used = Duration::from_millis(10 * (node.cpu_ticks() - before));
    println!("{used:?} in {TIME:?}, {} calls of the script", redis.calls("evalsha") - calls);
    assert!(used < TIME / 100, "{used:?} in {TIME:?}");
}
