//! What the rounds of a bench come to, as a table.
//!
//! Nothing is measured here.

use std::fmt;
use std::time::Duration;

/// Cells with a line of heads above, each column as wide as it must be.
pub struct Table {
    note: &'static str,
    lines: Vec<Vec<String>>,
}

impl Table {
    /// No rows yet. `note` says what the figures are.
    pub fn new(note: &'static str, heads: &[&str]) -> Self {
        Self { note, lines: vec![heads.iter().map(|&head| head.to_owned()).collect()] }
    }

    /// Adds a row with a cell for each head.
    pub fn add(&mut self, row: Vec<String>) {
        debug_assert_eq!(row.len(), self.lines[0].len());
        self.lines.push(row);
    }
}

/// Nothing at all if there are no rows.
impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.lines.len() == 1 {
            return Ok(());
        }
        writeln!(f, "{}\n", self.note)?;
        let width_of = |column: usize| self.lines.iter().map(|line| line[column].chars().count()).max();
        let widths: Vec<_> = (0..self.lines[0].len()).filter_map(width_of).collect();
        for line in &self.lines {
            let cells: Vec<_> =
                line.iter().zip(&widths).map(|(cell, width)| format!("{cell:>width$}")).collect();
            writeln!(f, "{}", cells.join("  "))?;
        }
        writeln!(f)
    }
}

/// The median of CPU times, a delivery.
pub fn median_micros(times: impl Iterator<Item = Duration>, deliveries: usize) -> String {
    let [_, median, _] = quartiles(times.map(|time| time.as_secs_f64() * 1e6 / deliveries as f64));
    format!("{median:.3}")
}

/// The lower quartile, the median and the upper quartile of one value or more.
pub fn quartiles(values: impl Iterator<Item = f64>) -> [f64; 3] {
    let mut values: Vec<_> = values.collect();
    values.sort_by(f64::total_cmp);
    [1, 2, 3].map(|quarter| values[(values.len() - 1) * quarter / 4])
}
