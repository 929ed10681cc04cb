//! The one place that writes to a connected socket, and that says how long the system tries to.

use std::io::{self, ErrorKind, IoSlice, Write};
#[cfg(target_os = "linux")]
use std::time::Duration;

use mio::net::TcpStream;

/// What the system may hold of a connection that it cannot send yet. At 100 Mbit/s it lasts for 5 ms, a turn of a busy
/// loop; twice as much was measured to make no difference to the fan-out.
#[cfg(target_os = "linux")]
pub const UNSENT_MAX: u32 = 64 * 1024;

/// The same under the policy `latest`, where each byte of it makes what is read older: with a segment it is 0.8 s at
/// 100 KB/s. Who is behind with more than this loses speed by it, and has something newer to read for it.
#[cfg(target_os = "linux")]
pub const UNSENT_LATEST_MAX: u32 = 16 * 1024;

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

/// Has the system take no more than about this many bytes that it cannot send yet, and one segment (64 KiB): the rest
/// stays where it can still be passed over, and where it is seen whether the peer takes it. What is on its way to the
/// peer, or in its own buffer, is not counted, so what a peer can take a second stays the same. Where it cannot be asked for, the
/// system's own buffer decides, which may be some MiB.
#[cfg(target_os = "linux")]
pub fn bound_unsent(socket: &TcpStream, unsent_max: u32) {
    // A refusal leaves the system's buffer.
    let _ = socket2::SockRef::from(socket).set_tcp_notsent_lowat(unsent_max);
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
    fn the_system_is_told_how_much_it_may_hold_unsent() {
        use super::*;
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let socket = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        bound_unsent(&socket, UNSENT_MAX);
        assert_eq!(socket2::SockRef::from(&socket).tcp_notsent_lowat().unwrap(), UNSENT_MAX);
    }

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
