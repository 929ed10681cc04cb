//! The figures that the dashboard shows: what is in them, which channels are the busiest, and when they are due.
//!
//! Nothing is published here, and no clock is read.

use std::cmp::Reverse;

use serde::{Serialize, Serializer};

use crate::hub::ChannelName;
use crate::server::clock::Millis;
use crate::server::metrics::counters::Transport;
use crate::server::metrics::snapshot::{RedisFigures, Snapshot, VERSION};

/// The channel of the figures.
pub const FIGURES_CHANNEL: &str = "@fanfare.dashboard";

/// The time between two publications of figures.
const FIGURES_EVERY_MS: u64 = 1000;

/// How many channels are listed: as many as the page shows without scrolling.
const BUSIEST_MAX: usize = 10;

/// The channel of the figures as a name.
pub fn channel() -> ChannelName {
    ChannelName::new(FIGURES_CHANNEL).expect("it is made of the alphabet of names")
}

/// One publication of figures, as JSON. `apps` is an object, whose fields are added.
pub fn json(snapshot: &Snapshot, at_ms: u64, busiest: Vec<Busy>, apps: &impl Serialize) -> String {
    let counters = &snapshot.counters;
    let connections = Transport::ALL
        .map(|transport| (transport.label(), counters.connections[transport as usize]))
        .to_vec();
    let refusals = snapshot.refusals.iter().copied().filter(|&(_, count)| count > 0).collect();
    let memory = snapshot.memory().into_iter().chain([("max", snapshot.memory_max)]).collect();
    let figures = Figures {
        at: at_ms,
        version: VERSION,
        uptime_seconds: snapshot.uptime.as_secs(),
        connections: Named(connections),
        publishes: counters.publishes,
        deliveries: Transport::ALL.into_iter().map(|transport| counters.deliveries_by(transport)).sum(),
        bytes_sent: counters.bytes_sent,
        bytes_received: counters.bytes_received,
        lag_bytes_max: counters.lag_max,
        channels: snapshot.channels,
        refusals: Named(refusals),
        memory: Named(memory),
        redis: snapshot.redis.as_ref().map(RedisShown::new),
        busiest,
        apps,
    };
    serde_json::to_string(&figures).expect("numbers and names are always JSON")
}

/// The fields in the order in which they are written.
#[derive(Serialize)]
struct Figures<'a, A> {
    at: u64,
    version: &'static str,
    uptime_seconds: u64,
    connections: Named,
    publishes: u64,
    deliveries: u64,
    bytes_sent: u64,
    bytes_received: u64,
    lag_bytes_max: u64,
    channels: u64,
    refusals: Named,
    memory: Named,
    /// Only where there is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    redis: Option<RedisShown>,
    busiest: Vec<Busy>,
    #[serde(flatten)]
    apps: &'a A,
}

/// The Redis by which nodes share channels.
#[derive(Serialize)]
struct RedisShown {
    is_up: bool,
    /// Those that live, this one among them.
    nodes: u64,
    queue_bytes: u64,
    /// Times that something was missing of a channel, since the start, whatever was done about it.
    resyncs: u64,
}

impl RedisShown {
    fn new(figures: &RedisFigures) -> Self {
        let &RedisFigures { is_up, nodes, queue_bytes, .. } = figures;
        let resyncs = figures.resyncs.iter().map(|&(_, count)| count).sum();
        Self { is_up, nodes, queue_bytes, resyncs }
    }
}

/// Numbers by name: an object, in this order.
struct Named(Vec<(&'static str, u64)>);

impl Serialize for Named {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.iter().copied())
    }
}

/// A channel and how busy it is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Busy {
    #[serde(serialize_with = "as_text")]
    channel: ChannelName,
    /// Publications in the last second.
    publishes: u64,
    subscribers: u64,
}

fn as_text<S: Serializer>(channel: &ChannelName, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(channel.as_str())
}

/// The busiest channels of those that are offered.
#[derive(Debug, Default)]
pub struct Busiest {
    /// The busiest first; of two with the same numbers, the one whose name comes first.
    top: Vec<Busy>,
    /// How long the counts were gathered.
    elapsed_ms: u64,
}

impl Busiest {
    /// Of counts that were gathered in this time.
    pub fn since(elapsed_ms: u64) -> Self {
        // The time is shorter after the first subscription: the counts so far are then shown as they are.
        Self { top: Vec::new(), elapsed_ms: elapsed_ms.max(FIGURES_EVERY_MS) }
    }

    /// Considers a channel. The server's own are not listed, nor those without publications and subscribers.
    pub fn offer(&mut self, channel: &ChannelName, published: u64, subscribers: u64) {
        if channel.is_reserved() || published + subscribers == 0 {
            return;
        }
        let publishes = (published * FIGURES_EVERY_MS + self.elapsed_ms / 2) / self.elapsed_ms;
        let rank = |busy: &Busy| (Reverse(busy.publishes), Reverse(busy.subscribers));
        let is_before =
            |busy: &Busy| (rank(busy), &busy.channel) < ((Reverse(publishes), Reverse(subscribers)), channel);
        let at = self.top.partition_point(is_before);
        if at < BUSIEST_MAX {
            self.top.truncate(BUSIEST_MAX - 1);
            self.top.insert(at, Busy { channel: channel.clone(), publishes, subscribers });
        }
    }

    /// The busiest, at most ten.
    pub fn into_top(self) -> Vec<Busy> {
        self.top
    }
}

/// When figures are due: once a second while they have a subscriber, else never.
#[derive(Debug, Default)]
pub struct Ticker {
    next: Option<Millis>,
    last: Option<Millis>,
    /// Since when counts have been gathered for the next figures.
    since: Millis,
}

impl Ticker {
    /// Starts, unless it is running. True if it started: counts are gathered from here on.
    pub fn start(&mut self, now: Millis) -> bool {
        if self.next.is_some() {
            return false;
        }
        let earliest = self.last.map_or(now, |last| Millis(last.0 + FIGURES_EVERY_MS));
        self.next = Some(earliest.max(now));
        self.since = now;
        true
    }

    /// Stops: there is no subscriber any more.
    pub fn stop(&mut self) {
        self.next = None;
    }

    /// Whether it is running.
    pub fn is_running(&self) -> bool {
        self.next.is_some()
    }

    /// When figures are due next.
    pub fn deadline(&self) -> Option<Millis> {
        self.next
    }

    /// For how many milliseconds counts have been gathered, if figures are due now. The next are due a second later.
    pub fn tick(&mut self, now: Millis) -> Option<u64> {
        let due = self.next.filter(|&due| due <= now)?;
        let elapsed_ms = now.0 - self.since.0;
        // A loop that was busy for longer does not make up for what it left out.
        let after = Millis(due.0 + FIGURES_EVERY_MS);
        self.next = Some(if after > now { after } else { Millis(now.0 + FIGURES_EVERY_MS) });
        (self.last, self.since) = (Some(now), now);
        Some(elapsed_ms)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::hub::WireForm;
    use crate::server::metrics::counters::Counters;

    fn name(name: &str) -> ChannelName {
        ChannelName::new(name).unwrap()
    }

    fn named(busiest: Busiest) -> Vec<(String, u64, u64)> {
        let top = busiest.into_top().into_iter();
        top.map(|busy| (busy.channel.to_string(), busy.publishes, busy.subscribers)).collect()
    }

    #[test]
    fn the_figures_are_the_json_that_the_page_reads() {
        let mut deliveries = [0; WireForm::ALL.len()];
        deliveries[WireForm::WebSocket.index()] = 30;
        deliveries[WireForm::Envelope.index()] = 4;
        let counters = Counters {
            connections: [1, 2, 3, 0, 0, 0],
            publishes: 12,
            deliveries,
            bytes_sent: 100,
            bytes_received: 20,
            lag_max: 7,
            log_bytes: 8,
            private_bytes: 9,
            connection_bytes: 10,
            ..Counters::default()
        };
        let snapshot = Snapshot {
            tls: None,
            redis: None,
            key_fetches: None,
            tls_failures: Vec::new(),
            tls_waiting: 0,
            audit_lost: 0,
            handler_panics: 0,
            handlers: Vec::new(),
            counters,
            keys: Vec::new(),
            refusals: vec![("bad_request", 3), ("silent", 0)],
            publication_bytes: 11,
            token_bytes: 12,
            evicted: 0,
            memory_max: 1_073_741_824,
            channels: 12,
            webhooks: Vec::new(),
            backend: None,
            uptime: Duration::from_millis(12_999),
        };
        let mut busiest = Busiest::since(1000);
        busiest.offer(&name("prices"), 1200, 14);
        let apps = serde_json::json!({"apps": [], "apps_total": 0});
        let expected = concat!(
            r#"{"at":1763700000123,"version":"0.1.0","uptime_seconds":12,"#,
            r#""connections":{"http":1,"websocket":2,"sse":3,"long_poll":0,"pusher":0,"pusher_http":0},"#,
            r#""publishes":12,"deliveries":34,"bytes_sent":100,"bytes_received":20,"#,
            r#""lag_bytes_max":7,"channels":12,"refusals":{"bad_request":3},"#,
            r#""memory":{"logs":8,"private":9,"connections":10,"publications":11,"tokens":12,"max":1073741824},"#,
            r#""busiest":[{"channel":"prices","publishes":1200,"subscribers":14}],"apps":[],"apps_total":0}"#
        );
        assert_eq!(json(&snapshot, 1_763_700_000_123, busiest.into_top(), &apps), expected);
    }

    #[test]
    fn the_busiest_are_ten_by_publications_then_subscribers_then_name() {
        let mut busiest = Busiest::since(1000);
        for number in 0..100 {
            busiest.offer(&name(&format!("c{number:02}")), number % 10, number);
        }
        let top = named(busiest);
        assert_eq!(top.len(), 10);
        assert_eq!(top[0], ("c99".into(), 9, 99));
        assert_eq!(top[9], ("c09".into(), 9, 9));
        let mut busiest = Busiest::since(1000);
        ["b", "a", "c"].iter().for_each(|channel| busiest.offer(&name(channel), 1, 1));
        let names: Vec<String> = named(busiest).into_iter().map(|(name, ..)| name).collect();
        assert_eq!(names, ["a", "b", "c"]);
    }

    #[test]
    fn a_channel_at_rest_and_one_of_the_servers_own_are_not_named() {
        let mut busiest = Busiest::since(1000);
        busiest.offer(&name("forgotten"), 0, 0);
        busiest.offer(&channel(), 1, 1);
        busiest.offer(&name("quiet"), 0, 1);
        assert_eq!(named(busiest), [("quiet".into(), 0, 1)]);
    }

    #[test]
    fn counts_of_a_longer_time_are_made_those_of_a_second() {
        for (elapsed_ms, publishes) in [(1000, 10), (1001, 10), (2000, 5), (300, 10), (0, 10)] {
            let mut busiest = Busiest::since(elapsed_ms);
            busiest.offer(&name("a"), 10, 1);
            assert_eq!(named(busiest)[0].1, publishes, "{elapsed_ms} ms");
        }
    }

    #[test]
    fn figures_are_due_at_once_then_every_second_until_nobody_watches() {
        let mut ticker = Ticker::default();
        assert_eq!(ticker.deadline(), None);
        assert!(ticker.start(Millis(5)));
        assert!(!ticker.start(Millis(5)), "it has begun");
        assert_eq!(ticker.tick(Millis(5)), Some(0));
        assert_eq!((ticker.tick(Millis(1004)), ticker.deadline()), (None, Some(Millis(1005))));
        assert_eq!(ticker.tick(Millis(1006)), Some(1001));
        assert_eq!(ticker.deadline(), Some(Millis(2005)));
        ticker.stop();
        assert_eq!((ticker.tick(Millis(9999)), ticker.deadline()), (None, None));
    }

    #[test]
    fn a_watcher_that_reconnects_within_the_second_does_not_get_figures_more_often() {
        let mut ticker = Ticker::default();
        ticker.start(Millis(0));
        ticker.tick(Millis(0));
        ticker.stop();
        ticker.start(Millis(300));
        assert_eq!(ticker.deadline(), Some(Millis(1000)));
        assert_eq!(ticker.tick(Millis(1000)), Some(700));
    }

    #[test]
    fn a_loop_that_was_busy_does_not_make_up_for_figures_left_out() {
        let mut ticker = Ticker::default();
        ticker.start(Millis(0));
        ticker.tick(Millis(0));
        assert_eq!(ticker.tick(Millis(5500)), Some(5500));
        assert_eq!(ticker.deadline(), Some(Millis(6500)));
    }
}
