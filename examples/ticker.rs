//! The stock ticker: a thread of the program makes prices and publishes them; who subscribes is none of its business.
//!
//! `cargo run --example ticker`, then http://127.0.0.1:8080, or `curl -N -H 'Accept: text/event-stream'
//! http://127.0.0.1:8080/channels/prices`. Another address is the first argument.

#![allow(clippy::print_stdout)] // where it listens
#![allow(clippy::disallowed_methods)] // the feed waits between two prices

use std::thread;
use std::time::Duration;

use fanfare::app::{Json, Request, Response};
use fanfare::{ChannelName, Config, Handle, Server};

/// Four prices a second.
const INTERVAL: Duration = Duration::from_millis(250);

/// The symbols, and what they cost at first, in cents.
const SYMBOLS: [(&str, u32); 3] = [("ACME", 10_000), ("INIT", 4_200), ("HOOL", 25_500)];

#[derive(serde::Serialize)]
struct Price {
    symbol: &'static str,
    cents: u32,
}

/// Prices that walk at random.
struct Feed {
    prices: [(&'static str, u32); 3],
    state: u32,
}

impl Feed {
    /// The next price: of one symbol after the other, up or down by less than two per cent.
    fn next(&mut self) -> Price {
        // A linear congruential generator: nobody is to rely on these prices.
        self.state = self.state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        self.prices.rotate_left(1);
        let (symbol, cents) = &mut self.prices[0];
        let step = *cents / 50;
        *cents = (*cents + (self.state >> 8) % (2 * step + 1)).saturating_sub(step).max(100);
        Price { symbol, cents: *cents }
    }
}

/// Publishes until the program ends.
fn publish_prices(server: &Handle, channel: &ChannelName) {
    let mut feed = Feed { prices: SYMBOLS, state: std::process::id() };
    loop {
        // If the loops are behind, this price is left out: the next one is newer.
        server.publish_to(channel, Json(&feed.next())).ok();
        thread::sleep(INTERVAL);
    }
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut config = Config::default();
    if let Some(address) = std::env::args().nth(1) {
        config.listen = vec![address.parse()?];
    }
    let mut server = Server::bind(config)?;
    server.get("/", |_: &Request<'_>| Response::html(include_str!("ticker.html")))?;
    let (handle, channel) = (server.handle(), ChannelName::new("prices")?);
    thread::spawn(move || publish_prices(&handle, &channel));
    println!("listening on http://{}", server.local_addrs()[0]);
    Ok(server.run()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prices_come_of_one_symbol_after_the_other_and_stay_near() {
        let mut feed = Feed { prices: SYMBOLS, state: 1 };
        let first: Vec<_> = (0..4).map(|_| feed.next().symbol).collect();
        assert_eq!(first, ["INIT", "HOOL", "ACME", "INIT"]);
        for _ in 0..10_000 {
            let before = feed.prices[1].1;
            let after = feed.next().cents;
            assert!(after.abs_diff(before) <= before / 50 && after >= 100, "{before} to {after}");
        }
    }
}
