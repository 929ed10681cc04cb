//! Handlers in a program: sessions that handle WebSocket connections, and answers to HTTP requests, on the server's event loops.
//!
//! Channels are the server's: what a session publishes reaches the subscribers of every transport, and the other way round.

mod accept;
mod remote;
mod serving;
mod session;
mod socket;
mod testing;

pub use accept::{Accept, Accepted, IntoOutcome, IntoResponse};
pub use remote::Remote;
pub use serving::Stateless;
pub use session::Session;
pub use socket::{Socket, WorkRefused};
pub use testing::SessionTest;

pub use crate::http::{Response, Status};
pub use crate::server::broker::calls::Congested;
pub use crate::server::broker::payload::{Json, NotJson, Payload};
pub use crate::server::handlers::failure::{Failure, Outcome};
pub use crate::server::handlers::link::{ConnectionId, Form};
pub use crate::server::handlers::message::{Closed, ClosedBy, Message};
pub use crate::server::handlers::pattern::RouteError;
pub use crate::server::handlers::program::OnPanic;
pub use crate::server::handlers::reply::Reply;
pub use crate::server::handlers::request::{Identity, Request};
pub use crate::server::handlers::watching::{Publication, Refusal, Sender};
pub use crate::server::{Draft, PublishError};
pub use crate::ws::CloseCode;
