//! A row of a table: rounds of sides that alternate, and their medians and ratios.
//!
//! Who is measured, and by which messages, is the caller's.

use std::time::{Duration, Instant};

use crate::senders::Workload;
use crate::side::{Side, Sides};
use crate::table::{median_micros, quartiles};

/// A round has at least this many messages, so that it is long against what a reading of /proc may be off.
const MESSAGES_MIN: usize = 400;

/// Rounds of a row go on for this long, and there are at least this many.
const ROW_TIME: Duration = Duration::from_millis(1500);
const ROUNDS_MIN: usize = 7;

/// One row: its name, a column for each side, one for the ratio of each but the first to that, and the number of rounds.
/// There may be columns for more sides than there are: they have nothing in them.
pub fn measure(
    name: &str,
    sides: &[(&Side, Workload)],
    columns: usize,
    sockets: usize,
    len: usize,
) -> Vec<String> {
    let mut running = Sides::start(sides, sockets, len);
    let turns = MESSAGES_MIN.div_ceil(sockets);
    // The first round finds cold caches and small socket buffers.
    running.round(turns, true);
    let mut rounds: Vec<Vec<Duration>> = Vec::new();
    let start = Instant::now();
    while rounds.len() < ROUNDS_MIN || start.elapsed() < ROW_TIME {
        let times = running.round(turns, rounds.len().is_multiple_of(2));
        rounds.push(times);
    }
    let or_nothing = |side: usize, text: &dyn Fn() -> String| match side < sides.len() {
        true => text(),
        false => "-".to_owned(),
    };
    let micros = |side: usize| {
        or_nothing(side, &|| median_micros(rounds.iter().map(|times| times[side]), sockets * turns))
    };
    let ratio = |side: usize| {
        let ratio_of = |times: &Vec<Duration>| times[side].as_secs_f64() / times[0].as_secs_f64();
        or_nothing(side, &|| {
            let [low, median, high] = quartiles(rounds.iter().map(ratio_of));
            format!("{median:.2} ({low:.2} - {high:.2})")
        })
    };
    let mut row = vec![name.to_owned(), sockets.to_string(), len.to_string()];
    row.extend((0..columns).map(micros));
    row.extend((1..columns).map(ratio));
    row.push(rounds.len().to_string());
    eprintln!("{}", row.join("  "));
    row
}
