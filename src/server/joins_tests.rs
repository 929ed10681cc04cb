//! A whole server whose engine lets its clients join late, never, or not at all: by every road, over sockets.

#![allow(dead_code, unused_imports)] // of the clients that all tests over sockets share, a part is used here

#[path = "../../tests/support/event_stream.rs"]
mod event_stream;
#[path = "../../tests/support/http.rs"]
mod http;
#[path = "../../tests/support/long_poll.rs"]
mod long_poll;
#[path = "../../tests/support/multiplex.rs"]
mod multiplex;
#[path = "../../tests/support/pusher.rs"]
mod pusher;
#[path = "../../tests/support/pusher_http.rs"]
mod pusher_http;
#[path = "../../tests/support/socket.rs"]
mod socket;
#[path = "../../tests/support/waiting.rs"]
mod waiting;
#[path = "../../tests/support/websocket.rs"]
mod websockets;

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use event_stream::Events;
use http::{Answer, exchange, read_answer, request};
use multiplex::{fault, multiplex, next, say};
use pusher::Pusher;
use serde_json::{Value, json};
use socket::{connect, connect_narrowly, reset};
use waiting::{PATIENCE, until};
use websockets::{Client, close_frame, envelopes, handshake, text, upgrade_request, websocket};

use super::Handle;
use crate::config::{AccessKey, AuthRule, Config, Glob, PresenceRule};
use crate::hub::ChannelName;
use crate::server::Server;
use crate::server::broker::engine::Engine;
use crate::server::broker::engine::held::{EPOCH, Held};
use crate::server::clock::Millis;
use crate::server::handlers::failure::Outcome;

/// Shorter than any test waits, and longer than it takes to see that something waits.
const SHORT: Duration = Duration::from_millis(150);

struct Running {
    engine: Arc<Held>,
    handle: Handle,
    address: SocketAddr,
    serving: Option<JoinHandle<io::Result<()>>>,
}

/// A server of two loops whose clients join when the test says so.
fn start() -> Running {
    start_with(config(), Held::default())
}

/// One whose clients are held for a short time.
fn start_impatient() -> Running {
    start_with(config(), Held::with_join_timeout(SHORT))
}

fn config() -> Config {
    Config {
        listen: vec!["127.0.0.1:0".parse().unwrap()],
        threads: NonZeroUsize::new(2).unwrap(),
        drain: Duration::ZERO,
        presence: vec![(Glob::new("*"), PresenceRule::Members)],
        ..Config::default()
    }
}

fn start_with(config: Config, engine: Held) -> Running {
    let engine = Arc::new(engine);
    run(Server::bind_with(config, Engine::Remote(engine.clone()), None).unwrap(), engine)
}

fn run(server: Server, engine: Arc<Held>) -> Running {
    let (address, handle) = (server.local_addrs()[0], server.handle());
    Running { engine, handle, address, serving: Some(thread::spawn(|| server.run())) }
}

impl Running {
    /// Waits until as many joins wait, and asserts of which channels.
    fn until_wanted(&self, channels: &[&str]) {
        until("the engine was asked for all", || {
            (self.engine.wanted().len() >= channels.len()).then_some(())
        });
        assert_eq!(self.engine.wanted(), channels);
    }

    /// Lets those join that want to.
    fn prepare(&self) {
        self.engine.prepare_all(&self.handle.shared.broker);
    }

    fn refuse(&self) {
        self.engine.refuse(&self.handle.shared.broker);
    }

    fn engage(&self, channel: &str) {
        let broker = &self.handle.shared.broker;
        self.engine.begin(broker, &name(channel), Millis(0));
        broker.engage(&name(channel));
    }

    /// Publishes, and delivers it.
    fn publish(&self, channel: &str, text: &str) {
        self.handle.publish_to(&name(channel), text).unwrap();
        self.engine.release(&self.handle.shared.broker, Millis(0));
    }

    /// Does something that waits for the channels to be prepared, and prepares them meanwhile.
    fn while_preparing<T: Send>(&self, channels: &[&str], act: impl FnOnce(SocketAddr) -> T + Send) -> T {
        let address = self.address;
        thread::scope(|scope| {
            let acting = scope.spawn(move || act(address));
            self.until_wanted(channels);
            self.prepare();
            acting.join().unwrap()
        })
    }

    fn subscribers(&self, channel: &str) -> Option<u64> {
        self.handle.shared.broker.subscribers_len(channel)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if let Some(serving) = self.serving.take() {
            self.handle.shutdown_now();
            let ended = serving.join();
            if !thread::panicking() {
                ended.unwrap().unwrap();
            }
        }
    }
}

fn name(text: &str) -> ChannelName {
    ChannelName::new(text).unwrap()
}

fn get(path: &str, fields: &str) -> Vec<u8> {
    format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n{fields}\r\n").into_bytes()
}

/// The requests that join, or look into, the channel `a` or `a` and `b`: what they are, and the beginning of the answer.
fn requests() -> Vec<(&'static str, Vec<u8>, &'static [&'static str], u16)> {
    let stream = "Accept: text/event-stream\r\n";
    let both: &[&str] = &["a", "b"];
    vec![
        ("a WebSocket", upgrade_request("/channels/a"), &["a"], 101),
        ("an event stream", get("/channels/a", stream), &["a"], 200),
        ("what is kept", get("/channels/a?wait=0", ""), &["a"], 200),
        ("its head", b"HEAD /channels/a HTTP/1.1\r\nHost: localhost\r\n\r\n".to_vec(), &["a"], 200),
        ("an event stream of two", get("/channels?channel=a&channel=b", stream), both, 200),
        ("what is kept of two", get("/channels?channel=a&channel=b&wait=0", ""), both, 200),
        ("who is there", get("/channels/a/presence", ""), &["a"], 200),
        ("its state, which is none", get("/channels/a/state", ""), &["a"], 404),
    ]
}

fn has_come(stream: &TcpStream) -> bool {
    stream.set_nonblocking(true).unwrap();
    let has_come = stream.peek(&mut [0]).is_ok();
    stream.set_nonblocking(false).unwrap();
    has_come
}

/// The head of an answer. Its body may never end.
fn head(stream: &mut TcpStream) -> String {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        stream.read_exact(&mut byte).unwrap();
        head.push(byte[0]);
    }
    String::from_utf8(head).unwrap()
}

#[test]
fn every_request_that_joins_or_looks_into_a_channel_waits_until_that_is_ready_and_not_again() {
    for (what, request, channels, status) in requests() {
        let running = start();
        let mut stream = connect(running.address);
        stream.write_all(&request).unwrap();
        running.until_wanted(channels);
        assert!(!has_come(&stream), "{what}");
        running.prepare();
        let told = head(&mut stream);
        assert!(told.starts_with(&format!("HTTP/1.1 {status} ")), "{what}: {told}");
        let mut again = connect(running.address);
        again.write_all(&request).unwrap();
        assert!(head(&mut again).starts_with(&format!("HTTP/1.1 {status} ")), "{what}");
        assert_eq!(running.engine.wanted(), [""; 0], "{what}");
    }
}

#[test]
fn a_request_of_which_a_channel_cannot_be_reached_is_answered_503_at_once_and_the_connection_goes_on() {
    let running = start();
    for (what, request, channels, _) in requests() {
        if what.contains("stream") {
            continue;
        }
        let mut stream = connect(running.address);
        stream.write_all(&request).unwrap();
        running.until_wanted(channels);
        (0..channels.len()).for_each(|_| running.refuse());
        let told = head(&mut stream);
        assert!(
            told.starts_with("HTTP/1.1 503 ") && told.contains("\r\nRetry-After: 1\r\n"),
            "{what}: {told}"
        );
        assert!(
            told.contains("\r\nConnection: keep-alive\r\n") || !told.contains("Connection: close"),
            "{told}"
        );
    }
    let mut stream = connect(running.address);
    stream.write_all(&get("/channels/a?wait=0", "")).unwrap();
    running.until_wanted(&["a"]);
    running.refuse();
    let answer = read_answer(&mut stream);
    assert_eq!(answer.body, "The channel cannot be reached at this time; try again in a second.\n");
    assert_eq!(exchange(&mut stream, &get("/healthz", "")).status, 200);
}

#[test]
fn a_request_whose_channels_are_not_ready_in_time_is_answered_503() {
    let running = start_impatient();
    let mut stream = connect(running.address);
    for (what, request, channels, _) in requests() {
        if what.contains("stream") || what.contains("head") {
            continue;
        }
        let Answer { status, head, .. } = exchange(&mut stream, &request);
        assert_eq!((status, head.contains("\r\nRetry-After: 1\r\n")), (503, true), "{what}");
        assert!(
            running.engine.wanted().ends_with(&channels.iter().map(|c| (*c).to_owned()).collect::<Vec<_>>())
        );
    }
    // What is told too late finds nobody.
    running.prepare();
    assert_eq!(exchange(&mut stream, &get("/channels/a?wait=0", "")).status, 200);
}

#[test]
fn what_follows_a_request_that_waits_is_answered_after_it() {
    let running = start();
    let mut stream = connect(running.address);
    stream.write_all(&[get("/channels/a?wait=0", ""), get("/healthz", "")].concat()).unwrap();
    running.until_wanted(&["a"]);
    running.prepare();
    assert!(read_answer(&mut stream).body.starts_with("{\"messages\":[]"));
    assert_eq!(read_answer(&mut stream).body, "ok\n");
}

#[test]
fn a_channel_that_is_let_go_of_between_the_answer_and_the_joining_is_waited_for_again() {
    let running = start();
    let broker = &running.handle.shared.broker;
    let mut stream = connect(running.address);
    stream.write_all(&get("/channels?channel=a&channel=b&wait=0", "")).unwrap();
    running.until_wanted(&["a", "b"]);
    running.engine.prepare(broker);
    assert!(!broker.disengage(&name("a"), Millis(0)) && broker.disengage(&name("a"), Millis(0)));
    running.engine.prepare(broker);
    running.until_wanted(&["a"]);
    running.prepare();
    assert_eq!(read_answer(&mut stream).status, 200);
}

#[test]
fn a_subscriber_gets_what_is_published_from_its_joining_on() {
    let running = start();
    let mut raw = running.while_preparing(&["a"], |address| websocket(address, "/channels/a"));
    running.publish("a", "one");
    assert_eq!(text(&mut raw), "one");
    let mut client = running.while_preparing(&["b"], |address| envelopes(address, "b"));
    running.publish("b", "two");
    assert!(text(&mut client).contains("two"));
    let mut events =
        running.while_preparing(&["c"], |address| Events::open(address, "/channels/c", "").begun());
    running.publish("c", "three");
    assert_eq!(events.next().unwrap().data, "three");
}

#[test]
fn a_long_poll_that_was_not_ready_waits_for_a_publication_after_that() {
    let running = start();
    let mut stream = connect(running.address);
    stream.write_all(&get("/channels/a?wait=30", "")).unwrap();
    running.until_wanted(&["a"]);
    running.prepare();
    until("it has joined", || (running.subscribers("a") == Some(1)).then_some(()));
    running.publish("a", "x");
    assert!(read_answer(&mut stream).body.contains("\"x\""));
}

#[test]
fn commands_wait_in_their_order_and_each_channel_has_its_answer() {
    let running = start();
    let mut client = multiplex(running.address);
    say(&mut client, r#"{"event":"fanfare:subscribe","ref":1,"data":[{"channel":"a"},{"channel":"b"}]}"#);
    say(&mut client, r#"{"event":"fanfare:history","ref":2,"data":{"channel":"c","last":2}}"#);
    say(&mut client, r#"{"event":"fanfare:presence","ref":3,"data":{"channel":"d"}}"#);
    say(&mut client, r#"{"event":"fanfare:unsubscribe","ref":4,"data":["a"]}"#);
    for (channels, events) in [
        (&["a", "b"][..], &["fanfare:subscribed", "fanfare:subscribed"][..]),
        (&["c"], &["fanfare:history"]),
        (&["d"], &["fanfare:presence", "fanfare:unsubscribed"]),
    ] {
        running.until_wanted(channels);
        running.prepare();
        for event in events {
            assert_eq!(next(&mut client)["event"], *event);
        }
    }
    say(&mut client, r#"{"event":"fanfare:subscribe","ref":5,"data":[{"channel":"b"}]}"#);
    assert_eq!(next(&mut client)["event"], "fanfare:subscribed", "it is read already");
    assert_eq!(running.engine.wanted(), [""; 0]);
    running.publish("b", "x");
    assert_eq!(next(&mut client)["data"], "x");
}

#[test]
fn of_a_command_whose_time_is_over_the_channels_that_are_ready_are_joined_and_the_others_refused() {
    let running = start_impatient();
    running.engage("a");
    let mut client = multiplex(running.address);
    say(&mut client, r#"{"event":"fanfare:subscribe","ref":1,"data":[{"channel":"a"},{"channel":"b"}]}"#);
    assert_eq!(next(&mut client)["event"], "fanfare:subscribed");
    let refused = next(&mut client);
    assert_eq!((fault(&refused), &refused["channel"]), (("unavailable", 503), &json!("b")));
    for (command, more) in [("history", r#","last":2"#), ("presence", "")] {
        let data = format!(r#"{{"channel":"c"{more}}}"#);
        say(&mut client, &format!(r#"{{"event":"fanfare:{command}","ref":2,"data":{data}}}"#));
        let refused = next(&mut client);
        assert_eq!((fault(&refused), &refused["ref"]), (("unavailable", 503), &json!(2)));
    }
    assert_eq!(running.engine.wanted(), ["b", "c", "c"]);
}

#[test]
fn a_command_is_refused_at_once_where_the_engine_refuses_it() {
    let running = start();
    let mut client = multiplex(running.address);
    say(&mut client, r#"{"event":"fanfare:subscribe","ref":1,"data":[{"channel":"a"}]}"#);
    running.until_wanted(&["a"]);
    running.refuse();
    assert_eq!(fault(&next(&mut client)), ("unavailable", 503));
    assert_eq!(running.subscribers("a"), None);
}

#[test]
fn a_client_that_may_not_read_a_channel_has_it_not_prepared() {
    let running = start_with(
        Config {
            keys: vec![AccessKey::with_all_rights("default", "secret")],
            auth: vec![(Glob::new("closed"), AuthRule::Key), (Glob::new("*"), AuthRule::Open)],
            ..config()
        },
        Held::default(),
    );
    let mut client = multiplex(running.address);
    say(&mut client, r#"{"event":"fanfare:subscribe","data":[{"channel":"closed"}]}"#);
    assert_eq!(fault(&next(&mut client)).1, 401);
    assert_eq!(request(running.address, "GET", "/channels/closed?wait=0", "", b"").status, 401);
    assert_eq!(running.engine.wanted(), [""; 0]);
}

#[test]
fn who_watches_a_channel_waits_for_it_under_its_own_name() {
    let running = start();
    let mut client = multiplex(running.address);
    say(&mut client, r#"{"event":"fanfare:subscribe","data":[{"channel":"@fanfare.watch/a"}]}"#);
    running.until_wanted(&["a"]);
    running.prepare();
    assert_eq!(next(&mut client)["event"], "fanfare:subscribed");
    running.publish("a", "x");
    assert_eq!(next(&mut client)["data"]["data"], "x");
}

#[test]
fn a_pusher_client_joins_when_its_channel_is_ready_and_what_it_says_next_waits() {
    let running = start();
    let mut client = Pusher::connect(running.address);
    client.ask_for("news");
    client.ask_for("cache-x");
    client.send("pusher:ping", json!({}));
    for channel in ["news", "cache-x"] {
        running.until_wanted(&[channel]);
        running.prepare();
        let (of, _) = client.expect("pusher_internal:subscription_succeeded");
        assert_eq!(of, channel);
    }
    client.expect("pusher:cache_miss");
    client.expect("pusher:pong");
    running.publish("news", "1");
    assert_eq!(client.next()["channel"], "news");
    let answer = running.while_preparing(&["presence-r"], |_| client.join("presence-r", "u"));
    assert_eq!(answer["presence"]["count"], 1);
}

#[test]
fn a_pusher_client_is_told_that_a_channel_cannot_be_reached_and_may_try_again() {
    let running = start_impatient();
    let mut client = Pusher::connect(running.address);
    for _ in 0..2 {
        client.ask_for("private-a");
        let (channel, data) = client.expect("pusher:subscription_error");
        assert_eq!((&*channel, &data["status"]), ("private-a", &json!(503)));
        let (_, data) = client.expect("pusher:error");
        assert_eq!(data["code"], Value::Null);
    }
    running.engage("private-a");
    client.subscribe("private-a");
}

#[test]
fn a_session_over_http_joins_when_its_channels_are_ready_one_after_the_other() {
    let running = start();
    let session = pusher_http::Session::new(running.address);
    let mut stream = session.stream().opened();
    let established = stream.line().unwrap();
    assert!(established.contains("connection_established"), "{established}");
    let ask = |channel: &str| json!({"event": "pusher:subscribe", "data": {"channel": channel}});
    assert_eq!(session.post(&[ask("a"), ask("b"), json!({"event": "pusher:ping", "data": {}})]), 204);
    assert_eq!(session.post(&[ask("c")]), 204);
    for channel in ["a", "b", "c"] {
        running.until_wanted(&[channel]);
        assert!(!stream.has_more());
        running.prepare();
        let line = stream.line().unwrap();
        assert!(line.contains("subscription_succeeded") && line.contains(channel), "{line}");
        if channel == "b" {
            assert!(line.contains("pusher:pong") || stream.line().unwrap().contains("pusher:pong"));
        }
    }
    running.publish("c", "1");
    assert!(stream.line().unwrap().contains("\\\"c\\\""));
}

#[test]
fn a_session_over_http_is_told_that_a_channel_cannot_be_reached() {
    let running = start_impatient();
    let session = pusher_http::Session::new(running.address);
    let mut polls = session.polls();
    assert_eq!(polls.poll(), "o{}\n");
    polls.poll();
    assert_eq!(session.post(&[json!({"event": "pusher:subscribe", "data": {"channel": "a"}})]), 204);
    let told = pusher_http::messages(&polls.poll());
    assert_eq!(told[0]["event"], "pusher:subscription_error");
}

#[test]
fn a_session_over_http_that_posts_on_and_on_while_it_waits_is_closed() {
    let running = start();
    let session = pusher_http::Session::new(running.address);
    let mut stream = session.stream().opened();
    stream.line().unwrap();
    assert_eq!(session.post(&[json!({"event": "pusher:subscribe", "data": {"channel": "a"}})]), 204);
    running.until_wanted(&["a"]);
    let long = json!({"event": "client-x", "channel": "a", "data": "x".repeat(8 * 1024)});
    let posted = (0..100).take_while(|_| session.post(std::slice::from_ref(&long)) == 204).count();
    assert!((30..40).contains(&posted), "{posted} times 8 KiB");
    assert!(stream.rest().contains("c[4100,"));
    running.prepare();
}

/// A server whose program subscribes to the channel of each message, or leaves it if there is a `-` ahead, and answers `ok`.
fn start_program() -> Running {
    let engine = Arc::new(Held::default());
    let mut server = Server::bind_with(config(), Engine::Remote(engine.clone()), None).unwrap();
    let added = server.websocket_fn("/session", |socket, message| -> Outcome {
        let said = message.text().unwrap();
        match said.strip_prefix('-') {
            Some(left) => socket.unsubscribe(&name(left)),
            None => socket.subscribe(&name(said))?,
        }
        socket.send("ok");
        Ok(())
    });
    added.unwrap();
    run(server, engine)
}

/// Has the session do something, and waits until it has.
fn tell(client: &mut Client, message: &str) {
    say(client, message);
    assert_eq!(text(client), "ok");
}

#[test]
fn a_session_is_not_held_by_a_channel_and_joins_it_when_it_is_ready_unless_it_has_left() {
    let running = start_program();
    let mut client = websocket(running.address, "/session");
    for message in ["a", "b", "a", "-b", "c"] {
        tell(&mut client, message);
    }
    running.until_wanted(&["a", "b", "c"]);
    running.prepare();
    until("the others are joined", || (running.subscribers("c") == Some(1)).then_some(()));
    assert_eq!((running.subscribers("a"), running.subscribers("b").unwrap_or(0)), (Some(1), 0));
    running.publish("b", "b");
    for channel in ["a", "c"] {
        running.publish(channel, channel);
        assert_eq!(text(&mut client), channel);
    }
    tell(&mut client, "-a");
    tell(&mut client, "a");
    assert_eq!(running.engine.wanted(), [""; 0], "it is ready");
    assert_eq!(running.subscribers("a"), Some(1));
}

#[test]
fn a_channel_of_a_session_that_was_refused_is_asked_for_again() {
    let running = start_program();
    let mut client = websocket(running.address, "/session");
    tell(&mut client, "a");
    running.until_wanted(&["a"]);
    running.refuse();
    running.until_wanted(&["a"]);
    running.prepare();
    until("it is joined", || (running.subscribers("a") == Some(1)).then_some(()));
    running.publish("a", "x");
    assert_eq!(text(&mut client), "x");
}

#[test]
fn a_session_that_ends_before_its_channel_is_ready_joins_nothing() {
    let running = start_program();
    let mut client = websocket(running.address, "/session");
    tell(&mut client, "a");
    running.until_wanted(&["a"]);
    client.close(None).unwrap();
    close_frame(&mut client);
    running.prepare();
    until("nobody is there", || (running.handle.connections_len() == 0).then_some(()));
    assert_eq!(running.subscribers("a").unwrap_or(0), 0);
}

/// The next events of a stream, by name and data.
fn events(stream: &mut Events, count: usize) -> Vec<(String, String)> {
    (0..count).map(|_| stream.next().unwrap()).map(|event| (event.name, event.data)).collect()
}

fn named(name: &str, data: &str) -> (String, String) {
    (name.to_owned(), data.to_owned())
}

#[test]
fn an_event_stream_whose_channel_is_not_ready_in_time_begins_without_it_and_goes_on_from_its_position() {
    let running = start_impatient();
    let mut stream = Events::open(running.address, "/channels/a", "Last-Event-ID: e-0\r\n");
    assert_eq!(events(&mut stream, 1), [named("fanfare:paused", "{}")]);
    assert_eq!((&*stream.last_id, running.subscribers("a")), ("", None), "it keeps the position that it has");
    running.publish("a", "missed");
    running.prepare();
    let told = events(&mut stream, 2);
    assert_eq!(told, [named("fanfare:resumed", "{}"), named("message", "missed")]);
    running.publish("a", "x");
    assert_eq!(events(&mut stream, 1), [named("message", "x")]);
    assert_eq!((&*stream.last_id, running.subscribers("a")), ("e-2", Some(1)));
}

#[test]
fn an_event_stream_that_the_engine_refuses_begins_at_once_and_asks_again() {
    let running = start();
    let mut socket = connect(running.address);
    socket.write_all(&get("/channels/a", "Accept: text/event-stream\r\n")).unwrap();
    running.until_wanted(&["a"]);
    running.refuse();
    assert!(head(&mut socket).starts_with("HTTP/1.1 200 "));
    for _ in 0..2 {
        // It has asked when it began, and asks a second after each refusal.
        running.until_wanted(&["a"]);
        running.refuse();
    }
    running.until_wanted(&["a"]);
    running.prepare();
    until("it has joined", || (running.subscribers("a") == Some(1)).then_some(()));
}

#[test]
fn an_event_stream_of_several_channels_begins_without_them_and_is_told_of_each_by_its_name() {
    let running = start_impatient();
    running.engage("b");
    let mut stream = Events::open(running.address, "/channels?channel=a&channel=b", "");
    let notice = |event: &str, channel: &str| {
        named("message", &format!(r#"{{"event":"fanfare:{event}","channel":"{channel}","data":{{}}}}"#))
    };
    assert_eq!(events(&mut stream, 2), [notice("paused", "a"), notice("paused", "b")]);
    running.prepare();
    assert_eq!(events(&mut stream, 2), [notice("resumed", "a"), notice("resumed", "b")]);
    for channel in ["a", "b"] {
        let (_, data) = events(&mut stream, 1).remove(0);
        assert!(data.contains("fanfare:subscribed") && data.contains(&format!("\"{channel}\"")), "{data}");
    }
    running.publish("b", "x");
    assert!(events(&mut stream, 1)[0].1.contains("\"x\""));
}

#[test]
fn an_event_stream_without_its_channels_hears_that_the_server_is_alive_and_ends_with_it() {
    let config = Config { idle_timeout: Duration::from_millis(100), ..config() };
    let running = start_with(config, Held::with_join_timeout(SHORT));
    let mut stream = Events::open(running.address, "/channels/a", "");
    stream.comment();
    stream.comment();
    running.handle.shutdown();
    while stream.next().is_some() {}
}

#[test]
fn a_connection_that_is_gone_while_it_waits_leaves_nothing_behind() {
    let running = start();
    let mut client = multiplex(running.address);
    say(&mut client, r#"{"event":"fanfare:subscribe","data":[{"channel":"a"}]}"#);
    running.until_wanted(&["a"]);
    let mut stream = connect(running.address);
    stream.write_all(&upgrade_request("/channels/b")).unwrap();
    running.until_wanted(&["a", "b"]);
    reset(client.get_ref().try_clone().unwrap());
    reset(stream.try_clone().unwrap());
    drop((client, stream));
    running.prepare();
    until("nobody is there", || {
        let counters = running.handle.shared.snapshot().counters;
        (counters.connections.iter().sum::<u64>() == 0).then_some(())
    });
    assert_eq!((running.subscribers("a").unwrap_or(0), running.subscribers("b").unwrap_or(0)), (0, 0));
}

#[test]
fn a_request_that_waits_while_the_server_stops_is_answered_503() {
    let running = start_with(Config { drain: Duration::from_secs(20), ..config() }, Held::default());
    let mut stream = connect(running.address);
    stream.write_all(&upgrade_request("/channels/a")).unwrap();
    running.until_wanted(&["a"]);
    running.handle.shutdown();
    assert_eq!(read_answer(&mut stream).status, 503);
}

#[test]
fn a_request_with_an_identifier_that_this_node_does_not_know_is_answered_once_the_engine_was_asked() {
    let running = start();
    running.engage("news");
    running.publish("news", "one");
    running.publish("news", "two");
    let poll = |sequence: u64| {
        let path = format!("/channels/news?since={EPOCH:x}-{sequence}&wait=0");
        format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n").into_bytes()
    };
    let mut stream = connect(running.address);
    stream.write_all(&poll(2)).unwrap();
    assert!(head(&mut stream).starts_with("HTTP/1.1 200 "), "it is known");
    assert_eq!(running.engine.wanted(), [""; 0]);
    let mut stream = connect(running.address);
    stream.write_all(&poll(3)).unwrap();
    running.until_wanted(&["news"]);
    assert!(!has_come(&stream), "it may come from a node that is ahead");
    running.prepare();
    assert!(head(&mut stream).starts_with("HTTP/1.1 200 "), "the engine was asked, and is not asked again");
    assert_eq!(running.engine.wanted(), [""; 0]);
}
