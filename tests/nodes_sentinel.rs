//! Nodes that ask Sentinels who the master is: failovers, a master that comes back, a replica that was late.
//!
//! What a Cluster does by itself is not here.

#![allow(clippy::unwrap_used)] // a helper that fails fails its test

mod support;

use std::collections::HashSet;
use std::net::{SocketAddr, TcpListener};
use std::time::{Duration, Instant};

use fanfare::Server;
use support::hearing::*;
use support::proxy::Proxy;
use support::redis::{Memory, Redis, free_port};
use support::redis_cluster::said;
use support::redis_sentinel::{FAILOVER_TIME_MAX, NAME, Sentinel, Watched, follow};
use support::witness::{Id, Oracle};
use support::*;

const TIMEOUT: Duration = Duration::from_secs(2);

/// A server that is silent for so long is down.
const DOWN_MS: u64 = 1_000;

fn seeds(watched: &Watched, query: &str) -> Vec<String> {
    watched.sentinels.iter().map(|sentinel| format!("redis://127.0.0.1:{}{query}", sentinel.port)).collect()
}

/// Publishes until it is published.
fn goes_on(node: SocketAddr, channel: &str, payload: &str) -> Id {
    let key = payload.replace(' ', "-");
    let deadline = Instant::now() + FAILOVER_TIME_MAX;
    loop {
        let answer = post(node, channel, payload, Some(&key));
        if let Some(id) = id_of(&answer) {
            return id;
        }
        assert!(Instant::now() < deadline, "not published: {answer:?}");
    }
}

#[test]
fn a_failover_is_followed_with_a_gap_and_the_old_master_is_not_believed_when_it_comes_back() {
    let Some(mut watched) = Watched::start(1, DOWN_MS) else { return };
    // The first Sentinel is dead.
    let urls = [vec![format!("redis://127.0.0.1:{}", free_port())], seeds(&watched, "")].concat();
    let nodes = [node(&urls, TIMEOUT), node(&urls, TIMEOUT)];
    let ears = [Ear::open(nodes[0].address, "news", "since="), Ear::open(nodes[1].address, "news", "since=")];
    let publishers = [0, 1].map(|at| Publisher::start(nodes[at].address, "news", &format!("p{at}"), false));
    published(nodes[0].address, "news", "before");
    ears.iter().for_each(|ear| ear.hears_payload("before"));
    watched.servers[0].kill();
    watched.wait_for_master(1);
    let after = goes_on(nodes[1].address, "news", "after");
    ears.iter().for_each(|ear| ear.hears_payload("after"));
    for node in &nodes {
        assert_eq!(request(node.address, "GET", "/readyz", "", b"").status, 200);
    }
    // It says that it is a master, until a Sentinel has told it.
    watched.servers[0].start_again(Memory::Kept);
    watched.wait_for_replica(0);
    let last = goes_on(nodes[0].address, "news", "last");
    assert_eq!(last.epoch, after.epoch);
    let mut oracle = Oracle::with_retries();
    for (payload, answer) in publishers.into_iter().flat_map(Publisher::stop) {
        assert!([200, 503, 504].contains(&answer.status), "{answer:?}");
        id_of(&answer).into_iter().for_each(|id| oracle.note(&id, &payload));
    }
    for ear in &ears {
        ear.hears_payload("last");
        oracle.judge(&ear.told());
        assert_eq!(ear.gaps(), [None]);
    }
}

#[test]
fn a_sentinel_that_watches_several_masters_has_to_be_told_which() {
    let (Some(one), Some(two)) = (Redis::start(&[]), Redis::start(&[])) else { return };
    let sentinel = Sentinel::start(&[("one", one.port), ("two", two.port)], 1, DOWN_MS, "");
    let config = |query| node_config(&[format!("redis://127.0.0.1:{}{query}", sentinel.port)], TIMEOUT);
    let error = Server::bind(config("")).err().unwrap().to_string();
    let place = format!("--redis 127.0.0.1:{}: ", sentinel.port);
    let why = "it is a Sentinel that watches several masters: say which as ?master=NAME, one of ";
    assert!(
        error.starts_with(&format!("{place}{why}")) && error.contains("one") && error.contains("two"),
        "{error}"
    );
    let error = Server::bind(config("?master=three")).err().unwrap().to_string();
    let why = "it is a Sentinel that watches no master \"three\".";
    assert!(error.starts_with(&format!("{place}{why}")), "{error}");
    let running = start(config("?master=two"));
    published(running.address, "news", "a");
    assert_eq!((one.ask::<u64>("DBSIZE"), two.ask::<u64>("DBSIZE")), (0, 1));
}

#[test]
fn a_sentinel_without_users_knows_the_master_of_those_that_have_passwords() {
    let Some(master) =
        Redis::start(&["--user", "anna", "on", ">secret", "~*", "&*", "+@all", "--user", "default", "off"])
    else {
        return;
    };
    let sentinel = Sentinel::start(&[(NAME, master.port)], 1, 60_000, "");
    let config =
        |password| node_config(&[format!("redis://anna:{password}@127.0.0.1:{}", sentinel.port)], TIMEOUT);
    let running = start(config("secret"));
    published(running.address, "news", "a");
    let error = Server::bind(config("wrong")).err().unwrap().to_string();
    let why = format!("--redis 127.0.0.1:{}: the user or the password is wrong.", master.port);
    assert!(error.starts_with(&why), "{error}");
}

#[test]
fn a_sentinel_that_is_alone_with_an_old_master_is_asked_no_further() {
    let Some(watched) = Watched::start(0, DOWN_MS) else { return };
    // Nobody is there where this one believes the master to be.
    let gone = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let alone = Sentinel::start(&[(NAME, gone.local_addr().unwrap().port())], 1, 60_000, "");
    drop(gone);
    let first = format!("redis://127.0.0.1:{}", alone.port);
    let running = node(&[vec![first], seeds(&watched, "")].concat(), TIMEOUT);
    goes_on(running.address, "news", "a");
    assert_eq!(watched.servers[0].ask::<u64>("EXISTS fanfare:{news}"), 1);
}

#[test]
fn a_replica_that_was_late_when_it_was_promoted_gives_no_number_twice() {
    let Some(mut watched) = Watched::start(1, DOWN_MS) else { return };
    let urls = seeds(&watched, &format!("?master={NAME}"));
    let nodes = [node(&urls, TIMEOUT), node(&urls, TIMEOUT)];
    let ears = [Ear::open(nodes[0].address, "news", "since="), Ear::open(nodes[1].address, "news", "since=")];
    let mut oracle = Oracle::with_retries();
    let publish = |oracle: &mut Oracle, number: u64| {
        let payload = format!("acknowledged {number}");
        let id = published(nodes[0].address, "news", &payload);
        oracle.note(&id, &payload);
        id
    };
    for number in 1..=5 {
        publish(&mut oracle, number);
    }
    // It has five, and follows nobody from now on.
    let has_five = || said::<u64>(&mut watched.servers[1].connect(), "HGET fanfare:{news} s");
    until("the replica has five", || (has_five() == 5).then_some(()));
    let _: String = watched.servers[1].ask("REPLICAOF 127.0.0.1 1");
    let last = (6..=8).map(|number| publish(&mut oracle, number)).last().unwrap();
    ears.iter().for_each(|ear| ear.hears_payload("acknowledged 8"));
    watched.servers[0].kill();
    watched.wait_for_master(1);
    for number in 1..=8 {
        let payload = format!("after {number}");
        oracle.note(&goes_on(nodes[1].address, "news", &payload), &payload);
    }
    for ear in &ears {
        ear.hears_payload("after 8");
        oracle.judge(&ear.told());
        assert_eq!(ear.gaps(), [None]);
    }
    let late = Ear::open(nodes[0].address, "news", &format!("since={}-{}", last.epoch, last.sequence));
    assert_eq!(late.gaps(), [None], "what it has is of another epoch");
    late.hears_payload("after 8");
    oracle.judge(&late.told());
}

#[test]
fn a_master_that_is_one_again_with_less_than_it_had_gives_no_number_of_an_idle_channel_twice() {
    let Some(a) = Redis::start(&["--repl-diskless-sync-delay", "0"]) else { return };
    let b = Redis::start(&["--repl-diskless-sync-delay", "0"]).unwrap();
    follow(&b, a.port);
    let proxy = Proxy::to(a.port);
    let node = node(&[format!("redis://{}", proxy.address)], TIMEOUT);
    let ear = Ear::open(node.address, "idle", "since=");
    let mut oracle = Oracle::with_retries();
    for number in 1..=3 {
        let payload = format!("both have {number}");
        oracle.note(&published(node.address, "idle", &payload), &payload);
    }
    until("B has three", || (b.ask::<Option<u64>>("HGET fanfare:{idle} s") == Some(3)).then_some(()));
    let _: String = b.ask("REPLICAOF NO ONE");
    for number in 4..=6 {
        let payload = format!("A has {number}");
        oracle.note(&published(node.address, "idle", &payload), &payload);
    }
    ear.hears_payload("A has 6");
    // The node does not see B, which is the master for a while; then A is again, with what B had.
    let run_id = run_id(&a);
    proxy.close(true);
    proxy.cut();
    follow(&a, b.port);
    let _: String = a.ask("REPLICAOF NO ONE");
    assert_eq!(a.ask::<u64>("HGET fanfare:{idle} s"), 3, "it has less than it had");
    assert_eq!(run_id, self::run_id(&a), "and is the same process");
    proxy.close(false);
    for number in 1..=3 {
        let payload = format!("again {number}");
        oracle.note(&goes_on(node.address, "idle", &payload), &payload);
    }
    ear.hears_payload("again 3");
    oracle.judge(&ear.told());
    assert_eq!(ear.gaps(), [None]);
    let heard: HashSet<_> = ear.payloads().into_iter().collect();
    assert_eq!(heard.len(), 9);
}

fn run_id(redis: &Redis) -> String {
    let info: String = redis.ask("INFO server");
    info.lines().find(|line| line.starts_with("run_id:")).unwrap().to_owned()
}
