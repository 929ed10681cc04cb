//! What is logged about Redis: that it is away, why, and that it is back; at most a line in ten seconds.
//!
//! Nothing is decided here.

use std::fmt;

use super::place::Place;
use crate::server::clock::Millis;
use crate::server::excerpt::Excerpt;

/// At most one line in this time: what fails is tried again several times a second.
const QUIET_MS: u64 = 10_000;

/// The longest reason, in bytes.
const REASON_LEN_MAX: usize = 300;

/// The troubles.
#[derive(Debug, Default)]
pub struct Trouble {
    /// What was not logged, since it came too soon.
    unlogged: u64,
    /// Whether a line has said that Redis is away, and none that it is there.
    is_away: bool,
    quiet_until: Millis,
}

impl Trouble {
    /// A connection was lost, or is not to be had.
    pub fn note_lost(&mut self, place: &Place, why: &dyn fmt::Display, now: Millis) {
        let reason = Excerpt { what: why, len_max: REASON_LEN_MAX };
        let line = format_args!(
            "Redis at {place} is away: {reason}. Who reads stays; nobody new can join other channels, and nothing is published \
             until it is back"
        );
        self.is_away |= self.warn(&line, now);
    }

    /// A command was refused.
    pub fn note_refused(&mut self, what: &str, refusal: &dyn fmt::Display, now: Millis) {
        let reason = Excerpt { what: refusal, len_max: REASON_LEN_MAX };
        let _ = self.warn(&format_args!("Redis refuses {what}: {reason}"), now);
    }

    /// Something came for a channel that no node of this version has written.
    pub fn note_unreadable(&mut self, channel: &str, why: &dyn fmt::Display, now: Millis) {
        self.warn(
            &format_args!(
                "Redis has something in channel {channel} that is no publication ({why}): does another program use the \
                 same --redis-prefix, or a node of another version?"
            ),
            now,
        );
    }

    /// True if it is logged.
    fn warn(&mut self, line: &fmt::Arguments<'_>, now: Millis) -> bool {
        if now < self.quiet_until {
            self.unlogged += 1;
            return false;
        }
        match self.unlogged {
            0 => tracing::warn!("{line}"),
            unlogged => tracing::warn!("{line} ({unlogged} more times something failed)"),
        }
        (self.unlogged, self.quiet_until) = (0, Millis(now.0 + QUIET_MS));
        true
    }

    /// All connections are up. That is logged if it was logged that they are not.
    pub fn note_up(&mut self, place: &dyn fmt::Display) {
        if std::mem::take(&mut self.is_away) {
            tracing::info!("Redis is there: {place}");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_fails_again_within_ten_seconds_is_counted_and_not_logged() {
        let mut trouble = Trouble::default();
        let place = Place::Tcp("r".into(), 6379);
        trouble.note_lost(&place, &"a", Millis(0));
        assert_eq!((trouble.unlogged, trouble.is_away), (0, true), "logged at once");
        trouble.note_refused("a publication", &"OOM", Millis(9_999));
        assert_eq!(trouble.unlogged, 1);
        trouble.note_lost(&place, &"b", Millis(10_000));
        assert_eq!(trouble.unlogged, 0, "logged with those before");
        trouble.note_up(&place);
        assert!(!trouble.is_away);
        trouble.note_lost(&place, &"c", Millis(11_000));
        assert_eq!((trouble.unlogged, trouble.is_away), (1, false), "neither this nor its end is logged");
    }
}
