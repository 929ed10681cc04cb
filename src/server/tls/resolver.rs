//! Gives each client its certificate, from the set that holds at present.
//!
//! How the set is read is not here, nor how one is chosen of it.

use std::sync::{Arc, PoisonError, RwLock};

use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;

use super::certificates::Certificates;

/// The certificates at present. A handshake that has begun keeps the one it was given.
#[derive(Debug)]
pub struct Resolver(RwLock<Arc<Certificates>>);

impl Resolver {
    /// With these certificates.
    pub fn new(certificates: Certificates) -> Self {
        Self(RwLock::new(Arc::new(certificates)))
    }

    /// Those that hold at present.
    pub fn current(&self) -> Arc<Certificates> {
        // The lock is held for a copy of a pointer, which cannot panic.
        Arc::clone(&self.0.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Replaces them, for the handshakes that begin from now on.
    pub fn replace(&self, certificates: Certificates) {
        let certificates = Arc::new(certificates);
        let before = {
            let mut current = self.0.write().unwrap_or_else(PoisonError::into_inner);
            std::mem::replace(&mut *current, certificates)
        };
        drop(before); // after the lock, so that no handshake waits for it
    }
}

impl ResolvesServerCert for Resolver {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.current().choose(hello.server_name(), hello.signature_schemes()))
    }
}
