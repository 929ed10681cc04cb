//! The demo's prices: a random walk over a few symbols.
//!
//! When a price is published is decided in `demo`. No clock is read here: the seed and the times come in.

/// Symbols and their first prices, in cents.
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

/// A tick moves a price by at most this many ten-thousandths, then by a 256th of the way back to its first price: it
/// stays near that however long the demo runs.
const STEP_MAX: i64 = 40;
const PULL: i64 = 256;

/// The number of symbols.
pub const SYMBOLS: usize = OPENINGS.len();

/// The prices now.
#[derive(Debug)]
pub struct Prices {
    random: Xorshift,
    cents: [i64; SYMBOLS],
    /// The symbols in the order in which they move; shuffled after the last.
    order: [usize; SYMBOLS],
    turn: usize,
}

impl Prices {
    /// The first prices.
    pub fn new(seed: u64) -> Self {
        let cents = OPENINGS.map(|(_, cents)| cents);
        Self { random: Xorshift::new(seed), cents, order: std::array::from_fn(|index| index), turn: 0 }
    }

    /// Moves the price of the next symbol: a JSON object with `unix_ms` as its time.
    pub fn tick(&mut self, unix_ms: u64) -> String {
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
    /// A state of 0 would give nothing but 0.
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
    use serde_json::Value;

    use super::*;

    #[test]
    fn prices_stay_near_their_openings_and_the_change_is_from_there() {
        for seed in [0, 1, u64::MAX] {
            let mut prices = Prices::new(seed);
            for _ in 0..100_000 {
                let tick: Value = serde_json::from_str(&prices.tick(0)).unwrap();
                let (_, opening) = *OPENINGS.iter().find(|(symbol, _)| tick["symbol"] == *symbol).unwrap();
                let cents = |value: &Value| (value.as_f64().unwrap() * 100.0).round() as i64;
                assert_eq!(cents(&tick["price"]) - cents(&tick["change"]), opening);
                assert!((opening / 2..opening * 2).contains(&cents(&tick["price"])), "{tick}");
            }
        }
    }

    #[test]
    fn another_seed_makes_other_prices_and_the_same_seed_the_same() {
        let first = |seed| Prices::new(seed).tick(0);
        assert_eq!(first(7), first(7));
        assert_ne!(first(7), first(8));
    }

    #[test]
    fn cents_are_written_as_decimals_with_their_sign() {
        assert_eq!([5, -5, 12_345, -120, 0].map(decimal), ["0.05", "-0.05", "123.45", "-1.20", "0.00"]);
    }
}
