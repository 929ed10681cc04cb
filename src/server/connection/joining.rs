//! How a connection comes to read a channel: it joins under the channel's lock, is told where it begins and what it
//! missed, and then reads the log.
//!
//! From where it begins the request says; what is kept, the broker.

use std::collections::VecDeque;
use std::sync::Arc;

use super::Connection;
use super::context::Context;
use super::replay::Replay;
#[cfg(target_os = "linux")]
use super::stream::UNSENT_LATEST_MAX;
use super::subscriptions::Entry;
use crate::config::LagPolicy;
use crate::hub::{Publication, Resumption, Subscription};
use crate::server::api::handlers::Joining;
use crate::server::encoder::{self, Notice};

/// A subscription that has begun, and what its owner is sent first.
#[derive(Debug)]
pub struct Joined {
    subscription: Subscription,
    notice: Option<Notice>,
    policy: LagPolicy,
    missed: VecDeque<Arc<Publication>>,
}

impl Joined {
    /// Whether the form that is read has words for notices that pages can see.
    pub fn hears_notices(&self) -> bool {
        self.subscription.form().is_envelope()
    }
}

/// Subscribes the connection that is being called.
pub fn join(joining: &Joining, cx: &mut Context) -> Joined {
    let policy = cx.shared.config.lag_policy(joining.channel.as_str());
    let (idle_ms, owner) = (cx.timeouts.idle_ms(), cx.owner);
    let joined = cx.under_lock(&joining.channel, joining.position, |hub, resumption| {
        let subscription = hub.subscribe(&joining.channel, joining.form, owner);
        let Resumption { since, gap, publications } = resumption;
        let notice = match gap {
            Some(gap) => Some(Notice::Gap { gap, since, idle_ms }),
            None => joining.announces.then_some(Notice::Subscribed { since, idle_ms }),
        };
        Some(Joined { subscription, notice, policy, missed: publications })
    });
    let joined = joined.expect("it joins in any case");
    cx.counters.replayed[joining.form.index()] += joined.missed.len() as u64;
    joined
}

impl Connection {
    /// Tells a subscriber where it begins, if it is to be told, and what it missed; then it reads the log.
    pub(super) fn begin(&mut self, joined: Joined) {
        let Joined { subscription, notice, policy, missed } = joined;
        if let Some(notice) = notice {
            encoder::notice(notice, subscription.form(), self.outbox.tail());
        }
        #[cfg(target_os = "linux")]
        if policy == LagPolicy::Latest {
            self.stream.bound_unsent(UNSENT_LATEST_MAX);
        }
        self.subscriptions.insert(Entry { subscription, policy, replay: Replay::new(missed) });
    }

    /// Says that the server is there, as far as the form of a subscription has words for it. A peer that has not taken
    /// what came before needs no other.
    pub(super) fn say_alive(&mut self, cx: &Context) {
        if let Some(entry) = self.subscriptions.entries().first()
            && self.outbox.is_empty()
        {
            let notice = Notice::Alive { idle_ms: cx.timeouts.idle_ms() };
            encoder::notice(notice, entry.subscription.form(), self.outbox.tail());
        }
    }
}
