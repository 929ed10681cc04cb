//! The signed-in users of an app: their connections, and who watches whom.
//!
//! What a user or its watchers are sent is not decided here.

use std::collections::{HashMap, HashSet};

use crate::hub::Owner;

/// The users of an app that are signed in.
#[derive(Debug, Default)]
pub struct Users {
    /// Invariant: no list is empty.
    connections: HashMap<Box<str>, Vec<Owner>>,
    /// The connections that watch a user, whether the user is online or not.
    ///
    /// Invariant: no set is empty.
    watchers: HashMap<Box<str>, HashSet<Owner>>,
}

/// What a connection that signs in finds and changes.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct SignedIn {
    /// The connections to tell that the user is online; empty unless this is the user's first connection.
    pub watchers: Vec<Owner>,
    /// The users on its watchlist that are online.
    pub online: Vec<Box<str>>,
    /// Those that are not.
    pub offline: Vec<Box<str>>,
}

impl Users {
    /// A connection signs in as a user, and watches others.
    pub fn sign_in(&mut self, id: &str, owner: Owner, watchlist: &[Box<str>]) -> SignedIn {
        let connections = self.connections.entry(id.into()).or_default();
        let is_first = connections.is_empty();
        connections.push(owner);
        let watchers = if is_first { self.watchers_of(id) } else { Vec::new() };
        let mut signed_in = SignedIn { watchers, ..SignedIn::default() };
        for watched in watchlist {
            self.watchers.entry(watched.clone()).or_default().insert(owner);
            let is_online = self.connections.contains_key(watched);
            let list = if is_online { &mut signed_in.online } else { &mut signed_in.offline };
            list.push(watched.clone());
        }
        signed_in
    }

    /// A connection that had signed in has ended. Returns the connections to tell that the user is offline: none while
    /// the user has another connection.
    pub fn sign_out(&mut self, id: &str, owner: Owner, watchlist: &[Box<str>]) -> Vec<Owner> {
        for watched in watchlist {
            let Some(watchers) = self.watchers.get_mut(watched) else { continue };
            watchers.remove(&owner);
            if watchers.is_empty() {
                self.watchers.remove(watched);
            }
        }
        give_back(&mut self.watchers);
        let Some(connections) = self.connections.get_mut(id) else { return Vec::new() };
        connections.retain(|one| *one != owner);
        if !connections.is_empty() {
            return Vec::new();
        }
        self.connections.remove(id);
        give_back(&mut self.connections);
        self.watchers_of(id)
    }

    fn watchers_of(&self, id: &str) -> Vec<Owner> {
        self.watchers.get(id).map_or_else(Vec::new, |watchers| watchers.iter().copied().collect())
    }

    /// The connections of a user.
    pub fn connections(&self, id: &str) -> &[Owner] {
        self.connections.get(id).map_or(&[], Vec::as_slice)
    }

    /// The number of users that are signed in.
    pub fn len(&self) -> usize {
        self.connections.len()
    }
}

/// Gives back the room of entries that have gone, once it is more than three quarters.
fn give_back<T>(map: &mut HashMap<Box<str>, T>) {
    if map.len() < map.capacity() / 4 {
        map.shrink_to_fit();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn owner(number: u64) -> Owner {
        Owner { hub: 0, number }
    }

    fn ids(ids: &[&str]) -> Vec<Box<str>> {
        ids.iter().map(|&id| id.into()).collect()
    }

    #[test]
    fn watchers_are_told_of_the_first_connection_of_a_user_and_of_the_last() {
        let mut users = Users::default();
        let watching = ids(&["anna", "bert"]);
        let found = users.sign_in("cleo", owner(1), &watching);
        assert_eq!(found, SignedIn { offline: watching.clone(), ..SignedIn::default() });
        assert_eq!(users.sign_in("anna", owner(2), &[]).watchers, [owner(1)]);
        assert_eq!(users.sign_in("anna", owner(3), &[]).watchers, []);
        assert_eq!(users.connections("anna"), [owner(2), owner(3)]);
        assert_eq!(users.sign_out("anna", owner(2), &[]), []);
        assert_eq!(users.sign_out("anna", owner(3), &[]), [owner(1)]);
        assert_eq!(users.sign_out("cleo", owner(1), &watching), []);
        assert_eq!(users.len(), 0);
        assert!(users.connections.is_empty() && users.watchers.is_empty());
    }

    #[test]
    fn who_signs_in_finds_who_of_its_watchlist_is_online() {
        let mut users = Users::default();
        users.sign_in("anna", owner(1), &[]);
        let found = users.sign_in("cleo", owner(2), &ids(&["anna", "bert", "cleo"]));
        assert_eq!((found.online, found.offline), (ids(&["anna", "cleo"]), ids(&["bert"])));
    }
}
