//! An engine for tests: it holds publications until it is told to deliver them.

use std::collections::{HashMap, VecDeque};
use std::sync::Mutex;

use super::*;
use crate::hub::{Gap, PublicationId};
use crate::server::broker::Broker;
use crate::server::broker::answer::NotPublished;
use crate::server::clock::Millis;
use crate::server::lock::lock;

/// The epoch of every channel.
pub const EPOCH: u64 = 0xe;

/// Where every channel begins.
const BEGINNING: PublicationId = PublicationId { epoch: EPOCH, sequence: 0 };

/// Publications in the order in which they came, and the newest of each channel.
#[derive(Debug, Default)]
pub struct Held {
    waiting: Mutex<VecDeque<(Draft, Ticket)>>,
    newest: Mutex<HashMap<ChannelName, PublicationId>>,
}

impl Held {
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
        broker.settle(ticket, Ok(published));
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
}
