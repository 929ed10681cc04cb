//! A Redis that is killed and comes back, with and without what it had, or loses a part of it: publishers and subscribers of the nodes are
//! told the truth.
//!
//! Networks that fail are in `nodes_networks`.

#![allow(clippy::unwrap_used)] // a helper that fails fails its test

mod support;

use support::metrics::Scraper;
use support::nodes::*;
use support::redis::{Memory, Redis};
use support::scene::*;
use support::witness::*;
use support::*;

/// Kills Redis under load, waits until nodes and subscribers know, and lets it come back.
fn kill_and_come_back(redis: &mut Redis, scene: &Scene, memory: Memory) {
    redis.kill();
    for node in &scene.nodes {
        wait_for_readiness(node.address, 503);
        assert_eq!(
            request(node.address, "GET", "/healthz", "", b"").status,
            200,
            "its connections are not cut"
        );
    }
    scene.witnesses.iter().for_each(|witness| witness.hears_one(&Told::Paused));
    redis.start_again(memory);
    for node in &scene.nodes {
        wait_for_readiness(node.address, 200);
    }
    scene.more(20);
    scene.witnesses.iter().for_each(|witness| witness.hears_one(&Told::Resumed));
}

#[test]
fn a_redis_that_comes_back_empty_begins_a_new_epoch_and_every_subscriber_is_told() {
    let Some(mut redis) = Redis::start(&[]) else { return };
    let scene = Scene::begin(redis.port, Keys::Without);
    kill_and_come_back(&mut redis, &scene, Memory::Lost);
    let (told, published) = scene.end();
    for told in told {
        assert_eq!((gaps(&told), epochs(&told)), (vec![None], 2));
    }
    for published in published {
        assert!(published.unknown.len() <= 1, "what was in flight: {:?}", published.unknown);
        assert!(published.refusals > 0, "what waited for too long is not published, and is said so");
        assert!(published.slowest < TIMEOUT * 3, "{:?}", published.slowest);
    }
}

#[test]
fn a_redis_that_comes_back_with_a_snapshot_or_its_log_begins_a_new_epoch_too() {
    for settings in [&["--save", "3600 1"][..], &["--appendonly", "yes", "--appendfsync", "always"]] {
        let Some(mut redis) = Redis::start(settings) else { return };
        let scene = Scene::begin(redis.port, Keys::With);
        if settings[0] == "--save" {
            let _: String = redis.ask("SAVE");
        }
        kill_and_come_back(&mut redis, &scene, Memory::Kept);
        let (told, _) = scene.end();
        for told in told {
            assert_eq!((gaps(&told), epochs(&told)), (vec![None], 2), "{settings:?}");
        }
    }
}

#[test]
fn a_redis_that_is_trusted_and_has_its_whole_log_goes_on_and_nobody_is_told_of_a_gap() {
    let Some(mut redis) = Redis::start(&["--appendonly", "yes", "--appendfsync", "always"]) else { return };
    let scene = Scene::of(trusting(redis.port), Keys::With);
    kill_and_come_back(&mut redis, &scene, Memory::Kept);
    let (told, published) = scene.end();
    for told in told {
        assert_eq!((gaps(&told), epochs(&told)), (vec![], 1), "nothing is missing");
    }
    assert!(
        published.iter().all(|published| published.unknown.is_empty()),
        "keys make out what was published"
    );
}

#[test]
fn a_redis_that_is_trusted_and_has_lost_the_end_of_its_log_begins_a_new_epoch() {
    let Some(mut redis) = Redis::start(&["--save", "3600 1"]) else { return };
    let mut scene = Scene::of(trusting(redis.port), Keys::Without);
    let _: String = redis.ask("SAVE");
    scene.more(30);
    // It is found out when a node that has more opens the channel: a publication ahead of that would get a number again.
    let publishers = std::mem::take(&mut scene.publishers);
    let before: Vec<_> = publishers.into_iter().map(Publisher::end).collect();
    kill_and_come_back(&mut redis, &scene, Memory::Kept);
    for witness in &scene.witnesses {
        witness.hears("a gap", |told| gaps(told) == [None]);
    }
    let (told, _) = scene.end();
    assert!(before.iter().all(|published| published.unknown.is_empty()));
    for told in told {
        assert_eq!(
            (gaps(&told), epochs(&told)),
            (vec![None], 2),
            "it has gone back, and no number is used twice"
        );
    }
}

fn trusting(port: u16) -> Vec<Running> {
    let mut config = by_redis(port);
    config.redis.as_mut().unwrap().trust_failover = true;
    vec![start(config.clone()), start(config)]
}

#[test]
fn a_channel_that_redis_loses_begins_anew_with_the_next_publication() {
    let Some(redis) = Redis::start(&[]) else { return };
    let scene = Scene::patient(redis.port, Keys::Without);
    let _: i64 = redis.ask("DEL fanfare:{c}");
    scene.more(20);
    let _: String = redis.ask("FLUSHALL");
    scene.more(20);
    let (told, published) = scene.end();
    for told in told {
        assert_eq!((gaps(&told), epochs(&told)), (vec![None, None], 3));
    }
    assert!(published.iter().all(|published| published.unknown.is_empty() && published.refusals == 0));
}

#[test]
fn a_redis_that_forgets_its_scripts_is_given_them_again_and_nobody_notices() {
    let Some(redis) = Redis::start(&[]) else { return };
    let scene = Scene::patient(redis.port, Keys::Without);
    for _ in 0..5 {
        let _: String = redis.ask("SCRIPT FLUSH");
        scene.more(5);
    }
    let late = Witness::start(&[scene.nodes[0].address], "other", By::WebSocket, usize::MAX);
    assert_eq!(late.gaps(), []);
    assert_eq!(post(scene.nodes[1].address, "other", "", END).status, 200);
    late.end();
    let (told, published) = scene.end();
    assert!(told.iter().all(|told| gaps(told).is_empty() && epochs(told) == 1));
    assert!(published.iter().all(|published| published.unknown.is_empty() && published.refusals == 0));
}

#[test]
fn connections_that_redis_cuts_under_load_come_back_and_nothing_is_missing() {
    let Some(redis) = Redis::start(&[]) else { return };
    let scene = Scene::begin(redis.port, Keys::With);
    for kind in ["pubsub", "normal", "pubsub", "normal"] {
        let _: i64 = redis.ask(&format!("CLIENT KILL TYPE {kind}"));
        scene.more(30);
    }
    let metrics = scene.nodes.iter().map(|node| Scraper::new(node.address).scrape());
    let lost = metrics.map(|samples| {
        let of = |connection| {
            samples
                [&format!("fanfare_redis_reconnects_total{{connection=\"{connection}\",reason=\"broken\"}}")]
        };
        of("publish") + of("subscribe")
    });
    assert!(lost.sum::<f64>() >= 8.0, "two connections of two nodes, twice each");
    let (told, _) = scene.end();
    assert!(told.iter().all(|told| gaps(told).is_empty() && epochs(told) == 1), "it is all filled");
}

#[test]
fn a_redis_that_is_demoted_is_away_until_it_is_a_master_again_in_a_new_epoch() {
    let Some(redis) = Redis::start(&[]) else { return };
    let Some(other) = Redis::start(&[]) else { return };
    let scene = Scene::begin(redis.port, Keys::With);
    let _: String = redis.ask(&format!("REPLICAOF 127.0.0.1 {}", other.port));
    for node in &scene.nodes {
        wait_for_readiness(node.address, 503);
        assert_eq!(post(node.address, "new", "", "x").status, 503);
    }
    let _: String = redis.ask("REPLICAOF NO ONE");
    for node in &scene.nodes {
        wait_for_readiness(node.address, 200);
    }
    let (told, _) = scene.end();
    for told in told {
        assert_eq!((gaps(&told), epochs(&told)), (vec![None], 2));
    }
}
