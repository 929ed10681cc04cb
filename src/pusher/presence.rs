//! The members of one presence channel: users, each with the number of its connections here, and whether it has some at another
//! node of those that share the channel.
//!
//! Which connection is a member's, and who is told, is not known here.

use std::collections::BTreeMap;

/// Who a subscriber of a presence channel is, as the app's server signed it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member {
    /// Its identifier; a number has become text.
    pub user_id: Box<str>,
    /// What the others may know of it: one JSON value as it was signed, `None` if nothing or `null`.
    pub user_info: Option<Box<str>>,
}

/// The members of a channel, in the order of their identifiers.
#[derive(Debug, Default)]
pub struct Members {
    users: BTreeMap<Box<str>, Present>,
    /// The bytes of identifiers and infos.
    ///
    /// Invariant: the sum over `users`.
    text_len: usize,
    /// Invariant: the users that leave.
    leaving_len: usize,
}

/// What is known of a member.
#[derive(Debug)]
struct Present {
    info: Option<Box<str>>,
    /// Invariant: at least 1, unless it is elsewhere, parts or leaves.
    connections: usize,
    /// Whether it has connections at other nodes, as these have said.
    is_elsewhere: bool,
    /// Whether its last connection here has left, and it is to be said whether it is elsewhere.
    is_parting: bool,
    /// Whether it has been heard that other nodes know of it here.
    is_known: bool,
    /// Whether it is at no node any more, and about to be said to have left.
    is_leaving: bool,
}

/// What a connection that joins is to the others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum Joined {
    /// The first one of a user: the others are told.
    First,
    /// One more of a user that is a member.
    Again,
    /// The first one of a user that was about to be said to have left, and is another one by its info: the others are told
    /// that it has left, and that it has come.
    Anew,
}

/// What a connection that leaves is to the others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum Left {
    /// The last one of a user: the others are told.
    Last,
    /// The user is still a member by another connection, or was none.
    Stays,
}

impl Members {
    /// A connection of the member has joined. The info of the user's first connection is kept.
    pub fn join(&mut self, member: &Member) -> Joined {
        let is_nowhere = |present: &Present| present.is_parting && !present.is_elsewhere;
        let (joined, present) = self.enter(member, is_nowhere);
        (present.connections, present.is_parting) = (present.connections + 1, false);
        joined
    }

    /// A user has joined at another node. Among them, they keep the info of its first connection: if it is not here and they know
    /// it by another one, it had left.
    pub fn join_elsewhere(&mut self, member: &Member) -> Joined {
        let (joined, present) = self.enter(member, |present| present.connections == 0);
        present.is_elsewhere = true;
        joined
    }

    /// Finds a user, or adds it. One that was about to be said to have left, or `has_left`, is another one if its info is.
    fn enter(&mut self, member: &Member, has_left: impl Fn(&Present) -> bool) -> (Joined, &mut Present) {
        let Self { users, text_len, leaving_len, .. } = self;
        let mut joined = Joined::Again;
        let present = users.entry(member.user_id.clone()).or_insert_with(|| {
            joined = Joined::First;
            let present = Present::new(member.user_info.clone());
            *text_len += present.text_len(&member.user_id);
            present
        });
        let was_leaving = std::mem::take(&mut present.is_leaving);
        if was_leaving {
            *leaving_len -= 1;
        }
        if present.info != member.user_info && (was_leaving || has_left(present)) {
            joined = Joined::Anew;
            *text_len -= present.text_len(&member.user_id);
            *present = Present { is_known: present.is_known, ..Present::new(member.user_info.clone()) };
            *text_len += present.text_len(&member.user_id);
        }
        (joined, present)
    }

    /// A user has left at all other nodes. True if it is not here either: it is a member until it is [gone](Self::take_gone). For a
    /// user that was not there, nothing changes.
    pub fn leave_elsewhere(&mut self, user_id: &str) -> bool {
        let Some(present) = self.users.get_mut(user_id).filter(|present| !present.is_leaving) else {
            return false;
        };
        (present.is_elsewhere, present.is_parting) = (false, false);
        if present.connections == 0 {
            present.is_leaving = true;
            self.leaving_len += 1;
        }
        present.is_leaving
    }

    /// A user that was about to be said to have left is not a member any more. False if it has come back.
    pub fn take_gone(&mut self, user_id: &str) -> bool {
        let Some(present) = self.users.get(user_id).filter(|present| present.is_leaving) else {
            return false;
        };
        self.text_len -= present.text_len(user_id);
        self.leaving_len -= 1;
        self.users.remove(user_id);
        true
    }

    /// Other nodes are not heard of any more: who is there only is forgotten.
    pub fn forget_elsewhere(&mut self) {
        self.leaving_len = 0;
        let text_len = &mut self.text_len;
        self.users.retain(|user_id, present| {
            (present.is_elsewhere, present.is_parting, present.is_leaving) = (false, false, false);
            let is_here = present.connections > 0;
            if !is_here {
                *text_len -= present.text_len(user_id);
            }
            is_here
        });
    }

    /// The users that have connections at other nodes, or may have.
    pub fn elsewhere(&self) -> impl Iterator<Item = &str> {
        let is_there = |present: &Present| present.is_elsewhere || present.is_parting;
        self.users.iter().filter(move |(_, present)| is_there(present)).map(|(user_id, _)| &**user_id)
    }

    /// The users that have connections here.
    pub fn here(&self) -> impl Iterator<Item = &str> {
        self.users.iter().filter(|(_, present)| present.connections > 0).map(|(user_id, _)| &**user_id)
    }

    /// The users that other nodes know of here and that have left since.
    pub fn departed(&self) -> impl Iterator<Item = &str> {
        let departed = |present: &Present| present.is_known && present.connections == 0;
        self.users.iter().filter(move |(_, present)| departed(present)).map(|(user_id, _)| &**user_id)
    }

    /// Other nodes know that a user is here, or that it is not. For a user that is no member, nothing changes.
    pub fn set_known(&mut self, user_id: &str, is_known: bool) {
        if let Some(present) = self.users.get_mut(user_id) {
            present.is_known = is_known;
        }
    }

    /// Whether other nodes know that a user is here.
    #[must_use]
    pub fn is_known(&self, user_id: &str) -> bool {
        self.users.get(user_id).is_some_and(|present| present.is_known)
    }

    /// How many connections a user has here.
    #[must_use]
    pub fn connections(&self, user_id: &str) -> usize {
        self.users.get(user_id).map_or(0, |present| present.connections)
    }

    /// A connection of the user has left. For a user that is no member, nothing changes.
    pub fn leave(&mut self, user_id: &str) -> Left {
        match self.users.get_mut(user_id) {
            None => return Left::Stays,
            Some(present) if present.connections > 1 || present.is_elsewhere => {
                present.connections = present.connections.saturating_sub(1);
                return Left::Stays;
            }
            Some(present) => self.text_len -= present.text_len(user_id),
        }
        self.users.remove(user_id);
        Left::Last
    }

    /// A connection of the user has left where other nodes may have some of it: they decide whether it was the last one, and it is
    /// a member until [`Members::leave_elsewhere`].
    pub fn leave_here(&mut self, user_id: &str) {
        if let Some(present) = self.users.get_mut(user_id) {
            present.connections = present.connections.saturating_sub(1);
            present.is_parting = present.connections == 0;
        }
    }

    /// The number of members: of users, not of connections.
    #[must_use]
    pub fn len(&self) -> usize {
        self.users.len()
    }

    /// Whether there are no members.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.users.is_empty()
    }

    /// Whether the user may join where there are at most `members_max`: one more connection of a member always may. Who is about
    /// to be said to have left takes no place, and needs one to come back.
    #[must_use]
    pub fn has_room_for(&self, user_id: &str, members_max: usize) -> bool {
        let stays = self.users.get(user_id).is_some_and(|present| !present.is_leaving);
        stays || self.len() - self.leaving_len < members_max
    }

    /// Whether the user is a member.
    #[must_use]
    pub fn contains(&self, user_id: &str) -> bool {
        self.users.contains_key(user_id)
    }

    /// The identifiers of the members, in order.
    pub fn ids(&self) -> impl Iterator<Item = &str> {
        self.users.keys().map(AsRef::as_ref)
    }

    /// What the others may know of the member: JSON.
    #[must_use]
    pub fn info(&self, user_id: &str) -> Option<&str> {
        self.users.get(user_id)?.info.as_deref()
    }

    /// About how many bytes it holds on the heap.
    #[must_use]
    pub fn held_len(&self) -> usize {
        // A node of the map is at least half full.
        self.text_len + self.users.len() * 2 * size_of::<(Box<str>, Present)>()
    }

    /// What a new member is told (4.4): `{"presence":{"ids":[…],"hash":{…},"count":N}}`. The hash has every member, those
    /// without info as `null`; a client looks itself up there.
    #[must_use]
    pub fn to_data(&self) -> String {
        let (mut ids, mut hash) = (String::new(), String::new());
        for (user_id, present) in &self.users {
            let id = serde_json::to_string(user_id).expect("a text is always JSON");
            for list in [&mut ids, &mut hash].into_iter().filter(|list| !list.is_empty()) {
                list.push(',');
            }
            ids.push_str(&id);
            hash.push_str(&id);
            hash.push(':');
            hash.push_str(present.info.as_deref().unwrap_or("null"));
        }
        format!(r#"{{"presence":{{"ids":[{ids}],"hash":{{{hash}}},"count":{}}}}}"#, self.len())
    }
}

impl Present {
    fn new(info: Option<Box<str>>) -> Self {
        Self {
            info,
            connections: 0,
            is_elsewhere: false,
            is_parting: false,
            is_known: false,
            is_leaving: false,
        }
    }

    fn text_len(&self, user_id: &str) -> usize {
        user_id.len() + self.info.as_ref().map_or(0, |info| info.len())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::*;

    fn member(user_id: &str, user_info: Option<&str>) -> Member {
        Member { user_id: user_id.into(), user_info: user_info.map(Into::into) }
    }

    #[test]
    fn a_user_at_another_node_too_joins_and_leaves_once_over_all_nodes() {
        let mut members = Members::default();
        let anna = member("anna", Some("1"));
        assert_eq!(members.join_elsewhere(&anna), Joined::First);
        assert_eq!(members.join(&member("anna", Some("2"))), Joined::Again);
        assert_eq!(members.join_elsewhere(&anna), Joined::Again, "it is told more than once");
        assert_eq!((members.info("anna"), members.connections("anna")), (Some("1"), 1));
        assert_eq!(members.leave("anna"), Left::Stays);
        assert_eq!((members.here().count(), members.elsewhere().count(), members.len()), (0, 1, 1));
        assert_eq!((members.leave_elsewhere("anna"), members.leave_elsewhere("anna")), (true, false));
        assert_eq!((members.len(), members.elsewhere().count()), (1, 0));
        assert_eq!((members.take_gone("anna"), members.take_gone("anna")), (true, false));
        assert_eq!((members.len(), members.text_len, members.leaving_len), (0, 0, 0));
    }

    #[test]
    fn a_user_that_changes_nodes_has_not_left() {
        let mut members = Members::default();
        let anna = member("anna", Some("1"));
        for come_back in [Members::join, Members::join_elsewhere] {
            let _ = members.join_elsewhere(&anna);
            assert!(members.leave_elsewhere("anna"));
            assert!(members.has_room_for("bert", 1) && !members.has_room_for("anna", 0), "it takes no place");
            assert_eq!(come_back(&mut members, &anna), Joined::Again);
            assert_eq!((members.take_gone("anna"), members.len()), (false, 1));
            members.leave_here("anna");
            assert!(members.leave_elsewhere("anna") && members.take_gone("anna"));
            assert_eq!((members.len(), members.text_len, members.leaving_len), (0, 0, 0));
        }
    }

    #[test]
    fn a_user_that_comes_back_with_another_info_has_left_and_come() {
        let mut members = Members::default();
        let _ = members.join_elsewhere(&member("anna", Some("1")));
        assert!(members.leave_elsewhere("anna"));
        assert_eq!(members.join_elsewhere(&member("anna", Some("234"))), Joined::Anew);
        assert_eq!(members.join_elsewhere(&member("anna", Some("5"))), Joined::Anew, "it has left unheard");
        assert_eq!(members.join_elsewhere(&member("anna", Some("234"))), Joined::Anew);
        assert_eq!((members.info("anna"), members.text_len, members.leaving_len), (Some("234"), 7, 0));
        assert!(!members.take_gone("anna"));
    }

    #[test]
    fn a_user_that_comes_back_before_it_is_said_whether_it_is_elsewhere_is_known_by_its_new_info() {
        let mut members = Members::default();
        for (was_elsewhere, joined, info) in [(false, Joined::Anew, "2"), (true, Joined::Again, "1")] {
            let _ = members.join(&member("anna", Some("1")));
            if was_elsewhere {
                let _ = members.join_elsewhere(&member("anna", Some("1")));
            }
            members.leave_here("anna");
            assert_eq!(members.elsewhere().collect::<Vec<_>>(), ["anna"], "it may be");
            assert_eq!(members.join(&member("anna", Some("2"))), joined);
            assert_eq!((members.info("anna"), members.connections("anna")), (Some(info), 1));
            members = Members::default();
        }
    }

    #[test]
    fn who_is_at_other_nodes_only_is_forgotten_with_them() {
        let mut members = Members::default();
        for user_id in ["anna", "bert", "carl"] {
            let _ = members.join_elsewhere(&member(user_id, None));
        }
        let _ = members.join(&member("bert", None));
        assert!(members.leave_elsewhere("carl"));
        members.forget_elsewhere();
        assert_eq!((members.ids().collect::<Vec<_>>(), members.text_len), (vec!["bert"], 4));
        assert_eq!((members.elsewhere().count(), members.leaving_len), (0, 0));
    }

    #[test]
    fn a_user_that_others_know_of_and_that_has_left_is_found_until_they_have_heard_it() {
        let mut members = Members::default();
        for user_id in ["anna", "bert"] {
            let _ = members.join(&member(user_id, None));
        }
        members.set_known("anna", true);
        members.set_known("nobody", true);
        assert_eq!(
            (members.is_known("anna"), members.is_known("bert"), members.departed().count()),
            (true, false, 0)
        );
        ["anna", "bert"].iter().for_each(|user_id| members.leave_here(user_id));
        assert_eq!(members.departed().collect::<Vec<_>>(), ["anna"]);
        members.set_known("anna", false);
        assert_eq!((members.departed().count(), members.len()), (0, 2));
    }

    #[test]
    fn a_user_that_leaves_here_stays_until_it_is_told_that_it_is_nowhere_or_comes_back() {
        let mut members = Members::default();
        let anna = member("anna", None);
        assert_eq!(members.join(&anna), Joined::First);
        members.leave_here("anna");
        assert_eq!((members.connections("anna"), members.len()), (0, 1));
        assert_eq!(members.join(&anna), Joined::Again);
        assert!(!members.leave_elsewhere("anna"), "that is about before");
        members.leave_here("anna");
        assert!(members.leave_elsewhere("anna") && members.take_gone("anna"));
        members.leave_here("anna");
        assert!(members.is_empty());
    }

    #[test]
    fn a_user_joins_with_its_first_connection_and_leaves_with_its_last() {
        let mut members = Members::default();
        assert_eq!(members.join(&member("a", Some("1"))), Joined::First);
        assert_eq!(members.join(&member("a", Some("2"))), Joined::Again);
        assert_eq!((members.len(), members.info("a")), (1, Some("1")));
        assert_eq!(members.leave("a"), Left::Stays);
        assert!(members.contains("a"));
        assert_eq!(members.leave("a"), Left::Last);
        assert!(members.is_empty() && !members.contains("a"));
    }

    #[test]
    fn a_user_that_is_no_member_does_not_leave() {
        let mut members = Members::default();
        assert_eq!(members.leave("a"), Left::Stays);
        assert_eq!((members.len(), members.held_len()), (0, 0));
    }

    #[test]
    fn a_new_member_is_told_of_all_those_without_info_as_null() {
        let mut members = Members::default();
        assert_eq!(members.to_data(), r#"{"presence":{"ids":[],"hash":{},"count":0}}"#);
        assert_eq!(members.join(&member("b\"", None)), Joined::First);
        assert_eq!(members.join(&member("10", Some(r#"{"name":"Mr. Channels"}"#))), Joined::First);
        assert_eq!(
            members.to_data(),
            r#"{"presence":{"ids":["10","b\""],"hash":{"10":{"name":"Mr. Channels"},"b\"":null},"count":2}}"#
        );
    }

    #[test]
    fn a_full_channel_has_room_for_its_members_only() {
        let mut members = Members::default();
        assert!(!members.has_room_for("a", 0));
        assert_eq!(members.join(&member("a", None)), Joined::First);
        assert!(members.has_room_for("b", 2));
        assert_eq!(members.join(&member("b", None)), Joined::First);
        assert!(members.has_room_for("a", 2) && !members.has_room_for("c", 2));
    }

    /// What the table must say after joins and leaves: a list of the connections, in the order of joining.
    fn check(members: &Members, connections: &[(String, Option<u8>)]) {
        let mut ids: Vec<&str> = connections.iter().map(|(id, _)| id.as_str()).collect();
        ids.sort_unstable();
        ids.dedup();
        assert_eq!(members.ids().collect::<Vec<_>>(), ids);
        let hash: Value = ids
            .iter()
            .map(|id| {
                let (_, info) = connections.iter().find(|(other, _)| other == id).unwrap();
                ((*id).to_owned(), json!(info))
            })
            .collect::<serde_json::Map<_, _>>()
            .into();
        let expected = json!({"presence": {"ids": ids, "hash": hash, "count": ids.len()}});
        assert_eq!(serde_json::from_str::<Value>(&members.to_data()).unwrap(), expected);
        assert_eq!(members.held_len() == 0, connections.is_empty());
    }

    proptest! {
        #[test]
        fn the_table_says_what_a_list_of_connections_says(
            steps in prop::collection::vec((any::<bool>(), 0..6_u8, any::<Option<u8>>()), 0..60)
        ) {
            let mut members = Members::default();
            let mut connections: Vec<(String, Option<u8>)> = Vec::new();
            // An info that was replaced by another connection's would be seen, if the first one's leaves: it is kept.
            for (is_join, user, info) in steps {
                let id = format!("user \"{user}\"");
                let has = connections.iter().any(|(other, _)| *other == id);
                if is_join {
                    let first = connections.iter().find(|(other, _)| *other == id);
                    let kept = first.map_or(info, |(_, info)| *info);
                    let joined = members.join(&member(&id, info.map(|info| info.to_string()).as_deref()));
                    assert_eq!(joined, if has { Joined::Again } else { Joined::First });
                    connections.push((id, kept));
                } else {
                    let left = members.leave(&id);
                    if let Some(at) = connections.iter().position(|(other, _)| *other == id) {
                        connections.remove(at);
                    }
                    let is_last = has && connections.iter().all(|(other, _)| *other != id);
                    assert_eq!(left, if is_last { Left::Last } else { Left::Stays });
                }
                check(&members, &connections);
            }
        }
    }
}
