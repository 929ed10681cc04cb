//! Reads the requests of one connection from bytes that come in any pieces: heads, then bodies where wanted.
//!
//! It owns the order of things and no grammar: heads are `scan.rs` and `request.rs`, bodies `body.rs`. It
//! does no I/O and knows no time: when a request takes too long is the caller's to say
//! (`Error::RequestTimeout`).

use super::body::Body;
use super::buffer::Buffer;
use super::error::Error;
use super::length::BodyLength;
use super::request::{Request, RequestLine};
use super::scan::{Limits, Progress, Scanner};

/// What [`RequestReader::poll`] found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// A request head is complete.
    Head(Request),
    /// The body that was asked for by [`RequestReader::read_body`] is complete.
    Body(Vec<u8>),
}

/// The requests of one connection, one after the other.
///
/// How to drive it:
///
/// 1. Give it what the socket gave: [`receive`](Self::receive).
/// 2. [`poll`](Self::poll) until it returns `Ok(None)`; after an `Err`, every call returns that error.
/// 3. On [`Event::Head`], before the next poll: [`read_body`](Self::read_body) if the body is wanted, or
///    [`take_rest`](Self::take_rest) if the connection stops being HTTP.
/// 4. While a request is being answered, neither receive nor poll: what the client pipelines waits in the
///    socket, so that memory is bounded by one read.
///
/// A request without a body needs no step 3: the next poll goes on to the next request. If a body was
/// announced and is not read, every poll returns `Ok(None)`: answer, then close.
#[derive(Debug)]
pub struct RequestReader {
    limits: Limits,
    buffer: Buffer,
    state: State,
}

/// ```text
///            head complete          read_body
///   Head ───────────────▶ Announced ─────────▶ Body
///    ▲                        │                  │
///    └──── poll, no body ─────┴──── complete ────┘        any fault ──▶ Failed
/// ```
#[derive(Debug)]
enum State {
    /// Before or inside a head; `line` is there once its first line is.
    Head { scanner: Scanner, scanned_len: usize, line: Option<RequestLine> },
    /// A head was returned, and the caller has not yet said whether it wants the body.
    Announced(BodyLength),
    /// Inside a body that was asked for.
    Body(Body),
    /// The peer broke a rule: where its next request begins is not known.
    Failed(Error),
}

impl RequestReader {
    /// For a new connection.
    pub fn new(limits: Limits) -> Self {
        Self { limits, buffer: Buffer::default(), state: State::head(limits) }
    }

    /// Takes what the socket gave. After a fault it is dropped.
    pub fn receive(&mut self, bytes: &[u8]) {
        match &mut self.state {
            State::Failed(_) => {}
            // The rest of a body goes to its place at once, and what follows it waits.
            State::Body(body) if self.buffer.is_empty() => match body.decode(bytes) {
                Ok((used_len, _)) => self.buffer.append(&bytes[used_len..]),
                Err(error) => self.fail(error),
            },
            State::Head { .. } | State::Announced(_) | State::Body(_) => self.buffer.append(bytes),
        }
    }

    /// The next event; `Ok(None)` if more bytes are needed first.
    pub fn poll(&mut self) -> Result<Option<Event>, Error> {
        let polled = match &self.state {
            State::Failed(error) => return Err(*error),
            State::Announced(length) if length.announces_body() => Ok(None),
            State::Announced(_) => {
                self.state = State::head(self.limits);
                self.poll_head()
            }
            State::Head { .. } => self.poll_head(),
            State::Body(_) => self.poll_body(),
        };
        polled.inspect_err(|error| self.fail(*error))
    }

    /// Asks for the body of the request whose [`Event::Head`] was the last event: [`Event::Body`] follows
    /// when it is complete.
    ///
    /// [`Error::BodyTooLarge`] at once if its Content-Length is over `len_max`, [`Error::LengthRequired`]
    /// if the request announced no body (`Content-Length: 0` announces an empty one). The reader is as
    /// before then.
    ///
    /// # Panics
    ///
    /// If the last event was not a head, or poll was called since.
    pub fn read_body(&mut self, len_max: u64) -> Result<(), Error> {
        let State::Announced(length) = self.state else {
            panic!("read_body belongs between Event::Head and the next poll");
        };
        self.state = State::Body(match length {
            // RFC 9110 §15.5.12: 411 "indicates that the server refuses to accept the request without a
            // defined Content-Length".
            BodyLength::Unannounced => return Err(Error::LengthRequired),
            // RFC 9110 §15.5.14.
            BodyLength::Known(len) if len > len_max => return Err(Error::BodyTooLarge { len_max }),
            BodyLength::Known(len) => Body::known(len, len_max, self.limits),
            BodyLength::Chunked => Body::chunked(len_max, self.limits),
        });
        Ok(())
    }

    /// Whether it is between requests and holds no byte of a next one: a connection that times out now is
    /// closed without a word, not told 408.
    pub fn is_idle(&self) -> bool {
        self.buffer.is_empty()
            && match &self.state {
                State::Head { line, .. } => line.is_none(),
                State::Announced(length) => !length.announces_body(),
                State::Body(_) | State::Failed(_) => false,
            }
    }

    /// Bytes held: those received and not used yet, and what is decoded of an unfinished body.
    pub fn buffered(&self) -> usize {
        let body_len = match &self.state {
            State::Body(body) => body.bytes().len(),
            State::Head { .. } | State::Announced(_) | State::Failed(_) => 0,
        };
        self.buffer.unread().len() + body_len
    }

    /// The room that it takes on the heap for those bytes.
    pub fn held_len(&self) -> usize {
        let body_len = match &self.state {
            State::Body(body) => body.capacity(),
            State::Head { .. } | State::Announced(_) | State::Failed(_) => 0,
        };
        self.buffer.capacity() + body_len
    }

    /// Takes the bytes after the last event out of the reader: after a handshake, these are the first frames.
    #[must_use]
    pub fn take_rest(&mut self) -> Vec<u8> {
        self.buffer.take()
    }

    fn poll_head(&mut self) -> Result<Option<Event>, Error> {
        let State::Head { scanner, scanned_len, line } = &mut self.state else {
            unreachable!("called in State::Head");
        };
        loop {
            match scanner.scan(&self.buffer.unread()[*scanned_len..])? {
                Progress::More => {
                    *scanned_len = self.buffer.unread().len();
                    return Ok(None);
                }
                Progress::EmptyLine(len) => {
                    self.buffer.consume(*scanned_len + len);
                    *scanned_len = 0;
                }
                // Read now, not with the fields: a wrong version is refused before they come.
                Progress::RequestLine(len) => {
                    let line_len = *scanned_len + len;
                    *line = Some(RequestLine::parse(&self.buffer.unread()[..line_len])?);
                    self.buffer.consume(line_len);
                    *scanned_len = 0;
                }
                Progress::Complete(len) => {
                    let fields_len = *scanned_len + len;
                    return self.complete_head(fields_len).map(Some);
                }
            }
        }
    }

    fn complete_head(&mut self, fields_len: usize) -> Result<Event, Error> {
        let State::Head { scanner, line, .. } = &mut self.state else {
            unreachable!("called in State::Head");
        };
        let Some(line) = line.take() else {
            unreachable!("the request line comes before the fields");
        };
        let request = Request::parse(line, &self.buffer.unread()[..fields_len], scanner.fields())?;
        self.buffer.consume(fields_len);
        self.state = State::Announced(request.body_length());
        Ok(Event::Head(request))
    }

    fn poll_body(&mut self) -> Result<Option<Event>, Error> {
        let State::Body(body) = &mut self.state else {
            unreachable!("called in State::Body");
        };
        let (used_len, complete) = body.decode(self.buffer.unread())?;
        self.buffer.consume(used_len);
        if !complete {
            return Ok(None);
        }
        let State::Body(body) = std::mem::replace(&mut self.state, State::head(self.limits)) else {
            unreachable!("nothing changed the state since");
        };
        Ok(Some(Event::Body(body.into_bytes())))
    }

    fn fail(&mut self, error: Error) {
        self.state = State::Failed(error);
        self.buffer = Buffer::default();
    }
}

impl State {
    fn head(limits: Limits) -> Self {
        State::Head { scanner: Scanner::head(limits), scanned_len: 0, line: None }
    }
}

#[cfg(test)]
#[path = "reader_tests.rs"]
mod tests;
