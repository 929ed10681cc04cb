//! Drives a `Protocol` as a server does that stops: after any event it keeps what is left of the input and goes on with
//! it later, and a message in pieces is assembled in a room that it is given.
//!
//! What holds of every wire is asserted here; that stops and rooms change nothing of what is seen is for `frames` and
//! `deflated` to compare.

use std::borrow::Cow;

use fanfare::ws::{CloseCode, Error, Event, Inbound, Message, MessageKind, Protocol, Room, State};

/// A call inflates at most this many bytes: as many as one read of the server brings.
const INFLATED_LEN_PER_CALL_MAX: usize = 64 * 1024;

/// `Protocol`, "how to drive this", 6: a call appends no more.
const ANSWER_LEN_MAX: usize = 127;

/// What a message may be assembled in: nothing, too little for any but the shortest, one step of inflating, and more
/// than most take.
const ROOM_LENS: [usize; 8] = [0, 1, 16, 125, 1000, 8192, 65_536, ROOM_LEN_MAX];

/// The longest room. What is held counts it, whatever the message comes to.
pub const ROOM_LEN_MAX: usize = 256 * 1024;

/// All that a server sees of a connection, and what the peer is told.
#[derive(Debug, PartialEq)]
pub struct Seen {
    pub events: Vec<Event<'static>>,
    pub error: Option<Error>,
    pub outbox: Vec<u8>,
    pub state: State,
}

/// A connection that is driven; each byte of `pauses`, over and over, is what becomes of one event.
///
/// ```text
///   bits 0, 1   0, 1: the next call at once; 2: what is left is kept, and comes back by itself; 3: what is left is
///               kept, and comes back before the next read
///   bits 2..5   the room that the next call is given, if the last one is used up: of `ROOM_LENS`
/// ```
///
/// Without pauses nothing is kept, and no room is given.
pub struct Driven<'a> {
    pub protocol: Protocol,
    pub seen: Seen,
    /// Bytes that were inflated.
    pub inflated_len: usize,
    len_max: u64,
    pauses: &'a [u8],
    calls: usize,
    closes_after: Option<usize>,
    kept: Vec<u8>,
    room: Room,
    /// Where the room is that a message under way took, and how long it is.
    taken: Option<(*const u8, usize)>,
}

/// What becomes of the input after an event.
#[derive(Clone, Copy, PartialEq)]
enum Then {
    GoOn,
    ComeBack,
    ComeBackWithNext,
}

impl<'a> Driven<'a> {
    /// A connection on which messages have at most `len_max` bytes.
    pub fn new(protocol: Protocol, len_max: u64, pauses: &'a [u8]) -> Self {
        let seen = Seen { events: Vec::new(), error: None, outbox: Vec::new(), state: State::Open };
        Driven {
            protocol,
            seen,
            inflated_len: 0,
            len_max,
            pauses,
            calls: 0,
            closes_after: None,
            kept: Vec::new(),
            room: Room::default(),
            taken: None,
        }
    }

    /// The same, where the server closes after this many calls, inside a message perhaps: nothing is said or taken after
    /// that.
    pub fn closing_after(self, calls: usize) -> Self {
        Driven { closes_after: Some(calls), ..self }
    }

    /// Takes the reads one after the other; after each call, `check` looks at the protocol.
    pub fn receive(&mut self, reads: &[&[u8]], mut check: impl FnMut(&Protocol)) {
        for (index, read) in reads.iter().enumerate() {
            self.kept.extend_from_slice(read);
            while self.receive_kept(index + 1 == reads.len(), &mut check) {}
        }
        self.seen.state = self.protocol.state();
    }

    /// Takes what is kept until a pause. Whether it comes back by itself.
    fn receive_kept(&mut self, is_last: bool, check: &mut impl FnMut(&Protocol)) -> bool {
        let mut bytes = std::mem::take(&mut self.kept);
        let mut input = &mut bytes[..];
        loop {
            let then = self.next_pause();
            if !self.call(&mut input) {
                assert!(input.is_empty(), "all is consumed");
                return false;
            }
            self.calls += 1;
            check(&self.protocol);
            if self.closes_after == Some(self.calls) {
                self.protocol.close(CloseCode::GOING_AWAY, "the server stops", &mut self.seen.outbox);
            }
            if then != Then::GoOn {
                self.kept = input.to_vec();
                return then == Then::ComeBack || is_last;
            }
        }
    }

    /// Calls once. Whether there may be more.
    fn call(&mut self, input: &mut &mut [u8]) -> bool {
        let outbox_len = self.seen.outbox.len();
        let (place, room_len) = (self.room.bytes.as_ptr(), self.room.bytes.capacity());
        let state = self.protocol.state();
        let received = self.protocol.receive_with(input, &mut self.seen.outbox, &mut self.room);
        assert!(self.room.bytes.is_empty(), "a room comes back empty, or not at all");
        if room_len > 0 && self.room.bytes.capacity() == 0 {
            self.taken = Some((place, room_len));
        }
        let answer_len = self.seen.outbox.len() - outbox_len;
        assert!(
            answer_len <= if state == State::Open { ANSWER_LEN_MAX } else { 0 },
            "nothing follows a Close frame"
        );
        let inflated_len = self.protocol.take_inflated_len();
        assert!(inflated_len <= INFLATED_LEN_PER_CALL_MAX, "{inflated_len} bytes are inflated at once");
        assert_eq!(self.protocol.take_inflated_len(), 0, "they are told of once");
        self.inflated_len += inflated_len;
        match received {
            Ok(Some(event @ (Event::Message(_) | Event::Inflating))) if state != State::Open => {
                panic!("{event:?} is taken after our Close frame");
            }
            Ok(Some(Event::Inflating)) => {
                assert_eq!(inflated_len, INFLATED_LEN_PER_CALL_MAX, "a step is whole")
            }
            Ok(Some(event)) => {
                self.check_room(&event);
                self.seen.events.push(owned(event, self.len_max));
            }
            Ok(None) => return false,
            Err(error) => {
                assert_eq!(self.seen.error.replace(error), None, "a connection fails once");
                assert_eq!((self.protocol.state(), self.protocol.held_len()), (State::Closed, 0));
            }
        }
        true
    }

    /// "It comes back as the payload of that message": in its place, unless the message was too long for it.
    fn check_room(&mut self, event: &Event) {
        let Event::Message(Message { payload, .. }) = event else { return };
        let Some((place, len)) = self.taken.take() else { return };
        let Cow::Owned(payload) = payload else { panic!("a message took a room, and is borrowed") };
        assert!(payload.len() > len || payload.as_ptr() == place, "the room does not come back");
    }

    /// What becomes of the next event, and the room for it.
    fn next_pause(&mut self) -> Then {
        let Some(pause) = self.pauses.get(self.calls % self.pauses.len().max(1)) else { return Then::GoOn };
        if self.room.bytes.capacity() == 0 {
            self.room.bytes = Vec::with_capacity(ROOM_LENS[usize::from(pause >> 2) % ROOM_LENS.len()]);
        }
        match pause & 3 {
            2 => Then::ComeBack,
            3 => Then::ComeBackWithNext,
            _ => Then::GoOn,
        }
    }
}

/// Messages of at most this many bytes are taken.
pub const fn limit(message_len_max: u64) -> Inbound {
    Inbound::Accept { message_len_max }
}

/// The most bytes of a message that is taken.
pub fn message_len_max(inbound: Inbound) -> u64 {
    match inbound {
        Inbound::Accept { message_len_max } => message_len_max,
        Inbound::Refuse => 0,
    }
}

/// The event with its payload copied, which is checked.
fn owned(event: Event<'_>, len_max: u64) -> Event<'static> {
    match event {
        Event::Message(Message { kind, payload }) => {
            assert!(payload.len() as u64 <= len_max, "{} bytes are over the limit", payload.len());
            assert!(kind == MessageKind::Binary || str::from_utf8(&payload).is_ok(), "a text is UTF-8");
            Event::Message(Message { kind, payload: Cow::Owned(payload.into_owned()) })
        }
        Event::Inflating => unreachable!("it is passed over"),
        Event::Ping => Event::Ping,
        Event::Pong => Event::Pong,
        Event::Close(close) => Event::Close(close),
    }
}
