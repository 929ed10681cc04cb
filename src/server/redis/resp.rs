//! RESP3: replies and pushes from the bytes of a connection, commands to bytes.
//!
//! What a reply says, an error reply too, is not judged here.

use std::fmt::{self, Write};
use std::mem;

use bytes::{Buf, Bytes, BytesMut};

/// How deep a reply may be nested. `CLUSTER SHARDS`, the deepest that is asked for, has 5 levels.
const DEPTH_MAX: usize = 8;

/// How many elements a reply may have, over all its levels. The longest that is asked for is `CLUSTER SLOTS`: of 16,384
/// slots none of which has an owner in common with the next, with two replicas and their names, 24 elements a slot. As
/// values they are 20 MiB at most.
const ELEMENTS_MAX: usize = 1 << 19;

/// The longest line: a simple string or an error. Redis cuts what it quotes in errors at 128 bytes.
const LINE_LEN_MAX: usize = 64 * 1024;

/// What Redis has said. A text is a slice of the buffer that was read into: as long as it is held, so is all that was read
/// with it. Whoever keeps a text copies it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reply {
    /// A simple string, a bulk string, a verbatim string without its format; a double or a big number as it was written.
    Text(Bytes),
    /// An error, simple or bulk: a word in capitals, most of the time, then a sentence.
    Error(Bytes),
    /// A number, or a boolean as 0 or 1.
    Number(i64),
    /// Null in any of its three forms.
    Nil,
    /// An array or a set.
    List(Vec<Reply>),
    /// A map, in the order in which it was sent. Keys may repeat.
    Map(Vec<(Reply, Reply)>),
    /// What was not asked for: a publication, a confirmed subscription. It answers no command.
    Push(Vec<Reply>),
}

impl Reply {
    /// The bytes of a text.
    pub fn as_text(&self) -> Option<&[u8]> {
        match self {
            Self::Text(text) => Some(text),
            Self::Error(_) | Self::Number(_) | Self::Nil | Self::List(_) | Self::Map(_) | Self::Push(_) => {
                None
            }
        }
    }

    /// A number that is not negative, or a text of its decimal digits: Lua and the fields of hashes give texts.
    pub fn as_number(&self) -> Option<u64> {
        match self {
            Self::Number(number) => u64::try_from(*number).ok(),
            Self::Text(text) => unsigned(text),
            Self::Error(_) | Self::Nil | Self::List(_) | Self::Map(_) | Self::Push(_) => None,
        }
    }

    /// The elements of an array or a set.
    pub fn into_list(self) -> Option<Vec<Self>> {
        match self {
            Self::List(elements) => Some(elements),
            Self::Text(_) | Self::Error(_) | Self::Number(_) | Self::Nil | Self::Map(_) | Self::Push(_) => {
                None
            }
        }
    }

    /// The value of a map's first entry with this key.
    pub fn field(&self, key: &[u8]) -> Option<&Self> {
        let Self::Map(entries) = self else { return None };
        entries.iter().find(|(name, _)| name.as_text() == Some(key)).map(|(_, value)| value)
    }
}

/// A number of decimal digits alone: no sign, no space.
fn unsigned(text: &[u8]) -> Option<u64> {
    let is_digits = !text.is_empty() && text.iter().all(u8::is_ascii_digit);
    is_digits.then(|| str::from_utf8(text).ok()?.parse().ok())?
}

/// What the replies of a connection may be at most, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bounds {
    /// One bulk string.
    pub text_len_max: usize,
    /// One reply over all its levels, with what announces its parts.
    pub reply_len_max: usize,
}

macro_rules! malformed {
    ($($(#[$doc:meta])* $name:ident $sentence:literal)*) => {
        /// Why bytes are not RESP3, or exceed a bound: the connection cannot be read any further. `Display` completes
        /// "the reply of Redis …".
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum Malformed {
            $($(#[$doc])* $name,)*
        }

        impl fmt::Display for Malformed {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(match self {
                    $(Self::$name => $sentence,)*
                })
            }
        }
    };
}

malformed! {
    /// The first byte of a reply or an element is none of RESP3's.
    Kind "begins with a byte that RESP3 does not have: is it a Redis server?"
    /// CR or LF stand by themselves, or do not follow a bulk string.
    LineEnd "has a line or a text that does not end with CR LF"
    /// A line has no end within `LINE_LEN_MAX` bytes.
    LineTooLong "has a line of more than 64 KiB"
    /// A length that is no number, is negative, or does not fit 63 bits.
    Length "announces a length that is not a number from 0"
    /// A number that does not fit 64 bits, a boolean, a double, a big number or a null that is none.
    Number "has a number, a boolean or a null that is none"
    /// A verbatim string without the three letters of its format.
    Verbatim "has a verbatim string without a format"
    /// A string or an aggregate of unknown length. Redis has none of them.
    Streamed "has a part without a length"
    /// A bulk string of more than `Bounds::text_len_max` bytes.
    TextTooLong "has a text that is longer than any that was asked for"
    /// More than `Bounds::reply_len_max` bytes.
    ReplyTooLong "is longer than any that was asked for"
    /// Nested in more than `DEPTH_MAX` levels.
    TooDeep "is nested in more than 8 levels"
    /// More than `ELEMENTS_MAX` elements.
    TooManyElements "has more than 524,288 elements"
    /// A push inside another reply.
    InnerPush "has a push inside"
}

impl std::error::Error for Malformed {}

/// Takes replies from the front of a buffer of received bytes. An element is taken as soon as it is complete, and none is
/// looked at twice: the work is linear in the bytes, in whatever pieces they arrive. Nothing is allocated for what was
/// announced and has not arrived.
///
/// ```text
///   *3 CR LF  $1 CR LF a CR LF  $700 CR LF bbbbb…
///   '------- taken -----------'  '--------' '----- waits in the buffer for all 700
///     levels: [List, 2 missing]    waiting
/// ```
///
/// Invariants: `levels.len() <= DEPTH_MAX`. No level is complete. `scanned <= buffer.len()` between calls, as long as the
/// caller only appends to the buffer.
#[derive(Debug)]
pub struct Decoder {
    bounds: Bounds,
    /// The aggregates that are being filled, the outermost first.
    levels: Vec<Level>,
    /// The bulk string whose bytes are next, after its length.
    waiting: Option<(Bulk, usize)>,
    /// How many bytes of the buffer have no line end in them.
    scanned: usize,
    /// What the reply that is being read has announced.
    elements: usize,
    len: usize,
    failed: Option<Malformed>,
}

/// An aggregate: what it becomes, how many replies are missing, and those that have come. Those of a map are keys and
/// values in turn.
#[derive(Debug)]
struct Level {
    kind: Aggregate,
    missing: usize,
    elements: Vec<Reply>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Aggregate {
    List,
    Map,
    Push,
    /// A map about the reply that follows. It is read and dropped.
    Attributes,
}

#[derive(Clone, Copy, Debug)]
enum Bulk {
    Text,
    Error,
    Verbatim,
}

/// What one step has taken from the buffer.
enum Step {
    /// Nothing: more bytes are needed.
    Starved,
    /// What announces something; or attributes, which are nothing.
    Announced,
    Whole(Reply),
}

impl Decoder {
    /// For a new connection.
    pub fn new(bounds: Bounds) -> Self {
        Self { bounds, levels: Vec::new(), waiting: None, scanned: 0, elements: 0, len: 0, failed: None }
    }

    /// Takes the next reply out of the buffer; `None`: more bytes are needed. Call it until then after each read, and only
    /// append to the buffer.
    ///
    /// # Errors
    /// The bytes are not RESP3, or a bound is exceeded. Where the next reply begins is unknown from then on: each further
    /// call returns the same error.
    pub fn decode(&mut self, buffer: &mut BytesMut) -> Result<Option<Reply>, Malformed> {
        if let Some(malformed) = self.failed {
            return Err(malformed);
        }
        let decoded = self.next_reply(buffer);
        self.failed = decoded.as_ref().err().copied();
        decoded
    }

    fn next_reply(&mut self, buffer: &mut BytesMut) -> Result<Option<Reply>, Malformed> {
        loop {
            let reply = match self.step(buffer)? {
                Step::Starved => return Ok(None),
                Step::Announced => continue,
                Step::Whole(reply) => reply,
            };
            if let Some(reply) = self.place(reply) {
                (self.elements, self.len) = (0, 0);
                return Ok(Some(reply));
            }
        }
    }

    /// Takes one element, or what announces one.
    fn step(&mut self, buffer: &mut BytesMut) -> Result<Step, Malformed> {
        if let Some((bulk, len)) = self.waiting {
            return self.bulk(buffer, bulk, len);
        }
        let Some(line) = self.line(buffer)? else { return Ok(Step::Starved) };
        self.elements += 1;
        if self.elements > ELEMENTS_MAX {
            return Err(Malformed::TooManyElements);
        }
        // A line has its first byte: an empty one is refused.
        let Some((kind, rest)) = line.split_first() else { return Err(Malformed::Kind) };
        let after_kind = || line.slice(1..);
        let reply = match kind {
            b'+' => Reply::Text(after_kind()),
            b'-' => Reply::Error(after_kind()),
            b':' => Reply::Number(number(rest)?),
            b'#' => Reply::Number(boolean(rest)?),
            b',' if is_double(rest) => Reply::Text(after_kind()),
            b'(' if is_integer(rest) => Reply::Text(after_kind()),
            b'_' if rest.is_empty() => Reply::Nil,
            b',' | b'(' | b'_' => return Err(Malformed::Number),
            b'$' | b'*' if rest == b"-1" => Reply::Nil,
            b'$' => return self.begin_bulk(Bulk::Text, rest),
            b'!' => return self.begin_bulk(Bulk::Error, rest),
            b'=' => return self.begin_bulk(Bulk::Verbatim, rest),
            b'*' | b'~' => return self.begin_level(Aggregate::List, rest),
            b'%' => return self.begin_level(Aggregate::Map, rest),
            b'|' => return self.begin_level(Aggregate::Attributes, rest),
            b'>' => return self.begin_level(Aggregate::Push, rest),
            b';' | b'.' => return Err(Malformed::Streamed),
            _ => return Err(Malformed::Kind),
        };
        Ok(Step::Whole(reply))
    }

    /// Takes a line, without its end.
    fn line(&mut self, buffer: &mut BytesMut) -> Result<Option<Bytes>, Malformed> {
        let Some(end) = buffer[self.scanned..].iter().position(|&byte| byte == b'\n') else {
            self.scanned = buffer.len();
            return if self.scanned > LINE_LEN_MAX { Err(Malformed::LineTooLong) } else { Ok(None) };
        };
        let end = mem::take(&mut self.scanned) + end;
        if end > LINE_LEN_MAX {
            return Err(Malformed::LineTooLong);
        }
        let mut line = buffer.split_to(end + 1).freeze();
        let Some(len) = line.strip_suffix(b"\r\n").map(<[u8]>::len) else { return Err(Malformed::LineEnd) };
        if line[..len].contains(&b'\r') {
            return Err(Malformed::LineEnd);
        }
        self.count(line.len())?;
        line.truncate(len);
        Ok(Some(line))
    }

    fn count(&mut self, len: usize) -> Result<(), Malformed> {
        self.len = self.len.saturating_add(len);
        if self.len > self.bounds.reply_len_max { Err(Malformed::ReplyTooLong) } else { Ok(()) }
    }

    fn begin_bulk(&mut self, bulk: Bulk, announced: &[u8]) -> Result<Step, Malformed> {
        let len = length(announced)?;
        if len > self.bounds.text_len_max {
            return Err(Malformed::TextTooLong);
        }
        // Told at once: the reply would not fit with it.
        self.count(len.saturating_add(2))?;
        self.waiting = Some((bulk, len));
        Ok(Step::Announced)
    }

    fn bulk(&mut self, buffer: &mut BytesMut, bulk: Bulk, len: usize) -> Result<Step, Malformed> {
        if buffer.len() < len + 2 {
            return Ok(Step::Starved);
        }
        self.waiting = None;
        let mut text = buffer.split_to(len).freeze();
        if !buffer.starts_with(b"\r\n") {
            return Err(Malformed::LineEnd);
        }
        buffer.advance(2);
        Ok(Step::Whole(match bulk {
            Bulk::Text => Reply::Text(text),
            Bulk::Error => Reply::Error(text),
            // Three letters and a colon: "txt:", "mkd:".
            Bulk::Verbatim if text.get(3) != Some(&b':') => return Err(Malformed::Verbatim),
            Bulk::Verbatim => {
                text.advance(4);
                Reply::Text(text)
            }
        }))
    }

    fn begin_level(&mut self, kind: Aggregate, announced: &[u8]) -> Result<Step, Malformed> {
        let len = length(announced)?;
        let missing = match kind {
            Aggregate::List | Aggregate::Push => Some(len),
            Aggregate::Map | Aggregate::Attributes => len.checked_mul(2),
        };
        let missing = missing.filter(|&missing| missing <= ELEMENTS_MAX).ok_or(Malformed::TooManyElements)?;
        if kind == Aggregate::Push && !self.levels.is_empty() {
            return Err(Malformed::InnerPush);
        }
        let level = Level { kind, missing, elements: Vec::new() };
        if missing == 0 {
            return Ok(level.into_reply().map_or(Step::Announced, Step::Whole));
        }
        if self.levels.len() == DEPTH_MAX {
            return Err(Malformed::TooDeep);
        }
        self.levels.push(level);
        Ok(Step::Announced)
    }

    /// Puts an element where it belongs, and the aggregates that it completes where they belong. Returns what is complete
    /// and inside nothing.
    fn place(&mut self, element: Reply) -> Option<Reply> {
        let mut placed = element;
        loop {
            let Some(level) = self.levels.last_mut() else { return Some(placed) };
            level.elements.push(placed);
            level.missing -= 1;
            if level.missing > 0 {
                return None;
            }
            placed = self.levels.pop()?.into_reply()?;
        }
    }
}

impl Level {
    /// The aggregate with all its elements. Attributes are no reply.
    fn into_reply(self) -> Option<Reply> {
        match self.kind {
            Aggregate::List => Some(Reply::List(self.elements)),
            Aggregate::Push => Some(Reply::Push(self.elements)),
            Aggregate::Attributes => None,
            Aggregate::Map => {
                let mut elements = self.elements.into_iter();
                let mut entries = Vec::with_capacity(elements.len() / 2);
                while let (Some(key), Some(value)) = (elements.next(), elements.next()) {
                    entries.push((key, value));
                }
                Some(Reply::Map(entries))
            }
        }
    }
}

fn length(text: &[u8]) -> Result<usize, Malformed> {
    if text == b"?" {
        return Err(Malformed::Streamed);
    }
    // Half of the range, so that sums with what is in memory cannot overflow.
    let len = unsigned(text).and_then(|len| usize::try_from(len).ok()).filter(|&len| len <= usize::MAX / 2);
    len.ok_or(Malformed::Length)
}

fn number(text: &[u8]) -> Result<i64, Malformed> {
    str::from_utf8(text).ok().and_then(|text| text.parse().ok()).ok_or(Malformed::Number)
}

fn boolean(text: &[u8]) -> Result<i64, Malformed> {
    match text {
        b"t" => Ok(1),
        b"f" => Ok(0),
        _ => Err(Malformed::Number),
    }
}

fn is_double(text: &[u8]) -> bool {
    str::from_utf8(text).is_ok_and(|text| text.parse::<f64>().is_ok())
}

fn is_integer(text: &[u8]) -> bool {
    let digits = text.strip_prefix(b"-").or(text.strip_prefix(b"+")).unwrap_or(text);
    !digits.is_empty() && digits.iter().all(u8::is_ascii_digit)
}

/// A command as it is written: an array of as many bulk strings as are announced first.
///
/// ```text
/// Command::new(out, 2).word(b"GET").word(b"key");    *2 CR LF $3 CR LF GET CR LF $3 CR LF key CR LF
/// ```
#[derive(Debug)]
pub struct Command<'a> {
    out: &'a mut BytesMut,
    /// How many words are missing.
    missing: usize,
}

impl<'a> Command<'a> {
    /// Begins a command of so many words, its name included. All of them have to follow: with another number, the
    /// connection would be out of step from here on.
    pub fn new(out: &'a mut BytesMut, words: usize) -> Self {
        debug_assert!(words > 0, "a command has a name");
        announce(out, '*', words as u64);
        Self { out, missing: words }
    }

    /// Appends a word, of any bytes.
    pub fn word(mut self, word: &[u8]) -> Self {
        debug_assert!(self.missing > 0, "a word more than was announced");
        self.missing = self.missing.saturating_sub(1);
        announce(self.out, '$', word.len() as u64);
        self.out.extend_from_slice(word);
        self.out.extend_from_slice(b"\r\n");
        self
    }

    /// Appends a number, as decimal digits.
    pub fn number(self, number: u64) -> Self {
        self.word(number.to_string().as_bytes())
    }
}

impl Drop for Command<'_> {
    fn drop(&mut self) {
        debug_assert!(self.missing == 0 || std::thread::panicking(), "{} words are missing", self.missing);
    }
}

fn announce(out: &mut BytesMut, kind: char, number: u64) {
    write!(out, "{kind}{number}\r\n").expect("a buffer in memory takes all that is written to it");
}

#[cfg(test)]
#[path = "resp_tests.rs"]
mod tests;
