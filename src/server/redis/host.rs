//! What the thread that talks to Redis asks of the server that it works for, and tells it, besides the broker.
//!
//! Who answers is not known here.

use crate::hub::{ChannelName, Owner};
use crate::pusher::SocketId;
use crate::server::broker::engine::signal::Occupancy;
use crate::server::broker::engine::tidings::Tiding;
use crate::server::clock::Millis;

/// The server. Called from the engine's thread, without a lock of the broker.
pub trait Host: Send {
    /// Whose a socket identifier of Pusher is.
    fn owner_of(&self, channel: &ChannelName, socket_id: SocketId) -> Option<Owner>;

    /// Another node tells what all are to do. It may be told more than once.
    fn told(&self, tiding: Tiding);

    /// By what this node has said, a channel is occupied or vacated, or has another number of subscribers over all nodes.
    fn counted(
        &self,
        channel: &ChannelName,
        occupancy: Option<Occupancy>,
        subscribers: Option<u64>,
        now: Millis,
    );

    /// A cache channel had no event for a new subscriber here, and none was reported of it lately by any node.
    fn cache_missed(&self, channel: &ChannelName, now: Millis);

    /// A user has become a member of a presence channel by what this node did, or by what another one did that has died, or is not a
    /// member any more: it was at no node before, or is at none now.
    fn member_changed(&self, channel: &ChannelName, user_id: &str, is_there: bool, now: Millis);

    /// A channel has more or fewer subscribers at other nodes than before.
    fn recounted(&self, channel: &ChannelName, now: Millis);
}
