//! Serving sides against each other: their rounds alternate in one run, so that a noisy machine disturbs all alike.
//!
//! How a round is measured is in `rounds`, how the figures are printed in `table`. Who the sides are is not known
//! here.

#![allow(clippy::print_stdout)] // the figures

pub mod rounds;
pub mod table;

use std::time::Duration;

use criterion::{Criterion, SamplingMode, Throughput};

use rounds::Side;
use table::Table;

/// Measures with Criterion as the command line says, and prints the table that comes of it.
pub fn bench(mut table: Table, measure: impl FnOnce(&mut Criterion, &mut Table)) {
    let mut criterion = Criterion::default()
        .sample_size(20)
        .warm_up_time(Duration::from_millis(500))
        .measurement_time(Duration::from_secs(6))
        .without_plots()
        .configure_from_args();
    measure(&mut criterion, &mut table);
    criterion.final_summary();
    print!("{table}");
}

/// Sides with the same number of subscribers, each with its name.
pub struct Versus<const N: usize> {
    subscribers: usize,
    sides: [(&'static str, Side); N],
}

impl<const N: usize> Versus<N> {
    /// Nothing is measured yet. What is to be compared most closely should stand next to each other.
    pub fn new(subscribers: usize, sides: [(&'static str, Side); N]) -> Self {
        Self { subscribers, sides }
    }

    /// A Criterion benchmark for each side. Every iteration of any is one round of all; Criterion is told the CPU
    /// time of the one that it asks for.
    pub fn measure(&mut self, criterion: &mut Criterion, title: &str, messages: usize) -> Rounds<N> {
        let deliveries = self.subscribers * messages;
        let mut group = criterion.benchmark_group(format!("{title}/{}x{messages}", self.subscribers));
        group.throughput(Throughput::Elements(deliveries as u64));
        group.sampling_mode(SamplingMode::Flat);
        let mut rounds = Rounds { deliveries, times: Vec::new() };
        for side in 0..N {
            group.bench_function(self.sides[side].0, |bencher| {
                bencher.iter_custom(|count| {
                    let first = rounds.times.len();
                    for _ in 0..count {
                        let times = self.round(messages, rounds.times.len() % 2 == 0);
                        rounds.times.push(times);
                    }
                    rounds.times[first..].iter().map(|times| times[side]).sum()
                });
            });
        }
        group.finish();
        rounds
    }

    /// A round of each side, in their order or in the opposite one.
    fn round(&mut self, messages: usize, forward: bool) -> [Duration; N] {
        let mut times = [Duration::ZERO; N];
        for step in 0..N {
            let side = if forward { step } else { N - 1 - step };
            times[side] = self.sides[side].1.round(messages);
        }
        times
    }
}

/// The CPU times of rounds: in each, those of every side, one after the other.
pub struct Rounds<const N: usize> {
    deliveries: usize,
    times: Vec<[Duration; N]>,
}

impl<const N: usize> Rounds<N> {
    /// Whether the command line let none be measured.
    pub fn is_empty(&self) -> bool {
        self.times.is_empty()
    }

    /// How many there are.
    pub fn count(&self) -> String {
        self.times.len().to_string()
    }

    /// The median of a side's CPU time a delivery.
    pub fn micros(&self, side: usize) -> String {
        table::median_micros(self.times.iter().map(|times| times[side]), self.deliveries)
    }

    /// The median over the rounds of what a side takes of another's time, and the quartiles.
    pub fn ratio(&self, side: usize, to: usize) -> String {
        self.quartiles(|times| times[side].as_secs_f64() / times[to].as_secs_f64())
    }

    /// The median over the rounds of what is made of the times of each, and the quartiles.
    pub fn quartiles(&self, figure: impl Fn(&[Duration; N]) -> f64) -> String {
        let [low, median, high] = table::quartiles(self.times.iter().map(figure));
        format!("{median:.3} ({low:.3} - {high:.3})")
    }
}
