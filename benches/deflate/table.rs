//! What compressed fan-out costs beside plain fan-out of the same payloads.
//!
//! Nothing is measured here.

use std::fmt;
use std::time::Duration;

use crate::figures::{micros, quartiles};
use crate::support::Feed;

/// CPU times of two rounds, one after the other.
#[derive(Clone, Copy, Debug)]
pub struct Pair {
    /// To clients that do not offer permessage-deflate.
    pub plain: Duration,
    /// To clients that do.
    pub deflated: Duration,
}

/// A row for each number of subscribers, feed and number of messages.
#[derive(Debug, Default)]
pub struct Table {
    rows: Vec<Row>,
}

#[derive(Debug)]
struct Row {
    subscribers: usize,
    messages: usize,
    deflated: Feed,
    pairs: Vec<Pair>,
}

impl Table {
    /// Adds a row of one pair or more.
    pub fn add(&mut self, subscribers: usize, messages: usize, deflated: Feed, pairs: Vec<Pair>) {
        self.rows.push(Row { subscribers, messages, deflated, pairs });
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
            "CPU µs of the serving side a delivery (medians; ratio: median of the pairs and quartiles)\n"
        )?;
        writeln!(
            f,
            "subscribers  messages a turn  payload  deflated from  bytes a frame  plain  deflated  \
             deflated/plain       pairs"
        )?;
        self.rows.iter().try_for_each(|row| row.fmt(f))
    }
}

impl fmt::Display for Row {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { subscribers, messages, deflated: feed, pairs } = self;
        let frame_len = |feed: Feed| feed.frames(*messages).len() / messages;
        let lens = format!("{} to {}", frame_len(Feed { deflate_len_min: None, ..*feed }), frame_len(*feed));
        let micros = |time| micros(time, subscribers * messages);
        let [_, plain, _] = quartiles(pairs.iter().map(|pair| micros(pair.plain)));
        let [_, deflated, _] = quartiles(pairs.iter().map(|pair| micros(pair.deflated)));
        let ratio_of = |pair: &Pair| pair.deflated.as_secs_f64() / pair.plain.as_secs_f64();
        let [low, ratio, high] = quartiles(pairs.iter().map(ratio_of));
        let (payload, len_min) = (feed.payload, feed.deflate_len_min.unwrap_or_default());
        writeln!(
            f,
            "{subscribers:>11}  {messages:>15}  {payload:<7}  {len_min:>13}  {lens:>13}  {plain:>5.3}  \
             {deflated:>8.3}  {ratio:.3} ({low:.3} - {high:.3})  {:>5}",
            pairs.len()
        )
    }
}
