//! How busy channels are: publications counted per channel for the dashboard, and subscriber counts.
//!
//! Publications are counted only while the dashboard asks.

use std::sync::atomic::Ordering;

use crate::hub::ChannelName;
use crate::server::broker::Broker;
use crate::server::broker::channel::ChannelState;
use crate::server::broker::shard::Shard;
use crate::server::lock::lock;

/// Up to this many channels, [`Broker::take_busy`] shows those without publications too: that takes 50 µs.
pub const SHOWN_AT_REST_MAX: usize = 1024;

impl Broker {
    /// Shows every channel that was published to since this was last called, with the number of publications and of
    /// subscribers; while there are few channels, the others too. Counting begins with the first call. It is
    /// O(channels published to), and each lock is held for a 64th of that.
    pub fn take_busy(&self, mut show: impl FnMut(&ChannelName, u64, u64)) {
        self.is_counting.store(true, Ordering::Relaxed);
        let are_all_shown = self.channels_len() <= SHOWN_AT_REST_MAX;
        for shard in &self.shards {
            let Shard { channels, busy, .. } = &mut *lock(shard);
            let busy = std::mem::take(busy);
            let mut show_one = |name: &ChannelName, channel: &mut ChannelState| {
                show(name, std::mem::take(&mut channel.published), channel.subscribers_everywhere());
            };
            if are_all_shown {
                channels.iter_mut().for_each(|(name, channel)| show_one(name, channel));
                continue;
            }
            for name in busy {
                // It may have been removed since, and made again.
                if let Some(channel) = channels.get_mut(&name).filter(|channel| channel.published > 0) {
                    show_one(&name, channel);
                }
            }
        }
    }

    /// Stops counting publications until [`Broker::take_busy`] is called again.
    pub fn stop_counting(&self) {
        self.is_counting.store(false, Ordering::Relaxed);
        for shard in &self.shards {
            let Shard { channels, busy, .. } = &mut *lock(shard);
            for name in std::mem::take(busy) {
                if let Some(channel) = channels.get_mut(&name) {
                    channel.published = 0;
                }
            }
        }
    }

    /// The number of a channel's subscribers at all nodes, as the others were counted last; 0 if it is not known here.
    pub fn subscribers_everywhere(&self, name: &str) -> u64 {
        lock(self.shard(name)).channels.get(name).map_or(0, ChannelState::subscribers_everywhere)
    }

    /// The number of a channel's subscribers on this node; `None` if the channel is not known.
    pub fn subscribers_len(&self, name: &str) -> Option<u64> {
        lock(self.shard(name)).channels.get(name).map(ChannelState::subscribers_len)
    }
}
