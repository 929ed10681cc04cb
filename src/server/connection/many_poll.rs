//! The role of a connection whose request waits for a publication in any of several channels.
//!
//! It is the role of `long_poll` but for the beginning and the answer, which are here.

use super::Connection;
use super::context::Context;
use super::joining::subscribe_at;
use super::long_poll::{elements_of, next_after, response, waiting};
use super::watching::{name_of, read_as};
use crate::http::Request;
use crate::hub::{ChannelName, Position, Resumption, WireForm};
use crate::server::api::many::{PollingMany, Reading};
use crate::server::broker::presence::Present;
use crate::server::encoder::ManyAnswer;

impl Connection {
    /// Answers a long poll of several channels if any of them has something kept or lost something, or lets it wait for all.
    pub(super) fn poll_channels(&mut self, request: &Request, polling: &PollingMany, cx: &mut Context) {
        let PollingMany { readings, wait_ms } = polling;
        let wait_ms = if cx.is_leaving() { 0 } else { self.wait_ms_max(cx).min(*wait_ms) };
        let (owner, mut is_answered) = (cx.owner, wait_ms == 0);
        let mut kept = Vec::new();
        for Reading { channel, wanted } in readings {
            let position = wanted.position.unwrap_or(Position::Now);
            let (channel, form) = read_as(channel, WireForm::NamedLongPoll);
            let mut found = None;
            // Who reads what is kept, and does not wait, is not there.
            let present = Present { is_poll: wait_ms > 0, ..self.present() };
            let subscription = cx.under_lock(&channel, (position, form), present, |hub, resumption| {
                is_answered |= resumption.gap.is_some() || !resumption.publications.is_empty();
                if is_answered {
                    found = Some(resumption);
                    return None;
                }
                Some(subscribe_at(hub, &channel, form, owner, &resumption))
            });
            match subscription {
                Some(subscription) => self.subscriptions.insert(waiting(subscription), &cx.hub),
                None => kept.extend(found.map(|resumption| (&wanted.channel, form, resumption))),
            }
        }
        if !is_answered {
            return self.wait_to_answer(request, wait_ms, cx);
        }
        // The channels before the first with something were joined, and may have got something meanwhile.
        let mut answer = self.arrived_in_many(cx);
        self.leave_channels(cx);
        add_kept(kept, readings.len(), &mut answer, cx);
        self.respond_to(request, &response(answer.body()), cx);
    }

    /// What has arrived in each of the channels that a long poll waits for.
    pub(super) fn arrived_in_many(&self, cx: &Context) -> ManyAnswer {
        let mut answer = ManyAnswer::default();
        for entry in self.subscriptions.entries() {
            let subscription = entry.subscription;
            cx.hub.unread_runs(subscription).for_each(|run| answer.elements.extend_from_slice(run));
            let name = name_of(subscription, &cx.hub);
            answer.channel(name.local(), None, next_after(subscription, &cx.hub));
        }
        answer
    }
}

/// Adds what is kept of channels. Each of the `count` channels has its part of `--max-lag`, so that none keeps the others from
/// being read; the rest is for the next poll.
fn add_kept(
    kept: Vec<(&ChannelName, WireForm, Resumption)>,
    count: usize,
    answer: &mut ManyAnswer,
    cx: &mut Context,
) {
    let len_max = cx.shared.config.max_lag / count.max(1) as u64;
    for (name, form, resumption) in kept {
        let gap = resumption.gap;
        let (elements, next) = elements_of(resumption, form, len_max, cx);
        answer.elements.extend_from_slice(&elements);
        answer.channel(name.local(), gap, next);
    }
}
