//! The socket of a connection: the one place that reads, writes and half-closes it.
//!
//! What the bytes mean is not known here. The socket is TCP, plain or with a [`TlsLayer`] between. A session over HTTP
//! requests has none of its own, and writes into a [`Pipe`].

use std::io::{self, ErrorKind, IoSlice, Write};
use std::net::{IpAddr, Shutdown};
#[cfg(target_os = "linux")]
use std::time::Duration;

use mio::net::TcpStream;
use mio::{Interest, Registry, Token};

use super::pipe::Pipe;
use super::tls::{Arrival, Progress, Sealing, TlsLayer, read_some, write_some};

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
    tls: Option<Box<TlsLayer>>,
    room: Room,
    has_ended: bool,
}

/// What a write takes besides the bytes.
#[derive(Debug)]
pub struct Outlet<'a> {
    /// Where a session without a socket writes.
    pub pipe: &'a mut Pipe,
    /// Where records are made.
    pub sealing: &'a mut Sealing,
    /// Counts the bytes that the socket takes.
    pub sent: &'a mut u64,
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
        Self { socket: Some(socket), tls: None, room: Room::Free, has_ended: false }
    }

    /// The same, whose peer speaks TLS.
    pub fn over_tls(socket: TcpStream, tls: Box<TlsLayer>) -> Self {
        Self { tls: Some(tls), ..Self::new(socket) }
    }

    /// That of a session over HTTP requests, none of which carries it yet.
    pub fn without_socket() -> Self {
        Self { socket: None, tls: None, room: Room::Full, has_ended: false }
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

    /// Reads once, at most `len_max` bytes. `Ok(None)` if the socket is empty; what arrived has no bytes at the end of input.
    ///
    /// # Errors
    /// The connection is broken.
    pub fn read(&mut self, buffer: &mut [u8], len_max: usize) -> io::Result<Option<Arrival>> {
        let Some(socket) = &mut self.socket else { return Ok(None) };
        if let Some(tls) = &mut self.tls {
            return tls.read(socket, buffer, len_max);
        }
        let Some(len) = read_some(socket, &mut buffer[..len_max])? else { return Ok(None) };
        Ok(Some(Arrival { carried: len, bytes: 0..len, is_all: len < len_max, ..Arrival::default() }))
    }

    /// Writes the runs in order, with one system call unless a signal interrupts it; with TLS, with one for each record.
    /// Returns how many of their bytes were taken. If not all were, the socket takes no more until an edge announces room.
    /// Without a socket, the pipe takes what it has room for.
    ///
    /// # Errors
    /// The connection is broken.
    pub fn write(&mut self, runs: &[IoSlice<'_>], outlet: &mut Outlet<'_>) -> io::Result<usize> {
        if let (Some(tls), Some(socket)) = (&mut self.tls, &mut self.socket) {
            let progress = tls.write(socket, runs, outlet.sealing)?;
            return Ok(self.note(progress, outlet));
        }
        let len: usize = runs.iter().map(|run| run.len()).sum();
        let mut unempty = runs.iter().filter(|run| !run.is_empty());
        // A single run is the common case, and saves the kernel the walk over a vector.
        let single = unempty.next().filter(|_| unempty.next().is_none());
        let written = write_some(|| match (&mut self.socket, single) {
            (Some(socket), Some(run)) => socket.write(run),
            (Some(socket), None) => socket.write_vectored(runs),
            (None, _) => Ok(outlet.pipe.write(runs)),
        })?;
        *outlet.sent += written as u64;
        self.room = if written == len { Room::Free } else { Room::Full };
        Ok(written)
    }

    fn note(&mut self, progress: Progress, outlet: &mut Outlet<'_>) -> usize {
        *outlet.sent += progress.sent as u64;
        self.room = if progress.is_whole { Room::Free } else { Room::Full };
        progress.taken
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
}

/// TLS.
impl Stream {
    /// Its TLS, if its peer speaks that.
    pub fn tls(&self) -> Option<&TlsLayer> {
        self.tls.as_deref()
    }

    /// Whether a handshake has to be completed before requests come.
    pub fn is_handshaking(&self) -> bool {
        self.tls.as_ref().is_some_and(|tls| tls.is_handshaking())
    }

    /// How many bytes were sealed and not sent yet.
    pub fn sealed_len(&self) -> usize {
        self.tls.as_ref().map_or(0, |tls| tls.sealed_len())
    }

    /// Says to a peer with TLS that nothing more follows, unless it was told before. Call it when all is written; after that,
    /// nothing can be.
    ///
    /// # Errors
    /// The connection is broken.
    pub fn end(&mut self, outlet: &mut Outlet<'_>) -> io::Result<()> {
        if let (Some(tls), Some(socket)) = (&mut self.tls, &mut self.socket) {
            let progress = tls.end(socket, outlet.sealing)?;
            self.note(progress, outlet);
        }
        Ok(())
    }
}

#[cfg(target_os = "linux")]
impl Stream {
    /// Bounds the bytes that the system holds and cannot send yet to about this many and one segment (64 KiB). The rest
    /// stays in the log, where it can still be skipped, and where the server sees whether the peer takes it. Bytes on
    /// their way to the peer, or in its buffer, do not count, so the throughput of a peer stays the same. On systems
    /// without this option the system's own buffer decides, which may be several MiB.
    pub fn bound_unsent(&self, unsent_max: u32) {
        // If the system refuses, its own buffer decides.
        let _ = self.option(|socket| socket.set_tcp_notsent_lowat(unsent_max));
    }

    /// Has the system end the connection if the peer does not acknowledge written bytes within this time, or with `None` its
    /// own: the only sign of
    /// life of a peer that never sends. On systems without this option the system's own timeout decides, a quarter of an
    /// hour or more.
    pub fn expect_acknowledgement(&self, within: Option<Duration>) {
        // If the system refuses, its own timeout decides.
        let _ = self.option(|socket| socket.set_tcp_user_timeout(within));
    }

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
        let write = |stream: &mut Stream, bytes: &[u8], pipe: &mut Pipe| {
            let mut outlet = Outlet { pipe, sealing: &mut Sealing::default(), sent: &mut 0 };
            stream.write(&[IoSlice::new(bytes)], &mut outlet).unwrap()
        };
        assert!(!stream.is_writable(), "nothing carries it yet");
        assert!(stream.read(&mut [0], 1).unwrap().is_none());
        stream.make_room();
        pipe.open(1);
        assert_eq!(write(&mut stream, b"a\nb\n", &mut pipe), 2);
        assert!(!stream.is_writable());
        assert_eq!(pipe.take(), b"a\n");
        stream.make_room();
        pipe.open(1);
        assert_eq!(write(&mut stream, b"b\n", &mut pipe), 2);
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
