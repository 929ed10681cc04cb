//! How Redis is reached: by TLS, over a Unix socket, as a user who may do little; and what is said when that fails.
//!
//! What is done there is not here.

#![allow(clippy::unwrap_used)] // a helper that fails fails its test
#![cfg(feature = "tls")]

mod support;

use std::io::Write;
use std::net::TcpListener;
use std::process::Stdio;
use std::thread;
use std::time::Duration;

use fanfare::config::Config;
use fanfare::{Server, config};
use support::ca::Ca;
use support::hearing::*;
use support::redis::{Redis, free_port};
use support::redis_cluster::Cluster;
use support::witness::Oracle;
use support::*;
use tempfile::TempDir;

const TIMEOUT: Duration = Duration::from_secs(3);

/// What the user of a server needs, as the README says it.
const RULES: &str = "~fanfare:* &fanfare:*";

/// A Redis that speaks TLS by a certificate for these names.
struct Secured {
    redis: Redis,
    port: u16,
    folder: TempDir,
}

impl Secured {
    fn start(names: &[&str], settings: &[&str]) -> Option<Self> {
        let (folder, ca, port) = (TempDir::new().unwrap(), Ca::new(), free_port());
        let [cert, key] = ca.leaf(names).write(folder.path(), "redis").map(|path| path.display().to_string());
        let authority = folder.path().join("ca.pem");
        std::fs::write(&authority, &ca.pem).unwrap();
        let (port_text, authority) = (port.to_string(), authority.display().to_string());
        let own = ["--tls-port", &port_text, "--tls-cert-file", &cert, "--tls-key-file", &key];
        let trust = ["--tls-ca-cert-file", &authority];
        let redis = Redis::start(&[&own[..], &trust, settings].concat())?;
        Some(Self { redis, port, folder })
    }

    fn config(&self, host: &str, has_ca: bool) -> Config {
        let config = node_config(&[format!("rediss://{host}:{}", self.port)], TIMEOUT);
        Config { ca_file: has_ca.then(|| self.folder.path().join("ca.pem")), ..config }
    }
}

/// What a server says that does not start.
fn refusal(config: Config) -> String {
    Server::bind(config).expect_err("it does not start").to_string()
}

#[test]
fn redis_is_spoken_to_by_tls_with_the_authority_of_the_ca_file() {
    let Some(secured) = Secured::start(&["localhost", "127.0.0.1"], &["--tls-auth-clients", "no"]) else {
        return;
    };
    let nodes = [start(secured.config("localhost", true)), start(secured.config("127.0.0.1", true))];
    let ear = Ear::open(nodes[1].address, "news", "since=");
    // More than one record, and more than a socket takes at once.
    let long = "x".repeat(300_000);
    let mut oracle = Oracle::default();
    for number in 0..40 {
        let payload = format!("{number} {long}");
        oracle.note(&published(nodes[0].address, "news", &payload), &payload);
        ear.hears_payload(&payload);
    }
    oracle.judge(&ear.told());
    assert_eq!(secured.redis.ask::<u64>("EXISTS fanfare:{news}"), 1);
}

#[test]
fn a_redis_of_an_unknown_authority_or_of_another_name_is_refused_with_the_reason() {
    let Some(secured) = Secured::start(&["redis.test"], &["--tls-auth-clients", "no"]) else { return };
    let place = format!("--redis localhost:{}: its certificate is not ", secured.port);
    let said = refusal(secured.config("localhost", false));
    assert!(said.starts_with(&place) && said.contains("authority that this machine trusts"), "{said}");
    let said = refusal(secured.config("localhost", true));
    assert_eq!(said, format!("{place}for localhost, but for redis.test"));
}

#[test]
fn a_redis_that_wants_certificates_of_its_clients_or_speaks_no_tls_is_refused_with_the_remedy() {
    let Some(secured) = Secured::start(&["localhost"], &[]) else { return };
    let said = refusal(secured.config("localhost", true));
    assert!(
        said.contains("it wants a certificate of its clients") && said.contains("tls-auth-clients no"),
        "{said}"
    );
    // Redis itself waits for the end of the line. Others do not.
    let plain = TcpListener::bind("127.0.0.1:0").unwrap();
    let config = node_config(&[format!("rediss://{}", plain.local_addr().unwrap())], TIMEOUT);
    let answer = move || {
        let mut client = plain.accept().unwrap().0;
        client.write_all(b"-ERR unknown command\r\n").unwrap();
        client
    };
    let answering = thread::spawn(answer);
    let said = refusal(config);
    drop(answering.join().unwrap());
    assert!(said.contains("it does not speak TLS there: is its URL redis://"), "{said}");
}

#[test]
fn a_cluster_is_spoken_to_by_tls_too() {
    let (folder, ca) = (TempDir::new().unwrap(), Ca::new());
    let [cert, key] =
        ca.leaf(&["127.0.0.1"]).write(folder.path(), "redis").map(|path| path.display().to_string());
    let ca_file = folder.path().join("ca.pem");
    std::fs::write(&ca_file, &ca.pem).unwrap();
    let files =
        ["--tls-cert-file", &cert, "--tls-key-file", &key, "--tls-ca-cert-file", ca_file.to_str().unwrap()];
    let settings = [&["--tls-auth-clients", "no", "--tls-cluster", "yes"], &files[..]].concat();
    let Some(cluster) = Cluster::start_by_tls(3, 15_000, &settings) else { return };
    let config = node_config(&[format!("rediss://127.0.0.1:{}", cluster.tls_ports[0])], TIMEOUT);
    let node = start(Config { ca_file: Some(ca_file), ..config });
    for master in 0..3 {
        let channel = cluster.channel_at(master, "secure");
        let ear = Ear::open(node.address, &channel, "since=");
        published(node.address, &channel, "a");
        ear.hears_payload("a");
    }
}

#[test]
fn redis_is_reached_over_a_unix_socket_and_in_another_database() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("redis sock").display().to_string();
    let Some(redis) = Redis::start(&["--unixsocket", &path]) else { return };
    let url = format!("unix:{}?db=3", path.replace(' ', "%20"));
    let nodes = [node(std::slice::from_ref(&url), TIMEOUT), node(std::slice::from_ref(&url), TIMEOUT)];
    let ear = Ear::open(nodes[1].address, "news", "since=");
    published(nodes[0].address, "news", "a");
    ear.hears_payload("a");
    assert!(redis.ask::<String>("INFO keyspace").contains("db3:keys="));
}

#[test]
fn a_user_with_the_rights_of_the_readme_may_do_all_that_is_needed_on_one_server_and_on_a_cluster() {
    let readme = include_str!("../README.md");
    let line = readme.lines().find(|line| line.contains(RULES)).expect("the README has the line");
    let rules = &line[line.find(RULES).unwrap()..];
    let user: Vec<_> = ["--user", "fanfare", "on", ">secret"]
        .into_iter()
        .chain(rules.trim_end_matches(['`', '.']).split(' '))
        .collect();
    let Some(redis) = Redis::start(&user) else { return };
    works(&format!("redis://fanfare:secret@127.0.0.1:{}", redis.port), "news");
    assert_eq!(refused(&redis), "[]", "nothing was refused");
    let cluster = Cluster::start_with(3, &[], 15_000, &user).unwrap();
    let channel = cluster.channel_at(1, "news");
    works(&format!("redis://fanfare:secret@127.0.0.1:{}", cluster.servers[0].port), &channel);
    cluster.servers.iter().for_each(|server| assert_eq!(refused(server), "[]", "nothing was refused"));
}

/// What a Redis has refused to users.
fn refused(redis: &Redis) -> String {
    format!("{:?}", redis.ask::<Vec<::redis::Value>>("ACL LOG"))
}

/// Two nodes publish, subscribe, resume, and know a key.
fn works(url: &str, channel: &str) {
    let nodes = [node(&[url.to_owned()], TIMEOUT), node(&[url.to_owned()], TIMEOUT)];
    let ear = Ear::open(nodes[0].address, channel, "since=");
    let first = post(nodes[1].address, channel, "a", Some("key"));
    assert_eq!(id_of(&first), id_of(&post(nodes[0].address, channel, "a", Some("key"))));
    ear.hears_payload("a");
    drop(ear);
    published(nodes[0].address, channel, "b");
    Ear::open(nodes[1].address, channel, "last=2").hears_payload("b");
}

#[test]
fn a_user_who_may_not_ask_info_is_refused_unless_failovers_are_trusted() {
    let Some(redis) = Redis::start(&["--user", "fanfare", "on", ">secret", "~*", "&*", "+@all", "-info"])
    else {
        return;
    };
    let url = format!("redis://fanfare:secret@127.0.0.1:{}", redis.port);
    let config = node_config(std::slice::from_ref(&url), TIMEOUT);
    let said = refusal(config.clone());
    assert!(said.contains("Allow INFO, or accept that with --redis-trust-failover"), "{said}");
    let output = fanfare(&["--redis", &url]).stdout(Stdio::null()).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8(output.stderr).unwrap().contains("Allow INFO"));
    let trusting = config::Redis { trust_failover: true, ..config.redis.clone().unwrap() };
    let running = start(Config { redis: Some(trusting), ..config });
    published(running.address, "news", "a");
}
