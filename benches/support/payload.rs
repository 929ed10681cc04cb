//! The payloads of the benches: JSON whose numbers change from message to message, and its length never.
//!
//! In which form it goes over the wire is not known here.

use std::convert::Infallible;
use std::fmt;
use std::str::FromStr;

/// Prices on either side of a quote.
const LEVELS: i64 = 10;

/// What a message says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Payload {
    /// 100 bytes: one trade.
    Tick,
    /// 1,024 bytes: an order book, ten prices deep on either side.
    Quote,
}

impl Payload {
    /// The payload of a message.
    pub fn bytes(self, index: usize) -> Vec<u8> {
        match self {
            Self::Tick => tick(index),
            Self::Quote => quote(index),
        }
    }
}

/// Its name in a role and in a table.
impl fmt::Display for Payload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Tick => "tick",
            Self::Quote => "quote",
        })
    }
}

impl FromStr for Payload {
    type Err = Infallible;

    fn from_str(name: &str) -> Result<Self, Infallible> {
        match name {
            "tick" => Ok(Self::Tick),
            "quote" => Ok(Self::Quote),
            unknown => unreachable!("the benches name no payload {unknown}"),
        }
    }
}

fn tick(index: usize) -> Vec<u8> {
    let price = cents(index, 0);
    let tick = format!(
        r#"{{"symbol":"ACME","price":{},"size":{},"bid":{},"ask":{},"at":{},"id":{}}}"#,
        Dollars(price),
        size(index, 0),
        Dollars(price - 1),
        Dollars(price + 1),
        time_ms(index),
        100_000 + index,
    );
    tick.into_bytes()
}

fn quote(index: usize) -> Vec<u8> {
    let price = cents(index, 0);
    let side = |sign: i64| {
        let level = |depth: i64| {
            let field = sign * (depth + 1);
            let at = Dollars(price + field);
            let (size, orders) = (size(index, field), 10 + size(index, 100 + field) % 90);
            format!(r#"{{"price":{at},"size":{size},"orders":{orders}}}"#)
        };
        (0..LEVELS).map(level).collect::<Vec<_>>().join(",")
    };
    let quote = format!(
        r#"{{"type":"quote","symbol":"ACME","name":"ACME Incorporated, class A equities","exchange":"XNYS","currency":"USD","time":{},"sequence":{},"open":{},"high":{},"low":{},"last":{},"bids":[{}],"asks":[{}]}}"#,
        time_ms(index),
        100_000 + index,
        Dollars(cents(0, 1)),
        Dollars(cents(0, 2)),
        Dollars(cents(0, 3)),
        Dollars(price),
        side(-1),
        side(1),
    );
    quote.into_bytes()
}

/// As JSON writes it.
struct Dollars(i64);

impl fmt::Display for Dollars {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{:02}", self.0 / 100, self.0 % 100)
    }
}

fn cents(index: usize, field: i64) -> i64 {
    10_100 + scattered(index, field) % 900
}

fn size(index: usize, field: i64) -> i64 {
    100 + scattered(index, field + 1000) % 900
}

fn time_ms(index: usize) -> i64 {
    1_771_459_200_123 + 37 * index as i64
}

/// The same number for the same arguments, and no pattern that DEFLATE could use.
fn scattered(index: usize, field: i64) -> i64 {
    let mixed = (index as u64 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15)
        ^ (field as u64).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    ((mixed ^ (mixed >> 29)).wrapping_mul(0x94d0_49bb_1331_11eb) >> 33) as i64
}
