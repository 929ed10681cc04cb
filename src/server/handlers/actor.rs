//! A session behind its type: what a connection calls.
//!
//! What a session may do meanwhile is in `link`; which connection has which session, in `actors`.

use std::any::Any;

use super::failure::Outcome;
use super::link::Link;
use super::message::{Closed, Message};
use crate::server::handle::Handle;

/// A session behind its type.
pub trait Actor {
    /// The handshake has been answered.
    fn open(&mut self, link: &mut dyn Link) -> Outcome;

    /// A message has come.
    fn message(&mut self, link: &mut dyn Link, message: Message<'_>) -> Outcome;

    /// The peer has taken all that kept it from being read.
    fn drain(&mut self, link: &mut dyn Link) -> Outcome;

    /// The time that was set is over.
    fn timer(&mut self, link: &mut dyn Link) -> Outcome;

    /// Another thread has sent this, whose type the session knows.
    fn parcel(&mut self, link: &mut dyn Link, parcel: Box<dyn Any + Send>) -> Outcome;

    /// The server stops.
    fn stopping(&mut self, link: &mut dyn Link) -> Outcome;

    /// The connection has ended.
    fn closed(self: Box<Self>, server: &Handle, closed: Closed<'_>);
}
