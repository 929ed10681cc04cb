//! When a backend that is away is left alone: after several calls in a row without an answer, for a second; then one call
//! tries whether it is back.
//!
//! Which calls are made is not known here.

use super::decision::Fault;

/// After this many calls in a row that the backend did not answer, it is left alone. More than one, so that a client whose
/// own cookie makes the backend hang does not shut out the others; fewer than the calls at once, so that those who wait are
/// told soon.
const ABSENT_MAX: u32 = 8;

/// How long.
const PAUSE_MS: u64 = 1_000;

/// Whether calls may be made.
#[derive(Debug, Default)]
pub(super) struct Breaker {
    absent_in_row: u32,
    until_ms: u64,
}

impl Breaker {
    /// Whether a new call may be made now, if that many are under way or wait.
    pub(super) fn permits(&self, under_way: usize, now_ms: u64) -> bool {
        !self.is_on() || now_ms >= self.until_ms && under_way == 0
    }

    /// A call failed. True if the backend is to be left alone: calls that wait are not made either.
    pub(super) fn note_fault(&mut self, fault: Fault, now_ms: u64) -> bool {
        if !fault.is_absence() {
            // It answered, if not well.
            self.note_answer();
            return false;
        }
        self.absent_in_row = self.absent_in_row.saturating_add(1);
        if self.is_on() {
            self.until_ms = now_ms.saturating_add(PAUSE_MS);
        }
        self.is_on()
    }

    /// A call was answered.
    pub(super) fn note_answer(&mut self) {
        self.absent_in_row = 0;
    }

    /// Whether the backend is taken to be away.
    pub(super) fn is_on(&self) -> bool {
        self.absent_in_row >= ABSENT_MAX
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn after_eight_calls_without_an_answer_there_is_a_pause_of_a_second_and_then_one_call() {
        let mut breaker = Breaker::default();
        for at in 0..7 {
            assert!(!breaker.note_fault(Fault::Unreachable, at) && breaker.permits(32, at));
        }
        assert!(breaker.note_fault(Fault::Timeout(2000), 7));
        assert!(!breaker.permits(0, 1006) && breaker.permits(0, 1007) && !breaker.permits(1, 1007));
        assert!(breaker.note_fault(Fault::Status(502), 1010), "that one failed too");
        assert!(!breaker.permits(0, 2009) && breaker.permits(0, 2010));
        breaker.note_answer();
        assert!(breaker.permits(32, 2010));
        assert!(!breaker.note_fault(Fault::Unreachable, 2011));
    }

    #[test]
    fn a_backend_that_answers_badly_is_not_away() {
        let mut breaker = Breaker::default();
        for at in 0..100 {
            breaker.note_fault(Fault::Unreachable, at);
            assert!(
                !breaker.note_fault(Fault::Status(500), at) && !breaker.note_fault(Fault::Unreadable, at)
            );
        }
        assert!(breaker.permits(32, 100));
    }
}
