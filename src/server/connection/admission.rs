//! Who a connection's client is, and whether there is room for it under the limits of its address.
//!
//! What is counted is in `limits`. A connection that came directly was counted when it was accepted; what is here:
//!
//! ```text
//!   a PROXY header first        it says the client: the connection counts as a whole, from then on
//!   from a trusted proxy        X-Forwarded-For of each request says its client: a WebSocket, a stream or a poll
//!                               counts as long as it lasts, a request that is answered at once does not
//! ```

use std::fmt::Display;
use std::net::IpAddr;
use std::sync::Arc;

use super::Connection;
use super::context::Context;
use super::life::{After, Expects, Http, Life};
use crate::http::Request;
use crate::peer::proxy::{BadHeader, HeaderReader};
use crate::pusher::fallback::path::Purpose;
use crate::server::api::handlers::Answer;
use crate::server::api::many::ReadingMany;
use crate::server::api::routes::Door;
use crate::server::broker::mailbox::Opening;
use crate::server::limits::{Counts, Seat, TooMany};
use crate::server::metrics::refusals::Reason;

/// The field in which proxies say the client.
const FORWARDED_FOR: &str = "x-forwarded-for";

/// Coming.
impl Connection {
    /// It was accepted, with the seat that it was given, and begins with a PROXY header if there is to be one.
    pub fn arrive(&mut self, seat: Option<Seat>, opening: Opening) {
        self.seat = seat;
        if let Life::Http(http) = &mut self.life
            && opening == Opening::ProxyHeader
        {
            http.expects = Expects::ProxyHeader(HeaderReader::new());
        }
    }

    /// Passes over the bytes of the PROXY header that is awaited: how many there are. None if none is awaited.
    pub(super) fn pass_proxy_header(&mut self, input: &[u8], cx: &mut Context) -> Result<usize, BadHeader> {
        let Life::Http(http) = &mut self.life else { return Ok(0) };
        let Expects::ProxyHeader(reader) = &mut http.expects else { return Ok(0) };
        let Some(header) = reader.receive(input)? else { return Ok(input.len()) };
        (http.expects, http.hop) = (Expects::Head, header.client);
        if let Some(client) = header.client {
            match cx.shared.limits.enter(client, Counts::Handshake, cx.now) {
                Ok(seat) => self.seat = seat,
                Err(too_many) => self.refuse_too_many(&too_many, After::Close, cx),
            }
        }
        Ok(header.used_len)
    }

    /// Notes a connection that is cut since it does not begin with a good PROXY header.
    pub(super) fn note_bad_header(&self, why: &dyn Display, cx: &Context) {
        match self.stream.peer_address() {
            Some(peer) => cx.note(Reason::Proxy, &format_args!("a connection from {peer}: {why}")),
            None => cx.note(Reason::Proxy, &format_args!("a connection: {why}")),
        }
    }
}

/// Requests.
impl Connection {
    /// Counts a request for its client, if it begins something that lasts and is not counted with its connection. The client's
    /// address is known from then on.
    pub(super) fn admit(
        &mut self,
        request: &Request,
        answer: &Answer,
        cx: &mut Context,
    ) -> Result<(), TooMany> {
        match lasting(answer) {
            Some(lasting) => self.admit_as(request, lasting, cx),
            None => Ok(()),
        }
    }

    /// The same for a handshake for a session of the program.
    pub(super) fn admit_upgrade(&mut self, request: &Request, cx: &mut Context) -> Result<(), TooMany> {
        self.admit_as(request, Lasting::OtherProtocol, cx)
    }

    fn admit_as(&mut self, request: &Request, lasting: Lasting, cx: &mut Context) -> Result<(), TooMany> {
        if lasting != Lasting::Carrier {
            self.count_user(cx)?;
        }
        let limits = &cx.shared.limits;
        if self.door != Door::Public || !limits.has_proxies() {
            return Ok(());
        }
        let Some(hop) = self.hop() else { return Ok(()) };
        let client = limits.client_behind(hop, request.headers(FORWARDED_FOR));
        let Life::Http(http) = &mut self.life else { return Ok(()) };
        http.is_shared = limits.is_proxy(hop);
        if !http.is_shared && http.hop.is_none() {
            return Ok(());
        }
        http.client = Some(client);
        if http.is_shared {
            debug_assert!(self.seat.is_none(), "the seat of a request is given back with its answer");
            self.seat = limits.enter(client, lasting.counts(), cx.now)?;
        }
        if lasting == Lasting::OtherProtocol {
            cx.clients.insert(cx.owner, client);
        }
        Ok(())
    }

    /// Counts the connection for its user, if that is known and it is not counted yet.
    pub(super) fn count_user(&self, cx: &mut Context) -> Result<(), TooMany> {
        if let Some(who) = &self.identity
            && let Some(sub) = who.sub()
            && !cx.clients.has_user(cx.owner)
            && cx.shared.limits.enter_user(sub)?
        {
            cx.clients.insert_user(cx.owner, Arc::clone(who));
        }
        Ok(())
    }

    /// The client's address. Of a connection of a proxy it is known while something lasts that the client began; otherwise it is
    /// the proxy's. It may take a system call.
    pub fn client_address(&self, cx: &Context) -> Option<IpAddr> {
        let known = self.requests().map_or_else(|| cx.clients.get(cx.owner), |http| http.client);
        known.or_else(|| self.hop())
    }

    /// The address of the client of a request. It may take a system call.
    pub fn client_address_of(&self, request: &Request, cx: &Context) -> Option<IpAddr> {
        Some(cx.shared.limits.client_behind(self.hop()?, request.headers(FORWARDED_FOR)))
    }

    /// Whom the connection came from.
    fn hop(&self) -> Option<IpAddr> {
        self.requests().and_then(|http| http.hop).or_else(|| self.stream.peer_address())
    }

    fn requests(&self) -> Option<&Http> {
        match &self.life {
            Life::Http(http) => Some(http),
            Life::LongPoll(poll) => Some(&poll.http),
            Life::Carrier(carrier) => Some(&carrier.http),
            Life::WebSocket(_)
            | Life::EventStream(_)
            | Life::Carried(_)
            | Life::Finishing
            | Life::Lingering => None,
        }
    }
}

/// Going.
impl Connection {
    /// A request was answered, and the connection goes on: what was counted for the request alone ends.
    pub(super) fn release_request(&mut self, cx: &mut Context) {
        leave_user(cx);
        let Life::Http(http) = &mut self.life else { return };
        (http.client, http.tenure) = (None, None);
        if http.is_shared {
            self.leave_seat(cx);
        }
    }

    /// It is dropped: what is counted for it ends.
    pub fn give_back(&mut self, cx: &mut Context) {
        self.leave_seat(cx);
        leave_user(cx);
        self.forget_messages(cx);
        cx.clients.remove(cx.owner);
    }

    fn leave_seat(&mut self, cx: &Context) {
        if let Some(seat) = self.seat.take() {
            cx.shared.limits.leave(seat, cx.now);
        }
    }
}

/// The connection that is being called counts no more for its user.
fn leave_user(cx: &mut Context) {
    if let Some(who) = cx.clients.take_user(cx.owner)
        && let Some(sub) = who.sub()
    {
        cx.shared.limits.leave_user(sub);
    }
}

/// What a request begins that lasts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Lasting {
    /// A WebSocket or a stream: no request follows on its connection.
    OtherProtocol,
    /// A request that waits.
    Wait,
    /// A request that carries a session, on the loop of that.
    Carrier,
}

impl Lasting {
    /// A client that polls asks again all the time: those are no handshakes, as with polls on a connection of its own.
    fn counts(self) -> Counts {
        match self {
            Self::OtherProtocol => Counts::Handshake,
            Self::Wait | Self::Carrier => Counts::Stay,
        }
    }
}

/// What a request begins that is answered like this, if it lasts.
fn lasting(answer: &Answer) -> Option<Lasting> {
    match answer {
        Answer::Upgrade(_) | Answer::Stream(_) | Answer::ReadMany(ReadingMany::Stream(_)) => {
            Some(Lasting::OtherProtocol)
        }
        Answer::ReadMany(ReadingMany::Poll(polling)) => (polling.wait_ms > 0).then_some(Lasting::Wait),
        Answer::Poll(polling) => (polling.wait_ms > 0).then_some(Lasting::Wait),
        Answer::Session(_, Purpose::Receive(_)) => Some(Lasting::Carrier),
        Answer::Respond(_)
        | Answer::Refuse(_)
        | Answer::Ask(_)
        | Answer::Report(_)
        | Answer::ReadBody(_)
        | Answer::ReadBatch(_)
        | Answer::Revoke
        | Answer::Call(_)
        | Answer::Session(_, Purpose::Send) => None,
    }
}
