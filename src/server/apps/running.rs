//! One running app: its settings, which a reload replaces, and what is counted of it.
//!
//! How an app is found is in `mod`.

use std::collections::HashMap;
use std::fmt;
use std::ops::Deref;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, RwLock};

use crate::hub::{ChannelName, Owner};
use crate::pusher::webhook::Event;
use crate::pusher::{App, Name, SocketId, WebhookEvent};
use crate::server::apps::rate::Rate;
use crate::server::apps::refused::{Refused, RefusedList};
use crate::server::apps::users::Users;
use crate::server::apps::webhooks::Webhooks;
use crate::server::broker::Broker;
use crate::server::broker::mailbox::{Order, OrderKind};
use crate::server::clock::Millis;
use crate::server::lock::{lock, read, write};

/// An app that the server runs. What it counts outlives a reload.
#[derive(Debug)]
pub struct RunningApp {
    id: Box<str>,
    is_default: bool,
    settings: RwLock<Arc<App>>,
    is_removed: AtomicBool,
    connections: AtomicU64,
    /// One for each loop.
    messages: Box<[Cell]>,
    events: Mutex<Rate>,
    refused: Mutex<RefusedList>,
    users: Mutex<Users>,
    webhooks: Webhooks,
    sockets: Mutex<HashMap<SocketId, Owner>>,
}

/// A counter with a cache line of its own: each loop counts without disturbing the others.
#[derive(Debug, Default)]
#[repr(align(64))]
struct Cell(AtomicU64);

/// One connection's place among those of its app. Dropping it gives the place back.
#[derive(Debug)]
pub struct Place {
    app: Arc<RunningApp>,
    /// Under which the app finds the connection.
    socket_id: Option<SocketId>,
}

impl RunningApp {
    /// An app without connections. `is_default`: its channels have plain names.
    pub(super) fn new(settings: App, is_default: bool, loops: usize) -> Self {
        Self {
            id: settings.id.as_str().into(),
            is_default,
            settings: RwLock::new(Arc::new(settings)),
            is_removed: AtomicBool::new(false),
            connections: AtomicU64::new(0),
            messages: (0..loops).map(|_| Cell::default()).collect(),
            events: Mutex::default(),
            refused: Mutex::default(),
            users: Mutex::default(),
            webhooks: Webhooks::default(),
            sockets: Mutex::default(),
        }
    }

    /// Its identifier, which never changes.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// Whether its channels have their plain names.
    pub fn is_default(&self) -> bool {
        self.is_default
    }

    /// The settings at present. A connection does not keep them: it asks again, so that it obeys a reload.
    pub fn settings(&self) -> Arc<App> {
        Arc::clone(&read(&self.settings))
    }

    /// Replaces the settings; false if they are the same.
    pub(super) fn replace_settings(&self, settings: App) -> bool {
        let mut present = write(&self.settings);
        let is_other = **present != settings;
        if is_other {
            *present = Arc::new(settings);
        }
        is_other
    }

    /// Whether it is no longer configured: its connections are closed with 4001.
    pub fn is_removed(&self) -> bool {
        self.is_removed.load(Ordering::Acquire)
    }

    pub(super) fn remove(&self) {
        self.is_removed.store(true, Ordering::Release);
    }

    /// The channel of this app that its clients know by `name`.
    pub fn channel(&self, name: &Name) -> ChannelName {
        if self.is_default { name.channel().clone() } else { name.channel().in_space(&self.id) }
    }

    /// The users that are signed in. The lock is held for a lookup only.
    pub fn users(&self) -> MutexGuard<'_, Users> {
        lock(&self.users)
    }

    /// Whether `channel` is one of this app's.
    pub fn has_channel(&self, channel: &ChannelName) -> bool {
        match channel.space() {
            Some(id) => *self.id == *id,
            None => self.is_default && !channel.is_reserved(),
        }
    }
}

/// The connections.
impl RunningApp {
    /// A place for one more connection; none if the app has as many as it may.
    pub fn take_place(self: &Arc<Self>) -> Option<Place> {
        let max = self.settings().max_connections.unwrap_or(u64::MAX);
        let more = |connections: u64| (connections < max).then_some(connections + 1);
        self.connections.fetch_update(Ordering::Relaxed, Ordering::Relaxed, more).ok()?;
        Some(Place { app: Arc::clone(self), socket_id: None })
    }

    /// The connection with this identifier, while it is open.
    pub fn owner_of(&self, socket_id: SocketId) -> Option<Owner> {
        lock(&self.sockets).get(&socket_id).copied()
    }

    /// Ends the connections of a user that has signed in, on this node.
    pub fn terminate(&self, user: &str, broker: &Broker) {
        let connections = self.users().connections(user).to_vec();
        for Owner { hub, number } in connections {
            broker.mailbox(hub).order(Order { connection: number, what: OrderKind::Terminate });
        }
    }

    /// How many connections there are. More than allowed, if a reload has lowered the limit: they stay.
    pub fn connections(&self) -> u64 {
        self.connections.load(Ordering::Relaxed)
    }
}

impl Place {
    /// The app.
    pub fn app(&self) -> &Arc<RunningApp> {
        &self.app
    }

    /// Has the app find the connection under this identifier from now on: publishers may exclude it.
    pub fn register(&mut self, socket_id: SocketId, owner: Owner) {
        let mut sockets = lock(&self.app.sockets);
        if let Some(former) = self.socket_id.replace(socket_id) {
            sockets.remove(&former);
        }
        sockets.insert(socket_id, owner);
    }

    /// The bytes of memory that the app needs to find it.
    pub fn held_len(&self) -> usize {
        // A hash table is between half full and seven eighths full.
        2 * size_of::<(SocketId, Owner)>()
    }
}

impl Deref for Place {
    type Target = RunningApp;

    fn deref(&self) -> &RunningApp {
        &self.app
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if let Some(socket_id) = self.socket_id {
            let mut sockets = lock(&self.app.sockets);
            sockets.remove(&socket_id);
            if sockets.len() < sockets.capacity() / 4 {
                sockets.shrink_to_fit();
            }
        }
        self.app.connections.fetch_sub(1, Ordering::Relaxed);
    }
}

/// The events that its servers publish.
impl RunningApp {
    /// Takes `count` events of those that may be published in a second.
    ///
    /// # Errors
    /// There were too many. How many milliseconds later they would be allowed.
    pub fn take_events(&self, count: u32, now: Millis) -> Result<(), u64> {
        match self.settings().event_rate {
            Some(per_second) => lock(&self.events).take(count, per_second, now),
            None => Ok(()),
        }
    }
}

/// The webhooks.
impl RunningApp {
    /// Whether an event of this kind is to be reported: asked before one is made.
    pub fn reports(&self, kind: WebhookEvent) -> bool {
        self.webhooks.wants(kind)
    }

    /// Reports an event to the app's webhooks. Events about one channel are to be reported in their order: under the
    /// channel's lock. It waits for no request.
    pub fn report(&self, event: &Event, now: Millis) {
        self.webhooks.report(event, now);
    }

    /// The receivers of webhooks, and what they were sent.
    pub fn webhooks(&self) -> &Webhooks {
        &self.webhooks
    }
}

/// What is counted and kept for the dashboard and the metrics.
impl RunningApp {
    /// Counts messages that clients have sent, or events that a server has published, on a loop.
    pub fn note_messages(&self, loop_index: usize, count: u64) {
        self.messages[loop_index].0.fetch_add(count, Ordering::Relaxed);
    }

    /// How many messages there were on all loops together.
    pub fn messages(&self) -> u64 {
        self.messages.iter().map(|cell| cell.0.load(Ordering::Relaxed)).sum()
    }

    /// Keeps what a client or a server of the app was refused and why: the sentence that it was told. `at_ms` is the time
    /// since 1970.
    pub fn note_refused(&self, sentence: &dyn fmt::Display, at_ms: u64) {
        lock(&self.refused).note(sentence, at_ms);
    }

    /// The last refusals, the newest first.
    pub fn refused(&self) -> Vec<Refused> {
        lock(&self.refused).newest_first()
    }

    /// How many refusals there were.
    pub fn refused_len(&self) -> u64 {
        lock(&self.refused).total()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn running(settings: App) -> Arc<RunningApp> {
        Arc::new(RunningApp::new(settings, true, 2))
    }

    #[test]
    fn a_connection_takes_a_place_until_it_is_dropped() {
        let app = running(App { max_connections: Some(2), ..App::new("1", "k", "s") });
        let places = [app.take_place().unwrap(), app.take_place().unwrap()];
        assert!(app.take_place().is_none(), "a third one");
        assert_eq!((places[0].id(), app.connections()), ("1", 2));
        drop(places);
        assert_eq!(app.connections(), 0);
        assert!(app.take_place().is_some());
    }

    #[test]
    fn a_connection_is_found_by_its_identifier_until_it_is_dropped() {
        let app = running(App::new("1", "k", "s"));
        let owner = |number| Owner { hub: 1, number };
        let mut places: Vec<_> = (0..100).map(|_| app.take_place().unwrap()).collect();
        for (number, place) in (0..).zip(&mut places) {
            place.register(SocketId::new(number, 7), owner(number));
        }
        assert_eq!(app.owner_of(SocketId::new(42, 7)), Some(owner(42)));
        assert_eq!(app.owner_of(SocketId::new(42, 8)), None);
        places.truncate(43);
        assert_eq!(app.owner_of(SocketId::new(42, 7)), Some(owner(42)));
        drop(places);
        assert_eq!(app.owner_of(SocketId::new(42, 7)), None);
        assert!(lock(&app.sockets).capacity() < 100);
    }

    #[test]
    fn a_limit_that_a_reload_has_lowered_is_for_new_connections() {
        let app = running(App::new("1", "k", "s"));
        let places: Vec<_> = (0..3).map(|_| app.take_place().unwrap()).collect();
        assert!(app.replace_settings(App { max_connections: Some(1), ..App::new("1", "k", "s") }));
        assert_eq!(app.connections(), 3);
        assert!(app.take_place().is_none());
        drop(places);
        assert!(app.take_place().is_some());
    }

    #[test]
    fn equal_settings_replace_nothing() {
        let app = running(App::new("1", "k", "s"));
        let before = app.settings();
        assert!(!app.replace_settings(App::new("1", "k", "s")));
        assert!(Arc::ptr_eq(&before, &app.settings()));
        assert!(app.replace_settings(App::new("1", "k", "other")));
        assert_eq!((before.secrets[0].as_str(), app.settings().secrets[0].as_str()), ("s", "other"));
    }

    #[test]
    fn the_messages_of_all_loops_are_counted_together() {
        let app = running(App::new("1", "k", "s"));
        app.note_messages(0, 3);
        app.note_messages(1, 4);
        assert_eq!(app.messages(), 7);
    }

    #[test]
    fn a_channel_is_one_of_the_app_that_has_its_name_space() {
        let plain = ChannelName::new("a").unwrap();
        let other = RunningApp::new(App::new("7", "k", "s"), false, 1);
        let default = RunningApp::new(App::new("1", "k", "s"), true, 1);
        assert!(default.has_channel(&plain) && !default.has_channel(&plain.in_space("7")));
        assert!(other.has_channel(&plain.in_space("7")) && !other.has_channel(&plain));
        assert!(!other.has_channel(&plain.in_space("77")));
        assert!(!default.has_channel(&ChannelName::new("@fanfare.dashboard").unwrap()));
    }
}
