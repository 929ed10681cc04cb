//! Nodes on a Redis Cluster: its masters share the channels, slots move, masters die.
//!
//! Faults of a single server are not here.

#![allow(clippy::unwrap_used)] // a helper that fails fails its test

mod support;

use std::collections::{BTreeMap, HashSet};
use std::thread;
use std::time::Duration;

use support::hearing::*;
use support::redis_cluster::Cluster;
use support::witness::{Id, Oracle};
use support::*;

/// Longer than any test is to wait.
const TIMEOUT: Duration = Duration::from_secs(5);

/// A server is not to fail because the machine is busy.
const SLOW_MS: u64 = 15_000;

/// A server that is silent for so long has failed.
const FAILS_MS: u64 = 4_000;

fn seed(cluster: &Cluster, at: usize) -> String {
    format!("redis://127.0.0.1:{}", cluster.servers[at].port)
}

#[test]
fn channels_of_all_masters_are_published_subscribed_and_resumed_on_two_nodes() {
    let Some(cluster) = Cluster::start(3, &[], SLOW_MS) else { return };
    let nodes = [node(&[seed(&cluster, 0)], TIMEOUT), node(&[seed(&cluster, 2)], TIMEOUT)];
    for master in 0..3 {
        let channel = cluster.channel_at(master, "c");
        let ears = [
            Ear::open(nodes[0].address, &channel, "since="),
            Ear::open(nodes[1].address, &channel, "since="),
        ];
        let mut oracle = Oracle::default();
        for (at, name) in ["a", "b", "c", "d"].into_iter().enumerate() {
            let id = published(nodes[at % 2].address, &channel, name);
            oracle.note(&id, name);
        }
        let later = Ear::open(nodes[1].address, &channel, "last=4");
        for ear in ears.iter().chain([&later]) {
            ear.hears_payload("d");
            assert_eq!(ear.payloads(), ["a", "b", "c", "d"]);
            oracle.judge(&ear.told());
        }
        let first = post(nodes[0].address, &channel, "e", Some("key"));
        let again = post(nodes[1].address, &channel, "e", Some("key"));
        assert_eq!(id_of(&first).unwrap(), id_of(&again).unwrap());
        assert!(again.head.contains("Idempotent-Replayed: true"), "{again:?}");
        assert_eq!(post(nodes[1].address, &channel, "another", Some("key")).status, 422);
    }
}

/// What happened to a channel while slots or masters changed, checked from all sides.
struct Watch {
    channel: String,
    ears: Vec<Ear>,
    publishers: Vec<Publisher>,
}

impl Watch {
    /// On each node somebody listens, and somebody publishes.
    fn start(nodes: &[Running], channel: String, has_keys: bool) -> Self {
        let ears = nodes.iter().map(|node| Ear::open(node.address, &channel, "since=")).collect();
        let publish = |(at, node): (usize, &Running)| {
            Publisher::start(node.address, &channel, &format!("{channel}-{at}"), has_keys)
        };
        Self { ears, publishers: nodes.iter().enumerate().map(publish).collect(), channel }
    }

    /// Waits until everybody has heard something that is published after this.
    fn goes_on(&self, node: &Running, payload: &str) {
        published(node.address, &self.channel, payload);
        self.ears.iter().for_each(|ear| ear.hears_payload(payload));
    }

    /// Ends it: nobody has heard a hole, and where no gap was told, everybody has heard all that was answered, once. Gives how
    /// many publications were answered with each status, and the gaps of each ear.
    fn end(self, node: &Running) -> (BTreeMap<u16, usize>, Vec<Vec<Option<u64>>>) {
        let Self { channel, ears, publishers } = self;
        let answers: Vec<_> = publishers.into_iter().flat_map(Publisher::stop).collect();
        published(node.address, &channel, "the end");
        let (mut oracle, mut statuses) = (Oracle::default(), BTreeMap::new());
        for (payload, answer) in &answers {
            *statuses.entry(answer.status).or_default() += 1;
            id_of(answer).into_iter().for_each(|id| oracle.note(&id, payload));
        }
        for ear in &ears {
            ear.hears_payload("the end");
            oracle.judge(&ear.told());
            let heard = ear.payloads();
            let distinct: HashSet<_> = heard.iter().collect();
            assert_eq!(distinct.len(), heard.len(), "something was published twice");
            if ear.gaps().is_empty() {
                let answered = answers.iter().filter(|(_, answer)| answer.status == 200);
                answered.for_each(|(payload, _)| assert!(distinct.contains(payload), "{payload} was lost"));
            }
        }
        (statuses, ears.iter().map(Ear::gaps).collect())
    }
}

#[test]
fn a_slot_that_moves_there_and_back_under_load_loses_nothing_and_keeps_its_epoch() {
    let Some(cluster) = Cluster::start(3, &[], SLOW_MS) else { return };
    let nodes = [node(&[seed(&cluster, 0)], TIMEOUT), node(&[seed(&cluster, 1)], TIMEOUT)];
    let channel = cluster.channel_at(0, "moving");
    let slot = cluster.slot_of(&channel);
    let watch = Watch::start(&nodes, channel, false);
    for round in 0..3 {
        watch.goes_on(&nodes[0], &format!("there {round}"));
        cluster.move_slot(slot, 0, 1);
        watch.goes_on(&nodes[1], &format!("back {round}"));
        cluster.move_slot(slot, 1, 0);
    }
    let (statuses, gaps) = watch.end(&nodes[0]);
    assert_eq!(statuses.keys().collect::<Vec<_>>(), [&200], "{statuses:?}");
    assert_eq!(gaps, [[], []], "the epoch is the same");
}

#[test]
#[allow(clippy::disallowed_methods)] // that something does not happen is seen only after a while
fn publications_with_keys_wait_until_the_slot_has_moved() {
    let Some(cluster) = Cluster::start(3, &[], SLOW_MS) else { return };
    let nodes = [node(&[seed(&cluster, 0)], TIMEOUT), node(&[seed(&cluster, 1)], TIMEOUT)];
    let channel = cluster.channel_at(2, "keyed");
    let slot = cluster.slot_of(&channel);
    let watch = Watch::start(&nodes, channel, true);
    watch.goes_on(&nodes[0], "before");
    for (from, to) in [(2, 0), (0, 2)] {
        cluster.begin_move(slot, from, to);
        cluster.move_keys(slot, from, to);
        let held = watch.ears[0].payloads().len();
        thread::sleep(Duration::from_millis(300));
        assert!(watch.ears[0].payloads().len() - held <= 2, "a call with two keys is refused meanwhile");
        cluster.end_move(slot, from, to);
        watch.goes_on(&nodes[1], &format!("at {to}"));
    }
    let (statuses, gaps) = watch.end(&nodes[0]);
    assert_eq!(statuses.keys().collect::<Vec<_>>(), [&200], "{statuses:?}");
    assert_eq!(gaps, [[], []]);
}

#[test]
fn a_channel_of_a_slot_on_its_way_is_published_and_joined_before_it_has_arrived() {
    let Some(cluster) = Cluster::start(3, &[], SLOW_MS) else { return };
    let node = node(&[seed(&cluster, 0)], TIMEOUT);
    let channel = cluster.channel_at(1, "under-way");
    let slot = cluster.slot_of(&channel);
    let first = published(node.address, &channel, "a");
    cluster.begin_move(slot, 1, 2);
    cluster.move_keys(slot, 1, 2);
    let ear = Ear::open(node.address, &channel, "last=5");
    ear.hears_payload("a");
    let second = published(node.address, &channel, "b");
    assert_eq!(second, Id { sequence: 2, ..first });
    cluster.end_move(slot, 1, 2);
    ear.hears_payload("b");
    published(node.address, &channel, "c");
    ear.hears_payload("c");
    assert_eq!((ear.payloads(), ear.gaps()), (vec!["a".into(), "b".into(), "c".into()], vec![]));
}

#[test]
fn a_killed_master_is_followed_by_its_replica_and_channels_of_others_hear_nothing_of_it() {
    let Some(mut cluster) = Cluster::start(3, &[0, 1, 2], FAILS_MS) else { return };
    let seeds = [seed(&cluster, 0), seed(&cluster, 1)];
    let nodes = [node(&seeds, TIMEOUT), node(&seeds, TIMEOUT)];
    let failing = Watch::start(&nodes, cluster.channel_at(0, "failing"), false);
    let others = [1, 2].map(|master| Watch::start(&nodes, cluster.channel_at(master, "well"), false));
    failing.goes_on(&nodes[0], "before");
    cluster.servers[0].kill();
    cluster.wait_for_promotion(3);
    until("the channel is published to", || id_of(&post(nodes[0].address, &failing.channel, "after", None)));
    failing.ears.iter().for_each(|ear| ear.hears_payload("after"));
    let (statuses, gaps) = failing.end(&nodes[1]);
    assert!(statuses.keys().all(|status| [200, 503, 504].contains(status)), "{statuses:?}");
    assert_eq!(gaps, [[None], [None]]);
    for other in others {
        let (statuses, gaps) = other.end(&nodes[0]);
        assert_eq!(statuses.keys().collect::<Vec<_>>(), [&200], "{statuses:?}");
        assert_eq!(gaps, [[], []]);
    }
}

#[test]
fn a_master_that_hands_over_to_its_replica_is_left_at_once() {
    let Some(cluster) = Cluster::start(3, &[0], SLOW_MS) else { return };
    let nodes = [node(&[seed(&cluster, 1)], TIMEOUT), node(&[seed(&cluster, 2)], TIMEOUT)];
    let handed = Watch::start(&nodes, cluster.channel_at(0, "handed"), false);
    let other = Watch::start(&nodes, cluster.channel_at(1, "well"), false);
    handed.goes_on(&nodes[0], "before");
    cluster.tell(3, "CLUSTER FAILOVER");
    cluster.wait_for_promotion(3);
    until("the channel is published to", || id_of(&post(nodes[1].address, &handed.channel, "after", None)));
    handed.ears.iter().for_each(|ear| ear.hears_payload("after"));
    let (statuses, gaps) = handed.end(&nodes[0]);
    assert!(statuses.keys().all(|status| [200, 503, 504].contains(status)), "{statuses:?}");
    assert_eq!(gaps, [[None], [None]], "it cannot be known that nothing was lost");
    let (statuses, gaps) = other.end(&nodes[0]);
    assert_eq!((statuses.keys().collect::<Vec<_>>(), gaps), (vec![&200], vec![vec![], vec![]]));
}

#[test]
fn slots_move_to_a_master_that_had_none_and_from_one_that_keeps_none() {
    let Some(cluster) = Cluster::start_with_spare(2, SLOW_MS) else { return };
    let nodes = [node(&[seed(&cluster, 0)], TIMEOUT), node(&[seed(&cluster, 1)], TIMEOUT)];
    let channel = cluster.channel_at(0, "first");
    let slot = cluster.slot_of(&channel);
    let watch = Watch::start(&nodes, channel, false);
    watch.goes_on(&nodes[0], "before");
    cluster.begin_move(slot, 0, 2);
    cluster.move_keys(slot, 0, 2);
    let id = published(nodes[1].address, &watch.channel, "under way");
    cluster.end_move(slot, 0, 2);
    watch.goes_on(&nodes[1], "there");
    cluster.move_slot(slot, 2, 1);
    watch.goes_on(&nodes[0], "back");
    assert_eq!(published(nodes[0].address, &watch.channel, "after").epoch, id.epoch);
    let (statuses, gaps) = watch.end(&nodes[0]);
    assert_eq!(statuses.keys().collect::<Vec<_>>(), [&200], "{statuses:?}");
    assert_eq!(gaps, [[], []]);
}
