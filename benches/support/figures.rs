//! What the rounds of a bench come to, for its table.
//!
//! Nothing is measured here.

use std::time::Duration;

/// CPU time a delivery.
pub fn micros(time: Duration, deliveries: usize) -> f64 {
    time.as_secs_f64() * 1e6 / deliveries as f64
}

/// The lower quartile, the median and the upper quartile of one value or more.
pub fn quartiles(values: impl Iterator<Item = f64>) -> [f64; 3] {
    let mut values: Vec<_> = values.collect();
    values.sort_by(f64::total_cmp);
    [1, 2, 3].map(|quarter| values[(values.len() - 1) * quarter / 4])
}
