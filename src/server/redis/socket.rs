//! A socket to Redis, which never blocks: TCP, TLS over TCP, or of the Unix domain.
//!
//! What is read and written is not known here. Names are resolved before.

use std::io::{self, ErrorKind, Read, Write};
use std::net::SocketAddr;
use std::path::Path;
#[cfg(feature = "tls")]
use std::sync::Arc;

use mio::event::Source;
use mio::net::{TcpStream, UnixStream};
use mio::{Interest, Registry, Token};

#[cfg(feature = "tls")]
use super::tls::Secured;

/// A socket, connected or about to be.
#[derive(Debug)]
pub enum Socket {
    Tcp(TcpStream),
    Unix(UnixStream),
    #[cfg(feature = "tls")]
    Tls(Box<Secured>),
}

/// How far a read or write came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    /// So many bytes, at least one. There may be more.
    Some(usize),
    /// The system is not ready: there will be an event.
    Blocked,
}

impl Socket {
    /// Begins to connect to an address.
    ///
    /// # Errors
    /// The system's.
    pub fn connect(address: SocketAddr) -> io::Result<Self> {
        let stream = TcpStream::connect(address)?;
        Ok(Self::Tcp(stream))
    }

    /// Connects to a socket of the Unix domain.
    ///
    /// # Errors
    /// The system's.
    pub fn connect_unix(path: &Path) -> io::Result<Self> {
        UnixStream::connect(path).map(Self::Unix)
    }

    /// Speaks TLS with this host over it, as soon as it is connected.
    ///
    /// # Errors
    /// `host` is no name that a certificate could have.
    #[cfg(feature = "tls")]
    pub fn secured(self, host: &str, config: &Arc<rustls::ClientConfig>) -> io::Result<Self> {
        match self {
            Self::Tcp(stream) => Ok(Self::Tls(Box::new(Secured::new(stream, host, config)?))),
            Self::Unix(_) | Self::Tls(_) => Ok(self),
        }
    }

    /// Registers it for both directions, edge by edge.
    ///
    /// # Errors
    /// The system's.
    pub fn register(&mut self, registry: &Registry, token: Token) -> io::Result<()> {
        registry.register(self.source(), token, Interest::READABLE | Interest::WRITABLE)
    }

    /// Ends the registration.
    pub fn deregister(&mut self, registry: &Registry) {
        // It is closed next, which ends it as well.
        let _ = registry.deregister(self.source());
    }

    fn source(&mut self) -> &mut dyn Source {
        match self {
            Self::Tcp(stream) => stream,
            Self::Unix(stream) => stream,
            #[cfg(feature = "tls")]
            Self::Tls(secured) => secured.source(),
        }
    }

    /// Whether it is connected by now; called at an event until it says so.
    ///
    /// # Errors
    /// It will never be.
    pub fn is_connected(&self) -> io::Result<bool> {
        let stream = match self {
            Self::Tcp(stream) => stream,
            Self::Unix(stream) => {
                return stream.take_error()?.map_or(Ok(true), Err);
            }
            #[cfg(feature = "tls")]
            Self::Tls(secured) => secured.stream(),
        };
        if let Some(error) = stream.take_error()? {
            return Err(error);
        }
        match stream.peer_addr() {
            Ok(_) => {
                // A command is written once a turn, and is not to wait for the answer to the one before.
                stream.set_nodelay(true)?;
                Ok(true)
            }
            Err(error) if error.kind() == ErrorKind::NotConnected => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Reads what has arrived, as much of it as fits `into`, which is not empty.
    ///
    /// # Errors
    /// The system's, or TLS's; [`ErrorKind::UnexpectedEof`] where the other side has ended the connection.
    pub fn read(&mut self, into: &mut [u8]) -> io::Result<Progress> {
        let read = progress(|| match self {
            Self::Tcp(stream) => stream.read(into),
            Self::Unix(stream) => stream.read(into),
            #[cfg(feature = "tls")]
            Self::Tls(secured) => secured.read(into),
        });
        if matches!(read, Ok(Progress::Some(0))) {
            return Err(ErrorKind::UnexpectedEof.into());
        }
        read
    }

    /// Writes the beginning of `bytes`, which are not empty.
    ///
    /// # Errors
    /// The system's, or TLS's.
    pub fn write(&mut self, bytes: &[u8]) -> io::Result<Progress> {
        progress(|| match self {
            Self::Tcp(stream) => stream.write(bytes),
            Self::Unix(stream) => stream.write(bytes),
            #[cfg(feature = "tls")]
            Self::Tls(secured) => secured.write(bytes),
        })
    }

    /// Writes what the layer itself still holds: TLS has records that the system did not take.
    ///
    /// # Errors
    /// The system's.
    pub fn flush(&mut self) -> io::Result<()> {
        match self {
            Self::Tcp(_) | Self::Unix(_) => Ok(()),
            #[cfg(feature = "tls")]
            Self::Tls(secured) => secured.flush(),
        }
    }
}

fn progress(mut call: impl FnMut() -> io::Result<usize>) -> io::Result<Progress> {
    loop {
        match call() {
            Ok(len) => return Ok(Progress::Some(len)),
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(Progress::Blocked),
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}
