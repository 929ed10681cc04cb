//! What the thread that talks to Redis asks of the server, and tells it: the apps have the answers.
//!
//! What is asked when is the engine's.

use std::sync::Weak;

use crate::hub::{ChannelName, Owner};
use crate::pusher::SocketId;
use crate::server::access::Whom;
use crate::server::apps::running::RunningApp;
use crate::server::broker::engine::signal::Occupancy;
use crate::server::broker::engine::tidings::Tiding;
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

    fn with_app(&self, channel: &ChannelName, report: impl FnOnce(&RunningApp)) {
        let app = self.0.upgrade().and_then(|shared| shared.apps.of_channel(channel));
        if let Some(app) = app {
            report(&app);
        }
    }
}

impl Host for Hosting {
    fn owner_of(&self, channel: &ChannelName, socket_id: SocketId) -> Option<Owner> {
        self.0.upgrade()?.apps.of_channel(channel)?.owner_of(socket_id)
    }

    fn told(&self, tiding: Tiding) {
        let Some(shared) = self.0.upgrade() else { return };
        match tiding {
            Tiding::UserRevoked { sub, at_s } => revoke(&shared, Whom::Sub(sub), at_s),
            Tiding::TokenRevoked { jti, at_s } => revoke(&shared, Whom::Jti(jti), at_s),
            Tiding::Terminate { app, user, .. } => {
                if let Some(app) = shared.apps.by_id(&app) {
                    app.terminate(&user, &shared.broker);
                }
            }
        }
    }

    fn counted(
        &self,
        channel: &ChannelName,
        occupancy: Option<Occupancy>,
        subscribers: Option<u64>,
        now: Millis,
    ) {
        self.with_app(channel, |app| app.note_counted(channel, occupancy, subscribers, now));
    }

    fn cache_missed(&self, channel: &ChannelName, now: Millis) {
        self.with_app(channel, |app| app.note_cache_miss(channel, now));
    }

    fn member_changed(&self, channel: &ChannelName, user_id: &str, is_there: bool, now: Millis) {
        self.with_app(channel, |app| match is_there {
            true => app.note_member(channel, user_id, now),
            false => app.note_member_gone(channel, user_id, now),
        });
    }

    fn recounted(&self, channel: &ChannelName, now: Millis) {
        let Some(shared) = self.0.upgrade() else { return };
        if shared.apps.of_channel(channel).is_some_and(|app| app.tells_count(channel)) {
            shared.broker.tell_count(channel, now);
        }
    }
}

/// What another node has revoked. It is told again whenever this node begins to listen: what is known costs nothing.
fn revoke(shared: &Shared, whom: Whom, at_s: u64) {
    if shared.guard.has_revoked(&whom, at_s) {
        return;
    }
    if let Err(refusal) = shared.revoke_here(whom, at_s, None) {
        tracing::error!("what another node has revoked is not revoked here: {refusal}");
    }
}
