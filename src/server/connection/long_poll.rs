//! The role of a connection whose request waits for a publication.
//!
//! It has a log like any subscriber, but its bytes are sent as the body of one answer.

use super::Connection;
use super::context::Context;
use super::life::{After, Ended, Life, LongPoll};
use super::subscriptions::Entry;

use crate::config::LagPolicy;
use crate::http::{Request, Response, Status};
use crate::hub::{PublicationId, Resumption, Subscription, WireForm};
use crate::server::api::handlers::Polling;
use crate::server::encoder;

/// What a long poll finds.
enum Polled {
    /// It is answered now: with kept publications, a gap, or because it does not wait.
    Now(Resumption),
    /// Nothing yet: it has subscribed, and waits for what follows this publication.
    Later(Subscription, PublicationId),
}

impl Connection {
    /// Answers a long poll with the kept publications, or lets it wait.
    pub(super) fn poll_channel(&mut self, request: &Request, polling: &Polling, cx: &mut Context) {
        let wait_ms = if cx.is_leaving() { 0 } else { polling.wait_ms };
        let (mut polled, owner) = (None, cx.owner);
        cx.under_lock(&polling.channel, polling.position, |hub, resumption| {
            if wait_ms == 0 || resumption.gap.is_some() || !resumption.publications.is_empty() {
                polled = Some(Polled::Now(resumption));
                return None;
            }
            let subscription = hub.subscribe(&polling.channel, WireForm::LongPoll, owner);
            polled = Some(Polled::Later(subscription, resumption.since));
            Some(())
        });
        match polled.expect("it is one or the other") {
            Polled::Now(resumption) => {
                let response = answer_of(resumption, cx);
                self.respond_to(request, &response, cx);
            }
            Polled::Later(subscription, since) => {
                // The first publication in its log answers it, so it never lags: the policy is not used.
                self.subscriptions.insert(Entry { subscription, policy: LagPolicy::Close, replay: None });
                let (after, wait_ms) = (After::of(request), u32::try_from(wait_ms).unwrap_or(u32::MAX));
                self.wait_for_publication(|http| LongPoll { http, since, after, wait_ms }, cx.now);
            }
        }
    }

    /// Whether publications have arrived for a long poll.
    pub(super) fn is_poll_ready(&self, cx: &Context) -> bool {
        matches!(self.life, Life::LongPoll(_))
            && self.subscriptions.single().is_some_and(|subscription| cx.hub.lag(subscription) > 0)
    }

    /// Answers a long poll that waits, with the publications that have arrived, if any. A request that arrived during the
    /// wait is next.
    pub(super) fn answer_poll(&mut self, cx: &mut Context) {
        let Some(subscription) = self.subscriptions.single() else { return };
        let Some(Ended { since, after }) = self.end_wait(cx.now) else { return };
        // Every publication is one frame in this form, so counting frames gives the newest sequence.
        let count = cx.hub.unread_publications(subscription);
        let next = PublicationId { sequence: since.sequence + count, ..since };
        let body = encoder::long_poll_answer(None, cx.hub.unread(subscription), next);
        self.leave_channels(cx);
        self.respond(&response(body), after, cx);
    }

    /// Ends a long poll without an answer; the connection is an HTTP one again.
    pub(super) fn abandon_poll(&mut self, cx: &mut Context) {
        self.leave_channels(cx);
        let _ = self.end_wait(cx.now);
    }
}

/// The answer to a long poll that is not to wait. What does not fit into it is for the next poll.
fn answer_of(resumption: Resumption, cx: &mut Context) -> Response {
    let gap = resumption.gap;
    let (elements, next) = elements_of(resumption, cx);
    response(encoder::long_poll_answer(gap, &elements, next))
}

/// Kept publications as the elements of a list, each with a comma ahead of it, and the last of them. A list longer than
/// `--max-lag` ends with the publication that exceeds it.
pub fn elements_of(resumption: Resumption, cx: &mut Context) -> (Vec<u8>, PublicationId) {
    let Resumption { mut since, publications, .. } = resumption;
    let mut elements = Vec::new();
    for publication in publications {
        if elements.len() as u64 > cx.shared.config.max_lag {
            break;
        }
        cx.encoder.publication(&publication, WireForm::LongPoll, &mut elements);
        cx.counters.replayed[WireForm::LongPoll.index()] += 1;
        since = publication.id;
    }
    (elements, since)
}

fn response(body: Vec<u8>) -> Response {
    Response::json(Status::OK, body).header("Cache-Control", "no-store")
}
