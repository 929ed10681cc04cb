//! The commands of `/channels`, one socket for many channels: what a client's text message asks for, and the answers as
//! text.
//!
//! Whether the client may do it, and what is done, is the server's. Text goes in, commands and text come out: no socket,
//! clock or random number is known here. Of the rest of the crate, only the words of `hub` are used.

pub mod answer;
pub mod batch;
mod fault;
mod json;
mod reading;
mod reference;
mod request;

pub use fault::{Fault, FaultKind};
pub use reading::parse;
pub use reference::Reference;
pub use request::{Command, Limits, Message, Request, Wanted};
