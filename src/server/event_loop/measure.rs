//! The measure phase: the loop's counters are put where other threads read them. And the dashboard's figures.
//!
//! The formats of the numbers are in `metrics`.

use super::EventLoop;
use crate::hub::{Content, Source};
use crate::server::apps::figures::figures;
use crate::server::broker::answer::Waiter;
use crate::server::broker::draft::{Draft, Excluded};
use crate::server::broker::mailbox::FIRST_LOOP;
use crate::server::clock;
use crate::server::metrics::dashboard::{self, Busiest, FIGURES_CHANNEL};

impl EventLoop {
    /// Counts the length of the turn, and puts the counters where other threads read them.
    pub(super) fn measure(&mut self) {
        let cx = &mut self.context;
        cx.counters.turns.note(cx.shared.clock.elapsed().saturating_sub(self.turn_began));
        cx.put_counters();
        if std::mem::take(&mut cx.has_new_watcher) {
            // The subscription exists by now, so the first loop finds it when it wakes.
            cx.shared.meters.set_watched(true);
            cx.shared.broker.mailbox(FIRST_LOOP).wake();
        }
    }

    /// Publishes the figures if they are due and have a subscriber.
    pub(super) fn expire_figures(&mut self) {
        if !self.is_to_watch() && !self.first_loop.ticker.is_running() {
            return;
        }
        let (cx, ticker) = (&mut self.context, &mut self.first_loop.ticker);
        let broker = &cx.shared.broker;
        if ticker.start(cx.now) {
            // Publications from before do not belong to this second.
            broker.take_busy(|_, _, _| {});
        }
        let Some(elapsed_ms) = ticker.tick(cx.now) else { return };
        // Cleared before the subscribers are counted: a later subscriber sets it again.
        cx.shared.meters.set_watched(false);
        if broker.subscribers_len(FIGURES_CHANNEL).unwrap_or(0) == 0 {
            broker.stop_counting();
            return ticker.stop();
        }
        cx.shared.meters.set_watched(true);
        self.publish_figures(elapsed_ms);
    }

    /// Whether this is the first loop, and the figures have a subscriber that it has not noticed yet.
    pub(super) fn is_to_watch(&self) -> bool {
        let cx = &self.context;
        cx.loop_index == FIRST_LOOP && !self.first_loop.ticker.is_running() && cx.shared.meters.is_watched()
    }

    fn publish_figures(&mut self, elapsed_ms: u64) {
        let cx = &mut self.context;
        cx.put_counters();
        let mut busiest = Busiest::since(elapsed_ms);
        let broker = &cx.shared.broker;
        broker.take_busy(|name, published, subscribers| busiest.offer(name, published, subscribers));
        let apps = figures(&cx.shared.apps, broker);
        let json = dashboard::json(&cx.shared.snapshot(), clock::unix_ms(), busiest.into_top(), &apps);
        let draft = Draft {
            channel: dashboard::channel(),
            event: None,
            content: Content::Json,
            data: json.into(),
            source: Source::Publisher,
            excluded: Excluded::Nobody,
            frame: None,
        };
        // Not counted among the publications: no client or program made it.
        let _ = broker.publish(draft, Waiter::Nobody, cx.now);
    }
}
