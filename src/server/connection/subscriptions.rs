//! What a connection reads: nothing, one channel or several, and of each what is still to be sent ahead of its log.
//!
//! The bytes are the hub's; when they are written is not known here.

use super::lag::Lateness;
use super::replay::Replay;
use crate::config::LagPolicy;
use crate::hub::Subscription;

/// The list of several subscriptions grows by this part of its length, so that little of its room is unused: a
/// subscription more costs its entry, its reader in the log, and an eighth of an entry.
const GROWTH_PARTS: usize = 8;

/// One subscription of a connection.
#[derive(Debug)]
pub struct Entry {
    /// The place in the channel's log.
    pub subscription: Subscription,
    /// What its channel does to a subscriber that does not keep up.
    pub policy: LagPolicy,
    /// Missed publications that are sent before the log.
    pub replay: Option<Box<Replay>>,
}

/// The subscriptions of a connection. Most have one, which needs no memory of its own.
#[derive(Debug, Default)]
pub enum Subscriptions {
    /// It reads nothing.
    #[default]
    None,
    /// It reads one channel.
    One(Entry),
    /// It has read more than one at a time.
    Several(Box<Several>),
}

/// Several subscriptions.
///
/// Invariant: at most one of `entries` is inside a frame; it is `started`.
#[derive(Debug, Default)]
pub struct Several {
    entries: Vec<Entry>,
    /// The one whose frame is partly written.
    started: Option<usize>,
    /// Where the next write begins to look for unsent bytes, so that each channel gets its turn.
    first: usize,
    /// How long those under [`LagPolicy::Latest`] have been late: they do not wait for the sum of all.
    pub latest: Lateness,
    /// Whether the flush of this turn knows of it already.
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

    /// The only one, of a connection that has at most one.
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
                if entries.len() == entries.capacity() {
                    entries.reserve_exact((entries.len() / GROWTH_PARTS).max(1));
                }
                entries.push(entry);
                *self = Self::Several(several);
            }
        }
    }

    /// Takes one out, if it is there.
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

    /// Takes any one out, as long as there is one.
    pub fn pop(&mut self) -> Option<Entry> {
        let last = self.entries().last()?.subscription;
        let entry = self.remove(last);
        if self.is_empty() {
            *self = Self::None;
        }
        entry
    }

    /// Whether missed publications are still to be sent.
    pub fn has_replay(&self) -> bool {
        self.entries().iter().any(|entry| entry.replay.is_some())
    }

    /// The bytes that the list and the replays take.
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

    /// The one whose frame is partly written.
    pub fn started(&self) -> Option<&Entry> {
        self.started.map(|at| &self.entries[at])
    }

    /// The places in the order in which a write takes them: the one that is inside a frame, then each in its turn.
    pub fn order(&self) -> impl Iterator<Item = usize> + use<> {
        let (len, first, started) = (self.entries.len(), self.first, self.started);
        let others = (first..len).chain(0..first).filter(move |&at| Some(at) != started);
        started.into_iter().chain(others)
    }

    /// Takes note of where a write ended: in this one, and inside a frame of it or not.
    pub fn note_end(&mut self, at: usize, is_inside_frame: bool) {
        self.started = is_inside_frame.then_some(at);
        self.first = (at + 1) % self.entries.len();
    }

    /// Takes note that no frame is partly written any more.
    pub fn finish_started(&mut self) {
        self.started = None;
    }

    fn remove(&mut self, at: usize) -> Entry {
        debug_assert_ne!(self.started, Some(at), "a started frame is finished before its channel is left");
        let entry = self.entries.swap_remove(at);
        // The last one stands here now.
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
    fn a_subscription_more_costs_its_entry_and_an_eighth() {
        let held = |count| of(count).held_len();
        let each = (held(2000) - held(1000)) / 1000;
        assert!(each <= size_of::<Entry>() * 9 / 8, "{each} bytes");
    }

    // As they are allocated. The readers and slots of a log double: with one more than 1,024, half of their room is unused.
    #[test]
    fn a_thousand_subscriptions_take_at_most_64_bytes_each_with_their_readers_and_slots() {
        const COUNT: usize = 1000;
        let (mut hub, mut subscriptions) = (Hub::default(), Subscriptions::default());
        let name = ChannelName::new("news").unwrap();
        for _ in 0..COUNT {
            let subscription = hub.subscribe(&name, WireForm::WebSocket, 0);
            subscriptions.insert(Entry { subscription, policy: LagPolicy::Close, replay: None });
        }
        let in_the_log = hub.readers_held_len(subscriptions.entries()[0].subscription);
        let each = (subscriptions.held_len() + in_the_log) as f64 / COUNT as f64;
        assert!(each <= 64.0, "{each} bytes");
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
    fn the_one_inside_a_frame_is_first_and_stays_it_while_others_leave() {
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
