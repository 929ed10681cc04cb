//! What the rounds come to: CPU time a delivery, and how near Fanfare is to the floor.
//!
//! Nothing is measured here.

use std::fmt;
use std::time::Duration;

use crate::figures::{micros, quartiles};

/// CPU times of two rounds, one after the other.
#[derive(Clone, Copy, Debug)]
pub struct Pair {
    /// The bare writes.
    pub floor: Duration,
    /// The server.
    pub fanfare: Duration,
}

/// A row for each number of subscribers and messages.
#[derive(Debug, Default)]
pub struct Table {
    rows: Vec<Row>,
}

#[derive(Debug)]
struct Row {
    subscribers: usize,
    messages: usize,
    pairs: Vec<Pair>,
    naive: Vec<Duration>,
}

impl Table {
    /// Adds a row. Neither `pairs` nor `naive` is empty.
    pub fn add(&mut self, subscribers: usize, messages: usize, pairs: Vec<Pair>, naive: Vec<Duration>) {
        self.rows.push(Row { subscribers, messages, pairs, naive });
    }

    /// Whether there is no row.
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "CPU µs of the serving side a delivery of 100 bytes (medians; ratio: median of the pairs and"
        )?;
        writeln!(f, "quartiles, 1.00 = no more than the bare writes)\n")?;
        writeln!(
            f,
            "subscribers  messages a turn   floor  fanfare  tungstenite  floor/fanfare        pairs"
        )?;
        self.rows.iter().try_for_each(|row| row.fmt(f))
    }
}

impl fmt::Display for Row {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let micros = |time| micros(time, self.subscribers * self.messages);
        let [_, floor, _] = quartiles(self.pairs.iter().map(|pair| micros(pair.floor)));
        let [_, fanfare, _] = quartiles(self.pairs.iter().map(|pair| micros(pair.fanfare)));
        let [_, naive, _] = quartiles(self.naive.iter().map(|&time| micros(time)));
        let ratio_of = |pair: &Pair| pair.floor.as_secs_f64() / pair.fanfare.as_secs_f64();
        let [low, ratio, high] = quartiles(self.pairs.iter().map(ratio_of));
        let (subscribers, messages, pairs) = (self.subscribers, self.messages, self.pairs.len());
        writeln!(
            f,
            "{subscribers:>11}  {messages:>15}  {floor:>6.3}  {fanfare:>7.3}  {naive:>11.3}  \
             {ratio:.2} ({low:.2} - {high:.2})  {pairs:>6}"
        )
    }
}
