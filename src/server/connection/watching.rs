//! What a connection reads under the server's own names: the figures of the dashboard, and channels that it watches without
//! being one of their subscribers.
//!
//! Which names there are is known to `api::watching`; who may is decided by `access`.

use std::sync::Arc;

use super::Connection;
use super::context::Context;
use crate::hub::{ChannelName, Hub, Subscription, WireForm};
use crate::server::access::{Refusal, Verdict};

impl Connection {
    /// Whether its client may read a channel, or what the server has under this name.
    pub(super) fn may_read(&self, channel: &ChannelName, cx: &Context) -> Verdict {
        if !channel.is_reserved() {
            return cx.access.may_subscribe(self.identity.as_deref(), channel);
        }
        match self.check_operator(cx) {
            Ok(()) => Verdict::Yes,
            Err(refusal) => Verdict::No(refusal),
        }
    }

    /// Checks that its client may see the state of the server: by its own proof, or by the key that its browser sent along.
    fn check_operator(&self, cx: &Context) -> Result<(), Refusal> {
        let operator = self.multiplex().and_then(|client| client.operator.as_deref());
        let by_own = cx.access.check_admin(self.identity.as_deref());
        by_own.or_else(|refusal| {
            operator.map_or(Err(refusal), |operator| cx.access.check_admin(Some(operator)))
        })
    }

    /// The rules have changed: the key of an operator has the rights and the end that it has now.
    pub(super) fn renew_operator(&mut self, cx: &Context) {
        let Some(operator) = self.multiplex_mut().and_then(|client| client.operator.as_mut()) else { return };
        if let Some(renewed) = cx.access.renewed(operator) {
            *operator = Arc::new(renewed);
        }
    }
}

/// What a subscription reads, under the name that the server has for it: that of its channel, or the one under which it is
/// watched.
pub fn name_of(subscription: Subscription, hub: &Hub) -> ChannelName {
    let channel = hub.channel(subscription);
    if subscription.form().is_watching() { channel.watched() } else { channel.clone() }
}

/// The channel to read for what is called so, and the form in which it is read where others are read in `form`.
pub fn read_as(name: &ChannelName, form: WireForm) -> (ChannelName, WireForm) {
    match name.as_watched() {
        Some(watched) => (watched, form.watching()),
        None => (name.clone(), form),
    }
}
