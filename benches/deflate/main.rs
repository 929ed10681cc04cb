//! Compressed fan-out beside plain fan-out of the same payloads: CPU time of the serving side a delivery.
//!
//! `cargo bench --bench deflate`, with a filter such as `-- quote` if wanted. The table at the end is the result:
//! two servers of this crate, one loop each, the one's clients offer permessage-deflate, the other's do not; their
//! rounds alternate, and the ratio is the median over the pairs. A tick is under the default of `deflate_min`, so
//! its first rows compare two equal servers: what they differ by is what the machine does. Every client checks every
//! byte. `FANFARE_BENCH_SUBSCRIBERS=1000` sets the number of subscribers.

#[path = "../support/mod.rs"]
mod support;
#[path = "../support/versus/mod.rs"]
mod versus;

use fanfare::config::Config;

use support::clients::PUBLISH;
use support::{Feed, Form, Payload};
use versus::Versus;
use versus::rounds::{self, Side};
use versus::table::Table;

/// Messages a turn.
const MESSAGES: [usize; 2] = [1, 16];

/// A `deflate_min` that a tick is above.
const TICK_DEFLATE_MIN: u64 = 64;

/// The role of a serving process: `fanfare DEFLATE_MIN`.
const FANFARE: &str = "fanfare";

/// The sides.
const PLAIN: usize = 0;
const DEFLATED: usize = 1;

const NOTE: &str =
    "CPU µs of the serving side a delivery (medians; ratio: median of the pairs and quartiles)";

const HEADS: [&str; 9] = [
    "subscribers",
    "messages a turn",
    "payload",
    "deflated from",
    "bytes a frame",
    "plain",
    "deflated",
    "deflated/plain",
    "pairs",
];

fn main() {
    support::run(bench, |role| match role {
        [FANFARE, deflate_min] => {
            let deflate_min = deflate_min.parse().expect("the smallest payload is a number of bytes");
            rounds::serve_fanfare(Config { deflate_min, ..Config::default() });
        }
        unknown => unreachable!("the bench starts no role {unknown:?}"),
    });
}

fn bench() {
    let deflate_min = Config::default().deflate_min;
    let feeds =
        [(Payload::Quote, deflate_min), (Payload::Tick, deflate_min), (Payload::Tick, TICK_DEFLATE_MIN)];
    versus::bench(Table::new(NOTE, &HEADS), |criterion, table| {
        for subscribers in support::subscribers("1000") {
            for (payload, len_min) in feeds {
                let feeds = [None, Some(len_min)]
                    .map(|deflate_len_min| Feed { payload, form: Form::WebSocket { deflate_len_min } });
                let side = |feed| Side::new(format!("{FANFARE} {len_min}"), subscribers, feed, PUBLISH);
                let sides = [("plain", side(feeds[PLAIN])), ("deflated", side(feeds[DEFLATED]))];
                let mut versus = Versus::new(subscribers, sides);
                for messages in MESSAGES {
                    let title = format!("deflate/{payload} from {len_min}");
                    let rounds = versus.measure(criterion, &title, messages);
                    if rounds.is_empty() {
                        continue;
                    }
                    let [plain_len, deflated_len] = feeds.map(|feed| feed.frames(messages).len() / messages);
                    table.add(vec![
                        subscribers.to_string(),
                        messages.to_string(),
                        payload.to_string(),
                        len_min.to_string(),
                        format!("{plain_len} to {deflated_len}"),
                        rounds.micros(PLAIN),
                        rounds.micros(DEFLATED),
                        rounds.ratio(DEFLATED, PLAIN),
                        rounds.count(),
                    ]);
                }
            }
        }
    });
}
