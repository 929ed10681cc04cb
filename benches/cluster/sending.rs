//! What a publication costs the node that takes it, and Redis, and how long its publisher waits.
//!
//! A node without Redis takes the same in turn.

use std::time::Duration;

use crate::node::{Node, Times};
use crate::publishers::{Answered, Publishers, Way};
use crate::redis::Redis;
use crate::versus::table::{Table, quartiles};

/// Bytes a publication.
const LENS: [usize; 3] = [100, 1024, 16 * 1024];

/// Publishers of one channel: one alone, and many, whose publications go to Redis in batches.
const CONNECTIONS: [usize; 2] = [1, 64];

/// A round has so many publications, and a row so many rounds.
const PUBLICATIONS: usize = 1_280;
const ROUNDS: usize = 9;

/// Bare round trips a round.
const ROUND_TRIPS: usize = 300;

const NOTE: &str = "sending: CPU µs a publication, of a node without Redis and of one with it (more: the difference; thread: of\n\
                    that which talks to Redis) and of Redis; µs until the answer, beside a bare round trip to Redis (medians)";

const HEADS: [&str; 14] = [
    "publishers",
    "bytes",
    "alone",
    "node",
    "more",
    "thread",
    "redis",
    "a call",
    "alone p50",
    "p99",
    "node p50",
    "p99",
    "trip p50",
    "p99",
];

/// One round of one node.
struct Round {
    times: Times,
    count: usize,
    answered: Answered,
}

impl Round {
    fn micros(&self, time: Duration) -> f64 {
        time.as_secs_f64() * 1e6 / self.count as f64
    }
}

/// Prints the table.
pub fn bench() {
    let mut table = Table::new(NOTE, &HEADS);
    for way in [Way::Post, Way::Command] {
        for connections in CONNECTIONS {
            for len in LENS {
                let row = measure(way, connections, len);
                eprintln!("{}", row.join("  "));
                table.add(row);
            }
        }
    }
    print!("{table}");
}

fn measure(way: Way, connections: usize, len: usize) -> Vec<String> {
    let mut redis = Redis::start();
    let nodes = [Node::start(None), Node::start(Some(&redis.url()))];
    let mut publishers = nodes.each_ref().map(|node| Publishers::start(&node.address, way, connections, len));
    // The first fills history and socket buffers.
    publishers.iter_mut().for_each(|publishers| _ = publishers.publish(PUBLICATIONS));
    let (mut alone, mut node, mut of_redis, mut trips) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    let called = || {
        (
            nodes[1].metric("fanfare_redis_batch_records_sum"),
            nodes[1].metric("fanfare_redis_batch_records_count"),
        )
    };
    let before = called();
    for turn in 0..ROUNDS {
        for side in if turn % 2 == 0 { [0, 1] } else { [1, 0] } {
            let cpu = redis.cpu_time();
            let round = round(&nodes[side], &mut publishers[side]);
            if side == 0 {
                alone.push(round);
            } else {
                of_redis.push(round.micros(redis.cpu_time() - cpu));
                node.push(round);
            }
        }
        trips.push(round_trips(&mut redis, len));
    }
    let after = called();
    let median = |values: &mut dyn Iterator<Item = f64>| quartiles(values)[1];
    let cpu = |rounds: &[Round]| median(&mut rounds.iter().map(|round| round.micros(round.times.all)));
    let thread = median(&mut node.iter().map(|round| round.micros(round.times.engine)));
    let more = median(
        &mut alone
            .iter()
            .zip(&node)
            .map(|(alone, node)| node.micros(node.times.all) - alone.micros(alone.times.all)),
    );
    let time = |of: &mut dyn Iterator<Item = Duration>| {
        format!("{:.0}", median(&mut of.map(|time| time.as_secs_f64() * 1e6)))
    };
    let mut row = vec![format!("{connections} {way}"), len.to_string()];
    row.extend(
        [cpu(&alone), cpu(&node), more, thread, median(&mut of_redis.into_iter())]
            .map(|micros| format!("{micros:.1}")),
    );
    row.push(format!("{:.1}", (after.0 - before.0) / (after.1 - before.1)));
    let answered = alone.iter().map(|round| round.answered);
    row.extend([
        time(&mut answered.clone().map(|each| each.median)),
        time(&mut answered.map(|each| each.p99)),
    ]);
    let answered = node.iter().map(|round| round.answered);
    row.extend([
        time(&mut answered.clone().map(|each| each.median)),
        time(&mut answered.map(|each| each.p99)),
    ]);
    row.extend([
        time(&mut trips.iter().map(|each| each.median)),
        time(&mut trips.iter().map(|each| each.p99)),
    ]);
    row
}

fn round(node: &Node, publishers: &mut Publishers) -> Round {
    let before = node.times();
    let (count, answered) = publishers.publish(PUBLICATIONS);
    Round { times: node.times().since(before), count, answered }
}

fn round_trips(redis: &mut Redis, len: usize) -> Answered {
    let mut times: Vec<_> = (0..ROUND_TRIPS).map(|_| redis.round_trip(len)).collect();
    times.sort_unstable();
    Answered { median: times[times.len() / 2], p99: times[(times.len() - 1) * 99 / 100] }
}
