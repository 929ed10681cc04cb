//! What is logged about a receiver: when it begins to fail and when it is back, and events that were dropped, at most one
//! line about those in ten seconds.
//!
//! Nothing is decided here.

use std::fmt;

use crate::server::clock::Millis;
use crate::server::excerpt::Excerpt;

/// At most one line about dropped events in this time: a full queue must not become a flood of lines.
const QUIET_MS: u64 = 10_000;

/// The longest reason, in bytes.
const REASON_LEN_MAX: usize = 200;

/// Why events were dropped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lost {
    /// The queue is full.
    Full,
    /// They were not taken within the time of retries.
    TooLong,
    /// The server stops, or the receiver was removed from the configuration.
    Stopped,
}

impl Lost {
    /// Every reason, in the order of their numbers.
    const ALL: [Self; 3] = [Self::Full, Self::TooLong, Self::Stopped];
}

/// The troubles of a receiver.
#[derive(Debug)]
pub struct Trouble {
    app_id: Box<str>,
    /// The URL without its query, which may hold a password.
    place: Box<str>,
    /// Attempts that failed since the last one that did not, and why the last did.
    failing: Option<(u64, String)>,
    /// Dropped events that no line has told of, by the reason.
    unlogged: [u64; Lost::ALL.len()],
    quiet_until: Millis,
}

impl Trouble {
    /// Of a receiver of that app.
    pub fn new(app_id: &str, url: &str) -> Self {
        let place = url.split_once('?').map_or(url, |(place, _)| place).into();
        Self {
            app_id: app_id.into(),
            place,
            failing: None,
            unlogged: [0; Lost::ALL.len()],
            quiet_until: Millis(0),
        }
    }

    /// Why the last attempt failed, if it did.
    pub fn reason(&self) -> Option<&str> {
        self.failing.as_ref().map(|(_, reason)| reason.as_str())
    }

    /// An attempt failed.
    pub fn note_failure(&mut self, failure: &dyn fmt::Display) {
        let reason = Excerpt { what: failure, len_max: REASON_LEN_MAX }.to_string();
        let Self { app_id, place, .. } = &*self;
        if self.failing.is_none() {
            tracing::warn!(
                "webhooks of app {app_id} are not taken by {place}: {reason}. They are tried again"
            );
        }
        let attempts = self.failing.take().map_or(0, |(attempts, _)| attempts);
        self.failing = Some((attempts + 1, reason));
    }

    /// An attempt succeeded.
    pub fn note_success(&mut self) {
        let Self { app_id, place, .. } = &*self;
        if let Some((attempts, _)) = &self.failing {
            tracing::info!(
                "webhooks of app {app_id} are taken by {place} again, after {attempts} failed attempts"
            );
            self.failing = None;
        }
    }

    /// Events were dropped.
    pub fn note_lost(&mut self, count: u64, why: Lost, now: Millis) {
        self.unlogged[why as usize] += count;
        self.log_due(now);
    }

    /// When a line about dropped events is due, if there are any that no line has told of.
    pub fn due(&self) -> Option<Millis> {
        self.unlogged.iter().any(|&count| count > 0).then_some(self.quiet_until)
    }

    /// Logs dropped events if a line is due.
    pub fn log_due(&mut self, now: Millis) {
        if self.due().is_some_and(|due| due <= now) {
            self.quiet_until = Millis(now.0.saturating_add(QUIET_MS));
            self.log_lost();
        }
    }

    /// The thread has ended: what has not been logged is logged now.
    pub fn end(&mut self) {
        if self.due().is_some() {
            self.log_lost();
        }
    }

    fn log_lost(&mut self) {
        let Self { app_id, place, unlogged, .. } = self;
        let counts = std::mem::take(unlogged);
        let lost = Lost::ALL.iter().zip(counts).filter(|&(_, count)| count > 0);
        let reasons: Vec<String> = lost.map(|(why, count)| format!("{count} since {why}")).collect();
        tracing::warn!("dropped webhook events of app {app_id} for {place}: {}", reasons.join(", "));
    }
}

impl fmt::Display for Lost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Full => "too many waited",
            Self::TooLong => "they were not taken within the time of retries",
            Self::Stopped => "they were not taken, and sending ends",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dropped_events_are_logged_at_most_every_ten_seconds_and_none_is_left_out() {
        let mut trouble = Trouble::new("1", "http://h/a?token=x");
        trouble.note_lost(3, Lost::Full, Millis(0));
        assert_eq!((trouble.unlogged, trouble.due()), ([0; 3], None), "logged at once");
        trouble.note_lost(4, Lost::Full, Millis(1));
        trouble.note_lost(5, Lost::TooLong, Millis(9_999));
        assert_eq!((trouble.unlogged, trouble.due()), ([4, 5, 0], Some(Millis(10_000))));
        trouble.log_due(Millis(9_999));
        assert_eq!(trouble.unlogged, [4, 5, 0]);
        trouble.log_due(Millis(10_000));
        assert_eq!((trouble.unlogged, trouble.due()), ([0; 3], None), "though no more are lost");
        trouble.note_lost(2, Lost::Stopped, Millis(10_001));
        assert_eq!(trouble.unlogged, [0, 0, 2]);
        trouble.end();
        assert_eq!(trouble.unlogged, [0; 3], "the last line waits for nothing");
    }

    #[test]
    fn the_reason_of_the_last_failure_is_known_until_an_attempt_succeeds() {
        let mut trouble = Trouble::new("1", "http://h/a?token=x");
        assert_eq!((trouble.reason(), &*trouble.place), (None, "http://h/a"));
        trouble.note_failure(&"a");
        trouble.note_failure(&"b\n");
        assert_eq!(trouble.reason(), Some("b\\n"));
        trouble.note_success();
        assert_eq!(trouble.reason(), None);
    }
}
