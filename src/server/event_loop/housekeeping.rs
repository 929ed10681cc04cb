//! State of the first loop's own work: when the broker is swept, the demo, and the dashboard's figures.
//!
//! When that work is due and what it does is in `expire` and `measure`.

use super::ticks::Every;
use crate::server::clock::Millis;
use crate::server::demo::Demo;
use crate::server::metrics::dashboard::Ticker;

/// When the broker is swept for what has expired.
#[derive(Debug, Default)]
pub struct Sweep {
    pub not_before: Millis,
}

/// What the first loop does at its times: the demo's prices, the dashboard's figures, and what a program has it do.
#[derive(Debug, Default)]
pub struct FirstLoop {
    /// The demo's prices, if the server has the demo.
    pub demo: Option<Demo>,
    /// When the figures are due.
    pub ticker: Ticker,
    /// What a program has done at intervals.
    pub ticks: Vec<Every>,
}
