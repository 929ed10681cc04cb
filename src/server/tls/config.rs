//! The configuration of all TLS sessions of a server: versions, suites, tickets and protocols.
//!
//! It lives as long as the server: certificates are replaced inside it, by the resolver.

use std::sync::Arc;

use rustls::ServerConfig;
use rustls::crypto::CryptoProvider;
use rustls::crypto::aws_lc_rs;
use rustls::server::{NoServerSessionStorage, ResolvesServerCert};

/// The protocols that are spoken, by their names of ALPN (RFC 7301), the best first. WebSocket is begun by the first
/// (RFC 6455 §4.1). The other is what old clients and probes offer, which are answered.
const ALPN_HTTP: [&[u8]; 2] = [b"http/1.1", b"http/1.0"];

/// What does the cryptography. It is named wherever it is needed: the process may have several.
pub fn provider() -> Arc<CryptoProvider> {
    Arc::new(aws_lc_rs::default_provider())
}

/// TLS 1.2 and 1.3 with the certificates of a resolver, and tickets instead of kept sessions.
///
/// # Errors
/// The system has no random bytes for the first ticket key.
pub fn server_config(resolver: Arc<dyn ResolvesServerCert>) -> Result<Arc<ServerConfig>, rustls::Error> {
    let mut config = ServerConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_cert_resolver(resolver);
    config.alpn_protocols = ALPN_HTTP.map(<[u8]>::to_vec).into();
    // Keys of 6 hours, accepted for 12, which a restart forgets: clients then begin anew.
    config.ticketer = aws_lc_rs::Ticketer::new()?;
    config.send_tls13_tickets = 1; // the default is 2: a browser resumes with one
    config.session_storage = Arc::new(NoServerSessionStorage {}); // tickets need none, and it would be a lock of all loops
    config.max_early_data_size = 0; // what is sent with it can be replayed, a publication too
    Ok(Arc::new(config))
}
