//! How a connection joins a channel: it subscribes under the channel's lock, is sent a notice of its position and what it
//! missed, and then reads the log.
//!
//! The position comes from the request; what is kept is in the broker.

use std::collections::VecDeque;
use std::sync::Arc;

use super::Connection;
use super::attending::join_companion;
use super::context::Context;
use super::replay::Replay;
#[cfg(target_os = "linux")]
use super::stream::UNSENT_LATEST_MAX;
use super::subscriptions::Entry;
use super::watching::read_as;
use crate::commands::answer::{self, Beginning};
use crate::commands::{Reference, Wanted};
use crate::config::LagPolicy;
use crate::http;
use crate::hub::{ChannelName, Hub, Position, Publication, Resumption, Subscription, WireForm};
use crate::server::api::acceptance::Joining;
use crate::server::broker::presence::Present;
use crate::server::encoder::{self, Notice};

/// A new subscription, and what is sent to its owner first.
#[derive(Debug)]
pub struct Joined {
    subscription: Subscription,
    notice: Option<Notice>,
    is_paused: bool,
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
        let Resumption { since, gap, publications, is_paused } = resumption;
        let notice = match gap {
            Some(gap) => Some(Notice::Gap { gap, since, idle_ms }),
            None => joining.announces.then_some(Notice::Subscribed { since, idle_ms }),
        };
        Some(Joined { subscription, notice, is_paused, policy, missed: publications })
    };
    let joined = cx.under_lock(&joining.channel, (joining.position, joining.form), present, subscribe);
    let joined = joined.expect("it joins in any case");
    cx.counters.replayed[joining.form.index()] += joined.missed.len() as u64;
    joined
}

/// A channel that was joined as one of several.
#[derive(Debug)]
pub struct OneOfMany {
    /// What is read, in the order in which it is told of: the channel, then its companion if the client is told who is there.
    pub entries: Vec<Entry>,
    /// The texts that the client is sent first: where it begins, whether publications come late, then who is there.
    pub texts: Vec<String>,
}

/// Subscribes the connection that is being called to one of several channels, or to what is watched under that name. Its client is `present` for the others, and
/// `sees` them. `reference` is what the client called its command, if it came by one.
pub fn join_one_of_many(
    channel: &ChannelName,
    form: WireForm,
    wanted: &Wanted,
    reference: Option<&Reference>,
    (present, sees): (Present<'_>, bool),
    cx: &mut Context,
) -> OneOfMany {
    let (policy, owner) = (cx.shared.config.lag_policy(channel.local()), cx.owner);
    let position = wanted.position.unwrap_or(Position::Now);
    let (read, read_form) = read_as(channel, form);
    let joined = cx.under_lock(&read, (position, read_form), present, |hub, resumption| {
        Some((subscribe_at(hub, &read, read_form, owner, &resumption), resumption))
    });
    let (subscription, Resumption { since, gap, publications, is_paused }) =
        joined.expect("it joins in any case");
    cx.counters.replayed[read_form.index()] += publications.len() as u64;
    // After the channel, so that the client finds itself.
    let companion = sees.then(|| join_companion(&wanted.channel, channel, form, cx)).flatten();
    let beginning = Beginning { since, lacks_presence: wanted.presence && companion.is_none() };
    let text = match gap {
        Some(gap) => answer::gap(&wanted.channel, reference, gap, beginning),
        None => answer::subscribed(&wanted.channel, reference, beginning),
    };
    let entry = Entry::new(subscription, policy, Replay::new(publications));
    let (mut entries, mut texts) = (vec![entry], vec![text]);
    texts.extend(is_paused.then(|| Notice::Paused.envelope(Some(wanted.channel.local()))));
    if let Some((entry, text)) = companion {
        entries.push(entry);
        texts.push(text);
    }
    OneOfMany { entries, texts }
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

impl Connection {
    /// Sends a subscriber the notice of its position, if there is one, and whether publications come late, then what it missed,
    /// then the log.
    pub(super) fn begin(&mut self, joined: Joined, hub: &Hub) {
        let Joined { subscription, notice, is_paused, policy, missed } = joined;
        for notice in notice.into_iter().chain(is_paused.then_some(Notice::Paused)) {
            encoder::notice(notice, subscription.form(), None, self.outbox.tail());
        }
        self.add_subscription(Entry::new(subscription, policy, Replay::new(missed)), hub);
    }

    /// Reads one more channel.
    pub(super) fn add_subscription(&mut self, entry: Entry, hub: &Hub) {
        #[cfg(target_os = "linux")]
        if entry.policy == LagPolicy::Latest {
            self.stream.bound_unsent(UNSENT_LATEST_MAX);
        }
        self.subscriptions.insert(entry, hub);
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
            None if self.is_late_stream() => http::encode_comment(self.outbox.tail(), ""),
            None => self.say_alive_to_multiplex(cx),
        }
    }
}
