//! The expire phase: what is due at this time, for connections and for the loop itself.
//!
//! What a connection does when it is due is in `connection`; the stop is in `shutdown`.

use super::EventLoop;
use super::housekeeping::FirstLoop;
use super::ticks::Every;
use crate::server::broker::mailbox::FIRST_LOOP;
use crate::server::clock::Millis;
use crate::server::connection::Next;
use crate::server::connection::table::Key;

/// The shortest time between two sweeps of the broker: what expires within a second is removed together. A second is short
/// against the minutes for which history is kept.
const SWEEP_MS: u64 = 1000;

impl EventLoop {
    /// Does what is due: timeouts of connections, expired history, a program's ticks, the dashboard's figures, the stop.
    pub(super) fn expire(&mut self) {
        self.arrivals.expire(self.context.now);
        while let Some((at, key)) = self.timers.pop(self.context.now) {
            self.expire_timer(at, key);
        }
        self.make_room();
        self.sweep();
        self.first_loop.ticks.iter_mut().for_each(|every| every.tick(&self.context));
        self.expire_figures();
        self.expire_drain();
    }

    fn expire_timer(&mut self, at: Millis, key: Key) {
        let Some((connection, cx)) = self.with(key) else { return };
        if connection.timer_at != at {
            return;
        }
        connection.timer_at = Millis(u64::MAX);
        let is_flush_due = connection.is_flush_due(cx);
        let (next, is_done) = match connection.due(cx) {
            // The timer is set again after the connection has been read or flushed.
            Some(due) if connection.is_excused(due) => (None, false),
            Some(due) => (Some(connection.expire(due, cx)), true),
            None => (Some(Next::Wait), false),
        };
        if is_flush_due || is_done {
            self.touched.push(key);
        }
        if let Some(next) = next {
            self.settle(key, next);
        }
    }

    /// Removes channels, publications and keys that have expired.
    fn sweep(&mut self) {
        let (broker, now) = (&self.context.shared.broker, self.context.now);
        if self.next_sweep().is_none_or(|at| at > now) {
            return;
        }
        broker.sweep(now);
        // A sweep is bounded; the rest is for the next turns.
        let is_more_due = broker.due_at().is_some_and(|at| at <= now);
        self.sweep.not_before = if is_more_due { now } else { Millis(now.0 + SWEEP_MS) };
    }

    fn next_sweep(&self) -> Option<Millis> {
        let due_at = self.context.shared.broker.due_at().filter(|_| self.context.loop_index == FIRST_LOOP)?;
        Some(due_at.max(self.sweep.not_before))
    }

    /// When the sweep, the figures and the program's ticks are due.
    pub(super) fn housekeeping_deadlines(&self) -> [Option<Millis>; 3] {
        let FirstLoop { ticker, ticks } = &self.first_loop;
        let tick = ticks.iter().map(Every::next).min();
        [self.next_sweep(), ticker.deadline(), tick]
    }

    /// Whether the figures have a new subscriber that this loop has not noticed yet.
    pub(super) fn is_called(&self) -> bool {
        self.is_to_watch()
    }
}
