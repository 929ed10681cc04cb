//! The message: what the frames of one make together, and the checks on its bytes.
//!
//! Bytes that arrive here are unmasked and in order. Which frame may follow which is `protocol`.

use std::borrow::Cow;

use super::deflate::{INFLATER_LEN, Inflater, Window};
use super::error::Error;
use super::utf8::Utf8Validator;

/// What a message carries (RFC 6455 §5.6).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MessageKind {
    /// UTF-8.
    Text,
    /// Any bytes.
    Binary,
}

/// A whole message of the peer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message<'a> {
    /// What the payload is.
    pub kind: MessageKind,
    /// The bytes. Those of a text are valid UTF-8: that is checked already.
    pub payload: Cow<'a, [u8]>,
}

impl<'a> Message<'a> {
    /// The message whose whole payload is at hand: checked, not copied.
    pub(super) fn whole(kind: MessageKind, payload: &'a [u8]) -> Result<Message<'a>, Error> {
        let mut check = Check::new(kind);
        check.push(payload)?;
        check.finish()?;
        Ok(Message { kind, payload: Cow::Borrowed(payload) })
    }
}

/// The room of a message is at most this many times what has come of it: a peer that announces much and sends little
/// takes little. A first read brings a quarter of 64 KiB and more, as one segment of the loopback or a few of a network.
const ROOM_AHEAD: usize = 4;

/// What the next message that is not whole in the input is made in. The caller keeps it, so that no connection owns any of
/// it between messages.
#[derive(Debug, Default)]
pub struct Room {
    /// An empty buffer. It comes back as the payload of a message.
    pub bytes: Vec<u8>,
    /// What the last compressed message was inflated with.
    pub(super) inflater: Option<Box<Inflater>>,
}

impl Room {
    /// What inflates a message that may refer back to `window`.
    pub(super) fn take_inflater(&mut self, window: &Window) -> Box<Inflater> {
        match self.inflater.take() {
            Some(mut inflater) => {
                inflater.begin(window);
                inflater
            }
            None => Box::new(Inflater::new(window)),
        }
    }
}

/// A message under way: its bytes so far, of whichever frames.
///
/// ```text
///   01 'Hel' |        | 00 'lo' ...        input
///             89 ping                      (a control frame between fragments is none of its business)
///   payload: H e l                l o      grows as bytes arrive, never from a declared length alone
/// ```
#[derive(Debug)]
pub(super) struct Assembly {
    kind: MessageKind,
    check: Check,
    payload: Vec<u8>,
    /// What the pieces pass through, if the message is compressed.
    inflater: Option<Box<Inflater>>,
}

impl Assembly {
    /// Begins a message in `room`, an empty buffer; with an inflater, a compressed one.
    pub(super) fn new(kind: MessageKind, inflater: Option<Box<Inflater>>, room: Vec<u8>) -> Self {
        debug_assert!(room.is_empty());
        Assembly { kind, check: Check::new(kind), payload: room, inflater }
    }

    /// Appends the next bytes, in whatever pieces they come; `missing` more of them are announced.
    pub(super) fn push(&mut self, piece: &[u8], missing: u64, len_max: u64) -> Result<(), Error> {
        debug_assert!(self.inflater.is_none(), "a compressed message is inflated");
        append(&mut self.check, &mut self.payload, piece, missing, len_max)
    }

    /// The same for a compressed message: inflates at most `step` bytes, from which is taken what came, and returns how
    /// many bytes of the piece were used.
    pub(super) fn inflate(&mut self, piece: &[u8], step: &mut usize, len_max: u64) -> Result<usize, Error> {
        let Assembly { check, payload, inflater, .. } = self;
        let Some(inflater) = inflater else { unreachable!("the message is not compressed") };
        inflater.push(piece, step, |bytes| append(check, payload, bytes, 0, len_max))
    }

    /// Whether there is more to be inflated without another byte of input.
    pub(super) fn is_paused(&self) -> bool {
        self.inflater.as_ref().is_some_and(|inflater| inflater.is_paused())
    }

    /// Ends what was inflated, before the message is ended, and gives the inflater back.
    pub(super) fn finish_inflating(&mut self, room: &mut Room) -> Result<(), Error> {
        let Some(mut inflater) = self.inflater.take() else { unreachable!("the message is not compressed") };
        inflater.finish()?;
        room.inflater = Some(inflater);
        Ok(())
    }

    /// Ends the message.
    pub(super) fn finish(mut self) -> Result<Message<'static>, Error> {
        debug_assert!(self.inflater.is_none(), "a compressed message is ended first");
        self.check.finish()?;
        Ok(Message { kind: self.kind, payload: Cow::Owned(self.payload) })
    }

    /// The room that the message takes so far.
    pub(super) fn held_len(&self) -> usize {
        self.payload.capacity() + if self.inflater.is_some() { INFLATER_LEN } else { 0 }
    }

    /// The number of bytes so far; `None` if their number on the wire says nothing about the message's.
    pub(super) fn payload_len(&self) -> Option<u64> {
        self.inflater.is_none().then_some(self.payload.len() as u64)
    }
}

fn append(
    check: &mut Check,
    payload: &mut Vec<u8>,
    bytes: &[u8],
    missing: u64,
    len_max: u64,
) -> Result<(), Error> {
    let payload_len_max = usize::try_from(len_max).unwrap_or(usize::MAX);
    // Whether a text's first bad byte or the limit comes first does not depend on the cut.
    let within = &bytes[..bytes.len().min(payload_len_max.saturating_sub(payload.len()))];
    check.push(within)?;
    check_message_len(payload.len() as u64, bytes.len() as u64, len_max)?;
    let needed = payload.len() + bytes.len();
    if needed > payload.capacity() {
        let capacity = grown(needed, payload.capacity(), missing).min(payload_len_max);
        payload.reserve_exact(capacity.max(needed) - payload.len());
    }
    payload.extend_from_slice(bytes);
    Ok(())
}

/// The room for `needed` bytes where there is too little: to the announced end, so that a message that comes in two
/// reads is moved once, if that is near enough; and in any case twice what it was, however many frames it comes in.
fn grown(needed: usize, capacity: usize, missing: u64) -> usize {
    let end = usize::try_from(missing).ok().filter(|&missing| missing <= (ROOM_AHEAD - 1) * needed);
    (needed + end.unwrap_or(0)).max(2 * capacity)
}

/// Refuses a frame that would bring its message over `limit`: by the length it declares, before its bytes
/// come.
pub(super) fn check_message_len(assembled_len: u64, frame_len: u64, limit: u64) -> Result<(), Error> {
    // RFC 6455 §10.4: "impose a limit on frame sizes and the total message size after reassembly from
    // multiple frames".
    if frame_len > limit.saturating_sub(assembled_len) { Err(Error::TooBig { limit }) } else { Ok(()) }
}

/// What the bytes of a message of a kind must be.
#[derive(Debug)]
enum Check {
    Text(Utf8Validator),
    Binary,
}

impl Check {
    fn new(kind: MessageKind) -> Self {
        match kind {
            MessageKind::Text => Check::Text(Utf8Validator::default()),
            MessageKind::Binary => Check::Binary,
        }
    }

    fn push(&mut self, piece: &[u8]) -> Result<(), Error> {
        match self {
            // RFC 6455 §8.1: "When an endpoint is to interpret a byte stream as UTF-8 but finds that the byte
            // stream is not, in fact, a valid UTF-8 stream, that endpoint MUST _Fail the WebSocket
            // Connection_."
            Check::Text(utf8) => utf8.push(piece).map_err(|_| Error::TextNotUtf8),
            Check::Binary => Ok(()),
        }
    }

    fn finish(&mut self) -> Result<(), Error> {
        match self {
            // RFC 6455 §5.6: "the whole message MUST contain valid UTF-8", so a frame may end inside a
            // character and a message may not.
            Check::Text(utf8) => utf8.finish().map_err(|_| Error::TextNotUtf8),
            Check::Binary => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMIT: u64 = 1000;

    /// Asserts that the pieces give the message, assembled and, joined, as a whole that is borrowed.
    fn assert_message(kind: MessageKind, pieces: &[&[u8]]) {
        let joined = pieces.concat();
        let mut assembly = Assembly::new(kind, None, Vec::new());
        for piece in pieces {
            assembly.push(piece, 0, LIMIT).unwrap();
        }
        assert_eq!(assembly.payload_len(), Some(joined.len() as u64));
        let assembled = assembly.finish().unwrap();
        let whole = Message::whole(kind, &joined).unwrap();
        assert!(matches!(whole.payload, Cow::Borrowed(_)));
        assert_eq!(assembled, whole);
        assert_eq!(assembled.payload, joined);
    }

    #[test]
    fn a_text_may_be_cut_inside_a_character() {
        assert_message(MessageKind::Text, &[b"\xce", b"\xba\xcf\x8c", b""]);
    }

    #[test]
    fn a_binary_message_is_any_bytes() {
        assert_message(MessageKind::Binary, &[b"\xff\xfe", b"\xed\xa0\x80"]);
    }

    #[test]
    fn a_text_is_refused_at_its_first_bad_byte() {
        let mut assembly = Assembly::new(MessageKind::Text, None, Vec::new());
        assert_eq!(assembly.push(b"ab\xed", 0, LIMIT), Ok(()));
        assert_eq!(assembly.push(b"\xa0", 0, LIMIT), Err(Error::TextNotUtf8));
    }

    #[test]
    fn a_text_that_ends_inside_a_character_is_refused() {
        let mut assembly = Assembly::new(MessageKind::Text, None, Vec::new());
        assert_eq!(assembly.push(b"\xce", 0, LIMIT), Ok(()));
        assert_eq!(assembly.finish().unwrap_err(), Error::TextNotUtf8);
        assert_eq!(Message::whole(MessageKind::Text, b"\xce"), Err(Error::TextNotUtf8));
    }

    #[test]
    fn a_bad_byte_before_the_limit_is_told_and_one_behind_it_is_not() {
        let push = |bytes: &[u8]| {
            append(&mut Check::new(MessageKind::Text), &mut Vec::new(), bytes, 0, 2)
                .map_err(|e| e.close_code())
        };
        assert_eq!(push(b"a\xff."), Err(Error::TextNotUtf8.close_code()));
        assert_eq!(push(b"ab\xff"), Err(Error::TooBig { limit: 2 }.close_code()));
        assert_eq!(push(b"a\xc3\xa9"), Err(Error::TooBig { limit: 2 }.close_code()));
    }

    #[test]
    fn a_message_in_pieces_takes_no_more_room_than_the_limit() {
        let mut assembly = Assembly::new(MessageKind::Binary, None, Vec::new());
        for _ in 0..10 {
            assembly.push(&[0; 100], 0, LIMIT).unwrap();
            assert!(assembly.held_len() as u64 <= LIMIT);
        }
    }

    #[test]
    fn a_message_of_two_pieces_gets_its_room_with_the_first() {
        let mut assembly = Assembly::new(MessageKind::Binary, None, Vec::new());
        assembly.push(&[0; 300], 500, LIMIT).unwrap();
        assert_eq!(assembly.held_len(), 800);
        assembly.push(&[0; 500], 0, LIMIT).unwrap();
        assert_eq!(assembly.held_len(), 800);
    }

    #[test]
    fn a_message_of_which_little_came_gets_little_room() {
        let mut assembly = Assembly::new(MessageKind::Binary, None, Vec::new());
        for announced in (0..u64::MAX - 10).rev().step_by(1 << 60) {
            assembly.push(&[0; 10], announced, u64::MAX).unwrap();
            assert!(assembly.held_len() <= ROOM_AHEAD * assembly.payload.len(), "{announced}");
        }
    }

    #[test]
    fn a_message_is_assembled_in_the_room_that_it_is_given() {
        let room = Vec::with_capacity(800);
        let place = room.as_ptr();
        let mut assembly = Assembly::new(MessageKind::Text, None, room);
        assembly.push(b"Hel", 2, LIMIT).unwrap();
        assembly.push(b"lo", 0, LIMIT).unwrap();
        let message = assembly.finish().unwrap();
        assert_eq!((message.payload.as_ptr(), &*message.payload), (place, &b"Hello"[..]));
    }

    #[test]
    fn a_frame_is_refused_when_the_message_would_pass_the_limit() {
        assert_eq!(check_message_len(0, 10, 10), Ok(()));
        assert_eq!(check_message_len(4, 6, 10), Ok(()));
        assert_eq!(check_message_len(10, 0, 10), Ok(()));
        assert_eq!(check_message_len(4, 7, 10), Err(Error::TooBig { limit: 10 }));
        assert_eq!(check_message_len(1, i64::MAX as u64, u64::MAX), Ok(()));
        assert_eq!(check_message_len(u64::MAX, u64::MAX, 10), Err(Error::TooBig { limit: 10 }));
    }
}
