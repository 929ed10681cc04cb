//! What the thread that talks to Redis asks of the server, and tells it: the apps have the answers.
//!
//! What is asked when is the engine's.

use std::sync::Weak;

use crate::hub::{ChannelName, Owner};
use crate::pusher::SocketId;
use crate::server::clock::Millis;
use crate::server::redis::Host;
use crate::server::shared::Shared;

/// The server, while there is one.
#[derive(Debug)]
pub struct Hosting(Weak<Shared>);

impl Hosting {
    /// That of this server.
    pub fn new(shared: Weak<Shared>) -> Self {
        Self(shared)
    }
}

impl Host for Hosting {
    fn owner_of(&self, channel: &ChannelName, socket_id: SocketId) -> Option<Owner> {
        self.0.upgrade()?.apps.of_channel(channel)?.owner_of(socket_id)
    }

    fn recounted(&self, channel: &ChannelName, now: Millis) {
        let Some(shared) = self.0.upgrade() else { return };
        if shared.apps.of_channel(channel).is_some_and(|app| app.tells_count(channel)) {
            shared.broker.tell_count(channel, now);
        }
    }
}
