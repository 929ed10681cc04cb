//! How a connection comes to read a channel: it joins under the channel's lock, is told where it begins and what it
//! missed, and then reads the log.
//!
//! From where it begins, `position` says; what is kept, the broker.

use std::collections::VecDeque;
use std::sync::Arc;

use crate::config::LagPolicy;
use crate::http::{self, Framing, Request, Response, Status};
use crate::hub::{
    ChannelName, Hub, Position, Publication, PublicationId, Resumption, Subscription, WireForm,
};
use crate::server::api::handlers::{Joining, Polling};
use crate::server::clock;
#[cfg(target_os = "linux")]
use crate::server::connection::stream;
use crate::server::connection::table::Key;
use crate::server::connection::timeouts::Stage;
use crate::server::connection::{Awaited, EventStreamPhase, Phase};
use crate::server::encoder::{self, Notice};
use crate::server::event_loop::{EventLoop, apply};

/// A subscription that has begun, and what its owner is sent first.
#[derive(Debug)]
pub struct Joined {
    pub subscription: Subscription,
    pub notice: Option<Notice>,
    pub policy: LagPolicy,
    pub missed: VecDeque<Arc<Publication>>,
}

/// What is there for a long poll.
enum Polled {
    /// Something to answer with now.
    Now(Resumption),
    /// Nothing yet; it is subscribed to what comes after this publication.
    Later(Subscription, PublicationId),
}

impl EventLoop {
    /// Subscribes a connection.
    pub(super) fn join(&mut self, key: Key, joining: &Joining) -> Joined {
        let policy = self.shared.config.lag_policy(joining.channel.as_str());
        let idle_ms = self.timeouts.idle_ms();
        let joined = self.under_lock(&joining.channel, joining.position, |hub, resumption| {
            let subscription = hub.subscribe(&joining.channel, joining.form, key.to_u64());
            let Resumption { since, gap, publications } = resumption;
            let notice = match gap {
                Some(gap) => Some(Notice::Gap { gap, since, idle_ms }),
                None => joining.announces.then_some(Notice::Subscribed { since, idle_ms }),
            };
            Some(Joined { subscription, notice, policy, missed: publications })
        });
        let joined = joined.expect("it joins in any case");
        self.counters.replayed[joining.form.index()] += joined.missed.len() as u64;
        joined
    }

    /// Begins an event stream.
    pub(super) fn stream(&mut self, key: Key, joining: Joining) {
        let joined = self.join(key, &joining);
        let date = clock::http_date();
        let is_leaving = self.shared.stop().is_leaving();
        let Some(connection) = self.connections.get_mut(key) else { return };
        let allow_origin = connection.allow_origin();
        let framing = Framing {
            date: &date,
            // RFC 9112 §9.6: behind the last chunk nothing more is answered on this connection.
            keep_alive: false,
            head_only: false,
            allow_origin: allow_origin.as_deref(),
            varies_by_origin: self.shared.handlers.varies_by_origin(),
        };
        http::encode_stream_head(connection.outbox.tail(), framing);
        // A stream's peer says nothing. It gets the time that a WebSocket has to be silent and to answer a ping.
        #[cfg(target_os = "linux")]
        {
            let config = &self.shared.config;
            stream::expect_acknowledgement(&connection.socket, config.idle_timeout + config.pong_timeout);
        }
        let subscription = Some(joined.subscription);
        connection.phase = Phase::EventStream(EventStreamPhase { subscription, is_leaving });
        connection.liveness.enter(Stage::Open, self.now);
        connection.begin(joined);
    }

    /// Answers a long poll with what is there, or has it wait.
    pub(super) fn poll_channel(&mut self, key: Key, request: &Request, polling: &Polling) {
        let wait_ms = if self.shared.stop().is_leaving() { 0 } else { polling.wait_ms };
        let mut polled = None;
        self.under_lock(&polling.channel, polling.position, |hub, resumption| {
            if wait_ms == 0 || resumption.gap.is_some() || !resumption.publications.is_empty() {
                polled = Some(Polled::Now(resumption));
                return None;
            }
            let subscription = hub.subscribe(&polling.channel, WireForm::LongPoll, key.to_u64());
            polled = Some(Polled::Later(subscription, resumption.since));
            Some(())
        });
        match polled.expect("it is one or the other") {
            Polled::Now(resumption) => {
                let response = self.answer_of(resumption);
                self.respond_to(key, request, &response);
            }
            Polled::Later(subscription, since) => {
                let Some(connection) = self.connections.get_mut(key) else { return };
                let Phase::Http(http) = &mut connection.phase else { return };
                let keep_alive = request.keep_alive() && !request.has_body();
                http.awaited = Some(Awaited::Publication { subscription, since, keep_alive });
                let wait_ms = u32::try_from(wait_ms).expect("a wait has an end");
                connection.liveness.enter(Stage::Waiting(wait_ms), self.now);
            }
        }
    }

    /// Answers a long poll that waits: with what came, or with nothing.
    pub(super) fn answer_poll(&mut self, key: Key) {
        let Some(connection) = self.connections.get_mut(key) else { return };
        let Phase::Http(http) = &connection.phase else { return };
        let Some(Awaited::Publication { subscription, since, keep_alive }) = http.awaited else { return };
        // Every publication is one frame of this form, so the newest is found by counting.
        let count = self.hub.unread_publications(subscription);
        let next = PublicationId { sequence: since.sequence + count, ..since };
        let body = encoder::long_poll_answer(None, self.hub.unread(subscription), next);
        self.leave_channel(key);
        self.respond(key, &answer(body), keep_alive, false);
        // What was asked meanwhile is next.
        self.queue_to_read(key);
    }

    /// The answer to a long poll for which something is there. One over `--max-lag` is cut behind the publication
    /// that goes over it; the rest is for the next poll.
    fn answer_of(&mut self, resumption: Resumption) -> Response {
        let Resumption { mut since, gap, publications } = resumption;
        let mut elements = Vec::new();
        for publication in publications {
            if elements.len() as u64 > self.shared.config.max_lag {
                break;
            }
            self.encoder.publication(&publication, WireForm::LongPoll, &mut elements);
            self.counters.replayed[WireForm::LongPoll.index()] += 1;
            since = publication.id;
        }
        answer(encoder::long_poll_answer(gap, &elements, since))
    }

    /// Decides, while nobody can publish to the channel and all that was published is in the logs, whether to join it.
    fn under_lock<T>(
        &mut self,
        channel: &ChannelName,
        position: Position,
        join: impl FnOnce(&mut Hub, Resumption) -> Option<T>,
    ) -> Option<T> {
        let Self { shared, hub, taken, index, encoder, now, .. } = self;
        let joined = shared.broker.subscribe(channel, *index, position, *now, |resumption| {
            // All of it, whatever a turn's slice is: what comes after the join is in the logs after this.
            apply(shared.broker.mailbox(*index), usize::MAX, taken, encoder, hub);
            join(hub, resumption)
        });
        shared.demo_call.note(channel, &shared.broker);
        joined
    }
}

fn answer(body: Vec<u8>) -> Response {
    Response::json(Status::OK, body).header("Cache-Control", "no-store")
}
