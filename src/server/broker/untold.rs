//! The members of a presence channel of whom other nodes are to know something.
//!
//! What they are told is in `elsewhere`.

use std::collections::BTreeSet;

/// The members of a presence channel of whom other nodes are to know something.
#[derive(Debug, Default)]
pub struct Untold {
    pub users: BTreeSet<Box<str>>,
    /// All are to be told.
    pub is_whole: bool,
}

/// Above this many, all are told: a Redis that is away does not have them remembered one by one.
const UNTOLD_MAX: usize = 1024;

impl Untold {
    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.users.is_empty() && !self.is_whole
    }

    /// Something is new of this one.
    pub fn note(&mut self, user_id: &str) {
        if !self.is_whole {
            self.users.insert(user_id.into());
        }
        if self.users.len() > UNTOLD_MAX {
            (self.users, self.is_whole) = (BTreeSet::new(), true);
        }
    }
}
