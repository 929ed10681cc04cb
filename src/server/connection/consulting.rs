//! Who is asked what a client may do, and what is shown of the client: the backend, or the program in its place.
//!
//! What is asked, and what follows from the answer, is in `judging`.

use std::net::IpAddr;
use std::panic::resume_unwind;
use std::sync::Arc;

use super::awaiting::Pending;
use super::context::Context;
use super::grants::{Brought, Tenure};
use super::life::{Expects, Life};
use super::{Connection, Next};
use crate::backend::{
    Action, Asked, Credentials, Decision, Fault, Fields, ProgramFault, QuestionId, Transport,
};
use crate::http;
use crate::hub::ChannelName;
use crate::server::api::params;
use crate::server::clock::Millis;
use crate::server::discard::discard;
use crate::server::handlers::judge::{Asker, Judge};
use crate::server::handlers::panics::{OnPanic, Said};
use crate::server::handlers::program::JUDGE;
use crate::server::handlers::request::Request;
use crate::server::hook::{Question, Waiter};
use crate::server::metrics::refusals::Reason;

/// How long a verdict of the program may take, in milliseconds: as long as the body of a request, and much longer than a person
/// waits. A backend has a time of its own (`--auth-timeout`).
const VERDICT_TIME_MAX_MS: u64 = 30_000;

/// Several cookie fields of a request are one, joined by this (RFC 9113 §8.2.3).
const COOKIE_SEPARATOR: &[u8] = b"; ";

impl Connection {
    /// What the client of a request brought that lasts.
    pub(super) fn begun_tenure(&self, request: &http::Request, cx: &Context) -> Tenure {
        let brought = match &cx.program.judge {
            Some(_) => Brought::Program(Box::new(request.clone()), self.client_address_of(request, cx)),
            None => Brought::Backend(self.credentials_of(request, cx)),
        };
        Tenure::new(brought, transport_of(request))
    }

    /// Asks about channels of a request. What the backend was shown is returned too: a question that waits holds it.
    pub(super) fn consult_about(
        &self,
        request: &http::Request,
        action: Action,
        channels: &[ChannelName],
        cx: &Context,
    ) -> (Asked, Option<Arc<Credentials>>) {
        if let Some(judge) = &cx.program.judge {
            let peer = self.client_address_of(request, cx);
            return (self.ask_program(judge, (request, peer), action, channels, cx), None);
        }
        let credentials = self.credentials_of(request, cx);
        let asked = self.ask_backend(&credentials, action, channels, transport_of(request), cx);
        (asked, Some(credentials))
    }

    /// When the program has had its time for the verdict that is awaited, if one is.
    pub(super) fn verdict_by(&self, cx: &Context) -> Option<Millis> {
        cx.program.judge.as_ref()?;
        let (_, since, _) = self.awaited_verdict()?;
        Some(Millis(since.0.saturating_add(VERDICT_TIME_MAX_MS)))
    }

    /// The program has had its time: it has not answered.
    pub(super) fn miss_verdict(&mut self, cx: &mut Context) -> Next {
        let Some((question, _, len)) = self.awaited_verdict() else { return Next::Wait };
        let decisions = vec![Decision::Fault(Fault::Program(ProgramFault::Unanswered)); len];
        self.receive_verdict(question, decisions.into(), cx)
    }

    /// The question that has waited for longest, since when, and about how many channels it is.
    fn awaited_verdict(&self) -> Option<(QuestionId, Millis, usize)> {
        if let Life::Http(http) = &self.life
            && let Expects::GoAhead(parked) = &http.expects
        {
            return about(&parked.pending, parked.since);
        }
        if let Some(batch) = self.parked_batch() {
            return batch.question.map(|question| (question, batch.since, batch.asked_len()));
        }
        let wish = self.wish().and_then(|wish| about(&wish.pending, wish.since));
        let renewal = self.tenure()?.renewal.as_ref().map(|it| (it.question, it.since, it.channels.len()));
        wish.into_iter().chain(renewal).min_by_key(|(_, since, _)| *since)
    }

    /// Asks about channels of a connection that lasts.
    pub(super) fn ask_for(&self, action: Action, channels: &[ChannelName], cx: &Context) -> Asked {
        let Some(Tenure { brought, transport, .. }) = self.tenure() else {
            return unreachable_judge(channels);
        };
        match (brought, &cx.program.judge) {
            (Brought::Program(request, peer), Some(judge)) => {
                self.ask_program(judge, (request, *peer), action, channels, cx)
            }
            (Brought::Program(..), None) => unreachable_judge(channels),
            (Brought::Backend(credentials), _) => {
                self.ask_backend(credentials, action, channels, *transport, cx)
            }
        }
    }

    fn credentials_of(&self, request: &http::Request, cx: &Context) -> Arc<Credentials> {
        let cookies: Vec<_> = request.headers("cookie").collect();
        let cookie = (!cookies.is_empty()).then(|| cookies.join(COOKIE_SEPARATOR));
        let fields = Fields {
            cookie: cookie.as_deref(),
            authorization: request.header("authorization"),
            origin: request.header("origin"),
            user_agent: request.header("user-agent"),
        };
        let address = self.client_address_of(request, cx);
        let address = address.map_or_else(String::new, |address| address.to_string());
        Arc::new(Credentials::new(fields, &address))
    }

    fn ask_backend(
        &self,
        credentials: &Arc<Credentials>,
        action: Action,
        channels: &[ChannelName],
        transport: Transport,
        cx: &Context,
    ) -> Asked {
        // The rules name a backend, and none is configured.
        let Some(hook) = &cx.shared.hook else { return unreachable_judge(channels) };
        let waiter = Waiter { loop_index: cx.loop_index, connection: cx.owner };
        hook.ask(Question { credentials, action, channels, transport, waiter }, cx.now)
    }

    /// Calls the program. If it panics, nobody is let in.
    fn ask_program(
        &self,
        judge: &Judge,
        (request, peer): (&http::Request, Option<IpAddr>),
        action: Action,
        channels: &[ChannelName],
        cx: &Context,
    ) -> Asked {
        let request = Request::of_client(request, peer, self.identity.as_deref());
        let asker = Asker {
            mailboxes: cx.shared.broker.shared_mailboxes(),
            loop_index: cx.loop_index,
            connection: cx.owner,
            clock: cx.shared.clock,
        };
        let began = cx.shared.clock.elapsed();
        let asked = judge.ask(&request, action, channels, asker, |panic| {
            if cx.program.on_panic == OnPanic::Stop {
                resume_unwind(panic);
            }
            cx.program.note_panic();
            let said = Said(&*panic);
            cx.note(Reason::Handler, &format_args!("a client, since {JUDGE} panicked: {said}"));
            discard(panic);
        });
        cx.note_spent_by(JUDGE, &judge.spent, channels.len() as u64, began);
        if let Asked::Known(decisions) = &asked {
            note_program_faults(decisions, cx);
        }
        asked
    }
}

/// What is awaited, if it is a verdict: the question, since when, and about how many channels it is.
fn about(pending: &Pending, since: Millis) -> Option<(QuestionId, Millis, usize)> {
    match pending {
        Pending::Verdict { question, asking } => Some((*question, since, asking.channels.len())),
        Pending::Channels { .. } => None,
    }
}

/// Counts and logs what kept the program from deciding.
pub(super) fn note_program_faults(decisions: &[Decision], cx: &Context) {
    for decision in decisions {
        if let Decision::Fault(Fault::Program(fault)) = decision {
            cx.note(Reason::Handler, &format_args!("a client, since {JUDGE} does not decide: {fault}"));
        }
    }
}

fn unreachable_judge(channels: &[ChannelName]) -> Asked {
    Asked::Known(channels.iter().map(|_| Decision::Fault(Fault::Unreachable)).collect())
}

/// How the client of a request comes.
fn transport_of(request: &http::Request) -> Transport {
    match request.method() {
        "POST" => Transport::Post,
        _ if http::is_upgrade(request) => Transport::WebSocket,
        "GET" if params::accepts_event_stream(request) => Transport::Sse,
        _ => Transport::LongPoll,
    }
}
