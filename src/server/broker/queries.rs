//! What operators ask about channels: a page of their names, and the state of one.
//!
//! Who may ask is decided before, and how it is answered is known to the API.

use std::collections::BTreeMap;

use crate::hub::{ChannelName, PublicationId};
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
    /// Its subscribers by road.
    pub roads: Roads,
    /// The oldest publication that is kept.
    pub first: Option<PublicationId>,
    /// The newest publication; with the sequence 0 if there was none.
    pub last: PublicationId,
    /// The bytes of what is kept.
    pub bytes: u64,
}

/// The names of users' channels begin so; clients cannot name them.
const USER_PREFIX: char = '#';

impl Broker {
    /// A page of the channels that clients know. O(channels), each lock is held for a 64th of that; the page is not one moment.
    pub fn page(&self, asked: &PageOf) -> Page {
        let mut first: BTreeMap<String, (u64, PublicationId)> = BTreeMap::new();
        let mut has_more = false;
        for shard in &self.shards {
            for (name, state) in &lock(shard).channels {
                let Some(local) = local_in(name, asked.space.as_deref()) else { continue };
                if !local.starts_with(&asked.prefix) || local <= asked.after.as_str() {
                    continue;
                }
                let is_full = first.len() == asked.limit;
                if is_full && first.last_key_value().is_some_and(|(last, _)| local >= last.as_str()) {
                    has_more = true;
                    continue;
                }
                first.insert(local.to_owned(), (state.subscribers_len(), newest(state)));
                if first.len() > asked.limit {
                    first.pop_last();
                    has_more = true;
                }
            }
        }
        let channels = first.into_iter().map(|(name, (subscribers, last))| (name, subscribers, last));
        Page { channels: channels.collect(), has_more }
    }

    /// The state of a channel; `None` if it is not known.
    pub fn state_of(&self, name: &str) -> Option<StateOf> {
        let shard = lock(self.shard(name));
        let state = shard.channels.get(name)?;
        Some(StateOf {
            roads: state.roads,
            first: state.history.first(),
            last: newest(state),
            bytes: state.history.bytes(),
        })
    }
}

fn newest(state: &ChannelState) -> PublicationId {
    PublicationId { epoch: state.epoch, sequence: state.sequence }
}

/// What clients call the channel, if it is one of this space that they can name.
fn local_in<'a>(name: &'a ChannelName, space: Option<&str>) -> Option<&'a str> {
    let is_asked = name.space() == space && !name.is_reserved() && !name.is_companion();
    is_asked.then(|| name.local()).filter(|local| !local.starts_with(USER_PREFIX))
}
