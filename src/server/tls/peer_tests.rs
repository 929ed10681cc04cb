//! A client in memory for tests of sessions: rustls' own, and records made by hand with its keys.
//!
//! Nothing is asserted here but that the client does what a client does.

use std::io::Read;
use std::sync::Arc;

use aws_lc_rs::aead::{AES_128_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use rcgen::{CertificateParams, KeyPair};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{ClientConnection, Resumption};
use rustls::crypto::CryptoProvider;
use rustls::crypto::aws_lc_rs::cipher_suite;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::{
    CipherSuiteCommon, ClientConfig, ConnectionTrafficSecrets, DigitallySignedStruct, Error, ServerConfig,
    SignatureScheme, SupportedCipherSuite, SupportedProtocolVersion, Tls12CipherSuite, Tls13CipherSuite,
};

use super::config::{provider, server_config};
use super::session::Session;

/// What a server offers, with a certificate made for it.
pub fn terms() -> Arc<ServerConfig> {
    let key = KeyPair::generate().unwrap();
    let certificate = CertificateParams::new(vec!["a.test".to_owned()]).unwrap().self_signed(&key).unwrap();
    let key = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
    let certified = CertifiedKey::from_der(vec![certificate.der().clone()], key, &provider()).unwrap();
    server_config(Arc::new(SingleCertAndKey::from(certified))).unwrap()
}

/// The same with one suite, whose keys are good for this many records.
pub fn short_lived(suite: SupportedCipherSuite, records: u64) -> Arc<ServerConfig> {
    let common = |suite: &CipherSuiteCommon| CipherSuiteCommon {
        suite: suite.suite,
        hash_provider: suite.hash_provider,
        confidentiality_limit: records,
    };
    let suite = match suite {
        SupportedCipherSuite::Tls12(suite) => {
            let suite = Tls12CipherSuite { common: common(&suite.common), ..*suite };
            SupportedCipherSuite::Tls12(Box::leak(Box::new(suite)))
        }
        SupportedCipherSuite::Tls13(suite) => {
            let suite = Tls13CipherSuite { common: common(&suite.common), ..*suite };
            SupportedCipherSuite::Tls13(Box::leak(Box::new(suite)))
        }
    };
    let provider = CryptoProvider { cipher_suites: vec![suite], ..CryptoProvider::clone(&provider()) };
    let usual = terms();
    let config = ServerConfig::builder_with_provider(Arc::new(provider))
        .with_protocol_versions(&[suite.version()])
        .unwrap()
        .with_no_client_auth()
        .with_cert_resolver(Arc::clone(&usual.cert_resolver));
    Arc::new(config)
}

/// A client's configuration that trusts everybody.
pub fn client_config(versions: &[&'static SupportedProtocolVersion]) -> Arc<ClientConfig> {
    // One suite of each version: records by hand need no other.
    let suites =
        vec![cipher_suite::TLS13_AES_128_GCM_SHA256, cipher_suite::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256];
    let provider = CryptoProvider { cipher_suites: suites, ..CryptoProvider::clone(&provider()) };
    let builder = ClientConfig::builder_with_provider(Arc::new(provider));
    let builder = builder.with_protocol_versions(versions).unwrap().dangerous();
    let mut config = builder.with_custom_certificate_verifier(Arc::new(Trusting)).with_no_client_auth();
    config.enable_secret_extraction = true;
    config.resumption = Resumption::in_memory_sessions(8);
    Arc::new(config)
}

pub const TLS13: &[&SupportedProtocolVersion] = &[&rustls::version::TLS13];
pub const TLS12: &[&SupportedProtocolVersion] = &[&rustls::version::TLS12];

/// A client that trusts everybody.
pub fn client(config: &Arc<ClientConfig>) -> ClientConnection {
    ClientConnection::new(Arc::clone(config), ServerName::try_from("a.test").unwrap()).unwrap()
}

/// What a client has to send.
pub fn sent_by(client: &mut ClientConnection) -> Vec<u8> {
    let mut bytes = Vec::new();
    while client.wants_write() {
        client.write_tls(&mut bytes).unwrap();
    }
    bytes
}

/// Gives bytes to a client: the plaintext, or what is wrong with them.
pub fn taken_by(client: &mut ClientConnection, mut bytes: &[u8]) -> Result<Vec<u8>, Error> {
    let mut plain = Vec::new();
    while !bytes.is_empty() {
        client.read_tls(&mut bytes).unwrap();
        client.process_new_packets()?;
        let mut some = vec![0; 32 * 1024];
        while let Ok(len @ 1..) = client.reader().read(&mut some) {
            plain.extend_from_slice(&some[..len]);
        }
    }
    Ok(plain)
}

/// Completes a handshake in memory.
pub fn shake_hands(session: &mut Session, client: &mut ClientConnection) {
    while client.is_handshaking() || session.is_handshaking() {
        let mut bytes = sent_by(client);
        let (mut plain, mut answer) = (vec![0; bytes.len()], Vec::new());
        let received = session.receive(&mut bytes, &mut plain, &mut answer);
        assert_eq!((received.used_len, received.ending), (bytes.len(), None));
        taken_by(client, &answer).unwrap();
    }
}

/// Makes records with the keys of a client of TLS 1.3, after its own last one.
pub struct Forger {
    key: LessSafeKey,
    iv: [u8; 12],
    sequence: u64,
}

impl Forger {
    pub fn of(client: ClientConnection) -> Self {
        let (sequence, secrets) = client.dangerous_extract_secrets().unwrap().tx;
        let ConnectionTrafficSecrets::Aes128Gcm { key, iv } = secrets else { panic!("another suite") };
        let key = LessSafeKey::new(UnboundKey::new(&AES_128_GCM, key.as_ref()).unwrap());
        Self { key, iv: iv.as_ref().try_into().unwrap(), sequence }
    }

    /// A record of this type (RFC 8446 §5.2).
    pub fn record(&mut self, content_type: u8, content: &[u8]) -> Vec<u8> {
        let mut nonce = self.iv;
        nonce[4..].iter_mut().zip(self.sequence.to_be_bytes()).for_each(|(byte, number)| *byte ^= number);
        self.sequence += 1;
        let mut inner = [content, &[content_type]].concat();
        let len = u16::try_from(inner.len() + 16).unwrap().to_be_bytes();
        let header = [23, 3, 3, len[0], len[1]];
        let nonce = Nonce::assume_unique_for_key(nonce);
        self.key.seal_in_place_append_tag(nonce, Aad::from(header), &mut inner).unwrap();
        [&header[..], &inner].concat()
    }
}

#[derive(Debug)]
struct Trusting;

impl ServerCertVerifier for Trusting {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        provider().signature_verification_algorithms.supported_schemes()
    }
}
