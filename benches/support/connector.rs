//! Connections of clients, plain or over TLS as the address of the server says.
//!
//! What goes over them is not known here.

use std::io::{Read, Write};
use std::net::TcpStream;
#[cfg(feature = "tls")]
use std::sync::Arc;
use std::time::Duration;

#[cfg(feature = "tls")]
use rustls::ClientConfig;
#[cfg(feature = "tls")]
use rustls::client::Resumption;

#[cfg(feature = "tls")]
use super::tls;

/// What stands between the address of a server that speaks TLS and the file of the certificate that its clients trust.
#[cfg(feature = "tls")]
pub const TRUSTS: char = '=';

/// A client that waits longer than this has lost bytes: the slowest round takes some seconds.
const SILENCE_MAX: Duration = Duration::from_secs(60);

/// A blocking connection, as its user sees it.
pub trait Connection: Read + Write + Send {}

impl<T: Read + Write + Send> Connection for T {}

/// Connects to one server.
pub struct Connector {
    address: String,
    #[cfg(feature = "tls")]
    tls: Option<Arc<ClientConfig>>,
}

impl Connector {
    /// `address` is such as `127.0.0.1:8080`, or `127.0.0.1:8443=cert.pem` if TLS is spoken there.
    pub fn new(address: &str) -> Self {
        #[cfg(feature = "tls")]
        if let Some((address, certificate)) = address.split_once(TRUSTS) {
            let config = tls::client_config(certificate, Resumption::disabled());
            return Self { address: address.to_owned(), tls: Some(config) };
        }
        Self {
            address: address.to_owned(),
            #[cfg(feature = "tls")]
            tls: None,
        }
    }

    /// Where the server is.
    pub fn address(&self) -> &str {
        &self.address
    }

    /// A connection whose TLS handshake, if it has one, is complete.
    pub fn connect(&self) -> Box<dyn Connection> {
        let socket = TcpStream::connect(&self.address).expect("the server takes this many clients");
        socket.set_read_timeout(Some(SILENCE_MAX)).expect("60 s is a timeout");
        socket.set_nodelay(true).expect("TCP has no delay if told so");
        #[cfg(feature = "tls")]
        if let Some(config) = &self.tls {
            return Box::new(tls::over(socket, config));
        }
        Box::new(socket)
    }
}
