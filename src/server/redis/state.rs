//! What other threads may know of Redis: whether it is there, and what was counted.
//!
//! The names that the numbers have outside are in `metrics`.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Condvar, Mutex, PoisonError};
use std::time::Duration;

use super::greeting::Unfit;
use super::line::Purpose;
use super::loss::Loss;
use super::place::Place;
use crate::hub::Gap;
use crate::server::broker::answer::NotPublished;
use crate::server::clock::Millis;
use crate::server::lock::lock;
use crate::server::metrics::snapshot::RedisFigures;

/// Stands for "not away".
const NEVER: u64 = u64::MAX;

/// How the first attempt to reach Redis went.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It is there.
    Up,
    /// It is not, at present.
    Away,
    /// It is, and cannot be used before somebody changes something: the sentence.
    Unfit(String),
}

impl Outcome {
    /// That of a connection that was lost or not to be had.
    pub fn of(place: &Place, loss: &Loss) -> Self {
        match loss {
            Loss::Unfit(Unfit::ForGood(sentence)) => Self::Unfit(format!("{place}: {sentence}")),
            Loss::Broken(broken) if broken.is_distrust() => Self::Unfit(format!("{place}: {broken}")),
            Loss::Unfit(Unfit::ForNow(_))
            | Loss::Broken(_)
            | Loss::Timeout
            | Loss::NotMaster
            | Loss::Name(_) => Self::Away,
        }
    }
}

/// What is known.
#[derive(Debug)]
pub struct State {
    first: Mutex<Option<Outcome>>,
    is_settled: Condvar,
    /// Since when nothing of it can be used, on the server's clock.
    away_since: AtomicU64,
    was_there: AtomicBool,
    /// Whether all of it can be.
    is_whole: AtomicBool,
    counts: Counts,
}

/// What is counted, and what there is at present.
#[derive(Debug, Default)]
struct Counts {
    answered: AtomicU64,
    refused: AtomicU64,
    unanswered: AtomicU64,
    losses: [[AtomicU64; Loss::LABELS.len()]; 2],
    gaps: AtomicU64,
    epochs: AtomicU64,
    filled: AtomicU64,
    calls: AtomicU64,
    records: AtomicU64,
    call_ns: AtomicU64,
    redirects: AtomicU64,
    unreadable: AtomicU64,
    queue_len: AtomicU64,
    channels: AtomicU64,
    nodes: AtomicU64,
}

impl Default for State {
    /// Of a Redis that was not reached yet.
    fn default() -> Self {
        Self {
            first: Mutex::default(),
            is_settled: Condvar::new(),
            away_since: AtomicU64::new(0),
            was_there: AtomicBool::new(false),
            is_whole: AtomicBool::new(false),
            counts: Counts::default(),
        }
    }
}

/// For other threads.
impl State {
    /// Waits for the outcome of the first attempt, for this long at most.
    pub fn wait_for_first(&self, time: Duration) -> Outcome {
        let first = lock(&self.first);
        let waited = self.is_settled.wait_timeout_while(first, time, |first| first.is_none());
        let (first, _) = waited.unwrap_or_else(PoisonError::into_inner);
        first.clone().unwrap_or(Outcome::Away)
    }

    /// Since when Redis is away, if it is. A cluster is while none of its masters can be used.
    pub fn away_since(&self) -> Option<Millis> {
        let since = self.away_since.load(Ordering::Relaxed);
        (since != NEVER).then_some(Millis(since))
    }

    /// Whether it was ever there.
    pub fn was_there(&self) -> bool {
        self.was_there.load(Ordering::Relaxed)
    }

    /// The numbers at this moment.
    pub fn figures(&self) -> RedisFigures {
        let Counts {
            answered,
            refused,
            unanswered,
            losses,
            gaps,
            epochs,
            filled,
            calls,
            records,
            call_ns,
            redirects,
            unreadable,
            queue_len,
            channels,
            nodes,
        } = &self.counts;
        let of = |number: &AtomicU64| number.load(Ordering::Relaxed);
        let purposes = ["publish", "subscribe"].iter().zip(losses);
        RedisFigures {
            is_up: self.is_whole.load(Ordering::Relaxed),
            commands: vec![("ok", of(answered)), ("refused", of(refused)), ("unanswered", of(unanswered))],
            reconnects: purposes
                .flat_map(|(&purpose, losses)| {
                    Loss::LABELS.iter().zip(losses).map(move |(&label, count)| (purpose, label, of(count)))
                })
                .collect(),
            resyncs: vec![("filled", of(filled)), ("gap", of(gaps)), ("epoch", of(epochs))],
            calls: of(calls),
            records: of(records),
            call_time: Duration::from_nanos(of(call_ns)),
            redirects: of(redirects),
            unreadable: of(unreadable),
            queue_bytes: of(queue_len),
            channels: of(channels),
            // This one too.
            nodes: of(nodes) + 1,
        }
    }
}

/// For the thread.
impl State {
    /// How the first attempt went. Later ones change nothing.
    pub fn note_first(&self, outcome: Outcome) {
        lock(&self.first).get_or_insert(outcome);
        self.is_settled.notify_all();
    }

    /// Whether all of Redis can be used now, or something of it.
    pub fn note_reach(&self, is_whole: bool, is_reachable: bool, now: Millis) {
        self.is_whole.store(is_whole, Ordering::Relaxed);
        self.was_there.fetch_or(is_reachable, Ordering::Relaxed);
        match (is_reachable, self.away_since()) {
            (true, Some(_)) => self.away_since.store(NEVER, Ordering::Relaxed),
            (false, None) => self.away_since.store(now.0, Ordering::Relaxed),
            (true, None) | (false, Some(_)) => {}
        }
    }

    /// A connection was lost, or was not to be had.
    pub fn note_lost(&self, purpose: Purpose, loss: &Loss) {
        let losses = match purpose {
            Purpose::Publish => &self.counts.losses[0],
            Purpose::Subscribe => &self.counts.losses[1],
            Purpose::Scout => return,
        };
        let at = Loss::LABELS.iter().position(|label| *label == loss.label());
        at.into_iter().for_each(|at| add(&losses[at], 1));
    }

    /// Something was missing, and was read.
    pub fn note_filled(&self) {
        add(&self.counts.filled, 1);
    }

    /// Something is missing.
    pub fn note_gap(&self, gap: Gap) {
        add(if gap.missed.is_some() { &self.counts.gaps } else { &self.counts.epochs }, 1);
    }

    /// A call was answered after this time; it has so many records.
    pub fn note_call(&self, records: u64, time: Duration) {
        add(&self.counts.calls, 1);
        add(&self.counts.records, records);
        add(&self.counts.call_ns, u64::try_from(time.as_nanos()).unwrap_or(u64::MAX));
    }

    /// A command was sent to another server than it belongs to.
    pub fn note_redirect(&self) {
        add(&self.counts.redirects, 1);
    }

    /// Something is no publication.
    pub fn note_unreadable(&self) {
        add(&self.counts.unreadable, 1);
    }

    /// What has become of a publication.
    pub fn note_outcome(&self, fault: Option<NotPublished>) {
        let count = match fault {
            None | Some(NotPublished::KeyReused) => &self.counts.answered,
            Some(NotPublished::Refused) => &self.counts.refused,
            Some(NotPublished::Unanswered) => &self.counts.unanswered,
        };
        add(count, 1);
    }

    /// What there is after a turn: bytes that wait, channels, other nodes.
    pub fn note_turn(&self, queue_len: usize, channels: usize, nodes: usize) {
        self.counts.queue_len.store(queue_len as u64, Ordering::Relaxed);
        self.counts.channels.store(channels as u64, Ordering::Relaxed);
        self.counts.nodes.store(nodes as u64, Ordering::Relaxed);
    }
}

fn add(count: &AtomicU64, more: u64) {
    count.fetch_add(more, Ordering::Relaxed);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_outcome_is_the_one_that_is_waited_for() {
        let state = State::default();
        assert_eq!(state.wait_for_first(Duration::ZERO), Outcome::Away, "not known yet");
        state.note_first(Outcome::Unfit("x".into()));
        state.note_first(Outcome::Up);
        assert_eq!(state.wait_for_first(Duration::ZERO), Outcome::Unfit("x".into()));
    }

    #[test]
    fn a_cluster_is_away_while_none_of_its_masters_can_be_used() {
        let state = State::default();
        let reach = |is_whole, is_reachable, now| {
            state.note_reach(is_whole, is_reachable, Millis(now));
            (state.figures().is_up, state.away_since())
        };
        assert_eq!(reach(true, true, 1), (true, None));
        assert_eq!(reach(false, true, 2), (false, None));
        assert_eq!(reach(false, false, 7), (false, Some(Millis(7))));
        assert_eq!(reach(false, false, 8), (false, Some(Millis(7))));
        assert_eq!(reach(false, true, 9), (false, None));
    }

    #[test]
    fn losses_are_counted_by_connection_and_reason() {
        let state = State::default();
        state.note_lost(Purpose::Subscribe, &Loss::Timeout);
        state.note_lost(Purpose::Scout, &Loss::Timeout);
        let figures = state.figures();
        let counted: Vec<_> = figures.reconnects.iter().filter(|(.., count)| *count > 0).collect();
        assert_eq!(counted, [&("subscribe", "timeout", 1)]);
    }
}
