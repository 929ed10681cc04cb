//! TLS 1.3 in a bench: a certificate of its own in files, and rustls as the client.
//!
//! Who connects, and what goes over the connections, is not known here.

use std::fs;
use std::net::TcpStream;
use std::path::PathBuf;
use std::sync::Arc;

use rcgen::CertifiedKey;
use rustls::client::Resumption;
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};
use tempfile::TempDir;

/// The name in the certificate.
const NAME: &str = "localhost";

/// A certificate of ECDSA P-256 that signs itself, and its key. The files go with it.
pub struct Certificate {
    folder: TempDir,
}

impl Certificate {
    pub fn new() -> Self {
        let CertifiedKey { cert, signing_key } =
            rcgen::generate_simple_self_signed([NAME.to_owned()]).expect("this is a name");
        let certificate = Self { folder: tempfile::tempdir().expect("there is room for two files") };
        for (file, text) in certificate.files().iter().zip([cert.pem(), signing_key.serialize_pem()]) {
            fs::write(file, text).expect("there is room for two files");
        }
        certificate
    }

    /// The certificate, and its key.
    pub fn files(&self) -> [PathBuf; 2] {
        ["cert.pem", "key.pem"].map(|name| self.folder.path().join(name))
    }
}

/// A client that trusts the certificate in this file alone.
pub fn client_config(certificate: &str, resumption: Resumption) -> Arc<ClientConfig> {
    let mut roots = RootCertStore::empty();
    let certificate = CertificateDer::from_pem_file(certificate).expect("the bench has written it");
    roots.add(certificate).expect("rcgen makes certificates");
    let builder = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()));
    let versions = builder.with_protocol_versions(&[&rustls::version::TLS13]);
    let versions = versions.expect("the provider has TLS 1.3");
    let mut config = versions.with_root_certificates(roots).with_no_client_auth();
    config.resumption = resumption;
    Arc::new(config)
}

/// A session that has not begun.
pub fn session(config: &Arc<ClientConfig>) -> ClientConnection {
    let name = ServerName::try_from(NAME).expect("this is a name");
    ClientConnection::new(Arc::clone(config), name).expect("the configuration is right")
}

/// TLS over a socket; the handshake is complete.
pub fn over(mut socket: TcpStream, config: &Arc<ClientConfig>) -> StreamOwned<ClientConnection, TcpStream> {
    let mut session = session(config);
    while session.is_handshaking() {
        session.complete_io(&mut socket).expect("the server has the certificate that is trusted");
    }
    StreamOwned::new(session, socket)
}
