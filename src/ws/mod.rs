//! RFC 6455 as bytes: frames, masking, UTF-8, close codes, and the state machine of one connection.
//!
//! A peer's bytes go in; events, and the bytes that answer them, come out. Nothing here knows a socket, a
//! clock, a channel or the HTTP handshake, and nothing here draws a random number: who opens, times and
//! closes the connection is `server`. Begin reading at [`Protocol`].

mod close;
mod close_code;
mod deflate;
mod error;
mod extension;
mod frame;
mod incoming;
mod inflating;
mod mask;
mod message;
mod protocol;
mod utf8;

pub use close::{CloseFrame, REASON_LEN_MAX, encode_close};
pub use close_code::CloseCode;
pub use deflate::Deflater;
pub use error::Error;
pub use extension::{Deflate, WINDOW_BITS_MAX};
pub use frame::{
    CONTROL_PAYLOAD_LEN_MAX, Extensions, FrameHeader, HEADER_LEN_MAX, Opcode, encode_compressed_frame,
    encode_frame, encode_masked_frame,
};
pub use mask::unmask;
#[doc(hidden)]
pub use mask::unmask_naive;
pub use message::{Message, MessageKind, Room};
pub use protocol::{Event, Inbound, Protocol, State};
pub use utf8::{InvalidUtf8, Utf8Validator};
