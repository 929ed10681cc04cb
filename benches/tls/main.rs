//! What TLS costs: CPU time of the serving side a delivery, beside the floor and the server without TLS, and a handshake; and
//! how late messages are while a crowd shakes hands.
//!
//! `cargo bench --bench tls`, with a filter if wanted: `-- fan_out`, `-- handshakes` or `-- storms`. The tables at the end are
//! the result: rounds of the sides of a table alternate, so that a noisy machine disturbs all alike, and a ratio is
//! the median over the rounds. The clients speak TLS 1.3 with the suite and the key exchange that rustls prefers
//! (AES-256-GCM, X25519MLKEM768), verify an ECDSA certificate that is made at the start, and compare every byte. The floor,
//! in `floor`, encrypts a turn as one record and writes it, for each socket; that of handshakes is a loop that shakes hands,
//! answers and closes. In `storms` the crowd is a process that shares the machine's cores. `FANFARE_BENCH_SUBSCRIBERS=1000`
//! sets the number of subscribers of a fan-out. Memory is `idle_memory`'s.

mod contestants;
mod crowd;
mod floor;
mod handshakes;
mod storms;
#[path = "../support/mod.rs"]
mod support;
#[path = "../support/versus/mod.rs"]
mod versus;
mod watchers;

use std::time::Duration;

use contestants::Contestant;
use criterion::Criterion;
use handshakes::Visit;
use support::tls::Certificate;
use support::{Feed, Form, Payload};
use versus::Versus;
use versus::rounds::Side;
use versus::table::Table;

/// What is sent.
const FEED: Feed = Feed { payload: Payload::Tick, form: Form::WEBSOCKET };

/// Messages a turn.
const MESSAGES: [usize; 3] = [1, 16, 128];

/// The sides of a fan-out: those that are compared stand next to each other.
const FLOOR: usize = 0;
const TLS: usize = 1;
const PLAIN: usize = 2;

/// The connections of a round, one after the other.
const VISITS: usize = 100;

/// The sides of the handshakes.
const VISITS_FLOOR: usize = 0;
const FULL: usize = 1;
const WITHOUT: usize = 2;
const RESUMED: usize = 3;

const NOTE: &str = "CPU µs of the serving side a delivery of 100 bytes (medians; ratios: medians over the rounds and\n\
                    quartiles)";

const HEADS: [&str; 8] =
    ["subscribers", "messages a turn", "floor", "tls", "plain", "floor/tls", "tls/plain", "rounds"];

const HANDSHAKES: &str = "CPU µs of the server a connection that asks once and is closed (medians; what TLS adds: medians over the\n\
                          rounds and quartiles)";

const HANDSHAKES_HEADS: [&str; 8] =
    ["floor", "full", "plain", "resumed", "floor/full", "full - plain", "resumed - plain", "rounds"];

fn main() {
    support::run(bench, contestants::run);
}

fn bench() {
    let certificate = Certificate::new();
    versus::bench(Table::new(NOTE, &HEADS), |criterion, table| bench_fan_out(criterion, table, &certificate));
    versus::bench(Table::new(HANDSHAKES, &HANDSHAKES_HEADS), |criterion, table| {
        bench_handshakes(criterion, table, &certificate);
    });
    storms::bench(&certificate);
}

fn bench_fan_out(criterion: &mut Criterion, table: &mut Table, certificate: &Certificate) {
    for subscribers in support::subscribers("1000") {
        let side = |contestant: Contestant| {
            Side::new(contestant.role(certificate, subscribers), subscribers, FEED, contestant.order())
        };
        let sides = [
            ("floor", side(Contestant::Floor)),
            ("tls", side(Contestant::Tls)),
            ("plain", side(Contestant::Plain)),
        ];
        let mut versus = Versus::new(subscribers, sides);
        for messages in MESSAGES {
            let rounds = versus.measure(criterion, "fan_out", messages);
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
}

fn bench_handshakes(criterion: &mut Criterion, table: &mut Table, certificate: &Certificate) {
    let side = |contestant: Contestant, visit: Visit| {
        let role = contestant.role(certificate, 0);
        Side::with_clients(role, handshakes::ROLE, visit.to_string(), handshakes::ORDER)
    };
    let sides = [
        ("floor", side(Contestant::Visits, Visit::Full)),
        ("full", side(Contestant::Tls, Visit::Full)),
        ("plain", side(Contestant::Plain, Visit::Plain)),
        ("resumed", side(Contestant::Tls, Visit::Resumed)),
    ];
    let rounds = Versus::new(1, sides).measure(criterion, "handshakes", VISITS);
    if rounds.is_empty() {
        return;
    }
    let added = |side: usize| {
        let micros = |time: Duration| time.as_secs_f64() * 1e6 / VISITS as f64;
        rounds.quartiles(|times| micros(times[side]) - micros(times[WITHOUT]))
    };
    table.add(vec![
        rounds.micros(VISITS_FLOOR),
        rounds.micros(FULL),
        rounds.micros(WITHOUT),
        rounds.micros(RESUMED),
        rounds.ratio(VISITS_FLOOR, FULL),
        added(FULL),
        added(RESUMED),
        rounds.count(),
    ]);
}
