//! The audit of publications by keys, over real sockets: which publications have a line, and what happens to the file.
//!
//! A file that is slow or full is tested in `server::audit`.

#![allow(clippy::unwrap_used)] // a helper that fails fails its test

mod support;

use std::fs::{self, File};
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::Command;

use fanfare::config::{AccessKey, Config, Glob};
use serde_json::Value;
use support::metrics::Scraper;
use support::multiplex::{multiplex_with, next, say};
use support::*;
use tungstenite::Message;

const KEY: &str = "Authorization: Bearer secret\r\n";

/// A directory of this test alone, which is gone at its end.
struct Place(PathBuf);

impl Place {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("fanfare-audit-{name}-{}", std::process::id()));
        fs::create_dir(&path).unwrap();
        Self(path)
    }

    fn file(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn audited(path: &Path) -> Config {
    Config {
        audit: Some(path.to_owned()),
        keys: vec![AccessKey::with_all_rights("billing", "secret")],
        client_publish: vec![Glob::new("chat-*")],
        ..config()
    }
}

fn lines(path: &Path) -> Vec<Value> {
    let text = fs::read_to_string(path).unwrap_or_default();
    // The last line may be half written.
    let whole = text.rfind('\n').map_or("", |end| &text[..end]);
    whole.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// The lines when there are this many.
fn until_lines(path: &Path, count: usize) -> Vec<Value> {
    until("the lines are there", || Some(lines(path)).filter(|lines| lines.len() >= count))
}

fn post(server: &Running, path: &str, fields: &str, body: &str) -> Answer {
    let answer = request(server.address, "POST", path, fields, body.as_bytes());
    assert_eq!(answer.status, 200, "{answer:?}");
    answer
}

#[test]
fn a_publication_by_a_key_has_a_line_on_every_road_and_one_by_anybody_else_has_none() {
    let place = Place::new("roads");
    let path = place.file("audit");
    let server = start(audited(&path));
    let id = |answer: &Answer| serde_json::from_str::<Value>(&answer.body).unwrap()["id"].clone();
    let posted = id(&post(&server, "/channels/a", KEY, "one"));
    post(&server, "/channels", KEY, r#"[{"channels":["b","c"],"data":"two"}]"#);
    let mut one = handshake(server.address, "/channels/d", &[("Authorization", "Bearer secret")]).unwrap().0;
    one.send(Message::text("four")).unwrap();
    let mut many = multiplex_with(server.address, "/channels", &[("Authorization", "Bearer secret")]);
    say(&mut many, r#"{"channel":"e","ref":1,"data":"five5"}"#);
    let published = next(&mut many);
    let lines = until_lines(&path, 5);
    let by_channel = |channel: &str| lines.iter().find(|line| line["channel"] == channel).unwrap();
    for (channel, len) in [("a", 3), ("b", 3), ("c", 3), ("d", 4), ("e", 5)] {
        let line = by_channel(channel);
        assert_eq!((&line["key"], &line["bytes"]), (&"billing".into(), &len.into()), "{line}");
        assert_eq!(line["ip"], "127.0.0.1", "{line}");
        let t = line["t"].as_str().unwrap();
        assert!(t.len() == 24 && t.starts_with("20") && t.ends_with('Z'), "{line}");
    }
    assert_eq!(by_channel("a")["id"], posted);
    assert_eq!(by_channel("e")["id"], published["data"]["id"], "{published}");
    // By nobody, then by the key: the line of the second is the next.
    let mut chat = websocket(server.address, "/channels/chat-1");
    chat.send(Message::text("x")).unwrap();
    assert_eq!(text(&mut chat), "x");
    post(&server, "/channels/z", KEY, "x");
    let lines = until_lines(&path, 6);
    assert_eq!((lines.len(), &lines[5]["channel"]), (6, &"z".into()));
}

#[test]
fn a_named_pipe_that_nobody_reads_holds_up_neither_the_start_nor_a_publication_and_has_its_lines_later() {
    let place = Place::new("pipe");
    let path = place.file("pipe");
    assert!(Command::new("mkfifo").arg(&path).status().unwrap().success());
    let server = start(with_metrics(audited(&path)));
    for channel in ["a", "b"] {
        post(&server, &format!("/channels/{channel}"), KEY, "x");
    }
    let mut lines = BufReader::new(File::open(&path).unwrap()).lines();
    for channel in ["a", "b"] {
        let line: Value = serde_json::from_str(&lines.next().unwrap().unwrap()).unwrap();
        assert_eq!(line["channel"], channel);
    }
    // Its reader goes, and another one comes.
    let mut metrics = Scraper::new(server.metrics.unwrap());
    drop(lines);
    until("a line is lost with the reader", || {
        post(&server, "/channels/lost", KEY, "x");
        (metrics.value("fanfare_audit_lost_total") > 0.0).then_some(())
    });
    post(&server, "/channels/c", KEY, "x");
    let lines = BufReader::new(File::open(&path).unwrap()).lines();
    let mut channels =
        lines.map(|line| serde_json::from_str::<Value>(&line.unwrap()).unwrap()["channel"].take());
    assert!(channels.any(|channel| channel == "c"));
}

#[test]
fn a_publication_that_is_repeated_under_its_idempotency_key_has_one_line() {
    let place = Place::new("once");
    let path = place.file("audit");
    let server = start(audited(&path));
    let fields = format!("{KEY}Idempotency-Key: k\r\n");
    let first = post(&server, "/channels/a", &fields, "x");
    assert_eq!(first.body, post(&server, "/channels/a", &fields, "x").body);
    post(&server, "/channels/b", KEY, "x");
    let lines = until_lines(&path, 2);
    assert_eq!(lines.iter().map(|line| &line["channel"]).collect::<Vec<_>>(), ["a", "b"]);
}

#[test]
fn a_file_that_was_renamed_is_left_when_the_audit_is_opened_anew_and_no_line_is_lost() {
    let place = Place::new("rotated");
    let (path, old) = (place.file("audit"), place.file("audit.1"));
    let server = start(audited(&path));
    post(&server, "/channels/a", KEY, "x");
    until_lines(&path, 1);
    fs::rename(&path, &old).unwrap();
    post(&server, "/channels/b", KEY, "x");
    until_lines(&old, 2);
    server.handle.reopen_audit();
    post(&server, "/channels/c", KEY, "x");
    assert_eq!(until_lines(&path, 1)[0]["channel"], "c");
    assert_eq!(lines(&old).len(), 2);
}

#[test]
fn what_was_published_is_in_the_file_when_the_server_has_stopped_and_the_next_one_appends() {
    let place = Place::new("stop");
    let path = place.file("audit");
    for round in 1..=2 {
        let server = start(audited(&path));
        for _ in 0..100 {
            post(&server, "/channels/a", KEY, "x");
        }
        server.handle.shutdown();
        server.join().unwrap();
        assert_eq!(lines(&path).len(), round * 100);
    }
}

#[test]
fn lost_lines_have_a_metric_and_a_file_that_cannot_be_opened_is_told_at_the_start() {
    let place = Place::new("lost");
    let server = start(with_metrics(audited(&place.file("audit"))));
    assert_eq!(Scraper::new(server.metrics.unwrap()).value("fanfare_audit_lost_total"), 0.0);
    let missing = place.file("nowhere/audit");
    let error = fanfare::server::Server::bind(audited(&missing)).unwrap_err().to_string();
    assert!(error.starts_with(&format!("--audit {}: ", missing.display())), "{error}");
}

#[test]
fn a_disk_that_takes_nothing_stops_no_publication_and_each_line_that_is_missing_is_counted() {
    let server = start(with_metrics(audited(Path::new("/dev/full"))));
    for _ in 0..20 {
        post(&server, "/channels/a", KEY, "x");
    }
    Scraper::new(server.metrics.unwrap()).settles(&[("fanfare_audit_lost_total", 20)]);
}
