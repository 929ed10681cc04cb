//! TLS over a socket to Redis, as its client.
//!
//! Whom it trusts is decided by `outbound`.

use std::fmt;
use std::io::{self, ErrorKind, Read, Write};
use std::sync::Arc;

use mio::event::Source;
use mio::net::TcpStream;
use rustls::pki_types::ServerName;
use rustls::{AlertDescription, ClientConfig, ClientConnection, Error};

use super::distrust::NoTrust;
use crate::server::outbound::Words;

/// A session, and the socket that it is on.
pub struct Secured {
    session: ClientConnection,
    stream: TcpStream,
}

impl fmt::Debug for Secured {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Secured").field("stream", &self.stream).finish_non_exhaustive()
    }
}

/// What is wrong with TLS. The authority and the name of a certificate, and what the other side wants of its clients, stay as they
/// are; all else may pass.
fn refused(error: Error) -> io::Error {
    let sentence = match &error {
        Error::InvalidCertificate(_) => Words(&io::Error::other(error.clone())).to_string(),
        Error::AlertReceived(AlertDescription::CertificateRequired) => {
            "it wants a certificate of its clients, and this server has none. Set tls-auth-clients no in its configuration; who \
             may connect is said by users and passwords"
                .to_owned()
        }
        Error::InvalidMessage(_) => {
            "it does not speak TLS there: is its URL redis:// and not rediss://, or its port another?".to_owned()
        }
        _ => return io::Error::new(ErrorKind::InvalidData, error),
    };
    io::Error::new(ErrorKind::InvalidData, NoTrust(sentence))
}

impl Secured {
    /// A session that begins with the first write or read.
    ///
    /// # Errors
    /// `host` is no name that a certificate could have.
    pub fn new(stream: TcpStream, host: &str, config: &Arc<ClientConfig>) -> io::Result<Self> {
        let name = ServerName::try_from(host.to_owned())
            .map_err(|error| io::Error::new(ErrorKind::InvalidInput, error))?;
        let session = ClientConnection::new(Arc::clone(config), name).map_err(io::Error::other)?;
        Ok(Self { session, stream })
    }

    /// The socket.
    pub fn stream(&self) -> &TcpStream {
        &self.stream
    }

    /// The same, to be registered.
    pub fn source(&mut self) -> &mut dyn Source {
        &mut self.stream
    }

    /// Reads plaintext; 0 where the other side has said that nothing follows, or has ended the connection.
    ///
    /// # Errors
    /// As of a socket; what is wrong with TLS is in it as [`rustls::Error`].
    pub fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        loop {
            match self.session.reader().read(into) {
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                read => return read,
            }
            self.flush()?;
            if self.session.read_tls(&mut self.stream)? == 0 {
                return Ok(0);
            }
            if let Err(error) = self.session.process_new_packets() {
                // The alert that says so, if the socket takes it.
                let _ = self.flush();
                return Err(refused(error));
            }
        }
    }

    /// Encrypts and writes the beginning of `bytes`. What the socket does not take is kept, a few records at most, and then
    /// nothing more is taken until it is [flushed](Self::flush).
    ///
    /// # Errors
    /// As of a socket.
    pub fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.flush()?;
        let len = self.session.writer().write(bytes)?;
        self.flush()?;
        match len {
            0 => Err(ErrorKind::WouldBlock.into()),
            len => Ok(len),
        }
    }

    /// Writes the records that are kept, as far as the socket takes them.
    ///
    /// # Errors
    /// As of a socket.
    pub fn flush(&mut self) -> io::Result<()> {
        while self.session.wants_write() {
            match self.session.write_tls(&mut self.stream) {
                Ok(_) => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}
