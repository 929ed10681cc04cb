//! The role of a connection that speaks HTTP: requests are parsed, answers are appended to the outbox.
//!
//! What is answered is decided by `api`. The roles after an upgrade are in files of their own.

use std::sync::Arc;

use super::auditing::NotPut;
use super::context::Context;
use super::life::{After, Expects, Life};
use super::preparing::Waited;
use super::reporting::report_on;
use super::{Connection, Next};
use crate::backend::Judged;
use crate::http::{CONTINUE, encode_stream_head};
use crate::http::{Error, Event, Framing, Request, Response, Status};
use crate::hub::Published;
use crate::server::access::{Asker, Identity, Refusal};
use crate::server::api::answers;
use crate::server::api::basis::Basis;
use crate::server::api::handlers::{Answer, Answered, Intent, Publication};
use crate::server::api::many::ReadingMany;
use crate::server::api::pages;
use crate::server::api::payload;
use crate::server::api::revoking;
use crate::server::api::routes::Door;
use crate::server::broker::answer::{NotPublished, Publishing, Receipt};
use crate::server::broker::draft::Draft;
use crate::server::broker::idempotency::{IdempotencyKey, KeyRefused};
use crate::server::clock;
use crate::server::handlers::watching::Unfit;
use crate::server::limits::TooMany;
use crate::server::metrics::refusals::Reason;
use crate::server::shared::Shared;

/// How much of an answer is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Extent {
    /// The head and the body.
    Whole,
    /// The head alone: the request's method is HEAD.
    Head,
}

impl Extent {
    fn of(request: &Request) -> Self {
        if request.method() == "HEAD" { Self::Head } else { Self::Whole }
    }
}

impl Connection {
    /// Receives bytes of requests, behind the PROXY header if one is awaited. [`Next::Drop`] if there is no good header.
    pub(super) fn receive_requests(&mut self, input: &[u8], cx: &mut Context) -> Next {
        match self.pass_proxy_header(input, cx) {
            Ok(used_len) => self.receive_behind_header(&input[used_len..], cx),
            Err(bad) => {
                self.note_bad_header(&bad, cx);
                return Next::Drop;
            }
        }
        Next::Read
    }

    fn receive_behind_header(&mut self, input: &[u8], cx: &mut Context) {
        let is_tls = self.is_greeted_with_tls(input);
        let Life::Http(http) = &mut self.life else { return };
        if input.is_empty() {
            return;
        }
        if is_tls {
            return self.refuse_tls(cx);
        }
        http.receive(input);
        if matches!(http.expects, Expects::NextRequest) {
            http.expects = Expects::Head;
            self.deadlines.restart(cx.now);
        }
        self.serve(cx);
    }

    /// Answers complete requests, as long as the peer takes the answers and no mailbox is congested.
    pub(super) fn serve(&mut self, cx: &mut Context) {
        while let Life::Http(http) = &mut self.life {
            let has_to_wait = http.is_body_awaited() && cx.is_congested()
                || http.is_outcome_awaited()
                || http.is_session_awaited();
            if self.outbox.is_high() || has_to_wait {
                return;
            }
            if self.publish_judged_batch(cx) {
                continue;
            }
            let Life::Http(http) = &mut self.life else { return };
            match http.reader.poll() {
                Ok(None) => return,
                Ok(Some(Event::Head(request))) => match self.redirected(&request, cx) {
                    Some(response) => self.respond_to(&request, &response, cx),
                    None => self.answer(&request, Judged::default(), cx),
                },
                Ok(Some(Event::Body(body))) => self.take_body(body, cx),
                Err(error) => self.refuse_request(&error, cx),
            }
        }
    }

    /// Answers a request, or asks the backend about it. `judged`: what the backend has said of it.
    pub(super) fn answer(&mut self, request: &Request, judged: Judged, cx: &mut Context) {
        if !self.answer_program(request, cx) {
            self.answer_when_ready(request, judged, Waited::not_yet(cx), cx);
        }
    }

    /// The same for what is not the program's. A request that joins channels which cannot be joined yet waits, unless it has.
    pub(super) fn answer_when_ready(
        &mut self,
        request: &Request,
        judged: Judged,
        waited: Waited,
        cx: &mut Context,
    ) {
        let answer = self.decide(request, &judged, cx);
        self.begin_tenure(request, &answer, &judged, cx);
        self.note_origin(request, cx);
        let Some(judged) = self.park_unready(request, &answer, judged, waited, cx) else { return };
        if let Err(too_many) = self.admit(request, &answer, cx) {
            return self.refuse_too_many(&too_many, After::of(request), cx);
        }
        match answer {
            Answer::Respond(response) => self.respond_to(request, &response, cx),
            Answer::Refuse(refusal) => self.refuse(request, &refusal, cx),
            Answer::Ask(asking) => self.ask_about(request, judged, asking, cx),
            Answer::Report(report) => self.respond_to(request, &report_on(report, cx), cx),
            Answer::ReadBody(publication) => self.await_body(request, Intent::Publish(publication), cx),
            Answer::ReadBatch(batch) => self.await_body(request, Intent::Batch(batch), cx),
            Answer::Revoke => self.await_body(request, Intent::Revoke, cx),
            Answer::Call(requested) if request.has_body() && requested.body_len_max() > 0 => {
                self.await_body(request, Intent::Call(requested), cx);
            }
            Answer::Call(requested) => {
                if let Some(response) = self.call(&requested, b"", After::of(request), cx) {
                    self.respond_to(request, &response, cx);
                }
            }
            Answer::Stream(joining) => self.begin_stream(joining, waited, cx),
            Answer::Poll(polling) => self.poll_channel(request, &polling, cx),
            Answer::ReadMany(ReadingMany::Stream(readings)) => {
                self.begin_stream_of_many(readings, waited, cx)
            }
            Answer::ReadMany(ReadingMany::Poll(polling)) => self.poll_channels(request, &polling, cx),
            Answer::Upgrade(acceptance) => self.upgrade(acceptance, cx),
            Answer::Session(name, purpose) => self.await_session(request, name, purpose, cx),
        }
    }

    /// Notes the origin whose pages may read the answer.
    pub(super) fn note_origin(&mut self, request: &Request, cx: &Context) {
        if let Door::Public = self.door
            && let Life::Http(http) = &mut self.life
        {
            let origin = pages::allow_origin(request, &cx.access, &cx.shared.apps);
            http.allows_credentials = origin.is_some() && cx.access.allows_credentials(request);
            http.allow_origin = origin.map(Into::into);
        }
    }

    /// Notes that a key was shown, and says so once for each address.
    pub(super) fn note_key(&self, request: &Request, cx: &Context) {
        let Some(who) = self.identity.as_deref().filter(|who| who.key_name().is_some()) else { return };
        let address = self.client_address_of(request, cx);
        if let (Some(key), Some(address)) = (cx.access.note_shown(who, address, cx.unix_s()), address) {
            tracing::info!(key, %address, "a key is used from an address for the first time");
        }
    }

    /// What to do about a request. The connection is that of who made it from now on.
    fn decide(&mut self, request: &Request, judged: &Judged, cx: &mut Context) -> Answer {
        let Shared { guard, apps, handlers, .. } = &*cx.shared;
        let basis = Basis { access: &cx.access, guard, apps, judged, now_s: cx.unix_s() };
        let Answered { answer, who } = handlers.answer(self.door, request, basis);
        self.identity = who.or_else(|| judged.person().map(|person| Arc::new(Identity::of_person(person))));
        self.note_key(request, cx);
        answer
    }

    fn await_body(&mut self, request: &Request, intent: Intent, cx: &mut Context) {
        let len_max = intent.len_max();
        let after = if request.keep_alive() { After::KeepAlive } else { After::Close };
        self.await_body_as(request, Expects::Body { intent, after }, len_max, cx);
    }

    /// Reads the body of a request for what is expected of it.
    pub(super) fn await_body_as(
        &mut self,
        request: &Request,
        expects: Expects,
        len_max: u64,
        cx: &mut Context,
    ) {
        let Life::Http(http) = &mut self.life else { return };
        http.expects = expects;
        if let Err(error) = http.reader.read_body(len_max) {
            return self.refuse_request(&error, cx);
        }
        self.deadlines.restart(cx.now);
        if request.expects_continue() {
            self.outbox.tail().extend_from_slice(CONTINUE);
        }
    }

    fn take_body(&mut self, body: Vec<u8>, cx: &mut Context) {
        let Life::Http(http) = &mut self.life else { return };
        let (intent, after) = match std::mem::replace(&mut http.expects, Expects::Head) {
            Expects::Body { intent, after } => (intent, after),
            Expects::SessionBody(mut request) => {
                request.body = body;
                http.expects = Expects::Session(request);
                return;
            }
            Expects::ProgramBody(post) => return self.post_to_program(*post, body, cx),
            Expects::ProxyHeader(_)
            | Expects::Head
            | Expects::NextRequest
            | Expects::Delivery { .. }
            | Expects::Deliveries { .. }
            | Expects::Events { .. }
            | Expects::GoAhead(_)
            | Expects::BatchJudgement { .. }
            | Expects::Session(_) => {
                unreachable!("a body is read for what is done with it")
            }
        };
        if let (Intent::Publish(_) | Intent::Batch(_), Err(refusal)) = (&intent, self.check_sender(cx)) {
            cx.note_refusal(&refusal, self.identity.as_deref());
            return self.respond_unnoted(&Response::from(&refusal), after, cx);
        }
        match intent {
            Intent::Publish(Publication { channel, event, media_type, key, .. }) => {
                match payload::from_body(channel, event, media_type, body) {
                    Ok(draft) => self.publish_posted(draft, key, after, cx),
                    Err(error) => self.respond(&Response::error(Status::BAD_REQUEST, &error), after, cx),
                }
            }
            Intent::Call(requested) => {
                if let Some(response) = self.call(&requested, &body, after, cx) {
                    self.respond(&response, after, cx);
                }
            }
            Intent::Batch(batch) => self.take_batch(batch, body, after, cx),
            Intent::Revoke => self.revoke(&body, after, cx),
        }
    }

    /// Revokes tokens. The answer follows when all loops have ended the connections that live by them.
    fn revoke(&mut self, body: &[u8], after: After, cx: &mut Context) {
        let asker = Asker { loop_index: cx.loop_index, connection: cx.owner };
        let revoked = revoking::whom(body).map(|whom| cx.shared.revoke(whom, asker));
        match revoked {
            Err(response) => self.respond(&response, after, cx),
            Ok(Err(refusal)) => self.respond(&Response::from(&refusal), after, cx),
            Ok(Ok(())) => {
                let Life::Http(http) = &mut self.life else { return };
                http.expects = Expects::Delivery { after };
            }
        }
    }

    /// All loops have ended the connections that live by what this request revoked: it is answered.
    pub(super) fn receive_revoked(&mut self, ended: usize, cx: &mut Context) -> Next {
        let Life::Http(http) = &mut self.life else { return Next::Wait };
        let Expects::Delivery { after } = http.expects else { return Next::Wait };
        http.expects = Expects::Head;
        self.respond(&revoking::revoked(ended), after, cx);
        Next::Read
    }

    /// Publishes the body of a request. The answer follows at once, or when the publication has been delivered.
    fn publish_posted(&mut self, draft: Draft, key: Option<IdempotencyKey>, after: After, cx: &mut Context) {
        let response = match self.put(draft, key, cx) {
            Ok(Publishing::Done(receipt)) => self.answer_of_publishing(Ok(receipt), cx),
            Ok(Publishing::Awaited) => {
                let Life::Http(http) = &mut self.life else { return };
                http.expects = Expects::Delivery { after };
                return;
            }
            Err(NotPut::Program(unfit)) => {
                let status = match unfit {
                    Unfit::Refused(_) => Status::FORBIDDEN,
                    Unfit::TooLong { .. } => Status::CONTENT_TOO_LARGE,
                    Unfit::Undecided => Status::INTERNAL_SERVER_ERROR,
                };
                Response::text(status, &unfit.to_string())
            }
            Err(NotPut::Key(KeyRefused::Reused)) => answers::key_reused(),
            Err(NotPut::Key(KeyRefused::NoRoom)) => {
                cx.note(Reason::Memory, &"a publication with a key: --max-memory is reached");
                answers::no_room_for_key(answers::NO_ROOM_FOR_KEY)
            }
            Err(NotPut::Key(KeyRefused::ShareUsed)) => {
                cx.note(Reason::Memory, &"a publication with a key: keys have their share of --max-memory");
                answers::no_room_for_key(answers::KEYS_SHARE_USED)
            }
        };
        self.respond(&response, after, cx);
    }

    /// The publication of this connection has been delivered, or has failed: its request is answered if it still waits.
    /// `request` is what its [`Waiter`] had.
    ///
    /// [`Waiter`]: crate::server::broker::answer::Waiter
    pub fn receive_outcome(
        &mut self,
        request: u64,
        outcome: Result<Receipt, NotPublished>,
        cx: &mut Context,
    ) -> Next {
        if self.awaits_outcome_of(request) {
            return self.receive_command_outcome(outcome, cx);
        }
        if let Life::WebSocket(_) = self.life {
            return self.receive_outcome_of_message(outcome, cx);
        }
        if self.awaits_outcomes() {
            return self.receive_outcome_of_batch(request, outcome, cx);
        }
        if self.awaits_outcomes_of_call() {
            return self.receive_outcome_of_call(request, outcome, cx);
        }
        let response = self.answer_of_publishing(outcome, cx);
        if let Life::Http(http) = &mut self.life
            && let Expects::Delivery { after } = http.expects
        {
            http.expects = Expects::Head;
            self.respond(&response, after, cx);
            return Next::Read;
        }
        Next::Wait
    }

    fn answer_of_publishing(&mut self, outcome: Result<Receipt, NotPublished>, cx: &mut Context) -> Response {
        match outcome {
            Ok(receipt) => {
                if !receipt.is_replay {
                    self.note_published(receipt.published, cx);
                }
                answers::published(receipt)
            }
            Err(why) => answers::not_published(why),
        }
    }

    /// Whether its request waits for the delivery of its publication, or for what the backend says of it.
    pub(super) fn awaits_answer(&self) -> bool {
        matches!(&self.life, Life::Http(http) if http.is_outcome_awaited())
    }

    /// A publication of this connection is on its way, and the connection a publisher: it is read no further while too much is.
    pub(super) fn note_awaited(&mut self) {
        self.audience = self.audience.max(1);
    }

    /// Counts a publication of this connection.
    pub(super) fn note_published(&mut self, published: Published, cx: &mut Context) {
        match cx.access.note_published(self.identity.as_deref()) {
            true => cx.counters.publishes += 1,
            false => cx.counters.note_keyless_publishes(1),
        }
        self.audience = u16::try_from(published.subscribers).unwrap_or(u16::MAX);
    }

    /// Answers a request that cannot be parsed further, and closes.
    pub(super) fn refuse_request(&mut self, error: &Error, cx: &mut Context) {
        let response = match *error {
            Error::BodyTooLarge { len_max } => self.too_long(len_max),
            _ => Response::from(error),
        };
        if self.door == Door::Public
            && let Life::Http(http) = &mut self.life
            && http.allow_origin.is_none()
        {
            // The head is incomplete, so the origin of the page is not known.
            http.allow_origin = cx.access.any_origin().map(Into::into);
        }
        self.respond(&response, After::Close, cx);
    }

    fn too_long(&self, len_max: u64) -> Response {
        match &self.life {
            Life::Http(http) => match &http.expects {
                Expects::Body { intent, .. } => intent.too_long(),
                Expects::SessionBody(_) => answers::post_too_long(len_max),
                Expects::ProgramBody(_) => answers::body_too_long(len_max),
                _ => answers::too_long(len_max),
            },
            _ => answers::too_long(len_max),
        }
    }

    /// Answers that there are too many of something of the client, or of its address.
    pub(super) fn refuse_too_many(&mut self, too_many: &TooMany, after: After, cx: &mut Context) {
        match self.client_address(cx) {
            Some(address) => cx.note(too_many.reason(), &format_args!("a client at {address}: {too_many}")),
            None => cx.note(too_many.reason(), too_many),
        }
        self.put_response(&Response::from(too_many), after, Extent::Whole, cx);
    }

    /// Answers a request that took too long, and closes.
    pub(super) fn refuse_late_request(&mut self, cx: &mut Context) {
        self.refuse_request(&Error::RequestTimeout, cx);
    }

    /// Answers 503 since memory is short, and closes.
    pub(super) fn refuse_for_memory(&mut self, cx: &mut Context) {
        self.respond(&answers::over_capacity(), After::Close, cx);
    }

    /// Tells a client why it is refused.
    pub(super) fn refuse(&mut self, request: &Request, refusal: &Refusal, cx: &mut Context) {
        cx.note_refusal(refusal, self.identity.as_deref());
        self.put_response(&Response::from(refusal), After::of(request), Extent::of(request), cx);
    }

    /// Answers a request whose body, if it announced one, is not read.
    pub(super) fn respond_to(&mut self, request: &Request, response: &Response, cx: &mut Context) {
        self.send_response(response, After::of(request), Extent::of(request), cx);
    }

    /// Answers a request.
    pub(super) fn respond(&mut self, response: &Response, after: After, cx: &mut Context) {
        self.send_response(response, after, Extent::Whole, cx);
    }

    fn send_response(&mut self, response: &Response, after: After, extent: Extent, cx: &mut Context) {
        if let Some(reason) = Reason::of_status(response.status()) {
            let code = response.status().code();
            cx.note(reason, &format_args!("a request, with {code}"));
        }
        self.put_response(response, after, extent, cx);
    }

    /// The same; why has been noted.
    pub(super) fn respond_unnoted(&mut self, response: &Response, after: After, cx: &mut Context) {
        self.put_response(response, after, Extent::Whole, cx);
    }

    /// Answers a request; a refusal has been noted.
    fn put_response(&mut self, response: &Response, after: After, extent: Extent, cx: &mut Context) {
        let keep_alive = after == After::KeepAlive && !cx.is_leaving();
        let head_only = extent == Extent::Head;
        self.with_framing(cx, |framing, out| {
            response.encode(out, Framing { keep_alive, head_only, ..framing });
        });
        if !keep_alive {
            return self.finish(cx);
        }
        self.release_request(cx);
        if let Life::Http(http) = &mut self.life {
            http.expects = if http.reader.is_idle() { Expects::NextRequest } else { Expects::Head };
            self.deadlines.restart(cx.now);
        }
    }

    /// Puts the head of an event stream into the outbox.
    pub(super) fn send_stream_head(&mut self, cx: &Context) {
        // RFC 9112 §9.6: after the last chunk nothing more is answered on this connection.
        self.with_framing(cx, |framing, out| encode_stream_head(out, framing));
    }

    /// Calls `encode` with the fields that frame an answer to the current request. Whether the connection is kept alive is
    /// for `encode` to set.
    pub(super) fn with_framing(&mut self, cx: &Context, encode: impl FnOnce(Framing<'_>, &mut Vec<u8>)) {
        let date = clock::http_date();
        let (allow_origin, allows_credentials) = match &mut self.life {
            // Taken: the next request has an origin of its own.
            Life::Http(http) => (http.allow_origin.take(), std::mem::take(&mut http.allows_credentials)),
            Life::LongPoll(_)
            | Life::WebSocket(_)
            | Life::EventStream(_)
            | Life::Carried(_)
            | Life::Carrier(_)
            | Life::Finishing
            | Life::Lingering => (None, false),
        };
        let framing = Framing {
            date: &date,
            keep_alive: false,
            head_only: false,
            allow_origin: allow_origin.as_deref(),
            allows_credentials,
            varies_by_origin: self.door == Door::Public && cx.access.varies_by_origin(),
            hsts_s: self.hsts_s(cx),
        };
        encode(framing, self.outbox.tail());
    }
}
