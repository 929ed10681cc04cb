//! Where a Redis server is.
//!
//! How its name is resolved is in `names`.

use std::fmt;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;

/// Where a server listens.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Place {
    /// A name or an address, and a port.
    Tcp(Box<str>, u16),
    /// A socket of the Unix domain.
    Unix(PathBuf),
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(host, port) if host.contains(':') => write!(f, "[{host}]:{port}"),
            Self::Tcp(host, port) => write!(f, "{host}:{port}"),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

impl Place {
    /// The host; nothing for a socket of the Unix domain.
    pub fn host(&self) -> &str {
        match self {
            Self::Tcp(host, _) => host,
            Self::Unix(_) => "",
        }
    }

    /// The address, if no name is to be resolved.
    pub fn address(&self) -> Option<SocketAddr> {
        let Self::Tcp(host, port) = self else { return None };
        Some(SocketAddr::new(host.parse::<IpAddr>().ok()?, *port))
    }
}

/// The addresses of a name.
pub type Resolved = io::Result<Vec<SocketAddr>>;
