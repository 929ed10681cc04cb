//! The least that a server over TLS does: rustls' sessions without buffers of their own, and blocking handshakes.
//!
//! What is sent, and when, is the contestant's.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::Arc;

use rustls::ServerConfig;
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{ServerConnectionData, UnbufferedServerConnection};
use rustls::unbuffered::{
    ConnectionState, EncodeError, EncryptError, InsufficientSizeError, UnbufferedStatus, WriteTraffic,
};

/// The answer to the key that every client of a bench sends, which is that of RFC 6455 §1.3.
const SWITCHING: &[u8] = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
                           Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n";

/// The answer to a request that closes.
const OK: &[u8] = b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 3\r\n\r\nok\n";

/// Takes in clients with one certificate.
pub struct Acceptor {
    config: Arc<ServerConfig>,
}

/// A client that has shaken hands, of TLS and of WebSocket.
pub struct Peer {
    pub socket: TcpStream,
    session: UnbufferedServerConnection,
    /// What the client has sent and the session has not used.
    rest: Vec<u8>,
}

impl Acceptor {
    /// The files of the certificate and its key.
    pub fn new(cert: &str, key: &str) -> Self {
        let cert = CertificateDer::from_pem_file(cert).expect("the bench has written it");
        let key = PrivateKeyDer::from_pem_file(key).expect("the bench has written it");
        let builder = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()));
        let versions = builder.with_protocol_versions(&[&rustls::version::TLS13]);
        let config = versions.expect("the provider has TLS 1.3").with_no_client_auth();
        let mut config = config.with_single_cert(vec![cert], key).expect("they belong together");
        // As the server of this crate does.
        config.ticketer = aws_lc_rs::Ticketer::new().expect("the system has random bytes");
        config.send_tls13_tickets = 1;
        Self { config: Arc::new(config) }
    }

    /// Shakes hands.
    pub fn accept(&self, socket: TcpStream) -> Peer {
        let peer = self.answer(socket, SWITCHING);
        peer.socket.set_nonblocking(true).expect("a socket need not block");
        peer
    }

    /// Shakes hands, answers one request and closes.
    pub fn visit(&self, socket: TcpStream) {
        self.answer(socket, OK).close();
    }

    fn answer(&self, socket: TcpStream, answer: &[u8]) -> Peer {
        let session = UnbufferedServerConnection::new(Arc::clone(&self.config));
        let session = session.expect("the configuration is right");
        let mut peer = Peer { socket, session, rest: Vec::new() };
        peer.hear_request();
        let mut record = Vec::new();
        let len = peer.seal(answer, &mut record);
        peer.socket.write_all(&record[..len]).expect("the client waits for the answer");
        peer
    }
}

impl Peer {
    /// Encrypts `plain` into the front of `record`, which grows if it is too short, and returns the length.
    pub fn seal(&mut self, plain: &[u8], record: &mut Vec<u8>) -> usize {
        self.write_traffic(record, |traffic, record| traffic.encrypt(plain, record))
    }

    fn close(mut self) {
        let mut record = Vec::new();
        let len = self.write_traffic(&mut record, |traffic, record| traffic.queue_close_notify(record));
        self.socket.write_all(&record[..len]).expect("the client reads to the end");
    }

    fn write_traffic(
        &mut self,
        record: &mut Vec<u8>,
        mut write: impl FnMut(
            &mut WriteTraffic<'_, ServerConnectionData>,
            &mut [u8],
        ) -> Result<usize, EncryptError>,
    ) -> usize {
        let UnbufferedStatus { state, .. } = self.session.process_tls_records(&mut self.rest);
        let Ok(ConnectionState::WriteTraffic(mut traffic)) = state else {
            unreachable!("the handshake is complete and the client says no more");
        };
        loop {
            match write(&mut traffic, record) {
                Ok(len) => return len,
                Err(EncryptError::InsufficientSize(InsufficientSizeError { required_size })) => {
                    record.resize(required_size, 0);
                }
                Err(error @ EncryptError::EncryptExhausted) => unreachable!("TLS 1.3 changes keys: {error}"),
            }
        }
    }

    /// Completes the handshake and reads the request.
    fn hear_request(&mut self) {
        let (mut to_send, mut request) = (Vec::new(), Vec::new());
        loop {
            let UnbufferedStatus { mut discard, state } = self.session.process_tls_records(&mut self.rest);
            let needs_input = match state.expect("the client speaks TLS 1.3") {
                ConnectionState::EncodeTlsData(mut data) => {
                    let at = to_send.len();
                    while let Err(error) = data.encode(&mut to_send[at..]) {
                        let EncodeError::InsufficientSize(InsufficientSizeError { required_size }) = error
                        else {
                            unreachable!("it is encoded once: {error}");
                        };
                        to_send.resize(at + required_size, 0);
                    }
                    false
                }
                ConnectionState::TransmitTlsData(data) => {
                    self.socket.write_all(&to_send).expect("the client reads");
                    to_send.clear();
                    data.done();
                    false
                }
                ConnectionState::ReadTraffic(mut traffic) => {
                    while let Some(record) = traffic.next_record() {
                        let record = record.expect("the client encrypts what it sends");
                        request.extend_from_slice(record.payload);
                        discard += record.discard;
                    }
                    false
                }
                ConnectionState::WriteTraffic(_) if request.ends_with(b"\r\n\r\n") => return,
                ConnectionState::BlockedHandshake | ConnectionState::WriteTraffic(_) => true,
                unknown => unreachable!("a client that asks and stays: {unknown:?}"),
            };
            self.rest.drain(..discard);
            if needs_input {
                self.read();
            }
        }
    }

    fn read(&mut self) {
        let mut piece = [0; 4096];
        let len = self.socket.read(&mut piece).expect("the client asks");
        assert!(len > 0, "the client closed instead of asking");
        self.rest.extend_from_slice(&piece[..len]);
    }
}
