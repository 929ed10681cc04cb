//! What a connection asks of its backend: whether a request may go on, whether a message is published, and, once what was
//! allowed has run out, whether the connection may stay.
//!
//! What is kept and when the backend is called is known to `server::hook`.

use std::sync::Arc;

use super::context::Context;
use super::life::{Expects, Life};
use super::multiplex::close_code;
use super::{Connection, Next};
use crate::backend::{Action, Asked, Credentials, Decision, Fault, Fields, Judged, QuestionId, Transport};
use crate::commands::{self, FaultKind};
use crate::http::{self, Request, StreamEvent};
use crate::hub::{ChannelName, WireForm};
use crate::server::access::Refusal;
use crate::server::api::basis::{Asking, refusal_of};
use crate::server::api::handlers::{Answer, Becoming, Publishes};
use crate::server::api::params;
use crate::server::api::payload::Sent;
use crate::server::clock::{Millis, millis};
use crate::server::hook::{Question, Waiter};
use crate::server::metrics::refusals::Reason;
use crate::ws::CloseCode;

/// While the backend fails, who is in is asked about again after this long.
const RETRY_MS: u64 = 5_000;

/// Connections that were allowed something until the same moment ask again spread over this time.
const SPREAD_MS: u64 = 1_000;

/// Its cookies are of one connection; several fields of a request are joined by this.
const COOKIE_SEPARATOR: &[u8] = b"; ";

/// A request that waits for the backend. Nothing that follows it is read meanwhile.
#[derive(Debug)]
pub struct Parked {
    request: Request,
    credentials: Arc<Credentials>,
    judged: Judged,
    asking: Asking,
    question: QuestionId,
}

impl Parked {
    /// The bytes of memory that it takes.
    pub fn held_len(&self) -> usize {
        size_of::<Self>() + self.request.held_len() + self.credentials.held_len() + self.judged.held_len()
    }
}

/// What a connection may by the word of its backend, and until when.
#[derive(Debug)]
pub struct Tenure {
    credentials: Arc<Credentials>,
    transport: Transport,
    /// The channels that it may read.
    held: Vec<Held>,
    /// Whether the backend is to be asked before its messages are published, and until when it has said yes.
    publishes_until: Option<Millis>,
    /// The earliest time at which a channel is to be asked about again.
    ask_at: Millis,
    /// The channels that are being asked about again.
    renewal: Option<(QuestionId, Vec<ChannelName>)>,
    /// A message that is published if the backend says so. No further one is read until then.
    message: Option<(QuestionId, Box<Sent>)>,
}

/// A channel that may be read.
#[derive(Debug)]
struct Held {
    channel: ChannelName,
    /// Whether the client may see who is there.
    sees: bool,
    ends_at: Millis,
}

impl Tenure {
    fn new(credentials: Arc<Credentials>, transport: Transport) -> Self {
        Self {
            credentials,
            transport,
            held: Vec::new(),
            publishes_until: None,
            ask_at: Millis(u64::MAX),
            renewal: None,
            message: None,
        }
    }

    /// The bytes of memory that it takes.
    pub fn held_len(&self) -> usize {
        let message_len =
            self.message.as_ref().map_or(0, |(_, sent)| size_of::<Sent>() + sent.draft.data.len());
        let held_len = self.held.capacity() * size_of::<Held>();
        size_of::<Self>() + self.credentials.held_len() + held_len + message_len
    }

    /// The client may read a channel until then.
    fn hold(&mut self, channel: &ChannelName, sees: bool, ends_at: Millis, owner: u64) {
        self.held.retain(|held| held.channel != *channel);
        self.held.push(Held { channel: channel.clone(), sees, ends_at });
        self.ask_at = self.ask_at.min(spread(ends_at, owner));
    }
}

/// A little later, another time for each connection.
fn spread(at: Millis, owner: u64) -> Millis {
    // Fibonacci hashing: neighbours in the table are far apart in time.
    Millis(at.0.saturating_add((owner.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 32) % SPREAD_MS))
}

/// Requests.
impl Connection {
    /// Asks the backend about a request. If the answer is known, it is decided at once, else when a verdict comes.
    pub(super) fn ask_about(
        &mut self,
        request: &Request,
        mut judged: Judged,
        asking: Asking,
        cx: &mut Context,
    ) {
        let credentials = self.credentials_of(request);
        let Asking { action, channels } = &asking;
        let transport = transport_of(request);
        match self.consult(&credentials, *action, channels, transport, cx) {
            Asked::Known(decisions) => {
                judged.add(*action, channels, decisions);
                self.answer(request, judged, cx);
            }
            Asked::Waiting(question) => {
                let Life::Http(http) = &mut self.life else { return };
                let request = request.clone();
                let parked = Parked { request, credentials, judged, asking, question };
                http.expects = Expects::Judgement(Box::new(parked));
            }
        }
    }

    /// What the backend has decided for this connection. It may wait for nothing by now.
    pub fn receive_verdict(
        &mut self,
        question: QuestionId,
        decisions: Box<[Decision]>,
        cx: &mut Context,
    ) -> Next {
        if let Some(parked) = self.take_parked(question) {
            let Parked { request, mut judged, asking, .. } = parked;
            judged.add(asking.action, &asking.channels, decisions);
            self.deadlines.restart(cx.now);
            self.answer(&request, judged, cx);
            return Next::Read;
        }
        let Some(tenure) = &mut self.tenure else { return Next::Wait };
        if let Some((_, channels)) = tenure.renewal.take_if(|(awaited, _)| *awaited == question) {
            return self.renewed(&channels, &decisions, cx);
        }
        if let Some((_, sent)) = tenure.message.take_if(|(awaited, _)| *awaited == question)
            && let Some(decision) = decisions.first()
        {
            self.publish_if(*sent, decision, cx);
            return Next::Read;
        }
        Next::Wait
    }

    fn take_parked(&mut self, question: QuestionId) -> Option<Parked> {
        let Life::Http(http) = &mut self.life else { return None };
        match &http.expects {
            Expects::Judgement(parked) if parked.question == question => {}
            _ => return None,
        }
        match std::mem::replace(&mut http.expects, Expects::Head) {
            Expects::Judgement(parked) => Some(*parked),
            _ => unreachable!("it was just seen"),
        }
    }

    /// Notes what the request that begins something lasting was allowed by.
    pub(super) fn begin_tenure(&mut self, request: &Request, answer: &Answer, judged: &Judged, cx: &Context) {
        self.tenure = None;
        let asks_to_publish = match answer {
            Answer::Upgrade(acceptance) => match &acceptance.becomes {
                Becoming::Subscriber(_, publishes) => *publishes == Publishes::IfTheBackendSaysSo,
                // It asks by its commands.
                Becoming::Multiplex(_) => cx.shared.hook.is_some(),
                Becoming::Echo | Becoming::Pusher { .. } => return,
            },
            Answer::Stream(_) | Answer::Poll(_) | Answer::ReadMany(_) => false,
            Answer::Respond(_)
            | Answer::Refuse(_)
            | Answer::Ask(_)
            | Answer::Report(_)
            | Answer::ReadBody(_)
            | Answer::Call(_)
            | Answer::Session(..) => return,
        };
        if !asks_to_publish && judged.grants().next().is_none() {
            return;
        }
        let mut tenure = Tenure::new(self.credentials_of(request), transport_of(request));
        tenure.publishes_until = asks_to_publish.then_some(Millis(0));
        for (action, channel, grant) in judged.grants() {
            match action {
                Action::Subscribe => tenure.hold(channel, grant.sees, Millis(grant.ends_at_ms), cx.owner),
                Action::Publish => {}
            }
        }
        self.tenure = Some(Box::new(tenure));
    }

    fn credentials_of(&self, request: &Request) -> Arc<Credentials> {
        let cookies: Vec<_> = request.headers("cookie").collect();
        let cookie = (!cookies.is_empty()).then(|| cookies.join(COOKIE_SEPARATOR));
        let fields = Fields {
            cookie: cookie.as_deref(),
            authorization: request.header("authorization"),
            origin: request.header("origin"),
            user_agent: request.header("user-agent"),
        };
        let address = self.stream.peer_address().map_or_else(String::new, |address| address.to_string());
        Arc::new(Credentials::new(fields, &address))
    }

    fn consult(
        &self,
        credentials: &Arc<Credentials>,
        action: Action,
        channels: &[ChannelName],
        transport: Transport,
        cx: &Context,
    ) -> Asked {
        let Some(hook) = &cx.shared.hook else {
            // The rules name a backend, and none is configured.
            return Asked::Known(channels.iter().map(|_| Decision::Fault(Fault::Unreachable)).collect());
        };
        let waiter = Waiter { loop_index: cx.loop_index, connection: cx.owner };
        hook.ask(Question { credentials, action, channels, transport, waiter }, cx.now)
    }
}

/// Commands and messages.
impl Connection {
    /// Asks the backend about channels that a command names. Where it is not known, no further command is to be read until
    /// the verdict with this number comes.
    pub(super) fn ask_for_command(&self, action: Action, channels: &[ChannelName], cx: &Context) -> Asked {
        match &self.tenure {
            Some(tenure) => self.consult(&tenure.credentials, action, channels, tenure.transport, cx),
            None => Asked::Known(channels.iter().map(|_| Decision::Fault(Fault::Unreachable)).collect()),
        }
    }

    /// Notes that a command may read a channel by the word of the backend, as [`Connection::ask_for_command`] had it.
    pub(super) fn hold_channel(&mut self, channel: &ChannelName, decision: &Decision, cx: &Context) {
        if let (Some(tenure), Decision::Yes(grant)) = (&mut self.tenure, decision) {
            tenure.hold(channel, grant.sees, Millis(grant.ends_at_ms), cx.owner);
        }
    }

    /// Whether the backend lets the client see who is in a channel that it reads.
    pub(super) fn sees_by_backend(&self, channel: &ChannelName) -> bool {
        let held = self.tenure.iter().flat_map(|tenure| &tenure.held);
        held.into_iter().any(|held| held.channel == *channel && held.sees)
    }

    /// Whether a message waits for the backend, so that no further one is read.
    pub(super) fn awaits_judgement(&self) -> bool {
        self.tenure.as_ref().is_some_and(|tenure| tenure.message.is_some())
    }

    /// Publishes a message of a subscriber, if it need not be asked about; otherwise once the backend has said yes.
    pub(super) fn publish_judged(&mut self, sent: Sent, cx: &mut Context) {
        let Some(tenure) = &self.tenure else { return self.publish_sent(sent, cx) };
        if tenure.publishes_until.is_none_or(|until| cx.now < until) {
            return self.publish_sent(sent, cx);
        }
        let channel = sent.draft.channel.clone();
        match self.ask_for_command(Action::Publish, std::slice::from_ref(&channel), cx) {
            Asked::Known(decisions) => {
                if let Some(decision) = decisions.first() {
                    self.publish_if(sent, decision, cx);
                }
            }
            Asked::Waiting(question) => {
                if let Some(tenure) = &mut self.tenure {
                    tenure.message = Some((question, Box::new(sent)));
                }
            }
        }
    }

    fn publish_if(&mut self, sent: Sent, decision: &Decision, cx: &mut Context) {
        let channel = sent.draft.channel.clone();
        if let (Decision::Yes(grant), Some(tenure)) = (decision, &mut self.tenure) {
            tenure.publishes_until = Some(Millis(grant.ends_at_ms));
            return self.publish_sent(sent, cx);
        }
        let Some(refusal) = refusal_of(decision, Action::Publish, &channel) else { return };
        if sent.reference.is_some() {
            let (reference, channel) = (sent.reference, Some(channel.local().to_owned()));
            let fault = commands::Fault { reference, channel, kind: FaultKind::from(&refusal) };
            return self.refuse_command(&fault, cx);
        }
        note(&refusal, cx);
        let code = match refusal {
            Refusal::Unavailable(_) => CloseCode::TRY_AGAIN_LATER,
            _ => CloseCode::POLICY_VIOLATION,
        };
        self.close(code, &refusal.to_string(), cx);
    }
}

/// The end of what was allowed.
impl Connection {
    /// When the backend is to be asked again whether the connection may read its channels, if it is to be.
    pub(super) fn renewal_at(&self) -> Option<Millis> {
        let tenure = self.tenure.as_ref().filter(|tenure| tenure.renewal.is_none())?;
        let is_reading = match &self.life {
            Life::WebSocket(_) => self.is_open(),
            Life::EventStream(_) | Life::LongPoll(_) => true,
            Life::Http(_) | Life::Carried(_) | Life::Carrier(_) | Life::Finishing | Life::Lingering => false,
        };
        (is_reading && tenure.ask_at < Millis(u64::MAX)).then_some(tenure.ask_at)
    }

    /// Asks the backend whether the connection may read on. A long poll is answered: the next one asks.
    pub(super) fn renew(&mut self, cx: &mut Context) -> Next {
        if matches!(self.life, Life::LongPoll(_)) {
            self.answer_poll(cx);
            return Next::Read;
        }
        let entries = self.subscriptions.entries().iter();
        let read: Vec<ChannelName> =
            entries.map(|entry| cx.hub.channel(entry.subscription).clone()).collect();
        let Some(tenure) = &mut self.tenure else { return Next::Wait };
        // Those that were left are forgotten.
        tenure.held.retain(|held| read.contains(&held.channel));
        tenure.ask_at = Millis(u64::MAX);
        let channels: Vec<_> = tenure
            .held
            .iter()
            .filter(|held| held.ends_at <= cx.now)
            .map(|held| held.channel.clone())
            .collect();
        if channels.is_empty() {
            self.set_renewal(cx);
            return Next::Wait;
        }
        match self.ask_for_command(Action::Subscribe, &channels, cx) {
            Asked::Known(decisions) => self.renewed(&channels, &decisions, cx),
            Asked::Waiting(question) => {
                if let Some(tenure) = &mut self.tenure {
                    tenure.renewal = Some((question, channels));
                }
                Next::Wait
            }
        }
    }

    /// Goes on reading what may be read on, and ends the rest. While the backend fails, the connection stays for
    /// `--auth-grace`.
    fn renewed(&mut self, channels: &[ChannelName], decisions: &[Decision], cx: &mut Context) -> Next {
        let grace_ms = cx.shared.config.backend.as_ref().map_or(0, |backend| millis(backend.grace));
        for (channel, decision) in channels.iter().zip(decisions) {
            let Some(tenure) = &mut self.tenure else { return Next::Wait };
            let Some(held) = tenure.held.iter_mut().find(|held| held.channel == *channel) else { continue };
            match decision {
                Decision::Yes(grant) => {
                    (held.ends_at, held.sees) = (Millis(grant.ends_at_ms), grant.sees);
                    continue;
                }
                Decision::Fault(_) if cx.now.0 < held.ends_at.0.saturating_add(grace_ms) => continue,
                Decision::Fault(_) | Decision::No(_) => {}
            }
            tenure.held.retain(|held| held.channel != *channel);
            if let Some(refusal) = refusal_of(decision, Action::Subscribe, channel) {
                self.end_reading(channel, &refusal, cx);
            }
        }
        self.set_renewal(cx);
        Next::Wait
    }

    /// Sets the time of the next question: when the first channel runs out, or a while after a fault.
    fn set_renewal(&mut self, cx: &Context) {
        let Some(tenure) = &mut self.tenure else { return };
        let ends = tenure.held.iter().map(|held| match held.ends_at > cx.now {
            true => held.ends_at,
            false => Millis(cx.now.0 + RETRY_MS),
        });
        tenure.ask_at = ends.min().map_or(Millis(u64::MAX), |at| spread(at, cx.owner));
    }

    /// Ends the subscription of a client of many channels; all others have what they read as a whole, and end.
    fn end_reading(&mut self, channel: &ChannelName, refusal: &Refusal, cx: &mut Context) {
        if self.multiplex().is_some() {
            if let Some(subscription) = self.subscription_to(channel, cx) {
                self.expel(subscription, refusal.code(), cx);
            }
            return;
        }
        note(refusal, cx);
        self.dismiss(channel, refusal, cx);
    }

    /// Ends a WebSocket or an event stream of a client that may not read on, and says why as far as the form allows.
    fn dismiss(&mut self, channel: &ChannelName, refusal: &Refusal, cx: &mut Context) {
        let form = self.subscriptions.entries().first().map(|entry| entry.subscription.form());
        let is_named = form == Some(WireForm::NamedEventStream);
        let fault = commands::Fault {
            reference: None,
            channel: is_named.then(|| channel.local().to_owned()),
            kind: FaultKind::from(refusal),
        };
        self.leave_channels(cx);
        match &self.life {
            Life::WebSocket(_) => {
                if form.is_some_and(WireForm::is_envelope) {
                    self.send_message(&commands::answer::error(&fault));
                }
                self.close(close_code(refusal.close_code()), &refusal.to_string(), cx);
            }
            Life::EventStream(_) => {
                let envelope = commands::answer::error(&fault);
                let data = commands::answer::error_data(&fault);
                let (name, data) = match form {
                    Some(WireForm::EventStream) => (Some("fanfare:error"), data),
                    _ => (None, envelope),
                };
                let event = StreamEvent { name, data: Some(data.as_bytes()), ..StreamEvent::default() };
                http::encode_event(self.outbox.tail(), &event);
                self.end_stream(refusal.code(), cx);
            }
            Life::Http(_)
            | Life::LongPoll(_)
            | Life::Carried(_)
            | Life::Carrier(_)
            | Life::Finishing
            | Life::Lingering => {}
        }
    }
}

/// Counts and logs a refusal. Where the backend could not decide, that is counted with its calls.
fn note(refusal: &Refusal, cx: &Context) {
    if let Some(reason) = Reason::of_status(refusal.status()) {
        cx.note(reason, refusal);
    }
}

/// How the client of a request comes.
fn transport_of(request: &Request) -> Transport {
    match request.method() {
        "POST" => Transport::Post,
        _ if http::is_upgrade(request) => Transport::WebSocket,
        "GET" if params::accepts_event_stream(request) => Transport::Sse,
        _ => Transport::LongPoll,
    }
}
