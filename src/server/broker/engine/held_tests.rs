//! An engine for tests: it holds publications until it is told to deliver them.

use std::collections::{HashMap, VecDeque};
use std::sync::Mutex;

use super::*;
use crate::hub::{PublicationId, Published};
use crate::server::broker::Broker;
use crate::server::broker::answer::{NotPublished, Receipt};
use crate::server::clock::Millis;
use crate::server::lock::lock;

/// The epoch of every channel.
pub const EPOCH: u64 = 0xe;

/// Publications in the order in which they came, and the newest number of each channel.
#[derive(Debug, Default)]
pub struct Held {
    waiting: Mutex<VecDeque<(Draft, Ticket)>>,
    sequences: Mutex<HashMap<ChannelName, u64>>,
}

impl Held {
    /// How many publications wait.
    pub fn len(&self) -> usize {
        lock(&self.waiting).len()
    }

    /// Numbers the first publication that waits, delivers and settles it.
    pub fn release(&self, broker: &Broker, now: Millis) {
        let (draft, ticket) = lock(&self.waiting).pop_front().unwrap();
        let sequence = {
            let mut sequences = lock(&self.sequences);
            let newest = sequences.entry(draft.channel.clone()).or_default();
            *newest += 1;
            *newest
        };
        let publication = broker.publication(draft, PublicationId { epoch: EPOCH, sequence });
        let published = broker.deliver(publication, now);
        broker.settle(ticket, Ok(Receipt::of_new(published)));
    }

    /// Knows the first publication that waits by its key: it was made earlier, maybe on another node.
    pub fn know(&self, broker: &Broker, published: Published) {
        let (_, ticket) = lock(&self.waiting).pop_front().unwrap();
        broker.settle(ticket, Ok(Receipt::of_earlier(published)));
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
