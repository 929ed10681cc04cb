//! Fan-out over real loopback sockets: CPU time of the serving side a delivery, beside the floor and a naive server.
//!
//! `cargo bench --bench fan_out`, with a filter such as `-- 1000x16` if wanted. The table at the end is the result:
//! rounds of Fanfare and of the floor alternate, so that a noisy machine disturbs both, and the ratio is the median
//! over the pairs. `FANFARE_BENCH_SUBSCRIBERS=1000,10000` sets the numbers of subscribers. How a round is served is
//! in `contestants`, the clients are in `support`.

mod contestants;
#[path = "../support/mod.rs"]
mod support;
#[path = "../support/versus/mod.rs"]
mod versus;

use std::time::{Duration, Instant};

use contestants::Contestant;
use support::{Feed, Form, Payload};
use versus::Versus;
use versus::rounds::Side;
use versus::table::{Table, median_micros};

/// What is sent.
const FEED: Feed = Feed { payload: Payload::Tick, form: Form::WEBSOCKET };

/// Messages a turn.
const MESSAGES: [usize; 3] = [1, 16, 128];

/// Rounds of the naive server. It gets fewer: its rounds are up to a hundred times as long, and its figure is far
/// from the others.
const NAIVE_ROUNDS_MAX: usize = 5;
const NAIVE_TIME_MAX: Duration = Duration::from_secs(3);

/// The sides.
const FLOOR: usize = 0;
const FANFARE: usize = 1;

const NOTE: &str = "CPU µs of the serving side a delivery of 100 bytes (medians; ratio: median of the pairs and\n\
                    quartiles, 1.00 = no more than the bare writes)";

const HEADS: [&str; 7] =
    ["subscribers", "messages a turn", "floor", "fanfare", "tungstenite", "floor/fanfare", "pairs"];

fn main() {
    support::run(bench, |role| match role {
        [role, subscribers] => contestants::run(role, subscribers),
        unknown => unreachable!("the bench starts no role {unknown:?}"),
    });
}

fn bench() {
    versus::bench(Table::new(NOTE, &HEADS), |criterion, table| {
        for subscribers in support::subscribers("1000,10000") {
            let side = |contestant: Contestant| {
                let role = format!("{} {subscribers}", contestant.role());
                Side::new(role, subscribers, FEED, contestant.order())
            };
            let sides = [("floor", side(Contestant::Floor)), ("fanfare", side(Contestant::Fanfare))];
            let mut versus = Versus::new(subscribers, sides);
            let mut naive = side(Contestant::Tungstenite);
            for messages in MESSAGES {
                let rounds = versus.measure(criterion, "fan_out", messages);
                if rounds.is_empty() {
                    continue;
                }
                let naive = measure_naive(&mut naive, messages).into_iter();
                table.add(vec![
                    subscribers.to_string(),
                    messages.to_string(),
                    rounds.micros(FLOOR),
                    rounds.micros(FANFARE),
                    median_micros(naive, subscribers * messages),
                    rounds.ratio(FLOOR, FANFARE),
                    rounds.count(),
                ]);
            }
        }
    });
}

fn measure_naive(naive: &mut Side, messages: usize) -> Vec<Duration> {
    let start = Instant::now();
    let mut rounds = Vec::new();
    while rounds.len() < NAIVE_ROUNDS_MAX && (rounds.is_empty() || start.elapsed() < NAIVE_TIME_MAX) {
        rounds.push(naive.round(messages));
    }
    rounds
}
