//! The role of a connection that speaks the Pusher protocol: its messages are commands, its channels are logs of this loop.
//!
//! What a message asks for is decided by `pusher`, which channel is meant by the app; how its bytes are framed is the
//! transport's.

use std::collections::VecDeque;
use std::sync::Arc;

use super::awaiting::{Wish, Wished};
use super::client::{Client, PusherClient, SignedIn};
use super::context::Context;
use super::life::Life;
use super::preparing::Wait;
use super::replay::Replay;
use super::subscriptions::Entry;
use super::timeouts::Stage;
use super::{Connection, Next};
use crate::hub::{Content, Hub, Owner, Source, Subscription, WireForm};
use crate::pusher::fallback;
use crate::pusher::webhook::Event as Report;
use crate::pusher::{
    Access, App, ClientEvent, Command, Error, Limit, Member, Name, Session, SocketId, User, WebhookEvent,
    event,
};
use crate::server::access::Verdict;
use crate::server::api::pusher::Connecting;
use crate::server::broker::answer::Publishing;
use crate::server::broker::audience::{Cache, Heard};
use crate::server::broker::draft::{Draft, Excluded};
use crate::server::broker::joins::{Full, Joiner, Leaver};
use crate::server::broker::mailbox::{Order, OrderKind, Unavailable};
use crate::server::clock::{self, Millis};
use crate::server::metrics::refusals::Reason;
use crate::ws::{CloseCode, Message, MessageKind, Opcode, encode_frame};

/// No user.
const NOBODY: &[&str] = &[];

/// Beginnings and ends.
impl Connection {
    /// The handshake is in the outbox: tells the client its socket id, or why it is refused. The client is told nothing
    /// else before that.
    pub(super) fn begin_pusher(&mut self, connecting: Connecting, form: WireForm, cx: &mut Context) {
        match connecting.outcome {
            Err(error) => {
                if let Some(app) = &connecting.app {
                    app.note_refused(&error, clock::unix_ms());
                }
                self.refuse_pusher(&error, cx);
            }
            Ok((mut place, version)) => {
                let socket_id = SocketId::new(cx.draw(), cx.draw());
                place.register(socket_id, cx.owner());
                let session = Session::new(socket_id, version);
                let established = session.established(cx.timeouts.idle_ms().div_ceil(1000));
                let within = place.settings().authorized_within;
                let authorize_by = within.map(|within| Millis(cx.now.0 + clock::millis(within)));
                self.send_message(&established);
                let client = PusherClient {
                    session,
                    place,
                    form,
                    user: None,
                    authorize_by,
                    heard: Heard::new(cx.now),
                };
                self.put_client(Box::new(Client::Pusher(client)));
            }
        }
    }

    /// Tells the client what is wrong, and closes the connection with the same code and reason.
    pub(super) fn refuse_pusher(&mut self, error: &Error, cx: &mut Context) {
        if !self.is_open() {
            return;
        }
        cx.note(Reason::Pusher, error);
        self.send_message(&error.event());
        self.close_with(error, cx);
    }

    fn close_with(&mut self, error: &Error, cx: &mut Context) {
        let code = error.close_code().and_then(CloseCode::new).unwrap_or(CloseCode::POLICY_VIOLATION);
        self.close(code, &error.to_string(), cx);
    }

    /// The code and the reason that a Pusher client is closed with where other clients get this code.
    pub(super) fn pusher_code(&self, code: CloseCode) -> CloseCode {
        if self.client().is_none() {
            return code;
        }
        match code {
            CloseCode::TRY_AGAIN_LATER => OVER_CAPACITY,
            code => code,
        }
    }

    /// Signs the user out, if the client is signed in. Its watchers are told.
    pub(super) fn sign_out(&mut self, cx: &mut Context) {
        let Some(client) = self.client_mut() else { return };
        let Some(user) = client.user.take() else { return };
        let app = Arc::clone(client.place.app());
        // Under the lock: what a watcher is told of several connections of a user has the order of the changes.
        let mut users = app.users();
        let watchers = users.sign_out(&user.id, cx.owner(), &user.watchlist);
        if app.settings().watchlist && !watchers.is_empty() {
            cx.send_to(&watchers, &event::watchlist(NOBODY, &[&*user.id]));
        }
    }

    /// Ends one subscription in the hub and the broker, whatever the protocol.
    pub(super) fn end_subscription(&mut self, subscription: Subscription, cx: &mut Context) {
        match self.client_mut() {
            None => cx.unsubscribe(subscription),
            Some(client) => leave(client, subscription, true, cx),
        }
    }

    /// When the client has to be authorized, if it has to.
    pub(super) fn authorize_by(&self) -> Option<Millis> {
        let client = self.client()?;
        client.authorize_by.filter(|_| self.is_open() && !client.session.is_authorized())
    }

    /// Whether it has not been closed.
    pub(super) fn is_open(&self) -> bool {
        match &self.life {
            Life::Carried(session) => !session.is_closing,
            _ => matches!(self.stage(), Stage::Open | Stage::Pinged),
        }
    }

    /// Closes a client that did not authorize itself in time.
    pub(super) fn close_unauthorized(&mut self, cx: &mut Context) {
        let error = Error::Unauthorized("the connection was not authorized in time".into());
        self.refuse_client(&error, cx);
    }

    /// The app was removed or disabled by a reload: its client is closed.
    pub fn check_app(&mut self, cx: &mut Context) {
        let Some(client) = self.client() else { return };
        let error = if client.place.is_removed() {
            Error::AppUnknown(client.place.settings().key.clone())
        } else if !client.place.settings().is_enabled {
            Error::AppDisabled
        } else {
            return;
        };
        self.refuse_client(&error, cx);
    }

    /// Does what another connection or thread wants.
    pub fn obey(&mut self, order: &OrderKind, cx: &mut Context) -> Next {
        match order {
            OrderKind::Send(message) if self.client().is_some() => {
                self.send_message(message);
                // What others cause to be sent has the same bound as what they publish.
                if self.unsent_len() as u64 > cx.lag_rules.lag_max {
                    self.refuse_client(&Error::Lagged, cx);
                }
            }
            OrderKind::Terminate if self.client().is_some() => {
                let error = Error::Unauthorized("the app has ended this user's connections".into());
                self.refuse_client(&error, cx);
            }
            OrderKind::Revoked(ended) => return self.receive_revoked(*ended, cx),
            OrderKind::Send(_) | OrderKind::Terminate => {}
        }
        Next::Wait
    }

    /// As [`Connection::refuse_pusher`], for a client that is known to its app.
    pub(super) fn refuse_client(&mut self, error: &Error, cx: &mut Context) {
        if let Some(client) = self.client() {
            client.place.note_refused(error, clock::unix_ms());
        }
        self.refuse_pusher(error, cx);
    }

    /// Closes a client that has been told what is wrong.
    fn close_client(&mut self, error: &Error, cx: &mut Context) {
        if let Some(client) = self.client() {
            note_refused(error, client, cx);
        }
        self.close_with(error, cx);
    }
}

/// The code that Pusher clients are closed with when they lag too far: they try again after a second.
const OVER_CAPACITY: CloseCode = CloseCode::private(4100);

/// Messages.
impl Connection {
    /// Processes one message of a client.
    pub(super) fn receive_command(&mut self, message: &Message<'_>, cx: &mut Context) -> Next {
        let text = match (message.kind, str::from_utf8(&message.payload)) {
            (MessageKind::Text, Ok(text)) => text,
            (MessageKind::Text | MessageKind::Binary, _) => {
                self.refuse_client(&Error::Binary, cx);
                return Next::Read;
            }
        };
        let Some(mut boxed) = self.take_client() else { return Next::Read };
        let client = boxed.pusher_mut().expect("only such clients are taken");
        let settings = client.place.settings();
        client.place.note_messages(cx.loop_index, 1);
        let mut replies = Vec::new();
        let command = client.session.receive(text, &settings, cx.now.0, &mut replies);
        for reply in &replies {
            self.send_message(reply);
        }
        let closes = self.execute(command, client, &settings, cx);
        self.put_client(boxed);
        if let Some(error) = closes {
            self.close_client(&error, cx);
        }
        Next::Read
    }

    /// Does what a message asks for. An error closes the connection.
    fn execute(
        &mut self,
        command: Command<'_>,
        client: &mut PusherClient,
        settings: &App,
        cx: &mut Context,
    ) -> Option<Error> {
        match command {
            Command::None => {}
            Command::Refused(error) => note_refused(&error, client, cx),
            Command::Subscribe { name, member } => {
                self.join_when_ready((name, member), cx.now, client, settings, cx);
            }
            Command::Unsubscribe { name } => self.quit_channel(&name, client, cx),
            Command::Publish(event) => self.publish_event(event, client, cx),
            Command::SignIn(user) => self.sign_in(user, client, settings, cx),
            Command::Close(error) => return Some(error),
        }
        None
    }

    /// Joins a channel once that can be joined, which may have been waited for since then.
    fn join_when_ready(
        &mut self,
        (name, member): (Name, Option<Member>),
        since: Millis,
        client: &mut PusherClient,
        settings: &App,
        cx: &mut Context,
    ) {
        let channel = client.place.channel(&name);
        if name.kind().access == Access::Public && cx.access.may_subscribe(None, &channel) != Verdict::Yes {
            return self.refuse_joining(&name, &Error::NotOpen(name.as_str().to_owned()), client, cx);
        }
        match self.await_channel(&channel, since, cx) {
            Wait::Over => {
                self.refuse_joining(&name, &Error::Unavailable(name.as_str().to_owned()), client, cx);
            }
            Wait::For(pending) => {
                self.await_wish(Wish { pending, since, what: Wished::Subscription { name, member } });
            }
            Wait::Nothing => self.join_channel(name, member, client, settings, cx),
        }
    }

    /// The channel that a client is to join can be joined, or cannot.
    pub(super) fn join_prepared(
        &mut self,
        (name, member): (Name, Option<Member>),
        since: Millis,
        outcome: Result<(), Unavailable>,
        cx: &mut Context,
    ) {
        if !self.is_open() {
            return;
        }
        let Some(mut boxed) = self.take_client() else { return };
        let client = boxed.pusher_mut().expect("only such clients are taken");
        let settings = client.place.settings();
        match outcome {
            Ok(()) => self.join_when_ready((name, member), since, client, &settings, cx),
            Err(Unavailable) => {
                self.refuse_joining(&name, &Error::Unavailable(name.as_str().to_owned()), client, cx);
            }
        }
        self.put_client(boxed);
    }

    fn join_channel(
        &mut self,
        name: Name,
        member: Option<Member>,
        client: &mut PusherClient,
        settings: &App,
        cx: &mut Context,
    ) {
        let (channel, form, owner) = (client.place.channel(&name), client.form, cx.owner());
        let policy = cx.shared.config.lag_policy(channel.local());
        let user_id = member.as_ref().map(|member| &*member.user_id);
        let (members_max, user) = (settings.max_members, client.known_as(user_id));
        let joiner = Joiner { owner, member: member.as_ref(), members_max, user };
        let subscribe = |hub: &mut Hub| hub.subscribe(&channel, form, owner.number);
        let joined = cx.join_as_pusher(&client.place, &channel, joiner, subscribe);
        let joined = match joined {
            Ok(joined) => joined,
            Err(Full) => {
                let error = Error::LimitReached(Limit::Members(settings.max_members));
                return self.refuse_joining(&name, &error, client, cx);
            }
        };
        client.session.joined(&name, user_id);
        self.send_message(&event::subscription_succeeded(name.as_str(), joined.members.as_deref()));
        let mut missed = VecDeque::new();
        match joined.cache {
            Cache::None => {}
            Cache::Hit(publications) => missed = publications,
            Cache::Miss { .. } => self.send_message(&event::cache_miss(name.as_str())),
        }
        self.add_subscription(Entry::new(joined.subscribed, policy, Replay::new(missed)), &cx.hub);
    }

    fn refuse_joining(&mut self, name: &Name, error: &Error, client: &PusherClient, cx: &Context) {
        note_refused(error, client, cx);
        let mut replies = Vec::new();
        error.refuse(name.as_str(), &mut replies);
        replies.iter().for_each(|reply| self.send_message(reply));
    }

    /// Ends the subscriptions of a Pusher client to public channels that the rules do not leave open any more. It is told what a
    /// client is told that subscribes now.
    pub(super) fn expel_from_closed(&mut self, cx: &mut Context) {
        let Some(mut boxed) = self.take_client() else { return };
        let client = boxed.pusher_mut().expect("only such clients are taken");
        let subscriptions: Vec<Subscription> =
            self.subscriptions.entries().iter().map(|entry| entry.subscription).collect();
        for subscription in subscriptions {
            let channel = cx.hub.channel(subscription);
            let Ok(name) = Name::new(channel.local()) else { continue };
            let is_public = name.kind().access == Access::Public;
            if is_public
                && cx.access.may_subscribe(None, channel) != Verdict::Yes
                && self.detach(subscription, cx)
            {
                leave(client, subscription, false, cx);
                self.refuse_joining(&name, &Error::NotOpen(name.as_str().to_owned()), client, cx);
            }
        }
        self.put_client(boxed);
    }

    fn quit_channel(&mut self, name: &Name, client: &mut PusherClient, cx: &mut Context) {
        let channel = client.place.channel(name);
        let Some(subscription) = self.subscriptions.to_channel(channel.as_str(), &cx.hub) else { return };
        self.detach(subscription, cx);
        leave(client, subscription, false, cx);
    }

    /// Publishes a client's event to the other subscribers of its channel.
    fn publish_event(&mut self, event: ClientEvent<'_>, client: &PusherClient, cx: &mut Context) {
        let ClientEvent { name, event, data, user_id } = event;
        let socket_id = client.session.socket_id().to_string();
        let mut draft = Draft {
            channel: client.place.channel(&name),
            event: Some(event.clone()),
            content: Content::Json,
            data: data.to_owned().into(),
            source: Source::Client { user_id: user_id.clone(), socket_id: socket_id.clone().into() },
            excluded: Excluded::Owner(cx.owner()),
            frame: None,
        };
        if let Err(refusal) = self.filter(&mut draft, cx) {
            return self.refuse_client(&Error::ClientEventRefused(refusal.to_string()), cx);
        }
        if client.place.reports(WebhookEvent::ClientEvent) {
            let (name, event) = (name.as_str(), event.as_str());
            let report = Report::client_event(name, event, data, &socket_id, user_id.as_deref());
            client.place.report(&report, cx.now);
        }
        match cx.shared.broker.publish(draft, cx.waiter(), cx.now) {
            Publishing::Done(receipt) => self.note_published(receipt.published, cx),
            Publishing::Awaited => self.note_awaited(),
        }
    }

    fn sign_in(&mut self, user: User, client: &mut PusherClient, settings: &App, cx: &mut Context) {
        client.session.signed_in(&user);
        self.send_message(&event::signin_success(&user.data));
        let user = SignedIn::new(user, settings.watchlist);
        let app = Arc::clone(client.place.app());
        let mut users = app.users();
        let found = users.sign_in(&user.id, cx.owner(), &user.watchlist);
        if settings.watchlist {
            if !user.watchlist.is_empty() {
                self.send_message(&event::watchlist(&found.online, &found.offline));
            }
            cx.send_to(&found.watchers, &event::watchlist(&[&*user.id], NOBODY));
        }
        client.user = Some(user);
    }

    /// Notes that the client gave a sign of life.
    pub(super) fn note_heard(&mut self, now: Millis) {
        if let Some(client) = self.client_mut() {
            client.heard.note(now);
        }
    }

    /// Puts a message into the outbox, framed as the transport has it.
    pub(super) fn send_message(&mut self, message: &str) {
        match &self.life {
            Life::Carried(_) => fallback::message(self.outbox.tail(), message),
            _ => encode_frame(self.outbox.tail(), Opcode::Text, message.as_bytes()),
        }
    }
}

/// The client of a connection that speaks the protocol.
impl Connection {
    /// The client, if the connection has one.
    pub(super) fn client(&self) -> Option<&PusherClient> {
        match &self.life {
            Life::WebSocket(websocket) => websocket.client.as_deref()?.pusher(),
            Life::Carried(session) => session.client.as_deref()?.pusher(),
            Life::Http(_)
            | Life::LongPoll(_)
            | Life::EventStream(_)
            | Life::Carrier(_)
            | Life::Finishing
            | Life::Lingering => None,
        }
    }

    fn client_mut(&mut self) -> Option<&mut PusherClient> {
        self.client_slot()?.as_deref_mut()?.pusher_mut()
    }

    /// Takes the client out, so that it can be changed beside the connection; [`Connection::put_client`] puts it back.
    fn take_client(&mut self) -> Option<Box<Client>> {
        self.client_slot()?.take_if(|client| client.pusher().is_some())
    }

    fn put_client(&mut self, client: Box<Client>) {
        *self.client_slot().expect("a client is put back while its connection has the same life") =
            Some(client);
    }

    /// Where the client is, in the lives that may have one.
    pub(super) fn client_slot(&mut self) -> Option<&mut Option<Box<Client>>> {
        match &mut self.life {
            Life::WebSocket(websocket) => Some(&mut websocket.client),
            Life::Carried(session) => Some(&mut session.client),
            Life::Http(_)
            | Life::LongPoll(_)
            | Life::EventStream(_)
            | Life::Carrier(_)
            | Life::Finishing
            | Life::Lingering => None,
        }
    }
}

/// Ends a subscription of a client in its session, the hub and the broker.
fn leave(client: &mut PusherClient, subscription: Subscription, has_ended: bool, cx: &mut Context) {
    let member_id = client.session.left(cx.hub.channel(subscription).local());
    let member_id = member_id.as_deref();
    let user = client.known_as(member_id);
    let leaver = Leaver { owner: cx.owner(), member_id, user, has_ended };
    cx.leave_as_pusher(&client.place, subscription, leaver);
}

/// Counts and logs what a client was refused, for the server and for its app.
fn note_refused(error: &Error, client: &PusherClient, cx: &Context) {
    client.place.note_refused(error, clock::unix_ms());
    cx.note(Reason::Pusher, error);
}

impl Context {
    /// Sends a message to connections of any loop.
    pub(super) fn send_to(&self, owners: &[Owner], message: &str) {
        let message: Arc<str> = message.into();
        for owner in owners {
            let what = OrderKind::Send(Arc::clone(&message));
            self.shared.broker.mailbox(owner.hub).order(Order { connection: owner.number, what });
        }
    }
}
