//! The certificates of a running server: read at the start, and again when somebody asks for it.
//!
//! Who asks, and when files are looked at, is not decided here.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::Arc;

use rustls::ServerConfig;
use rustls::crypto::CryptoProvider;

use super::certificates::Certificates;
use super::config::{provider, server_config};
use super::fault::{CertificateFault, NoTls};
use super::resolver::Resolver;
use super::session::Session;
use crate::config::TlsPair;
use crate::server::metrics::snapshot::TlsFigures;

/// TLS of a server.
#[derive(Debug)]
pub struct Tls {
    config: Arc<ServerConfig>,
    resolver: Arc<Resolver>,
    provider: Arc<CryptoProvider>,
    reloads: AtomicU64,
    failures: AtomicU64,
}

impl Tls {
    /// Reads the pairs, of which there is at least one.
    ///
    /// # Errors
    /// Names the file that is wrong.
    pub fn new(pairs: &[TlsPair]) -> Result<Self, NoTls> {
        let provider = provider();
        let certificates = Certificates::read(pairs, None, &provider).map_err(NoTls::Certificate)?;
        let resolver = Arc::new(Resolver::new(certificates));
        let config = server_config(resolver.clone()).map_err(|error| NoTls::Library(error.to_string()))?;
        let (reloads, failures) = Default::default();
        Ok(Self { config, resolver, provider, reloads, failures })
    }

    /// A session with a peer that has just connected. `None` if rustls refuses the configuration, with which no server
    /// starts.
    pub fn begin(&self) -> Option<Session> {
        Session::new(&self.config)
    }

    /// Names and ends of the certificates, for one log line.
    pub fn summary(&self) -> String {
        self.resolver.current().summary()
    }

    /// What is to be said of files that are right: at this time, in seconds since 1970.
    pub fn warnings(&self, now_s: u64) -> Vec<String> {
        self.resolver.current().warnings(now_s)
    }

    /// Reads these pairs and takes them all, for handshakes from now on; false if they are those that it has.
    ///
    /// # Errors
    /// Names the file that is wrong. Nothing was replaced.
    pub fn reload(&self, pairs: &[TlsPair]) -> Result<bool, CertificateFault> {
        let before = self.resolver.current();
        let certificates = Certificates::read(pairs, Some(&before), &self.provider)?;
        if certificates.is_same(&before) {
            return Ok(false);
        }
        self.resolver.replace(certificates);
        self.reloads.fetch_add(1, Ordering::Relaxed);
        Ok(true)
    }

    /// Counts a reload whose fault was told.
    pub fn note_failure(&self) {
        self.failures.fetch_add(1, Ordering::Relaxed);
    }

    /// Its numbers at present.
    pub fn figures(&self) -> TlsFigures {
        TlsFigures {
            ends: self.resolver.current().ends(),
            reloads: self.reloads.load(Ordering::Relaxed),
            failures: self.failures.load(Ordering::Relaxed),
        }
    }
}
