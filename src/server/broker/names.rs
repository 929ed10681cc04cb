//! The names of channels in order, so that a page of them is found without a look at all.
//!
//! What is known of a channel is in its state; who may see the names is decided in the API.

use std::collections::BTreeSet;
use std::ops::Bound;

use crate::hub::ChannelName;

/// The names of users' channels begin so; clients cannot name them.
const USER_PREFIX: char = '#';

/// Channels that clients can name, by the order of their names.
///
/// Invariant: no name in `plain` has a name space, each in `spaced` has one. So a name space is one run of names in either.
#[derive(Debug, Default)]
pub struct Names {
    plain: BTreeSet<ChannelName>,
    spaced: BTreeSet<ChannelName>,
}

impl Names {
    /// Adds a channel, if clients can name it.
    pub fn add(&mut self, name: &ChannelName) {
        if is_listed(name) {
            self.of_kind(name).insert(name.clone());
        }
    }

    /// Removes a channel.
    pub fn remove(&mut self, name: &ChannelName) {
        self.of_kind(name).remove(name);
    }

    /// The channels of a name space whose local names begin with `prefix` and follow `after`, in order. `None` is the space of
    /// plain names. O(log channels), and each next name O(1).
    pub fn from<'a>(
        &'a self,
        space: Option<&str>,
        prefix: &str,
        after: &str,
    ) -> impl Iterator<Item = &'a ChannelName> {
        let (names, begin) = match space {
            Some(space) => (&self.spaced, format!("{space}/")),
            None => (&self.plain, String::new()),
        };
        let (prefix, after) = (format!("{begin}{prefix}"), format!("{begin}{after}"));
        let lower = if after < prefix { Bound::Included(&*prefix) } else { Bound::Excluded(&*after) };
        names
            .range::<str, _>((lower, Bound::Unbounded))
            .take_while(move |name| name.as_str().starts_with(&prefix))
    }

    fn of_kind(&mut self, name: &ChannelName) -> &mut BTreeSet<ChannelName> {
        if name.space().is_some() { &mut self.spaced } else { &mut self.plain }
    }
}

fn is_listed(name: &ChannelName) -> bool {
    !name.is_reserved() && !name.is_companion() && !name.local().starts_with(USER_PREFIX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(text: &str) -> ChannelName {
        ChannelName::new(text).unwrap()
    }

    fn names() -> Names {
        let mut names = Names::default();
        for text in ["b", "a-2", "a-1", "7", "a"] {
            names.add(&name(text));
            names.add(&name(text).in_space("7"));
        }
        names.add(&name("x").in_space("71"));
        names
    }

    fn found(names: &Names, space: Option<&str>, prefix: &str, after: &str) -> Vec<String> {
        names.from(space, prefix, after).map(|name| name.local().to_owned()).collect()
    }

    #[test]
    fn the_names_of_a_space_are_in_order_and_without_those_of_others() {
        for space in [None, Some("7")] {
            assert_eq!(found(&names(), space, "", ""), ["7", "a", "a-1", "a-2", "b"]);
            assert_eq!(found(&names(), space, "a-", ""), ["a-1", "a-2"]);
            assert_eq!(found(&names(), space, "a", "a-1"), ["a-2"]);
            assert_eq!(found(&names(), space, "a", "a-11"), ["a-2"], "what follows need not be known");
            assert_eq!(found(&names(), space, "b", "a"), ["b"]);
            assert_eq!(found(&names(), space, "a", "b"), [""; 0], "nothing with the prefix follows");
        }
        assert_eq!(found(&names(), Some("71"), "", ""), ["x"]);
        assert_eq!(found(&names(), Some("8"), "", ""), [""; 0]);
    }

    #[test]
    fn what_clients_cannot_name_is_not_listed() {
        let mut names = Names::default();
        let user = ChannelName::of_user("u42").unwrap();
        for hidden in [&user, &user.in_space("7"), &name("a").companion(), &name("a").watched()] {
            names.add(hidden);
            names.remove(hidden);
            names.add(hidden);
        }
        names.add(&name("@fanfare.stats"));
        assert!(names.plain.is_empty() && names.spaced.is_empty());
    }

    #[test]
    fn a_removed_channel_is_listed_no_more() {
        let mut names = names();
        names.remove(&name("a-1"));
        assert_eq!(found(&names, None, "a-", ""), ["a-2"]);
        assert_eq!(found(&names, Some("7"), "a-", ""), ["a-1", "a-2"]);
    }
}
