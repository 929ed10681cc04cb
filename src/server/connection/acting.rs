//! The role of a connection that a program's session handles: the session is called, and what it wants is done.
//!
//! How its handshake is answered is in `programs`. What sessions are is in `handlers`.

use std::any::Any;
use std::borrow::Cow;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::time::Duration;

use super::context::Context;
use super::life::{Life, Messages, WebSocket};
use super::live::Live;
use super::{Connection, Next};
use crate::server::broker::calls::CallKind;
use crate::server::clock::Millis;
use crate::server::discard::discard;
use crate::server::handlers::actor::Actor;
use crate::server::handlers::actors::{ActorId, Ended};
use crate::server::handlers::failure::{Failure, Outcome};
use crate::server::handlers::link::Link;
use crate::server::handlers::message::{self, Closed, ClosedBy};
use crate::server::handlers::panics::{OnPanic, Said};
use crate::server::metrics::refusals::Reason;
use crate::ws::{CloseCode, Message, MessageKind};

/// What the peer is told when a handler has panicked.
const PANICKED: &str = "the server failed to handle this";

/// What a session is told when its socket ended without a Close frame.
const LOST: &str = "the connection was lost";

/// Calls.
impl Connection {
    /// The session of this connection, if it has one.
    pub(super) fn actor_id(&self) -> Option<ActorId> {
        let Life::WebSocket(WebSocket { messages: Messages::Program(id), .. }) = &self.life else {
            return None;
        };
        *id
    }

    /// Hands a message to the session. `is_last`: nothing was read after it.
    pub(super) fn act_on_message(&mut self, message: Message<'_>, is_last: bool, cx: &mut Context) -> Next {
        let Message { kind, payload } = message;
        let message = match kind {
            // It was checked while it was read, piece by piece: a second check costs less than a copy would.
            MessageKind::Text => simdutf8::basic::from_utf8(&payload).map(message::Message::Text),
            MessageKind::Binary => Ok(message::Message::Binary(&payload)),
        };
        let message = message.expect("a text that is not UTF-8 ends its connection");
        let is_broken = self.act(is_last, cx, |actor, link| actor.message(link, message));
        if let Cow::Owned(assembled) = payload {
            cx.spares.give(assembled);
        }
        if is_broken { Next::Drop } else { Next::Read }
    }

    /// Hands the session what another thread has for it, or does that.
    pub fn receive_call(&mut self, call: CallKind, cx: &mut Context) -> Next {
        match call {
            CallKind::Answer(response) => return self.receive_reply(&response, cx),
            CallKind::Parcel(parcel, _) => {
                self.act(false, cx, |actor, link| actor.parcel(link, parcel.open()));
            }
            CallKind::Send(kind, payload) => {
                self.act(false, cx, |_, link| {
                    link.send(kind, &payload);
                    Ok(())
                });
            }
            CallKind::Close(code, reason) => {
                if self.actor_id().is_some() {
                    self.close(code, &reason, cx);
                }
            }
        }
        Next::Wait
    }

    /// Tells the session that its peer has taken everything, if it is to be told.
    pub(super) fn tell_drained(&mut self, cx: &mut Context) {
        if self.is_drain_due(cx)
            && let Some(id) = self.actor_id()
        {
            cx.actors.await_drain(id, false);
            self.act(false, cx, |actor, link| actor.drain(link));
        }
    }

    /// Whether its session is to be told that its peer has taken everything.
    pub(super) fn is_drain_due(&self, cx: &Context) -> bool {
        self.outbox.is_empty() && self.actor_id().is_some_and(|id| cx.actors.awaits_drain(id))
    }

    /// The route of its session, if it has one, and the time from which its calls are counted.
    pub(super) fn begin_spending(&self, cx: &Context) -> Option<(u16, Duration)> {
        self.actor_id().map(|id| (cx.actors.route(id), cx.shared.clock.elapsed()))
    }

    /// When the timer of its session is due.
    pub(super) fn session_timer(&self, cx: &Context) -> Option<Millis> {
        self.actor_id().and_then(|id| cx.actors.timer_at(id))
    }

    /// The timer of its session is due.
    pub(super) fn fire_timer(&mut self, cx: &mut Context) {
        if let Some(id) = self.actor_id() {
            cx.actors.set_timer(id, None);
            self.act(false, cx, |actor, link| actor.timer(link));
        }
    }

    /// The server stops: the session may say a last word.
    pub(super) fn tell_stopping(&mut self, cx: &mut Context) {
        self.act(false, cx, |actor, link| {
            // The connection is closed in any case.
            let _ = actor.stopping(link);
            Ok(())
        });
    }

    /// The handshake is answered: the session begins.
    pub(super) fn begin_acting(&mut self, cx: &mut Context) {
        self.act(false, cx, |actor, link| actor.open(link));
    }

    /// Calls the session, if there is one, and does what follows from what it returns. True if the socket was found to be
    /// broken.
    fn act(
        &mut self,
        is_last: bool,
        cx: &mut Context,
        call: impl FnOnce(&mut dyn Actor, &mut dyn Link) -> Outcome,
    ) -> bool {
        let Some(id) = self.actor_id() else { return false };
        let Some(mut actor) = cx.actors.take(id) else { return false };
        let was_high = self.outbox.is_high();
        let mut live = Live::new(self, id, is_last, cx);
        let result = catch_unwind(AssertUnwindSafe(|| call(&mut *actor, &mut live)));
        let is_broken = live.is_broken;
        match result {
            Ok(outcome) => {
                if let Err(failure) = outcome {
                    self.fail_acting(&failure, id, cx);
                }
                if !was_high && self.outbox.is_high() {
                    cx.actors.await_drain(id, true);
                }
                if let Some((actor, ended)) = cx.actors.put_back(id, actor) {
                    tell_closed(actor, &ended, cx);
                }
            }
            Err(panic) => {
                live.take_back();
                let is_ours = live.is_inside;
                self.survive_panic(actor, id, panic, is_ours, cx);
            }
        }
        is_broken
    }

    fn fail_acting(&mut self, failure: &Failure, id: ActorId, cx: &mut Context) {
        if let Some(error) = failure.error() {
            let route = cx.program.name(cx.actors.route(id));
            cx.note(Reason::Handler, &format_args!("a connection at {route}, whose handler failed: {error}"));
        }
        let (code, reason) = failure.told();
        self.close(code, reason, cx);
    }

    /// A handler has panicked: its connection is closed, and its session is dropped. If the panic is the server's own, or the
    /// program wants it, it goes on.
    fn survive_panic(
        &mut self,
        actor: Box<dyn Actor>,
        id: ActorId,
        panic: Box<dyn Any + Send>,
        is_ours: bool,
        cx: &mut Context,
    ) {
        if is_ours || cx.program.on_panic == OnPanic::Stop {
            resume_unwind(panic);
        }
        note_panic(cx.actors.route(id), &*panic, cx);
        cx.actors.forget(id);
        self.forget_actor();
        self.close(CloseCode::INTERNAL_ERROR, PANICKED, cx);
        discard(panic);
        discard(actor);
    }
}

/// Ends.
impl Connection {
    /// The connection ends: its session is told, if it has not been told yet.
    pub(super) fn end_actor(
        &mut self,
        code: Option<CloseCode>,
        reason: &str,
        by: ClosedBy,
        cx: &mut Context,
    ) {
        let Some(id) = self.actor_id() else { return };
        self.forget_actor();
        let ended = Ended { code, reason: reason.to_owned(), by };
        if let Some((actor, ended)) = cx.actors.end(id, ended) {
            tell_closed(actor, &ended, cx);
        }
    }

    /// The same for a connection that ends without a Close frame.
    pub fn lose_actor(&mut self, cx: &mut Context) {
        self.end_actor(None, LOST, ClosedBy::Lost, cx);
    }

    fn forget_actor(&mut self) {
        if let Life::WebSocket(websocket) = &mut self.life {
            websocket.messages = Messages::Program(None);
        }
    }
}

fn tell_closed(actor: Box<dyn Actor>, ended: &Ended, cx: &mut Context) {
    let closed = Closed { code: ended.code, reason: &ended.reason, by: ended.by };
    let program = &cx.program;
    if let Err(panic) = catch_unwind(AssertUnwindSafe(|| actor.closed(&program.handle, closed))) {
        if cx.program.on_panic == OnPanic::Stop {
            resume_unwind(panic);
        }
        cx.program.note_panic();
        cx.note(
            Reason::Handler,
            &format_args!("a closed connection, whose handler panicked: {}", Said(&*panic)),
        );
        discard(panic);
    }
}

/// Counts and logs a panic of a handler of this route.
pub(super) fn note_panic(route: u16, panic: &(dyn Any + Send), cx: &Context) {
    cx.program.note_panic();
    let route = cx.program.name(route);
    cx.note(
        Reason::Handler,
        &format_args!("a connection at {route}, whose handler panicked: {}", Said(panic)),
    );
}
