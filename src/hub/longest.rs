//! The lengths of the logs that have lagging readers: the longest log's length is the lag of the slowest reader.
//!
//! What is in a log is not known here. A log whose readers have all caught up is not listed, so a hub without slow
//! readers lists nothing.

use std::collections::BTreeSet;

use super::LogId;

/// Logs by their length. Each owner of a log keeps the length under which it is listed, 0 if it is not.
#[derive(Debug, Default)]
pub struct Longest {
    lens: BTreeSet<(usize, LogId)>,
}

impl Longest {
    /// Lists the log under its present length instead of the one before. Costs O(log n) in the listed logs, nothing if
    /// the length is the same.
    pub fn list(&mut self, log: LogId, listed: &mut usize, len: usize) {
        if *listed == len {
            return;
        }
        if *listed > 0 {
            self.lens.remove(&(*listed, log));
        }
        if len > 0 {
            self.lens.insert((len, log));
        }
        *listed = len;
    }

    /// The length of the longest; 0 if none is listed.
    pub fn len(&self) -> usize {
        self.lens.last().map_or(0, |&(len, _)| len)
    }
}
