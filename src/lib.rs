//! Fanfare: a broadcast server. RFC 6455 by hand on a mio loop; a channel is a byte log, a subscriber an offset.
//!
//! The rooms, and who may import whom:
//!
//! - [`ws`], [`http`], [`hub`]: the protocols and the channels as bytes, without input or output. They import
//!   nothing of each other.
//! - [`server`]: sockets, time, threads, randomness.
//! - [`config`]: what a server is told; the binary reads it from flags, environment and file.
//!
//! A server in a program of your own: see [`server::Server`].

pub mod config;
pub mod http;
pub mod hub;
pub mod server;
pub mod ws;
