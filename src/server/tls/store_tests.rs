//! Handshakes in memory with a client of rustls: who gets which certificate, before and after a reload, and what else the
//! configuration of sessions promises.

use std::io::{Read, Write};

use rustls::client::Resumption;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{
    ClientConfig, ClientConnection, HandshakeKind, ProtocolVersion, RootCertStore, ServerConnection,
};
use tempfile::TempDir;

use super::*;
use crate::server::tls::ca::{Ca, Leaf};

/// In 2026, in seconds since 1970.
const NOW_S: u64 = 1_790_000_000;

fn write(folder: &TempDir, name: &str, leaf: &Leaf) -> TlsPair {
    let [cert, key] = leaf.write(folder.path(), name);
    TlsPair { cert, key }
}

/// A client that trusts an authority.
fn client(ca: &Ca, versions: &[&'static rustls::SupportedProtocolVersion]) -> ClientConfig {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(ca.pem.as_bytes()).unwrap()).unwrap();
    ClientConfig::builder_with_provider(provider())
        .with_protocol_versions(versions)
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth()
}

/// Both ends of a connection over which the client has read a byte of the server, so that it has its tickets too.
fn connect(
    tls: &Tls,
    client: &Arc<ClientConfig>,
    name: &str,
) -> Result<(ClientConnection, ServerConnection), rustls::Error> {
    let name = ServerName::try_from(name.to_owned()).unwrap();
    let mut client = ClientConnection::new(Arc::clone(client), name).unwrap();
    let mut server = ServerConnection::new(Arc::clone(&tls.config)).unwrap();
    server.writer().write_all(b"x").unwrap();
    let mut byte = [0];
    while client.reader().read(&mut byte).is_err() {
        let mut wire = Vec::new();
        client.write_tls(&mut wire).unwrap();
        server.read_tls(&mut wire.as_slice()).unwrap();
        server.process_new_packets()?;
        let mut wire = Vec::new();
        server.write_tls(&mut wire).unwrap();
        client.read_tls(&mut wire.as_slice()).unwrap();
        client.process_new_packets()?;
    }
    Ok((client, server))
}

/// The certificate that a client is given for a name.
fn given(tls: &Tls, ca: &Ca, name: &str) -> CertificateDer<'static> {
    let client = Arc::new(client(ca, rustls::ALL_VERSIONS));
    connect(tls, &client, name).unwrap().0.peer_certificates().unwrap()[0].clone()
}

fn der(leaf: &Leaf) -> CertificateDer<'static> {
    CertificateDer::from_pem_slice(leaf.cert.as_bytes()).unwrap()
}

#[test]
fn clients_get_the_certificate_of_the_name_that_they_ask_for() {
    let (ca, folder) = (Ca::new(), tempfile::tempdir().unwrap());
    let leaves = [ca.leaf(&["a.test", "127.0.0.1"]), ca.leaf(&["*.b.test"]), ca.leaf(&["www.b.test"])];
    let pairs: Vec<_> =
        leaves.iter().enumerate().map(|(at, leaf)| write(&folder, &at.to_string(), leaf)).collect();
    let tls = Tls::new(&pairs).unwrap();
    for (name, at) in
        [("a.test", 0), ("127.0.0.1", 0), ("api.b.test", 1), ("www.b.test", 2), ("WWW.B.test", 2)]
    {
        assert_eq!(given(&tls, &ca, name), der(&leaves[at]), "{name}");
    }
    let error = connect(&tls, &Arc::new(client(&ca, rustls::ALL_VERSIONS)), "b.test").unwrap_err();
    assert!(matches!(error, rustls::Error::InvalidCertificate(_)), "{error}");
}

#[test]
fn a_reload_gives_new_clients_the_new_certificate_and_a_wrong_file_leaves_all_as_they_are() {
    let (ca, folder) = (Ca::new(), tempfile::tempdir().unwrap());
    let [first, second] = [ca.leaf(&["a.test"]), ca.leaf_between(&["a.test"], [2020, 2030])];
    let pairs = [write(&folder, "a", &first), write(&folder, "b", &ca.leaf(&["b.test"]))];
    let tls = Tls::new(&pairs).unwrap();
    let trusting = Arc::new(client(&ca, rustls::ALL_VERSIONS));
    let (mut connected, mut server) = connect(&tls, &trusting, "a.test").unwrap();
    assert_eq!(tls.reload(&pairs, NOW_S), Ok(None));

    second.write(folder.path(), "a");
    ca.leaf(&["c.test"]).write(folder.path(), "b");
    let news = tls.reload(&pairs, NOW_S).unwrap().unwrap();
    assert_eq!(news.summary, "a.test until 2030-01-01T00:00:00Z; c.test until 2200-01-01T00:00:00Z");
    assert_eq!(given(&tls, &ca, "a.test"), der(&second));
    // Who was connected stays so.
    server.writer().write_all(b"y").unwrap();
    let mut wire = Vec::new();
    server.write_tls(&mut wire).unwrap();
    connected.read_tls(&mut wire.as_slice()).unwrap();
    connected.process_new_packets().unwrap();
    assert_eq!(connected.reader().read(&mut [0; 2]).unwrap(), 1);

    // The half of a renewal: the first pair would be right.
    first.write(folder.path(), "a");
    std::fs::write(&pairs[1].key, &ca.leaf(&["d.test"]).key).unwrap();
    assert!(tls.check(&pairs).is_err());
    assert_eq!((tls.figures().reloads, tls.figures().failures), (1, 0));
    let fault = tls.reload(&pairs, NOW_S).unwrap_err().to_string();
    assert!(fault.contains("b.key: the private key does not belong to the certificate in "), "{fault}");
    assert_eq!(given(&tls, &ca, "a.test"), der(&second));
    assert_eq!((tls.figures().reloads, tls.figures().failures), (1, 1));
    // Other pairs than before.
    let news = tls.reload(&pairs[..1], NOW_S).unwrap().unwrap();
    assert_eq!(news.summary, "a.test until 2200-01-01T00:00:00Z");
    assert_eq!(tls.figures().ends, [("a.test".to_owned(), 7_258_118_400)]);
}

#[test]
fn http_1_1_is_agreed_on_and_a_client_that_speaks_http_2_alone_is_refused() {
    let (ca, folder) = (Ca::new(), tempfile::tempdir().unwrap());
    let tls = Tls::new(&[write(&folder, "a", &ca.leaf(&["a.test"]))]).unwrap();
    let offering = |protocols: &[&[u8]]| {
        let mut client = client(&ca, rustls::ALL_VERSIONS);
        client.alpn_protocols = protocols.iter().map(|protocol| protocol.to_vec()).collect();
        connect(&tls, &Arc::new(client), "a.test")
    };
    let agreed = |protocols: &[&[u8]]| offering(protocols).unwrap().0.alpn_protocol().map(<[u8]>::to_vec);
    assert_eq!(agreed(&[b"h2", b"http/1.1"]), Some(b"http/1.1".to_vec()));
    assert_eq!(agreed(&[]), None);
    assert_eq!(offering(&[b"h2"]).unwrap_err(), rustls::Error::NoApplicationProtocol);
}

#[test]
fn sessions_are_resumed_by_ticket_in_both_versions_and_after_a_reload() {
    let (ca, folder) = (Ca::new(), tempfile::tempdir().unwrap());
    let pairs = [write(&folder, "a", &ca.rsa(&["a.test"]))];
    let tls = Tls::new(&pairs).unwrap();
    for version in [&rustls::version::TLS13, &rustls::version::TLS12] {
        let mut client = client(&ca, &[version]);
        client.resumption = Resumption::in_memory_sessions(2);
        let client = Arc::new(client);
        let kind = || connect(&tls, &client, "a.test").unwrap().1.handshake_kind();
        assert_eq!(kind(), Some(HandshakeKind::Full), "{version:?}");
        assert_eq!(kind(), Some(HandshakeKind::Resumed), "{version:?}");
        ca.leaf(&["a.test"]).write(folder.path(), "a");
        tls.reload(&pairs, NOW_S).unwrap().unwrap();
        assert_eq!(kind(), Some(HandshakeKind::Resumed), "{version:?}");
    }
}

#[test]
fn the_post_quantum_key_exchange_is_preferred() {
    let (ca, folder) = (Ca::new(), tempfile::tempdir().unwrap());
    let tls = Tls::new(&[write(&folder, "a", &ca.leaf(&["a.test"]))]).unwrap();
    let (_, server) = connect(&tls, &Arc::new(client(&ca, rustls::ALL_VERSIONS)), "a.test").unwrap();
    assert_eq!(server.protocol_version(), Some(ProtocolVersion::TLSv1_3));
    let group = server.negotiated_key_exchange_group().unwrap().name();
    assert_eq!(group, rustls::NamedGroup::X25519MLKEM768);
}
