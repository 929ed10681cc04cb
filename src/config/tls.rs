//! TLS in the process, as it is configured: where it is spoken, with which certificates, and what plain listeners say then.
//!
//! The files are read, and sessions are made, by `server::tls`.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

/// TLS at addresses of its own. The default is none.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tls {
    /// Addresses that speak TLS, besides those of [`Config::listen`](super::Config::listen), which are plain. Port 0 takes a
    /// free one.
    pub listen: Vec<SocketAddr>,
    /// The certificates with their keys. A client gets the first whose names fit the one it asks for, else the first.
    pub pairs: Vec<TlsPair>,
    /// Whether the plain listeners answer 308 to `https://` with the port of the first of `listen`, to everything but
    /// `/healthz` and `/readyz`.
    pub redirect_https: bool,
    /// The `max-age` of `Strict-Transport-Security` in answers over TLS. `None`: not sent, since it outlives a mistake in
    /// every browser that has seen it.
    pub hsts: Option<Duration>,
}

/// A certificate and its private key, in files that are read again when they change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsPair {
    /// The certificate and those up to a root, in this order, as PEM.
    pub cert: PathBuf,
    /// The private key of the first, as PEM, not encrypted. May be the same file.
    pub key: PathBuf,
}
