//! Requests for the routes of a program: they are checked as all others are, then the program answers them or opens a session.
//!
//! What a session does after its handshake is in `acting`.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use super::acting::note_panic;
use super::context::Context;
use super::life::{After, Awaits, Expects, Life, Messages, ProgramBody, WebSocket};
use super::{Connection, Next};
use crate::http::{self, Error, Request, Response, Status, Upgrade};
use crate::server::access::Refusal;
use crate::server::api::pages::options;
use crate::server::api::routes::Door;
use crate::server::discard::discard;
use crate::server::handlers::panics::OnPanic;
use crate::server::handlers::pattern::{Params, is_own};
use crate::server::handlers::reply::Reply;
use crate::server::handlers::request;
use crate::server::handlers::routes::{Opened, Post, Route, Spent};
use crate::server::metrics::refusals::Reason;
use crate::ws::{Inbound, Protocol};

/// A handler that takes longer is logged: for as long as it ran, no other connection of the loop was served. A person notices
/// twice as much.
const SLOW: Duration = Duration::from_millis(50);

/// Requests.
impl Connection {
    /// Answers a request for a route of the program. False if it is for none.
    pub(super) fn answer_program(&mut self, request: &Request, cx: &mut Context) -> bool {
        if self.door != Door::Public || is_own(request.path()) {
            return false;
        }
        let Some((at, params)) = cx.program.routes.find(request.path()) else { return false };
        let program = Arc::clone(&cx.program);
        let Some(route) = program.routes.get(at) else { return false };
        self.set_tenure(None);
        let checked = self.check_program_request(request, cx);
        self.note_origin(request, cx);
        match checked.and_then(|()| check_page_acts(request, route, cx)) {
            Err(refusal) => self.refuse(request, &refusal, cx),
            Ok(()) => self.answer_at(route, request, (at, params), cx),
        }
        true
    }

    /// Checks the host, the page and who made the request.
    fn check_program_request(&mut self, request: &Request, cx: &Context) -> Result<(), Refusal> {
        self.identity = None;
        cx.access.check_host(request)?;
        cx.access.check_origin(request)?;
        self.identity = cx.shared.guard.identify(&cx.access, request, cx.unix_s())?;
        self.note_key(request, cx);
        Ok(())
    }

    fn answer_at(&mut self, route: &Route, request: &Request, found: (u16, Params), cx: &mut Context) {
        match (request.method(), &route.open, &route.get, &route.post) {
            ("GET", Some(open), _, _) if http::is_upgrade(request) => match Upgrade::from_request(request) {
                Ok(upgrade) => self.open(upgrade, open.as_ref(), request, found, cx),
                Err(error) => self.respond_to(request, &Response::from(&error), cx),
            },
            ("GET" | "HEAD", _, Some(get), _) => {
                let response = self.call_program(request, &found, cx, |request| get(request));
                self.respond_to(request, &response.unwrap_or_else(failed), cx);
            }
            ("GET" | "HEAD", Some(_), None, _) => {
                self.respond_to(request, &Response::from(&Error::NotUpgrade), cx);
            }
            ("POST", _, _, Some(_)) => self.await_program_body(request, found, cx),
            ("OPTIONS", ..) => {
                let response = options(request, route.allow(), &cx.access);
                self.respond_to(request, &response, cx);
            }
            (method, ..) => {
                let allow = route.allow();
                let sentence = format!("{method} is not served here; {allow} are.");
                let response = Response::text(Status::METHOD_NOT_ALLOWED, &sentence).header("Allow", allow);
                self.respond_to(request, &response, cx);
            }
        }
    }

    /// Has the factory make the session of a handshake, and answers that.
    fn open(
        &mut self,
        upgrade: Upgrade,
        open: &dyn Fn(&request::Request<'_>) -> Result<Opened, Response>,
        request: &Request,
        found: (u16, Params),
        cx: &mut Context,
    ) {
        if let Err(too_many) = self.admit_upgrade(request, cx) {
            return self.refuse_too_many(&too_many, After::of(request), cx);
        }
        match self.call_program(request, &found, cx, open) {
            Ok(Ok(opened)) => self.become_session(&upgrade, opened, request, found.0, cx),
            Ok(Err(response)) => self.respond_to(request, &response, cx),
            Err(Panicked) => self.respond_to(request, &failed(Panicked), cx),
        }
    }

    fn become_session(
        &mut self,
        upgrade: &Upgrade,
        opened: Opened,
        request: &Request,
        route: u16,
        cx: &mut Context,
    ) {
        let Life::Http(http) = &mut self.life else { return };
        let mut rest = http.take_rest();
        let deflate = cx.shared.handlers.deflate(request);
        let extensions = deflate.map(|deflate| deflate.to_string());
        // RFC 6455 §4.2.2: what the client has not offered must not be chosen.
        let subprotocol = opened.subprotocol.as_deref().filter(|name| upgrade.offers(name));
        let out = self.outbox.tail();
        upgrade.encode_response_with(out, subprotocol, extensions.as_deref(), &opened.headers);
        let mut protocol = Protocol::new(Inbound::Accept { message_len_max: cx.shared.config.max_message });
        if let Some(deflate) = deflate {
            protocol = protocol.with_deflate(deflate);
        }
        let messages = Messages::Program(Some(cx.actors.insert(opened.actor, route)));
        let (awaits, is_leaving) = (Awaits::Nothing, cx.is_leaving());
        let websocket =
            WebSocket { protocol, aside: None, deflate, awaits, is_leaving, messages, client: None };
        self.become_websocket(websocket, cx.now);
        self.begin_acting(cx);
        // If the socket is broken, the next read fails.
        let _ = self.receive_frames(&mut rest, cx);
    }

    /// Reads the body of a POST, then calls the program.
    fn await_program_body(&mut self, request: &Request, (route, params): (u16, Params), cx: &mut Context) {
        let after = if request.keep_alive() { After::KeepAlive } else { After::Close };
        let body = Box::new(ProgramBody { route, params, request: request.clone(), after });
        if !request.has_body() {
            return self.post_to_program(*body, Vec::new(), cx);
        }
        self.await_body_as(request, Expects::ProgramBody(body), cx.shared.config.max_message, cx);
    }

    /// The body of a POST is complete.
    pub(super) fn post_to_program(&mut self, post: ProgramBody, body: Vec<u8>, cx: &mut Context) {
        let ProgramBody { route: at, params, request, after } = post;
        let program = Arc::clone(&cx.program);
        let Some(handler) = program.routes.get(at).and_then(|route| route.post.as_ref()) else { return };
        let (found, body) = ((at, params), Bytes::from(body));
        match handler {
            Post::Now(handler) => {
                let response = self.call_program(&request, &found, cx, |request| handler(request, body));
                self.respond(&response.unwrap_or_else(failed), after, cx);
            }
            Post::Later(handler) => {
                let Life::Http(http) = &mut self.life else { return };
                http.expects = Expects::Delivery { after };
                let reply = Reply::new(cx.address());
                // A reply that a panic drops answers 500.
                let _ = self.call_program(&request, &found, cx, |request| handler(request, body, reply));
            }
        }
    }

    /// The program has answered the request that waits for that.
    pub(super) fn receive_reply(&mut self, response: &Response, cx: &mut Context) -> Next {
        let Life::Http(http) = &mut self.life else { return Next::Wait };
        let Expects::Delivery { after } = http.expects else { return Next::Wait };
        http.expects = Expects::Head;
        self.respond(response, after, cx);
        Next::Read
    }

    /// Calls a handler of the program with a request. A panic of it is noted.
    fn call_program<T>(
        &self,
        request: &Request,
        (at, params): &(u16, Params),
        cx: &mut Context,
        call: impl FnOnce(&request::Request<'_>) -> T,
    ) -> Result<T, Panicked> {
        let (peer, who) = (self.client_address_of(request, cx), self.identity.clone());
        let program = Arc::clone(&cx.program);
        let request = request::Request::new(request, (program.name(*at), params), peer, who.as_deref());
        let began = cx.shared.clock.elapsed();
        let result = catch_unwind(AssertUnwindSafe(|| call(&request)));
        cx.note_spent(*at, 1, began);
        result.map_err(|panic| survive(*at, panic, cx))
    }
}

/// Checks that the page that made the request may act, where it asks for what acts: a session or a POST. A page that may only
/// read gets the program's pages, and the server's own echo, which does nothing.
fn check_page_acts(request: &Request, route: &Route, cx: &Context) -> Result<(), Refusal> {
    let asks_to_act = http::is_upgrade(request) || request.method() == "POST";
    if asks_to_act && !route.is_servers() { cx.access.check_fully_served(request) } else { Ok(()) }
}

/// A handler panicked, and that is noted.
struct Panicked;

fn survive(route: u16, panic: Box<dyn Any + Send>, cx: &Context) -> Panicked {
    if cx.program.on_panic == OnPanic::Stop {
        resume_unwind(panic);
    }
    note_panic(route, &*panic, cx);
    discard(panic);
    Panicked
}

/// The answer to a request whose handler panicked.
fn failed(_: Panicked) -> Response {
    Response::text(Status::INTERNAL_SERVER_ERROR, "The server failed to handle this.")
}

impl Context {
    /// Counts calls of handlers of a route since `began`, which is a time of the server's clock, and logs them if they took
    /// long.
    pub fn note_spent(&self, route: u16, calls: u64, began: Duration) {
        if let Some(route) = self.program.routes.get(route) {
            self.note_spent_by(route.pattern(), &route.spent, calls, began);
        }
    }

    /// The same of what has this name, and whose figures these are.
    pub fn note_spent_by(&self, name: &str, spent: &Spent, calls: u64, began: Duration) {
        let took = self.shared.clock.elapsed().saturating_sub(began);
        spent.note(calls, took);
        if took > SLOW {
            let ms = took.as_millis();
            let sentence =
                format_args!("{calls} calls of the handlers of {name} took {ms} ms; nothing else was served");
            self.note(Reason::SlowHandler, &sentence);
        }
    }
}
