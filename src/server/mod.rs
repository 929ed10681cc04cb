//! The server: sockets, time, threads and randomness, with event loops over mio.
//!
//! The rules of the protocols are not here but in `http`, `ws` and `hub`, which get bytes and times as arguments. The
//! rooms in here, and who may import whom, are in the documentation of the crate.

mod access;
mod api;
mod apps;
mod audit;
pub(crate) mod broker;
mod budget;
mod clock;
mod connection;
mod encoder;
pub(crate) mod event_loop;
mod excerpt;
mod handle;
pub(crate) mod handlers;
mod hook;
mod limits;
mod lock;
mod metrics;
mod placement;
mod sessions;
mod shared;
mod start;
mod stopping;

pub use crate::hub::Published;
pub use access::KeyChanges;
pub use broker::draft::{Draft, DraftError};
pub use encoder::ENVELOPE_SUBPROTOCOL;
pub use handle::{AppChanges, Handle, PublishError};
pub use start::{Server, StartError};
