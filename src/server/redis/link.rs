//! A connection to Redis: bytes that wait to be written, commands in flight in their order, and what is heard.
//!
//! What is asked and what follows from the answers is not known here.

use std::collections::VecDeque;
use std::fmt;
use std::io;
use std::time::Instant;

use bytes::{Buf, BytesMut};
use mio::{Registry, Token};

use super::distrust;
use super::resp::{Bounds, Command, Decoder, Malformed, Reply};
use super::socket::{Progress, Socket};
use crate::hub::ChannelName;
use crate::server::broker::engine::tidings::Tiding;
use crate::server::clock::Millis;
use crate::server::outbound::Words;

/// What is read of a connection in a turn at most: others have their turn too.
const TURN_LEN: usize = 256 * 1024;

/// Nothing further should be asked while more than this is not yet written: Redis does not keep up.
const UNSENT_LEN_MAX: usize = 1024 * 1024;

/// A longer text or reply breaks the connection. A kept publication is not longer than a message may be, 16 MiB unless the
/// operator allows more, and a reply has 64 of them at most.
const BOUNDS: Bounds = Bounds { text_len_max: 512 * 1024 * 1024, reply_len_max: 1024 * 1024 * 1024 };

/// A command whose answer is awaited.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Asked {
    /// HELLO: the protocol, and who the client is.
    Hello,
    /// SELECT: the database.
    Select,
    /// SCRIPT LOAD.
    Load,
    /// INFO replication: whether it is a master, and which.
    Info,
    /// A call of the script that publishes: so many records, asked at this time.
    Publish(ChannelName, u64, Instant),
    /// A call of the script that opens, the attempt, and the subscribers that it says.
    Open(ChannelName, u64, u64),
    /// HMGET of where a channel is, where an open was refused, and the attempt.
    Peek(ChannelName, u64),
    /// PEXPIRE of a channel.
    Prolong,
    /// HMGET of how far a channel is.
    Newest(ChannelName),
    /// HMGET of publications, and the attempt.
    Read(ChannelName, u64),
    /// SUBSCRIBE or SSUBSCRIBE.
    Subscribe(ChannelName),
    /// UNSUBSCRIBE or SUNSUBSCRIBE. An [`Asked::Echo`] follows.
    Unsubscribe(ChannelName),
    /// SUBSCRIBE to what nodes tell each other.
    SubscribeNodes,
    /// PUBLISH to the other nodes.
    TellNodes,
    /// PUBLISH of a tiding to the other nodes.
    Tell(Tiding),
    /// ZADD of a tiding that is kept.
    Keep(Tiding),
    /// What bounds those that are kept.
    Forget,
    /// ZRANGE: what is kept.
    Kept,
    /// A call of the script that says who is in a channel.
    Members(ChannelName),
    /// HGETALL: who is in a channel.
    Look(ChannelName),
    /// HMGET of members: whether they have come back.
    Confirm(ChannelName, Vec<Box<str>>),
    /// HGET of the nodes that have subscribers of a channel: when it was vacated, and when that is asked.
    Vacated(ChannelName, (Millis, Millis)),
    /// SET where there is none: that a cache channel was reported as empty.
    Miss(ChannelName),
    /// ECHO of a number: that the UNSUBSCRIBE ahead of it is done.
    Echo(u64),
    /// The map of a cluster.
    Slots,
    /// Sentinel's: who the master is.
    Master,
    /// Sentinel's: which masters it watches.
    Masters,
    /// PING: whether it is there.
    Ping,
    /// ASKING, ahead of a command that was sent elsewhere.
    Asking,
}

/// What is heard.
#[derive(Debug, PartialEq, Eq)]
pub enum Heard {
    /// The answer to the oldest command; a confirmation of a subscription is an answer too.
    Answer(Asked, Reply),
    /// Unasked.
    Push(Vec<Reply>),
}

/// Why a connection is of no use any more.
#[derive(Debug)]
pub enum Broken {
    /// The system or TLS says why.
    Io(io::Error),
    /// What came is not RESP3.
    Malformed(Malformed),
    /// An answer came that nothing had asked for, or another than was asked for.
    OutOfStep,
}

impl fmt::Display for Broken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Io(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
                f.write_str("it has closed the connection")
            }
            Self::Io(error) => match distrust::of(error) {
                Some(no_trust) => no_trust.fmt(f),
                None => Words(error).fmt(f),
            },
            Self::Malformed(malformed) => write!(f, "what it answers is not RESP3: {malformed}"),
            Self::OutOfStep => f.write_str("it answers something that was not asked"),
        }
    }
}

impl Broken {
    /// Whether one side does not trust the other, which stays so until somebody changes something.
    pub fn is_distrust(&self) -> bool {
        matches!(self, Self::Io(error) if distrust::of(error).is_some())
    }
}

impl From<io::Error> for Broken {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

/// A connection.
///
/// Invariant: answers come in the order of `asked`.
#[derive(Debug)]
pub struct Link {
    socket: Socket,
    is_connected: bool,
    is_readable: bool,
    is_writable: bool,
    decoder: Decoder,
    received: BytesMut,
    /// Why nothing more is read: what was received before is still heard.
    ended: Option<io::Error>,
    unsent: BytesMut,
    /// The bytes that were ever written.
    sent: u64,
    asked: VecDeque<InFlight>,
    echoes: u64,
}

#[derive(Debug)]
struct InFlight {
    asked: Asked,
    /// How many bytes were asked before it.
    start: u64,
}

impl Link {
    /// A connection on a socket that may not be connected yet.
    ///
    /// # Errors
    /// The system has no room for it.
    pub fn new(mut socket: Socket, registry: &Registry, token: Token) -> io::Result<Self> {
        socket.register(registry, token)?;
        Ok(Self {
            socket,
            is_connected: false,
            is_readable: false,
            is_writable: false,
            decoder: Decoder::new(BOUNDS),
            received: BytesMut::new(),
            ended: None,
            unsent: BytesMut::new(),
            sent: 0,
            asked: VecDeque::new(),
            echoes: 0,
        })
    }

    /// Asks something. `write` writes the command.
    pub fn ask(&mut self, asked: Asked, write: impl FnOnce(&mut BytesMut)) {
        self.asked.push_back(InFlight { asked, start: self.sent + self.unsent.len() as u64 });
        write(&mut self.unsent);
    }

    /// Ends a subscription.
    ///
    /// A confirmation of it looks like a subscription that Redis ends by itself, and such a one may cross it, after which
    /// Redis refuses ours. So no confirmation is an answer, and an echo behind it tells that it is done.
    pub fn unsubscribe(&mut self, channel: ChannelName, write: impl FnOnce(&mut BytesMut)) {
        self.ask(Asked::Unsubscribe(channel), write);
        self.echoes += 1;
        let number = self.echoes;
        self.ask(Asked::Echo(number), |out| drop(Command::new(out, 2).word(b"ECHO").number(number)));
    }

    /// Whether more may be asked now.
    #[must_use]
    pub fn has_room(&self) -> bool {
        self.unsent.len() < UNSENT_LEN_MAX
    }

    /// Whether another turn has something to do without an event.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        self.is_connected && (self.is_readable || self.is_writable && !self.unsent.is_empty())
    }

    /// An event of the socket.
    ///
    /// # Errors
    /// It will not be connected.
    pub fn note_event(&mut self, is_readable: bool, is_writable: bool) -> Result<(), Broken> {
        self.is_readable |= is_readable;
        self.is_writable |= is_writable;
        if !self.is_connected {
            self.is_connected = self.socket.is_connected()?;
        }
        Ok(())
    }

    /// Writes what waits, as far as the socket takes it.
    ///
    /// # Errors
    /// The connection is lost.
    pub fn write(&mut self) -> Result<(), Broken> {
        if !self.is_connected || !self.is_writable {
            return Ok(());
        }
        self.socket.flush()?;
        while !self.unsent.is_empty() {
            match self.socket.write(&self.unsent)? {
                Progress::Some(len) => {
                    self.unsent.advance(len);
                    self.sent += len as u64;
                }
                Progress::Blocked => {
                    self.is_writable = false;
                    return Ok(());
                }
            }
        }
        self.unsent = BytesMut::new();
        Ok(())
    }

    /// Reads what has arrived, a turn's worth. It is heard by [`Link::next`], and so is how the connection has ended.
    pub fn read(&mut self, scratch: &mut [u8]) {
        let mut len = 0;
        while self.is_connected && self.is_readable && len < TURN_LEN {
            match self.socket.read(scratch) {
                Ok(Progress::Some(read)) => {
                    self.received.extend_from_slice(&scratch[..read]);
                    len += read;
                }
                Ok(Progress::Blocked) => self.is_readable = false,
                Err(error) => {
                    self.is_readable = false;
                    self.ended = Some(error);
                }
            }
        }
    }

    /// What is heard next, if anything is there.
    ///
    /// # Errors
    /// The connection is of no use any more.
    pub fn next(&mut self) -> Result<Option<Heard>, Broken> {
        let Some(reply) = self.decoder.decode(&mut self.received).map_err(Broken::Malformed)? else {
            return self.ended.take().map_or(Ok(None), |error| Err(Broken::Io(error)));
        };
        match reply {
            Reply::Push(parts) => self.heard_push(parts).map(Some),
            reply => self.heard_answer(reply).map(Some),
        }
    }

    fn heard_push(&mut self, parts: Vec<Reply>) -> Result<Heard, Broken> {
        // These two never come unasked.
        let kind = parts.first().and_then(Reply::as_text);
        if !matches!(kind, Some(b"subscribe" | b"ssubscribe")) {
            return Ok(Heard::Push(parts));
        }
        // What is not answered by it stays asked, so that whoever waits for it is told at the end.
        let first = match self.asked.front().map(|first| &first.asked) {
            Some(Asked::Subscribe(_) | Asked::SubscribeNodes) => self.asked.pop_front(),
            _ => None,
        };
        let first = first.ok_or(Broken::OutOfStep)?;
        Ok(Heard::Answer(first.asked, Reply::Push(parts)))
    }

    fn heard_answer(&mut self, reply: Reply) -> Result<Heard, Broken> {
        let Some(InFlight { mut asked, .. }) = self.asked.pop_front() else { return Err(Broken::OutOfStep) };
        if matches!(asked, Asked::Unsubscribe(_)) && !matches!(reply, Reply::Error(_)) {
            // It was not refused, and this is the echo behind it.
            asked = self.asked.pop_front().ok_or(Broken::OutOfStep)?.asked;
        }
        if let Asked::Echo(number) = asked
            && reply.as_number() != Some(number)
        {
            return Err(Broken::OutOfStep);
        }
        Ok(Heard::Answer(asked, reply))
    }

    /// Whether any command is in flight.
    #[must_use]
    pub fn awaits(&self, asked: &Asked) -> bool {
        self.asked.iter().any(|in_flight| in_flight.asked == *asked)
    }

    /// Ends the connection: each command that was not answered, and whether any byte of it was written.
    pub fn end(mut self, registry: &Registry) -> impl Iterator<Item = (Asked, bool)> {
        self.socket.deregister(registry);
        let sent = self.sent;
        self.asked.into_iter().map(move |in_flight| (in_flight.asked, in_flight.start < sent))
    }
}
