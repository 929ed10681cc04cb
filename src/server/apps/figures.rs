//! The figures of apps that the dashboard shows. Numbers only go up where rates are of interest: the page makes rates of them.
//!
//! Nothing is published here, and no clock is read.

use std::cmp::Reverse;
use std::sync::Arc;

use serde::Serialize;

use crate::hub::ChannelName;
use crate::pusher::{Access, Kind};
use crate::server::apps::Apps;
use crate::server::apps::refused::Refused;
use crate::server::apps::running::RunningApp;
use crate::server::apps::webhooks::ReceiverState;
use crate::server::broker::Broker;

/// How many apps are shown: those with the most connections. Figures of a hundred seconds are kept for pages, and these are
/// the largest part of them.
const APPS_SHOWN_MAX: usize = 10;

/// How many refusals of an app are shown, for the same reason: the newest of those that are kept.
const REFUSALS_SHOWN_MAX: usize = 10;

/// How many receivers of webhooks of an app are shown.
const RECEIVERS_SHOWN_MAX: usize = 10;

/// With more channels than this, they are not counted by kind. It is a walk over all of them on the first loop, whose
/// connections wait for as long: about 5 ms for these, as the 1,024 channels that the list of the busiest walks over take 50 µs.
pub const CHANNELS_COUNTED_MAX: usize = 100_000;

/// The apps, as a part of the dashboard's figures.
#[derive(Debug, Serialize)]
pub struct AppsFigures {
    apps: Vec<AppFigures>,
    /// How many there are, those that are not shown among them.
    apps_total: usize,
    /// The identifier of the app whose channels have plain names, if there are apps.
    default_app: Option<Box<str>>,
}

/// One app.
#[derive(Debug, Serialize)]
struct AppFigures {
    id: Box<str>,
    /// Whether its channels have their plain names.
    is_default: bool,
    connections: u64,
    /// Users that are signed in.
    users: usize,
    /// Messages of clients and events of servers since the start.
    messages: u64,
    /// Channels with subscribers; none if there are too many to count.
    channels: Option<Channels>,
    /// Refusals since the start.
    refused: u64,
    /// The last ones, the newest first.
    refusals: Vec<Refused>,
    webhooks: Vec<Receiver>,
    webhooks_total: usize,
}

/// Channels with subscribers. Each is counted under one kind, and once more if it is a cache channel.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
struct Channels {
    public: u64,
    private: u64,
    encrypted: u64,
    presence: u64,
    /// Those of signed-in users.
    user: u64,
    /// Those of them all that keep their last event.
    cache: u64,
    /// The members of the presence channels together.
    members: u64,
}

/// A receiver of webhooks.
#[derive(Debug, PartialEq, Eq, Serialize)]
struct Receiver {
    host: Box<str>,
    queued: u64,
    sent: u64,
    failed: u64,
    dropped: u64,
    /// Why the last attempt failed, if it did.
    failure: Option<String>,
}

/// The figures at this moment. It is O(channels) up to [`CHANNELS_COUNTED_MAX`], and each lock of the broker is held for a
/// 64th of that.
pub fn figures(apps: &Apps, broker: &Broker) -> AppsFigures {
    let all = apps.all();
    let (apps_total, default_app) = (all.len(), apps.default_app().map(|app| app.id().into()));
    let shown = most_connected(all);
    let counted = (broker.channels_len() <= CHANNELS_COUNTED_MAX).then(|| count_channels(&shown, broker));
    let mut counted = counted.unwrap_or_default().into_iter();
    let apps = shown.iter().map(|app| AppFigures::new(app, counted.next())).collect();
    AppsFigures { apps, apps_total, default_app }
}

/// As many as are shown, in the order of the configuration.
fn most_connected(all: Vec<Arc<RunningApp>>) -> Vec<Arc<RunningApp>> {
    let mut ranked: Vec<_> = all.into_iter().enumerate().collect();
    if ranked.len() > APPS_SHOWN_MAX {
        ranked.sort_by_cached_key(|(at, app)| (Reverse(app.connections()), *at));
        ranked.truncate(APPS_SHOWN_MAX);
        ranked.sort_by_key(|(at, _)| *at);
    }
    ranked.into_iter().map(|(_, app)| app).collect()
}

fn count_channels(apps: &[Arc<RunningApp>], broker: &Broker) -> Vec<Channels> {
    let mut counted = vec![Channels::default(); apps.len()];
    if !apps.is_empty() {
        broker.show_occupied(|name, _, members| {
            if let Some(at) = apps.iter().position(|app| app.has_channel(name)) {
                counted[at].add(name, members);
            }
        });
    }
    counted
}

impl Channels {
    fn add(&mut self, name: &ChannelName, members: u64) {
        let kind = Kind::of(name.local());
        let count = match (kind.access, kind.is_encrypted) {
            (Access::Private, true) => &mut self.encrypted,
            (Access::Private, false) => &mut self.private,
            (Access::Public, _) => &mut self.public,
            (Access::Presence, _) => &mut self.presence,
            (Access::User, _) => &mut self.user,
        };
        *count += 1;
        self.cache += u64::from(kind.is_cache);
        self.members += members;
    }
}

impl AppFigures {
    fn new(app: &RunningApp, channels: Option<Channels>) -> Self {
        let mut refusals = app.refused();
        refusals.truncate(REFUSALS_SHOWN_MAX);
        let receivers = app.webhooks().receivers();
        let webhooks_total = receivers.len();
        Self {
            id: app.id().into(),
            is_default: app.is_default(),
            connections: app.connections(),
            users: app.users().len(),
            messages: app.messages(),
            channels,
            refused: app.refused_len(),
            refusals,
            webhooks: receivers.into_iter().take(RECEIVERS_SHOWN_MAX).map(Receiver::new).collect(),
            webhooks_total,
        }
    }
}

impl Receiver {
    fn new(state: ReceiverState) -> Self {
        let ReceiverState { url, counts, failure } = state;
        let host = host(&url).into();
        let (queued, sent, failed, dropped) = (counts.queued, counts.sent, counts.failed, counts.dropped);
        Self { host, queued, sent, failed, dropped, failure }
    }
}

/// The host of a URL, with the port if it has one. The rest may hold a password.
fn host(url: &str) -> &str {
    let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
    let authority = &rest[..rest.find(['/', '?', '#']).unwrap_or(rest.len())];
    authority.rsplit_once('@').map_or(authority, |(_, host)| host)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pusher::App;
    use crate::pusher::webhook::Counts;

    fn name(name: &str) -> ChannelName {
        ChannelName::new(name).unwrap()
    }

    #[test]
    fn a_channel_is_counted_under_its_kind_and_once_more_if_it_keeps_its_last_event() {
        let mut channels = Channels::default();
        for channel in ["a", "cache-a", "private-a", "private-encrypted-a", "private-encrypted-cache-a"] {
            channels.add(&name(channel), 0);
        }
        channels.add(&name("presence-a"), 2);
        channels.add(&name("presence-cache-a").in_space("7"), 3);
        channels.add(&ChannelName::of_user("7").unwrap(), 0);
        let expected =
            Channels { public: 2, private: 1, encrypted: 2, presence: 2, user: 1, cache: 3, members: 5 };
        assert_eq!(channels, expected);
    }

    #[test]
    fn the_host_of_a_receiver_is_shown_without_what_may_be_a_password() {
        assert_eq!(host("https://name:secret@example.com:8443/hooks/secret?key=secret"), "example.com:8443");
        assert_eq!(host("http://[::1]:80?key=a@b"), "[::1]:80");
        let counts = Counts { queued: 1, sent: 2, failed: 3, dropped: 4 };
        let state = ReceiverState { url: "http://h/a".into(), counts, failure: Some("no".into()) };
        let shown = serde_json::to_string(&Receiver::new(state)).unwrap();
        assert_eq!(shown, r#"{"host":"h","queued":1,"sent":2,"failed":3,"dropped":4,"failure":"no"}"#);
    }

    #[test]
    fn of_many_apps_those_with_the_most_connections_are_shown_as_they_are_configured() {
        let settings: Vec<App> =
            (0..12).map(|id| App::new(id.to_string(), format!("key-{id}"), "secret")).collect();
        let apps = Apps::new(&settings, 1);
        let _places: Vec<_> = (2..12).map(|id| apps.all()[id].take_place().unwrap()).collect();
        let _more = apps.by_id("7").unwrap().take_place().unwrap();
        let shown: Vec<_> = most_connected(apps.all()).iter().map(|app| app.id().to_owned()).collect();
        assert_eq!(shown, ["2", "3", "4", "5", "6", "7", "8", "9", "10", "11"]);
    }

    #[test]
    fn an_app_is_shown_with_its_newest_refusals() {
        let apps = Apps::new(&[App::new("1", "key", "secret")], 1);
        let app = apps.by_id("1").unwrap();
        (0..12).for_each(|at_ms| app.note_refused(&format!("<b>{at_ms}"), at_ms));
        app.note_messages(0, 3);
        let shown = serde_json::to_value(AppFigures::new(&app, None)).unwrap();
        assert_eq!(
            (&shown["refused"], &shown["messages"], &shown["is_default"]),
            (&12.into(), &3.into(), &true.into())
        );
        assert_eq!(shown["channels"], serde_json::Value::Null);
        let refusals = shown["refusals"].as_array().unwrap();
        assert_eq!(refusals.len(), REFUSALS_SHOWN_MAX);
        assert_eq!(refusals[0], serde_json::json!({"at": 11, "times": 1, "sentence": "<b>11"}));
    }
}
