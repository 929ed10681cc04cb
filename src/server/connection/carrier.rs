//! The role of a connection whose request is one of a session: it carries the session's lines to the client, or brings what
//! the client posts.
//!
//! The session is another connection, which the event loop brings it together with; what it says is in `over_http`.

use super::context::{Context, Released};
use super::life::{After, Carrier, Expects, Life, SessionRequest};
use super::{Connection, Next};
use crate::http::{CONTINUE, Request, Response, Status};
use crate::pusher::fallback::path::{Purpose, SessionName, Transport};
use crate::pusher::fallback::session::Attached;
use crate::pusher::fallback::{self, InvalidPost, OPEN, PRELUDE};
use crate::server::api::answers;
use crate::server::api::handlers::Handlers;
use crate::server::api::pusher::Connecting;

/// What a second request is told that wants to carry a session.
const STILL_OPEN: &str = "Another connection still open";

/// Requests.
impl Connection {
    /// Reads the body of a request of a session, if it has one.
    pub(super) fn await_session(
        &mut self,
        request: &Request,
        name: SessionName,
        purpose: Purpose,
        cx: &mut Context,
    ) {
        let after = if request.keep_alive() { After::KeepAlive } else { After::Close };
        let (handlers, apps) = (&cx.shared.handlers, &cx.shared.apps);
        let is_new = purpose != Purpose::Send && cx.shared.sessions.find(&name).is_none();
        let connecting =
            is_new.then(|| Box::new(Handlers::connect_session(request, &name, &cx.access, apps)));
        let len_max = handlers.posted_len_max(&name, apps);
        let asked = Box::new(SessionRequest { name, purpose, connecting, body: Vec::new(), after });
        let Life::Http(http) = &mut self.life else { return };
        if purpose != Purpose::Send && !request.has_body() {
            http.expects = Expects::Session(asked);
            return;
        }
        if let Err(error) = http.reader.read_body(len_max) {
            return self.refuse_request(&error, cx);
        }
        http.expects = Expects::SessionBody(asked);
        self.deadlines.restart(cx.now);
        if request.expects_continue() {
            self.outbox.tail().extend_from_slice(CONTINUE);
        }
    }

    /// The session that a complete request of this connection is for.
    pub fn asks_session(&self) -> Option<&SessionRequest> {
        match &self.life {
            Life::Http(http) => match &http.expects {
                Expects::Session(request) => Some(request),
                Expects::ProxyHeader(_)
                | Expects::Head
                | Expects::NextRequest
                | Expects::Body { .. }
                | Expects::Delivery { .. }
                | Expects::Deliveries { .. }
                | Expects::Events { .. }
                | Expects::GoAhead(_)
                | Expects::BatchJudgement { .. }
                | Expects::ProgramBody(_)
                | Expects::SessionBody(_) => None,
            },
            Life::LongPoll(_)
            | Life::WebSocket(_)
            | Life::EventStream(_)
            | Life::Carried(_)
            | Life::Carrier(_)
            | Life::Finishing
            | Life::Lingering => None,
        }
    }

    /// Whether it has a complete request of a session.
    pub(super) fn asks_for_session(&self) -> bool {
        self.asks_session().is_some()
    }

    /// What becomes of the client of a complete request for a new session, and the name of that.
    pub fn take_connecting(&mut self) -> Option<(SessionName, Connecting)> {
        let Life::Http(http) = &mut self.life else { return None };
        let Expects::Session(request) = &mut http.expects else { return None };
        let connecting = request.connecting.take()?;
        Some((request.name.clone(), *connecting))
    }

    /// Takes the complete request of a session. It is to be answered, or to carry the session.
    pub fn take_session_request(&mut self) -> Option<Box<SessionRequest>> {
        let Life::Http(http) = &mut self.life else { return None };
        http.take_expected(|expects| match expects {
            Expects::Session(request) => Ok(request),
            other => Err(other),
        })
    }

    /// Answers a post: its messages were processed, or why not.
    pub fn answer_post(&mut self, outcome: Result<(), InvalidPost>, after: After, cx: &mut Context) -> Next {
        let response = match outcome {
            Ok(()) => Response::new(Status::NO_CONTENT),
            Err(error) => Response::error(Status::BAD_REQUEST, &error),
        };
        self.respond(&response, after, cx);
        Next::Read
    }

    /// Answers a request whose session is not there.
    pub fn answer_no_session(&mut self, after: After, cx: &mut Context) -> Next {
        let sentence = "There is no such session; it ends 5 seconds after no request carries it.";
        self.respond(&Response::text(Status::NOT_FOUND, sentence), after, cx);
        Next::Read
    }

    /// Answers a request for a new session for which there is no room.
    pub fn answer_no_room(&mut self, after: After, cx: &mut Context) -> Next {
        self.respond(&answers::over_capacity(), after, cx);
        Next::Read
    }
}

/// Carrying.
impl Connection {
    /// Carries a session from now on, or tells the client why not, as the session has `attached` it. `session` is the number
    /// of its key.
    pub fn carry(
        &mut self,
        session: u64,
        (transport, attached): (Transport, Attached),
        after: After,
        cx: &mut Context,
    ) -> Next {
        match (transport, attached) {
            (Transport::Polling, Attached::Refused) => self.answer_lines(refusal(), after, cx),
            (Transport::Polling, Attached::Opens) => self.answer_lines(OPEN.to_vec(), after, cx),
            (Transport::Polling, Attached::Continues | Attached::Replaces) => {
                self.begin_carrying(session, transport, after, cx)
            }
            (Transport::Streaming, attached) => {
                self.send_endless_head(cx);
                self.outbox.tail().extend_from_slice(&PRELUDE);
                if attached == Attached::Refused {
                    self.outbox.tail().extend_from_slice(&refusal());
                    self.finish(cx);
                    return Next::Wait;
                }
                if attached == Attached::Opens {
                    self.outbox.tail().extend_from_slice(OPEN);
                }
                self.begin_carrying(session, transport, After::Close, cx)
            }
        }
    }

    /// The connection is read again: the end of its input may have come with the request, and causes no other edge.
    fn begin_carrying(&mut self, session: u64, transport: Transport, after: After, cx: &Context) -> Next {
        let make = |http| Carrier { http, after, session, transport, is_fed: false };
        self.become_carrier(make, cx.now);
        Next::Read
    }

    /// Takes lines of its session: the answer to a poll, or the next part of a stream. If they are the session's last, a
    /// stream ends after them.
    pub fn feed(&mut self, lines: Vec<u8>, is_last: bool, cx: &mut Context) -> Next {
        let Life::Carrier(carrier) = &mut self.life else { return Next::Wait };
        match carrier.transport {
            Transport::Streaming => {
                self.outbox.tail().extend_from_slice(&lines);
                carrier.is_fed = !is_last;
                if is_last {
                    self.finish(cx);
                }
                Next::Wait
            }
            Transport::Polling => match self.end_carrying(cx.now) {
                Some(after) => self.answer_lines(lines, after, cx),
                None => Next::Wait,
            },
        }
    }

    /// Its session has ended without a last line, or another stream carries it.
    pub fn end_carriage(&mut self, cx: &mut Context) -> Next {
        if let Life::Carrier(carrier) = &self.life {
            match carrier.transport {
                Transport::Streaming => self.finish(cx),
                Transport::Polling => {
                    let _ = self.end_carrying(cx.now);
                    return self.answer_no_room(After::Close, cx);
                }
            }
        }
        Next::Wait
    }

    /// The session that it carries, as the number of its key.
    pub fn carried_session(&self) -> Option<u64> {
        match &self.life {
            Life::Carrier(carrier) => Some(carrier.session),
            Life::Http(_)
            | Life::LongPoll(_)
            | Life::WebSocket(_)
            | Life::EventStream(_)
            | Life::Carried(_)
            | Life::Finishing
            | Life::Lingering => None,
        }
    }

    /// It carries its session no more. The loop tells the session.
    pub(super) fn release_session(&mut self, cx: &mut Context) {
        if let Some(session) = self.carried_session() {
            cx.released.push(Released { session, carrier: cx.owner });
        }
    }

    fn answer_lines(&mut self, lines: Vec<u8>, after: After, cx: &mut Context) -> Next {
        self.respond(&of_lines(lines), after, cx);
        Next::Read
    }

    /// Puts the head of a stream into the outbox.
    fn send_endless_head(&mut self, cx: &Context) {
        let response = of_lines(Vec::new()).header("X-Accel-Buffering", "no");
        self.with_framing(cx, |framing, out| response.encode_endless_head(out, framing));
    }
}

/// The response whose body are lines. Its type is none that a browser would run, whatever clients have sent to each other.
fn of_lines(lines: Vec<u8>) -> Response {
    Response::new(Status::OK)
        .body("text/plain; charset=utf-8", lines)
        .header("Cache-Control", "no-store, no-transform")
        .header("X-Content-Type-Options", "nosniff")
}

/// What a second request that wants to carry a session is answered.
fn refusal() -> Vec<u8> {
    let mut line = Vec::new();
    fallback::close(&mut line, fallback::ANOTHER_IS_OPEN, STILL_OPEN);
    line
}
