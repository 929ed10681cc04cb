//! Compressed fan-out beside plain fan-out of the same payloads: CPU time of the serving side a delivery.
//!
//! `cargo bench --bench deflate`, with a filter such as `-- quote` if wanted. The table at the end is the result:
//! two servers of this crate, one loop each, the one's clients offer permessage-deflate, the other's do not; their
//! rounds alternate, and the ratio is the median over the pairs. A tick is under the default of `deflate_min`, so
//! its first rows compare two equal servers: what they differ by is what the machine does. Every client checks every
//! byte. `FANFARE_BENCH_SUBSCRIBERS=1000` sets the number of subscribers.

#[path = "../support/figures.rs"]
mod figures;
#[path = "../support/rounds.rs"]
mod rounds;
#[path = "../support/mod.rs"]
mod support;
mod table;

use std::time::Duration;

use criterion::{BenchmarkGroup, Criterion, SamplingMode, Throughput, measurement::WallTime};
use fanfare::config::Config;

use rounds::Side;
use support::{Feed, Payload};
use table::{Pair, Table};

/// Messages a turn.
const MESSAGES: [usize; 2] = [1, 16];

/// A `deflate_min` that a tick is above.
const TICK_DEFLATE_MIN: u64 = 64;

/// The role of a serving process: `fanfare DEFLATE_MIN`.
const FANFARE: &str = "fanfare";

fn main() {
    match support::role().as_deref() {
        Some([role, address, count, payload, form]) if role == support::CLIENTS => {
            support::run_clients(address, count, Feed::from_words(payload, form))
        }
        Some([role, deflate_min]) if role == FANFARE => {
            let deflate_min = deflate_min.parse().expect("the smallest payload is a number of bytes");
            support::raise_descriptor_limit();
            rounds::serve_fanfare(Config { deflate_min, ..Config::default() });
        }
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
    let deflate_min = Config::default().deflate_min;
    let feeds = [
        Feed { payload: Payload::Quote, deflate_len_min: Some(deflate_min) },
        Feed { payload: Payload::Tick, deflate_len_min: Some(deflate_min) },
        Feed { payload: Payload::Tick, deflate_len_min: Some(TICK_DEFLATE_MIN) },
    ];
    let mut table = Table::default();
    for subscribers in support::subscribers("1000") {
        for feed in feeds {
            let mut versus = Versus::new(subscribers, feed);
            for messages in MESSAGES {
                let pairs = measure(&mut criterion, &mut versus, messages);
                if !pairs.is_empty() {
                    table.add(subscribers, messages, feed, pairs);
                }
            }
        }
    }
    criterion.final_summary();
    if !table.is_empty() {
        println!("{table}");
    }
}

fn measure(criterion: &mut Criterion, versus: &mut Versus, messages: usize) -> Vec<Pair> {
    let Versus { subscribers, feed, .. } = *versus;
    let (payload, len_min) = (feed.payload, feed.deflate_len_min.unwrap_or_default());
    let mut group =
        criterion.benchmark_group(format!("deflate/{payload} from {len_min}/{subscribers}x{messages}"));
    group.throughput(Throughput::Elements((subscribers * messages) as u64));
    group.sampling_mode(SamplingMode::Flat);
    let pairs = measure_pairs(&mut group, versus, messages);
    group.finish();
    pairs
}

/// Every iteration of either benchmark is one round of both; Criterion is told the CPU time of the one that it asks
/// for.
fn measure_pairs(
    group: &mut BenchmarkGroup<'_, WallTime>,
    versus: &mut Versus,
    messages: usize,
) -> Vec<Pair> {
    let mut pairs = Vec::new();
    let mut rounds = |count: u64, time_of: fn(&Pair) -> Duration| -> Duration {
        let first = pairs.len();
        pairs.extend((0..count).map(|index| versus.pair(messages, index % 2 == 0)));
        pairs[first..].iter().map(time_of).sum()
    };
    group.bench_function("plain", |bencher| bencher.iter_custom(|count| rounds(count, |pair| pair.plain)));
    group.bench_function("deflated", |bencher| {
        bencher.iter_custom(|count| rounds(count, |pair| pair.deflated))
    });
    pairs
}

/// Two servers of the same configuration that differ in what their clients offer; started when first needed.
struct Versus {
    subscribers: usize,
    feed: Feed,
    sides: Option<[Side; 2]>,
}

impl Versus {
    fn new(subscribers: usize, feed: Feed) -> Self {
        Self { subscribers, feed, sides: None }
    }

    fn pair(&mut self, messages: usize, plain_first: bool) -> Pair {
        let (subscribers, feed) = (self.subscribers, self.feed);
        let [plain, deflated] = self.sides.get_or_insert_with(|| {
            let role = format!("{FANFARE} {}", feed.deflate_len_min.unwrap_or_default());
            [Feed { deflate_len_min: None, ..feed }, feed]
                .map(|feed| Side::start(&role, subscribers, feed, false))
        });
        if plain_first {
            let plain = plain.round(messages);
            Pair { plain, deflated: deflated.round(messages) }
        } else {
            let deflated = deflated.round(messages);
            Pair { plain: plain.round(messages), deflated }
        }
    }
}
