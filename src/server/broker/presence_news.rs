//! What other nodes do not know yet of who is in a channel here.
//!
//! What they are told is in `presence_shared`.

use std::collections::BTreeSet;
use std::sync::Arc;

/// What other nodes do not know yet of who is here.
#[derive(Debug, Default)]
pub struct News {
    /// The members of whom something is new, or who have gone.
    pub subs: BTreeSet<Arc<str>>,
    /// All is new.
    pub is_whole: bool,
    /// How many without a name they know of.
    pub unnamed: u64,
}

/// Above this many members of whom something is new, all are told: a Redis that is away does not have them remembered one by one.
pub const NEWS_MAX: usize = 1024;

impl News {
    /// Whether there is any, where so many without a name are here.
    pub fn is_any(&self, unnamed: u64) -> bool {
        self.is_whole || !self.subs.is_empty() || self.unnamed != unnamed
    }
}

/// Something is new of a member, where others are to know it.
pub fn note_news(news: &mut Option<News>, sub: &Arc<str>) {
    let Some(news) = news.as_mut().filter(|news| !news.is_whole) else { return };
    news.subs.insert(Arc::clone(sub));
    if news.subs.len() > NEWS_MAX {
        (news.is_whole, news.subs) = (true, BTreeSet::new());
    }
}
