//! The last refusals of an app, with their times and the sentences that clients were told.
//!
//! Which requests are refused is decided elsewhere.

use std::collections::VecDeque;
use std::fmt::Display;

use serde::Serialize;

use crate::server::excerpt::Excerpt;

/// How many are kept: what fits on a page.
pub const REFUSED_MAX: usize = 20;

/// The longest sentence, in bytes. Most have fewer than 250; one that quotes a text with a member's info is cut.
const SENTENCE_LEN_MAX: usize = 400;

/// A refusal.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Refused {
    /// When it last happened, in milliseconds since 1970.
    #[serde(rename = "at")]
    pub at_ms: u64,
    /// How often it has happened while it was in the list.
    pub times: u64,
    /// What the client was told.
    pub sentence: Box<str>,
}

/// The last refusals with different sentences.
///
/// Invariants: there are at most [`REFUSED_MAX`], the oldest first; no two have the same sentence.
#[derive(Debug, Default)]
pub struct RefusedList {
    list: VecDeque<Refused>,
    total: u64,
}

impl RefusedList {
    /// Adds a refusal. One with a sentence that is in the list is counted there, so that a client which repeats its
    /// mistake does not hide all others.
    pub fn note(&mut self, sentence: &dyn Display, at_ms: u64) {
        self.total += 1;
        let sentence = Excerpt { what: sentence, len_max: SENTENCE_LEN_MAX }.to_string().into_boxed_str();
        let known = self.list.iter().position(|refused| refused.sentence == sentence);
        let times = known.and_then(|at| self.list.remove(at)).map_or(0, |refused| refused.times);
        if self.list.len() == REFUSED_MAX {
            self.list.pop_front();
        }
        self.list.push_back(Refused { at_ms, times: times + 1, sentence });
    }

    /// The refusals, the newest first.
    pub fn newest_first(&self) -> Vec<Refused> {
        self.list.iter().rev().cloned().collect()
    }

    /// How many there were, also those that are no longer in the list.
    pub fn total(&self) -> u64 {
        self.total
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_twenty_are_kept() {
        let mut refused = RefusedList::default();
        (0..25).for_each(|at_ms| refused.note(&format!("number {at_ms}"), at_ms));
        let list = refused.newest_first();
        assert_eq!((list.len(), refused.total()), (20, 25));
        assert_eq!(list[0], Refused { at_ms: 24, times: 1, sentence: "number 24".into() });
        assert_eq!(list[19].at_ms, 5);
    }

    #[test]
    fn a_repeated_refusal_is_counted_in_its_place_and_hides_no_other() {
        let mut refused = RefusedList::default();
        refused.note(&"once", 1);
        (2..1002).for_each(|at_ms| refused.note(&"often", at_ms));
        let expected = [(1001, 1000, "often"), (1, 1, "once")];
        let list = refused.newest_first();
        let list: Vec<_> =
            list.iter().map(|refused| (refused.at_ms, refused.times, &*refused.sentence)).collect();
        assert_eq!(list, expected);
    }

    #[test]
    fn a_long_sentence_is_cut_and_stays_on_one_line() {
        let mut refused = RefusedList::default();
        refused.note(&"a\nb".repeat(1000), 1);
        let sentence = refused.newest_first().remove(0).sentence;
        assert!(sentence.len() <= 400 && !sentence.contains('\n'), "{sentence}");
    }
}
