//! The socket of a connection: the one place that reads, writes and half-closes it.
//!
//! What the bytes mean is not known here. The socket is plain TCP. A session over HTTP requests has none of its own, and
//! writes into a [`Pipe`].

use std::io::{self, ErrorKind, IoSlice, Read, Write};
use std::net::{IpAddr, Shutdown};
#[cfg(target_os = "linux")]
use std::time::Duration;

use mio::net::TcpStream;
use mio::{Interest, Registry, Token};

use super::pipe::Pipe;

/// How many bytes of a connection the system may hold that it cannot send yet. At 100 Mbit/s they last for 5 ms, a turn of
/// a busy loop; twice as many were measured to make no difference to the fan-out.
#[cfg(target_os = "linux")]
pub const UNSENT_MAX: u32 = 64 * 1024;

/// The same under the policy `latest`, where each buffered byte makes what is read older: with a segment they are 0.8 s at
/// 100 KB/s. A subscriber that lags by more is sent fewer bytes a second, but newer ones.
#[cfg(target_os = "linux")]
pub const UNSENT_LATEST_MAX: u32 = 16 * 1024;

/// A socket, registered once and edge-triggered, and the state that its edges announced.
#[derive(Debug)]
pub struct Stream {
    /// `None` for a session over HTTP requests.
    socket: Option<TcpStream>,
    room: Room,
    has_ended: bool,
}

/// Whether the socket takes more bytes, as far as is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Room {
    /// It took all of the last write.
    Free,
    /// It did not take all of the last write. An edge will announce room.
    Full,
    /// That edge has come, and nothing has been written since.
    Freed,
}

impl Stream {
    /// A socket that has just been accepted.
    pub fn new(socket: TcpStream) -> Self {
        Self { socket: Some(socket), room: Room::Free, has_ended: false }
    }

    /// That of a session over HTTP requests, none of which carries it yet.
    pub fn without_socket() -> Self {
        Self { socket: None, room: Room::Full, has_ended: false }
    }

    /// Sets the socket's options, and registers it under `token`.
    ///
    /// # Errors
    /// The system refuses; the connection cannot be used then.
    pub fn register(&mut self, registry: &Registry, token: Token) -> io::Result<()> {
        #[cfg(target_os = "linux")]
        self.bound_unsent(UNSENT_MAX);
        let Some(socket) = &mut self.socket else { return Ok(()) };
        // Nagle's delay would hold a small publication back until the one before it is acknowledged.
        socket.set_nodelay(true)?;
        registry.register(socket, token, Interest::READABLE | Interest::WRITABLE)
    }

    /// Reverses [`Stream::register`].
    pub fn deregister(&mut self, registry: &Registry) {
        // On Linux, closing the descriptor would do; other systems need the call.
        let _ = self.socket.as_mut().map(|socket| registry.deregister(socket));
    }

    /// The request that carries the session takes lines now.
    pub fn make_room(&mut self) {
        self.room = Room::Free;
    }

    /// Notes the edge that announces room.
    pub fn note_room(&mut self) {
        if self.room == Room::Full {
            self.room = Room::Freed;
        }
    }

    /// Notes that the peer has closed its half, or the connection: the unread bytes are the last.
    pub fn note_end(&mut self) {
        self.has_ended = true;
    }

    /// Whether the peer is known to have closed its half, or the connection.
    pub fn has_ended(&self) -> bool {
        self.has_ended
    }

    /// The address of the peer. A system call. `None` if the peer has gone, or there is no socket.
    pub fn peer_address(&self) -> Option<IpAddr> {
        let peer = self.socket.as_ref()?.peer_addr().ok()?;
        Some(peer.ip().to_canonical())
    }

    /// Whether a write may be tried.
    pub fn is_writable(&self) -> bool {
        self.room != Room::Full
    }

    /// Whether the socket did not take all of the last write: the peer has to make room before it takes more.
    pub fn is_refused(&self) -> bool {
        self.room != Room::Free
    }

    /// Whether the socket has room again after a refusal, and no write has used it yet.
    pub fn is_freed(&self) -> bool {
        self.room == Room::Freed
    }

    /// Nothing is left to be written, since the refused bytes have been skipped. A later write into the room does not
    /// prove that the peer took bytes.
    pub fn forget_refusal(&mut self) {
        if self.room == Room::Freed {
            self.room = Room::Free;
        }
    }

    /// Reads once. `Ok(None)` if the socket is empty; `Ok(Some(0))` at the end of input.
    ///
    /// # Errors
    /// The connection is broken.
    pub fn read(&mut self, buffer: &mut [u8]) -> io::Result<Option<usize>> {
        let Some(socket) = &mut self.socket else { return Ok(None) };
        loop {
            match socket.read(buffer) {
                Ok(len) => return Ok(Some(len)),
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(None),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// Writes the runs in order, with one system call unless a signal interrupts it. Returns how many bytes were written.
    /// If not all were, the socket takes no more until an edge announces room. Without a socket, `pipe` takes what it has room
    /// for.
    ///
    /// # Errors
    /// The connection is broken.
    pub fn write(&mut self, runs: &[IoSlice<'_>], pipe: &mut Pipe) -> io::Result<usize> {
        let len: usize = runs.iter().map(|run| run.len()).sum();
        let mut unempty = runs.iter().filter(|run| !run.is_empty());
        // A single run is the common case, and saves the kernel the walk over a vector.
        let single = unempty.next().filter(|_| unempty.next().is_none());
        let written = loop {
            let written = match (&mut self.socket, single) {
                (Some(socket), Some(run)) => socket.write(run),
                (Some(socket), None) => socket.write_vectored(runs),
                (None, _) => Ok(pipe.write(runs)),
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
        let Some(socket) = &self.socket else { return Ok(()) };
        match socket.shutdown(Shutdown::Write) {
            Err(error) if error.kind() != ErrorKind::NotConnected => Err(error),
            _ => Ok(()),
        }
    }

    /// Bounds the bytes that the system holds and cannot send yet to about this many and one segment (64 KiB). The rest
    /// stays in the log, where it can still be skipped, and where the server sees whether the peer takes it. Bytes on
    /// their way to the peer, or in its buffer, do not count, so the throughput of a peer stays the same. On systems
    /// without this option the system's own buffer decides, which may be several MiB.
    #[cfg(target_os = "linux")]
    pub fn bound_unsent(&self, unsent_max: u32) {
        // If the system refuses, its own buffer decides.
        let _ = self.option(|socket| socket.set_tcp_notsent_lowat(unsent_max));
    }

    /// Has the system end the connection if the peer does not acknowledge written bytes within this time, or with `None` its
    /// own: the only sign of
    /// life of a peer that never sends. On systems without this option the system's own timeout decides, a quarter of an
    /// hour or more.
    #[cfg(target_os = "linux")]
    pub fn expect_acknowledgement(&self, within: Option<Duration>) {
        // If the system refuses, its own timeout decides.
        let _ = self.option(|socket| socket.set_tcp_user_timeout(within));
    }

    #[cfg(target_os = "linux")]
    fn option<T>(&self, call: impl FnOnce(socket2::SockRef<'_>) -> T) -> Option<T> {
        self.socket.as_ref().map(|socket| call(socket2::SockRef::from(socket)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_a_socket_what_the_pipe_has_no_room_for_waits_as_for_a_full_socket() {
        let (mut stream, mut pipe) = (Stream::without_socket(), Pipe::default());
        assert!(!stream.is_writable(), "nothing carries it yet");
        assert!(stream.read(&mut [0]).unwrap().is_none());
        stream.make_room();
        pipe.open(1);
        assert_eq!(stream.write(&[IoSlice::new(b"a\nb\n")], &mut pipe).unwrap(), 2);
        assert!(!stream.is_writable());
        assert_eq!(pipe.take(), b"a\n");
        stream.make_room();
        pipe.open(1);
        assert_eq!(stream.write(&[IoSlice::new(b"b\n")], &mut pipe).unwrap(), 2);
        assert!(stream.is_writable());
    }

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
        assert_eq!(stream.option(|socket| socket.tcp_notsent_lowat()).unwrap().unwrap(), UNSENT_MAX);
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn the_system_is_told_how_long_to_wait_for_an_acknowledgement() {
        let stream = stream();
        stream.expect_acknowledgement(Some(Duration::from_secs(20)));
        let asked = stream.option(|socket| socket.tcp_user_timeout()).unwrap().unwrap();
        assert_eq!(asked, Some(Duration::from_secs(20)));
    }
}
