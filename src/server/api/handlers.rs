//! What is answered to a request: by route, method and access.
//!
//! No socket is touched here: the event loop does what the [`Answer`] says.

use std::sync::Arc;

use crate::config::Config;
use crate::http::{self, Request, Response, Status, Upgrade};
use crate::hub::{ChannelName, EventName, Position, WireForm};
use crate::pusher::fallback::path::{Purpose, SessionName};
use crate::server::access::{Identity, Refusal};
use crate::server::api::acceptance::{
    Acceptance, Becoming, Joining, MayPublish, Multiplexing, Polling, form, inbound, is_deflated,
};
use crate::server::api::admin::{self, Report};
use crate::server::api::answers;
use crate::server::api::assets;
use crate::server::api::attendance;
use crate::server::api::basis::{Asking, Basis, Denied};
use crate::server::api::batch::Batch;
use crate::server::api::many::{self, ReadingMany};
use crate::server::api::pages::{check_page, options};
use crate::server::api::params;
use crate::server::api::payload::MediaType;
use crate::server::api::pusher::Connecting;
use crate::server::api::rest::{self, Requested};
use crate::server::api::revoking;
use crate::server::api::roads::{self, Wish};
use crate::server::api::routes::{Door, Route};
use crate::server::api::watching;
use crate::server::apps::Apps;
use crate::server::broker::idempotency::IdempotencyKey;
use crate::server::encoder::{ENVELOPE_SUBPROTOCOL, RAW_SUBPROTOCOL};
use crate::server::metrics::dashboard;
use crate::ws::{Deflate, Inbound};

/// The key of the app whose channels have plain names, for the demo page; every client of the app has it.
const APP_KEY: &str = "Fanfare-App-Key";

/// The rules that answers follow.
#[derive(Debug)]
pub struct Handlers {
    serves_demo: bool,
    pub(super) message_len_max: u64,
    publication_len_max: u64,
    deflates: bool,
    deflate_context_takeover: bool,
}

/// What to do about a request, and who made it.
#[derive(Debug)]
pub struct Answered {
    /// What to do.
    pub answer: Answer,
    /// Who made it, if it carries a proof and is one that may.
    pub who: Option<Arc<Identity>>,
}

/// What to do about a request.
#[derive(Debug)]
pub enum Answer {
    /// Send this.
    Respond(Response),
    /// Say why the client is refused.
    Refuse(Box<Refusal>),
    /// Ask the backend, then decide anew.
    Ask(Asking),
    /// Send a report on the server itself.
    Report(Report),
    /// Read the body, then publish it.
    ReadBody(Publication),
    /// Read the body, then publish what it has.
    ReadBatch(Box<Batch>),
    /// Read the body, then revoke what it names.
    Revoke,
    /// Read the body, if there is one, then do what is called for.
    Call(Box<Requested>),
    /// Switch protocols.
    Upgrade(Acceptance),
    /// Begin an event stream.
    Stream(Joining),
    /// Answer with what is kept, or wait for the next publication.
    Poll(Polling),
    /// Do either for several channels.
    ReadMany(ReadingMany),
    /// Bring the request to its session.
    Session(SessionName, Purpose),
}

/// What a body is read for.
#[derive(Debug)]
pub enum Intent {
    /// It is published.
    Publish(Publication),
    /// It has several publications.
    Batch(Box<Batch>),
    /// It says what is called for.
    Call(Box<Requested>),
    /// It says which tokens are revoked.
    Revoke,
}

impl Intent {
    /// How long the body may be.
    pub fn len_max(&self) -> u64 {
        match self {
            Self::Publish(publication) => publication.len_max,
            Self::Batch(batch) => batch.len_max(),
            Self::Call(requested) => requested.body_len_max(),
            Self::Revoke => revoking::BODY_LEN_MAX,
        }
    }

    /// The answer to a body that is longer.
    pub fn too_long(&self) -> Response {
        match self {
            Self::Publish(publication) => answers::too_long(publication.len_max),
            Self::Batch(batch) => batch.too_long(),
            Self::Call(requested) => requested.body_too_long(),
            Self::Revoke => revoking::too_long(),
        }
    }
}

/// A publication whose body is still to come.
#[derive(Debug)]
pub struct Publication {
    /// The channel.
    pub channel: ChannelName,
    /// The name of the event, if it has one.
    pub event: Option<EventName>,
    /// What the body is.
    pub media_type: MediaType,
    /// How long the body may be.
    pub len_max: u64,
    /// The key under which the publisher may repeat it.
    pub key: Option<IdempotencyKey>,
}

impl Handlers {
    /// The rules of a configuration.
    pub fn new(config: &Config) -> Self {
        Self {
            serves_demo: config.serves_demo(),
            message_len_max: config.max_message,
            publication_len_max: config.publication_len_max(),
            deflates: config.deflate_level > 0,
            deflate_context_takeover: config.deflate_context_takeover,
        }
    }

    /// What to do about a request whose head is complete.
    pub fn answer(&self, door: Door, request: &Request, basis: Basis<'_>) -> Answered {
        let mut who = None;
        let answer = self.try_answer(door, request, basis, &mut who).unwrap_or_else(|denied| match denied {
            Denied::Response(response) => Answer::Respond(response),
            Denied::Refusal(refusal) => Answer::Refuse(refusal),
            Denied::Ask(asking) => Answer::Ask(asking),
        });
        Answered { answer, who }
    }

    /// `who` is set where the request asks for a channel.
    fn try_answer(
        &self,
        door: Door,
        request: &Request,
        basis: Basis<'_>,
        who: &mut Option<Arc<Identity>>,
    ) -> Result<Answer, Denied> {
        let Basis { access, apps, .. } = basis;
        let route = Route::of(door, request)?;
        if door == Door::Public {
            check_page(&route, request, basis)?;
        }
        match (route, request.method()) {
            (Route::Home, "GET" | "HEAD") => Ok(Answer::Respond(self.home(request, apps))),
            (Route::Health, "GET" | "HEAD") => Ok(Answer::Respond(admin::health())),
            (Route::Ready, "GET" | "HEAD") => Ok(Answer::Report(Report::Readiness)),
            (route @ (Route::Metrics | Route::Dashboard | Route::Figures), "GET" | "HEAD") => {
                *who = check_reader(door, request, basis)?;
                Ok(self.show_state(route, request)?)
            }
            (Route::Script, "GET" | "HEAD") => Ok(Answer::Respond(assets::SCRIPT.response(request))),
            (Route::Module, "GET" | "HEAD") => Ok(Answer::Respond(assets::MODULE.response(request))),
            (Route::Types, "GET" | "HEAD") => Ok(Answer::Respond(assets::TYPES.response(request))),
            (Route::Echo, "GET" | "HEAD") => Ok(Answer::Respond(answers::no_echo())),
            (Route::Pusher(key), "GET" | "HEAD") => {
                Ok(self.connect_pusher(request, Connecting::new(request, &key, access, apps))?)
            }
            (Route::PusherElsewhere, "GET" | "HEAD") => {
                Ok(self.connect_pusher(request, Connecting::elsewhere())?)
            }
            (Route::Rest(head), "GET" | "POST") => {
                let head = head.map_err(|refused| rest::refusal(&refused))?;
                Ok(Answer::Call(Box::new(Requested::new(head, apps)?)))
            }
            (Route::Session(name, purpose), "POST") => Ok(Answer::Session(name, purpose)),
            (route, "OPTIONS") if door == Door::Public => {
                Ok(Answer::Respond(options(request, route.allow(door), access)))
            }
            (route, _) => self.answer_about_channels(door, route, request, basis, who),
        }
    }

    /// As [`Handlers::try_answer`], for what is asked of channels and of those who read them.
    fn answer_about_channels(
        &self,
        door: Door,
        route: Route,
        request: &Request,
        basis: Basis<'_>,
        who: &mut Option<Arc<Identity>>,
    ) -> Result<Answer, Denied> {
        let Basis { access, .. } = basis;
        match (route, request.method()) {
            (Route::Channel(name), "GET" | "HEAD") => {
                let read = identify(request, who, basis)
                    .and_then(|()| self.read_channel(request, name, who.as_deref(), basis));
                read.or_else(|denied| refuse_readably(request, denied))
            }
            (Route::Channels, "GET") if http::is_upgrade(request) => {
                let begun = identify(request, who, basis).and_then(|()| self.multiplex(request, basis));
                begun.or_else(|denied| refuse_readably(request, denied))
            }
            (Route::Channels, "GET" | "HEAD") if many::names_channels(request) => {
                *who = access.operator(request, basis.now_s).filter(|_| watching::names_own(request));
                if who.is_none() {
                    identify(request, who, basis)?;
                }
                Ok(Answer::ReadMany(many::subscribe(request, who.as_deref(), basis)?))
            }
            (route @ (Route::Channels | Route::State(_) | Route::Presence(_)), "GET" | "HEAD") => {
                identify(request, who, basis)?;
                Ok(Answer::Report(attendance::ask_about_channels(route, request, who.as_deref(), basis)?))
            }
            (Route::Channels, "POST") => {
                identify(request, who, basis)?;
                access.check_fully_served(request)?;
                let (app, key) = (roads::app_of(request, basis.apps)?, idempotency_key(request)?);
                Ok(Answer::ReadBatch(Box::new(Batch::announced(request, app, key, self.message_len_max))))
            }
            (Route::Channel(name), "POST") => {
                identify(request, who, basis)?;
                self.post_to_channel(request, name, who.as_deref(), basis)
            }
            (Route::Revoke, "POST") => {
                identify(request, who, basis)?;
                access.check_admin(who.as_deref())?;
                Ok(Answer::Revoke)
            }
            (route, method) => Err(method_not_allowed(method, route.allow(door)).into()),
        }
    }

    /// Shows the state of the server to who may read it.
    fn show_state(&self, route: Route, request: &Request) -> Result<Answer, Response> {
        Ok(match route {
            Route::Dashboard => Answer::Respond(assets::DASHBOARD.response(request)),
            Route::Figures => self.subscribe(request, dashboard::channel(), MayPublish::Never, false)?,
            _ => Answer::Report(Report::Metrics),
        })
    }

    fn read_channel(
        &self,
        request: &Request,
        name: ChannelName,
        who: Option<&Identity>,
        basis: Basis<'_>,
    ) -> Result<Answer, Denied> {
        let channel = roads::channel_of(request, name, Wish::Subscribe, who, basis)?;
        basis.check(basis.access.may_subscribe(who, &channel), &channel)?;
        let may_publish = match basis.access.check_fully_served(request) {
            Err(_) => MayPublish::Never,
            Ok(()) => MayPublish::of(&basis.access.may_publish(who, &channel)),
        };
        Ok(self.subscribe(request, channel, may_publish, basis.access.takes_tokens())?)
    }

    fn post_to_channel(
        &self,
        request: &Request,
        name: ChannelName,
        who: Option<&Identity>,
        basis: Basis<'_>,
    ) -> Result<Answer, Denied> {
        let channel = roads::channel_of(request, name, Wish::Publish, who, basis)?;
        basis.access.check_fully_served(request)?;
        basis.check(basis.access.may_publish(who, &channel), &channel)?;
        Ok(self.publish(request, channel)?)
    }

    fn home(&self, request: &Request, apps: &Apps) -> Response {
        if !self.serves_demo {
            return Response::text(Status::OK, "Fanfare is running; channels are at /channels/{name}.");
        }
        let response = assets::HOME.response(request);
        match apps.default_app().map(|app| app.settings()).filter(|settings| settings.is_enabled) {
            Some(settings) => response.header(APP_KEY, settings.key.clone()),
            None => response,
        }
    }

    fn connect_pusher(&self, request: &Request, connecting: Connecting) -> Result<Answer, Response> {
        let upgrade = upgrade(request)?;
        let deflate = self.deflate(request);
        let form = match is_deflated(deflate) {
            true => WireForm::PusherDeflate,
            false => WireForm::Pusher,
        };
        let connecting = Box::new(connecting);
        let message_len_max = connecting.message_len_max().min(self.message_len_max);
        let inbound = Inbound::Accept { message_len_max };
        let becomes = Becoming::Pusher { connecting, form };
        Ok(Answer::Upgrade(Acceptance { upgrade, subprotocol: None, deflate, inbound, becomes }))
    }

    /// Subscribes by the transport that the request asks for: an upgrade, an event stream, or else a long poll.
    /// `may_publish` and `takes_tokens` are about the messages of a WebSocket.
    fn subscribe(
        &self,
        request: &Request,
        channel: ChannelName,
        may_publish: MayPublish,
        takes_tokens: bool,
    ) -> Result<Answer, Response> {
        if http::is_upgrade(request) {
            return self.subscribe_websocket(request, channel, may_publish, takes_tokens);
        }
        if request.method() == "GET" && params::accepts_event_stream(request) {
            return subscribe_stream(request, channel);
        }
        let position = params::position(request)?.unwrap_or(Position::Now);
        let wait_ms = if request.method() == "HEAD" { 0 } else { params::wait_ms(request)? };
        Ok(Answer::Poll(Polling { channel, position, wait_ms }))
    }

    fn subscribe_websocket(
        &self,
        request: &Request,
        channel: ChannelName,
        may_publish: MayPublish,
        takes_tokens: bool,
    ) -> Result<Answer, Response> {
        let upgrade = upgrade(request)?;
        let is_envelope = upgrade.offers(ENVELOPE_SUBPROTOCOL);
        let deflate = self.deflate(request);
        let form = form(is_envelope, deflate);
        let position = params::position(request)?;
        // A client that names a position is told where it begins.
        let announces = position.is_some();
        if !is_envelope && matches!(position, Some(Position::Now | Position::After(_))) {
            return Err(Response::text(
                Status::BAD_REQUEST,
                "since needs Sec-WebSocket-Protocol: fanfare.v1.json; frames without it carry no ids.",
            ));
        }
        let position = position.unwrap_or(Position::Now);
        let offered = [ENVELOPE_SUBPROTOCOL, RAW_SUBPROTOCOL].into_iter();
        let joining = Joining { channel, form, position, announces };
        Ok(Answer::Upgrade(Acceptance {
            subprotocol: offered.into_iter().find(|name| upgrade.offers(name)),
            upgrade,
            deflate,
            inbound: inbound(may_publish, is_envelope && takes_tokens, self.publication_len_max),
            becomes: Becoming::Subscriber { joining, may_publish },
        }))
    }

    fn multiplex(&self, request: &Request, basis: Basis<'_>) -> Result<Answer, Denied> {
        let upgrade = upgrade(request)?;
        if !upgrade.offers(ENVELOPE_SUBPROTOCOL) {
            return Err(Response::text(
                Status::BAD_REQUEST,
                "/channels speaks fanfare.v1.json: new WebSocket(url, \"fanfare.v1.json\"), or \
                 Sec-WebSocket-Protocol: fanfare.v1.json. One channel as it is published is at /channels/{name}.",
            )
            .into());
        }
        let deflate = self.deflate(request);
        let form = match is_deflated(deflate) {
            true => WireForm::NamedEnvelopeDeflate,
            false => WireForm::NamedEnvelope,
        };
        let app = roads::app_of(request, basis.apps)?;
        let is_page_served = basis.access.check_fully_served(request).is_ok();
        let operator = basis.access.operator(request, basis.now_s);
        Ok(Answer::Upgrade(Acceptance {
            upgrade,
            subprotocol: Some(ENVELOPE_SUBPROTOCOL),
            deflate,
            inbound: Inbound::Accept { message_len_max: self.message_len_max },
            becomes: Becoming::Multiplex(Multiplexing { form, app, is_page_served, operator }),
        }))
    }

    /// The compression that a client of a WebSocket offers and is agreed to.
    pub fn deflate(&self, request: &Request) -> Option<Deflate> {
        if !self.deflates {
            return None;
        }
        let fields =
            request.headers("sec-websocket-extensions").filter_map(|field| std::str::from_utf8(field).ok());
        Deflate::negotiate(fields, self.deflate_context_takeover)
    }

    fn publish(&self, request: &Request, channel: ChannelName) -> Result<Answer, Response> {
        let event = http::parameter(request.query(), "event").map(|name| EventName::new(&name)).transpose();
        let event = event.map_err(|error| Response::error(Status::BAD_REQUEST, &error))?;
        let key = idempotency_key(request)?;
        let media_type = MediaType::of(request.header_str("content-type"));
        let len_max = self.publication_len_max;
        Ok(Answer::ReadBody(Publication { channel, event, media_type, len_max, key }))
    }
}

/// The key that the request gives its publication, or its batch.
fn idempotency_key(request: &Request) -> Result<Option<IdempotencyKey>, Response> {
    let Some(value) = request.header("idempotency-key") else { return Ok(None) };
    let key = IdempotencyKey::new(value).ok_or_else(|| {
        let sentence = "Idempotency-Key is 1 to 255 visible ASCII characters, such as a UUID.";
        Response::text(Status::BAD_REQUEST, sentence)
    });
    key.map(Some)
}

/// Checks that the request may read the server's state. Who made it, where a key is needed for that.
fn check_reader(door: Door, request: &Request, basis: Basis<'_>) -> Result<Option<Arc<Identity>>, Refusal> {
    match door {
        Door::Public => basis.access.check_reader(request, basis.now_s),
        Door::Metrics => Ok(None),
    }
}

fn identify(request: &Request, who: &mut Option<Arc<Identity>>, basis: Basis<'_>) -> Result<(), Denied> {
    *who = basis.guard.identify(basis.access, request, basis.now_s)?;
    Ok(())
}

/// A refusal in a form that the page can read which made the request: browsers hide the answer to a handshake, so a client
/// of envelopes is told after it.
fn refuse_readably(request: &Request, denied: Denied) -> Result<Answer, Denied> {
    let Denied::Refusal(refusal) = denied else { return Err(denied) };
    match Upgrade::from_request(request) {
        Ok(upgrade) if upgrade.offers(ENVELOPE_SUBPROTOCOL) => Ok(Answer::Upgrade(Acceptance {
            upgrade,
            subprotocol: Some(ENVELOPE_SUBPROTOCOL),
            deflate: None,
            inbound: Inbound::Refuse,
            becomes: Becoming::Refused(refusal),
        })),
        Ok(_) | Err(_) => Err(Denied::Refusal(refusal)),
    }
}

fn subscribe_stream(request: &Request, channel: ChannelName) -> Result<Answer, Response> {
    let form = match params::wants_envelopes(request)? {
        true => WireForm::EventStreamEnvelope,
        false => WireForm::EventStream,
    };
    params::check_streams(request)?;
    let position = params::stream_position(request)?;
    Ok(Answer::Stream(Joining { channel, form, position, announces: true }))
}

fn upgrade(request: &Request) -> Result<Upgrade, Response> {
    Upgrade::from_request(request).map_err(|error| Response::from(&error))
}

/// The answer to a method that is not served at a path that others are served at.
fn method_not_allowed(method: &str, allow: &'static str) -> Response {
    let sentence = format!("{method} is not served here; {allow} are.");
    Response::text(Status::METHOD_NOT_ALLOWED, &sentence).header("Allow", allow)
}
