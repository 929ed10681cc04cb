//! A loop's part in the figures: its tally put on the board once a turn, the answer to a scrape, and the figures of the
//! dashboard, which the first loop publishes.
//!
//! How the numbers look is in `metrics` and `figures`.

use std::time::{SystemTime, UNIX_EPOCH};

use super::connection::Door;
use super::connections::Key;
use super::draft::Draft;
use super::event_loop::EventLoop;
use super::figures::{self, Busiest, FIGURES_CHANNEL};
use super::handlers::{Answer, Report};
use super::metrics;
use super::relief::CONNECTION_LEN;
use super::routes::FIGURES_PATH;
use super::scraping;
use super::shared::Stop;
use crate::http::{Request, Response, Status};
use crate::hub::Content;

/// The loop that publishes the figures.
const FIGURES_LOOP: usize = 0;

impl EventLoop {
    /// What to do about a request, by the door that it came in at.
    pub(super) fn decide(&mut self, key: Key, request: &Request) -> Answer {
        if self.connections.get(key).is_some_and(|connection| connection.door == Door::Metrics) {
            return scraping::answer(request);
        }
        let answer = self.shared.handlers.answer(request);
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
                let text = metrics::render(&self.shared.totals(), &self.shared.meters.process.figures());
                Response::new(Status::OK).body(metrics::CONTENT_TYPE, text)
            }
            Report::Readiness if self.shared.stop() == Stop::No => Response::text(Status::OK, "ready"),
            Report::Readiness => Response::text(Status::SERVICE_UNAVAILABLE, "The server is stopping."),
        }
    }

    /// Ends a turn for the figures: its length is counted, everything is put where others read it.
    pub(super) fn measure(&mut self) {
        self.tally.turns.note(self.shared.elapsed().saturating_sub(self.turn_began));
        self.put_tally();
        if std::mem::take(&mut self.has_new_watcher) {
            // The subscription is there by now, so the first loop finds it when it looks.
            self.shared.meters.set_watched(true);
            self.exchange().mailbox(FIGURES_LOOP).wake();
        }
    }

    /// Publishes the figures if they are due, as long as somebody watches.
    pub(super) fn expire_figures(&mut self) {
        if !self.is_to_watch() && !self.ticker.is_running() {
            return;
        }
        if self.ticker.start(self.now) {
            // What was published before is not of this second.
            self.exchange().take_busy(|_, _, _| {});
        }
        let Some(elapsed_ms) = self.ticker.tick(self.now) else { return };
        // Said before it is looked: who subscribes from here on says it again.
        self.shared.meters.set_watched(false);
        if self.exchange().subscribers_len(FIGURES_CHANNEL).unwrap_or(0) == 0 {
            self.exchange().stop_counting();
            return self.ticker.stop();
        }
        self.shared.meters.set_watched(true);
        self.publish_figures(elapsed_ms);
    }

    /// Whether this loop publishes the figures, and somebody waits for them whom it has not noticed yet.
    pub(super) fn is_to_watch(&self) -> bool {
        self.index == FIGURES_LOOP && !self.ticker.is_running() && self.shared.meters.is_watched()
    }

    fn publish_figures(&mut self, elapsed_ms: u64) {
        self.put_tally();
        let mut busiest = Busiest::since(elapsed_ms);
        self.exchange().take_busy(|name, published, subscribers| busiest.offer(name, published, subscribers));
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let json = figures::json(&self.shared.totals(), now.as_millis() as u64, busiest.into_top());
        let draft = Draft {
            channel: figures::channel(),
            event: None,
            content: Content::Json,
            data: json.into(),
            frame: None,
        };
        // Not counted as a publication: nobody made it.
        let _ = self.exchange().publish(draft, self.now);
    }

    /// Puts what is counted so far on this loop's board.
    fn put_tally(&mut self) {
        let connections_len = self.connections.len();
        self.tally.deliveries = *self.hub.deliveries();
        self.tally.passed_over = self.hub.passed_over();
        self.tally.log_bytes = self.hub.log_bytes() as u64;
        self.tally.private_bytes = self.private_len as u64;
        self.tally.connection_bytes = (CONNECTION_LEN * connections_len) as u64;
        self.tally.lag_max = self.hub.lag_max() as u64;
        self.shared.meters.board(self.index).put(&self.tally);
    }
}
