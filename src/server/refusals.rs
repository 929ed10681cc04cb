//! Log lines of refusals: the first of a kind at once, then at most one in ten seconds with a count.
//!
//! What is refused, and why, is decided elsewhere.

use super::liveness::Millis;

/// One line a kind in this time: a flood of bad clients must not become a flood of lines.
const QUIET_MS: u64 = 10_000;

/// What is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A connection, for want of room.
    Connection,
    /// An HTTP request.
    Request,
    /// A WebSocket peer that broke the protocol or what it may send.
    Message,
    /// A subscriber that was too far behind.
    Lagged,
    /// A peer that did not answer a ping.
    Silent,
    /// A connection that held most when the memory was used up.
    Memory,
}

const KINDS: usize = 6;

/// When each kind was last named, and how many have been passed over since.
#[derive(Debug, Default)]
pub struct Refusals {
    kinds: [(Option<Millis>, u64); KINDS],
}

impl Refusals {
    /// Counts one refusal and writes a line if it is time for one.
    pub fn note(&mut self, kind: Kind, now: Millis, what: &dyn std::fmt::Display) {
        if let Some(unnamed) = self.count(kind, now) {
            tracing::warn!(kind = ?kind, unnamed, "refused: {what}");
        }
    }

    /// `Some(n)` if a line is due, n refusals of the kind having gone unnamed since the last one.
    fn count(&mut self, kind: Kind, now: Millis) -> Option<u64> {
        let (named_at, unnamed) = &mut self.kinds[kind as usize];
        if named_at.is_some_and(|at| now.0 < at.0 + QUIET_MS) {
            *unnamed += 1;
            return None;
        }
        *named_at = Some(now);
        Some(std::mem::take(unnamed))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_is_named_at_once_and_the_rest_are_counted() {
        let mut refusals = Refusals::default();
        assert_eq!(refusals.count(Kind::Request, Millis(5)), Some(0));
        assert_eq!(refusals.count(Kind::Request, Millis(6)), None);
        assert_eq!(refusals.count(Kind::Request, Millis(10_004)), None);
        assert_eq!(refusals.count(Kind::Request, Millis(10_005)), Some(2));
    }

    #[test]
    fn one_kind_does_not_silence_another() {
        let mut refusals = Refusals::default();
        assert_eq!(refusals.count(Kind::Request, Millis(5)), Some(0));
        assert_eq!(refusals.count(Kind::Lagged, Millis(5)), Some(0));
    }
}
