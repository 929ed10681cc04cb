//! State of the first loop's own work: when the broker is swept, the dashboard's figures, and what a program has it do.
//!
//! When that work is due and what it does is in `expire` and `measure`.

use super::ticks::Every;
use crate::server::clock::Millis;
use crate::server::metrics::dashboard::Ticker;

/// When the broker is swept for what has expired.
#[derive(Debug, Default)]
pub struct Sweep {
    pub not_before: Millis,
}

/// What the first loop does at its times: the dashboard's figures, and what a program has it do.
#[derive(Debug, Default)]
pub struct FirstLoop {
    /// When the figures are due.
    pub ticker: Ticker,
    /// What a program has done at intervals.
    pub ticks: Vec<Every>,
}
