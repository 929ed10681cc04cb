//! What the server counts, and the formats in which it is read: Prometheus's text and the dashboard's JSON.
//!
//! `counters` are written by one loop each, `snapshot` sums them, `prometheus` and `dashboard` write the sums down.

pub mod counters;
pub mod dashboard;
pub mod process;
pub mod prometheus;
pub mod refusals;
pub mod snapshot;
