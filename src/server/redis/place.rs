//! Where a Redis server is, and the way there: names are resolved by a thread, and each of a name's addresses is tried.
//!
//! What is said there is not known here.

use std::fmt;
use std::io;
use std::net::{IpAddr, SocketAddr, ToSocketAddrs};
use std::path::PathBuf;
use std::sync::Arc;
use std::thread;

use super::inbox::{Inbox, Order};

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

/// Resolves the name of a place on a thread of its own, since the system's call may take seconds. The inbox gets the outcome
/// for `line`.
///
/// # Errors
/// There is no thread.
pub fn resolve(host: &str, port: u16, line: usize, inbox: &Arc<Inbox>) -> io::Result<()> {
    let (host, inbox) = (host.to_owned(), Arc::clone(inbox));
    let resolve = move || {
        let found = (host.as_str(), port).to_socket_addrs().map(Iterator::collect);
        inbox.put(Order::Resolved(line, found));
    };
    thread::Builder::new().name("fanfare-names".into()).spawn(resolve).map(drop)
}
