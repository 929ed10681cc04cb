//! The socket of a connection: the one place that reads, writes and half-closes it.
//!
//! What the bytes are is not known here. The socket is a plain one.

use std::io::{self, ErrorKind, IoSlice, Read, Write};
use std::net::Shutdown;
#[cfg(target_os = "linux")]
use std::time::Duration;

use mio::net::TcpStream;
use mio::{Interest, Registry, Token};

/// What the system may hold of a connection that it cannot send yet. At 100 Mbit/s it lasts for 5 ms, a turn of a busy
/// loop; twice as much was measured to make no difference to the fan-out.
#[cfg(target_os = "linux")]
pub const UNSENT_MAX: u32 = 64 * 1024;

/// The same under the policy `latest`, where each byte of it makes what is read older: with a segment it is 0.8 s at
/// 100 KB/s. Who is behind with more than this loses speed by it, and has something newer to read for it.
#[cfg(target_os = "linux")]
pub const UNSENT_LATEST_MAX: u32 = 16 * 1024;

/// A socket, registered once and edge-triggered, and what its edges have told.
#[derive(Debug)]
pub struct Stream {
    socket: TcpStream,
    room: Room,
    has_ended: bool,
}

/// Whether the socket takes more bytes, as far as is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Room {
    /// It took all of the last write.
    Free,
    /// It did not take all of the last write. The edge that tells of room is still to come.
    Full,
    /// That edge has come, and nothing was written since.
    Freed,
}

impl Stream {
    /// A socket that has just been accepted.
    pub fn new(socket: TcpStream) -> Self {
        Self { socket, room: Room::Free, has_ended: false }
    }

    /// Prepares the socket, and has its edges told under `token`.
    ///
    /// # Errors
    /// The system refuses; the connection is of no use then.
    pub fn register(&mut self, registry: &Registry, token: Token) -> io::Result<()> {
        // Nagle's delay would hold a small publication back until the one before it is acknowledged.
        self.socket.set_nodelay(true)?;
        #[cfg(target_os = "linux")]
        self.bound_unsent(UNSENT_MAX);
        registry.register(&mut self.socket, token, Interest::READABLE | Interest::WRITABLE)
    }

    /// Ends what [`Stream::register`] began.
    pub fn deregister(&mut self, registry: &Registry) {
        // Closing the descriptor would do; other systems than Linux want to be told.
        let _ = registry.deregister(&mut self.socket);
    }

    /// Takes note of the edge that tells of room.
    pub fn note_room(&mut self) {
        if self.room == Room::Full {
            self.room = Room::Freed;
        }
    }

    /// Takes note that the peer has closed its half, or all: after the unread bytes comes the end.
    pub fn note_end(&mut self) {
        self.has_ended = true;
    }

    /// Whether the peer is known to have closed its half, or all.
    pub fn has_ended(&self) -> bool {
        self.has_ended
    }

    /// Whether a write may be tried.
    pub fn is_writable(&self) -> bool {
        self.room != Room::Full
    }

    /// Whether the last write did not fit: what the socket takes after it, the peer has made room for.
    pub fn is_refused(&self) -> bool {
        self.room != Room::Free
    }

    /// Whether there is room again after a refusal, which no write has used yet.
    pub fn is_freed(&self) -> bool {
        self.room == Room::Freed
    }

    /// Nothing is left to be written: what was refused is passed over meanwhile, and what comes next is written into room
    /// that nobody made.
    pub fn forget_refusal(&mut self) {
        if self.room == Room::Freed {
            self.room = Room::Free;
        }
    }

    /// Reads once. `Ok(None)` if there is nothing now; `Ok(Some(0))` is the end.
    ///
    /// # Errors
    /// The connection is broken.
    pub fn read(&mut self, buffer: &mut [u8]) -> io::Result<Option<usize>> {
        loop {
            match self.socket.read(buffer) {
                Ok(len) => return Ok(Some(len)),
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(None),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// Writes the runs in order, with one system call unless a signal interrupts it. How many bytes went out; if not
    /// all did, the socket takes no more until an edge tells of room.
    ///
    /// # Errors
    /// The connection is broken.
    pub fn write(&mut self, runs: &[IoSlice<'_>]) -> io::Result<usize> {
        let len: usize = runs.iter().map(|run| run.len()).sum();
        let mut unempty = runs.iter().filter(|run| !run.is_empty());
        // A single run is the rule, and spares the kernel the walk over a vector.
        let single = unempty.next().filter(|_| unempty.next().is_none());
        let written = loop {
            let written = match single {
                Some(run) => self.socket.write(run),
                None => self.socket.write_vectored(runs),
            };
            match written {
                Ok(written) => break written,
                Err(error) if error.kind() == ErrorKind::WouldBlock => break 0,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        };
        self.room = if written == len { Room::Free } else { Room::Full };
        Ok(written)
    }

    /// Closes our half.
    ///
    /// # Errors
    /// The connection is broken.
    pub fn close_half(&mut self) -> io::Result<()> {
        match self.socket.shutdown(Shutdown::Write) {
            Err(error) if error.kind() != ErrorKind::NotConnected => Err(error),
            _ => Ok(()),
        }
    }

    /// Has the system take no more than about this many bytes that it cannot send yet, and one segment (64 KiB): the rest
    /// stays where it can still be passed over, and where it is seen whether the peer takes it. What is on its way to the
    /// peer, or in its own buffer, is not counted, so what a peer can take a second stays the same. Where it cannot be
    /// asked for, the system's own buffer decides, which may be some MiB.
    #[cfg(target_os = "linux")]
    pub fn bound_unsent(&self, unsent_max: u32) {
        // A refusal leaves the system's buffer.
        let _ = socket2::SockRef::from(&self.socket).set_tcp_notsent_lowat(unsent_max);
    }

    /// Has the system end a connection whose peer does not acknowledge within this time what was written: the one sign of
    /// life where the peer never says anything. Where it cannot be asked for, the system's own patience decides, which is
    /// a quarter of an hour and more.
    #[cfg(target_os = "linux")]
    pub fn expect_acknowledgement(&self, within: Duration) {
        // A refusal leaves the system's patience.
        let _ = socket2::SockRef::from(&self.socket).set_tcp_user_timeout(Some(within));
    }
}

#[cfg(test)]
mod tests {
    #[cfg(target_os = "linux")]
    use super::*;

    #[cfg(target_os = "linux")]
    fn stream() -> Stream {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        Stream::new(TcpStream::connect(listener.local_addr().unwrap()).unwrap())
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn the_system_is_told_how_much_it_may_hold_unsent() {
        let stream = stream();
        stream.bound_unsent(UNSENT_MAX);
        assert_eq!(socket2::SockRef::from(&stream.socket).tcp_notsent_lowat().unwrap(), UNSENT_MAX);
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn the_system_is_told_how_long_to_wait_for_an_acknowledgement() {
        let stream = stream();
        stream.expect_acknowledgement(Duration::from_secs(20));
        let asked = socket2::SockRef::from(&stream.socket).tcp_user_timeout().unwrap();
        assert_eq!(asked, Some(Duration::from_secs(20)));
    }
}
