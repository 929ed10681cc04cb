//! The subscriptions of a connection: none, one or several, each with the replay that is sent ahead of its log.
//!
//! The bytes of the logs are in the hub; when they are written is not known here.

use std::collections::VecDeque;

use super::lag::Lateness;
use super::replay::Replay;
use crate::config::LagPolicy;
use crate::hub::{Hub, PublicationId, Subscription, growth};

/// The lists of several subscriptions grow by this many places at least: most are short.
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
    /// Whether it is among those of [`Several`] that are looked at.
    is_listed: bool,
}

impl Entry {
    /// A subscription, and what is sent ahead of its log.
    pub fn new(subscription: Subscription, policy: LagPolicy, replay: Option<Box<Replay>>) -> Self {
        Self { subscription, policy, replay, is_listed: false }
    }
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

/// Several subscriptions, most of which have nothing to send: those that have are listed, and no others are looked at.
///
/// ```text
///  entries   | a | b | c | d | e | f |     found by the hints that the hub keeps
///              0   1   2   3   4   5
///
///  listed    | 3 | 1 | 4 |                 d is written first, then b, then e
/// ```
///
/// The flush phase lists the entries whose logs have something new ([`Several::note_unread`]). Of the listed ones, those that are
/// written to their end leave; the one in which a write ends goes behind the others.
///
/// Invariants: an entry is in `listed` once if it `is_listed`, otherwise it is not there. While a connection is flushed, each
/// entry that has a replay, unread bytes or skipped publications that were not reported is listed. At most one of `entries`
/// is inside a frame; it is `started`, and listed.
#[derive(Debug, Default)]
pub struct Several {
    entries: Vec<Entry>,
    /// The indexes of the entries to look at. Its room is kept, 4 bytes for each of `entries` at most.
    listed: VecDeque<u32>,
    /// The entry whose frame is partly written.
    started: Option<u32>,
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

    /// Those that may have something to send: of several the listed ones, in the order in which they are written.
    pub fn listed(&self) -> impl Iterator<Item = &Entry> {
        let (one, several) = match self {
            Self::None => (None, None),
            Self::One(entry) => (Some(entry), None),
            Self::Several(several) => (None, Some(several.listed())),
        };
        one.into_iter().chain(several.into_iter().flatten().map(|(_, entry)| entry))
    }

    /// As [`Subscriptions::listed`], to change their replays.
    pub fn for_each_listed(&mut self, mut change: impl FnMut(&mut Entry)) {
        match self {
            Self::None => {}
            Self::One(entry) => change(entry),
            Self::Several(several) => {
                for &at in &several.listed {
                    change(&mut several.entries[at as usize]);
                }
            }
        }
    }

    /// The subscription to a channel, if there is one. O(subscriptions).
    pub fn to_channel(&self, name: &str, hub: &Hub) -> Option<Subscription> {
        self.find(name, false, hub)
    }

    /// The subscription by which a channel is watched, if it is. O(subscriptions).
    pub fn to_watched(&self, name: &str, hub: &Hub) -> Option<Subscription> {
        self.find(name, true, hub)
    }

    fn find(&self, name: &str, is_watched: bool, hub: &Hub) -> Option<Subscription> {
        let all = self.entries().iter().map(|entry| entry.subscription);
        hub.find_among(name, all.filter(|subscription| subscription.form().is_watching() == is_watched))
    }

    /// The subscription of a connection with exactly one.
    pub fn single(&self) -> Option<Subscription> {
        match self {
            Self::One(entry) => Some(entry.subscription),
            Self::None | Self::Several(_) => None,
        }
    }

    /// Adds one. The first may be inside a frame by now, which is finished before anything else is sent.
    pub fn insert(&mut self, entry: Entry, hub: &Hub) {
        match std::mem::take(self) {
            Self::None => *self = Self::One(entry),
            Self::One(first) => {
                let mut several = Box::<Several>::default();
                several.started = (!hub.started(first.subscription).is_empty()).then_some(0);
                several.push(first);
                several.push(entry);
                // A single one is not listed anywhere. It may have unread bytes.
                several.list(0);
                *self = Self::Several(several);
            }
            Self::Several(mut several) => {
                several.push(entry);
                *self = Self::Several(several);
            }
        }
    }

    /// Removes one, if it exists.
    pub fn remove(&mut self, subscription: Subscription, hub: &mut Hub) -> Option<Entry> {
        match self {
            Self::One(entry) if entry.subscription == subscription => {
                let Self::One(entry) = std::mem::take(self) else { unreachable!("it was just looked at") };
                Some(entry)
            }
            Self::None | Self::One(_) => None,
            Self::Several(several) => {
                let at = several.find(subscription, hub.hint(subscription), hub)?;
                Some(several.remove(at))
            }
        }
    }

    /// All of them, one after the other.
    pub fn into_entries(self) -> impl Iterator<Item = Entry> {
        let (one, several) = match self {
            Self::None => (None, Vec::new()),
            Self::One(entry) => (Some(entry), Vec::new()),
            Self::Several(several) => (None, several.entries),
        };
        one.into_iter().chain(several)
    }

    /// Whether missed publications are still to be sent.
    pub fn has_replay(&self) -> bool {
        self.listed().any(|entry| entry.replay.is_some())
    }

    /// The bytes of memory that the lists and the replays take. O(listed subscriptions).
    pub fn held_len(&self) -> usize {
        let replays = self.listed().filter_map(|entry| entry.replay.as_ref());
        let lists_len = match self {
            Self::None | Self::One(_) => 0,
            Self::Several(several) => several.lists_len(),
        };
        lists_len + replays.map(|replay| replay.held_len()).sum::<usize>()
    }
}

impl Several {
    /// The entries to look at with their indexes, in the order of a write.
    pub fn listed(&self) -> impl Iterator<Item = (usize, &Entry)> {
        self.listed.iter().map(|&at| (at as usize, &self.entries[at as usize]))
    }

    /// How many entries are to be looked at.
    pub fn listed_len(&self) -> usize {
        self.listed.len()
    }

    /// The entry whose frame is partly written.
    pub fn started(&self) -> Option<&Entry> {
        self.started.map(|at| &self.entries[at as usize])
    }

    /// Whether it is the entry at this index whose frame is partly written.
    pub fn is_started(&self, at: usize) -> bool {
        self.started == Some(at as u32)
    }

    /// Its log has something new. `hint` is where the hub thinks that it is.
    pub fn note_unread(&mut self, subscription: Subscription, hint: u32, hub: &mut Hub) {
        if let Some(at) = self.find(subscription, hint, hub) {
            self.list(at);
        }
    }

    /// The first of the listed entries has nothing to send any more.
    pub fn unlist_first(&mut self) {
        if let Some(at) = self.listed.pop_front() {
            self.entries[at as usize].is_listed = false;
        }
    }

    /// The first of the listed entries goes behind the others.
    pub fn put_first_last(&mut self) {
        if !self.listed.is_empty() {
            self.listed.rotate_left(1);
        }
    }

    /// Notes whether a write ended inside a frame of the entry at this index.
    pub fn note_end(&mut self, at: usize, is_inside_frame: bool) {
        self.started = is_inside_frame.then_some(at as u32);
    }

    /// Notes that no frame is partly written any more.
    pub fn finish_started(&mut self) {
        self.started = None;
    }

    /// Whether the invariants hold, by a walk over all entries: for tests and debug builds.
    pub fn is_sound(&self, hub: &Hub) -> bool {
        let times_listed = |at: usize| self.listed.iter().filter(|&&listed| listed as usize == at).count();
        let is_to_be_listed = |entry: &Entry| entry.replay.is_some() || hub.lag(entry.subscription) > 0;
        self.entries.iter().enumerate().all(|(at, entry)| {
            let is_inside_frame = !hub.started(entry.subscription).is_empty();
            times_listed(at) == usize::from(entry.is_listed)
                && (entry.is_listed || !is_to_be_listed(entry))
                && is_inside_frame == self.is_started(at)
        })
    }

    /// The index of a subscription, by the hint of the hub. O(subscriptions) the first time, and after another one has
    /// moved to its place.
    fn find(&self, subscription: Subscription, hint: u32, hub: &mut Hub) -> Option<usize> {
        let hint = hint as usize;
        if self.entries.get(hint).is_some_and(|entry| entry.subscription == subscription) {
            return Some(hint);
        }
        let at = self.entries.iter().position(|entry| entry.subscription == subscription)?;
        hub.set_hint(subscription, at as u32);
        Some(at)
    }

    fn push(&mut self, entry: Entry) {
        let has_replay = entry.replay.is_some();
        self.entries.reserve_exact(growth(self.entries.len(), self.entries.capacity(), GROWTH_MIN));
        self.entries.push(entry);
        if has_replay {
            self.list(self.entries.len() - 1);
        }
    }

    fn list(&mut self, at: usize) {
        if !std::mem::replace(&mut self.entries[at].is_listed, true) {
            self.listed.reserve_exact(growth(self.listed.len(), self.listed.capacity(), GROWTH_MIN));
            self.listed.push_back(at as u32);
        }
    }

    /// Costs O(listed entries).
    fn remove(&mut self, at: usize) -> Entry {
        debug_assert!(!self.is_started(at), "a started frame is finished before its channel is left");
        let entry = self.entries.swap_remove(at);
        if entry.is_listed {
            self.listed.retain(|&listed| listed as usize != at);
        }
        self.note_moved(self.entries.len(), at);
        if self.entries.len() < self.entries.capacity() / 2 {
            self.entries.shrink_to_fit();
            self.listed.shrink_to(self.entries.len());
        }
        entry
    }

    /// The entry that was the last, at `from`, is at `to` now. Its hint is found to be wrong when it is used.
    fn note_moved(&mut self, from: usize, to: usize) {
        if self.is_started(from) {
            self.started = Some(to as u32);
        }
        if self.entries.get(to).is_some_and(|moved| moved.is_listed)
            && let Some(listed) = self.listed.iter_mut().find(|listed| **listed as usize == from)
        {
            *listed = to as u32;
        }
    }

    fn lists_len(&self) -> usize {
        let entries_len = self.entries.capacity() * size_of::<Entry>();
        size_of::<Self>() + entries_len + self.listed.capacity() * size_of::<u32>()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::hub::{ChannelName, Hub, Publication, WireForm};

    fn name(number: usize) -> ChannelName {
        ChannelName::new(&format!("c{number}")).unwrap()
    }

    /// A hub, and one subscription to each of so many channels.
    fn of(count: usize) -> (Hub, Subscriptions) {
        let (mut hub, mut subscriptions) = (Hub::default(), Subscriptions::default());
        for number in 0..count {
            let subscription = hub.subscribe(&name(number), WireForm::WebSocket, 0);
            subscriptions.insert(Entry::new(subscription, LagPolicy::Close, None), &hub);
        }
        (hub, subscriptions)
    }

    fn all(subscriptions: &Subscriptions) -> Vec<Subscription> {
        subscriptions.entries().iter().map(|entry| entry.subscription).collect()
    }

    /// Of so many, with nothing listed.
    fn several(count: usize) -> (Hub, Several) {
        let (hub, Subscriptions::Several(mut several)) = of(count) else { unreachable!("there are several") };
        several.unlist_first();
        assert_eq!(several.listed_len(), 0);
        (hub, *several)
    }

    /// Something new in the channels of these numbers, noted in this order.
    fn publish(hub: &mut Hub, several: &mut Several, numbers: &[usize]) {
        for &number in numbers {
            hub.append(name(number).as_str(), |_, out| out.push(b'x'));
            let readers = several.entries.iter().map(|entry| entry.subscription);
            let subscription = hub.find_among(name(number).as_str(), readers).unwrap();
            several.note_unread(subscription, hub.hint(subscription), hub);
        }
        assert!(several.is_sound(hub));
    }

    fn listed(hub: &Hub, several: &Several) -> Vec<String> {
        several.listed().map(|(_, entry)| hub.channel(entry.subscription).to_string()).collect()
    }

    #[test]
    fn a_connection_with_one_subscription_owns_no_list() {
        assert_eq!((of(0).1.held_len(), of(1).1.held_len()), (0, 0));
        assert!(of(2).1.held_len() > 0);
        assert!(size_of::<Subscriptions>() <= 24, "{}", size_of::<Subscriptions>());
        assert!(size_of::<Entry>() <= 24, "{}", size_of::<Entry>());
    }

    #[test]
    fn a_subscription_more_costs_its_entry_and_a_16th() {
        let held = |count| of(count).1.held_len();
        let each = (held(2000) - held(1000)) / 1000;
        // Measured between two sizes, one of which has just grown.
        assert!(each <= size_of::<Entry>() + 2, "{each} bytes");
    }

    #[test]
    fn a_subscription_more_takes_at_most_72_bytes_with_its_reader_slot_and_place_in_the_list() {
        let (mut hub, mut subscriptions) = (Hub::default(), Subscriptions::default());
        let name = ChannelName::new("news").unwrap();
        for count in 1..5000_usize {
            let subscription = hub.subscribe(&name, WireForm::WebSocket, 0);
            subscriptions.insert(Entry::new(subscription, LagPolicy::Close, None), &hub);
            if let Subscriptions::Several(several) = &mut subscriptions {
                several.note_unread(subscription, hub.hint(subscription), &mut hub);
            }
            let in_the_log = hub.readers_held_len(subscription);
            let each = (subscriptions.held_len() + in_the_log) as f64 / count as f64;
            // Below that, a list that has grown by one place has more than a 16th to spare.
            assert!(count < 500 || each <= 72.0, "{each} bytes each of {count}");
        }
    }

    #[test]
    fn the_room_of_the_list_is_bounded_by_the_subscriptions_that_are_left() {
        let (mut hub, mut several) = several(1000);
        publish(&mut hub, &mut several, &(0..1000).collect::<Vec<_>>());
        (0..990).for_each(|_| drop(several.remove(several.entries.len() - 1)));
        assert!(several.lists_len() <= size_of::<Several>() + 40 * (size_of::<Entry>() + 4));
        assert!(several.is_sound(&hub));
    }

    #[test]
    fn what_was_inserted_is_removed_and_nothing_else() {
        for count in [1, 2, 5] {
            let (_, subscriptions) = of(count);
            let all_of_them = all(&subscriptions);
            for &leaves in &all_of_them {
                let (mut hub, mut subscriptions) = of(count);
                assert_eq!(subscriptions.remove(leaves, &mut hub).unwrap().subscription, leaves);
                assert!(subscriptions.remove(leaves, &mut hub).is_none());
                let mut left: Vec<_> = subscriptions.into_entries().map(|entry| entry.subscription).collect();
                left.sort_by_key(|left| all_of_them.iter().position(|one| one == left));
                let expected = all_of_them.iter().copied().filter(|&one| one != leaves);
                assert_eq!(left, expected.collect::<Vec<_>>());
            }
        }
    }

    #[test]
    fn a_subscription_is_found_by_the_name_of_its_channel() {
        for count in [0, 1, 5] {
            let (mut hub, subscriptions) = of(count);
            let expected: Vec<_> = all(&subscriptions).into_iter().map(Some).collect();
            let found = (0..count).map(|number| subscriptions.to_channel(name(number).as_str(), &hub));
            assert_eq!(found.collect::<Vec<_>>(), expected);
            // One that somebody else reads, and one that nobody reads.
            let _ = hub.subscribe(&name(7), WireForm::WebSocket, 1);
            assert_eq!([7, 8].map(|number| subscriptions.to_channel(name(number).as_str(), &hub)), [None; 2]);
        }
    }

    #[test]
    fn those_with_something_new_are_listed_once_in_the_order_in_which_they_were_noted() {
        let (mut hub, mut several) = several(5);
        publish(&mut hub, &mut several, &[3, 1, 3, 4, 1]);
        assert_eq!(listed(&hub, &several), ["c3", "c1", "c4"]);
        several.put_first_last();
        several.unlist_first();
        assert_eq!(listed(&hub, &several), ["c4", "c3"]);
        publish(&mut hub, &mut several, &[0, 1, 3]);
        assert_eq!(listed(&hub, &several), ["c4", "c3", "c0", "c1"]);
    }

    #[test]
    fn a_single_subscription_that_lags_is_listed_when_a_second_comes() {
        let (mut hub, mut subscriptions) = of(1);
        hub.append("c0", |_, out| out.push(b'x'));
        assert_eq!(subscriptions.listed().count(), 1);
        let second = hub.subscribe(&name(1), WireForm::WebSocket, 0);
        subscriptions.insert(Entry::new(second, LagPolicy::Close, None), &hub);
        let Subscriptions::Several(several) = subscriptions else { unreachable!("there are two") };
        assert_eq!(listed(&hub, &several), ["c0"]);
        assert!(several.is_sound(&hub));
    }

    #[test]
    fn a_subscription_with_a_replay_is_listed_from_the_beginning_and_counts_with_what_it_holds() {
        let (mut hub, mut subscriptions) = of(3);
        let before = subscriptions.held_len();
        let replay = Replay::new([Arc::new(Publication::test(1, vec![0; 100]))].into());
        let subscription = hub.subscribe(&name(3), WireForm::WebSocket, 0);
        subscriptions.insert(Entry::new(subscription, LagPolicy::Close, replay), &hub);
        assert!(subscriptions.has_replay() && subscriptions.held_len() > before + size_of::<Entry>());
        subscriptions.for_each_listed(|entry| entry.replay = None);
        assert!(!subscriptions.has_replay());
    }

    #[test]
    fn while_subscriptions_end_the_others_stay_listed_in_their_order() {
        for leaves in 0..6 {
            let (mut hub, mut several) = several(6);
            publish(&mut hub, &mut several, &[5, 0, 2, 4]);
            let left: Vec<_> =
                listed(&hub, &several).into_iter().filter(|it| *it != format!("c{leaves}")).collect();
            let entry = several.remove(leaves);
            hub.unsubscribe(entry.subscription);
            assert!(several.is_sound(&hub));
            assert_eq!(listed(&hub, &several), left);
            // The hint of the one that has moved is wrong now.
            let others: Vec<_> = (0..6).filter(|&number| number != leaves).collect();
            publish(&mut hub, &mut several, &others);
            assert_eq!(several.listed_len(), 5);
        }
    }

    #[test]
    fn the_entry_inside_a_frame_is_known_while_others_leave() {
        let (mut hub, mut several) = several(5);
        publish(&mut hub, &mut several, &[4]);
        several.note_end(4, true);
        let inside = several.started().unwrap().subscription;
        several.remove(1);
        assert!(several.is_started(1) && !several.is_started(4));
        assert_eq!(several.started().unwrap().subscription, inside);
        several.finish_started();
        assert!(several.started().is_none() && several.is_sound(&hub));
    }
}
