//! What the server counts, and the forms in which it is read: Prometheus's text and the dashboard's figures.

pub mod counters;
pub mod dashboard;
pub mod process;
pub mod prometheus;
pub mod refusals;
pub mod snapshot;
