//! What the number of a connection's subscriptions costs, at `/channels`: CPU time of the serving side.
//!
//! `cargo bench --bench many`, with a filter such as `-- flush` if wanted. The tables at the end are the result. Rounds of
//! the sides of a table alternate in one run, and a ratio is the median over them. `flush`: the same messages to clients
//! with 1, 10 and 100 channels; 100 messages are one to each of 100 channels, or 10 to each of 10, or 100 to the only one.
//! `subscribe`: 100 channels by one command, and by a command each. Every client checks every message.
//! `FANFARE_BENCH_SUBSCRIBERS=1000` sets the number of clients. Memory is `idle_memory`'s.

mod clients;
#[path = "../support/mod.rs"]
mod support;
#[path = "../support/versus/mod.rs"]
mod versus;

use criterion::Criterion;
use fanfare::config::Config;

use clients::{CHANNELS_MAX, Joining};
use support::Payload;
use versus::Versus;
use versus::rounds::{self, Side};
use versus::table::Table;

/// Messages a turn.
const MESSAGES: [usize; 2] = [1, CHANNELS_MAX];

/// The role of a serving process.
const FANFARE: &str = "fanfare";

const FLUSH: &str = "flush: CPU µs of the serving side a delivery to a client with so many channels (medians; ratios: medians\n\
                     over the rounds and quartiles)";

const FLUSH_HEADS: [&str; 9] =
    ["clients", "payload", "messages a turn", "1 channel", "10", "100", "10/1", "100/1", "rounds"];

const SUBSCRIBE: &str = "subscribe: CPU µs of the serving side a channel that a client joins and leaves (medians; ratio:\n\
                         median over the rounds and quartiles)";

const SUBSCRIBE_HEADS: [&str; 6] =
    ["clients", "channels", "a command each", "one command", "one/each", "rounds"];

fn main() {
    support::run(bench, |role| match role {
        [FANFARE] => rounds::serve_fanfare(Config::default()),
        [clients::ROLE, address, count, channels, payload] => clients::run(address, count, channels, payload),
        unknown => unreachable!("the bench starts no role {unknown:?}"),
    });
}

fn bench() {
    versus::bench(Table::new(FLUSH, &FLUSH_HEADS), bench_flush);
    versus::bench(Table::new(SUBSCRIBE, &SUBSCRIBE_HEADS), bench_subscribe);
}

fn bench_flush(criterion: &mut Criterion, table: &mut Table) {
    let runs = support::subscribers("1000").into_iter();
    for (count, payload) in runs.flat_map(|count| [(count, Payload::Tick), (count, Payload::Quote)]) {
        let names = [(1, "1 channel"), (10, "10 channels"), (100, "100 channels")];
        let sides = names.map(|(channels, name)| (name, side(count, channels, payload, clients::SPREAD)));
        let mut versus = Versus::new(count, sides);
        for messages in MESSAGES {
            let rounds = versus.measure(criterion, &format!("flush/{payload}"), messages);
            if rounds.is_empty() {
                continue;
            }
            table.add(vec![
                count.to_string(),
                payload.to_string(),
                messages.to_string(),
                rounds.micros(0),
                rounds.micros(1),
                rounds.micros(2),
                rounds.ratio(1, 0),
                rounds.ratio(2, 0),
                rounds.count(),
            ]);
        }
    }
}

fn bench_subscribe(criterion: &mut Criterion, table: &mut Table) {
    for count in support::subscribers("1000") {
        let sides = [("a command each", Joining::OneByOne), ("one command", Joining::AtOnce)];
        let sides = sides.map(|(name, joining)| (name, side(count, 0, Payload::Tick, joining.order())));
        let rounds = Versus::new(count, sides).measure(criterion, "subscribe", CHANNELS_MAX);
        if rounds.is_empty() {
            continue;
        }
        table.add(vec![
            count.to_string(),
            CHANNELS_MAX.to_string(),
            rounds.micros(0),
            rounds.micros(1),
            rounds.ratio(1, 0),
            rounds.count(),
        ]);
    }
}

fn side(count: usize, channels: usize, payload: Payload, order: &'static str) -> Side {
    Side::with_clients(FANFARE.into(), clients::ROLE, format!("{count} {channels} {payload}"), order)
}
