//! The one place that writes to a connected socket, and that says how long the system tries to.

use std::io::{self, ErrorKind, IoSlice, Write};
#[cfg(target_os = "linux")]
use std::time::Duration;

use mio::net::TcpStream;

/// What became of a write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transmitted {
    /// So many bytes went out, all of them.
    All(usize),
    /// So many went out, and the socket takes no more until it says so: it will, as an edge.
    Part(usize),
}

/// Writes the runs in order, with one system call unless a signal interrupts it.
///
/// # Errors
/// The connection is broken.
pub fn transmit(mut socket: &TcpStream, runs: &[&[u8]; 3]) -> io::Result<Transmitted> {
    let owed: usize = runs.iter().map(|run| run.len()).sum();
    loop {
        // A single run is the rule, and spares the kernel the walk over a vector.
        let written = match runs {
            [run, [], []] | [[], run, []] | [[], [], run] => socket.write(run),
            _ => socket.write_vectored(&runs.map(IoSlice::new)),
        };
        match written {
            Ok(len) if len == owed => return Ok(Transmitted::All(len)),
            Ok(len) => return Ok(Transmitted::Part(len)),
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(Transmitted::Part(0)),
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

/// Has the system end a connection whose peer does not acknowledge within this time what was written: the one sign of
/// life where the peer never says anything. Where it cannot be asked for, the system's own patience decides, which is
/// a quarter of an hour and more.
#[cfg(target_os = "linux")]
pub fn expect_acknowledgement(socket: &TcpStream, within: Duration) {
    // A refusal leaves the system's patience.
    let _ = socket2::SockRef::from(socket).set_tcp_user_timeout(Some(within));
}

#[cfg(test)]
mod tests {
    #[cfg(target_os = "linux")]
    #[test]
    fn the_system_is_told_how_long_to_wait_for_an_acknowledgement() {
        use super::*;
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let socket = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        expect_acknowledgement(&socket, Duration::from_secs(20));
        let asked = socket2::SockRef::from(&socket).tcp_user_timeout().unwrap();
        assert_eq!(asked, Some(Duration::from_secs(20)));
    }
}
