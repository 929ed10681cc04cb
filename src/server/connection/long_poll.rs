//! The role of a connection whose request waits for a publication.
//!
//! It has a log like any subscriber, but its bytes are sent as the body of one answer.

use super::Connection;
use super::context::Context;
use super::joining::subscribe_at;
use super::life::{After, Life, LongPoll};
use super::subscriptions::Entry;

use crate::config::LagPolicy;
use crate::http::{Request, Response, Status};
use crate::hub::{ChannelName, Gap, Hub, PublicationId, Resumption, Subscription, WireForm};
use crate::server::access::Refusal;
use crate::server::api::acceptance::Polling;
use crate::server::broker::presence::Present;
use crate::server::encoder;

/// What a long poll finds.
enum Polled {
    /// It is answered now: with kept publications, a gap, or because it does not wait.
    Now(Resumption),
    /// Nothing yet: it has subscribed.
    Later(Subscription),
}

impl Connection {
    /// Answers a long poll with the kept publications, or lets it wait.
    pub(super) fn poll_channel(&mut self, request: &Request, polling: &Polling, cx: &mut Context) {
        let wait_ms = if cx.is_leaving() { 0 } else { polling.wait_ms.min(self.wait_ms_max(cx)) };
        let (mut polled, owner) = (None, cx.owner);
        // Who reads what is kept, and does not wait, is not there.
        let present = Present { is_poll: wait_ms > 0, ..self.present() };
        cx.under_lock(
            &polling.channel,
            (polling.position, WireForm::LongPoll),
            present,
            |hub, resumption| {
                if wait_ms == 0 || resumption.gap.is_some() || !resumption.publications.is_empty() {
                    polled = Some(Polled::Now(resumption));
                    return None;
                }
                let subscription =
                    subscribe_at(hub, &polling.channel, WireForm::LongPoll, owner, &resumption);
                polled = Some(Polled::Later(subscription));
                Some(())
            },
        );
        match polled.expect("it is one or the other") {
            Polled::Now(resumption) => {
                let response = answer_of(resumption, cx);
                self.respond_to(request, &response, cx);
            }
            Polled::Later(subscription) => {
                self.subscriptions.insert(waiting(subscription), &cx.hub);
                self.wait_to_answer(request, wait_ms, Vec::new(), cx);
            }
        }
    }

    /// Lets a long poll wait that has subscribed. Its client wants to be told who is in the channels of `untold`, and is not.
    pub(super) fn wait_to_answer(
        &mut self,
        request: &Request,
        wait_ms: u64,
        untold: Vec<ChannelName>,
        cx: &Context,
    ) {
        let (after, wait_ms) = (After::of(request), u32::try_from(wait_ms).unwrap_or(u32::MAX));
        self.wait_for_publication(|http| LongPoll { http, after, wait_ms, untold }, cx.now);
    }

    /// Whether publications have arrived for a long poll.
    pub(super) fn is_poll_ready(&self, cx: &Context) -> bool {
        matches!(self.life, Life::LongPoll(_)) && self.lag(cx) > 0
    }

    /// Answers a long poll that waits, with the publications that have arrived, if any. A request that arrived during the
    /// wait is next.
    pub(super) fn answer_poll(&mut self, cx: &mut Context) {
        let Life::LongPoll(poll) = &mut self.life else { return };
        let untold = std::mem::take(&mut poll.untold);
        let Some(after) = self.end_wait(cx.now) else { return };
        let body = match self.subscriptions.single() {
            Some(subscription) if subscription.form() == WireForm::LongPoll => {
                let (gap, elements, next) = arrived(subscription, &cx.hub);
                encoder::long_poll_answer(gap, elements, next)
            }
            Some(_) | None => self.arrived_in_many(&untold, cx).body(),
        };
        self.leave_channels(cx);
        self.respond(&response(body), after, cx);
    }

    /// Answers a long poll that waits with the reason why its client may not go on.
    pub(super) fn refuse_poll(&mut self, refusal: &Refusal, cx: &mut Context) {
        self.leave_channels(cx);
        let Some(after) = self.end_wait(cx.now) else { return };
        self.respond(&Response::from(refusal), after, cx);
    }

    /// Ends a long poll without an answer; the connection is an HTTP one again.
    pub(super) fn abandon_poll(&mut self, cx: &mut Context) {
        self.leave_channels(cx);
        let _ = self.end_wait(cx.now);
    }
}

/// The subscription of a long poll. The first publication in its log answers it, so it never lags: the policy is not used.
pub fn waiting(subscription: Subscription) -> Entry {
    Entry::new(subscription, LagPolicy::Close, None)
}

/// What has arrived for a long poll: what is lost before it, its elements, and where the client goes on. What comes after a
/// gap is for the next poll, which is told of that; so no client takes what came before it for what came after.
pub fn arrived(subscription: Subscription, hub: &Hub) -> (Option<Gap>, &[u8], PublicationId) {
    let (gap, elements, next) = hub.unread_to_gap(subscription);
    (gap, elements, next.expect("it was noted when the channel was joined"))
}

/// The answer to a long poll that is not to wait. What does not fit into it is for the next poll.
fn answer_of(resumption: Resumption, cx: &mut Context) -> Response {
    let gap = resumption.gap;
    let (elements, next) = elements_of(resumption, WireForm::LongPoll, cx.shared.config.max_lag, cx);
    response(encoder::long_poll_answer(gap, &elements, next))
}

/// Kept publications as the elements of a list, each with a comma ahead of it, and the last of them. A list longer than
/// `len_max` ends with the publication that exceeds it.
pub fn elements_of(
    resumption: Resumption,
    form: WireForm,
    len_max: u64,
    cx: &mut Context,
) -> (Vec<u8>, PublicationId) {
    let Resumption { mut since, publications, .. } = resumption;
    let mut elements = Vec::new();
    for publication in publications {
        if elements.len() as u64 > len_max {
            break;
        }
        cx.encoder.publication(&publication, form, &mut elements);
        cx.counters.replayed[form.index()] += 1;
        since = publication.id;
    }
    (elements, since)
}

/// The answer with this body, which is of the moment.
pub fn response(body: Vec<u8>) -> Response {
    Response::json(Status::OK, body).header("Cache-Control", "no-store")
}
