//! The certificates of authorities: those of a file, and those of the system, which are read when first they are needed.
//!
//! What they are trusted for is not decided here.

use std::fs::File;
use std::io::Read;
use std::path::Path;
use std::sync::{Arc, OnceLock};

use rustls::crypto::aws_lc_rs;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::{ClientConfig, RootCertStore};
use ureq::tls::{Certificate, RootCerts, TlsConfig, TlsProvider};

use super::ca_fault::CaFault;

/// The longest file: the bundles of systems, with all authorities of the world, have 250 KB.
const FILE_LEN_MAX: u64 = 4 * 1024 * 1024;

/// The authorities.
#[derive(Debug, Default)]
pub struct Anchors {
    /// Of the file.
    own: Vec<Certificate<'static>>,
    /// With those of the system.
    all: OnceLock<Arc<Vec<Certificate<'static>>>>,
}

impl Anchors {
    /// Reads a file, if there is one.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn read(ca_file: Option<&Path>) -> Result<Self, CaFault> {
        let own = ca_file.map_or(Ok(Vec::new()), certificates_of)?;
        Ok(Self { own, all: OnceLock::new() })
    }

    /// How a client speaks TLS that calls no URL.
    pub fn client_config(&self) -> Arc<ClientConfig> {
        let mut roots = RootCertStore::empty();
        // What cannot be an authority is passed over, as for URLs.
        roots.add_parsable_certificates(
            self.all().iter().map(|certificate| certificate.der().to_vec().into()),
        );
        let builder = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()));
        let builder = builder.with_safe_default_protocol_versions();
        let builder = builder.expect("the provider has what TLS 1.2 and 1.3 need");
        Arc::new(builder.with_root_certificates(roots).with_no_client_auth())
    }

    fn all(&self) -> &Arc<Vec<Certificate<'static>>> {
        self.all.get_or_init(|| Arc::new(with_those_of_the_system(&self.own)))
    }

    /// How a client speaks TLS.
    pub fn client_tls(&self) -> TlsConfig {
        let all = self.all();
        TlsConfig::builder()
            .provider(TlsProvider::Rustls)
            .unversioned_rustls_crypto_provider(Arc::new(aws_lc_rs::default_provider()))
            .root_certs(RootCerts::Specific(Arc::clone(all)))
            .build()
    }
}

fn certificates_of(path: &Path) -> Result<Vec<Certificate<'static>>, CaFault> {
    let unreadable = |error: std::io::Error| CaFault::Unreadable(error.to_string());
    let file = File::open(path).map_err(unreadable)?;
    let mut bytes = Vec::new();
    file.take(FILE_LEN_MAX + 1).read_to_end(&mut bytes).map_err(unreadable)?;
    if bytes.len() as u64 > FILE_LEN_MAX {
        return Err(CaFault::TooLong(FILE_LEN_MAX));
    }
    let read: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&bytes).collect();
    let read = read.unwrap_or_default();
    // What cannot be an authority would be passed over later, and nobody would know why.
    let is_anchor = |der: &CertificateDer<'_>| webpki::anchor_from_trusted_cert(der).is_ok();
    match !read.is_empty() && read.iter().all(is_anchor) {
        true => Ok(read.iter().map(to_owned).collect()),
        false => Err(CaFault::NoCertificate),
    }
}

fn with_those_of_the_system(own: &[Certificate<'static>]) -> Vec<Certificate<'static>> {
    let found = rustls_native_certs::load_native_certs();
    for error in &found.errors {
        tracing::warn!("certificate authorities of the system: {error}");
    }
    if found.certs.is_empty() && own.is_empty() {
        tracing::warn!(
            "calls to https:// URLs will fail: this system has no certificate authorities. Install its package \
             ca-certificates, or give --ca-file FILE"
        );
    }
    own.iter().cloned().chain(found.certs.iter().map(to_owned)).collect()
}

fn to_owned(der: &CertificateDer<'_>) -> Certificate<'static> {
    Certificate::from_der(der).to_owned()
}
