//! The Pusher Channels protocol, version 7, as text: what a client's message asks for, what is answered, and how requests
//! and webhooks are signed.
//!
//! Text goes in, actions and text come out: no socket, clock or random number is known here. Of the rest of the crate,
//! only the names of channels and events are used.

pub mod app;
pub mod auth;
pub mod channel;
pub mod error;
pub mod event;
pub mod fallback;
mod presence;
pub mod rest;
mod session;
pub mod webhook;

pub use app::{App, Webhook, WebhookEvent};
pub use channel::{Access, InvalidName, Kind, Name};
pub use error::{Error, Limit, Purpose};
pub use presence::{Joined, Left, Member, Members};
pub use session::{ClientEvent, Command, InvalidSocketId, Session, SocketId, User, protocol};
