//! One connection's side of the protocol (sections 2 to 4): which channels it has, who it is, and what its messages ask for.
//!
//! Nothing is done here: text and the time come in, replies and a command go out. What a channel holds is not known.

mod channels;
mod connecting;
mod message;
mod rate;

use super::auth::{self, Fault};
use super::channel::Access;
use super::error::Purpose;
use super::{App, Error, Limit, Member, Name, event};
use crate::hub::EventName;

use channels::Channels;
pub use connecting::{InvalidSocketId, SocketId, protocol};
pub use message::User;
use message::{Message, SignIn, Subscription};
use rate::Window;

/// What the names of client events begin with.
const CLIENT_EVENT_PREFIX: &str = "client-";

/// The state of one connection.
///
/// How to drive this:
///
/// 1. Send [`Session::established`] before anything else.
/// 2. Give each text message to [`Session::receive`], in order, and send the replies in order.
/// 3. Carry out the command, with its own answers, before the next message is given.
/// 4. Of a subscription that was made, tell [`Session::joined`]; of one that has ended, [`Session::left`]; of a sign-in,
///    [`Session::signed_in`].
#[derive(Debug)]
pub struct Session {
    socket_id: SocketId,
    channels: Channels,
    user: Option<Box<SignedIn>>,
    client_events: Window,
    protocol: u8,
    /// Whether it is signed in, or has had a channel that needs a signature.
    is_authorized: bool,
}

/// Who a connection is signed in as.
#[derive(Debug)]
struct SignedIn {
    id: Box<str>,
    info: Option<Box<str>>,
}

/// What the server has to do for a message.
#[derive(Debug, PartialEq, Eq)]
#[must_use]
pub enum Command<'a> {
    /// Nothing: the replies say all.
    None,
    /// Nothing: what the client asked for is refused. The replies end with the `pusher:error` of this fault.
    Refused(Error),
    /// Subscribe the connection to a channel, and answer `subscription_succeeded`; or [`Error::refuse`].
    Subscribe {
        /// The channel: one that the connection does not have.
        name: Name,
        /// Who joins; there is one exactly if it is a presence channel.
        member: Option<Member>,
    },
    /// End the subscription to a channel that the connection has. Nothing is answered.
    Unsubscribe {
        /// The channel.
        name: Name,
    },
    /// Deliver an event to the other subscribers of the channel. Nothing is answered.
    Publish(ClientEvent<'a>),
    /// Sign the connection in, and answer `signin_success`. It was not signed in before.
    SignIn(User),
    /// Close the connection with the code and the sentence of the error. The replies end with its `pusher:error`.
    Close(Error),
}

/// An event that a client sends to the other subscribers of a channel.
#[derive(Debug, PartialEq, Eq)]
pub struct ClientEvent<'a> {
    /// The channel, to which the client has subscribed.
    pub name: Name,
    /// The event's name; it begins with `client-`.
    pub event: EventName,
    /// Its data: one JSON value, as the client wrote it; `null` if it sent none.
    pub data: &'a str,
    /// Who sent it, in a presence channel.
    pub user_id: Option<Box<str>>,
}

impl Session {
    /// A new connection that speaks this version of the protocol; see [`protocol()`].
    #[must_use]
    pub fn new(socket_id: SocketId, protocol: u32) -> Self {
        Self {
            socket_id,
            channels: Channels::default(),
            user: None,
            client_events: Window::default(),
            protocol: u8::try_from(protocol).unwrap_or(u8::MAX),
            is_authorized: false,
        }
    }

    /// The first message of the connection. The timeout is in seconds, at least 1.
    #[must_use]
    pub fn established(&self, activity_timeout_s: u64) -> String {
        event::connection_established(&self.socket_id.to_string(), activity_timeout_s.max(1))
    }

    /// Takes one text message. The replies are appended in the order in which they are to be sent; what else the server has
    /// to do is returned. `now_ms` counts from any moment, and never goes back.
    pub fn receive<'a>(
        &mut self,
        text: &'a str,
        app: &App,
        now_ms: u64,
        replies: &mut Vec<String>,
    ) -> Command<'a> {
        self.handle(text, app, now_ms, replies).unwrap_or_else(|error| {
            replies.push(error.event());
            if error.close_code().is_some() { Command::Close(error) } else { Command::Refused(error) }
        })
    }

    /// The connection has subscribed to the channel; in a presence channel, as this user.
    pub fn joined(&mut self, name: &Name, user_id: Option<&str>) {
        self.is_authorized |= name.kind().needs_auth();
        self.channels.insert(name.channel(), user_id);
    }

    /// The subscription to the channel has ended. Returns who it was in a presence channel.
    pub fn left(&mut self, local_name: &str) -> Option<Box<str>> {
        self.channels.remove(local_name).flatten()
    }

    /// The connection is signed in as the user.
    pub fn signed_in(&mut self, user: &User) {
        self.is_authorized = true;
        self.user = Some(Box::new(SignedIn { id: user.id.clone(), info: user.info.clone() }));
    }

    /// Who the connection is in a presence channel.
    #[must_use]
    pub fn user_id_in(&self, local_name: &str) -> Option<&str> {
        self.channels.get(local_name)?
    }

    /// The names of the connection's channels, as clients have them, in order.
    pub fn channels(&self) -> impl Iterator<Item = &str> {
        self.channels.names()
    }

    /// The number of the connection's channels.
    #[must_use]
    pub fn channels_len(&self) -> usize {
        self.channels.len()
    }

    /// Who the connection is signed in as.
    #[must_use]
    pub fn user_id(&self) -> Option<&str> {
        self.user.as_ref().map(|user| &*user.id)
    }

    /// Whether the connection is signed in, or has had a channel that needs a signature: what
    /// [`App::authorized_within`] asks for.
    #[must_use]
    pub fn is_authorized(&self) -> bool {
        self.is_authorized
    }

    /// The identifier of the connection.
    #[must_use]
    pub fn socket_id(&self) -> &SocketId {
        &self.socket_id
    }

    /// Whether the client answers `pusher:ping`: those before version 5 do not.
    #[must_use]
    pub fn answers_ping(&self) -> bool {
        self.protocol >= 5
    }

    /// About how many bytes it holds on the heap.
    #[must_use]
    pub fn held_len(&self) -> usize {
        let user = self.user.as_ref().map_or(0, |user| {
            size_of::<SignedIn>() + user.id.len() + user.info.as_ref().map_or(0, |info| info.len())
        });
        self.channels.held_len() + user
    }

    /// # Errors
    /// What the client is to be told by `pusher:error` alone. A refused subscription is answered in here.
    fn handle<'a>(
        &mut self,
        text: &'a str,
        app: &App,
        now_ms: u64,
        replies: &mut Vec<String>,
    ) -> Result<Command<'a>, Error> {
        let message = Message::parse(text)?;
        match &*message.event {
            "pusher:ping" => {
                replies.push(event::pong());
                Ok(Command::None)
            }
            // That it came is all that it says.
            "pusher:pong" => Ok(Command::None),
            "pusher:subscribe" => self.subscribe(&Subscription::parse(&message)?, app, replies),
            "pusher:unsubscribe" => self.unsubscribe(&Subscription::parse(&message)?.channel),
            "pusher:signin" => self.sign_in(SignIn::parse(&message)?, app, replies),
            event if event.starts_with(CLIENT_EVENT_PREFIX) => {
                self.publish(&message, app, now_ms).map(Command::Publish)
            }
            event => Err(Error::Unsupported(event.to_owned())),
        }
    }

    fn subscribe<'a>(
        &self,
        subscription: &Subscription,
        app: &App,
        replies: &mut Vec<String>,
    ) -> Result<Command<'a>, Error> {
        let channel = &subscription.channel;
        if self.channels.get(channel).is_some() {
            return Err(Error::Existing(channel.clone()));
        }
        Ok(match self.admit(subscription, app) {
            Ok((name, member)) => Command::Subscribe { name, member },
            Err(error) => {
                error.refuse(channel, replies);
                Command::Refused(error)
            }
        })
    }

    /// The channel of a subscription, and as whom the connection joins.
    fn admit(&self, subscription: &Subscription, app: &App) -> Result<(Name, Option<Member>), Error> {
        let channel = &subscription.channel;
        let name = Name::new(channel).map_err(|why| Error::InvalidChannel(channel.clone(), why))?;
        if self.channels.len() >= app.max_channels {
            return Err(Error::LimitReached(Limit::Channels(app.max_channels)));
        }
        let member = match name.kind().access {
            Access::Public => None,
            Access::User if name.user() == self.user_id() => None,
            Access::User => return Err(Error::NotTheUser(channel.clone())),
            Access::Private => {
                self.check_signature(subscription, app)?;
                None
            }
            Access::Presence => {
                self.check_signature(subscription, app)?;
                Some(self.member(subscription, app)?)
            }
        };
        Ok((name, member))
    }

    /// 4.3: the channel is signed, with the `channel_data` if there is some.
    fn check_signature(&self, subscription: &Subscription, app: &App) -> Result<(), Error> {
        let channel = &subscription.channel;
        let auth = subscription.auth.as_ref().ok_or_else(|| Error::NoAuth(channel.clone()))?;
        let signed = auth::of_subscription(self.socket_id, channel, subscription.channel_data.as_deref());
        auth::verify(app, auth, &signed).map_err(|fault| match fault {
            Fault::Key(key) => Error::InvalidKey(Purpose::Subscription, key),
            Fault::Digest(got) => Error::InvalidSignature(signed, got),
        })
    }

    /// 4.4: who joins is said by the `channel_data`; without it, it is the signed-in user.
    fn member(&self, subscription: &Subscription, app: &App) -> Result<Member, Error> {
        let member = match (&subscription.channel_data, &self.user) {
            (Some(data), _) => message::member(data)?,
            (None, Some(user)) => Member { user_id: user.id.clone(), user_info: user.info.clone() },
            (None, None) => return Err(Error::NoMember(subscription.channel.clone())),
        };
        let len = member.user_info.as_ref().map_or(0, |info| info.len());
        if len > app.max_user_info {
            return Err(Error::UserInfoTooLarge(len, app.max_user_info));
        }
        Ok(member)
    }

    fn unsubscribe<'a>(&self, channel: &str) -> Result<Command<'a>, Error> {
        let is_subscribed = self.channels.get(channel).is_some();
        let name = Name::new(channel).ok().filter(|_| is_subscribed);
        let name = name.ok_or_else(|| Error::NotSubscribed(channel.to_owned()))?;
        Ok(Command::Unsubscribe { name })
    }

    /// 4.8: who may send what to whom. An event that is refused does not count for the rate.
    fn publish<'a>(
        &mut self,
        message: &Message<'a>,
        app: &App,
        now_ms: u64,
    ) -> Result<ClientEvent<'a>, Error> {
        let event = EventName::new(&message.event).map_err(Error::EventName)?;
        let channel = message.channel()?;
        let name = Name::new(&channel).map_err(|why| Error::InvalidChannel(channel.clone(), why))?;
        if !app.client_events {
            return Err(Error::ClientEventsOff);
        }
        match name.kind().access {
            Access::Private | Access::Presence => {}
            Access::Public | Access::User => return Err(Error::ClientEventChannel(channel)),
        }
        if name.kind().is_encrypted && !app.encrypted_client_events {
            return Err(Error::ClientEventEncrypted(channel));
        }
        let Some(user_id) = self.channels.get(&channel) else {
            return Err(Error::ClientEventNotSubscribed(channel));
        };
        let data = message.data.map_or("null", |data| data.get());
        let len = message::data_len(data, app.max_event);
        if len > app.max_event {
            return Err(Error::TooLarge(len, app.max_event));
        }
        if !self.client_events.take(app.client_event_rate, now_ms) {
            return Err(Error::ClientEventRate(app.client_event_rate));
        }
        Ok(ClientEvent { name, event, data, user_id: user_id.map(Into::into) })
    }

    /// 4.9. A second sign-in of the same user is answered, and changes nothing.
    fn sign_in<'a>(
        &self,
        request: SignIn,
        app: &App,
        replies: &mut Vec<String>,
    ) -> Result<Command<'a>, Error> {
        let signed = auth::of_user(self.socket_id, &request.user_data);
        auth::verify(app, &request.auth, &signed).map_err(|fault| {
            let error = match fault {
                Fault::Key(key) => Error::InvalidKey(Purpose::User, key),
                Fault::Digest(got) => Error::InvalidSignature(signed, got),
            };
            Error::Unauthorized(error.to_string())
        })?;
        let (user, watchlist_len) = message::user(request.user_data, app.watchlist)?;
        match self.user_id() {
            Some(id) if *id != *user.id => return Err(Error::SignedInAs(id.to_owned())),
            Some(_) => {
                replies.push(event::signin_success(&user.data));
                return Ok(Command::None);
            }
            None => {}
        }
        if watchlist_len > super::error::WATCHLIST_LEN_MAX {
            replies.push(Error::Watchlist(watchlist_len).event());
        }
        Ok(Command::SignIn(user))
    }
}

#[cfg(test)]
#[path = "session_tests.rs"]
mod tests;
