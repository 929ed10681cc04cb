//! What RFC 6455 says of a wire, by a decoder that looks at one frame after the other: the oracle of
//! `frames`.
//!
//! It is told nothing of cuts and keeps no state between calls. Of a frame that is not whole it reads what is
//! there, since a fault is told at the first byte that shows it.

use fanfare::ws::{CloseCode, CloseFrame, Event, Inbound, MessageKind};

use super::expected::Expected;

/// What is to be said of the bytes after the last frame that is in order.
#[derive(Clone, Copy, Debug)]
pub enum End {
    /// There are none, or a frame that is not whole and could become one in order.
    Open,
    /// They come after the peer's Close frame.
    Closed,
    /// They begin with a frame that is refused with this code.
    Failed(u16),
}

/// A frame, unmasked; if it is not whole, the bytes of its payload that are there.
struct Frame {
    fin: bool,
    opcode: u8,
    payload: Vec<u8>,
    is_whole: bool,
}

/// A message under way.
struct Started {
    kind: MessageKind,
    payload: Vec<u8>,
}

pub fn expected(inbound: Inbound, wire: &[u8]) -> Expected<End> {
    let mut expected = Expected::new(End::Open);
    let mut started = None;
    let mut rest = wire;
    while !rest.is_empty() {
        let taken = frame(inbound, &started, &mut rest).and_then(|frame| {
            if frame.opcode < 8 {
                data(frame, &mut started, &mut expected)
            } else {
                control(&frame, &mut expected)
            }
        });
        if let Err(end) = taken {
            expected.end = end;
            break;
        }
    }
    expected
}

/// Takes a frame off the front of `rest`: RFC 6455 §5.2.
fn frame(inbound: Inbound, started: &Option<Started>, rest: &mut &[u8]) -> Result<Frame, End> {
    let first = rest[0];
    let (fin, opcode, is_control) = (first & 0x80 != 0, first & 0x0f, first & 0x08 != 0);
    let is_reserved = first & 0x70 != 0 || !matches!(opcode, 0..=2 | 8..=10);
    fail_if(is_reserved || (is_control && !fin), 1002)?;
    let second = *rest.get(1).ok_or(End::Open)?;
    let short = second & 0x7f;
    fail_if(second & 0x80 == 0 || (is_control && short > 125), 1002)?;
    let mut after = &rest[2..];
    let len = payload_len(short, &mut after)?;
    let (key, after) = after.split_at_checked(4).ok_or(End::Open)?;
    if !is_control {
        check_order(inbound, started, opcode, len)?;
    }
    let is_whole = len <= after.len() as u64;
    let (masked, after) = after.split_at(if is_whole { len as usize } else { after.len() });
    *rest = after;
    let payload = masked.iter().enumerate().map(|(i, byte)| byte ^ key[i % 4]).collect();
    Ok(Frame { fin, opcode, payload, is_whole })
}

/// Takes what there is of an extended length off the front of `rest`: RFC 6455 §5.2.
fn payload_len(short: u8, rest: &mut &[u8]) -> Result<u64, End> {
    let (extended_len, len_min) = match short {
        126 => (2, 126),
        127 => (8, 65_536),
        len => return Ok(u64::from(len)),
    };
    let (extended, after) = rest.split_at_checked(extended_len).ok_or(End::Open)?;
    let len = extended.iter().fold(0, |len, byte| len << 8 | u64::from(*byte));
    fail_if(len < len_min || len >> 63 == 1, 1002)?;
    *rest = after;
    Ok(len)
}

/// Whether a frame of a message may come now: RFC 6455 §5.4, and the limits of `Inbound`.
fn check_order(inbound: Inbound, started: &Option<Started>, opcode: u8, len: u64) -> Result<(), End> {
    let Inbound::Accept { message_len_max } = inbound else { return Err(End::Failed(1008)) };
    fail_if(started.is_some() != (opcode == 0), 1002)?;
    let so_far = started.as_ref().map_or(0, |started| started.payload.len() as u64);
    fail_if(so_far + len > message_len_max, 1009)
}

fn data(frame: Frame, started: &mut Option<Started>, expected: &mut Expected<End>) -> Result<(), End> {
    let kind = if frame.opcode == 2 { MessageKind::Binary } else { MessageKind::Text };
    let mut message = started.take().unwrap_or(Started { kind, payload: Vec::new() });
    message.payload.extend(frame.payload);
    let is_last = frame.fin && frame.is_whole;
    if message.kind == MessageKind::Text {
        fail_if(!is_text(&message.payload, is_last), 1007)?;
    }
    if !frame.is_whole {
        return Err(End::Open);
    }
    if frame.fin {
        expected.message(message.kind, message.payload);
    } else {
        *started = Some(message);
    }
    Ok(())
}

fn control(frame: &Frame, expected: &mut Expected<End>) -> Result<(), End> {
    if frame.opcode == 8 {
        return close(&frame.payload, frame.is_whole, expected);
    }
    if !frame.is_whole {
        return Err(End::Open);
    }
    if frame.opcode == 9 {
        expected.ping(&frame.payload);
    } else {
        expected.events.push(Event::Pong);
    }
    Ok(())
}

/// RFC 6455 §5.5.1 and §7.4; 1012 to 1014 are IANA's.
fn close(payload: &[u8], is_whole: bool, expected: &mut Expected<End>) -> Result<(), End> {
    let said = match payload {
        [] => None,
        [_] => return Err(if is_whole { End::Failed(1002) } else { End::Open }),
        [high, low, reason @ ..] => {
            let number = u16::from_be_bytes([*high, *low]);
            fail_if(!matches!(number, 1000..=1003 | 1007..=1014 | 3000..=4999), 1002)?;
            fail_if(!is_text(reason, is_whole), 1007)?;
            let code = CloseCode::new(number).expect("a peer may send this code");
            Some(CloseFrame { code, reason: String::from_utf8_lossy(reason).into_owned() })
        }
    };
    if !is_whole {
        return Err(End::Open);
    }
    expected.close(said);
    Err(End::Closed)
}

/// Whether the bytes are text, or could become it if they are not all.
fn is_text(bytes: &[u8], are_all: bool) -> bool {
    str::from_utf8(bytes).map_or_else(|error| !are_all && error.error_len().is_none(), |_| true)
}

fn fail_if(broken: bool, code: u16) -> Result<(), End> {
    if broken { Err(End::Failed(code)) } else { Ok(()) }
}
