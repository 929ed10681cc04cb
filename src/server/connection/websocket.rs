//! The role of a connection that speaks WebSocket: messages are published to the channel that it reads, or passed on.
//!
//! The protocol itself is in the room `ws`.

use std::borrow::Cow;

use super::aside::Rest;
use super::auditing::NotPut;
use super::client::Awaited;
use super::context::Context;
use super::joining::join;
use super::life::{Awaits, Life, Messages, WebSocket};
use super::obeying::fault_of_put;
use super::{Connection, Next};
use crate::commands::Fault;
use crate::hub::Subscription;
use crate::server::api::acceptance::{Acceptance, Becoming, MayPublish};
use crate::server::api::answers;
use crate::server::api::payload::{self, Sent};
use crate::server::broker::answer::{NotPublished, Publishing, Receipt};
use crate::server::broker::draft::DraftError;
use crate::server::handlers::message::ClosedBy;
use crate::server::handlers::watching::Unfit;
use crate::server::metrics::refusals::Reason;
use crate::ws::{CloseCode, Error, Event, Message, Protocol, State};

impl Connection {
    /// From HTTP to WebSocket. Bytes after the handshake are frames already.
    pub(super) fn upgrade(&mut self, acceptance: Acceptance, cx: &mut Context) {
        let (messages, joined) = match &acceptance.becomes {
            Becoming::Subscriber { joining, may_publish } => {
                let messages = match joining.form.is_envelope() {
                    true => Messages::Enveloped(*may_publish),
                    false => Messages::Published(*may_publish),
                };
                (messages, Some(join(joining, self.present(), cx)))
            }
            Becoming::Refused(_) => (Messages::Enveloped(MayPublish::Never), None),
            Becoming::Pusher { .. } => (Messages::Pusher, None),
            Becoming::Multiplex(_) => (Messages::Commands, None),
        };
        let Life::Http(http) = &mut self.life else { return };
        let mut rest = http.take_rest();
        let deflate = acceptance.deflate;
        let extensions = deflate.map(|deflate| deflate.to_string());
        let out = self.outbox.tail();
        acceptance.upgrade.encode_response(out, acceptance.subprotocol, extensions.as_deref());
        let mut protocol = Protocol::new(acceptance.inbound);
        if let Some(deflate) = deflate {
            protocol = protocol.with_deflate(deflate);
        }
        let is_leaving = cx.is_leaving();
        let awaits = Awaits::Nothing;
        let websocket =
            WebSocket { protocol, aside: None, deflate, awaits, is_leaving, messages, client: None };
        self.become_websocket(websocket, cx.now);
        let is_refused = matches!(acceptance.becomes, Becoming::Refused(_));
        if !is_refused && matches!(messages, Messages::Enveloped(_) | Messages::Commands) {
            self.tell_authorized(None, cx);
        }
        if let Some(joined) = joined {
            if joined.hears_notices() {
                self.deadlines.begin_notices(cx.now, &cx.timeouts);
            }
            self.begin(joined, &cx.hub);
        }
        match acceptance.becomes {
            Becoming::Pusher { connecting, form } => self.begin_pusher(*connecting, form, cx),
            Becoming::Multiplex(multiplexing) => self.begin_multiplex(multiplexing, cx),
            Becoming::Refused(refusal) => {
                cx.note_refusal(&refusal, self.identity.as_deref());
                self.end_with(&refusal, cx);
            }
            Becoming::Subscriber { .. } => {}
        }
        // If the socket is broken, the next read fails.
        let _ = self.receive_frames(&mut rest, cx);
    }

    /// Processes input that was read in an earlier turn and exceeded its share.
    pub(super) fn resume_frames(&mut self, cx: &mut Context) -> Next {
        let Life::WebSocket(websocket) = &mut self.life else { return Next::Read };
        match websocket.take_rest() {
            Some(mut rest) => {
                let (next, left_len) = self.process_frames(rest.unread(), cx);
                if let Some(len) = left_len
                    && let Life::WebSocket(websocket) = &mut self.life
                {
                    rest.keep_last(len);
                    websocket.keep_rest(rest);
                }
                next
            }
            None => Next::Read,
        }
    }

    /// Processes frames within the bounds of reading, and keeps what is past them. [`Next::Drop`] if the socket is found to be
    /// broken.
    pub(super) fn receive_frames(&mut self, input: &mut [u8], cx: &mut Context) -> Next {
        let (next, left_len) = self.process_frames(input, cx);
        if let Some(len) = left_len
            && let Life::WebSocket(websocket) = &mut self.life
        {
            websocket.keep_rest(Rest::new(&input[input.len() - len..]));
        }
        next
    }

    /// Processes frames within the bounds of reading. If a bound was met, the number of bytes that are left comes back; with
    /// none left the protocol may still have something to say.
    fn process_frames(&mut self, input: &mut [u8], cx: &mut Context) -> (Next, Option<usize>) {
        let (mut input, mut left_len, mut messages) = (input, None, 0);
        let mut room = cx.spares.take_room();
        let began = self.begin_spending(cx);
        let mut next = Next::Read;
        while next == Next::Read {
            let may_take = self.may_take(cx);
            let Life::WebSocket(websocket) = &mut self.life else { break };
            if !may_take {
                left_len = Some(input.len());
                break;
            }
            let received = websocket.protocol.receive_with(&mut input, self.outbox.tail(), &mut room);
            cx.note_taken(websocket.protocol.take_inflated_len());
            match received {
                Ok(None) => break,
                Ok(Some(Event::Message(message))) => {
                    messages += 1;
                    next = self.receive_message(message, input.is_empty(), cx);
                    if room.bytes.capacity() == 0 {
                        room.bytes = cx.spares.take();
                    }
                }
                Ok(Some(Event::Inflating | Event::Ping | Event::Pong)) => {}
                Ok(Some(Event::Close(frame))) => {
                    let (code, reason) = frame.as_ref().map_or((None, ""), |it| (Some(it.code), &it.reason));
                    self.end_actor(code, reason, ClosedBy::Peer, cx);
                    self.finish(cx);
                    break;
                }
                Err(error) => {
                    self.fail(error, cx);
                    break;
                }
            }
        }
        cx.spares.give_room(room);
        if let Some((route, began)) = began {
            cx.note_spent(route, messages, began);
        }
        (next, left_len)
    }

    /// Whether its client speaks envelopes.
    fn is_envelope(&self) -> bool {
        matches!(&self.life, Life::WebSocket(websocket) if websocket.is_envelope())
    }

    fn fail(&mut self, error: Error, cx: &mut Context) {
        cx.note(Reason::of_close(error.close_code()), &error);
        self.end_actor(Some(error.close_code()), &error.to_string(), ClosedBy::Server, cx);
        self.finish(cx);
    }

    fn receive_message(&mut self, message: Message<'_>, is_last: bool, cx: &mut Context) -> Next {
        self.note_message(cx);
        if !self.is_somebody(cx) {
            return Next::Read;
        }
        let Life::WebSocket(websocket) = &self.life else { return Next::Read };
        match (websocket.messages, self.subscriptions.single()) {
            (Messages::Pusher, _) => self.receive_command(&message, cx),
            (Messages::Commands, _) => self.receive_request(&message, cx),
            (Messages::Published(_) | Messages::Enveloped(_), Some(subscription)) => {
                self.publish_message(subscription, message, cx);
                Next::Read
            }
            (Messages::Published(_) | Messages::Enveloped(_), None) => Next::Read,
            (Messages::Program(_), _) => self.act_on_message(message, is_last, cx),
        }
    }

    fn publish_message(&mut self, subscription: Subscription, message: Message<'_>, cx: &mut Context) {
        let channel = cx.hub.channel(subscription).clone();
        let drafted = payload::from_message(channel, subscription.form(), &message);
        let is_taken = matches!(drafted, Err(DraftError::Event(_))) && self.take_authorize(&message, cx);
        if is_taken || !self.may_be_published(&message, cx) {
            return;
        }
        if let Cow::Owned(assembled) = message.payload {
            cx.spares.give(assembled);
        }
        match drafted {
            Ok(sent) => self.publish_judged(sent, cx),
            Err(error) => {
                cx.note(Reason::of_close(error.close_code()), &error);
                self.close(error.close_code(), &error.to_string(), cx);
            }
        }
    }

    /// Publishes what a subscriber of the channel sent. It is told of the outcome if it gave a `ref`, and in any case of what
    /// is wrong with its key.
    pub(super) fn publish_sent(&mut self, sent: Sent, cx: &mut Context) {
        let Sent { draft, reference, key } = sent;
        let sent_to = draft.channel.clone();
        let name = || sent_to.local().into();
        let channel: Option<Box<str>> = (reference.is_some() || key.is_some()).then(name);
        let request = cx.audits.draw(1);
        let publishing = self.put_as(request, draft, key, cx);
        let channel = match (&publishing, channel) {
            (Ok(Publishing::Done(receipt)), None) => return self.note_published(receipt.published, cx),
            // See `receive_outcome_of_message`.
            (Ok(Publishing::Awaited), None) => return,
            (_, Some(channel)) => channel,
            (Err(_), None) => sent_to.local().into(),
        };
        match publishing {
            Ok(Publishing::Done(receipt)) => self.answer_command(Ok(receipt), reference, channel, cx),
            Ok(Publishing::Awaited) => self.await_outcome(Awaited { request, reference, channel }),
            Err(NotPut::Program(unfit)) if !self.is_envelope() => {
                // It has no other way to be told.
                let code = match unfit {
                    Unfit::Refused(_) => CloseCode::POLICY_VIOLATION,
                    Unfit::TooLong { .. } => CloseCode::MESSAGE_TOO_BIG,
                    Unfit::Undecided => CloseCode::INTERNAL_ERROR,
                };
                cx.note(Reason::Policy, &unfit);
                self.close(code, &unfit.to_string(), cx);
            }
            Err(refused) => {
                let kind = fault_of_put(refused, cx);
                self.refuse_command(&Fault { reference, channel: Some(channel.into()), kind }, cx);
            }
        }
    }

    /// The outcome of a publication that the client did not ask for: it is told only if there is none. Several may be with the
    /// engine at once.
    pub(super) fn receive_outcome_of_message(
        &mut self,
        outcome: Result<Receipt, NotPublished>,
        cx: &mut Context,
    ) -> Next {
        let why = match outcome {
            Ok(receipt) => {
                if !receipt.is_replay {
                    self.note_published(receipt.published, cx);
                }
                return Next::Wait;
            }
            Err(why) => answers::sentence(why),
        };
        if self.client().is_some() {
            self.refuse_client(&crate::pusher::Error::ClientEventRefused(why.to_owned()), cx);
        } else if self.is_open() {
            self.close(CloseCode::TRY_AGAIN_LATER, why, cx);
        }
        Next::Wait
    }

    /// Sends a ping to an open WebSocket, and in the same write the notice that the server is alive.
    pub(super) fn ping(&mut self, cx: &Context) {
        self.say_alive(cx);
        self.deadlines.told(cx.now, &cx.timeouts);
        if let Life::WebSocket(websocket) = &mut self.life {
            websocket.protocol.ping(b"", self.outbox.tail());
            websocket.awaits = Awaits::SignOfLife;
            self.deadlines.restart(cx.now);
        }
    }

    /// Closes a peer that did not answer a ping.
    pub(super) fn close_silent(&mut self, cx: &mut Context) {
        const SILENT: &str = "no answer to a ping";
        cx.note(Reason::Silent, &SILENT);
        if self.client().is_some() {
            return self.refuse_client(&crate::pusher::Error::NoPong, cx);
        }
        self.close(CloseCode::GOING_AWAY, SILENT, cx);
    }

    /// Sends a Close frame, unless one went out before.
    pub(super) fn close_websocket(&mut self, code: CloseCode, reason: &str, cx: &Context) {
        let Life::WebSocket(websocket) = &mut self.life else { return };
        websocket.is_leaving = false;
        if websocket.protocol.state() == State::Open {
            websocket.protocol.close(code, reason, self.outbox.tail());
            self.deadlines.restart(cx.now);
        }
    }
}
