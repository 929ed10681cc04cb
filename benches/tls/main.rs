//! Fan-out over TLS: CPU time of the serving side a delivery, beside the floor and the server without TLS.
//!
//! `cargo bench --bench tls`, with a filter such as `-- 1000x16` if wanted. The table at the end is the result: rounds of
//! the three sides alternate, so that a noisy machine disturbs all alike, and a ratio is the median over the rounds. The
//! clients speak TLS 1.3 with the suite that rustls prefers, verify a certificate that is made at the start, and compare
//! every byte. The floor, in `floor`, encrypts a turn as one record and writes it, for each socket.
//! `FANFARE_BENCH_SUBSCRIBERS=1000` sets the number of subscribers. Memory is `idle_memory`'s.

mod contestants;
mod floor;
#[path = "../support/mod.rs"]
mod support;
#[path = "../support/versus/mod.rs"]
mod versus;

use contestants::Contestant;
use support::tls::Certificate;
use support::{Feed, Form, Payload};
use versus::Versus;
use versus::rounds::Side;
use versus::table::Table;

/// What is sent.
const FEED: Feed = Feed { payload: Payload::Tick, form: Form::WEBSOCKET };

/// Messages a turn.
const MESSAGES: [usize; 3] = [1, 16, 128];

/// The sides: those that are compared stand next to each other.
const FLOOR: usize = 0;
const TLS: usize = 1;
const PLAIN: usize = 2;

const NOTE: &str = "CPU µs of the serving side a delivery of 100 bytes (medians; ratios: medians over the rounds and\n\
                    quartiles)";

const HEADS: [&str; 8] =
    ["subscribers", "messages a turn", "floor", "tls", "plain", "floor/tls", "tls/plain", "rounds"];

fn main() {
    support::run(bench, contestants::run);
}

fn bench() {
    let certificate = Certificate::new();
    versus::bench(Table::new(NOTE, &HEADS), |criterion, table| {
        for subscribers in support::subscribers("1000") {
            let side = |contestant: Contestant| {
                Side::new(contestant.role(&certificate, subscribers), subscribers, FEED, contestant.order())
            };
            let sides = [
                ("floor", side(Contestant::Floor)),
                ("tls", side(Contestant::Tls)),
                ("plain", side(Contestant::Plain)),
            ];
            let mut versus = Versus::new(subscribers, sides);
            for messages in MESSAGES {
                let rounds = versus.measure(criterion, "tls", messages);
                if rounds.is_empty() {
                    continue;
                }
                table.add(vec![
                    subscribers.to_string(),
                    messages.to_string(),
                    rounds.micros(FLOOR),
                    rounds.micros(TLS),
                    rounds.micros(PLAIN),
                    rounds.ratio(FLOOR, TLS),
                    rounds.ratio(TLS, PLAIN),
                    rounds.count(),
                ]);
            }
        }
    });
}
