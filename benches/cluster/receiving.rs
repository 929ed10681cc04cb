//! What a publication of one node costs another that has subscribers of its channel.
//!
//! A node without subscribers publishes; its figures are `sending`'s.

use std::time::Duration;

use crate::node::{Node, Times};
use crate::publishers::{Publishers, Way};
use crate::readers;
use crate::redis::Redis;
use crate::versus::table::{Table, quartiles};

const LENS: [usize; 2] = [100, 1024];
const SUBSCRIBERS: [usize; 2] = [1, 1_000];

/// Publishers: one alone, and many, whose publications come in batches.
const CONNECTIONS: [usize; 2] = [1, 64];

/// Deliveries of a round, at most; and publications, at most and at least.
const DELIVERIES: usize = 256_000;
const PUBLICATIONS_MAX: usize = 6_400;
const PUBLICATIONS_MIN: usize = 256;
const ROUNDS: usize = 9;

const NOTE: &str = "receiving: CPU µs a publication of the node that has the subscribers: of the thread that talks to Redis, and of\n\
                    all for each delivery (medians; the channel keeps 100)";

const HEADS: [&str; 6] = ["publishers", "bytes", "subscribers", "thread", "quartiles", "a delivery"];

/// Prints the table.
pub fn bench() {
    let mut table = Table::new(NOTE, &HEADS);
    for connections in CONNECTIONS {
        for len in LENS {
            for subscribers in SUBSCRIBERS {
                let row = measure(connections, len, subscribers);
                eprintln!("{}", row.join("  "));
                table.add(row);
            }
        }
    }
    print!("{table}");
}

fn measure(connections: usize, len: usize, subscribers: usize) -> Vec<String> {
    let redis = Redis::start();
    let [sender, receiver] = [(); 2].map(|()| Node::start(Some(&redis.url())));
    let mut readers = readers::start(&receiver.address, subscribers, len);
    let mut publishers = Publishers::start(&sender.address, Way::Post, connections, len);
    let count = (DELIVERIES / subscribers).clamp(PUBLICATIONS_MIN, PUBLICATIONS_MAX);
    let mut round = || -> Times {
        let before = receiver.times();
        publishers.begin(count);
        readers.tell(&format!("hear {count}"));
        assert_eq!(readers.hear(), "done");
        let (published, _) = publishers.end(count);
        assert_eq!(published, count, "publishers share it evenly");
        receiver.times().since(before)
    };
    round();
    let rounds: Vec<Times> = (0..ROUNDS).map(|_| round()).collect();
    let micros = |time: Duration, of: usize| time.as_secs_f64() * 1e6 / of as f64;
    let [low, thread, high] = quartiles(rounds.iter().map(|times| micros(times.engine, count)));
    let [_, all, _] = quartiles(rounds.iter().map(|times| micros(times.all, count * subscribers)));
    vec![
        connections.to_string(),
        len.to_string(),
        subscribers.to_string(),
        format!("{thread:.2}"),
        format!("{low:.2} - {high:.2}"),
        format!("{all:.2}"),
    ]
}
