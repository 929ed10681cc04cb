//! The frames of a compressed message: inflated in steps, so that the caller can stop between two.
//!
//! Part of `protocol`, whose state it is; how bytes are inflated is `deflate`.

use super::{Assembly, FrameHeader, MessageKind, Opcode, Room};
use super::{Event, Frame, Protocol, Reading, State, take_front, unmask};
use crate::ws::deflate::Window;
use crate::ws::error::Error;

/// Bytes of a compressed message that one call inflates: as many as one read of the server brings.
pub(super) const INFLATED_STEP_LEN: usize = 64 * 1024;

/// Bytes of a compressed message that are unmasked at once: those not used when a step is over are masked again.
const DEFLATED_PIECE_LEN: usize = 4 * 1024;

impl Protocol {
    /// Whether a data frame belongs to a compressed message.
    pub(super) fn is_inflated(&self, header: &FrameHeader) -> bool {
        let goes_on = || self.message.as_ref().is_some_and(|message| message.payload_len().is_none());
        self.state == State::Open && !header.opcode.is_control() && (header.is_compressed || goes_on())
    }

    /// Inflates what is there of a frame, until the step is over. What is not used of the input is left there as it was.
    pub(super) fn inflate<'a>(
        &mut self,
        mut frame: Frame,
        input: &mut &mut [u8],
        step: &mut usize,
        room: &mut Room,
    ) -> Result<Inflated<'a>, Error> {
        loop {
            self.reading = Reading::Payload(frame);
            let is_paused = self.message.as_ref().is_some_and(|message| message.is_paused());
            if input.is_empty() && !frame.is_whole() && !is_paused {
                return Ok(Inflated::Event(None));
            }
            self.inflate_piece(&mut frame, input, step, room)?;
            self.reading = Reading::Payload(frame);
            if self.message.as_ref().is_some_and(|message| message.is_paused()) {
                return Ok(Inflated::Event(Some(Event::Inflating)));
            }
            if frame.is_whole() {
                break;
            }
        }
        self.reading = Reading::NEXT;
        if !frame.header.fin {
            return Ok(Inflated::NextFrame);
        }
        let Some(mut message) = self.message.take() else { unreachable!("it has just been inflated") };
        message.finish_inflating(room)?;
        let message = message.finish()?;
        if self.keeps_window {
            self.kept.get_or_insert_default().window.slide(&message.payload);
        }
        Ok(Inflated::Event(Some(Event::Message(message))))
    }

    fn inflate_piece(
        &mut self,
        frame: &mut Frame,
        input: &mut &mut [u8],
        step: &mut usize,
        room: &mut Room,
    ) -> Result<(), Error> {
        let (len_max, step_before) = (self.message_len_max, *step);
        let window = self.kept.as_ref().map(|kept| &kept.window);
        let message = self.message.get_or_insert_with(|| {
            let kind =
                if frame.header.opcode == Opcode::Text { MessageKind::Text } else { MessageKind::Binary };
            let inflater = room.take_inflater(window.unwrap_or(&Window::default()));
            Box::new(Assembly::new(kind, Some(inflater), std::mem::take(&mut room.bytes)))
        });
        let front_len = input.len().min(DEFLATED_PIECE_LEN);
        let mut front = &mut input[..front_len];
        let piece = Frame { ..*frame }.take_piece(&mut front);
        let used_len = message.inflate(piece, step, len_max)?;
        frame.taken += used_len as u64;
        if let Some(key) = frame.header.mask {
            unmask(&mut piece[used_len..], key, frame.taken);
        }
        take_front(input, used_len);
        self.inflated_len = self.inflated_len.saturating_add((step_before - *step) as u32);
        Ok(())
    }
}

/// What came of the bytes of a compressed message.
pub(super) enum Inflated<'a> {
    /// What to tell the caller.
    Event(Option<Event<'a>>),
    /// The message goes on in another frame.
    NextFrame,
}
