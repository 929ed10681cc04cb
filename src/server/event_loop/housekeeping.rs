//! What a loop keeps for its chores: when the broker is swept, and what one loop does for all.
//!
//! When a chore is due and what it does is in `expire` and `measure`.

use crate::server::clock::Millis;
use crate::server::demo::Demo;
use crate::server::metrics::dashboard::Ticker;

/// When the broker is looked at for what it should forget.
#[derive(Debug, Default)]
pub struct Sweep {
    pub not_before: Millis,
}

/// What one loop does for all: the demo's prices and the dashboard's figures.
#[derive(Debug, Default)]
pub struct FirstLoop {
    /// The demo's prices, of a server that has them.
    pub demo: Option<Demo>,
    /// When the figures are due.
    pub ticker: Ticker,
}
