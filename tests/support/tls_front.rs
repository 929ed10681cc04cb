//! A server that speaks TLS with a certificate of a test, and hands what comes to a plain one that there is.
//!
//! What is sent over it is not known here.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use rustls::crypto::aws_lc_rs;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ServerConfig, ServerConnection, StreamOwned};

use super::ca::Leaf;

/// How long one side is listened to before the other.
const TURN: Duration = Duration::from_millis(1);

/// Listens on a free port of 127.0.0.1, on threads that end with the process.
pub fn front(leaf: &Leaf, behind: SocketAddr) -> SocketAddr {
    let key = PrivateKeyDer::from_pem_slice(leaf.key.as_bytes()).unwrap();
    let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(leaf.cert.as_bytes()).collect();
    let config = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(chain.unwrap(), key)
        .unwrap();
    let (config, listener) = (Arc::new(config), TcpListener::bind("127.0.0.1:0").unwrap());
    let address = listener.local_addr().unwrap();
    thread::spawn(move || {
        for client in listener.incoming() {
            let config = Arc::clone(&config);
            thread::spawn(move || {
                let session = ServerConnection::new(config).unwrap();
                carry(StreamOwned::new(session, client.unwrap()), TcpStream::connect(behind).unwrap());
            });
        }
    });
    address
}

/// Copies in both directions until one side ends.
fn carry(mut client: StreamOwned<ServerConnection, TcpStream>, mut server: TcpStream) {
    // A handshake that fails ends the connection: the client says why.
    while client.conn.is_handshaking() {
        if client.conn.complete_io(&mut client.sock).is_err() {
            return;
        }
    }
    for socket in [&client.sock, &server] {
        socket.set_read_timeout(Some(TURN)).unwrap();
    }
    let mut bytes = [0; 4096];
    loop {
        match client.read(&mut bytes) {
            Ok(0) => return,
            Ok(len) => server.write_all(&bytes[..len]).unwrap(),
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {}
            Err(_) => return,
        }
        match server.read(&mut bytes) {
            Ok(0) => return,
            Ok(len) if client.write_all(&bytes[..len]).and_then(|()| client.flush()).is_err() => return,
            Ok(_) => {}
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {}
            Err(_) => return,
        }
    }
}
