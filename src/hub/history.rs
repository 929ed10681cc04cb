//! The last publications of a channel, and which of them a reconnecting subscriber has missed.
//!
//! How a subscriber names its position, and in which bytes it is answered, is not known here. Times are milliseconds of
//! whatever clock the caller has.

use std::collections::VecDeque;
use std::sync::Arc;

use super::gap::Gap;
use super::{Publication, PublicationId};

/// How much of a channel is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HistoryLimits {
    /// The most publications that are kept; 0 keeps none.
    pub count: usize,
    /// The most bytes of payload that are kept. The newest publication is kept even if it alone is longer: else no
    /// long-poll client would ever receive it. 0 keeps none.
    pub bytes: u64,
    /// The age at which a publication is dropped, in milliseconds.
    pub age_ms: u64,
}

/// The last publications of a channel.
///
/// Invariants: sequences ascend without a hole, and the last is the channel's newest unless nothing is kept; times do not
/// fall; `bytes` is the sum of the payloads' lengths.
#[derive(Debug, Default)]
pub struct History {
    kept: VecDeque<Kept>,
    bytes: u64,
}

#[derive(Debug)]
struct Kept {
    at_ms: u64,
    publication: Arc<Publication>,
}

/// From where a subscriber wants to read a channel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Position {
    /// What is published from now on.
    Now,
    /// The last N of the kept publications, or all if there are fewer, then what is published from now on.
    Last(usize),
    /// Everything after this publication.
    After(PublicationId),
    /// Everything after a publication of a channel that is not this one: all that is kept, and it is not all.
    Elsewhere,
}

/// What a subscriber gets that reads from a position: the kept publications after it, and whether these are all.
#[derive(Clone, Debug)]
pub struct Resumption {
    /// The publication before the first of `publications`, without a hole between them.
    pub since: PublicationId,
    /// Whether something between the position and `since` is lost.
    pub gap: Option<Gap>,
    /// The kept publications after `since`, oldest first.
    pub publications: VecDeque<Arc<Publication>>,
    /// Whether later ones may come late, until the reader is told that they do not any more.
    pub is_paused: bool,
}

impl History {
    /// Adds the channel's newest publication, which was made at `at_ms`, and drops what exceeds the limits then: the new one
    /// too if it is too old. It counts as made not before the one before it, and not after now.
    pub fn push(&mut self, publication: Arc<Publication>, at_ms: u64, now_ms: u64, limits: &HistoryLimits) {
        debug_assert!(
            self.newest().is_none_or(|newest| newest + 1 == publication.id.sequence),
            "history has no hole"
        );
        if limits.count == 0 {
            return;
        }
        self.bytes += publication.data.len() as u64;
        let at_ms = self.kept.back().map_or(0, |newest| newest.at_ms).max(at_ms.min(now_ms));
        self.kept.push_back(Kept { at_ms, publication });
        self.expire(now_ms, limits);
    }

    /// Drops what exceeds the limits.
    pub fn expire(&mut self, now_ms: u64, limits: &HistoryLimits) {
        self.expire_some(now_ms, limits, usize::MAX);
    }

    /// Drops what exceeds the limits, at most `most` publications, and returns how many were dropped.
    pub fn expire_some(&mut self, now_ms: u64, limits: &HistoryLimits, most: usize) -> usize {
        let mut expired = 0;
        while expired < most
            && let Some(oldest) = self.kept.front()
            && (self.kept.len() > limits.count
                || self.bytes > limits.bytes && (self.kept.len() > 1 || limits.bytes == 0)
                || now_ms.saturating_sub(oldest.at_ms) >= limits.age_ms)
        {
            self.evict_oldest();
            expired += 1;
        }
        expired
    }

    /// Drops the oldest publication. False if nothing is kept.
    pub fn evict_oldest(&mut self) -> bool {
        let Some(oldest) = self.kept.pop_front() else { return false };
        self.bytes -= oldest.publication.data.len() as u64;
        if self.kept.is_empty() {
            self.kept = VecDeque::new();
        }
        true
    }

    /// The oldest of the kept publications.
    #[must_use]
    pub fn first(&self) -> Option<PublicationId> {
        self.kept.front().map(|oldest| oldest.publication.id)
    }

    /// The bytes of the payloads that are kept.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// When the oldest of the kept publications was made.
    #[must_use]
    pub fn oldest_ms(&self) -> Option<u64> {
        self.kept.front().map(|oldest| oldest.at_ms)
    }

    /// The kept publications that were made at this time or later, oldest first.
    pub fn since(&self, at_ms: u64) -> impl Iterator<Item = &Arc<Publication>> {
        let first = self.kept.partition_point(|kept| kept.at_ms < at_ms);
        self.kept.iter().skip(first).map(|kept| &kept.publication)
    }

    /// How many bytes are kept, if each publication costs `each` besides its payload.
    #[must_use]
    pub fn held_len(&self, each: usize) -> usize {
        self.bytes as usize + self.kept.len() * each
    }

    /// Whether nothing is kept.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.kept.is_empty()
    }

    /// What a reader from `position` gets; `newest` is the channel's newest publication, with the sequence 0 if
    /// there was none.
    #[must_use]
    pub fn resume(&self, position: Position, newest: PublicationId) -> Resumption {
        debug_assert!(self.newest().is_none_or(|sequence| sequence == newest.sequence));
        let kept = self.kept.len() as u64;
        let (count, gap) = match position {
            Position::Now => (0, None),
            Position::Last(count) => (kept.min(count as u64), None),
            Position::After(id) if id.epoch == newest.epoch && id.sequence <= newest.sequence => {
                let wanted = newest.sequence - id.sequence;
                let lost = wanted.saturating_sub(kept);
                (wanted - lost, (lost > 0).then_some(Gap { missed: Some(lost) }))
            }
            Position::After(_) | Position::Elsewhere => (kept, Some(Gap { missed: None })),
        };
        let publications = self.kept.iter().skip((kept - count) as usize);
        Resumption {
            since: PublicationId { epoch: newest.epoch, sequence: newest.sequence - count },
            gap,
            publications: publications.map(|kept| Arc::clone(&kept.publication)).collect(),
            is_paused: false,
        }
    }

    fn newest(&self) -> Option<u64> {
        self.kept.back().map(|kept| kept.publication.id.sequence)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: HistoryLimits = HistoryLimits { count: 3, bytes: 100, age_ms: 1000 };

    fn id(sequence: u64) -> PublicationId {
        PublicationId { epoch: 7, sequence }
    }

    fn publication(sequence: u64, len: usize) -> Arc<Publication> {
        Arc::new(Publication { id: id(sequence), ..Publication::test(sequence, vec![0; len]) })
    }

    /// A history of `count` publications, all of time 0.
    fn history_of(count: u64) -> History {
        let mut history = History::default();
        for sequence in 1..=count {
            history.push(publication(sequence, 10), 0, 0, &LIMITS);
        }
        history
    }

    fn sequences(resumption: &Resumption) -> Vec<u64> {
        resumption.publications.iter().map(|publication| publication.id.sequence).collect()
    }

    /// What follows, after which sequence, and the gap.
    fn resumed(history: &History, position: Position, newest: u64) -> (Vec<u64>, u64, Option<Gap>) {
        let resumption = history.resume(position, id(newest));
        (sequences(&resumption), resumption.since.sequence, resumption.gap)
    }

    #[test]
    fn a_reconnecting_subscriber_gets_what_it_missed_and_nothing_twice() {
        let history = history_of(3);
        assert_eq!(resumed(&history, Position::After(id(0)), 3), (vec![1, 2, 3], 0, None));
        assert_eq!(resumed(&history, Position::After(id(2)), 3), (vec![3], 2, None));
        assert_eq!(resumed(&history, Position::After(id(3)), 3), (vec![], 3, None));
    }

    #[test]
    fn a_subscriber_that_missed_more_than_is_kept_is_told_how_many_are_lost() {
        let history = history_of(5);
        let gap = Some(Gap { missed: Some(1) });
        assert_eq!(resumed(&history, Position::After(id(1)), 5), (vec![3, 4, 5], 2, gap));
        assert_eq!(resumed(&history, Position::After(id(2)), 5), (vec![3, 4, 5], 2, None));
        let gap = Some(Gap { missed: Some(2) });
        assert_eq!(resumed(&History::default(), Position::After(id(3)), 5), (vec![], 5, gap));
    }

    #[test]
    fn an_identifier_of_another_epoch_or_of_the_future_is_a_gap_of_unknown_length() {
        let history = history_of(3);
        let elsewhere = PublicationId { epoch: 8, sequence: 2 };
        for position in [Position::After(elsewhere), Position::After(id(4)), Position::Elsewhere] {
            let (kept, since, gap) = resumed(&history, position, 3);
            assert_eq!((kept, since, gap), (vec![1, 2, 3], 0, Some(Gap { missed: None })), "{position:?}");
        }
    }

    #[test]
    fn a_request_for_the_last_n_publications_is_never_a_gap() {
        let history = history_of(5);
        assert_eq!(resumed(&history, Position::Last(2), 5), (vec![4, 5], 3, None));
        assert_eq!(resumed(&history, Position::Last(9), 5), (vec![3, 4, 5], 2, None));
        assert_eq!(resumed(&history, Position::Now, 5), (vec![], 5, None));
    }

    #[test]
    fn history_is_bounded_by_bytes_but_for_the_newest() {
        let mut history = history_of(1);
        history.push(publication(2, 95), 0, 0, &LIMITS);
        assert_eq!(resumed(&history, Position::Last(9), 2).0, [2]);
        history.push(publication(3, 101), 0, 0, &LIMITS);
        assert_eq!(resumed(&history, Position::Last(9), 3).0, [3]);
        history.push(publication(4, 100), 0, 0, &LIMITS);
        assert_eq!((resumed(&history, Position::Last(9), 4).0, history.bytes), (vec![4], 100));
    }

    #[test]
    fn history_is_bounded_by_age() {
        let mut history = history_of(1);
        history.push(publication(2, 10), 600, 600, &LIMITS);
        history.expire(999, &LIMITS);
        assert_eq!(resumed(&history, Position::Last(9), 2).0, [1, 2]);
        history.expire(1000, &LIMITS);
        assert_eq!(resumed(&history, Position::Last(9), 2).0, [2]);
        history.expire(1600, &LIMITS);
        assert!(history.is_empty());
    }

    #[test]
    fn what_comes_late_is_as_old_as_it_was_made_and_no_older_than_what_came_before() {
        let mut history = History::default();
        history.push(publication(1, 10), 500, 900, &LIMITS);
        history.push(publication(2, 10), 400, 900, &LIMITS);
        history.push(publication(3, 10), 2000, 900, &LIMITS);
        assert_eq!(history.kept.iter().map(|kept| kept.at_ms).collect::<Vec<_>>(), [500, 500, 900]);
        history.expire(1499, &LIMITS);
        assert_eq!(resumed(&history, Position::Last(9), 3).0, [1, 2, 3]);
        history.expire(1500, &LIMITS);
        assert_eq!(resumed(&history, Position::Last(9), 3).0, [3]);
    }

    #[test]
    fn what_comes_when_it_is_too_old_already_is_not_kept_nor_is_anything_before_it() {
        let mut history = History::default();
        history.push(publication(1, 10), 0, 900, &LIMITS);
        history.push(publication(2, 10), 100, 1100, &LIMITS);
        assert!(history.is_empty());
        let gap = Some(Gap { missed: Some(2) });
        assert_eq!(resumed(&history, Position::After(id(0)), 2), (vec![], 2, gap));
        history.push(publication(3, 10), 1000, 1100, &LIMITS);
        assert_eq!(resumed(&history, Position::After(id(2)), 3), (vec![3], 2, None));
    }

    #[test]
    fn a_count_or_bytes_of_0_keep_nothing() {
        for limits in [HistoryLimits { count: 0, ..LIMITS }, HistoryLimits { bytes: 0, ..LIMITS }] {
            let mut history = History::default();
            history.push(publication(1, 10), 0, 0, &limits);
            assert!(history.is_empty());
        }
    }
}
