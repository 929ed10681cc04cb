//! What a program has done at intervals, on the first loop. Late ticks are skipped.
//!
//! What a tick does is the program's.

use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

use crate::server::clock::Millis;
use crate::server::connection::context::Context;
use crate::server::discard::discard;
use crate::server::handle::Handle;
use crate::server::handlers::panics::{OnPanic, Said};
use crate::server::metrics::refusals::Reason;

/// Something that is done at intervals.
pub struct Every {
    every_ms: u64,
    next: Millis,
    act: Box<dyn FnMut(&Handle) + Send>,
}

impl Every {
    /// Every so many milliseconds, at least one, for the first time after as many.
    pub fn new(every_ms: u64, act: Box<dyn FnMut(&Handle) + Send>) -> Self {
        let every_ms = every_ms.max(1);
        Self { every_ms, next: Millis(every_ms), act }
    }

    /// When it is due.
    pub fn next(&self) -> Millis {
        self.next
    }

    /// Does it if it is due. A panic is noted, and it goes on with the next one.
    pub fn tick(&mut self, cx: &Context) {
        if self.next > cx.now {
            return;
        }
        self.next = following(self.next, self.every_ms, cx.now);
        let (program, act) = (&cx.program, &mut self.act);
        if let Err(panic) = catch_unwind(AssertUnwindSafe(|| act(&program.handle))) {
            if program.on_panic == OnPanic::Stop {
                resume_unwind(panic);
            }
            program.note_panic();
            cx.note(Reason::Handler, &format_args!("a tick, which panicked: {}", Said(&*panic)));
            discard(panic);
        }
    }
}

/// The next time after `now` of a series: those that have passed are skipped.
fn following(due: Millis, every_ms: u64, now: Millis) -> Millis {
    let late_ms = now.0.saturating_sub(due.0);
    Millis(due.0.saturating_add(every_ms.saturating_mul(late_ms / every_ms + 1)))
}

impl fmt::Debug for Every {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Every({} ms, next at {:?})", self.every_ms, self.next)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn late_ticks_are_skipped_and_the_others_keep_their_times() {
        assert_eq!(following(Millis(100), 50, Millis(100)), Millis(150));
        assert_eq!(following(Millis(100), 50, Millis(149)), Millis(150));
        assert_eq!(following(Millis(100), 50, Millis(150)), Millis(200));
        assert_eq!(following(Millis(100), 50, Millis(1_020)), Millis(1_050));
        assert_eq!(following(Millis(100), u64::MAX, Millis(100)), Millis(u64::MAX));
    }
}
