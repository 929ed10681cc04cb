//! How a connection joins a channel: it subscribes under the channel's lock, is sent a notice of its position and what it
//! missed, and then reads the log.
//!
//! The position comes from the request; what is kept is in the broker.

use std::collections::VecDeque;
use std::sync::Arc;

use super::Connection;
use super::context::Context;
use super::replay::Replay;
#[cfg(target_os = "linux")]
use super::stream::UNSENT_LATEST_MAX;
use super::subscriptions::Entry;
use crate::commands::answer::{self, Beginning};
use crate::commands::{Reference, Wanted};
use crate::config::LagPolicy;
use crate::hub::{ChannelName, Hub, Position, Publication, Resumption, Subscription, WireForm};
use crate::server::access::{Identity, Verdict};
use crate::server::api::acceptance::Joining;
use crate::server::broker::presence::Present;
use crate::server::encoder::{self, Notice};

/// A new subscription, and what is sent to its owner first.
#[derive(Debug)]
pub struct Joined {
    subscription: Subscription,
    notice: Option<Notice>,
    policy: LagPolicy,
    missed: VecDeque<Arc<Publication>>,
}

impl Joined {
    /// Whether its wire form can express notices that pages see.
    pub fn hears_notices(&self) -> bool {
        self.subscription.form().is_envelope()
    }
}

/// Subscribes the connection that is being called, whose client is `present` for the others.
pub fn join(joining: &Joining, present: Present<'_>, cx: &mut Context) -> Joined {
    let policy = cx.shared.config.lag_policy(joining.channel.local());
    let (idle_ms, owner) = (cx.timeouts.idle_ms(), cx.owner);
    let subscribe = |hub: &mut Hub, resumption: Resumption| {
        let subscription = hub.subscribe(&joining.channel, joining.form, owner);
        let Resumption { since, gap, publications } = resumption;
        let notice = match gap {
            Some(gap) => Some(Notice::Gap { gap, since, idle_ms }),
            None => joining.announces.then_some(Notice::Subscribed { since, idle_ms }),
        };
        Some(Joined { subscription, notice, policy, missed: publications })
    };
    let joined = match joining.form.is_watching() {
        true => cx.watch_under_lock(&joining.channel, joining.position, subscribe),
        false => cx.under_lock(&joining.channel, joining.position, present, subscribe),
    };
    let joined = joined.expect("it joins in any case");
    cx.counters.replayed[joining.form.index()] += joined.missed.len() as u64;
    joined
}

/// Subscribes to what is published from now on. The hub can tell the position of the subscriber from then on.
pub fn subscribe_at(
    hub: &mut Hub,
    channel: &ChannelName,
    form: WireForm,
    owner: u64,
    resumption: &Resumption,
) -> Subscription {
    let subscription = hub.subscribe(channel, form, owner);
    let newest = resumption.publications.back().map_or(resumption.since, |newest| newest.id);
    hub.note_newest(subscription, newest);
    subscription
}

/// One of several channels.
impl Connection {
    /// Joins one of several channels, and its companion if the client wants to know who is there and may. Returns the texts
    /// that tell where it begins and who is there. `reference` is what the client called its command, if it came by one.
    pub(super) fn join_one_of_many(
        &mut self,
        channel: &ChannelName,
        form: WireForm,
        wanted: &Wanted,
        reference: Option<&Reference>,
        cx: &mut Context,
    ) -> (String, Option<String>) {
        let (policy, owner) = (cx.shared.config.lag_policy(channel.local()), cx.owner);
        let position = wanted.position.unwrap_or(Position::Now);
        let joined = cx.under_lock(channel, position, self.present(), |hub, resumption| {
            Some((subscribe_at(hub, channel, form, owner, &resumption), resumption))
        });
        let (subscription, Resumption { since, gap, publications }) = joined.expect("it joins in any case");
        cx.counters.replayed[form.index()] += publications.len() as u64;
        self.add_subscription(Entry::new(subscription, policy, Replay::new(publications)));
        let presence = match wanted.presence && self.may_see(channel, cx) {
            true => self.join_companion(channel, form, wanted, reference, cx),
            false => None,
        };
        let beginning = Beginning { since, lacks_presence: wanted.presence && presence.is_none() };
        let text = match gap {
            Some(gap) => answer::gap(&wanted.channel, reference, gap, beginning),
            None => answer::subscribed(&wanted.channel, reference, beginning),
        };
        (text, presence)
    }

    fn join_companion(
        &mut self,
        channel: &ChannelName,
        form: WireForm,
        wanted: &Wanted,
        reference: Option<&Reference>,
        cx: &mut Context,
    ) -> Option<String> {
        let (subscription, data) = cx.join_presence(channel, form)?;
        self.add_subscription(Entry::new(subscription, LagPolicy::Close, None));
        Some(answer::presence(&wanted.channel, reference, &data))
    }

    /// Whether the client may know who is in a channel.
    pub(super) fn may_see(&self, channel: &ChannelName, cx: &Context) -> bool {
        match cx.access.may_see(self.identity.as_deref(), channel) {
            Verdict::Yes => true,
            Verdict::No(_) => false,
            Verdict::Ask(_) => self.sees_by_backend(channel),
        }
    }
}

impl Connection {
    /// Who its client is for the others in a channel.
    pub(super) fn present(&self) -> Present<'_> {
        let identity = self.identity.as_deref();
        let (sub, info) = (identity.and_then(Identity::sub), identity.and_then(Identity::info));
        Present { sub, info, is_poll: false }
    }

    /// Sends a subscriber the notice of its position, if there is one, then what it missed, then the log.
    pub(super) fn begin(&mut self, joined: Joined) {
        let Joined { subscription, notice, policy, missed } = joined;
        if let Some(notice) = notice {
            encoder::notice(notice, subscription.form(), None, self.outbox.tail());
        }
        self.add_subscription(Entry::new(subscription, policy, Replay::new(missed)));
    }

    /// Reads one more channel.
    pub(super) fn add_subscription(&mut self, entry: Entry) {
        #[cfg(target_os = "linux")]
        if entry.policy == LagPolicy::Latest {
            self.stream.bound_unsent(UNSENT_LATEST_MAX);
        }
        self.subscriptions.insert(entry);
    }

    /// Sends the notice that the server is alive, if the wire form can express it. A peer with an unsent outbox needs no
    /// further one.
    pub(super) fn say_alive(&mut self, cx: &Context) {
        if self.ask_for_sign_of_life() || !self.outbox.is_empty() {
            return;
        }
        match self.subscriptions.entries().first() {
            Some(entry) => {
                let notice = Notice::Alive { idle_ms: cx.timeouts.idle_ms() };
                encoder::notice(notice, entry.subscription.form(), None, self.outbox.tail());
            }
            None => self.say_alive_to_multiplex(cx),
        }
    }
}
