//! Handlers in a program: sessions that handle WebSocket connections, and answers to HTTP requests, on the server's event loops.
//!
//! Channels are the server's: what a session publishes reaches the subscribers of every transport, and the other way round. The
//! [front page](crate) has a first program, and a table of what is for what.
//!
//! # What holds for all handlers
//!
//! - They are called on an event loop, a thread that serves many connections: they must not block. One that takes more than 50 ms is
//!   logged, at most once in ten seconds; `/metrics` has `fanfare_handler_seconds` by route, and `fanfare_handler_panics_total`.
//! - On one connection, nothing happens at the same time: `open`, then messages in their order, with `timer`, `event` and `drain`
//!   between them, then `closed`. Between connections there is no order: loops are threads, and what sessions share is the
//!   program's `Arc<Mutex<…>>`.
//! - Origin, host name, keys, tokens and the limits of addresses are checked before a factory or a handler is called. The pace of
//!   `client_messages` does not apply to sessions: what a message costs is up to them.
//! - A message that is sent or received is not copied into memory of its own, and allocates nothing.
//! - A panic closes its connection with 1011, or answers 500: see [`OnPanic`]. A program that is built with `panic = "abort"` ends.

mod accept;
mod demo;
mod prices;
mod remote;
mod serving;
mod session;
mod socket;
mod testing;
mod typed;

pub use accept::{Accept, Accepted, IntoOutcome, IntoResponse};
pub use remote::{Remote, WorkRefused};
pub use serving::Stateless;
pub use session::Session;
pub use socket::Socket;
pub use testing::SessionTest;

#[doc(inline)]
pub use crate::backend::Action;
#[doc(inline)]
pub use crate::http::{Response, Status};
#[doc(inline)]
pub use crate::hub::PublicationId;
#[doc(inline)]
pub use crate::server::broker::calls::Congested;
#[doc(inline)]
pub use crate::server::broker::payload::{Json, NotJson, Payload};
#[doc(inline)]
pub use crate::server::handlers::failure::{Failure, Outcome};
#[doc(inline)]
pub use crate::server::handlers::judge::{Grant, Later, Verdict, VerdictReply};
#[doc(inline)]
pub use crate::server::handlers::link::{ConnectionId, Form};
#[doc(inline)]
pub use crate::server::handlers::message::{Closed, ClosedBy, Message};
#[doc(inline)]
pub use crate::server::handlers::panics::OnPanic;
#[doc(inline)]
pub use crate::server::handlers::pattern::RouteError;
#[doc(inline)]
pub use crate::server::handlers::reply::Reply;
#[doc(inline)]
pub use crate::server::handlers::request::{Identity, Request};
#[doc(inline)]
pub use crate::server::handlers::watching::{Publication, Refusal, Sender};
#[doc(inline)]
pub use crate::server::{Draft, PublishError, Published, StartError};
#[doc(inline)]
pub use crate::ws::CloseCode;
