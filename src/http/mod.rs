//! HTTP/1.1 (RFC 9112) as bytes: requests in, responses and event streams out, and the WebSocket handshake (RFC 6455 §4).
//!
//! Nothing here opens a socket, reads a clock or draws a random number: bytes go in, events and bytes come out, and the
//! `Date` is passed in as a string. Frames are the `ws` room's; routes and permissions the `server` room's.
//!
//! How a server drives it, for each connection:
//!
//! 1. [`RequestReader::receive`] what the socket gave, then [`RequestReader::poll`] until it returns `None`.
//! 2. On [`Event::Head`]: to read the body, [`RequestReader::read_body`] and poll for [`Event::Body`]; to accept a
//!    handshake, [`Upgrade::from_request`], then pass the bytes of [`RequestReader::take_rest`] to `ws`.
//! 3. [`Response::encode`] the answer. A request whose announced body was not read ends the connection.
//! 4. After an `Err`, send `Response::from(&error)` and close: the reader reads nothing more.

mod body;
mod buffer;
mod error;
mod event_stream;
mod host;
mod length;
mod line;
mod query;
mod reader;
mod request;
mod response;
mod scan;
mod status;
mod target;
mod upgrade;

pub use error::Error;
pub use event_stream::{
    EVENT_STREAM, LAST_CHUNK, StreamEvent, encode_comment, encode_event, encode_stream_head,
};
pub use query::{decode_segment, parameter, parameters};
pub use reader::{Event, RequestReader};
pub use request::Request;
pub use response::{CONTINUE, Framing, Response};
pub use scan::Limits;
pub use status::Status;
pub use upgrade::{Upgrade, is_upgrade};
