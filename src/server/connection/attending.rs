//! Who a client is for the others in a channel, and what it is told of them.
//!
//! Who is there is known to the broker; who may be told of it, to `access`.

use super::Connection;
use super::context::Context;
use super::subscriptions::Entry;
use super::watching::name_of;
use crate::commands::{FaultKind, Reference, answer};
use crate::config::LagPolicy;
use crate::hub::{ChannelName, WireForm};
use crate::server::access::{Identity, Verdict};
use crate::server::api::admin::not_told;
use crate::server::broker::presence::Present;

impl Connection {
    /// Who its client is for the others in a channel.
    pub(super) fn present(&self) -> Present<'_> {
        let who = self.identity.as_deref();
        Present { sub: who.and_then(Identity::sub), info: who.and_then(Identity::info), is_poll: false }
    }

    /// Whether its client can be told who is in a channel.
    pub(super) fn sees(&self, channel: &ChannelName, cx: &Context) -> bool {
        cx.shared.broker.has_presence(channel)
            && match cx.access.may_see(self.identity.as_deref(), channel) {
                Verdict::Yes => true,
                Verdict::No(_) => false,
                Verdict::Ask(_) => self.sees_by_backend(channel),
            }
    }

    /// Tells the client who is in a channel now.
    ///
    /// # Errors
    /// It may not be told, or nobody is.
    pub(super) fn tell_presence(
        &mut self,
        name: &ChannelName,
        channel: &ChannelName,
        reference: Option<&Reference>,
        cx: &mut Context,
    ) -> Result<(), FaultKind> {
        match cx.access.may_see(self.identity.as_deref(), channel) {
            Verdict::Yes => {}
            Verdict::No(refusal) => return Err(FaultKind::from(&refusal)),
            Verdict::Ask(_) if self.sees_by_backend(channel) => {}
            Verdict::Ask(_) => {
                let sentence = format!("The backend does not let this client see who is in {name}.");
                return Err(FaultKind::Forbidden(sentence));
            }
        }
        let data = cx.presence_of(channel).ok_or_else(|| FaultKind::Forbidden(not_told(name)))?;
        self.send_message(&answer::presence(name, reference, &data));
        Ok(())
    }

    /// The client has proved to be somebody else, or to have another info: so it is there in each of its channels.
    pub(super) fn attend_anew(&self, cx: &mut Context) {
        for entry in self.subscriptions.entries() {
            let channel = name_of(entry.subscription, &cx.hub);
            if !channel.is_companion() && !channel.is_reserved() {
                cx.identify_in(&channel, self.present());
            }
        }
    }

    /// The channels that it reads, whether it is told who is in them or not, and what it watches.
    pub(super) fn channels(&self, cx: &Context) -> Vec<ChannelName> {
        let read = self.subscriptions.entries().iter().map(|entry| name_of(entry.subscription, &cx.hub));
        read.filter(|channel| !channel.is_companion()).collect()
    }
}

/// Begins to read the companion of a channel that the connection has joined: the subscription, and the text of the first
/// `fanfare:presence`.
pub fn join_companion(
    name: &ChannelName,
    channel: &ChannelName,
    form: WireForm,
    cx: &mut Context,
) -> Option<(Entry, String)> {
    let (subscription, data) = cx.join_presence(channel, form)?;
    // A client that skips a change does not know any more who is there.
    let entry = Entry::new(subscription, LagPolicy::Close, None);
    Some((entry, answer::presence(name, None, &data)))
}
