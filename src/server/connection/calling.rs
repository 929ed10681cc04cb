//! Calls of the HTTP API of Pusher: one that publishes by way of an engine is parked until it is known what became of each of its
//! publications.
//!
//! What a call does and is answered is in `api::rest`.

use super::context::Context;
use super::life::{After, Expects, Life};
use super::{Connection, Next};
use crate::http::Response;
use crate::server::api::events::Tally;
use crate::server::api::rest::{Done, Outcome, Requested, Scene, conclude};
use crate::server::broker::answer::{NotPublished, Receipt, Waiter};
use crate::server::metrics::counters::ApiCall;

impl Connection {
    /// Does what a server calls for. The answer is returned if it is known at once; else it follows.
    pub(super) fn call(
        &mut self,
        requested: &Requested,
        body: &[u8],
        after: After,
        cx: &mut Context,
    ) -> Option<Response> {
        let request = cx.audits.draw(1);
        let waiter = cx.waiter_of(request);
        let scene =
            Scene { broker: &cx.shared.broker, waiter: &waiter, loop_index: cx.loop_index, now: cx.now };
        match requested.execute(body, scene) {
            Outcome::Done(Done { response, call, published }) => {
                cx.counters.note_keyless_publishes(published.publications);
                self.note_call(call, published, cx);
                Some(response)
            }
            Outcome::Awaited(events) => {
                cx.counters.note_keyless_publishes(events.published().publications);
                if let Life::Http(http) = &mut self.life {
                    http.expects = Expects::Events { events, request, after };
                }
                None
            }
        }
    }

    /// Whether its request waits for what becomes of events.
    pub(super) fn awaits_outcomes_of_call(&self) -> bool {
        matches!(&self.life, Life::Http(http) if matches!(http.expects, Expects::Events { .. }))
    }

    /// An event of its call has been published in a channel, or has not been: the call is answered if that was the last one.
    pub(super) fn receive_outcome_of_call(
        &mut self,
        request: u64,
        outcome: Result<Receipt, NotPublished>,
        cx: &mut Context,
    ) -> Next {
        cx.counters.note_keyless_publishes(u64::from(outcome.is_ok()));
        let Life::Http(http) = &mut self.life else { return Next::Wait };
        let taken = http.take_expected(|expects| match expects {
            Expects::Events { events, request: awaited, after } if awaited == request => Ok((events, after)),
            other => Err(other),
        });
        let Some((mut events, after)) = taken else { return Next::Wait };
        events.settle(outcome);
        if !events.are_settled() {
            http.expects = Expects::Events { events, request, after };
            return Next::Wait;
        }
        let scene = Scene {
            broker: &cx.shared.broker,
            waiter: &Waiter::Nobody,
            loop_index: cx.loop_index,
            now: cx.now,
        };
        let (response, call) = conclude(&events, scene);
        self.note_call(call, events.published(), cx);
        self.respond(&response, after, cx);
        Next::Read
    }

    /// Counts a call that was done.
    fn note_call(&mut self, call: Option<ApiCall>, published: Tally, cx: &mut Context) {
        if let Some(call) = call {
            cx.counters.api_calls[call as usize] += 1;
        }
        self.audience = u16::try_from(published.subscribers).unwrap_or(u16::MAX);
    }
}
