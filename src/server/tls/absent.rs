//! What stands for TLS in a build without the cargo feature `tls`: nothing can be made of it.
//!
//! The flags are refused by `Config::check`, so that nobody asks for it.

use super::fault::{CertificateFault, NoTls};
use super::news::CertificateNews;
use super::received::{NotSealed, Received};
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

    pub fn begin(&self) -> Option<Session> {
        match *self {}
    }

    pub fn figures(&self) -> TlsFigures {
        match *self {}
    }
}

/// A session that cannot be.
#[derive(Debug)]
pub enum Session {}

impl Session {
    pub fn is_handshaking(&self) -> bool {
        match *self {}
    }

    pub fn is_spent(&self) -> bool {
        match *self {}
    }

    pub fn receive(&mut self, _: &mut [u8], _: &mut [u8], _: &mut Vec<u8>) -> Received {
        match *self {}
    }

    pub fn seal(&mut self, _: &mut [u8], _: &[u8], _: &mut Vec<u8>) -> Result<usize, NotSealed> {
        match *self {}
    }

    pub fn close_notify(&mut self, _: &mut [u8], _: &mut Vec<u8>) -> Result<usize, NotSealed> {
        match *self {}
    }
}
