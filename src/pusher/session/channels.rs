//! The channels of one connection, and who it is in each: a sorted list, which takes nothing while it is empty.

use crate::hub::ChannelName;

/// The list grows by a 16th, so that a connection with many channels does not hold twice the room that it needs.
const GROWTH_PARTS: usize = 16;

/// Channels by name.
///
/// Invariant: sorted by name, each once.
#[derive(Debug, Default)]
pub struct Channels(Vec<Entry>);

#[derive(Debug)]
struct Entry {
    name: ChannelName,
    user_id: Option<Box<str>>,
}

impl Channels {
    /// Adds a channel. If it is there, it has this user from now on.
    pub fn insert(&mut self, name: &ChannelName, user_id: Option<&str>) {
        let entry = Entry { name: name.clone(), user_id: user_id.map(Into::into) };
        match self.find(name.as_str()) {
            Ok(at) => self.0[at] = entry,
            Err(at) => {
                if self.0.len() == self.0.capacity() {
                    self.0.reserve_exact((self.0.len() / GROWTH_PARTS).max(1));
                }
                self.0.insert(at, entry);
            }
        }
    }

    /// Removes a channel. Who it was, if it was there.
    pub fn remove(&mut self, name: &str) -> Option<Option<Box<str>>> {
        let at = self.find(name).ok()?;
        let entry = self.0.remove(at);
        if self.0.is_empty() {
            self.0 = Vec::new();
        }
        Some(entry.user_id)
    }

    /// Who it is in a channel that it has; outside presence channels, nobody.
    pub fn get(&self, name: &str) -> Option<Option<&str>> {
        let at = self.find(name).ok()?;
        Some(self.0[at].user_id.as_deref())
    }

    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(|entry| entry.name.as_str())
    }

    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// About how many bytes it holds on the heap. Costs O(channels).
    pub fn held_len(&self) -> usize {
        let text = |entry: &Entry| {
            entry.name.as_str().len() + entry.user_id.as_ref().map_or(0, |user_id| user_id.len())
        };
        self.0.capacity() * size_of::<Entry>() + self.0.iter().map(text).sum::<usize>()
    }

    fn find(&self, name: &str) -> Result<usize, usize> {
        self.0.binary_search_by(|entry| entry.name.as_str().cmp(name))
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
        assert_eq!(channels.remove("a"), Some(Some("7".into())));
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
