//! What stands for TLS in a build without the cargo feature `tls`: nothing can be made of it.
//!
//! The flags are refused by `Config::check`, so that nobody asks for it.

use super::fault::{CertificateFault, NoTls};
use crate::config::TlsPair;
use crate::server::metrics::snapshot::TlsFigures;

/// TLS of a server, of which there is none.
#[derive(Debug)]
pub enum Tls {}

impl Tls {
    pub fn new(_: &[TlsPair]) -> Result<Self, NoTls> {
        Err(NoTls::Library("it is not built in".into()))
    }

    pub fn reload(&self, _: &[TlsPair]) -> Result<bool, CertificateFault> {
        match *self {}
    }

    pub fn note_failure(&self) {
        match *self {}
    }

    pub fn summary(&self) -> String {
        match *self {}
    }

    pub fn warnings(&self, _: u64) -> Vec<String> {
        match *self {}
    }

    pub fn figures(&self) -> TlsFigures {
        match *self {}
    }
}
