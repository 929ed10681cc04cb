//! Messages inward over real loopback sockets: CPU time of the serving side a message, beside the floor and a naive
//! server.
//!
//! `cargo bench --bench inbound`, with a filter such as `-- echo/200x` if wanted. Every socket sends a message and waits
//! until it has it back: from the echo, or from a channel of its own that it publishes to; or it sends a POST and waits for
//! the answer, and the floor gives one that is always the same. Rounds of all sides alternate,
//! so that a noisy machine disturbs all alike, and a ratio is the median over the rounds. `FANFARE_BENCH_OTHER=PATH`
//! adds another build of the server. How the floor and the naive server serve is in `contestants`, what the clients do
//! in `senders`, how a round is measured in `side`, and what becomes of many in `row`. CPU time is read from /proc: Linux only.

#![allow(clippy::print_stdout, clippy::print_stderr)] // the figures
#![allow(clippy::disallowed_methods)] // only time shows that a server has gone to sleep

mod contestants;
mod row;
mod senders;
mod side;
#[allow(dead_code, unused_imports)] // the clients that subscribe have other benches
#[path = "../support/mod.rs"]
mod support;
#[path = "../support/versus/table.rs"]
mod table;

use std::env;

use senders::Workload;
use side::Side;
use table::Table;

/// Bytes a message: a chat line, a JSON object, and two that span many segments; the last does not fit a read of
/// 64 KiB, with its header.
const LENS: [usize; 4] = [20, 1000, 16 * 1024, 64 * 1024];

const SOCKETS: [usize; 3] = [1, 200, 2000];

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
    let serving: Vec<_> =
        sides.iter().filter(|side| side.serves(workload)).map(|side| (side, workload)).collect();
    row::measure(&workload.to_string(), &serving, sides.len(), sockets, len)
}
