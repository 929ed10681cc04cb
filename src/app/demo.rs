//! The demo: what it publishes and when, as a program would do it.
//!
//! The prices are in `prices`.

use std::time::{Duration, SystemTime};

use crate::app::prices::{Prices, SYMBOLS};
use crate::hub::ChannelName;
use crate::server::{Draft, Handle};

/// The channel of the prices.
const CHANNEL: &str = "demo-prices";

/// The event of every price.
const EVENT: &str = "tick";

/// Four prices a second: each symbol moves every two seconds.
pub(super) const INTERVAL: Duration = Duration::from_millis(250);

/// Prices go on for this many intervals, a minute, after the last one that had a subscriber: a client between two long polls
/// is not subscribed, and one that lost its connection reconnects within that time.
const LINGER: u32 = 240;

/// The demo's publications, of which [`Demo::tick`] is called at each interval.
#[derive(Debug)]
pub(super) struct Demo {
    prices: Prices,
    channel: ChannelName,
    /// How many intervals it goes on without a subscriber.
    left: u32,
}

impl Demo {
    /// A demo without subscribers.
    pub fn new(seed: u64) -> Self {
        let channel = ChannelName::new(CHANNEL).expect("its name is within the rules");
        Self { prices: Prices::new(seed), channel, left: 0 }
    }

    /// Publishes what is due. A price that meets congestion is dropped: the next one is newer.
    pub fn tick(&mut self, server: &Handle) {
        let since_1970 = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let unix_ms = u64::try_from(since_1970.as_millis()).unwrap_or(u64::MAX);
        for _ in 0..self.due(server.subscribers(&self.channel) > 0) {
            let draft = Draft::json(CHANNEL, self.prices.tick(unix_ms)).and_then(|draft| draft.event(EVENT));
            let draft = draft.expect("a price is JSON, and its names are within the rules");
            let _ = server.publish_unawaited(draft);
        }
    }

    /// How many prices are due: none without subscribers, and for the first in a while one of each symbol, so that no table stays
    /// empty.
    fn due(&mut self, has_subscribers: bool) -> usize {
        let was_on = self.left > 0;
        self.left = if has_subscribers { LINGER } else { self.left.saturating_sub(1) };
        match (self.left > 0, was_on) {
            (false, _) => 0,
            (true, false) => SYMBOLS,
            (true, true) => 1,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_subscriber_gets_every_symbol_at_once_and_then_one_price_at_a_time() {
        let mut demo = Demo::new(1);
        assert_eq!([false, true, true, false].map(|has| demo.due(has)), [0, SYMBOLS, 1, 1]);
    }

    #[test]
    fn prices_end_a_minute_after_the_last_subscriber_and_begin_again_with_every_symbol() {
        let mut demo = Demo::new(1);
        demo.due(true);
        assert!((1..LINGER).all(|_| demo.due(false) == 1));
        assert_eq!([false, false, true].map(|has| demo.due(has)), [0, 0, SYMBOLS]);
    }
}
