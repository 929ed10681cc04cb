//! One connection's life after the handshake: bytes of the peer in, events and bytes for the peer out.
//!
//! The only file that knows the order of things: which frame may follow which, what is answered, when the
//! connection closes. It does no I/O and keeps no time: deadlines and sockets are `server`, the form of a
//! header is `frame`, the bytes of a message `message`.

use super::close::{CloseFrame, encode_close};
use super::close_code::CloseCode;
use super::deflate::Window;
use super::error::Error;
use super::extension::Deflate;
use super::frame::{CONTROL_PAYLOAD_LEN_MAX, Extensions, FrameHeader, Opcode, PartialHeader, encode_frame};
use super::incoming::IncomingFrame;
use super::inflating::{INFLATED_STEP_LEN, Inflated, inflate};
use super::message::{Assembly, Message, MessageKind, Room, check_message_len};

/// Whether the peer may send messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Inbound {
    /// Messages are taken.
    Accept {
        /// The most bytes of one message, all its fragments together; a frame that would pass it is refused
        /// at its header with [`Error::TooBig`].
        message_len_max: u64,
    },
    /// The peer may only listen: a data frame is refused at its header with [`Error::MessageRefused`].
    Refuse,
}

/// Where the connection is in its life (RFC 6455 §7.1). It only ever goes down this list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// Messages go both ways.
    Open,
    /// Our Close frame is sent or in the outbox; the peer's has yet to come. Nothing but that is waited for.
    Closing,
    /// Nothing more is read or appended: send what the outbox holds, then close the TCP connection.
    Closed,
}

/// What the peer did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event<'a> {
    /// It sent a message.
    Message(Message<'a>),
    /// One call has inflated as much of a compressed message as it may. The next call goes on; the caller decides when.
    Inflating,
    /// It sent a ping. The pong is in the outbox already.
    Ping,
    /// It sent a pong.
    Pong,
    /// It closed, or answered our close. The state is [`State::Closed`], and the answer, where one is due, is
    /// in the outbox already. `None`: it gave no code.
    Close(Option<CloseFrame>),
}

/// The state machine of one server-side connection.
///
/// # How to drive this
///
/// 1. Have an outbox, a `Vec<u8>`: the bytes not yet sent besides a channel's.
/// 2. After a read, call [`receive`](Self::receive) with what was read until it returns `Ok(None)`: all is
///    consumed then, and a frame that the read cut is kept inside.
///    You may stop after any event, keep what is left of the input, even if that is nothing, and go on with it later,
///    before what is read then: [`take_inflated_len`](Self::take_inflated_len) tells how much came of a little.
/// 3. Deal with an event before the next call: what it makes you append to the outbox stands there before
///    what the next call appends, so that an answer goes out ahead of a Close frame that comes after it.
/// 4. On `Err`, do nothing but note it: the Close frame that names the fault is in the outbox.
/// 5. Send the outbox. Once it is empty and [`state`](Self::state) is [`State::Closed`], close the TCP
///    connection: the server goes first (RFC 6455 §7.1.1).
/// 6. While the outbox holds more than you allow for, do not read: TCP then stops a peer that sends pings and
///    does not read. One call appends at most one frame, of at most 127 bytes, and a pong is shorter than its
///    ping.
/// 7. To end it from this side, call [`close`](Self::close), send nothing else after it, and go on reading
///    with a deadline of your own: a peer may never answer.
///
/// ```
/// use fanfare::ws::{Event, Inbound, Protocol, State};
///
/// let mut protocol = Protocol::new(Inbound::Accept { message_len_max: 65_536 });
/// let mut outbox = Vec::new();
/// let mut read = *b"\x81\x85\x37\xfa\x21\x3d\x7f\x9f\x4d\x51\x58\x89\x80\x00\x00\x00\x00";
/// let mut input = &mut read[..];
/// let mut messages = Vec::new();
/// while let Some(event) = protocol.receive(&mut input, &mut outbox)? {
///     match event {
///         Event::Message(message) => messages.push(message.payload),
///         Event::Inflating | Event::Ping | Event::Pong | Event::Close(_) => {}
///     }
/// }
/// assert_eq!(messages, [&b"Hello"[..]]);
/// assert_eq!(outbox, b"\x8a\x00");
/// assert_eq!(protocol.state(), State::Open);
/// # Ok::<(), fanfare::ws::Error>(())
/// ```
///
/// # What it keeps
///
/// ```text
///   input     81 85 k e y . H e l l o | 89 80 k e y . | 81 fe 01 00 k e y . x x x
///             a message, borrowed       answered        cut: `reading` knows the header and that 3 bytes
///                                                       were taken; `message` owns those 3
/// ```
///
/// Invariants: `message` is that of an open connection, under way; `kept.control` is there while `reading` is
/// in the payload of a control frame. Between frames and messages the connection owns no heap memory.
#[derive(Debug)]
pub struct Protocol {
    state: State,
    extensions: Extensions,
    keeps_window: bool,
    takes_messages: bool,
    /// The most bytes of one, if they are taken.
    message_len_max: u64,
    reading: Reading,
    message: Option<Box<Assembly>>,
    kept: Option<Box<Kept>>,
    /// Bytes inflated since the last call of `take_inflated_len`.
    inflated_len: u32,
}

/// What most connections never keep. In one box, so that those have one word for it.
#[derive(Debug, Default)]
struct Kept {
    /// What compressed messages refer back to; empty if they must not, or if none has come yet.
    window: Window,
    /// The payload of a control frame that the input cut.
    control: Option<[u8; CONTROL_PAYLOAD_LEN_MAX]>,
}

impl Protocol {
    /// A connection whose handshake is done.
    #[must_use]
    pub fn new(inbound: Inbound) -> Self {
        let (takes_messages, message_len_max) = match inbound {
            Inbound::Accept { message_len_max } => (true, message_len_max),
            Inbound::Refuse => (false, 0),
        };
        Protocol {
            state: State::Open,
            extensions: Extensions::None,
            keeps_window: false,
            takes_messages,
            message_len_max,
            reading: Reading::NEXT,
            message: None,
            kept: None,
            inflated_len: 0,
        }
    }

    /// From the next frame on, this becomes of messages: the peer may publish by now, or may no more.
    pub fn set_inbound(&mut self, inbound: Inbound) {
        let Protocol { takes_messages, message_len_max, .. } = Protocol::new(inbound);
        (self.takes_messages, self.message_len_max) = (takes_messages, message_len_max);
    }

    /// The same with permessage-deflate, as agreed: compressed messages are inflated, and if the client may refer
    /// back to its earlier ones, their last bytes are kept, 32 KiB at most.
    #[must_use]
    pub fn with_deflate(self, deflate: Deflate) -> Self {
        Protocol { extensions: Extensions::Deflate, keeps_window: deflate.client_context_takeover, ..self }
    }

    /// Takes bytes off the front of `input` up to the next event; `None`: all of them, and no event is whole.
    ///
    /// Payloads are unmasked where they are, and a message that is one frame inside `input` is borrowed from
    /// it. Pongs, the answer to a Close frame and the Close frame for a fault are appended to `outbox`. After
    /// the peer's Close frame and after an `Err`, input is consumed and ignored.
    pub fn receive<'a>(
        &mut self,
        input: &mut &'a mut [u8],
        outbox: &mut Vec<u8>,
    ) -> Result<Option<Event<'a>>, Error> {
        self.receive_with(input, outbox, &mut Room::default())
    }

    /// The same, where a message that begins and is not whole is made in `room`. Its buffer comes back as the payload of
    /// that message.
    pub fn receive_with<'a>(
        &mut self,
        input: &mut &'a mut [u8],
        outbox: &mut Vec<u8>,
        room: &mut Room,
    ) -> Result<Option<Event<'a>>, Error> {
        let received = self.receive_frames(input, outbox, room);
        if let Err(error) = received {
            self.fail(error, outbox);
        }
        if self.state == State::Closed {
            // RFC 6455 §1.4: "after receiving a control frame indicating the connection should be closed, a
            // peer discards any further data received"; §7.1.7 says the same of a connection that was failed.
            *input = &mut [];
        }
        received
    }

    /// Begins the closing handshake (RFC 6455 §7.1.2); nothing happens if the connection is no longer open.
    pub fn close(&mut self, code: CloseCode, reason: &str, outbox: &mut Vec<u8>) {
        if self.state == State::Open {
            encode_close(outbox, code, reason);
            self.state = State::Closing;
            self.message = None;
        }
    }

    /// Sends the peer a ping; nothing happens if the connection is no longer open.
    ///
    /// # Panics
    /// If the payload is over [`CONTROL_PAYLOAD_LEN_MAX`].
    pub fn ping(&mut self, payload: &[u8], outbox: &mut Vec<u8>) {
        assert!(
            payload.len() <= CONTROL_PAYLOAD_LEN_MAX,
            "RFC 6455 §5.5: a control frame is 125 bytes or less"
        );
        if self.state == State::Open {
            encode_frame(outbox, Opcode::Ping, payload);
        }
    }

    /// Bytes held for the message under way, and for the window that compressed messages refer back to.
    #[must_use]
    pub fn held_len(&self) -> usize {
        let window_len = self.kept.as_ref().map_or(0, |kept| kept.window.held_len());
        self.message.as_ref().map_or(0, |message| message.held_len()) + window_len
    }

    /// Bytes that were inflated since this was last called.
    #[must_use]
    pub fn take_inflated_len(&mut self) -> usize {
        std::mem::take(&mut self.inflated_len) as usize
    }

    /// Where the connection is in its life.
    #[must_use]
    pub fn state(&self) -> State {
        self.state
    }

    fn receive_frames<'a>(
        &mut self,
        input: &mut &'a mut [u8],
        outbox: &mut Vec<u8>,
        room: &mut Room,
    ) -> Result<Option<Event<'a>>, Error> {
        let mut step = INFLATED_STEP_LEN;
        while self.state != State::Closed {
            let Some(mut frame) = self.frame(input)? else { return Ok(None) };
            if self.is_compressed(&frame.header) {
                let inflated = self.inflate(&mut frame, input, &mut step, room)?;
                if inflated.is_some() || !frame.is_whole() {
                    return Ok(inflated);
                }
                continue;
            }
            let piece = frame.take_piece(input);
            self.reading = if frame.is_whole() { Reading::NEXT } else { Reading::Payload(frame) };
            // A header and none of its payload starts nothing: what comes next may be the whole of it.
            if piece.is_empty() && !frame.is_whole() {
                return Ok(None);
            }
            let event = match frame.header.opcode {
                Opcode::Continuation => self.continue_message(frame, piece)?,
                Opcode::Text => self.start_message(MessageKind::Text, frame, piece, room)?,
                Opcode::Binary => self.start_message(MessageKind::Binary, frame, piece, room)?,
                Opcode::Close | Opcode::Ping | Opcode::Pong => self.receive_control(frame, piece, outbox)?,
            };
            if event.is_some() || !frame.is_whole() {
                return Ok(event);
            }
        }
        Ok(None)
    }

    /// The frame that the next byte of payload belongs to: the one the last input cut, or the next.
    fn frame(&mut self, input: &mut &mut [u8]) -> Result<Option<IncomingFrame>, Error> {
        match &mut self.reading {
            Reading::Payload(frame) => Ok(Some(*frame)),
            Reading::Header(partial) => {
                let Some(header) = partial.read(input, self.extensions)? else { return Ok(None) };
                self.check_order(&header)?;
                Ok(Some(IncomingFrame { header, taken: 0 }))
            }
        }
    }

    /// Refuses a frame that must not come now, before any of its payload is taken.
    fn check_order(&self, header: &FrameHeader) -> Result<(), Error> {
        if header.opcode.is_control() || self.state != State::Open {
            return Ok(());
        }
        // RFC 6455 §7.4.1: 1008 is for "a message that violates its policy".
        if !self.takes_messages {
            return Err(Error::MessageRefused);
        }
        let assembled_len = match (&self.message, header.opcode == Opcode::Continuation) {
            (None, false) => (!header.is_compressed).then_some(0),
            (Some(message), true) => message.payload_len(),
            // RFC 6455 §5.4: "A fragmented message consists of a single frame with the FIN bit clear and an
            // opcode other than 0, followed by zero or more frames with the FIN bit clear and the opcode set
            // to 0, and terminated by a single frame with the FIN bit set and an opcode of 0."
            (None, true) => return Err(Error::ContinuationWithoutStart),
            // RFC 6455 §5.4: "The fragments of one message MUST NOT be interleaved between the fragments of
            // another message unless an extension has been negotiated that can interpret the interleaving."
            (Some(_), false) => return Err(Error::MessageInsideMessage),
        };
        // What a compressed message comes to is seen while it is inflated.
        let Some(assembled_len) = assembled_len else { return Ok(()) };
        check_message_len(assembled_len, header.payload_len, self.message_len_max)
    }

    fn start_message<'a>(
        &mut self,
        kind: MessageKind,
        frame: IncomingFrame,
        piece: &'a [u8],
        room: &mut Room,
    ) -> Result<Option<Event<'a>>, Error> {
        if self.state == State::Open {
            if frame.header.fin && frame.is_all_in(piece) {
                return Ok(Some(Event::Message(Message::whole(kind, piece)?)));
            }
            if self.message.is_none() {
                self.message = Some(Box::new(Assembly::new(kind, None, std::mem::take(&mut room.bytes))));
            }
        }
        self.continue_message(frame, piece)
    }

    fn continue_message<'a>(
        &mut self,
        frame: IncomingFrame,
        piece: &[u8],
    ) -> Result<Option<Event<'a>>, Error> {
        // Our Close frame is out, and nothing would be done with a message: its bytes are dropped.
        let Some(mut message) = self.message.take() else {
            debug_assert!(self.state != State::Open, "check_order lets no fragment in without a message");
            return Ok(None);
        };
        message.push(piece, frame.header.payload_len - frame.taken, self.message_len_max)?;
        if frame.header.fin && frame.is_whole() {
            return Ok(Some(Event::Message(message.finish()?)));
        }
        self.message = Some(message);
        Ok(None)
    }

    /// Whether a data frame belongs to a compressed message.
    fn is_compressed(&self, header: &FrameHeader) -> bool {
        let goes_on = || self.message.as_ref().is_some_and(|message| message.payload_len().is_none());
        self.state == State::Open && !header.opcode.is_control() && (header.is_compressed || goes_on())
    }

    /// Inflates what is there of a frame. If nothing is to be told, the input or the frame is at its end.
    fn inflate<'a>(
        &mut self,
        frame: &mut IncomingFrame,
        input: &mut &mut [u8],
        step: &mut usize,
        room: &mut Room,
    ) -> Result<Option<Event<'a>>, Error> {
        let (message_len_max, step_before) = (self.message_len_max, *step);
        let window = self.kept.as_ref().map(|kept| &kept.window);
        let inflated = inflate(&mut self.message, window, frame, input, step, message_len_max, room);
        self.inflated_len = self.inflated_len.saturating_add((step_before - *step) as u32);
        self.reading = Reading::Payload(*frame);
        match inflated? {
            Inflated::InputUsed => return Ok(None),
            Inflated::StepOver => return Ok(Some(Event::Inflating)),
            Inflated::FrameEnd => self.reading = Reading::NEXT,
        }
        if !frame.header.fin {
            return Ok(None);
        }
        let Some(mut message) = self.message.take() else { unreachable!("it has just been inflated") };
        message.finish_inflating(room)?;
        let message = message.finish()?;
        if self.keeps_window {
            self.kept.get_or_insert_default().window.slide(&message.payload);
        }
        Ok(Some(Event::Message(message)))
    }

    fn receive_control<'a>(
        &mut self,
        frame: IncomingFrame,
        piece: &[u8],
        outbox: &mut Vec<u8>,
    ) -> Result<Option<Event<'a>>, Error> {
        if frame.is_all_in(piece) {
            return self.answer_control(frame.header.opcode, piece, outbox).map(Some);
        }
        let mut kept = self.kept.take().unwrap_or_default();
        let taken = frame.taken as usize;
        let mut control = kept.control.take().unwrap_or([0; CONTROL_PAYLOAD_LEN_MAX]);
        control[taken - piece.len()..taken].copy_from_slice(piece);
        let payload = &control[..taken];
        if frame.is_whole() {
            self.kept = (!kept.window.is_empty()).then_some(kept);
            return self.answer_control(frame.header.opcode, payload, outbox).map(Some);
        }
        if frame.header.opcode == Opcode::Close {
            CloseFrame::check_start(payload)?;
        }
        kept.control = Some(control);
        self.kept = Some(kept);
        Ok(None)
    }

    fn answer_control<'a>(
        &mut self,
        opcode: Opcode,
        payload: &[u8],
        outbox: &mut Vec<u8>,
    ) -> Result<Event<'a>, Error> {
        match opcode {
            Opcode::Close => self.answer_close(CloseFrame::parse(payload)?, outbox),
            Opcode::Ping => {
                // RFC 6455 §5.5.2: "Upon receipt of a Ping frame, an endpoint MUST send a Pong frame in
                // response, unless it already received a Close frame." §5.5.3: with the ping's own payload.
                // Nothing is sent after our own Close frame: the peer need not read it.
                if self.state == State::Open {
                    encode_frame(outbox, Opcode::Pong, payload);
                }
                Ok(Event::Ping)
            }
            // RFC 6455 §5.5.3: "A Pong frame MAY be sent unsolicited. [...] A response to an unsolicited Pong
            // frame is not expected."
            Opcode::Pong => Ok(Event::Pong),
            Opcode::Continuation | Opcode::Text | Opcode::Binary => {
                unreachable!("receive_frames hands over control frames only")
            }
        }
    }

    fn answer_close<'a>(
        &mut self,
        close: Option<CloseFrame>,
        outbox: &mut Vec<u8>,
    ) -> Result<Event<'a>, Error> {
        // RFC 6455 §5.5.1: "If an endpoint receives a Close frame and did not previously send a Close frame,
        // the endpoint MUST send a Close frame in response. (When sending a Close frame in response, the
        // endpoint typically echos the status code it received.)"
        if self.state == State::Open {
            match &close {
                Some(close) => encode_close(outbox, close.code, ""),
                None => encode_frame(outbox, Opcode::Close, b""),
            }
        }
        self.end();
        Ok(Event::Close(close))
    }

    fn fail(&mut self, error: Error, outbox: &mut Vec<u8>) {
        // RFC 6455 §7.1.7: "the endpoint SHOULD send a Close frame with an appropriate status code [...]
        // before proceeding to _Close the WebSocket Connection_". §5.5.1: nothing follows a Close frame.
        if self.state == State::Open {
            encode_close(outbox, error.close_code(), &error.to_string());
        }
        self.end();
    }

    fn end(&mut self) {
        self.state = State::Closed;
        self.message = None;
        self.kept = None;
    }
}

/// Where in a frame the input stopped.
#[derive(Clone, Copy, Debug)]
enum Reading {
    Header(PartialHeader),
    /// Not all of the payload is taken, unless a compressed message is paused.
    Payload(IncomingFrame),
}

impl Reading {
    /// At the first byte of a header.
    const NEXT: Reading = Reading::Header(PartialHeader::NONE);
}

#[cfg(test)]
#[path = "protocol_tests.rs"]
mod tests;
