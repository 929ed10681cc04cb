//! What is logged about the backend: that it fails, why, and that it decides again; at most a line in ten seconds.
//!
//! Nothing is decided here.

use std::fmt;
use std::io;

use crate::server::clock::Millis;
use crate::server::excerpt::Excerpt;

/// At most one line in this time: a backend that fails for one client and not for another must not become a flood of lines.
const QUIET_MS: u64 = 10_000;

/// The longest reason, in bytes.
const REASON_LEN_MAX: usize = 200;

/// The troubles of a backend.
#[derive(Debug)]
pub struct Trouble {
    /// The URL without its query, which may hold a password.
    place: Box<str>,
    /// Failed calls that no line has told of.
    unlogged: u64,
    /// Whether the last line said that it fails.
    is_failing: bool,
    quiet_until: Millis,
}

impl Trouble {
    /// Of the backend at this URL.
    pub fn new(url: &str) -> Self {
        let place = url.split_once('?').map_or(url, |(place, _)| place).into();
        Self { place, unlogged: 0, is_failing: false, quiet_until: Millis(0) }
    }

    /// A call failed.
    pub fn note_failure(&mut self, failure: &dyn fmt::Display, now: Millis) {
        self.unlogged += 1;
        if now < self.quiet_until {
            return;
        }
        let reason = Excerpt { what: failure, len_max: REASON_LEN_MAX };
        let Self { place, unlogged, .. } = &*self;
        tracing::warn!(
            "the backend at {place} does not decide: {reason} ({unlogged} failed calls). Nobody new is let in by it; who is in \
             stays for --auth-grace"
        );
        self.logged(true, now);
    }

    /// A call was answered.
    pub fn note_answer(&mut self, now: Millis) {
        if self.is_failing && now >= self.quiet_until {
            let Self { place, unlogged, .. } = &*self;
            tracing::info!("the backend at {place} decides again ({unlogged} more calls have failed)");
            self.logged(false, now);
        }
    }

    /// The system has no thread to call with.
    pub fn note_no_thread(&mut self, error: &io::Error, now: Millis) {
        if now >= self.quiet_until {
            tracing::error!(
                "the backend is not asked: the system refuses a thread: {error}. Raise the limit on processes or memory \
                 (ulimit -u, ulimit -v)"
            );
            self.logged(true, now);
        }
    }

    fn logged(&mut self, is_failing: bool, now: Millis) {
        (self.unlogged, self.is_failing) = (0, is_failing);
        self.quiet_until = Millis(now.0.saturating_add(QUIET_MS));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_backend_that_fails_is_logged_at_most_every_ten_seconds_and_no_failure_is_left_out() {
        let mut trouble = Trouble::new("http://h/a?token=x");
        assert_eq!(&*trouble.place, "http://h/a");
        trouble.note_answer(Millis(0));
        assert!(!trouble.is_failing);
        trouble.note_failure(&"a", Millis(1));
        assert_eq!((trouble.unlogged, trouble.is_failing), (0, true), "logged at once");
        trouble.note_failure(&"b", Millis(2));
        trouble.note_answer(Millis(10_000));
        assert_eq!((trouble.unlogged, trouble.is_failing), (1, true), "too soon");
        trouble.note_answer(Millis(10_001));
        assert_eq!((trouble.unlogged, trouble.is_failing), (0, false));
        trouble.note_failure(&"c", Millis(10_002));
        trouble.note_no_thread(&io::Error::other("d"), Millis(10_003));
        assert_eq!((trouble.unlogged, trouble.is_failing), (1, false));
        trouble.note_failure(&"e", Millis(20_001));
        assert_eq!((trouble.unlogged, trouble.is_failing), (0, true));
    }
}
