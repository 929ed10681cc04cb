//! The demo's prices: a random walk over some symbols, and when the next tick is due.
//!
//! No clock is read here and nothing is published: times and a seed come in, texts go out.

use crate::server::clock::Millis;

/// The channel of the prices.
pub const CHANNEL: &str = "demo-prices";

/// The event of every tick.
pub const EVENT: &str = "tick";

/// Four ticks a second: each symbol moves every two seconds.
const TICK_MS: u64 = 250;

/// Ticks go on for so long after the last one that somebody got: a client between two long polls is nobody's
/// subscriber, and one whose connection was lost comes back within that.
const LINGER_MS: u64 = 60_000;

/// Symbols and what they cost at first, in cents.
const OPENINGS: [(&str, i64); 8] = [
    ("BUGL", 7_250),
    ("CRNT", 11_480),
    ("DRUM", 4_325),
    ("FAN", 12_345),
    ("HORN", 18_890),
    ("OBOE", 23_110),
    ("TUBA", 26_575),
    ("VIOL", 30_240),
];

/// A tick moves a price by up to so many ten-thousandths, and a 256th of the way back to where it began, so that
/// it stays a price however long the demo runs.
const STEP_MAX: i64 = 40;
const PULL: i64 = 256;

/// The prices, and the times of their ticks. To drive it:
///
/// 1. [`Demo::wake`] when somebody subscribes.
/// 2. [`Demo::due`] until it gives nothing; publish what it gives, and call [`Demo::wake`] if somebody got it.
/// 3. Come back at [`Demo::next`], if there is one.
#[derive(Debug)]
pub struct Demo {
    random: Xorshift,
    cents: [i64; OPENINGS.len()],
    /// The symbols in the order in which they move; shuffled when the last has.
    order: [usize; OPENINGS.len()],
    turn: usize,
    /// How many ticks come at once, because nobody has had a price yet or for a while.
    burst: usize,
    /// None while nobody reads.
    next: Option<Millis>,
    until: Millis,
}

impl Demo {
    /// Prices that nobody reads yet.
    pub fn new(seed: u64) -> Self {
        let cents = OPENINGS.map(|(_, cents)| cents);
        let order = std::array::from_fn(|index| index);
        let random = Xorshift::new(seed);
        Self { random, cents, order, turn: 0, burst: 0, next: None, until: Millis::default() }
    }

    /// Somebody reads. If nobody did, each symbol has a tick at once, so that no table stays empty.
    pub fn wake(&mut self, now: Millis) {
        self.until = Millis(now.0 + LINGER_MS);
        if self.next.is_none() {
            self.next = Some(now);
            self.burst = OPENINGS.len();
        }
    }

    /// When the next tick is due; none while nobody reads.
    pub fn next(&self) -> Option<Millis> {
        self.next
    }

    /// The next tick, if its time has come: a JSON object that says `unix_ms` as its time.
    pub fn due(&mut self, now: Millis, unix_ms: u64) -> Option<String> {
        if self.next? > now {
            return None;
        }
        if now > self.until {
            self.next = None;
            return None;
        }
        self.burst = self.burst.saturating_sub(1);
        self.next = Some(if self.burst > 0 { now } else { Millis(now.0 + TICK_MS) });
        Some(self.tick(unix_ms))
    }

    fn tick(&mut self, unix_ms: u64) -> String {
        if self.turn == 0 {
            self.shuffle();
        }
        let index = self.order[self.turn];
        self.turn = (self.turn + 1) % OPENINGS.len();
        let (symbol, opening) = OPENINGS[index];
        let before = self.cents[index];
        let step = before * self.random.within(STEP_MAX) / 10_000;
        let after = before + step + (opening - before) / PULL;
        self.cents[index] = after;
        let (price, change) = (decimal(after), decimal(after - opening));
        format!("{{\"symbol\":\"{symbol}\",\"price\":{price},\"change\":{change},\"at\":{unix_ms}}}")
    }

    fn shuffle(&mut self) {
        for last in (1..self.order.len()).rev() {
            self.order.swap(last, self.random.below(last as u64 + 1) as usize);
        }
    }
}

/// Cents as JSON's number of the whole: `-0.05`.
fn decimal(cents: i64) -> String {
    let sign = if cents < 0 { "-" } else { "" };
    format!("{sign}{}.{:02}", cents.abs() / 100, cents.abs() % 100)
}

/// Marsaglia's xorshift with 64 bits. Nothing that must not be guessed depends on it.
#[derive(Debug)]
struct Xorshift(u64);

impl Xorshift {
    /// From 0 it would give nothing but 0.
    fn new(seed: u64) -> Self {
        Self(if seed == 0 { u64::MAX } else { seed })
    }

    fn below(&mut self, end: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) % end
    }

    /// Between `-max` and `max`.
    fn within(&mut self, max: i64) -> i64 {
        self.below(2 * max as u64 + 1) as i64 - max
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use serde_json::Value;

    use super::*;

    /// What is due at a time, parsed.
    fn ticks(demo: &mut Demo, now_ms: u64) -> Vec<Value> {
        std::iter::from_fn(|| demo.due(Millis(now_ms), 1_000_000 + now_ms))
            .map(|tick| serde_json::from_str(&tick).unwrap())
            .collect()
    }

    fn symbols(ticks: &[Value]) -> BTreeSet<&str> {
        ticks.iter().map(|tick| tick["symbol"].as_str().unwrap()).collect()
    }

    #[test]
    fn nothing_is_due_before_somebody_subscribes() {
        let mut demo = Demo::new(1);
        assert_eq!(demo.next(), None);
        assert_eq!(ticks(&mut demo, 1_000), [Value::Null; 0]);
    }

    #[test]
    fn the_first_subscriber_gets_every_symbol_at_once_and_then_four_ticks_a_second() {
        let mut demo = Demo::new(1);
        demo.wake(Millis(500));
        let first = ticks(&mut demo, 500);
        assert_eq!((first.len(), symbols(&first).len()), (8, 8));
        assert_eq!(first[0]["at"], 1_000_500);
        let later: Vec<Value> = (501..=2_500).flat_map(|now| ticks(&mut demo, now)).collect();
        assert_eq!((later.len(), symbols(&later).len()), (8, 8), "each symbol once in two seconds");
        assert_eq!(demo.next(), Some(Millis(2_750)));
    }

    #[test]
    fn a_late_turn_has_one_tick_and_not_all_that_it_is_late_by() {
        let mut demo = Demo::new(1);
        demo.wake(Millis(0));
        ticks(&mut demo, 0);
        assert_eq!(ticks(&mut demo, 10_000).len(), 1);
        assert_eq!(demo.next(), Some(Millis(10_250)));
    }

    #[test]
    fn ticks_end_a_minute_after_the_last_reader_and_begin_again_with_every_symbol() {
        let mut demo = Demo::new(1);
        demo.wake(Millis(0));
        ticks(&mut demo, 0);
        demo.wake(Millis(10_000));
        assert_eq!(ticks(&mut demo, 70_000).len(), 1);
        assert_eq!(ticks(&mut demo, 70_250).len(), 0);
        assert_eq!(demo.next(), None, "no wake-up is asked for");
        demo.wake(Millis(500_000));
        assert_eq!(ticks(&mut demo, 500_000).len(), 8);
    }

    #[test]
    fn prices_stay_near_their_openings_and_the_change_is_from_there() {
        for seed in [0, 1, u64::MAX] {
            let mut demo = Demo::new(seed);
            for _ in 0..100_000 {
                let tick: Value = serde_json::from_str(&demo.tick(0)).unwrap();
                let (_, opening) = *OPENINGS.iter().find(|(symbol, _)| tick["symbol"] == *symbol).unwrap();
                let cents = |value: &Value| (value.as_f64().unwrap() * 100.0).round() as i64;
                assert_eq!(cents(&tick["price"]) - cents(&tick["change"]), opening);
                assert!((opening / 2..opening * 2).contains(&cents(&tick["price"])), "{tick}");
            }
        }
    }

    #[test]
    fn another_seed_makes_other_prices_and_the_same_seed_the_same() {
        let first = |seed| Demo::new(seed).tick(0);
        assert_eq!(first(7), first(7));
        assert_ne!(first(7), first(8));
    }

    #[test]
    fn cents_are_written_as_decimals_with_their_sign() {
        assert_eq!([5, -5, 12_345, -120, 0].map(decimal), ["0.05", "-0.05", "123.45", "-1.20", "0.00"]);
    }
}
