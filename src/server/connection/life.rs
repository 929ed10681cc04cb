//! The life of a connection as one enum, and what the connection owns in each state.
//!
//! What happens in a state is in the file of its role; transitions are in `mod.rs` and nowhere else.

use std::net::IpAddr;

use super::aside::{Aside, Rest};
use super::awaiting::{LateStream, Parked, Wish};
use super::carried::Carried;
use super::client::Client;
use super::grants::{ParkedBatch, Tenure};
use super::places::Places;
use super::timeouts::Stage;
use crate::http::{Limits, Request, RequestReader};
use crate::hub::ChannelName;
use crate::peer::proxy::HeaderReader;
use crate::pusher::fallback::path::{Purpose, SessionName, Transport};
use crate::server::api::acceptance::MayPublish;
use crate::server::api::batch::Results;
use crate::server::api::events::Events;
use crate::server::api::handlers::Intent;
use crate::server::api::pusher::Connecting;
use crate::server::handlers::actors::ActorId;
use crate::server::handlers::pattern::Params;
use crate::ws::{Deflate, Protocol, State};

/// The life of a connection, from top to bottom. From a long poll it returns to HTTP, and from a poll that carried a
/// session; from a WebSocket or a stream it does not. A session begins as one.
#[derive(Debug)]
pub enum Life {
    /// Requests and their answers.
    Http(Box<Http>),
    /// A request that is answered when something is published, or when its wait ends.
    LongPoll(Box<LongPoll>),
    /// Frames, until Close frames were exchanged or the peer broke the protocol.
    WebSocket(WebSocket),
    /// Chunks of a response without an end. Bytes from the peer are ignored.
    EventStream(EventStream),
    /// A session over HTTP requests, which has no socket of its own.
    Carried(Box<Carried>),
    /// A request that carries a session.
    Carrier(Box<Carrier>),
    /// The outbox is sent, then our half of TCP is closed.
    Finishing,
    /// Our half is closed. Bytes from the peer are ignored until it closes its own.
    Lingering,
}

/// An HTTP connection.
#[derive(Debug)]
pub struct Http {
    pub reader: RequestReader,
    pub expects: Expects,
    /// The origin whose pages may read the answer to the current request.
    pub allow_origin: Option<Box<str>>,
    /// Whether that page may read it if it sent its cookies.
    pub allows_credentials: bool,
    /// Whom the connection came from according to its PROXY header. `None`: from the peer of its socket.
    pub hop: Option<IpAddr>,
    /// The client of the current request according to proxies, while the request lasts.
    pub client: Option<IpAddr>,
    /// Whether it came from a trusted proxy, so that its requests may be those of several clients, and count one by one.
    pub is_shared: bool,
    /// What its current request may by the word of its backend, if that was asked.
    pub tenure: Option<Box<Tenure>>,
}

/// What an HTTP connection expects of its peer.
#[derive(Debug)]
pub enum Expects {
    /// The PROXY header, ahead of all requests.
    ProxyHeader(HeaderReader),
    /// A request's head, or the rest of it.
    Head,
    /// Nothing: the connection is between two requests.
    NextRequest,
    /// A body, and what it is read for.
    Body { intent: Intent, after: After },
    /// Nothing: its publication is being delivered, and the mailbox brings the outcome.
    Delivery { after: After },
    /// Nothing: publications of its batch are being delivered, and the mailbox brings the outcomes, by numbers from `first`.
    Deliveries { results: Box<Results>, first: u64, after: After },
    /// Nothing: the events of its call of the HTTP API of Pusher are being delivered, and the mailbox brings the outcomes, all by one
    /// number.
    Events { events: Box<Events>, request: u64, after: After },
    /// Nothing: the backend is asked about the request, or its channels cannot be joined yet, and the mailbox brings the answer.
    GoAhead(Box<Parked>),
    /// Nothing: the backend is asked about a batch, and the mailbox brings the answer; or it is to be published, as soon as no
    /// mailbox is congested.
    BatchJudgement { parked: Box<ParkedBatch>, after: After },
    /// The body of a request of a session.
    SessionBody(Box<SessionRequest>),
    /// Nothing: the loop is to bring the request to its session.
    Session(Box<SessionRequest>),
    /// The body of a request for a route of the program.
    ProgramBody(Box<ProgramBody>),
}

/// What follows an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum After {
    /// Possibly another request.
    KeepAlive,
    /// The end of the connection.
    Close,
}

impl Http {
    /// A connection that expects its first request.
    pub fn new() -> Self {
        Self {
            reader: RequestReader::new(Limits::default()),
            expects: Expects::Head,
            tenure: None,
            allow_origin: None,
            allows_credentials: false,
            hop: None,
            client: None,
            is_shared: false,
        }
    }

    /// What the peer is expected to do.
    pub fn stage(&self) -> Stage {
        match self.expects {
            // One time for both: the head of the first request follows the header.
            Expects::ProxyHeader(_) | Expects::Head => Stage::Head,
            Expects::NextRequest => Stage::KeptAlive,
            Expects::Body { .. }
            | Expects::Delivery { .. }
            | Expects::Deliveries { .. }
            | Expects::Events { .. }
            | Expects::GoAhead(_)
            | Expects::BatchJudgement { .. }
            | Expects::SessionBody(_)
            | Expects::ProgramBody(_)
            | Expects::Session(_) => Stage::Body,
        }
    }

    /// Whether a request has begun and is not answered yet.
    pub fn is_under_way(&self) -> bool {
        !self.reader.is_idle()
            || self.is_body_awaited()
            || self.is_outcome_awaited()
            || self.is_session_awaited()
    }

    /// Whether the body of a publication is awaited, or that of what a session's client sends; or a batch is to be published.
    pub fn is_body_awaited(&self) -> bool {
        match &self.expects {
            Expects::Body { .. } | Expects::SessionBody(_) | Expects::ProgramBody(_) => true,
            Expects::BatchJudgement { parked, .. } => parked.question.is_none(),
            Expects::ProxyHeader(_)
            | Expects::Head
            | Expects::NextRequest
            | Expects::Delivery { .. }
            | Expects::Deliveries { .. }
            | Expects::Events { .. }
            | Expects::GoAhead(_)
            | Expects::Session(_) => false,
        }
    }

    /// Whether its request is to be brought to a session.
    pub fn is_session_awaited(&self) -> bool {
        matches!(self.expects, Expects::Session(_))
    }

    /// Whether the PROXY header is awaited.
    pub fn is_proxy_header_awaited(&self) -> bool {
        matches!(self.expects, Expects::ProxyHeader(_))
    }

    /// Whether the delivery of a publication is awaited, or the backend or channels for a request.
    pub fn is_outcome_awaited(&self) -> bool {
        match &self.expects {
            Expects::Delivery { .. }
            | Expects::Deliveries { .. }
            | Expects::Events { .. }
            | Expects::GoAhead(_) => true,
            Expects::BatchJudgement { parked, .. } => parked.question.is_some(),
            Expects::ProxyHeader(_)
            | Expects::Head
            | Expects::NextRequest
            | Expects::Body { .. }
            | Expects::SessionBody(_)
            | Expects::ProgramBody(_)
            | Expects::Session(_) => false,
        }
    }

    /// The bytes of memory that the request under way takes.
    pub fn held_len(&self) -> usize {
        let body_len = match &self.expects {
            Expects::Session(request) => request.body.capacity(),
            Expects::GoAhead(parked) => parked.held_len(),
            Expects::BatchJudgement { parked, .. } => parked.held_len(),
            Expects::Deliveries { results, .. } => results.held_len(),
            Expects::Events { events, .. } => events.held_len(),
            Expects::ProxyHeader(reader) => reader.held_len(),
            Expects::ProgramBody(post) => post.request.held_len(),
            Expects::Head
            | Expects::NextRequest
            | Expects::Body { .. }
            | Expects::Delivery { .. }
            | Expects::SessionBody(_) => 0,
        };
        let tenure_len = self.tenure.as_ref().map_or(0, |tenure| tenure.held_len());
        self.reader.held_len() + body_len + tenure_len
    }

    /// The number of received bytes that are not parsed yet: those of the next request, while this one waits.
    pub fn buffered(&self) -> usize {
        self.reader.buffered()
    }

    /// Keeps received bytes. They are parsed when the reader is polled.
    pub fn receive(&mut self, input: &[u8]) {
        self.reader.receive(input);
    }

    /// The bytes after an upgrade request, which are frames of the other protocol.
    pub fn take_rest(&mut self) -> Vec<u8> {
        self.reader.take_rest()
    }
}

impl After {
    /// What follows the answer if the body of the request, if it announced one, is not read.
    pub fn of(request: &Request) -> Self {
        if request.keep_alive() && !request.has_body() { Self::KeepAlive } else { Self::Close }
    }
}

/// A long poll that waits.
#[derive(Debug)]
pub struct LongPoll {
    /// The HTTP connection, which continues with the next request.
    pub http: Box<Http>,
    /// What follows the answer.
    pub after: After,
    /// How long it waits.
    pub wait_ms: u32,
    /// The channels of which its client wants to be told who is there, and is not.
    pub untold: Vec<ChannelName>,
}

impl LongPoll {
    /// What the peer is expected to do: nothing until the answer.
    pub fn stage(&self) -> Stage {
        Stage::Waiting(self.wait_ms)
    }

    /// The bytes of memory that requests under way take.
    pub fn held_len(&self) -> usize {
        self.http.held_len() + self.untold.capacity() * size_of::<ChannelName>()
    }

    /// Whether bytes of another request have arrived.
    pub fn asks_ahead(&self) -> bool {
        self.http.buffered() > 0
    }

    /// Keeps bytes of the next request.
    pub fn receive(&mut self, input: &[u8]) {
        self.http.receive(input);
    }

    /// The HTTP connection, and what follows the answer.
    pub fn into_parts(self) -> (Box<Http>, After) {
        (self.http, self.after)
    }
}

/// A WebSocket connection.
#[derive(Debug)]
pub struct WebSocket {
    pub protocol: Protocol,
    /// What most connections never have. In one box, so that those have one word for it.
    pub aside: Option<Box<Aside>>,
    /// The compression that was agreed.
    pub deflate: Option<Deflate>,
    pub awaits: Awaits,
    /// Whether it gets a Close frame once its unsent bytes are sent: the server stops.
    pub is_leaving: bool,
    /// What becomes of its messages.
    pub messages: Messages,
    /// What its protocol keeps of the client.
    pub client: Option<Box<Client>>,
}

/// What becomes of the messages of a WebSocket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Messages {
    /// They are handed to a session of the program. `None`: it has ended.
    Program(Option<ActorId>),
    /// They are published to the channel that it reads, where it may publish: as they are.
    Published(MayPublish),
    /// The same; they are envelopes.
    Enveloped(MayPublish),
    /// They are commands of the Pusher protocol.
    Pusher,
    /// They are commands about many channels.
    Commands,
}

/// What is awaited from the peer of an open WebSocket or event stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Awaits {
    /// Nothing: the peer has given a sign of life.
    Nothing,
    /// A sign of life: a WebSocket was sent a ping, or a stream has taken none of the bytes that wait for it.
    SignOfLife,
}

impl WebSocket {
    /// What the peer is expected to do.
    pub fn stage(&self) -> Stage {
        match (self.protocol.state(), self.awaits) {
            (State::Open, Awaits::Nothing) => Stage::Open,
            (State::Open, Awaits::SignOfLife) => Stage::Pinged,
            (State::Closing | State::Closed, _) => Stage::Closing,
        }
    }

    /// The bytes of memory that the message under way and the unprocessed input take.
    pub fn held_len(&self) -> usize {
        let client = self.client.as_ref().map_or(0, |client| client.held_len());
        self.protocol.held_len() + self.aside.as_ref().map_or(0, |aside| aside.held_len()) + client
    }

    /// Whether its messages are envelopes, in both directions.
    pub fn is_envelope(&self) -> bool {
        match self.messages {
            Messages::Enveloped(_) | Messages::Commands => true,
            Messages::Published(_) | Messages::Program(_) | Messages::Pusher => false,
        }
    }

    /// Whether no Close frame was sent or received.
    pub fn is_open(&self) -> bool {
        self.protocol.state() == State::Open
    }

    /// Whether input was read but not processed.
    pub fn has_rest(&self) -> bool {
        self.aside.as_ref().is_some_and(|aside| aside.rest.is_some())
    }

    /// Takes the input that was read but not processed.
    pub fn take_rest(&mut self) -> Option<Rest> {
        let rest = self.aside.as_mut()?.rest.take();
        self.forget_empty_aside();
        rest
    }

    /// Takes what its client wants to be done, if it waits for that.
    pub fn take_wish(&mut self, is_it: impl FnOnce(&Wish) -> bool) -> Option<Box<Wish>> {
        let wish = self.aside.as_mut()?.wish.take_if(|wish| is_it(wish));
        self.forget_empty_aside();
        wish
    }

    /// Drops what it has beside it, if that is nothing.
    pub fn forget_empty_aside(&mut self) {
        self.aside = self.aside.take().filter(|aside| !aside.is_empty());
    }

    /// Keeps input that is not processed yet.
    pub fn keep_rest(&mut self, rest: Rest) {
        self.aside.get_or_insert_default().rest = Some(rest);
    }

    /// It may something by the word of its backend.
    pub fn set_tenure(&mut self, tenure: Option<Box<Tenure>>) {
        if tenure.is_some() {
            self.aside.get_or_insert_default().tenure = tenure;
        }
    }

    /// The peer gave a sign of life.
    pub fn heard(&mut self) {
        self.awaits = Awaits::Nothing;
    }
}

/// An event stream.
#[derive(Debug)]
pub struct EventStream {
    pub awaits: Awaits,
    /// Whether it ends once its unsent bytes are sent: the server stops.
    pub is_leaving: bool,
    /// Whether its data are envelopes.
    pub is_envelope: bool,
    /// What it was told of its positions, if it reads several channels.
    pub places: Option<Box<Places>>,
    /// What it reads by the word of its backend, if that was asked.
    pub tenure: Option<Box<Tenure>>,
    /// What it is to read, and cannot yet.
    pub late: Option<Box<LateStream>>,
}

impl EventStream {
    /// The bytes of memory that it takes beside itself.
    pub fn held_len(&self) -> usize {
        let places_len = self.places.as_ref().map_or(0, |places| size_of_val(&**places));
        let late_len = self.late.as_ref().map_or(0, |late| late.held_len());
        places_len + late_len + self.tenure.as_ref().map_or(0, |tenure| tenure.held_len())
    }

    /// What the peer is expected to do.
    pub fn stage(&self) -> Stage {
        match self.awaits {
            Awaits::Nothing => Stage::Open,
            Awaits::SignOfLife => Stage::Pinged,
        }
    }
}

/// A request of a session.
#[derive(Debug)]
pub struct SessionRequest {
    /// Which session.
    pub name: SessionName,
    /// What the request is for.
    pub purpose: Purpose,
    /// What becomes of the client, if there was no such session when the request came.
    pub connecting: Option<Box<Connecting>>,
    /// Its body: what the client posts.
    pub body: Vec<u8>,
    /// What follows the answer.
    pub after: After,
}

/// A request for a route of the program, whose body is still to come.
#[derive(Debug)]
pub struct ProgramBody {
    /// The number of the route.
    pub route: u16,
    /// What the names of its pattern stand for.
    pub params: Params,
    /// The head.
    pub request: Request,
    /// What follows the answer.
    pub after: After,
}

/// A request that carries a session.
#[derive(Debug)]
pub struct Carrier {
    /// The HTTP connection, which continues with the next request after the answer to a poll.
    pub http: Box<Http>,
    /// What follows the answer to a poll.
    pub after: After,
    /// The session, as the number of its key.
    pub session: u64,
    /// How it carries the session.
    pub transport: Transport,
    /// Whether it has lines of the session that its socket has not taken.
    pub is_fed: bool,
}

impl Carrier {
    /// Whether bytes of another request have arrived.
    pub fn asks_ahead(&self) -> bool {
        self.transport == Transport::Polling && self.http.buffered() > 0
    }

    /// The bytes of memory that requests under way take.
    pub fn held_len(&self) -> usize {
        self.http.held_len()
    }
}
