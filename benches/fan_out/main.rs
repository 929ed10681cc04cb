//! Fan-out over real loopback sockets: CPU time of the serving side a delivery, beside the floor and a naive server.
//!
//! `cargo bench --bench fan_out`, with a filter such as `-- 1000x16` if wanted. The table at the end is the result:
//! rounds of Fanfare and of the floor alternate, so that a noisy machine disturbs both, and the ratio is the median
//! over the pairs. `FANFARE_BENCH_SUBSCRIBERS=1000,10000` sets the numbers of subscribers. How a round is served is
//! in `contestants`, the clients are in `support`.

mod contestants;
mod field;
#[path = "../support/figures.rs"]
mod figures;
#[path = "../support/rounds.rs"]
mod rounds;
#[path = "../support/mod.rs"]
mod support;
mod table;

use std::time::{Duration, Instant};

use criterion::{BenchmarkGroup, Criterion, SamplingMode, Throughput, measurement::WallTime};

use contestants::Contestant;
use field::Field;
use support::{Feed, Payload};
use table::{Pair, Table};

/// What is sent.
const FEED: Feed = Feed { payload: Payload::Tick, deflate_len_min: None };

/// Messages a turn.
const MESSAGES: [usize; 3] = [1, 16, 128];

/// Rounds of the naive server. It gets fewer: its rounds are up to a hundred times as long, and its figure is far
/// from the others.
const NAIVE_ROUNDS_MAX: usize = 5;
const NAIVE_TIME_MAX: Duration = Duration::from_secs(3);

fn main() {
    match support::role().as_deref() {
        Some([role, address, count, payload, form]) if role == support::CLIENTS => {
            support::run_clients(address, count, Feed::from_words(payload, form))
        }
        Some([role, subscribers]) => contestants::run(role, subscribers),
        Some(role) => unreachable!("the bench starts no role {role:?}"),
        None => bench(),
    }
}

fn bench() {
    let mut criterion = Criterion::default()
        .sample_size(20)
        .warm_up_time(Duration::from_millis(500))
        .measurement_time(Duration::from_secs(6))
        .without_plots()
        .configure_from_args();
    let mut table = Table::default();
    for subscribers in support::subscribers("1000,10000") {
        let mut field = Field::new(subscribers);
        for messages in MESSAGES {
            let mut group = criterion.benchmark_group(format!("fan_out/{subscribers}x{messages}"));
            group.throughput(Throughput::Elements((subscribers * messages) as u64));
            group.sampling_mode(SamplingMode::Flat);
            let pairs = measure_pairs(&mut group, &mut field, messages);
            group.finish();
            if !pairs.is_empty() {
                let naive = measure_naive(&mut field, messages);
                table.add(subscribers, messages, pairs, naive);
            }
        }
    }
    criterion.final_summary();
    if !table.is_empty() {
        println!("{table}");
    }
}

/// Every iteration of either benchmark is one round of both; Criterion is told the CPU time of the one that it asks
/// for.
fn measure_pairs(group: &mut BenchmarkGroup<'_, WallTime>, field: &mut Field, messages: usize) -> Vec<Pair> {
    let mut pairs = Vec::new();
    let mut rounds = |count: u64, time_of: fn(&Pair) -> Duration| -> Duration {
        let first = pairs.len();
        pairs.extend((0..count).map(|index| field.pair(messages, index % 2 == 0)));
        pairs[first..].iter().map(time_of).sum()
    };
    group.bench_function("floor", |bencher| bencher.iter_custom(|count| rounds(count, |pair| pair.floor)));
    group
        .bench_function("fanfare", |bencher| bencher.iter_custom(|count| rounds(count, |pair| pair.fanfare)));
    pairs
}

fn measure_naive(field: &mut Field, messages: usize) -> Vec<Duration> {
    let start = Instant::now();
    let mut rounds = Vec::new();
    while rounds.len() < NAIVE_ROUNDS_MAX && (rounds.is_empty() || start.elapsed() < NAIVE_TIME_MAX) {
        rounds.push(field.round(Contestant::Tungstenite, messages));
    }
    rounds
}
