//! The room with the sockets, the time, the threads and the randomness: event loops over mio.
//!
//! The rules of the protocols are not here; `http`, `ws` and `hub` know them, and are told bytes and times.

mod api;
mod broker;
mod clock;
mod connection;
mod demo;
mod encoder;
mod event_loop;
mod excerpt;
mod handle;
mod lock;
mod metrics;
mod prices;
mod shared;
mod start;

pub use crate::hub::Published;
pub use broker::draft::{Draft, DraftError};
pub use encoder::ENVELOPE_SUBPROTOCOL;
pub use handle::{Handle, PublishError};
pub use start::{Server, StartError};
