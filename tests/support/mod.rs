//! What the tests over real sockets share: a server on a free port, clients that are not ours, raw HTTP.
//!
//! Nothing is asserted here about the server but that it is there.

#![allow(dead_code, unused_imports)] // each test binary uses a part
#![allow(clippy::unwrap_used)] // a helper that fails fails its test

pub mod backend;
#[cfg(feature = "tls")]
pub mod ca;
pub mod event_stream;
pub mod fleet;
pub mod hearing;
mod http;
mod logged;
pub mod long_poll;
pub mod metrics;
pub mod multiplex;
pub mod nodes;
mod process;
pub mod proxy;
pub mod pusher;
pub mod pusher_http;
pub mod receiver;
pub mod redis;
pub mod redis_cluster;
pub mod redis_sentinel;
pub mod scene;
mod server;
mod socket;
pub mod steady;
#[cfg(feature = "tls")]
pub mod tls;
#[cfg(feature = "tls")]
pub mod tls_front;
mod waiting;
mod websocket;
pub mod witness;

pub use http::*;
pub use logged::*;
pub use process::*;
pub use server::*;
pub use socket::*;
pub use waiting::*;
pub use websocket::*;
