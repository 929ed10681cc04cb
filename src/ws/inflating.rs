//! The frames of a compressed message: inflated in steps, so that the caller can stop between two.
//!
//! Which frame may follow which is `protocol`'s; how bytes are inflated, `deflate`'s.

use super::deflate::Window;
use super::error::Error;
use super::frame::{Opcode, take_front};
use super::incoming::IncomingFrame;
use super::mask::unmask;
use super::message::{Assembly, MessageKind, Room};

/// Bytes of a compressed message that one call inflates: as many as one read of the server brings.
pub(super) const INFLATED_STEP_LEN: usize = 64 * 1024;

/// Bytes of a compressed message that are unmasked at once: those not used when a step is over are masked again.
const DEFLATED_PIECE_LEN: usize = 4 * 1024;

/// Why inflating stopped.
pub(super) enum Inflated {
    /// The input ends inside the frame.
    InputUsed,
    /// The step is over, and there is more to inflate.
    StepOver,
    /// The frame is at its end.
    FrameEnd,
}

/// Inflates what is there of a frame into `message`, which begins if there is none and may then refer back to `window`,
/// until the step is over. It is made in `room`. What is not used of the input is left there as it was.
pub(super) fn inflate(
    message: &mut Option<Box<Assembly>>,
    window: Option<&Window>,
    frame: &mut IncomingFrame,
    input: &mut &mut [u8],
    step: &mut usize,
    message_len_max: u64,
    room: &mut Room,
) -> Result<Inflated, Error> {
    loop {
        let is_paused = message.as_ref().is_some_and(|message| message.is_paused());
        if input.is_empty() && !frame.is_whole() && !is_paused {
            return Ok(Inflated::InputUsed);
        }
        let message = message.get_or_insert_with(|| begin(frame.header.opcode, window, room));
        inflate_piece(message, frame, input, step, message_len_max)?;
        if message.is_paused() {
            return Ok(Inflated::StepOver);
        }
        if frame.is_whole() {
            return Ok(Inflated::FrameEnd);
        }
    }
}

fn begin(opcode: Opcode, window: Option<&Window>, room: &mut Room) -> Box<Assembly> {
    let kind = if opcode == Opcode::Text { MessageKind::Text } else { MessageKind::Binary };
    let inflater = room.take_inflater(window.unwrap_or(&Window::default()));
    Box::new(Assembly::new(kind, Some(inflater), std::mem::take(&mut room.bytes)))
}

fn inflate_piece(
    message: &mut Assembly,
    frame: &mut IncomingFrame,
    input: &mut &mut [u8],
    step: &mut usize,
    message_len_max: u64,
) -> Result<(), Error> {
    let front_len = input.len().min(DEFLATED_PIECE_LEN);
    let mut front = &mut input[..front_len];
    let piece = IncomingFrame { ..*frame }.take_piece(&mut front);
    let used_len = message.inflate(piece, step, message_len_max)?;
    frame.taken += used_len as u64;
    if let Some(key) = frame.header.mask {
        unmask(&mut piece[used_len..], key, frame.taken);
    }
    take_front(input, used_len);
    Ok(())
}
