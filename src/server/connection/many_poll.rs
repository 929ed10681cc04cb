//! The role of a connection whose request waits for a publication in any of several channels.
//!
//! It is the role of `long_poll` but for the beginning and the answer, which are here.

use super::Connection;
use super::context::Context;
use super::joining::subscribe_at;
use super::long_poll::{arrived, elements_of, response, waiting};
use super::watching::{name_of, read_as};
use crate::commands::answer;
use crate::http::Request;
use crate::hub::{ChannelName, Position, PublicationId, Resumption, WireForm};
use crate::server::api::many::{PollingMany, Reading};
use crate::server::broker::attendance::{self, Known, Polled};
use crate::server::broker::presence::Present;
use crate::server::encoder::ManyAnswer;

/// What a long poll of several channels has found so far.
struct Found<'a> {
    /// How long it may wait, in milliseconds.
    wait_ms: u64,
    /// Whether it is answered now.
    is_answered: bool,
    /// What is kept of channels.
    kept: Vec<(&'a ChannelName, WireForm, Resumption)>,
    /// Who is in channels, as envelopes.
    told: Vec<String>,
    /// The changes whose state its client knows after that.
    newest: Vec<(&'a ChannelName, PublicationId)>,
    /// Where its client wants to be told who is there, and is not.
    untold: Vec<ChannelName>,
}

impl Connection {
    /// Answers a long poll of several channels if any of them has something kept or lost something, or its client is to be told
    /// who is there; or lets it wait for all.
    pub(super) fn poll_channels(&mut self, request: &Request, polling: &PollingMany, cx: &mut Context) {
        let PollingMany { readings, wait_ms } = polling;
        let wait_ms = if cx.is_leaving() { 0 } else { self.wait_ms_max(cx).min(*wait_ms) };
        let mut found = Found {
            wait_ms,
            is_answered: wait_ms == 0,
            kept: Vec::new(),
            told: Vec::new(),
            newest: Vec::new(),
            untold: Vec::new(),
        };
        for reading in readings {
            self.poll_one(reading, &mut found, cx);
            if reading.wanted.presence {
                self.poll_presence(reading, &mut found, cx);
            }
        }
        if !found.is_answered {
            return self.wait_to_answer(request, wait_ms, found.untold, cx);
        }
        // The channels before the first with something were joined, and may have got something meanwhile.
        let mut answer = self.arrived_in_many(&found.untold, cx);
        self.leave_channels(cx);
        found.newest.iter().for_each(|(name, newest)| answer.presence(name.local(), Some(*newest)));
        found.told.iter().for_each(|text| answer.push(text));
        add_kept(found.kept, readings.len(), &mut answer, cx);
        self.respond_to(request, &response(answer.body()), cx);
    }

    /// Looks for what is kept of a channel, or subscribes to it.
    fn poll_one<'a>(&mut self, reading: &'a Reading, found: &mut Found<'a>, cx: &mut Context) {
        let Reading { channel, wanted, .. } = reading;
        let (position, owner) = (wanted.position.unwrap_or(Position::Now), cx.owner);
        let (channel, form) = read_as(channel, WireForm::NamedLongPoll);
        let mut kept = None;
        // Who reads what is kept, and does not wait, is not there.
        let present = Present { is_poll: found.wait_ms > 0, ..self.present() };
        let subscription = cx.under_lock(&channel, (position, form), present, |hub, resumption| {
            found.is_answered |= resumption.gap.is_some() || !resumption.publications.is_empty();
            if found.is_answered {
                kept = Some(resumption);
                return None;
            }
            Some(subscribe_at(hub, &channel, form, owner, &resumption))
        });
        match subscription {
            Some(subscription) => self.subscriptions.insert(waiting(subscription), &cx.hub),
            None => found.kept.extend(kept.map(|resumption| (&wanted.channel, form, resumption))),
        }
    }

    /// Finds out who is in a channel, for a client that does not know it, or subscribes to the changes. Call it after
    /// [`Connection::poll_one`], so that the client finds itself.
    fn poll_presence<'a>(&mut self, reading: &'a Reading, found: &mut Found<'a>, cx: &mut Context) {
        let Reading { channel, wanted, known } = reading;
        let known = match (known, wanted.position) {
            (Some(id), _) => Known::Change(*id),
            // It has read the channel before. If each of its polls were answered with the list, none would wait.
            (None, Some(Position::After(_))) if found.wait_ms > 0 => Known::Enough,
            (None, _) => Known::Nothing,
        };
        let polled = self
            .sees(channel, cx)
            .then(|| cx.poll_presence(channel, WireForm::NamedLongPoll, known, !found.is_answered))
            .flatten();
        let Some(Polled { newest, found: who }) = polled else {
            return found.untold.push(wanted.channel.clone());
        };
        match who {
            attendance::Found::Reading(subscription) => {
                return self.subscriptions.insert(waiting(subscription), &cx.hub);
            }
            attendance::Found::State(data) => {
                found.is_answered = true;
                found.told.push(answer::presence(&wanted.channel, None, &data));
            }
            attendance::Found::Nothing => {}
        }
        found.newest.push((&wanted.channel, newest));
    }

    /// What has arrived in each of the channels that a long poll waits for, and of which its client is told who is there.
    pub(super) fn arrived_in_many(&self, untold: &[ChannelName], cx: &Context) -> ManyAnswer {
        let mut answer = ManyAnswer::default();
        for entry in self.subscriptions.entries() {
            let subscription = entry.subscription;
            let name = name_of(subscription, &cx.hub);
            let (gap, elements, next) = arrived(subscription, &cx.hub);
            answer.elements.extend_from_slice(elements);
            match name.is_companion() {
                true => answer.presence(name.local(), Some(next)),
                false => answer.channel(name.local(), gap, next),
            }
        }
        untold.iter().for_each(|name| answer.presence(name.local(), None));
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
