//! The role of a session over HTTP requests: what it does when a request comes to carry it, posts messages, or is gone.
//!
//! The request is another connection, which the event loop brings it together with: `carrier`. What its messages ask for is
//! the same as over a WebSocket: `pusher`.

use std::collections::VecDeque;

use super::carried::{Beat, Carried};
use super::context::Context;
use super::life::Life;
use super::stream::Stream;
use super::{Connection, Next};
use crate::hub::WireForm;
use crate::pusher::Error;
use crate::pusher::fallback::path::{SessionName, Transport};
use crate::pusher::fallback::session::Attached;
use crate::pusher::fallback::{self, HEARTBEAT, InvalidPost, NO_MESSAGES, Posted};
use crate::server::api::pusher::Connecting;
use crate::server::api::routes::Door;
use crate::server::clock::Millis;
use crate::ws::{CloseCode, Message, MessageKind};

/// While a client waits for a channel, what it posts is kept for it: after more than this many bytes, further requests close it. A
/// client that subscribes to 1,000 channels at once posts 60 KiB.
const KEPT_LEN_MAX: usize = 256 * 1024;

impl Connection {
    /// A session that no request carries yet.
    pub fn new_session(name: SessionName, now: Millis) -> Self {
        let session = Self::new(Stream::without_socket(), now, Door::Public);
        Self { life: Life::Carried(Box::new(Carried::new(name))), ..session }
    }

    /// Tells the client of the session that it is connected, or why not. The client is sent that once a request comes.
    pub fn begin_session(&mut self, connecting: Connecting, cx: &mut Context) {
        self.begin_pusher(connecting, WireForm::PusherStream, cx);
    }

    /// The name of the session that it is.
    pub fn session_name(&self) -> Option<&SessionName> {
        self.session().map(|session| &session.name)
    }

    /// A request asks to carry the session: whether it does, and the stream that it replaces. The session may write after
    /// that.
    pub fn attach(&mut self, transport: Transport, carrier: u64, cx: &Context) -> (Attached, Option<u64>) {
        let Some(session) = self.session_mut() else { return (Attached::Refused, None) };
        let (attached, replaced) = session.attach(transport, carrier);
        if attached != Attached::Refused {
            self.stream.make_room();
            self.deadlines.restart(cx.now);
            self.note_heard(cx.now);
        }
        (attached, replaced)
    }

    /// Lines were written: the request that is to be given them.
    pub fn give(&mut self, len: usize, cx: &Context) -> Option<u64> {
        let session = self.session_mut()?;
        let carrier = session.give(len);
        if session.carrier().is_none() {
            self.deadlines.restart(cx.now);
        }
        carrier
    }

    /// A request has taken the lines that it was given: whether the session may write again.
    pub fn note_taken(&mut self, carrier: u64) -> bool {
        let may_write = self.session_mut().is_some_and(|session| session.note_taken(carrier));
        if may_write {
            self.stream.make_room();
        }
        may_write
    }

    /// The request that carries the session.
    pub fn carrier(&self) -> Option<u64> {
        self.session()?.carrier()
    }

    /// A request carries the session no more.
    pub fn lose_carrier(&mut self, carrier: u64, cx: &Context) -> Next {
        if let Some(session) = self.session_mut()
            && session.carrier() == Some(carrier)
        {
            let _ = session.detach(0);
            self.deadlines.restart(cx.now);
        }
        Next::Wait
    }

    /// Whether the last line of the session is in the outbox or has been written.
    pub fn is_closing_session(&self) -> bool {
        self.session().is_some_and(|session| session.is_closing)
    }

    /// Processes what the client posts.
    ///
    /// # Errors
    /// It is no array of messages; none is processed then.
    pub fn receive_post(&mut self, body: &[u8], cx: &mut Context) -> Result<(), InvalidPost> {
        let Posted(messages) = Posted::parse(body)?;
        if self.session().is_some_and(|session| session.kept_len() > KEPT_LEN_MAX) {
            // It posts on and on while a channel is waited for.
            self.refuse_client(&Error::Lagged, cx);
            return Ok(());
        }
        if let Some(session) = self.session_mut() {
            session.heard();
        }
        self.note_heard(cx.now);
        // A sign of life has one in return, unless something else is on its way that is one as well.
        if messages.is_empty() && self.outbox.is_empty() {
            self.outbox.tail().extend_from_slice(NO_MESSAGES);
        }
        if let Some(session) = self.session_mut() {
            session.kept.extend(messages);
        }
        self.receive_kept(cx);
        Ok(())
    }

    /// Processes what the client has posted, up to a message that has to wait.
    pub(super) fn receive_kept(&mut self, cx: &mut Context) {
        while !self.awaits_go_ahead() && !self.is_closing_session() {
            let Some(message) = self.session_mut().and_then(|session| session.kept.pop_front()) else {
                break;
            };
            let payload = message.into_bytes();
            let _ = self.receive_command(&Message { kind: MessageKind::Text, payload: payload.into() }, cx);
            if self.outbox.is_high() {
                // What its messages cause to be sent has the same bound as what it publishes: it cannot be left unread.
                self.refuse_client(&Error::Lagged, cx);
            }
        }
        if let Some(session) = self.session_mut()
            && (session.kept.is_empty() || session.is_closing)
        {
            session.kept = VecDeque::new();
        }
    }

    /// The stage of the session has ended: it is gone, or the client is sent a sign of life.
    pub(super) fn beat(&mut self, cx: &mut Context) -> Next {
        let Some(session) = self.session_mut() else { return Next::Wait };
        let beat = session.beat();
        self.deadlines.restart(cx.now);
        match beat {
            Beat::Gone => return Next::Drop,
            // Its last line cannot be written: the client does not replace a full stream, or does not read it.
            Beat::Silent if self.is_closing_session() => return Next::Drop,
            Beat::Silent => self.refuse_client(&Error::NoPong, cx),
            Beat::SayAlive if self.outbox.is_empty() => self.outbox.tail().extend_from_slice(HEARTBEAT),
            Beat::SayAlive | Beat::Nothing => {}
        }
        Next::Wait
    }

    /// Closes the session with a last line, unless it was closed before.
    pub(super) fn close_session(&mut self, code: CloseCode, reason: &str) {
        let Life::Carried(session) = &mut self.life else { return };
        if !std::mem::replace(&mut session.is_closing, true) {
            fallback::close(self.outbox.tail(), code.as_u16(), reason);
        }
    }

    pub(super) fn session(&self) -> Option<&Carried> {
        match &self.life {
            Life::Carried(session) => Some(session),
            Life::Http(_)
            | Life::LongPoll(_)
            | Life::WebSocket(_)
            | Life::EventStream(_)
            | Life::Carrier(_)
            | Life::Finishing
            | Life::Lingering => None,
        }
    }

    pub(super) fn session_mut(&mut self) -> Option<&mut Carried> {
        match &mut self.life {
            Life::Carried(session) => Some(session),
            Life::Http(_)
            | Life::LongPoll(_)
            | Life::WebSocket(_)
            | Life::EventStream(_)
            | Life::Carrier(_)
            | Life::Finishing
            | Life::Lingering => None,
        }
    }
}

#[cfg(test)]
#[path = "over_http_tests.rs"]
mod tests;
