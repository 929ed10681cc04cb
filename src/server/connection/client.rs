//! What the server keeps of the client of a connection, by the protocol that it speaks.
//!
//! The roles are in `pusher` and `multiplex`.

use std::sync::Arc;

use crate::commands::Reference;
use crate::hub::WireForm;
use crate::pusher::{Session, User};
use crate::server::access::Identity;
use crate::server::apps::running::Place;
use crate::server::broker::audience::Heard;
use crate::server::clock::Millis;

/// The client of a connection with a protocol of its own.
#[derive(Debug)]
pub enum Client {
    /// It speaks the Pusher protocol.
    Pusher(PusherClient),
    /// It reads and publishes to many channels by commands.
    Multiplex(Multiplex),
    /// It publishes to its one channel, and awaits an acknowledgement. No further message is read until then.
    Publisher(Awaited),
}

impl Client {
    /// The client, if it speaks the Pusher protocol.
    pub fn pusher(&self) -> Option<&PusherClient> {
        match self {
            Self::Pusher(client) => Some(client),
            Self::Multiplex(_) | Self::Publisher(_) => None,
        }
    }

    /// The client, if it speaks the Pusher protocol.
    pub fn pusher_mut(&mut self) -> Option<&mut PusherClient> {
        match self {
            Self::Pusher(client) => Some(client),
            Self::Multiplex(_) | Self::Publisher(_) => None,
        }
    }

    /// The bytes of memory that it takes.
    pub fn held_len(&self) -> usize {
        let own = match self {
            Self::Pusher(client) => client.held_len(),
            Self::Multiplex(client) => client.held_len(),
            Self::Publisher(awaited) => awaited.channel.len(),
        };
        size_of::<Self>() + own
    }
}

/// A client that reads and publishes to many channels.
#[derive(Debug)]
pub struct Multiplex {
    /// The form in which it reads channels.
    pub form: WireForm,
    /// The app whose channels it names, if it is not the first.
    pub app: Option<Box<str>>,
    /// Whether its page may publish.
    pub is_page_served: bool,
    /// By whose key it may see the state of the server, if its own proof does not allow that.
    pub operator: Option<Arc<Identity>>,
    /// When it has to have proved something or asked for something; `None` once it has.
    pub begin_by: Option<Millis>,
    /// How often it was refused.
    pub refusals: u16,
    /// The publication of which the outcome is awaited. No further command is read until then.
    pub awaited: Option<Box<Awaited>>,
}

/// A publication that is with the engine.
#[derive(Debug)]
pub struct Awaited {
    /// Its number: earlier ones of the connection may be with the engine too.
    pub request: u64,
    pub reference: Option<Reference>,
    /// The channel, as the client calls it.
    pub channel: Box<str>,
}

impl Multiplex {
    /// The bytes of memory that it takes beside itself.
    pub fn held_len(&self) -> usize {
        self.awaited.as_ref().map_or(0, |awaited| size_of::<Awaited>() + awaited.channel.len())
    }
}

/// A client that speaks the Pusher protocol.
#[derive(Debug)]
pub struct PusherClient {
    pub session: Session,
    /// Its place among the connections of its app.
    pub place: Place,
    /// The form in which it reads channels.
    pub form: WireForm,
    /// The user that it is signed in as.
    pub user: Option<SignedIn>,
    /// When it last gave a sign of life.
    pub heard: Heard,
    /// When it has to be authorized, if it has to.
    pub authorize_by: Option<Millis>,
}

impl PusherClient {
    /// The user that the client is, as the member that it is in a channel or as it signed in, and when it was last heard.
    pub fn known_as<'a>(&'a self, member_id: Option<&'a str>) -> Option<(&'a str, &'a Heard)> {
        let signed_in = self.user.as_ref().map(|user| &*user.id);
        Some((member_id.or(signed_in)?, &self.heard))
    }

    /// The bytes of memory that it takes beside itself.
    fn held_len(&self) -> usize {
        let user_len = self.user.as_ref().map_or(0, SignedIn::held_len);
        self.session.held_len() + self.place.held_len() + user_len
    }
}

/// The user that a client is signed in as.
#[derive(Debug)]
pub struct SignedIn {
    pub id: Box<str>,
    /// The users that it watches.
    pub watchlist: Vec<Box<str>>,
}

impl SignedIn {
    /// What is kept of the user. What was signed is not: the client has been sent it.
    pub fn new(user: User, watches: bool) -> Self {
        let watchlist = if watches { user.watchlist } else { Vec::new() };
        Self { id: user.id, watchlist }
    }

    /// The bytes of memory that it takes here and among the users of the app.
    fn held_len(&self) -> usize {
        let watched: usize =
            self.watchlist.iter().map(|id| 2 * id.len() + size_of::<Box<str>>() + WATCHED_LEN).sum();
        2 * self.id.len() + WATCHED_LEN + watched
    }
}

/// What the app's table has for a user or a watched user besides the identifier: an entry that is seldom shared, with a set
/// of one connection.
const WATCHED_LEN: usize = 192;
