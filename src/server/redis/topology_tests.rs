//! Which masters there are by what a seed says, without a connection.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use mio::{Poll, Waker};

use super::*;
use crate::server::redis::inbox::Inbox;

const NOW: Millis = Millis(10_000);

fn text(text: &str) -> Reply {
    Reply::Text(Bytes::copy_from_slice(text.as_bytes()))
}

fn number(number: i64) -> Reply {
    Reply::Number(number)
}

/// A shard of CLUSTER SHARDS: its slots, and the port of its master, if that is online.
fn shard(slots: &[(i64, i64)], port: i64, health: &str) -> Reply {
    let node = vec![
        (text("port"), number(port)),
        (text("endpoint"), text("127.0.0.1")),
        (text("role"), text("master")),
        (text("health"), text(health)),
    ];
    let slots = slots.iter().flat_map(|&(first, last)| [number(first), number(last)]).collect();
    Reply::Map(vec![
        (text("slots"), Reply::List(slots)),
        (text("nodes"), Reply::List(vec![Reply::Map(node)])),
    ])
}

struct Fixture {
    topology: Topology,
    terms: Terms,
    _poll: Poll,
}

impl Fixture {
    /// Of which a seed has said what it is.
    fn of(mode: Mode, seeds: &[u16]) -> Self {
        let poll = Poll::new().unwrap();
        let inbox = Inbox::new(Waker::new(poll.registry(), WAKER).unwrap(), Duration::from_secs(5));
        let terms = Terms {
            login: Default::default(),
            database: 0,
            timeout: Duration::from_secs(5),
            trust: None,
            #[cfg(feature = "tls")]
            tls: None,
            script: "",
            inbox: Arc::new(inbox),
            registry: poll.registry().try_clone().unwrap(),
        };
        let seeds = seeds.iter().map(|&port| place(port)).collect();
        let mut topology = Topology::new(seeds, Some("m".into()), NOW);
        topology.mode = Some(mode);
        topology.scout_at = None;
        topology.scout = Some(Line::new(Purpose::Scout, place(1), Token(1), NOW));
        Self { topology, terms, _poll: poll }
    }

    /// An answer to the scout: what has changed.
    fn hears(&mut self, asked: &Asked, reply: &Reply, now: Millis) -> Vec<News> {
        let mut news = Vec::new();
        self.topology.scout_heard(asked, reply, &self.terms, &mut news, now);
        news
    }

    fn master_ports(&mut self) -> Vec<Place> {
        self.topology.masters().map(|(_, master)| master.place().clone()).collect()
    }
}

fn place(port: u16) -> Place {
    Place::Tcp("127.0.0.1".into(), port)
}

#[test]
fn a_map_with_a_hole_is_asked_for_again_and_masters_without_slots_are_known() {
    let mut it = Fixture::of(Mode::Cluster, &[1]);
    let shards =
        [shard(&[(0, 8191)], 1, "online"), shard(&[(8192, 16383)], 2, "failed"), shard(&[], 3, "online")];
    let news = it.hears(&Asked::Slots, &Reply::List(shards.to_vec()), NOW);
    assert!(matches!(news[..], [News::Moved]), "{news:?}");
    assert_eq!(it.master_ports(), [place(1), place(3)]);
    assert_eq!(it.topology.scout_at, Some(Millis(NOW.0 + SCOUT_MS)), "nobody has half of the slots");
    assert!(!it.topology.is_up() && !it.topology.is_reachable());
}

#[test]
fn a_master_that_a_whole_map_does_not_name_is_given_up_and_nothing_is_asked_again() {
    let mut it = Fixture::of(Mode::Cluster, &[1]);
    let whole = |port| Reply::List(vec![shard(&[(0, 16383)], port, "online")]);
    it.hears(&Asked::Slots, &whole(1), NOW);
    it.topology.scout = Some(Line::new(Purpose::Scout, place(1), Token(1), NOW));
    let news = it.hears(&Asked::Slots, &whole(2), NOW);
    let lost = |news: &&News| matches!(news, News::Lost(_, _, asked, Loss::NotMaster) if asked.is_empty());
    assert_eq!(
        (news.iter().filter(lost).count(), news.len()),
        (2, 3),
        "both connections, then the map: {news:?}"
    );
    assert_eq!(it.master_ports(), [place(2)]);
    assert_eq!(it.topology.scout_at, None);
}

#[test]
fn a_slot_that_is_said_to_be_at_an_unknown_master_has_no_home_until_the_map_is_new() {
    let mut it = Fixture::of(Mode::Cluster, &[1]);
    it.hears(&Asked::Slots, &Reply::List(vec![shard(&[(0, 16383)], 1, "online")]), NOW);
    let (key, home) = (b"fanfare:{a}", it.topology.home_of(b"fanfare:{a}"));
    assert!(home.is_some());
    it.topology.note_moved(slot(key), &Address { host: "127.0.0.1".into(), port: 9 });
    assert_eq!(it.topology.home_of(key), None);
    it.topology.scout(NOW);
    assert_eq!(it.topology.scout_at, Some(Millis(NOW.0 + SCOUT_MS)), "at most once a second");
}

#[test]
fn a_sentinel_whose_master_cannot_be_used_for_three_seconds_is_left_for_the_next() {
    let mut it = Fixture::of(Mode::Sentinel, &[1, 2]);
    let says = Reply::List(vec![text("127.0.0.1"), text("7000")]);
    it.hears(&Asked::Master, &says, NOW);
    assert_eq!(it.master_ports(), [place(7000)]);
    it.hears(&Asked::Master, &says, Millis(NOW.0 + DOUBT_MS - 1));
    assert!(it.topology.scout.is_some());
    it.hears(&Asked::Master, &says, Millis(NOW.0 + DOUBT_MS));
    assert!(it.topology.scout.is_none());
    assert_eq!(it.topology.scout_at, Some(Millis(NOW.0 + DOUBT_MS + SENTINEL_MS)));
    let mut it = Fixture::of(Mode::Sentinel, &[1]);
    it.hears(&Asked::Master, &says, NOW);
    it.hears(&Asked::Master, &says, Millis(NOW.0 + 10 * DOUBT_MS));
    assert!(it.topology.scout.is_some(), "there is no other");
}
