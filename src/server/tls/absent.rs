//! What stands for TLS in a build without the cargo feature `tls`: nothing can be made of it.
//!
//! The flags are refused by `Config::check`, so that nobody asks for it.

use super::fault::{CertificateFault, NoTls};
use super::news::CertificateNews;
use crate::config::TlsPair;
use crate::server::metrics::snapshot::TlsFigures;

/// TLS of a server, of which there is none.
#[derive(Debug)]
pub enum Tls {}

impl Tls {
    pub fn new(_: &[TlsPair]) -> Result<Self, NoTls> {
        Err(NoTls::Library("it is not built in".into()))
    }

    pub fn news(&self, _: u64) -> CertificateNews {
        match *self {}
    }

    pub fn check(&self, _: &[TlsPair]) -> Result<(), CertificateFault> {
        match *self {}
    }

    pub fn reload(&self, _: &[TlsPair], _: u64) -> Result<Option<CertificateNews>, CertificateFault> {
        match *self {}
    }

    pub fn figures(&self) -> TlsFigures {
        match *self {}
    }
}
