//! The subscriptions of a connection: none, one or several, each with the replay that is sent ahead of its log.
//!
//! The bytes of the logs are in the hub; when they are written is not known here.

use super::lag::Lateness;
use super::replay::Replay;
use crate::config::LagPolicy;
use crate::hub::{Hub, PublicationId, Subscription, growth};

/// The list of several subscriptions grows by this many places at least: most are short.
const GROWTH_MIN: usize = 1;

/// One subscription of a connection.
#[derive(Debug)]
pub struct Entry {
    /// The subscription in the hub, with its place in the channel's log.
    pub subscription: Subscription,
    /// The lag policy of the channel.
    pub policy: LagPolicy,
    /// Missed publications, which are sent ahead of the log.
    pub replay: Option<Box<Replay>>,
}

impl Entry {
    /// The last publication that the connection has been sent or is being sent, has skipped, or found when it joined.
    ///
    /// # Panics
    /// Nobody told the hub which publication was the newest when the channel was joined.
    pub fn position(&self, hub: &Hub) -> PublicationId {
        let replayed = self.replay.as_ref().and_then(|replay| replay.position());
        let position = replayed.or_else(|| hub.position(self.subscription));
        position.expect("it was noted when the channel was joined")
    }
}

/// The subscriptions of a connection. Most connections have one, which needs no allocation.
#[derive(Debug, Default)]
pub enum Subscriptions {
    /// It reads nothing.
    #[default]
    None,
    /// It reads one channel.
    One(Entry),
    /// It reads, or has read, more than one channel at a time.
    Several(Box<Several>),
}

/// Several subscriptions.
///
/// Invariant: at most one of `entries` is inside a frame; it is `started`.
#[derive(Debug, Default)]
pub struct Several {
    entries: Vec<Entry>,
    /// The entry whose frame is partly written.
    started: Option<usize>,
    /// The entry at which the next write begins to look for unsent bytes: channels are sent round-robin.
    first: usize,
    /// Since when the channels under [`LagPolicy::Latest`] have been late. They do not wait for the sum over all channels.
    pub latest: Lateness,
    /// Whether the connection is queued for the flush of this turn.
    pub is_queued: bool,
}

impl Subscriptions {
    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.entries().is_empty()
    }

    /// All of them.
    pub fn entries(&self) -> &[Entry] {
        match self {
            Self::None => &[],
            Self::One(entry) => std::slice::from_ref(entry),
            Self::Several(several) => &several.entries,
        }
    }

    /// All of them.
    pub fn entries_mut(&mut self) -> &mut [Entry] {
        match self {
            Self::None => &mut [],
            Self::One(entry) => std::slice::from_mut(entry),
            Self::Several(several) => &mut several.entries,
        }
    }

    /// The subscription of a connection with exactly one.
    pub fn single(&self) -> Option<Subscription> {
        match self {
            Self::One(entry) => Some(entry.subscription),
            Self::None | Self::Several(_) => None,
        }
    }

    /// Adds one.
    pub fn insert(&mut self, entry: Entry) {
        match std::mem::take(self) {
            Self::None => *self = Self::One(entry),
            Self::One(first) => {
                let entries = vec![first, entry];
                *self = Self::Several(Box::new(Several { entries, ..Several::default() }));
            }
            Self::Several(mut several) => {
                let entries = &mut several.entries;
                entries.reserve_exact(growth(entries.len(), entries.capacity(), GROWTH_MIN));
                entries.push(entry);
                *self = Self::Several(several);
            }
        }
    }

    /// Removes one, if it exists.
    pub fn remove(&mut self, subscription: Subscription) -> Option<Entry> {
        match self {
            Self::One(entry) if entry.subscription == subscription => {
                let Self::One(entry) = std::mem::take(self) else { unreachable!("it was just looked at") };
                Some(entry)
            }
            Self::None | Self::One(_) => None,
            Self::Several(several) => {
                let at = several.entries.iter().position(|entry| entry.subscription == subscription)?;
                Some(several.remove(at))
            }
        }
    }

    /// Removes the last one, until there is none. O(1), so that all leave in O(n).
    pub fn pop(&mut self) -> Option<Entry> {
        if let Self::Several(several) = self
            && let Some(last) = several.entries.len().checked_sub(1)
        {
            let entry = several.remove(last);
            if several.entries.is_empty() {
                *self = Self::None;
            }
            return Some(entry);
        }
        match std::mem::take(self) {
            Self::One(entry) => Some(entry),
            Self::None | Self::Several(_) => None,
        }
    }

    /// Whether missed publications are still to be sent.
    pub fn has_replay(&self) -> bool {
        self.entries().iter().any(|entry| entry.replay.is_some())
    }

    /// The bytes of memory that the list and the replays take.
    pub fn held_len(&self) -> usize {
        let replays = self.entries().iter().filter_map(|entry| entry.replay.as_ref());
        let list_len = match self {
            Self::None | Self::One(_) => 0,
            Self::Several(several) => size_of::<Several>() + several.entries.capacity() * size_of::<Entry>(),
        };
        list_len + replays.map(|replay| replay.held_len()).sum::<usize>()
    }
}

impl Several {
    /// All of them.
    pub fn entries(&self) -> &[Entry] {
        &self.entries
    }

    /// The entry whose frame is partly written.
    pub fn started(&self) -> Option<&Entry> {
        self.started.map(|at| &self.entries[at])
    }

    /// Whether it is the entry at this index whose frame is partly written.
    pub fn is_started(&self, at: usize) -> bool {
        self.started == Some(at)
    }

    /// The indexes of the entries in the order of a write: the one inside a frame, then the others round-robin.
    pub fn order(&self) -> impl Iterator<Item = usize> + use<> {
        let (len, first, started) = (self.entries.len(), self.first, self.started);
        let others = (first..len).chain(0..first).filter(move |&at| Some(at) != started);
        started.into_iter().chain(others)
    }

    /// Notes the entry in which a write ended, and whether it ended inside a frame.
    pub fn note_end(&mut self, at: usize, is_inside_frame: bool) {
        self.started = is_inside_frame.then_some(at);
        self.first = (at + 1) % self.entries.len();
    }

    /// Notes that no frame is partly written any more.
    pub fn finish_started(&mut self) {
        self.started = None;
    }

    fn remove(&mut self, at: usize) -> Entry {
        debug_assert_ne!(self.started, Some(at), "a started frame is finished before its channel is left");
        let entry = self.entries.swap_remove(at);
        // The last entry has moved to `at`.
        if self.started == Some(self.entries.len()) {
            self.started = Some(at);
        }
        self.first = 0;
        if self.entries.len() < self.entries.capacity() / 2 {
            self.entries.shrink_to_fit();
        }
        entry
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hub::{ChannelName, Hub, WireForm};

    fn entries(count: usize) -> Vec<Entry> {
        let mut hub = Hub::default();
        let entry = |number: usize| {
            let name = ChannelName::new(&format!("c{number}")).unwrap();
            let subscription = hub.subscribe(&name, WireForm::WebSocket, 0);
            Entry { subscription, policy: LagPolicy::Close, replay: None }
        };
        (0..count).map(entry).collect()
    }

    fn of(count: usize) -> Subscriptions {
        let mut subscriptions = Subscriptions::default();
        entries(count).into_iter().for_each(|entry| subscriptions.insert(entry));
        subscriptions
    }

    #[test]
    fn a_connection_with_one_subscription_owns_no_list() {
        assert_eq!((of(0).held_len(), of(1).held_len()), (0, 0));
        assert!(of(2).held_len() > 0);
        assert!(size_of::<Subscriptions>() <= 24, "{}", size_of::<Subscriptions>());
    }

    #[test]
    fn a_subscription_more_costs_its_entry_and_a_16th() {
        let held = |count| of(count).held_len();
        let each = (held(2000) - held(1000)) / 1000;
        // Measured between two sizes, one of which has just grown.
        assert!(each <= size_of::<Entry>() + 2, "{each} bytes");
    }

    #[test]
    fn a_subscription_more_takes_at_most_64_bytes_with_its_reader_and_slot() {
        let (mut hub, mut subscriptions) = (Hub::default(), Subscriptions::default());
        let name = ChannelName::new("news").unwrap();
        for count in 1..5000_usize {
            let subscription = hub.subscribe(&name, WireForm::WebSocket, 0);
            subscriptions.insert(Entry { subscription, policy: LagPolicy::Close, replay: None });
            let in_the_log = hub.readers_held_len(subscription);
            let each = (subscriptions.held_len() + in_the_log) as f64 / count as f64;
            // Below that, a list that has grown by one place has more than a 16th to spare.
            assert!(count < 500 || each <= 64.0, "{each} bytes each of {count}");
        }
    }

    #[test]
    fn what_was_inserted_is_removed_and_nothing_else() {
        for count in [1, 2, 5] {
            let all: Vec<_> = of(count).entries().iter().map(|entry| entry.subscription).collect();
            for &leaves in &all {
                let mut subscriptions = of(count);
                assert_eq!(subscriptions.remove(leaves).unwrap().subscription, leaves);
                assert!(subscriptions.remove(leaves).is_none());
                let mut left: Vec<_> = std::iter::from_fn(|| subscriptions.pop()).collect();
                left.sort_by_key(|entry| all.iter().position(|&one| one == entry.subscription));
                let left: Vec<_> = left.iter().map(|entry| entry.subscription).collect();
                assert_eq!(left, all.iter().copied().filter(|&one| one != leaves).collect::<Vec<_>>());
                assert!(matches!(subscriptions, Subscriptions::None));
            }
        }
    }

    #[test]
    fn the_last_of_very_many_subscriptions_leaves_without_a_search_for_it() {
        let (mut hub, mut subscriptions) = (Hub::default(), Subscriptions::default());
        let name = ChannelName::new("news").unwrap();
        let joined: Vec<_> =
            (0..300_000).map(|owner| hub.subscribe(&name, WireForm::WebSocket, owner)).collect();
        for &subscription in &joined {
            subscriptions.insert(Entry { subscription, policy: LagPolicy::Close, replay: None });
        }
        // A search for each would make 45,000,000,000 comparisons.
        for subscription in joined.into_iter().rev() {
            assert_eq!(subscriptions.pop().map(|entry| entry.subscription), Some(subscription));
        }
        assert!(subscriptions.pop().is_none() && matches!(subscriptions, Subscriptions::None));
    }

    #[test]
    fn the_entry_inside_a_frame_is_first_and_stays_first_while_others_leave() {
        let Subscriptions::Several(mut several) = of(5) else { unreachable!("there are five") };
        assert_eq!(several.order().collect::<Vec<_>>(), [0, 1, 2, 3, 4]);
        several.note_end(4, true);
        assert_eq!(several.order().collect::<Vec<_>>(), [4, 0, 1, 2, 3]);
        let inside = several.started().unwrap().subscription;
        several.remove(1);
        assert_eq!(several.order().collect::<Vec<_>>(), [1, 0, 2, 3]);
        assert_eq!(several.started().unwrap().subscription, inside);
    }

    #[test]
    fn after_a_write_that_did_not_fit_the_next_channel_has_its_turn() {
        let Subscriptions::Several(mut several) = of(3) else { unreachable!("there are three") };
        several.note_end(1, false);
        assert_eq!(several.order().collect::<Vec<_>>(), [2, 0, 1]);
    }
}
