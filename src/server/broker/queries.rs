//! What operators ask about channels: a page of their names, and the state of one.
//!
//! Who may ask is decided before, and how it is answered is known to the API.

use std::collections::BTreeMap;

use crate::hub::PublicationId;
use crate::server::broker::Broker;
use crate::server::broker::channel::ChannelState;
use crate::server::broker::roads::Roads;
use crate::server::lock::lock;

/// Which channels are asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PageOf {
    /// The name space; `None` for plain names.
    pub space: Option<Box<str>>,
    /// What the names begin with.
    pub prefix: String,
    /// The name after which the page begins; empty for the first.
    pub after: String,
    /// The most channels.
    pub limit: usize,
}

/// A page of channels in the order of their names.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Page {
    /// Each with its subscribers and its newest publication.
    pub channels: Vec<(String, u64, PublicationId)>,
    /// Whether there are more.
    pub has_more: bool,
}

/// The state of one channel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StateOf {
    /// Its subscribers on this node by road.
    pub roads: Roads,
    /// Those of other nodes, where there may be some.
    pub elsewhere: Option<u64>,
    /// The oldest publication that is kept.
    pub first: Option<PublicationId>,
    /// The newest publication; with the sequence 0 if there was none.
    pub last: PublicationId,
    /// The bytes of what is kept.
    pub bytes: u64,
}

impl Broker {
    /// A page of the channels that clients know. O(channels of the page), and so is the time for which a lock is held; the page
    /// is not one moment.
    pub fn page(&self, asked: &PageOf) -> Page {
        self.select(asked).0
    }

    /// A page, and the number of names that were looked at for it.
    fn select(&self, asked: &PageOf) -> (Page, usize) {
        let PageOf { space, prefix, after, limit } = asked;
        // One more than the page has says whether there are more.
        let mut first: BTreeMap<String, (u64, PublicationId)> = BTreeMap::new();
        let mut looked_at = 0;
        for shard in &self.shards {
            let shard = lock(shard);
            for name in shard.lists.names.from(space.as_deref(), prefix, after) {
                looked_at += 1;
                let is_full = first.len() > *limit;
                if is_full && first.last_key_value().is_some_and(|(last, _)| name.local() >= last.as_str()) {
                    // Those that follow in this shard are later still.
                    break;
                }
                let Some(state) = shard.channels.get(name) else { unreachable!("a listed channel is known") };
                if state.is_only_engaged() {
                    continue;
                }
                first.insert(name.local().to_owned(), (state.subscribers_everywhere(), newest(state)));
                if is_full {
                    first.pop_last();
                }
            }
        }
        let has_more = first.len() > *limit;
        let channels = first.into_iter().map(|(name, (subscribers, last))| (name, subscribers, last));
        (Page { channels: channels.take(*limit).collect(), has_more }, looked_at)
    }

    /// The state of a channel; `None` if it is not known.
    pub fn state_of(&self, name: &str) -> Option<StateOf> {
        let shard = lock(self.shard(name));
        let state = shard.channels.get(name).filter(|state| !state.is_only_engaged())?;
        Some(StateOf {
            roads: state.roads,
            elsewhere: state.engagement.is_engaged.then_some(state.elsewhere.into()),
            first: state.history.first(),
            last: newest(state),
            bytes: state.history.bytes(),
        })
    }
}

fn newest(state: &ChannelState) -> PublicationId {
    PublicationId { epoch: state.epoch, sequence: state.sequence }
}

#[cfg(test)]
#[path = "queries_tests.rs"]
mod tests;
