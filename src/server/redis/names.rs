//! The addresses of a server's name, found by a thread.
//!
//! Which of them is taken is decided by `line`.

use std::io;
use std::net::ToSocketAddrs;
use std::sync::Arc;
use std::thread;

use super::inbox::{Inbox, Order};

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
