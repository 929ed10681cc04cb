//! The certificates of a running server: read at the start, and again when somebody asks for it.
//!
//! Who asks, and when files are looked at, is not decided here.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use rustls::ServerConfig;
use rustls::crypto::CryptoProvider;

use super::certificates::Certificates;
use super::config::{provider, server_config};
use super::fault::{CertificateFault, NoTls};
use super::news::CertificateNews;
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

    /// What is to be told of the certificates at present, in seconds since 1970.
    pub fn news(&self, now_s: u64) -> CertificateNews {
        news(&self.resolver.current(), now_s)
    }

    /// Whether these pairs could be taken.
    ///
    /// # Errors
    /// Names the file that is wrong.
    pub fn check(&self, pairs: &[TlsPair]) -> Result<(), CertificateFault> {
        self.read(pairs).map(|_| ())
    }

    /// Reads these pairs and takes them all, for handshakes from now on; none if they are those that it has. The time is in
    /// seconds since 1970.
    ///
    /// # Errors
    /// Names the file that is wrong. Nothing was replaced.
    pub fn reload(&self, pairs: &[TlsPair], now_s: u64) -> Result<Option<CertificateNews>, CertificateFault> {
        let certificates = self.read(pairs).inspect_err(|_| {
            self.failures.fetch_add(1, Ordering::Relaxed);
        })?;
        if certificates.is_same(&self.resolver.current()) {
            return Ok(None);
        }
        let news = news(&certificates, now_s);
        self.resolver.replace(certificates);
        self.reloads.fetch_add(1, Ordering::Relaxed);
        Ok(Some(news))
    }

    fn read(&self, pairs: &[TlsPair]) -> Result<Certificates, CertificateFault> {
        Certificates::read(pairs, Some(&self.resolver.current()), &self.provider)
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

fn news(certificates: &Certificates, now_s: u64) -> CertificateNews {
    CertificateNews { summary: certificates.summary(), warnings: certificates.warnings(now_s) }
}

#[cfg(test)]
#[path = "store_tests.rs"]
mod tests;
