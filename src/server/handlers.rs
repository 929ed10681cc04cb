//! What is answered to a request: by route, method and authority.
//!
//! No socket is touched here: an [`Answer`] says what to do, and the loop does it.

use super::authority::Authority;
use super::draft::MediaType;
use super::render::ENVELOPE_SUBPROTOCOL;
use super::routes::Route;
use crate::config::Config;
use crate::http::{self, Request, Response, Status, Upgrade};
use crate::hub::{ChannelName, EventName, PublicationId, WireForm};
use crate::ws::{Deflate, Inbound, WINDOW_BITS_MAX};

/// The page at `/` where the demo is served.
const HOME: &str = include_str!("pages/home.html");

/// The rules that answers follow.
#[derive(Debug)]
pub struct Handlers {
    authority: Authority,
    serves_demo: bool,
    serves_echo: bool,
    message_len_max: u64,
    publication_len_max: u64,
    deflates: bool,
    deflate_context_takeover: bool,
}

/// What to do about a request.
#[derive(Debug)]
pub enum Answer {
    /// Send this.
    Respond(Response),
    /// Read the body, then publish it.
    ReadBody(Intent),
    /// Switch protocols.
    Upgrade(Acceptance),
}

/// A publication whose body is still to come.
#[derive(Debug)]
pub struct Intent {
    /// Where to.
    pub channel: ChannelName,
    /// The name of the event, if it has one.
    pub event: Option<EventName>,
    /// What the body is.
    pub media_type: MediaType,
    /// How long the body may be.
    pub len_max: u64,
}

/// A handshake that is accepted, and what the connection becomes.
#[derive(Debug)]
pub struct Acceptance {
    /// The handshake.
    pub upgrade: Upgrade,
    /// The subprotocol to answer with.
    pub subprotocol: Option<&'static str>,
    /// The compression that is agreed.
    pub deflate: Option<Deflate>,
    /// What becomes of the peer's messages.
    pub inbound: Inbound,
    /// The channel and the form in which it is read; none for the echo.
    pub subscribes: Option<(ChannelName, WireForm)>,
}

impl Handlers {
    /// The rules of a configuration.
    pub fn new(config: &Config) -> Self {
        Self {
            authority: Authority::new(config),
            serves_demo: config.serves_demo(),
            serves_echo: config.is_development() || config.echo,
            message_len_max: config.max_message,
            publication_len_max: config.publication_len_max(),
            deflates: config.deflate_level > 0,
            deflate_context_takeover: config.deflate_context_takeover,
        }
    }

    /// The answer to a request whose head is complete.
    pub fn answer(&self, request: &Request) -> Answer {
        self.try_answer(request).unwrap_or_else(Answer::Respond)
    }

    fn try_answer(&self, request: &Request) -> Result<Answer, Response> {
        let route = Route::of(request)?;
        self.authority.check_origin(request)?;
        match (route, request.method()) {
            (Route::Home, "GET" | "HEAD") => Ok(Answer::Respond(self.home())),
            (Route::Health, "GET" | "HEAD") => Ok(Answer::Respond(Response::text(Status::OK, "ok"))),
            (Route::Echo, "GET" | "HEAD") => self.echo(request),
            (Route::Channel(name), "GET" | "HEAD") => self.subscribe(request, name),
            (Route::Channel(name), "POST") => self.publish(request, name),
            (route, method) => Err(method_not_allowed(method, route.allow())),
        }
    }

    fn home(&self) -> Response {
        if self.serves_demo {
            Response::new(Status::OK).body("text/html; charset=utf-8", HOME)
        } else {
            Response::text(Status::OK, "Fanfare is running; channels are at /channels/{name}.")
        }
    }

    fn echo(&self, request: &Request) -> Result<Answer, Response> {
        if !self.serves_echo {
            return Err(Response::text(
                Status::NOT_FOUND,
                "The echo is served in development mode only, or with the server's --echo.",
            ));
        }
        let upgrade = upgrade(request)?;
        let deflate = self.deflate(request);
        let inbound = Inbound::Accept { message_len_max: self.message_len_max };
        Ok(Answer::Upgrade(Acceptance { upgrade, subprotocol: None, deflate, inbound, subscribes: None }))
    }

    fn subscribe(&self, request: &Request, name: ChannelName) -> Result<Answer, Response> {
        let upgrade = upgrade(request)?;
        let is_envelope = upgrade.offers(ENVELOPE_SUBPROTOCOL);
        let deflate = self.deflate(request);
        let form = form(is_envelope, deflate);
        let inbound = if self.authority.may_client_publish(request, name.as_str()) {
            Inbound::Accept { message_len_max: self.publication_len_max }
        } else {
            Inbound::Refuse
        };
        let subprotocol = is_envelope.then_some(ENVELOPE_SUBPROTOCOL);
        Ok(Answer::Upgrade(Acceptance {
            upgrade,
            subprotocol,
            deflate,
            inbound,
            subscribes: Some((name, form)),
        }))
    }

    fn deflate(&self, request: &Request) -> Option<Deflate> {
        if !self.deflates {
            return None;
        }
        let fields =
            request.headers("sec-websocket-extensions").filter_map(|field| std::str::from_utf8(field).ok());
        Deflate::negotiate(fields, self.deflate_context_takeover)
    }

    fn publish(&self, request: &Request, channel: ChannelName) -> Result<Answer, Response> {
        self.authority.check_key(request)?;
        let event = http::parameter(request.query(), "event").map(|name| EventName::new(&name)).transpose();
        let event = event.map_err(|error| Response::text(Status::BAD_REQUEST, &error.to_string()))?;
        let media_type = MediaType::of(request.header_str("content-type"));
        Ok(Answer::ReadBody(Intent { channel, event, media_type, len_max: self.publication_len_max }))
    }
}

/// The form that a subscriber reads. What is deflated for everybody needs the largest window; RFC 7692 §6 lets a
/// client with a smaller one be sent what is not compressed.
fn form(is_envelope: bool, deflate: Option<Deflate>) -> WireForm {
    let is_deflated = deflate.is_some_and(|deflate| deflate.server_max_window_bits == WINDOW_BITS_MAX);
    match (is_envelope, is_deflated) {
        (false, false) => WireForm::WebSocket,
        (false, true) => WireForm::WebSocketDeflate,
        (true, false) => WireForm::Envelope,
        (true, true) => WireForm::EnvelopeDeflate,
    }
}

/// The answer to a publication: `{"id":…,"subscribers":N}`.
pub fn published(id: PublicationId, subscribers: u64) -> Response {
    Response::json(Status::OK, format!("{{\"id\":\"{id}\",\"subscribers\":{subscribers}}}\n"))
}

/// The answer to a body that is too long to be published.
pub fn too_long(len_max: u64) -> Response {
    let sentence = format!(
        "A publication has at most {len_max} bytes: the smaller of the server's --max-message and --max-lag."
    );
    Response::text(Status::CONTENT_TOO_LARGE, &sentence)
}

/// The answer to a client for which there is no room. Also sent before anything has been read.
pub fn over_capacity() -> Response {
    let sentence = "No more connections can be taken now; try again in some seconds.";
    Response::text(Status::SERVICE_UNAVAILABLE, sentence).header("Retry-After", "5")
}

fn upgrade(request: &Request) -> Result<Upgrade, Response> {
    Upgrade::from_request(request).map_err(|error| Response::from(&error))
}

fn method_not_allowed(method: &str, allow: &'static str) -> Response {
    let sentence = format!("{method} is not served here; {allow} are.");
    Response::text(Status::METHOD_NOT_ALLOWED, &sentence).header("Allow", allow)
}
