//! How many connections each user has, by the `sub` of its tokens.
//!
//! Whose token is good is decided elsewhere.

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::sync::Mutex;

use super::too_many::TooMany;
use crate::server::lock::lock;

/// Locks, so that loops seldom wait for each other.
const SHARDS: usize = 16;

/// The connections of users. A user without connections is not remembered.
#[derive(Debug)]
pub struct Users {
    connections_max: usize,
    hasher: RandomState,
    shards: [Mutex<HashMap<Box<str>, usize>>; SHARDS],
}

impl Users {
    /// At most this many for each user.
    pub fn new(connections_max: usize) -> Self {
        Self { connections_max, hasher: RandomState::new(), shards: Default::default() }
    }

    /// Counts one connection more.
    ///
    /// # Errors
    /// The user has as many as it may have.
    pub fn enter(&self, sub: &str) -> Result<(), TooMany> {
        let mut users = lock(self.shard(sub));
        match users.get_mut(sub) {
            Some(count) if *count >= self.connections_max => {
                return Err(TooMany::OfUser(sub.into(), self.connections_max));
            }
            Some(count) => *count += 1,
            None => {
                users.insert(sub.into(), 1);
            }
        }
        Ok(())
    }

    /// Counts one connection less.
    pub fn leave(&self, sub: &str) {
        let mut users = lock(self.shard(sub));
        match users.get_mut(sub) {
            Some(count) if *count > 1 => *count -= 1,
            Some(_) => {
                users.remove(sub);
            }
            None => debug_assert!(false, "{sub} left more often than it came"),
        }
    }

    fn shard(&self, sub: &str) -> &Mutex<HashMap<Box<str>, usize>> {
        &self.shards[self.hasher.hash_one(sub) as usize % SHARDS]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_user_has_at_most_so_many_connections_and_one_more_when_one_has_left() {
        let users = Users::new(2);
        assert_eq!((users.enter("a"), users.enter("a")), (Ok(()), Ok(())));
        assert_eq!(users.enter("a"), Err(TooMany::OfUser("a".into(), 2)));
        assert_eq!(users.enter("b"), Ok(()), "another user has its own");
        users.leave("a");
        assert_eq!(users.enter("a"), Ok(()));
    }

    #[test]
    fn who_has_left_is_forgotten() {
        let users = Users::new(2);
        for sub in ["a", "b", "c"] {
            users.enter(sub).unwrap();
            users.leave(sub);
        }
        assert!(users.shards.iter().all(|shard| lock(shard).is_empty()));
    }
}
