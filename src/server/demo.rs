//! The demo: what it publishes and when, and how a subscription on any loop starts it.
//!
//! The prices are in `prices`. No clock is read here; the loop that has the demo calls it with the time.

use std::sync::atomic::{AtomicBool, Ordering};

use crate::hub::ChannelName;
use crate::server::broker::Broker;
use crate::server::broker::answer::{Publishing, Waiter};
use crate::server::broker::draft::Draft;
use crate::server::broker::mailbox::FIRST_LOOP;
use crate::server::clock::Millis;
use crate::server::prices::{Prices, SYMBOLS};

/// The channel of the prices.
const CHANNEL: &str = "demo-prices";

/// The event of every tick.
const EVENT: &str = "tick";

/// Four ticks a second: each symbol moves every two seconds.
const TICK_MS: u64 = 250;

/// Ticks go on for this long after the last one that had a subscriber: a client between two long polls is not
/// subscribed, and one that lost its connection reconnects within that time.
const LINGER_MS: u64 = 60_000;

/// Whether a connection has subscribed to the demo since its loop last looked. Shared by all loops.
#[derive(Debug)]
pub struct DemoCall {
    serves_demo: bool,
    is_made: AtomicBool,
}

impl DemoCall {
    /// None yet. Without a demo there is never one.
    pub fn new(serves_demo: bool) -> Self {
        Self { serves_demo, is_made: AtomicBool::new(false) }
    }

    /// Call after a subscription to `channel`: wakes the demo's loop if the channel is the demo's.
    pub fn note(&self, channel: &ChannelName, broker: &Broker) {
        let is_call = self.serves_demo && channel.as_str() == CHANNEL;
        if is_call && !self.is_made.swap(true, Ordering::SeqCst) {
            broker.mailbox(FIRST_LOOP).wake();
        }
    }

    /// Whether the demo's loop has to look before it polls.
    pub fn is_made(&self) -> bool {
        self.is_made.load(Ordering::SeqCst)
    }

    fn take(&self) -> bool {
        self.is_made.swap(false, Ordering::SeqCst)
    }
}

/// The demo's publications. One loop has it, and calls [`Demo::publish_due`] in each turn and at [`Demo::next`].
#[derive(Debug)]
pub struct Demo {
    prices: Prices,
    /// How many ticks are due at once, for the first subscriber in a while.
    burst: usize,
    /// `None` while there are no subscribers.
    next: Option<Millis>,
    until: Millis,
}

impl Demo {
    /// A demo without subscribers.
    pub fn new(seed: u64) -> Self {
        Self { prices: Prices::new(seed), burst: 0, next: None, until: Millis::default() }
    }

    /// When the next tick is due; `None` while there are no subscribers.
    pub fn next(&self) -> Option<Millis> {
        self.next
    }

    /// Publishes the ticks that are due. Returns their number. A tick that meets congestion is dropped: the next one has
    /// the price too.
    pub fn publish_due(&mut self, call: &DemoCall, broker: &Broker, now: Millis, unix_ms: u64) -> u64 {
        if call.take() {
            self.wake(now);
        }
        let mut published = 0;
        while let Some(draft) = self.due(now, unix_ms) {
            if broker.is_congested() {
                continue;
            }
            published += 1;
            if let Publishing::Done(receipt) = broker.publish(draft, Waiter::Nobody, now)
                && receipt.published.subscribers > 0
            {
                self.wake(now);
            }
        }
        published
    }

    /// Notes a subscriber. If there was none, each symbol has a tick at once, so that no table stays empty.
    fn wake(&mut self, now: Millis) {
        self.until = Millis(now.0 + LINGER_MS);
        if self.next.is_none() {
            self.next = Some(now);
            self.burst = SYMBOLS;
        }
    }

    /// The next tick, if it is due.
    fn due(&mut self, now: Millis, unix_ms: u64) -> Option<Draft> {
        if self.next? > now {
            return None;
        }
        if now > self.until {
            self.next = None;
            return None;
        }
        self.burst = self.burst.saturating_sub(1);
        self.next = Some(if self.burst > 0 { now } else { Millis(now.0 + TICK_MS) });
        let draft = Draft::json(CHANNEL, self.prices.tick(unix_ms)).and_then(|draft| draft.event(EVENT));
        Some(draft.expect("a tick is JSON, its names are within the rules"))
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
            .map(|tick| serde_json::from_slice(&tick.data).unwrap())
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
}
