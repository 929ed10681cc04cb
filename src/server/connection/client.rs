//! The client of a connection that speaks the Pusher protocol: what the server keeps of it, whatever its transport.
//!
//! What it may do is decided by `pusher`; the role is in the file of that name.

use crate::hub::WireForm;
use crate::pusher::{Session, User};
use crate::server::apps::running::Place;
use crate::server::clock::Millis;

/// A client that speaks the Pusher protocol.
#[derive(Debug)]
pub struct PusherClient {
    pub session: Session,
    /// Its place among the connections of its app.
    pub place: Place,
    /// The form in which it reads channels.
    pub form: WireForm,
    /// The user that it is signed in as.
    pub user: Option<User>,
    /// When it last gave a sign of life.
    pub heard_at: Millis,
    /// When it has to be authorized, if it has to.
    pub authorize_by: Option<Millis>,
}

impl PusherClient {
    /// The bytes of memory that it takes.
    pub fn held_len(&self) -> usize {
        size_of::<Self>() + self.session.held_len() + self.place.held_len()
    }
}
