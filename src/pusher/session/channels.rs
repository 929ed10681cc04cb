//! The channels of one connection, and who it is in each: a sorted list, which takes nothing while it is empty.

use crate::hub::ChannelName;

/// The list grows by a 16th, so that a connection with many channels does not hold twice the room that it needs.
const GROWTH_PARTS: usize = 16;

/// Channels by name.
///
/// Invariants: `entries` is sorted by name, each once; `text_len` is the sum of their [`Entry::text_len`].
#[derive(Debug, Default)]
pub struct Channels {
    entries: Vec<Entry>,
    text_len: usize,
}

#[derive(Debug)]
struct Entry {
    name: ChannelName,
    user_id: Option<Box<str>>,
}

impl Entry {
    fn text_len(&self) -> usize {
        self.name.as_str().len() + self.user_id.as_ref().map_or(0, |user_id| user_id.len())
    }
}

impl Channels {
    /// Adds a channel. If it is there, it has this user from now on.
    pub fn insert(&mut self, name: &ChannelName, user_id: Option<&str>) {
        let entry = Entry { name: name.clone(), user_id: user_id.map(Into::into) };
        self.text_len += entry.text_len();
        match self.find(name.as_str()) {
            Ok(at) => {
                let before = std::mem::replace(&mut self.entries[at], entry);
                self.text_len -= before.text_len();
            }
            Err(at) => {
                if self.entries.len() == self.entries.capacity() {
                    self.entries.reserve_exact((self.entries.len() / GROWTH_PARTS).max(1));
                }
                self.entries.insert(at, entry);
            }
        }
    }

    /// Removes a channel. Who it was, if it was there.
    pub fn remove(&mut self, name: &str) -> Option<Option<Box<str>>> {
        let at = self.find(name).ok()?;
        let entry = self.entries.remove(at);
        self.text_len -= entry.text_len();
        if self.entries.is_empty() {
            self.entries = Vec::new();
        }
        Some(entry.user_id)
    }

    /// Who it is in a channel that it has; outside presence channels, nobody.
    pub fn get(&self, name: &str) -> Option<Option<&str>> {
        let at = self.find(name).ok()?;
        Some(self.entries[at].user_id.as_deref())
    }

    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.entries.iter().map(|entry| entry.name.as_str())
    }

    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// About how many bytes it holds on the heap. O(1): it is asked after each message and each flush.
    pub fn held_len(&self) -> usize {
        self.entries.capacity() * size_of::<Entry>() + self.text_len
    }

    fn find(&self, name: &str) -> Result<usize, usize> {
        self.entries.binary_search_by(|entry| entry.name.as_str().cmp(name))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_connection_without_channels_holds_nothing() {
        let mut channels = Channels::default();
        assert_eq!(channels.held_len(), 0);
        let name = ChannelName::new("a").unwrap();
        channels.insert(&name, Some("7"));
        assert_eq!(channels.get("a"), Some(Some("7")));
        assert_eq!(channels.held_len(), size_of::<Entry>() + 2);
        channels.insert(&name, Some("1234"));
        assert_eq!(channels.held_len(), size_of::<Entry>() + 5, "of the newest user alone");
        assert_eq!(channels.remove("a"), Some(Some("1234".into())));
        assert_eq!(channels.remove("a"), None);
        assert_eq!((channels.len(), channels.held_len()), (0, 0));
    }

    #[test]
    fn channels_are_in_order_whatever_the_order_of_joining() {
        let mut channels = Channels::default();
        for name in ["c", "a", "d", "b", "a"] {
            channels.insert(&ChannelName::new(name).unwrap(), None);
        }
        assert_eq!(channels.names().collect::<Vec<_>>(), ["a", "b", "c", "d"]);
    }
}
