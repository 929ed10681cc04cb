//! Servers and clients with TLS: certificates of a test's own authority, and rustls as the client.
//!
//! Nothing is asserted here about the server but that its handshake succeeds.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::PathBuf;
use std::sync::Arc;

use fanfare::config::{Config, Tls, TlsPair};
use rustls::client::{ClientConnection, Resumption};
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore, StreamOwned, SupportedProtocolVersion};
use tempfile::TempDir;

use super::ca::{Ca, Leaf};
use super::{Running, connect, start};

/// The name in the certificate.
pub const NAME: &str = "localhost";

/// A server with TLS, and the authority of its certificate.
pub fn server(config: Config) -> (Authority, Running) {
    let authority = Authority::new();
    let server = start(authority.tls(config));
    (authority, server)
}

/// An authority of the test's own, and a certificate of it in files.
pub struct Authority {
    folder: TempDir,
    root: CertificateDer<'static>,
}

impl Authority {
    /// With an ECDSA certificate of `localhost` and 127.0.0.1.
    pub fn new() -> Self {
        Self::with(|ca| ca.leaf(&[NAME, "127.0.0.1"]))
    }

    /// With this certificate.
    pub fn with(leaf: impl FnOnce(&Ca) -> Leaf) -> Self {
        let (folder, ca) = (tempfile::tempdir().unwrap(), Ca::new());
        leaf(&ca).write(folder.path(), "cert");
        std::fs::write(folder.path().join("ca.pem"), &ca.pem).unwrap();
        let root = CertificateDer::from_pem_slice(ca.pem.as_bytes()).unwrap();
        Self { folder, root }
    }

    /// The file of the authority's own certificate.
    pub fn ca_file(&self) -> PathBuf {
        self.folder.path().join("ca.pem")
    }

    /// The files of its certificate and key.
    pub fn pair(&self) -> [PathBuf; 2] {
        ["cert.pem", "cert.key"].map(|name| self.folder.path().join(name))
    }

    /// A configuration that speaks TLS at a free port, besides what it does already.
    pub fn tls(&self, config: Config) -> Config {
        let [cert, key] = self.pair();
        let pairs = vec![TlsPair { cert, key }];
        Config { tls: Tls { listen: vec!["127.0.0.1:0".parse().unwrap()], pairs, ..config.tls }, ..config }
    }

    /// A client's configuration that trusts this authority alone.
    pub fn client(&self, versions: &[&'static SupportedProtocolVersion]) -> Arc<ClientConfig> {
        let mut roots = RootCertStore::empty();
        roots.add(self.root.clone()).unwrap();
        let builder = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()));
        let versions = builder.with_protocol_versions(versions).unwrap();
        let mut config = versions.with_root_certificates(roots).with_no_client_auth();
        config.resumption = Resumption::in_memory_sessions(8);
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Arc::new(config)
    }

    /// A connection by TLS 1.3.
    pub fn connect(&self, address: SocketAddr) -> TlsStream {
        tls_over(connect(address), &self.client(&[&rustls::version::TLS13]))
    }
}

/// A blocking client.
pub type TlsStream = StreamOwned<ClientConnection, TcpStream>;

/// A session that has said nothing yet.
pub fn client_session(config: &Arc<ClientConfig>) -> ClientConnection {
    ClientConnection::new(Arc::clone(config), ServerName::try_from(NAME).unwrap()).unwrap()
}

/// TLS over a socket; the handshake is complete.
pub fn tls_over(mut socket: TcpStream, config: &Arc<ClientConfig>) -> TlsStream {
    let mut session = client_session(config);
    while session.is_handshaking() {
        session.complete_io(&mut socket).unwrap();
    }
    StreamOwned::new(session, socket)
}

/// Sends a request and reads the answer, whose body has the length that its head says.
pub fn ask_over(stream: &mut (impl Read + Write), request: &[u8]) -> String {
    stream.write_all(request).unwrap();
    answer_over(stream)
}

/// The next answer.
pub fn answer_over(stream: &mut impl Read) -> String {
    let mut answer = Vec::new();
    let mut byte = [0];
    while !answer.ends_with(b"\r\n\r\n") {
        stream.read_exact(&mut byte).unwrap();
        answer.push(byte[0]);
    }
    let head = String::from_utf8(answer).unwrap();
    let length =
        head.lines().find_map(|line| line.to_lowercase().strip_prefix("content-length: ").map(str::to_owned));
    let mut body = vec![0; length.map_or(0, |length| length.parse().unwrap())];
    stream.read_exact(&mut body).unwrap();
    head + &String::from_utf8(body).unwrap()
}
