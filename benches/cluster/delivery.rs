//! What delivery to many subscribers costs a node, beside a server without Redis.
//!
//! How a round is measured is in `versus`.

use criterion::Criterion;
use fanfare::config::{Config, Redis as RedisConfig};

use crate::redis::Redis;
use crate::support::clients::PUBLISH;
use crate::support::{self, Feed, Form, Payload};
use crate::versus::rounds::{Side, serve_fanfare};
use crate::versus::table::Table;
use crate::versus::{self, Versus};

/// The role of a server without Redis: `alone`.
pub const ALONE: &str = "alone";

/// The role of a node: `node URL`.
pub const NODE: &str = "node";

/// What is sent: by the first subscriber, in one write.
const FEED: Feed = Feed { payload: Payload::Tick, form: Form::WEBSOCKET };

/// Messages a turn.
const MESSAGES: [usize; 3] = [1, 16, 128];

const NOTE: &str = "delivery: CPU µs of the serving process a delivery of 100 bytes (medians; ratio: median over the rounds and quartiles)";

const HEADS: [&str; 6] = ["subscribers", "messages a turn", "alone", "node", "node/alone", "rounds"];

/// Prints the table.
pub fn bench() {
    let redis = Redis::start();
    versus::bench(Table::new(NOTE, &HEADS), |criterion, table| measure(&redis, criterion, table));
}

fn measure(redis: &Redis, criterion: &mut Criterion, table: &mut Table) {
    for subscribers in support::subscribers("1000") {
        let side = |role: String| Side::new(role, subscribers, FEED, PUBLISH);
        let sides = [("alone", side(ALONE.into())), ("node", side(format!("{NODE} {}", redis.url())))];
        let mut versus = Versus::new(subscribers, sides);
        for messages in MESSAGES {
            let rounds = versus.measure(criterion, "delivery", messages);
            if rounds.is_empty() {
                continue;
            }
            table.add(vec![
                subscribers.to_string(),
                messages.to_string(),
                rounds.micros(0),
                rounds.micros(1),
                rounds.ratio(1, 0),
                rounds.count(),
            ]);
        }
    }
}

/// Serves until the process is ended.
pub fn serve(redis: Option<&str>) {
    let redis = redis.map(|url| RedisConfig::new(url.parse().expect("the bench gives a URL")));
    serve_fanfare(Config { redis, ..Config::default() });
}
