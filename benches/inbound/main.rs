//! Messages inward over real loopback sockets: CPU time of the serving side a message, beside the floor and a naive
//! server.
//!
//! `cargo bench --bench inbound`, with a filter such as `-- echo/200x` if wanted. Every socket sends a message and waits
//! until it has it back: from the echo, or from a channel of its own that it publishes to; or it sends a POST and waits for
//! the answer, and the floor gives one that is always the same. Rounds of all sides alternate,
//! so that a noisy machine disturbs all alike, and a ratio is the median over the rounds. `FANFARE_BENCH_OTHER=PATH`
//! adds another build of the server. How the floor and the naive server serve is in `contestants`, what the clients do
//! in `senders`, how a round is measured in `side`. CPU time is read from /proc: Linux only.

#![allow(clippy::print_stdout, clippy::print_stderr)] // the figures
#![allow(clippy::disallowed_methods)] // only time shows that a server has gone to sleep

mod contestants;
mod senders;
mod side;
#[allow(dead_code, unused_imports)] // the clients that subscribe have other benches
#[path = "../support/mod.rs"]
mod support;
#[path = "../support/versus/table.rs"]
mod table;

use std::env;
use std::time::{Duration, Instant};

use senders::Workload;
use side::{Side, Sides};
use table::{Table, median_micros, quartiles};

/// Bytes a message: a chat line, a JSON object, and two that span many segments; the last does not fit a read of
/// 64 KiB, with its header.
const LENS: [usize; 4] = [20, 1000, 16 * 1024, 64 * 1024];

const SOCKETS: [usize; 3] = [1, 200, 2000];

/// A round has at least this many messages, so that it is long against what a reading of /proc may be off.
const MESSAGES_MIN: usize = 400;

/// Rounds of a row go on for this long, and there are at least this many.
const ROW_TIME: Duration = Duration::from_millis(1500);
const ROUNDS_MIN: usize = 7;

const NOTE: &str = "CPU µs of the serving side a message, one under way a socket (medians; ratios to the floor: medians\n\
                    over the rounds and quartiles)";

fn main() {
    support::run(bench, |role| match role {
        [senders::ROLE, address, workload, sockets, len] => senders::run(address, workload, sockets, len),
        [contestant, workload, sockets, len] => contestants::run(contestant, workload, sockets, len),
        unknown => unreachable!("the bench starts no role {unknown:?}"),
    });
}

fn bench() {
    if !cfg!(target_os = "linux") {
        return println!("inbound reads /proc, which this system does not have: nothing measured");
    }
    let filter = env::args().skip(1).find(|argument| !argument.starts_with("--")).unwrap_or_default();
    let sides = sides();
    let mut table = Table::new(NOTE, &heads(&sides).iter().map(String::as_str).collect::<Vec<_>>());
    for workload in [Workload::Echo, Workload::Publish, Workload::Post] {
        for sockets in SOCKETS {
            for len in LENS {
                if format!("{workload}/{sockets}x{len}").contains(&filter) {
                    table.add(measure(&sides, workload, sockets, len));
                }
            }
        }
    }
    print!("{table}");
}

/// The floor is the first.
fn sides() -> Vec<Side> {
    let fanfare = Side::Server { name: "fanfare", path: env!("CARGO_BIN_EXE_fanfare").into() };
    let mut sides = vec![Side::Contestant(contestants::FLOOR), fanfare];
    if let Ok(path) = env::var("FANFARE_BENCH_OTHER") {
        sides.push(Side::Server { name: "other", path });
    }
    sides.push(Side::Contestant(contestants::TUNGSTENITE));
    sides
}

fn heads(sides: &[Side]) -> Vec<String> {
    let first = ["workload", "sockets", "bytes"].map(String::from);
    let ratios = sides[1..].iter().map(|side| format!("{}/floor", side.name()));
    let names = sides.iter().map(|side| side.name().to_owned());
    first.into_iter().chain(names).chain(ratios).chain(["rounds".to_owned()]).collect()
}

/// One row of the table. Who does not serve the workload is the last of the sides.
fn measure(sides: &[Side], workload: Workload, sockets: usize, len: usize) -> Vec<String> {
    let serving: Vec<_> = sides.iter().filter(|side| side.serves(workload)).collect();
    let with_clients: Vec<_> = serving.iter().map(|side| (*side, workload)).collect();
    let mut running = Sides::start(&with_clients, sockets, len);
    let turns = MESSAGES_MIN.div_ceil(sockets);
    // The first round finds cold caches and small socket buffers.
    running.round(turns, true);
    let mut rounds: Vec<Vec<Duration>> = Vec::new();
    let start = Instant::now();
    while rounds.len() < ROUNDS_MIN || start.elapsed() < ROW_TIME {
        let times = running.round(turns, rounds.len().is_multiple_of(2));
        rounds.push(times);
    }
    let micros = |side: usize| {
        if side >= serving.len() {
            return "-".to_owned();
        }
        median_micros(rounds.iter().map(|times| times[side]), sockets * turns)
    };
    let ratio = |side: usize| {
        if side >= serving.len() {
            return "-".to_owned();
        }
        let ratio_of = |times: &Vec<Duration>| times[side].as_secs_f64() / times[0].as_secs_f64();
        let [low, median, high] = quartiles(rounds.iter().map(ratio_of));
        format!("{median:.2} ({low:.2} - {high:.2})")
    };
    let mut row = vec![workload.to_string(), sockets.to_string(), len.to_string()];
    row.extend((0..sides.len()).map(micros));
    row.extend((1..sides.len()).map(ratio));
    row.push(rounds.len().to_string());
    eprintln!("{}", row.join("  "));
    row
}
