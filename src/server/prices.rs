//! When the demo's prices are published: by the first loop, while somebody reads them, and a minute longer.
//!
//! What the prices are, `demo` says.

use std::sync::atomic::Ordering;
use std::time::{SystemTime, UNIX_EPOCH};

use crate::hub::ChannelName;
use crate::server::broker::draft::Draft;
use crate::server::demo;
use crate::server::event_loop::EventLoop;

/// The loop that publishes them.
const PRICES_LOOP: usize = 0;

impl EventLoop {
    /// Has the prices published if somebody came for them.
    pub(super) fn call_for_prices(&self, channel: &ChannelName) {
        let is_call = self.shared.config.serves_demo() && channel.as_str() == demo::CHANNEL;
        if is_call && !self.shared.has_call_for_prices.swap(true, Ordering::SeqCst) {
            self.broker().mailbox(PRICES_LOOP).wake();
        }
    }

    /// Whether this loop has to look at the prices before it waits.
    pub(super) fn is_called_for_prices(&self) -> bool {
        self.demo.is_some() && self.shared.has_call_for_prices.load(Ordering::SeqCst)
    }

    /// Publishes the ticks that are due. One that finds the loops behind is lost: the next has the price too.
    pub(super) fn expire_prices(&mut self) {
        let Some(demo) = &mut self.demo else { return };
        if self.shared.has_call_for_prices.swap(false, Ordering::SeqCst) {
            demo.wake(self.now);
        }
        let unix = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        while let Some(tick) = demo.due(self.now, unix.as_millis() as u64) {
            let draft = Draft::json(demo::CHANNEL, tick).and_then(|draft| draft.event(demo::EVENT));
            let draft = draft.expect("a tick is JSON, its names are within the rules");
            let broker = &self.shared.broker;
            if broker.is_congested() {
                continue;
            }
            self.counters.publishes += 1;
            if broker.publish(draft, self.now).subscribers > 0 {
                demo.wake(self.now);
            }
        }
    }
}
