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
mod discard;
mod encoder;
pub(crate) mod event_loop;
mod excerpt;
mod handle;
pub(crate) mod handlers;
mod handshakes;
mod hook;
mod hosting;
#[cfg(test)]
mod joins_tests;
mod jwks;
mod limits;
mod lock;
mod metrics;
mod outbound;
mod placement;
mod redis;
mod sessions;
mod shared;
mod start;
mod stopping;
mod tls;
mod waking;

pub use crate::hub::Published;
pub use access::KeyChanges;
pub use broker::draft::{Draft, DraftError};
pub use encoder::ENVELOPE_SUBPROTOCOL;
pub use handle::{AppChanges, Handle, PublishError};
pub use outbound::CaFault;
pub use start::{Server, StartError};
pub use tls::fault::{CertificateFault, FileFault, NoTls};
pub use tls::news::CertificateNews;

/// What publications are in Redis, without it: for fuzz targets. It may change at any time.
#[doc(hidden)]
pub mod bare_records {
    pub use crate::server::broker::engine::keys::{BadKnown, Known};
    pub use crate::server::broker::engine::signal::Record;
    pub use crate::server::broker::engine::stored::{BadStored, Stored, pushed, read, record};
    pub use crate::server::broker::fingerprint::Fingerprint;
}

/// What TLS is between a connection and its socket, without either: for fuzz targets. It may change at any time.
#[cfg(feature = "tls")]
#[doc(hidden)]
pub mod bare_tls {
    pub use crate::server::connection::tls::{Arrival, Progress, Sealing, TlsLayer};
    pub use crate::server::tls::Session;
    pub use crate::server::tls::received::{Ending, Fault, FaultKind, Handshake, Version};
}

/// What reads the replies of Redis, without a connection: for fuzz targets, and tests with a real one. It may change at any time.
#[doc(hidden)]
pub mod bare_redis {
    pub use crate::server::redis::refusal::{Fate, Reason, Refusal};
    pub use crate::server::redis::resp::{Bounds, Command, Decoder, Malformed, Reply};
    pub use crate::server::redis::slots::{Address, SLOTS, Slots, slot};
}
