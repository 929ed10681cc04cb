//! Whether a connection may stay: what it is told of its token, what becomes of it when the rules change, when its token is
//! revoked or replaced, and how it ends when its time is over.
//!
//! What a proof is worth and what follows from the rules is decided by `access`.

use std::sync::Arc;

use super::context::Context;
use super::grants::{ParkedBatch, Tenure};
use super::life::{After, EventStream, Expects, Http, Life, Messages};
use super::{Connection, Next};
use crate::backend::Person;
use crate::commands::{Command, Fault, FaultKind, Limits, Reference, answer, parse};
use crate::http::{self, Response, StreamEvent};
use crate::server::access::{Identity, Pass, Refusal, Verdict};
use crate::server::api::acceptance::{MayPublish, inbound};
use crate::server::api::handlers::Intent;
use crate::server::clock::Millis;
use crate::server::metrics::refusals::Reason;
use crate::ws::{CloseCode, Error, Message, Opcode, encode_frame};

/// The closes that a reload causes are spread over this time, so that the clients do not all return at once.
const CLOSES_OVER_MS: u64 = 30_000;

/// A message with a token names no channels.
const LIMITS: Limits = Limits { channels_max: 1 };

/// Times.
impl Connection {
    /// When it must end because of the proof that let it in, if it must.
    pub(super) fn stays_until(&self, cx: &Context) -> Option<Millis> {
        match &self.life {
            Life::WebSocket(websocket) if websocket.is_open() => {}
            Life::EventStream(_) => {}
            Life::WebSocket(_)
            | Life::Http(_)
            | Life::LongPoll(_)
            | Life::Carried(_)
            | Life::Carrier(_)
            | Life::Finishing
            | Life::Lingering => return None,
        }
        self.proofs().filter_map(|proof| proof.ends_at(cx.began_unix_ms)).min()
    }

    /// What it lives by: the proof of its client, and the key of an operator that came along.
    fn proofs(&self) -> impl Iterator<Item = &Arc<Identity>> {
        self.identity.iter().chain(self.multiplex().and_then(|client| client.operator.as_ref()))
    }

    /// For how long a long poll may wait, in milliseconds, if its client stays no longer.
    pub(super) fn wait_ms_max(&self, cx: &Context) -> u64 {
        let ends_at = self.identity.as_ref().and_then(|identity| identity.ends_at(cx.began_unix_ms));
        ends_at.map_or(u64::MAX, |at| at.0.saturating_sub(cx.now.0))
    }
}

/// The end.
impl Connection {
    /// The time is over for which its proof let it in.
    pub(super) fn end_stay(&mut self, cx: &mut Context) {
        let ends_at = |proof: &&Arc<Identity>| proof.ends_at(cx.began_unix_ms).unwrap_or(Millis(u64::MAX));
        let Some(identity) = self.proofs().min_by_key(ends_at).cloned() else { return };
        let refusal = identity.end(cx.unix_s());
        cx.note_refusal(&refusal, Some(&identity));
        self.end_with(&refusal, cx);
    }

    /// Tells the client why it is refused, and closes the connection.
    pub(super) fn end_with(&mut self, refusal: &Refusal, cx: &mut Context) {
        let kind = FaultKind::from(refusal);
        let fault = Fault { reference: None, channel: None, kind };
        if matches!(self.life, Life::LongPoll(_)) {
            return self.refuse_poll(refusal, cx);
        }
        self.tell_last_places(cx);
        self.leave_channels(cx);
        match &self.life {
            Life::WebSocket(websocket) if websocket.is_envelope() => {
                encode_frame(self.outbox.tail(), Opcode::Text, answer::error(&fault).as_bytes());
            }
            Life::EventStream(EventStream { is_envelope, .. }) => {
                let text = expired_event(&fault, *is_envelope);
                let event =
                    StreamEvent { name: text.0, data: Some(text.1.as_bytes()), ..StreamEvent::default() };
                http::encode_event(self.outbox.tail(), &event);
            }
            Life::WebSocket(_)
            | Life::Http(_)
            | Life::LongPoll(_)
            | Life::Carried(_)
            | Life::Carrier(_)
            | Life::Finishing
            | Life::Lingering => {}
        }
        let code = CloseCode::new(refusal.close_code()).unwrap_or(CloseCode::POLICY_VIOLATION);
        self.close(code, &refusal.to_string(), cx);
    }
}

/// The name and the data of the last event of a stream. Of a stream of envelopes the name is inside.
fn expired_event(fault: &Fault, is_envelope: bool) -> (Option<&'static str>, String) {
    let is_expiry = matches!(fault.kind, FaultKind::Expired(_));
    let name = if is_expiry { "fanfare:expired" } else { "fanfare:error" };
    let envelope = answer::error(fault);
    if is_envelope {
        return (None, envelope.replacen("fanfare:error", name, 1));
    }
    let data = envelope.split_once(r#""data":"#).map_or("", |(_, data)| data);
    (Some(name), data.strip_suffix('}').unwrap_or(data).to_owned())
}

/// Changes.
impl Connection {
    /// The rules have changed, or tokens were revoked: the connection ends if its client may no longer have it. True if it
    /// ended by a revocation.
    pub fn check_standing(&mut self, passes: &[Arc<Pass>], cx: &mut Context) -> (bool, Next) {
        if let Some(renewed) = self.identity.as_ref().and_then(|identity| cx.access.renewed(identity)) {
            self.identity = Some(Arc::new(renewed));
        }
        self.renew_operator(cx);
        let who = self.identity.clone();
        if who.as_ref().is_some_and(|who| who.ended_by().is_some()) {
            return (false, Next::Wait);
        }
        let is_revoked = passes.iter().any(|pass| self.is_revoked_by(pass));
        let Err(refusal) = self.check_reading(who.as_deref(), passes, cx) else {
            self.expel_from_forbidden(cx);
            self.expel_from_closed(cx);
            self.update_publishing(cx);
            return (false, Next::Wait);
        };
        cx.note_refusal(&refusal, who.as_deref());
        let is_request = matches!(self.life, Life::LongPoll(_) | Life::Http(_));
        if is_revoked || is_request {
            self.end_now(&refusal, cx);
        } else {
            self.expel_from_all(refusal.code(), cx);
            self.leave_channels(cx);
            let close_at = Millis(cx.now.0 + cx.draw() % CLOSES_OVER_MS);
            self.identity = Some(Arc::new(Identity::ended(refusal, close_at)));
            // What it sends closes it sooner, with the reason.
            if let Life::WebSocket(websocket) = &mut self.life {
                websocket.protocol.set_inbound(inbound(MayPublish::No, true, 0));
            }
        }
        (is_revoked, if is_request { Next::Read } else { Next::Wait })
    }

    /// Whether a revocation is of its token, or of a user as whom its backend let it in, to whatever it reads.
    pub fn is_revoked_by(&self, pass: &Pass) -> bool {
        self.identity.as_ref().is_some_and(|who| pass.fits(who))
            || self.persons().any(|person| pass.check_person(person).is_err())
    }

    /// As whom the backend let it in. Who has shown a token may be another user to the backend.
    fn persons(&self) -> impl Iterator<Item = &Person> {
        let adopted = self.identity.as_deref().and_then(Identity::person).map(|person| &**person);
        let batch = self.parked_batch().into_iter().flat_map(ParkedBatch::persons).map(|person| &**person);
        adopted.into_iter().chain(self.tenure().into_iter().flat_map(Tenure::persons)).chain(batch)
    }

    /// Checks that what let the client in is still good, and that no user as whom its backend let it in is revoked by one of
    /// `passes`.
    fn check_known(&self, who: Option<&Identity>, passes: &[Arc<Pass>], cx: &Context) -> Result<(), Refusal> {
        cx.check_known(who)?;
        passes.iter().try_for_each(|pass| self.persons().try_for_each(|person| pass.check_person(person)))
    }

    /// Checks that the client is still who it was, was not revoked by one of `passes`, and may still read what it asked for,
    /// or publish what it is sending. The subscriptions of clients of commands and of Pusher end one by one.
    fn check_reading(
        &self,
        who: Option<&Identity>,
        passes: &[Arc<Pass>],
        cx: &Context,
    ) -> Result<(), Refusal> {
        match &self.life {
            Life::WebSocket(websocket) if !websocket.is_open() => return Ok(()),
            Life::WebSocket(websocket) => match websocket.messages {
                Messages::Pusher => return Ok(()),
                Messages::Commands | Messages::Program(_) => return self.check_known(who, passes, cx),
                Messages::Published(_) | Messages::Enveloped(_) => {}
            },
            Life::Http(http) => return self.check_body(http, who, passes, cx),
            Life::EventStream(_) | Life::LongPoll(_) => {}
            Life::Carried(_) | Life::Carrier(_) | Life::Finishing | Life::Lingering => return Ok(()),
        }
        self.check_known(who, passes, cx)?;
        for entry in self.subscriptions.entries() {
            let channel = cx.hub.channel(entry.subscription);
            if channel.accompanied().is_some() {
                continue;
            }
            // The server's own channels, and any under the eyes of an operator, are shown with the state of the server.
            if entry.subscription.form().is_watching() || channel.is_reserved() {
                cx.access.check_admin(who)?;
            } else if let Verdict::No(refusal) = cx.access.may_subscribe(who, channel) {
                return Err(refusal);
            }
        }
        Ok(())
    }

    /// Checks that the client may still publish what it is sending, if it is sending a publication.
    fn check_body(
        &self,
        http: &Http,
        who: Option<&Identity>,
        passes: &[Arc<Pass>],
        cx: &Context,
    ) -> Result<(), Refusal> {
        match &http.expects {
            Expects::Body { intent: Intent::Publish(publication), .. } => {
                self.check_known(who, passes, cx)?;
                match cx.access.may_publish(who, &publication.channel) {
                    Verdict::No(refusal) => Err(refusal),
                    Verdict::Yes | Verdict::Ask(_) => Ok(()),
                }
            }
            // Each of its channels is checked when it is published.
            Expects::Body { intent: Intent::Batch(_), .. }
            | Expects::BatchJudgement { .. }
            | Expects::ProgramBody(_) => self.check_known(who, passes, cx),
            _ => Ok(()),
        }
    }

    /// Checks that who has sent a body may still be known by what it showed ahead of it: the loop looks at revocations between two
    /// reads, and this one may be of the same turn.
    pub(super) fn check_sender(&self, cx: &Context) -> Result<(), Refusal> {
        cx.check_known(self.identity.as_deref())?;
        self.persons().try_for_each(|person| cx.shared.guard.check_awaited(cx.loop_index, person))
    }

    fn end_now(&mut self, refusal: &Refusal, cx: &mut Context) {
        match &self.life {
            // The body that is under way is not read.
            Life::Http(_) => self.respond(&Response::from(refusal), After::Close, cx),
            _ => self.end_with(refusal, cx),
        }
    }

    /// Whether the messages of a WebSocket are published may have changed.
    pub(super) fn update_publishing(&mut self, cx: &Context) {
        let Some(subscription) = self.subscriptions.single() else { return };
        let may = cx.access.may_publish(self.identity.as_deref(), cx.hub.channel(subscription));
        let has_tenure = self.tenure().is_some();
        let Life::WebSocket(websocket) = &mut self.life else { return };
        let (Messages::Published(may_publish) | Messages::Enveloped(may_publish)) = &mut websocket.messages
        else {
            return;
        };
        *may_publish = match (*may_publish, may) {
            (MayPublish::Never, _) => MayPublish::Never,
            // It was let in by another rule: the backend is asked at the next handshake.
            (as_before, Verdict::Ask(_)) if !has_tenure => as_before,
            (_, verdict) => MayPublish::of(&verdict),
        };
        let may_publish = *may_publish;
        let hears_tokens = websocket.is_envelope() && cx.access.takes_tokens();
        let len_max = cx.shared.config.publication_len_max();
        websocket.protocol.set_inbound(inbound(may_publish, hears_tokens, len_max));
    }
}

/// Messages.
impl Connection {
    /// Whether the client that sends a message is still somebody. Otherwise it is told so now, and closed.
    pub(super) fn is_somebody(&mut self, cx: &mut Context) -> bool {
        let Some(refusal) = self.identity.as_ref().and_then(|identity| identity.ended_by()).cloned() else {
            return true;
        };
        self.end_with(&refusal, cx);
        false
    }

    /// Whether a message to the channel that it reads may be published. Otherwise the connection is closed.
    pub(super) fn may_be_published(&mut self, message: &Message<'_>, cx: &mut Context) -> bool {
        let Life::WebSocket(websocket) = &self.life else { return false };
        let limit = cx.shared.config.publication_len_max();
        let error = match websocket.messages {
            // A message with a token may be longer.
            Messages::Published(MayPublish::Yes | MayPublish::IfTheBackendSaysSo)
            | Messages::Enveloped(MayPublish::Yes | MayPublish::IfTheBackendSaysSo)
                if message.payload.len() as u64 > limit =>
            {
                Error::TooBig { limit }
            }
            Messages::Published(MayPublish::Yes | MayPublish::IfTheBackendSaysSo)
            | Messages::Enveloped(MayPublish::Yes | MayPublish::IfTheBackendSaysSo) => return true,
            Messages::Published(MayPublish::No | MayPublish::Never)
            | Messages::Enveloped(MayPublish::No | MayPublish::Never) => Error::MessageRefused,
            Messages::Program(_) | Messages::Pusher | Messages::Commands => return false,
        };
        cx.note(Reason::of_close(error.close_code()), &error);
        self.close(error.close_code(), &error.to_string(), cx);
        false
    }

    /// Takes a message that is `fanfare:authorize`, the one command on a connection to one channel. False if it is not.
    pub(super) fn take_authorize(&mut self, message: &Message<'_>, cx: &mut Context) -> bool {
        let is_envelope = matches!(&self.life, Life::WebSocket(websocket) if websocket.is_envelope());
        if !is_envelope || !is_authorize(&message.payload) {
            return false;
        }
        let text = str::from_utf8(&message.payload).unwrap_or_default();
        match parse(text, &LIMITS) {
            Ok(request) => {
                let Command::Authorize { token } = request.command else { return false };
                self.authorize_reader(request.reference, &token, cx);
            }
            Err(fault) => self.refuse_command(&fault, cx),
        }
        true
    }

    fn authorize_reader(&mut self, reference: Option<Reference>, token: &str, cx: &mut Context) {
        if let Err(refusal) = self.take_token(token, cx) {
            let kind = FaultKind::from(&refusal);
            return self.refuse_command(&Fault { reference, channel: None, kind }, cx);
        }
        self.tell_authorized(reference.as_ref(), cx);
        match self.check_reading(self.identity.as_deref(), &[], cx) {
            Ok(()) => self.update_publishing(cx),
            Err(refusal) => {
                cx.note_refusal(&refusal, self.identity.as_deref());
                self.end_with(&refusal, cx);
            }
        }
    }
}

/// Whether the event of an envelope is that command. Only those whose event cannot be published are asked.
fn is_authorize(payload: &[u8]) -> bool {
    #[derive(serde::Deserialize)]
    struct Named<'a> {
        #[serde(borrow)]
        event: std::borrow::Cow<'a, str>,
    }
    serde_json::from_slice::<Named<'_>>(payload).is_ok_and(|named| named.event == "fanfare:authorize")
}

#[cfg(test)]
#[path = "standing_tests.rs"]
mod tests;
