//! TLS between a connection and its socket: what is read is decrypted, what is written is sealed, in order.
//!
//! What the plaintext means is not known here. The records are rustls' (`server::tls`).
//!
//! ```text
//!   socket --> | kept | read now |  --session-->  plaintext --> role
//!   socket <-- | sealed | <--session-- one record <-- outbox and log, at most 16 KiB at a time
//! ```

use std::io::{self, ErrorKind, IoSlice, Read, Write};
use std::ops::Range;

use super::outbox::Outbox;
use crate::server::tls::Session;
use crate::server::tls::received::{
    DECODE_ERROR, Ending, Fault, FaultKind, Handshake, NotSealed, PLAIN_LEN_MAX, RECORD_LEN_MAX,
};

/// The most that is kept of input that is not a complete record or handshake message. A record has at most 18,437 bytes; a
/// client's hello with keys, tickets and extensions has less than 4 KiB. Without this bound a peer could have 64 KiB of a
/// handshake message kept.
const KEPT_LEN_MAX: usize = 20 * 1024;

/// Capacity of [`Sealing::record`] beyond a record: a KeyUpdate may go ahead of it (27 bytes).
const RECORD_SPARE: usize = 64;

/// The TLS of one connection.
///
/// Invariant: `kept` has no complete record. While `sealed` is not empty, nothing more of the connection's plaintext is
/// sealed: what the socket has not taken is at most one record, and what the session itself had to say.
#[derive(Debug)]
pub struct TlsLayer {
    session: Session,
    course: Course,
    /// What was read and is not a complete record yet. Without capacity if there is nothing.
    kept: Vec<u8>,
    /// Bytes of the wire that the socket has not taken.
    sealed: Outbox,
}

/// How far a session has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Course {
    /// Nothing has arrived.
    Fresh,
    /// The peer's Finished has not come.
    Handshaking,
    /// Both sides may send.
    Open,
    /// The peer has said that it sends no more.
    PeerDone,
    /// We have said so, or an alert: nothing more is sealed, and what the peer sends is ignored.
    Ended,
    /// The peer does not speak TLS: what it is told is in clear, and what it sends is ignored.
    Clear,
}

/// What a read has brought.
#[derive(Debug, Default)]
pub struct Arrival {
    /// How many bytes the socket gave: none at the end of input.
    pub carried: usize,
    /// Where the plaintext is in the buffer.
    pub bytes: Range<usize>,
    /// Whether there was room for more: the socket is empty.
    pub is_all: bool,
    /// The handshake that is complete now.
    pub established: Option<Handshake>,
    /// Whether the input ends behind `bytes`, and how.
    pub ending: Option<Ending>,
}

/// What a write has done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    /// How many bytes of plaintext are taken: sealed, and never offered again.
    pub taken: usize,
    /// How many bytes the socket took.
    pub sent: usize,
    /// Whether the socket took all that it was offered.
    pub is_whole: bool,
}

/// What a loop seals in, for all its connections.
#[derive(Debug)]
pub struct Sealing {
    /// Plaintext of several runs that becomes one record.
    gathered: Vec<u8>,
    /// The record.
    record: Vec<u8>,
}

impl Default for Sealing {
    /// Without memory: a loop without TLS has none.
    fn default() -> Self {
        Self { gathered: Vec::new(), record: Vec::new() }
    }
}

impl TlsLayer {
    /// With a session that expects a ClientHello.
    pub fn new(session: Session) -> Box<Self> {
        let (course, kept, sealed) = (Course::Fresh, Vec::new(), Outbox::default());
        Box::new(Self { session, course, kept, sealed })
    }

    /// Whether the handshake is not complete.
    pub fn is_handshaking(&self) -> bool {
        matches!(self.course, Course::Fresh | Course::Handshaking)
    }

    /// Whether what is written now is sealed.
    pub fn is_open(&self) -> bool {
        matches!(self.course, Course::Open | Course::PeerDone)
    }

    /// Whether the peer has sent nothing yet.
    pub fn is_fresh(&self) -> bool {
        self.course == Course::Fresh
    }

    /// Whether the keys are used up but for what ends the connection.
    pub fn is_spent(&self) -> bool {
        self.session.is_spent()
    }

    /// The bytes that the socket has not taken.
    pub fn sealed_len(&self) -> usize {
        self.sealed.unsent().len()
    }

    /// The bytes of memory that are held for this connection, its session aside.
    pub fn held_len(&self) -> usize {
        self.kept.capacity() + self.sealed.held_len()
    }

    /// Reads once, at most `len_max` bytes. `Ok(None)` if the socket is empty. The front half of `buffer` gets the records, the
    /// other half the plaintext.
    ///
    /// # Errors
    /// The connection is broken.
    pub fn read(
        &mut self,
        socket: &mut impl Read,
        buffer: &mut [u8],
        len_max: usize,
    ) -> io::Result<Option<Arrival>> {
        match self.course {
            Course::Fresh | Course::Handshaking | Course::Open => {}
            Course::PeerDone => return Ok(Some(Arrival::default())),
            Course::Ended | Course::Clear => {
                let Some(len) = read_some(socket, &mut buffer[..len_max])? else { return Ok(None) };
                let is_all = len < len_max;
                return Ok(Some(Arrival { carried: len, bytes: 0..len, is_all, ..Arrival::default() }));
            }
        }
        let half = buffer.len() / 2;
        let (records, plain) = buffer.split_at_mut(half);
        let kept_len = self.kept.len();
        let room = &mut records[kept_len..];
        let room_len = room.len().min(len_max);
        let Some(len) = read_some(socket, &mut room[..room_len])? else { return Ok(None) };
        if len == 0 {
            return Ok(Some(Arrival::default()));
        }
        records[..kept_len].copy_from_slice(&self.kept);
        let mut arrival = self.receive(&mut records[..kept_len + len], plain);
        (arrival.carried, arrival.is_all) = (len, len < room_len);
        arrival.bytes = half + arrival.bytes.start..half + arrival.bytes.end;
        Ok(Some(arrival))
    }

    /// Takes what was read behind what was kept, and keeps the rest.
    fn receive(&mut self, input: &mut [u8], plain: &mut [u8]) -> Arrival {
        if self.course == Course::Fresh {
            // No method of HTTP begins otherwise, and no record of TLS like this (RFC 8446 §5.1).
            if input[0].is_ascii_uppercase() {
                self.course = Course::Clear;
                return failed(FaultKind::PlainHttp, "HTTP without TLS");
            }
            self.course = Course::Handshaking;
        }
        let received = self.session.receive(input, plain, self.sealed.tail());
        let rest = &input[received.used_len..];
        let mut arrival = Arrival {
            bytes: 0..received.plain_len,
            established: received.established,
            ending: received.ending,
            ..Arrival::default()
        };
        if rest.len() > KEPT_LEN_MAX && arrival.ending.is_none() {
            let plain_len = received.plain_len;
            arrival = failed(FaultKind::Protocol, "a handshake message is too long");
            arrival.bytes = 0..plain_len;
            if self.session.is_handshaking() {
                self.sealed.tail().extend_from_slice(&DECODE_ERROR);
            }
        }
        if !self.session.is_handshaking() {
            self.course = Course::Open;
        }
        match arrival.ending {
            Some(Ending::PeerDone) => self.course = Course::PeerDone,
            Some(Ending::Failed(_)) => self.course = Course::Ended,
            None => {}
        }
        // After the end of the peer's half, all that follows is ignored, and the session does not look at it.
        let is_kept = arrival.ending.is_none() && !rest.is_empty();
        if is_kept {
            self.kept.clear();
            self.kept.extend_from_slice(rest);
        } else {
            self.kept = Vec::new();
        }
        arrival
    }

    /// Writes what the socket has not taken, then the runs in order, sealed. While the handshake is not complete, they wait.
    ///
    /// # Errors
    /// The connection is broken, or its keys are used up.
    pub fn write(
        &mut self,
        socket: &mut impl Write,
        runs: &[IoSlice<'_>],
        sealing: &mut Sealing,
    ) -> io::Result<Progress> {
        let mut progress = self.write_sealed(socket)?;
        if self.course == Course::Clear && progress.is_whole {
            let len: usize = runs.iter().map(|run| run.len()).sum();
            progress.taken = write_some(|| socket.write_vectored(runs))?;
            progress.sent += progress.taken;
            progress.is_whole = progress.taken == len;
            return Ok(progress);
        }
        let mut runs = Runs { runs, at: 0, passed: 0 };
        while progress.is_whole && self.is_open() {
            let plain = runs.next(&mut sealing.gathered);
            if plain.is_empty() {
                break;
            }
            let taken = plain.len();
            sealing.record.resize((RECORD_LEN_MAX + RECORD_SPARE).max(sealing.record.len()), 0);
            let len = match self.session.seal(&mut self.kept, plain, &mut sealing.record) {
                Ok(len) => len,
                Err(NotSealed::Handshaking | NotSealed::Spent | NotSealed::Over) => {
                    return Err(ErrorKind::ConnectionAborted.into());
                }
            };
            progress.taken += taken;
            let record = &sealing.record[..len];
            let sent = write_some(|| socket.write(record))?;
            progress.sent += sent;
            if sent < len {
                // It is numbered, so it cannot be made again.
                self.sealed.tail().extend_from_slice(&record[sent..]);
                progress.is_whole = false;
            }
        }
        Ok(progress)
    }

    /// Says that nothing more follows, once: what is written after that is refused. Then writes what the socket takes.
    ///
    /// # Errors
    /// The connection is broken.
    pub fn end(&mut self, socket: &mut impl Write, sealing: &mut Sealing) -> io::Result<Progress> {
        match self.course {
            Course::Open | Course::PeerDone => {
                if let Ok(len) = self.session.close_notify(&mut self.kept, &mut sealing.record) {
                    self.sealed.tail().extend_from_slice(&sealing.record[..len]);
                }
                self.leave_off();
            }
            Course::Fresh | Course::Handshaking => self.leave_off(),
            Course::Ended | Course::Clear => {}
        }
        self.write_sealed(socket)
    }

    fn leave_off(&mut self) {
        self.course = Course::Ended;
        self.kept = Vec::new();
    }

    fn write_sealed(&mut self, socket: &mut impl Write) -> io::Result<Progress> {
        let len = self.sealed.unsent().len();
        if len == 0 {
            return Ok(Progress { is_whole: true, ..Progress::default() });
        }
        let sent = write_some(|| socket.write(self.sealed.unsent()))?;
        self.sealed.consume(sent);
        if self.sealed.is_empty() {
            // An idle connection owns no buffer.
            self.sealed = Outbox::default();
        }
        Ok(Progress { taken: 0, sent, is_whole: sent == len })
    }
}

/// The plaintext of a write, one record after the other.
struct Runs<'a> {
    runs: &'a [IoSlice<'a>],
    /// The run that comes next, and how much of it has passed.
    at: usize,
    passed: usize,
}

impl<'a> Runs<'a> {
    /// The plaintext of the next record: as long as can be, from `gathered` if it is in several runs. Empty behind the last.
    fn next<'b>(&mut self, gathered: &'b mut Vec<u8>) -> &'b [u8]
    where
        'a: 'b,
    {
        gathered.clear();
        while let Some(run) = self.runs.get(self.at) {
            let rest = &run[self.passed..];
            let len = rest.len().min(PLAIN_LEN_MAX - gathered.len());
            let is_last = self.runs[self.at + 1..].iter().all(|run| run.is_empty());
            if gathered.is_empty() && (len == PLAIN_LEN_MAX || is_last) {
                self.pass(len);
                return &rest[..len];
            }
            gathered.extend_from_slice(&rest[..len]);
            self.pass(len);
            if gathered.len() == PLAIN_LEN_MAX {
                break;
            }
        }
        gathered
    }

    fn pass(&mut self, len: usize) {
        self.passed += len;
        while self.runs.get(self.at).is_some_and(|run| run.len() == self.passed) {
            (self.at, self.passed) = (self.at + 1, 0);
        }
    }
}

fn failed(kind: FaultKind, what: &str) -> Arrival {
    Arrival { ending: Some(Ending::Failed(Fault { kind, what: what.into() })), ..Arrival::default() }
}

/// Reads once. `None` if the socket is empty.
pub fn read_some(socket: &mut impl Read, buffer: &mut [u8]) -> io::Result<Option<usize>> {
    loop {
        match socket.read(buffer) {
            Ok(len) => return Ok(Some(len)),
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(None),
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

/// Calls `write` until no signal interrupts it. 0 if the socket is full.
pub fn write_some(mut write: impl FnMut() -> io::Result<usize>) -> io::Result<usize> {
    loop {
        match write() {
            Ok(written) => return Ok(written),
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(0),
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

#[cfg(test)]
#[cfg(feature = "tls")]
#[path = "tls_tests.rs"]
mod tests;
