//! What many channels cost: joining them again after Redis has cut the connection, and having them while nothing happens.
//!
//! Nothing is published.

use std::env;
use std::thread;
use std::time::{Duration, Instant};

use crate::node::Node;
use crate::readers;
use crate::redis::Redis;
use crate::versus::table::{Table, quartiles};

const REJOINED: usize = 100_000;
const IDLE: usize = 50_000;

const REJOINING_ROUNDS: usize = 5;

/// Between two looks at Redis, each of which costs it 50 µs.
const LOOK_EVERY: Duration = Duration::from_millis(10);

/// A node that is not back after so long has lost channels.
const REJOINED_WITHIN: Duration = Duration::from_secs(120);

/// After joining, before idleness is measured; and for how long that is, several times.
const QUIET: Duration = Duration::from_secs(3);
const IDLE_TIME: Duration = Duration::from_secs(10);
const IDLE_ROUNDS: usize = 5;

const REJOINING: &str = "rejoining: seconds from CLIENT KILL until Redis has every subscription and has answered every open again, and\n\
                         CPU µs a channel (medians; quartiles)";
const REJOINING_HEADS: [&str; 6] = ["channels", "seconds", "quartiles", "thread", "node", "redis"];

const IDLENESS: &str = "idle: what a node with subscribers that hear nothing takes of a core, and Redis, in percent (medians; most)";
const IDLENESS_HEADS: [&str; 5] = ["channels", "node", "most", "redis", "alone"];

fn channels(default: usize) -> usize {
    let number = env::var("FANFARE_BENCH_CHANNELS").ok();
    number.map_or(default, |number| number.parse().expect("FANFARE_BENCH_CHANNELS is a number"))
}

/// Prints how long it takes.
pub fn bench_rejoining() {
    let channels = channels(REJOINED);
    let mut redis = Redis::start();
    let node = Node::start(Some(&redis.url()));
    let _joiners = readers::start_joiners(&node.address, channels);
    let mut rounds = Vec::new();
    for _ in 0..REJOINING_ROUNDS {
        let (times, cpu) = (node.times(), redis.cpu_time());
        let seconds = rejoin(&mut redis, channels);
        let times = node.times().since(times);
        let of_redis = redis.cpu_time() - cpu;
        eprintln!("rejoined {channels} in {seconds:.2} s");
        rounds.push((seconds, times.engine, times.all, of_redis));
    }
    let [low, median, high] = quartiles(rounds.iter().map(|round| round.0));
    let micros = |times: &mut dyn Iterator<Item = Duration>| {
        let [_, median, _] = quartiles(times.map(|time| time.as_secs_f64() * 1e6 / channels as f64));
        format!("{median:.1}")
    };
    let mut table = Table::new(REJOINING, &REJOINING_HEADS);
    table.add(vec![
        channels.to_string(),
        format!("{median:.2}"),
        format!("{low:.2} - {high:.2}"),
        micros(&mut rounds.iter().map(|round| round.1)),
        micros(&mut rounds.iter().map(|round| round.2)),
        micros(&mut rounds.iter().map(|round| round.3)),
    ]);
    print!("{table}");
}

fn rejoin(redis: &mut Redis, channels: usize) -> f64 {
    let (opened, subscribed) = (redis.calls("evalsha"), redis.calls("subscribe"));
    let start = Instant::now();
    redis.ask("CLIENT KILL TYPE pubsub");
    let due = channels as u64;
    while redis.calls("evalsha") < opened + due || redis.calls("subscribe") < subscribed + due {
        assert!(start.elapsed() < REJOINED_WITHIN, "the node does not come back");
        thread::sleep(LOOK_EVERY);
    }
    assert!(redis.stat("pubsub_channels") >= due, "every channel is subscribed");
    start.elapsed().as_secs_f64()
}

/// Prints what idleness costs.
pub fn bench_idle() {
    let channels = channels(IDLE);
    let mut redis = Redis::start();
    let nodes = [Node::start(None), Node::start(Some(&redis.url()))];
    let _joiners = nodes.each_ref().map(|node| readers::start_joiners(&node.address, channels));
    thread::sleep(QUIET);
    let (mut alone, mut node, mut of_redis) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..IDLE_ROUNDS {
        let (before, cpu, start) = (nodes.each_ref().map(Node::times), redis.cpu_time(), Instant::now());
        thread::sleep(IDLE_TIME);
        let elapsed = start.elapsed();
        let percent = |time: Duration| time.as_secs_f64() / elapsed.as_secs_f64() * 100.0;
        alone.push(percent(nodes[0].times().since(before[0]).all));
        node.push(percent(nodes[1].times().since(before[1]).all));
        of_redis.push(percent(redis.cpu_time() - cpu));
    }
    let median = |values: &[f64]| format!("{:.2}", quartiles(values.iter().copied())[1]);
    let most = node.iter().copied().fold(0.0, f64::max);
    let mut table = Table::new(IDLENESS, &IDLENESS_HEADS);
    table.add(vec![
        channels.to_string(),
        median(&node),
        format!("{most:.2}"),
        median(&of_redis),
        median(&alone),
    ]);
    print!("{table}");
}
