//! A loop's part in the figures: its counters put on the board once a turn, the answer to a scrape, and the figures of the
//! dashboard, which the first loop publishes.
//!
//! How the numbers look is in `metrics` and `figures`.

use crate::http::{Request, Response};
use crate::hub::Content;
use crate::server::api::admin::{self, Report};
use crate::server::api::handlers::Answer;
use crate::server::api::routes::{Door, FIGURES_PATH};
use crate::server::broker::answer::Waiter;
use crate::server::broker::draft::Draft;
use crate::server::broker::mailbox::FIRST_LOOP;
use crate::server::clock;
use crate::server::connection::table::Key;
use crate::server::event_loop::EventLoop;
use crate::server::event_loop::eviction::CONNECTION_LEN;
use crate::server::metrics::dashboard::{self, Busiest, FIGURES_CHANNEL};
use crate::server::shared::Stop;

impl EventLoop {
    /// What to do about a request, by the listener that its connection came in at.
    pub(super) fn decide(&mut self, key: Key, request: &Request) -> Answer {
        let door = self.connections.get(key).map_or(Door::Public, |connection| connection.door);
        let answer = self.shared.handlers.answer(door, request);
        if request.path() == FIGURES_PATH && !matches!(answer, Answer::Respond(_)) {
            self.has_new_watcher = true;
        }
        answer
    }

    /// The answer to a question about the server itself.
    pub(super) fn report_on(&mut self, report: Report) -> Response {
        match report {
            Report::Metrics => {
                self.put_tally();
                admin::metrics(&self.shared.snapshot(), &self.shared.meters.process.figures())
            }
            Report::Readiness => admin::readiness(self.shared.stop() != Stop::No),
        }
    }

    /// Ends a turn for the figures: its length is counted, everything is put where others read it.
    pub(super) fn measure(&mut self) {
        self.counters.turns.note(self.shared.elapsed().saturating_sub(self.turn_began));
        self.put_tally();
        if std::mem::take(&mut self.has_new_watcher) {
            // The subscription is there by now, so the first loop finds it when it looks.
            self.shared.meters.set_watched(true);
            self.broker().mailbox(FIRST_LOOP).wake();
        }
    }

    /// Publishes the figures if they are due, as long as somebody watches.
    pub(super) fn expire_figures(&mut self) {
        if !self.is_to_watch() && !self.ticker.is_running() {
            return;
        }
        if self.ticker.start(self.now) {
            // What was published before is not of this second.
            self.broker().take_busy(|_, _, _| {});
        }
        let Some(elapsed_ms) = self.ticker.tick(self.now) else { return };
        // Said before it is looked: who subscribes from here on says it again.
        self.shared.meters.set_watched(false);
        if self.broker().subscribers_len(FIGURES_CHANNEL).unwrap_or(0) == 0 {
            self.broker().stop_counting();
            return self.ticker.stop();
        }
        self.shared.meters.set_watched(true);
        self.publish_figures(elapsed_ms);
    }

    /// Whether this loop publishes the figures, and somebody waits for them whom it has not noticed yet.
    pub(super) fn is_to_watch(&self) -> bool {
        self.index == FIRST_LOOP && !self.ticker.is_running() && self.shared.meters.is_watched()
    }

    fn publish_figures(&mut self, elapsed_ms: u64) {
        self.put_tally();
        let mut busiest = Busiest::since(elapsed_ms);
        self.broker().take_busy(|name, published, subscribers| busiest.offer(name, published, subscribers));
        let json = dashboard::json(&self.shared.snapshot(), clock::unix_ms(), busiest.into_top());
        let draft =
            Draft { channel: dashboard::channel(), event: None, content: Content::Json, data: json.into() };
        // Not counted as a publication: nobody made it.
        let _ = self.broker().publish(draft, Waiter::Nobody, self.now);
    }

    /// Puts what is counted so far on this loop's board.
    fn put_tally(&mut self) {
        let connections_len = self.connections.len();
        self.counters.deliveries = *self.hub.deliveries();
        self.counters.passed_over = self.hub.passed_over();
        self.counters.log_bytes = self.hub.log_bytes() as u64;
        self.counters.private_bytes = self.private_len as u64;
        self.counters.connection_bytes = (CONNECTION_LEN * connections_len) as u64;
        self.counters.lag_max = self.hub.lag_max() as u64;
        self.shared.meters.board(self.index).put(&self.counters);
    }
}
