//! An engine for tests: it holds publications until it is told to deliver them, and those who join until it is told to let them.

use std::collections::{HashMap, VecDeque};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::*;
use crate::hub::{Gap, PublicationId, Published};
use crate::server::broker::Broker;
use crate::server::broker::answer::{NotPublished, Receipt};
use crate::server::broker::engine::tidings::Tiding;
use crate::server::broker::mailbox::Unavailable;
use crate::server::clock::Millis;
use crate::server::lock::lock;

/// The epoch of every channel.
pub const EPOCH: u64 = 0xe;

/// Where every channel begins.
const BEGINNING: PublicationId = PublicationId { epoch: EPOCH, sequence: 0 };

/// Publications and wanted channels in the order in which they came, and the newest publication of each channel.
#[derive(Debug)]
pub struct Held {
    wanted: Mutex<VecDeque<(ChannelName, JoinWaiter)>>,
    counts: Mutex<Vec<ChannelName>>,
    join_timeout: Duration,
    waiting: Mutex<VecDeque<(Draft, Ticket)>>,
    newest: Mutex<HashMap<ChannelName, PublicationId>>,
    congested: AtomicUsize,
}

impl Default for Held {
    /// One whose channels may be waited for for longer than any test takes.
    fn default() -> Self {
        Self::with_join_timeout(Duration::from_secs(600))
    }
}

impl Held {
    /// One whose channels may be waited for for this long.
    pub fn with_join_timeout(join_timeout: Duration) -> Self {
        Self {
            wanted: Mutex::default(),
            counts: Mutex::default(),
            join_timeout,
            waiting: Mutex::default(),
            newest: Mutex::default(),
            congested: AtomicUsize::new(0),
        }
    }

    /// It is congested for who asks, so often.
    pub fn congest(&self, times: usize) {
        self.congested.store(times, Ordering::Relaxed);
    }

    /// The channels that are wanted, in the order in which they came, each as often as it is waited for.
    pub fn wanted(&self) -> Vec<String> {
        lock(&self.wanted).iter().map(|(channel, _)| channel.as_str().to_owned()).collect()
    }

    /// Engages the channel that has been wanted for longest, and lets its first waiter join.
    pub fn prepare(&self, broker: &Broker) {
        let (channel, waiter) = lock(&self.wanted).pop_front().unwrap();
        if !lock(&self.newest).contains_key(&channel) {
            self.begin(broker, &channel, Millis(0));
        }
        broker.engage(&channel);
        waiter.tell(broker.mailboxes(), Ok(()));
    }

    /// The same for all that are wanted now.
    pub fn prepare_all(&self, broker: &Broker) {
        (0..self.wanted().len()).for_each(|_| self.prepare(broker));
    }

    /// Refuses the first waiter of the channel that has been wanted for longest.
    pub fn refuse(&self, broker: &Broker) {
        let (_, waiter) = lock(&self.wanted).pop_front().unwrap();
        waiter.tell(broker.mailboxes(), Err(Unavailable));
    }

    /// The channels whose counts have changed, since this was last asked.
    pub fn take_counts(&self) -> Vec<String> {
        let counts = std::mem::take(&mut *lock(&self.counts));
        counts.iter().map(|channel| channel.as_str().to_owned()).collect()
    }

    /// How many publications wait.
    pub fn len(&self) -> usize {
        lock(&self.waiting).len()
    }

    /// Begins a channel without publications.
    pub fn begin(&self, broker: &Broker, channel: &ChannelName, now: Millis) {
        lock(&self.newest).insert(channel.clone(), BEGINNING);
        broker.begin(channel, BEGINNING, now);
    }

    /// Numbers the first publication that waits, delivers and settles it. Its channel begins if it has not.
    pub fn release(&self, broker: &Broker, now: Millis) {
        let (draft, ticket) = lock(&self.waiting).pop_front().unwrap();
        if !lock(&self.newest).contains_key(&draft.channel) {
            self.begin(broker, &draft.channel, now);
        }
        let id = {
            let mut newest = lock(&self.newest);
            let newest = newest.get_mut(&draft.channel).unwrap();
            newest.sequence += 1;
            *newest
        };
        let publication = broker.publication(draft, id);
        let published = broker.deliver(publication, now, now);
        broker.settle(ticket, Ok(Receipt::of_new(published)));
    }

    /// Knows the first publication that waits by its key: it was made earlier, maybe on another node.
    pub fn know(&self, broker: &Broker, published: Published) {
        let (_, ticket) = lock(&self.waiting).pop_front().unwrap();
        broker.settle(ticket, Ok(Receipt::of_earlier(published)));
    }

    /// The channel goes on after `since`; what is between that and the newest is lost.
    pub fn gap(&self, broker: &Broker, channel: &ChannelName, gap: Gap, since: PublicationId, now: Millis) {
        lock(&self.newest).insert(channel.clone(), since);
        broker.gap(channel, gap, since, now);
    }

    /// Gives the first publication that waits up.
    pub fn fail(&self, broker: &Broker, why: NotPublished) {
        let (_, ticket) = lock(&self.waiting).pop_front().unwrap();
        broker.settle(ticket, Err(why));
    }
}

impl Sequencer for Held {
    fn sequence(&self, draft: Draft, ticket: Ticket) {
        lock(&self.waiting).push_back((draft, ticket));
    }

    fn want(&self, channel: &ChannelName, waiter: JoinWaiter) {
        lock(&self.wanted).push_back((channel.clone(), waiter));
    }

    fn count_changed(&self, channel: &ChannelName) {
        lock(&self.counts).push(channel.clone());
    }

    fn members_changed(&self, _: &ChannelName) {}

    fn cache_missed(&self, _: &ChannelName) {}

    fn tell(&self, _: Tiding) {}

    fn is_congested(&self) -> bool {
        let less = |times: usize| times.checked_sub(1);
        self.congested.fetch_update(Ordering::Relaxed, Ordering::Relaxed, less).is_ok()
    }

    fn join_timeout(&self) -> Duration {
        self.join_timeout
    }
}
