//! TLS of the server: certificates from files, which of them a client gets, and sessions over buffers of their callers.
//!
//! Sockets are not here: what a connection reads and writes passes through `connection::stream`.

#[cfg(not(feature = "tls"))]
mod absent;
#[cfg(feature = "tls")]
pub mod certificates;
#[cfg(feature = "tls")]
pub mod config;
pub mod fault;
#[cfg(feature = "tls")]
pub mod names;
pub mod news;
#[cfg(test)]
#[cfg(feature = "tls")]
pub mod peer_tests;
#[cfg(feature = "tls")]
pub mod pem;
pub mod received;
#[cfg(feature = "tls")]
pub mod resolver;
#[cfg(feature = "tls")]
pub mod session;
#[cfg(feature = "tls")]
pub mod store;

#[cfg(not(feature = "tls"))]
pub use absent::{Session, Tls};
#[cfg(feature = "tls")]
pub use session::Session;
#[cfg(feature = "tls")]
pub use store::Tls;

#[cfg(test)]
#[cfg(feature = "tls")]
#[path = "../../../tests/support/ca.rs"]
#[allow(clippy::unwrap_used)] // a helper that fails fails its test
mod ca;
