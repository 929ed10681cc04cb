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

/// The troubles of a receiver.
#[derive(Debug)]
pub struct Trouble {
    app_id: Box<str>,
    /// The URL without its query, which may hold a password.
    place: Box<str>,
    /// Attempts that failed since the last one that did not, and why the last did.
    failing: Option<(u64, String)>,
    /// Dropped events that no line has told of, and why the last of them was.
    unlogged: (u64, Lost),
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
            unlogged: (0, Lost::Full),
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
        self.unlogged = (self.unlogged.0 + count, why);
        if now >= self.quiet_until {
            self.quiet_until = Millis(now.0.saturating_add(QUIET_MS));
            self.log_lost();
        }
    }

    /// The thread has ended: what has not been logged is logged now.
    pub fn end(&mut self) {
        self.log_lost();
    }

    fn log_lost(&mut self) {
        let Self { app_id, place, unlogged: (count, why), .. } = self;
        if *count > 0 {
            tracing::warn!("dropped {count} webhook events of app {app_id} for {place}: {why}");
            *count = 0;
        }
    }
}

impl fmt::Display for Lost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Full => "too many wait for it",
            Self::TooLong => "it has not taken them within the time of retries",
            Self::Stopped => "it has not taken them, and sending ends",
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
        assert_eq!(trouble.unlogged.0, 0, "logged at once");
        trouble.note_lost(4, Lost::Full, Millis(1));
        trouble.note_lost(5, Lost::TooLong, Millis(9_999));
        assert_eq!(trouble.unlogged.0, 9);
        trouble.note_lost(1, Lost::Full, Millis(10_000));
        assert_eq!(trouble.unlogged.0, 0);
        trouble.note_lost(2, Lost::Stopped, Millis(10_001));
        assert_eq!(trouble.unlogged.0, 2);
        trouble.end();
        assert_eq!(trouble.unlogged.0, 0, "the last line waits for nothing");
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
