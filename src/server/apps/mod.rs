//! The running apps: which there are, by identifier and by key, and what a reload of their settings changes.
//!
//! What one app has is in `running`. What its clients may do is decided by `pusher`; connections are not known here.

pub mod figures;
pub mod occupancy;
mod rate;
pub mod refused;
pub mod running;
pub mod users;
pub mod webhooks;

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock, RwLock};
use std::time::Duration;

use crate::hub::ChannelName;
use crate::pusher::App;
use crate::pusher::webhook::{Counts, Timing};
use crate::server::apps::running::RunningApp;
use crate::server::apps::webhooks::Senders;
use crate::server::clock::Clock;
use crate::server::lock::{read, write};
use crate::server::outbound::Trust;

/// The apps of a server.
///
/// The first app that was ever configured is the default: its channels have their plain names, so that `/channels/NAME`
/// reaches them. It stays the default by its identifier, whatever the order after a reload, also while it is removed.
#[derive(Debug)]
pub struct Apps {
    default_id: OnceLock<Box<str>>,
    loops: usize,
    table: RwLock<Table>,
    /// The number of reloads.
    generation: AtomicU64,
    /// Set when webhooks are to be sent.
    senders: OnceLock<Senders>,
}

/// Invariant: the three have the same apps.
#[derive(Debug, Default)]
struct Table {
    /// In the order of the configuration.
    apps: Vec<Arc<RunningApp>>,
    by_id: HashMap<Box<str>, Arc<RunningApp>>,
    by_key: HashMap<Box<str>, Arc<RunningApp>>,
}

/// What a reload has done, each in the order of the configuration.
#[derive(Debug, Default)]
pub struct Reloaded {
    /// The new apps.
    pub added: Vec<Arc<RunningApp>>,
    /// The apps that are no longer configured. They are marked and found by nothing.
    pub removed: Vec<Arc<RunningApp>>,
    /// The apps with other settings than before.
    pub changed: Vec<Arc<RunningApp>>,
}

impl Apps {
    /// The apps of a configuration that was checked: identifiers and keys are unique. A server has `loops` event loops.
    pub fn new(apps: &[App], loops: usize) -> Self {
        let new = Self {
            default_id: OnceLock::new(),
            loops,
            table: RwLock::default(),
            generation: AtomicU64::new(0),
            senders: OnceLock::new(),
        };
        new.reload(apps.to_vec());
        new
    }

    /// The app that clients connect to with this key.
    pub fn by_key(&self, key: &str) -> Option<Arc<RunningApp>> {
        read(&self.table).by_key.get(key).cloned()
    }

    /// The app with this identifier.
    pub fn by_id(&self, id: &str) -> Option<Arc<RunningApp>> {
        read(&self.table).by_id.get(id).cloned()
    }

    /// The app whose channels have plain names, unless it is removed.
    pub fn default_app(&self) -> Option<Arc<RunningApp>> {
        self.by_id(self.default_id.get()?)
    }

    /// The identifier of the app that has the channels with plain names, if that app is removed and others are there.
    pub fn absent_default(&self) -> Option<&str> {
        let id = self.default_id.get()?;
        let table = read(&self.table);
        (!table.apps.is_empty() && !table.by_id.contains_key(id)).then_some(id)
    }

    /// The app whose channel this is. None if the app is removed, and for the server's own channels.
    pub fn of_channel(&self, internal: &ChannelName) -> Option<Arc<RunningApp>> {
        match internal.space() {
            Some(id) => self.by_id(id),
            None if internal.is_reserved() => None,
            None => self.default_app(),
        }
    }

    /// Every app, in the order of the configuration.
    pub fn all(&self) -> Vec<Arc<RunningApp>> {
        read(&self.table).apps.clone()
    }

    /// Changes with each reload: what depends on settings is to be checked again then.
    pub fn generation(&self) -> u64 {
        self.generation.load(Ordering::Acquire)
    }

    /// Replaces the configuration by another one that was checked. An app that stays keeps its counters; one that is
    /// removed and comes back later is a new one.
    pub fn reload(&self, apps: Vec<App>) -> Reloaded {
        if let Some(first) = apps.first() {
            self.default_id.get_or_init(|| first.id.as_str().into());
        }
        // Under one lock, so that a key is never found with the settings of another moment.
        let mut table = write(&self.table);
        let mut before = std::mem::take(&mut *table);
        let mut reloaded = Reloaded::default();
        for settings in apps {
            let app = match before.by_id.remove(settings.id.as_str()) {
                Some(app) => {
                    if app.replace_settings(settings) {
                        reloaded.changed.push(Arc::clone(&app));
                    }
                    app
                }
                None => {
                    let is_default = self.default_id.get().is_some_and(|id| **id == *settings.id);
                    let app = Arc::new(RunningApp::new(settings, is_default, self.loops));
                    reloaded.added.push(Arc::clone(&app));
                    app
                }
            };
            table.insert(app);
        }
        before.apps.retain(|app| before.by_id.contains_key(app.id()));
        before.apps.iter().for_each(|app| app.remove());
        reloaded.removed = before.apps;
        self.generation.fetch_add(1, Ordering::Release);
        if let Some(senders) = self.senders.get() {
            // Also where nothing has changed: a thread that the system refused is asked for again.
            table.apps.iter().for_each(|app| app.webhooks().apply(&app.settings(), senders));
            reloaded.removed.iter().for_each(|app| app.webhooks().close(senders));
        }
        reloaded
    }

    /// Starts the threads that send webhooks, of the apps there are and of those of every later reload. `clock` is the one
    /// whose times events are reported with.
    pub fn start_webhooks(&self, clock: Clock, timing: Timing, trust: &Trust) {
        let senders = self.senders.get_or_init(|| Senders::new(clock, timing, trust.clone()));
        self.all().iter().for_each(|app| app.webhooks().apply(&app.settings(), senders));
    }

    /// Ends them: what waits is tried once, for at most this time in all.
    pub fn stop_webhooks(&self, within: Duration) {
        if let Some(senders) = self.senders.get() {
            senders.stop(within);
        }
    }

    /// What became of the webhooks of each app that has any.
    pub fn webhook_counts(&self) -> Vec<(Box<str>, Counts)> {
        let counted = |app: &Arc<RunningApp>| Some((app.id().into(), app.webhooks().counts()?));
        self.all().iter().filter_map(counted).collect()
    }
}

impl Table {
    fn insert(&mut self, app: Arc<RunningApp>) {
        self.by_key.insert(app.settings().key.as_str().into(), Arc::clone(&app));
        self.by_id.insert(app.id().into(), Arc::clone(&app));
        self.apps.push(app);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pusher::{Name, Webhook, WebhookEvent};

    fn app(id: &str, key: &str) -> App {
        App::new(id, key, "secret")
    }

    fn ids(apps: &[Arc<RunningApp>]) -> Vec<&str> {
        apps.iter().map(|app| app.id()).collect()
    }

    #[test]
    fn an_app_is_found_by_its_key_and_by_its_identifier() {
        let apps = Apps::new(&[app("1", "a"), app("2", "b")], 1);
        assert_eq!(apps.by_key("b").unwrap().id(), "2");
        assert_eq!(apps.by_id("1").unwrap().settings().key, "a");
        assert!(apps.by_key("1").is_none() && apps.by_id("a").is_none());
        assert_eq!(ids(&apps.all()), ["1", "2"]);
        assert!(Apps::new(&[], 1).all().is_empty());
    }

    #[test]
    fn the_channels_of_the_first_app_have_plain_names_and_those_of_others_the_apps_identifier_before_them() {
        let apps = Apps::new(&[app("1", "a"), app("2", "b")], 1);
        let channel = |id: &str, name: &str| apps.by_id(id).unwrap().channel(&Name::new(name).unwrap());
        assert_eq!(channel("1", "prices").as_str(), "prices");
        assert_eq!(channel("2", "prices").as_str(), "2/prices");
        assert_eq!(channel("2", "#server-to-user-7").as_str(), "2/#server-to-user-7");
        for (id, name) in [("1", "prices"), ("2", "prices"), ("1", "#server-to-user-7"), ("2", "private-a")] {
            assert_eq!(apps.of_channel(&channel(id, name)).unwrap().id(), id, "{name}");
        }
        let own = ChannelName::new("@fanfare.dashboard").unwrap();
        assert!(apps.of_channel(&own).is_none(), "the server's own channel is no app's");
    }

    #[test]
    fn a_reload_tells_which_apps_are_new_which_are_gone_and_which_have_other_settings() {
        let apps = Apps::new(&[app("1", "a"), app("2", "b"), app("3", "c")], 1);
        let (first, second) = (apps.by_id("1").unwrap(), apps.by_id("2").unwrap());
        let reloaded = apps.reload(vec![app("4", "d"), app("3", "other"), app("1", "a")]);
        assert_eq!(ids(&reloaded.added), ["4"]);
        assert_eq!(ids(&reloaded.removed), ["2"]);
        assert_eq!(ids(&reloaded.changed), ["3"]);
        assert_eq!(ids(&apps.all()), ["4", "3", "1"]);
        assert!(second.is_removed() && !first.is_removed());
        assert!(apps.by_id("2").is_none() && apps.by_key("b").is_none());
        assert!(Arc::ptr_eq(&first, &apps.by_id("1").unwrap()), "an app that stays is the same one");
    }

    #[test]
    fn a_reload_of_the_same_apps_changes_nothing() {
        let both = vec![app("1", "a"), app("2", "b")];
        let apps = Apps::new(&both, 1);
        let Reloaded { added, removed, changed } = apps.reload(both);
        assert!(added.is_empty() && removed.is_empty() && changed.is_empty());
        assert_eq!(apps.by_key("b").unwrap().id(), "2");
    }

    #[test]
    fn an_app_whose_key_has_changed_is_found_by_its_new_key_only() {
        let apps = Apps::new(&[app("1", "a"), app("2", "b")], 1);
        apps.reload(vec![app("1", "b"), app("2", "a")]);
        assert_eq!(apps.by_key("a").unwrap().id(), "2", "two apps may exchange their keys");
        assert_eq!(apps.by_key("b").unwrap().id(), "1");
        apps.reload(vec![app("1", "new"), app("2", "a")]);
        assert!(apps.by_key("b").is_none());
        assert_eq!(apps.by_key("new").unwrap().id(), "1");
    }

    #[test]
    fn the_default_app_stays_the_default_by_its_identifier() {
        let apps = Apps::new(&[app("1", "a"), app("2", "b")], 1);
        apps.reload(vec![app("2", "b"), app("1", "a")]);
        assert_eq!(apps.default_app().unwrap().id(), "1");
        let removed = apps.default_app().unwrap();
        apps.reload(vec![app("2", "b")]);
        assert!(apps.default_app().is_none());
        assert_eq!(apps.absent_default(), Some("1"));
        assert!(apps.of_channel(&ChannelName::new("prices").unwrap()).is_none());
        apps.reload(vec![app("2", "b"), app("1", "a")]);
        let again = apps.default_app().unwrap();
        assert_eq!(apps.absent_default(), None);
        assert_eq!(again.channel(&Name::new("prices").unwrap()).as_str(), "prices");
        assert!(removed.is_removed() && !again.is_removed() && !Arc::ptr_eq(&removed, &again));
    }

    #[test]
    fn the_first_app_of_a_server_that_began_without_any_becomes_the_default() {
        let apps = Apps::new(&[], 1);
        assert!(apps.default_app().is_none());
        apps.reload(vec![app("5", "a"), app("6", "b")]);
        assert_eq!(apps.default_app().unwrap().id(), "5");
    }

    #[test]
    fn a_reload_starts_the_webhooks_of_new_apps_and_ends_those_of_removed_ones() {
        let with_webhook = |id: &str, key: &str| App {
            webhooks: vec![Webhook { url: "http://127.0.0.1:9/".into(), events: Vec::new() }],
            ..app(id, key)
        };
        let apps = Apps::new(&[with_webhook("1", "a"), app("2", "b")], 1);
        let [first, second] = ["1", "2"].map(|id| apps.by_id(id).unwrap());
        let reports = |app: &RunningApp| app.reports(WebhookEvent::ChannelOccupied);
        assert!(!reports(&first), "nothing is sent before it is to be");
        apps.start_webhooks(Clock::start(), Timing::default(), &Trust::default());
        assert_eq!((reports(&first), reports(&second)), (true, false));
        let counted = || apps.webhook_counts().into_iter().map(|(id, _)| id).collect::<Vec<_>>();
        assert_eq!(counted(), [Box::from("1")]);
        apps.reload(vec![with_webhook("2", "b"), with_webhook("3", "c")]);
        assert!(!reports(&first) && reports(&second) && reports(&apps.by_id("3").unwrap()));
        assert_eq!(counted(), [Box::from("2"), Box::from("3")]);
        apps.stop_webhooks(Duration::ZERO);
    }
}
