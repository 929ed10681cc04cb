//! What subscribers are told, over real sockets, when an engine says what happens to a channel: each transport, in its order
//! among the publications.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use tungstenite::client::IntoClientRequest;
use tungstenite::{Message, WebSocket};

use crate::config::Config;
use crate::hub::{ChannelName, Gap, PublicationId};
use crate::server::broker::Broker;
use crate::server::broker::answer::{Publishing, Waiter};
use crate::server::broker::engine::Engine;
use crate::server::broker::engine::held::{EPOCH, Held};
use crate::server::clock::Millis;
use crate::server::{Draft, ENVELOPE_SUBPROTOCOL, Handle, Server};

const WAIT_MAX: Duration = Duration::from_secs(20);

/// After the gap that [`Running::happen`] tells.
const AFTER_GAP: PublicationId = PublicationId { epoch: EPOCH + 1, sequence: 40 };

struct Running {
    engine: Arc<Held>,
    handle: Handle,
    address: SocketAddr,
    serving: JoinHandle<io::Result<()>>,
}

/// A server whose engine has begun the channels `news` and `chat`, and engaged them.
fn start() -> Running {
    let engine = Arc::new(Held::default());
    let config = Config {
        listen: vec!["127.0.0.1:0".parse().unwrap()],
        apps: vec![Config::development_app()],
        ..Config::default()
    };
    let server = Server::bind_with(config, Engine::Remote(engine.clone()), None).unwrap();
    let (address, handle) = (server.local_addrs()[0], server.handle());
    for channel in ["news", "chat"] {
        engine.begin(&handle.shared.broker, &name(channel), Millis(0));
        handle.shared.broker.engage(&name(channel));
    }
    let serving = thread::spawn(|| server.run());
    Running { engine, handle, address, serving }
}

fn name(channel: &str) -> ChannelName {
    ChannelName::new(channel).unwrap()
}

impl Running {
    fn broker(&self) -> &Broker {
        &self.handle.shared.broker
    }

    fn publish(&self, text: &str) {
        let draft = Draft::text("news", text).unwrap();
        assert_eq!(self.broker().publish(draft, Waiter::Nobody, Millis(0)), Publishing::Awaited);
        self.engine.release(self.broker(), self.handle.shared.clock.now());
    }

    fn gap(&self) {
        self.engine.gap(self.broker(), &name("news"), Gap { missed: None }, AFTER_GAP, Millis(0));
    }

    /// A publication, a pause, a gap into another epoch, another publication, the end of the pause.
    fn happen(&self) {
        self.publish("x");
        self.broker().pause(&name("news"));
        self.gap();
        self.publish("y");
        self.broker().resume(&name("news"));
    }

    fn until_subscribed(&self, channel: &str) {
        let start = Instant::now();
        while self.handle.subscribers(&name(channel)) == 0 {
            assert!(start.elapsed() < WAIT_MAX, "nobody subscribes to {channel}");
            thread::yield_now();
        }
    }

    fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(self.address).unwrap();
        stream.set_read_timeout(Some(WAIT_MAX)).unwrap();
        stream
    }

    fn websocket(&self, path: &str, protocol: Option<&str>) -> WebSocket<TcpStream> {
        let mut request = format!("ws://{}{path}", self.address).into_client_request().unwrap();
        if let Some(protocol) = protocol {
            request.headers_mut().insert("Sec-WebSocket-Protocol", protocol.parse().unwrap());
        }
        tungstenite::client(request, self.connect()).unwrap().0
    }

    fn get(&self, path: &str, fields: &str) -> TcpStream {
        let mut stream = self.connect();
        write!(stream, "GET {path} HTTP/1.1\r\nHost: localhost\r\n{fields}\r\n").unwrap();
        stream
    }

    /// A poll that waits, which is answered when `happen` has been called.
    fn polled(&self, path: &str, happen: impl FnOnce(&Self)) -> String {
        let mut stream = self.get(path, "Connection: close\r\n");
        if path.contains("wait=2") {
            self.until_subscribed("news");
        }
        happen(self);
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        assert!(head.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
        body.trim_end().to_owned()
    }

    fn stop(self) {
        self.handle.shutdown_now();
        self.serving.join().unwrap().unwrap();
    }
}

fn texts(client: &mut WebSocket<TcpStream>, count: usize) -> Vec<String> {
    let next = |_| match client.read().unwrap() {
        Message::Text(text) => text.to_string(),
        other => panic!("{other:?}"),
    };
    (0..count).map(next).collect()
}

/// What a stream says up to the text that ends so, without the head and the sizes of chunks.
fn streamed(stream: &mut TcpStream, end: &str) -> String {
    let (mut text, mut byte) = (String::new(), [0]);
    while !text.ends_with(end) {
        assert_eq!(stream.read(&mut byte).unwrap(), 1, "it ended after {text:?}");
        text.push(char::from(byte[0]));
    }
    let (_, body) = text.split_once("\r\n\r\n").unwrap();
    body.split("\r\n").skip(1).step_by(2).collect()
}

#[test]
fn a_websocket_of_envelopes_hears_of_a_pause_a_gap_and_the_end_where_they_are_among_the_publications() {
    let running = start();
    let mut client = running.websocket("/channels/news", Some(ENVELOPE_SUBPROTOCOL));
    running.happen();
    let expected = [
        r#"{"id":"e-1","data":"x"}"#,
        r#"{"event":"fanfare:paused","data":{}}"#,
        r#"{"event":"fanfare:gap","data":{"missed":null,"since":"f-40","idle":30000}}"#,
        r#"{"id":"f-41","data":"y"}"#,
        r#"{"event":"fanfare:resumed","data":{}}"#,
    ];
    assert_eq!(texts(&mut client, 5), expected);
    running.stop();
}

#[test]
fn a_websocket_without_envelopes_and_a_pusher_client_are_sent_publications_and_nothing_else() {
    let running = start();
    let mut plain = running.websocket("/channels/news", None);
    let mut pusher = running.websocket("/app/app-key?protocol=7", None);
    assert!(texts(&mut pusher, 1)[0].contains("connection_established"));
    let subscribe = r#"{"event":"pusher:subscribe","data":{"channel":"news"}}"#;
    pusher.send(Message::text(subscribe)).unwrap();
    assert!(texts(&mut pusher, 1)[0].contains("subscription_succeeded"));
    running.happen();
    running.publish("z");
    assert_eq!(texts(&mut plain, 3), ["x", "y", "z"]);
    for (text, data) in texts(&mut pusher, 3).iter().zip(["x", "y", "z"]) {
        assert_eq!(*text, format!(r#"{{"event":"message","channel":"news","data":"{data}"}}"#));
    }
    running.stop();
}

#[test]
fn an_event_stream_hears_the_same_and_has_the_new_position_with_the_gap() {
    let running = start();
    let mut plain = running.get("/channels/news", "Accept: text/event-stream\r\n");
    running.until_subscribed("news");
    let mut enveloped =
        running.get("/channels/news?protocol=fanfare.v1.json&since=", "Accept: text/event-stream\r\n");
    streamed(&mut enveloped, "\"idle\":30000}}\n\n\r\n");
    running.happen();
    let expected = concat!(
        "retry: 2000\nid: e-0\n\n",
        "id: e-1\ndata: x\n\n",
        "event: fanfare:paused\ndata: {}\n\n",
        "retry: 2000\nid: f-40\nevent: fanfare:gap\ndata: {\"missed\":null,\"since\":\"f-40\"}\n\n",
        "id: f-41\ndata: y\n\n",
        "event: fanfare:resumed\ndata: {}\n\n",
    );
    assert_eq!(streamed(&mut plain, "resumed\ndata: {}\n\n\r\n"), expected);
    let mut text = String::new();
    while !text.ends_with("resumed\",\"data\":{}}\n\n\r\n") {
        let mut byte = [0];
        assert_eq!(enveloped.read(&mut byte).unwrap(), 1, "it ended after {text:?}");
        text.push(char::from(byte[0]));
    }
    let blocks: Vec<_> =
        text.lines().filter(|line| line.starts_with("id: ") || line.starts_with("data: ")).collect();
    let expected = [
        "id: e-1",
        r#"data: {"id":"e-1","data":"x"}"#,
        r#"data: {"event":"fanfare:paused","data":{}}"#,
        "id: f-40",
        r#"data: {"event":"fanfare:gap","data":{"missed":null,"since":"f-40","idle":30000}}"#,
        "id: f-41",
        r#"data: {"id":"f-41","data":"y"}"#,
        r#"data: {"event":"fanfare:resumed","data":{}}"#,
    ];
    assert_eq!(blocks, expected);
    running.stop();
}

#[test]
fn a_poll_that_waits_is_answered_with_a_gap_and_goes_on_after_it_and_is_not_woken_by_a_pause() {
    let running = start();
    running.publish("x");
    let answer = running.polled("/channels/news?since=e-1&wait=20", |running| {
        running.broker().pause(&name("news"));
        running.broker().resume(&name("news"));
        running.gap();
    });
    assert_eq!(answer, r#"{"gap":{"missed":null},"messages":[],"next":"f-40"}"#);
    let answer = running.polled("/channels/news?since=f-40&wait=20", |running| running.publish("y"));
    assert_eq!(answer, r#"{"messages":[{"id":"f-41","data":"y"}],"next":"f-41"}"#);
    // Its reader may come from a node that has more: the engine is asked.
    let answer = running.polled("/channels/news?since=e-1&wait=0", |running| {
        let start = Instant::now();
        while running.engine.wanted().is_empty() {
            assert!(start.elapsed() < WAIT_MAX, "the engine is not asked");
            thread::yield_now();
        }
        running.engine.prepare(running.broker());
    });
    assert_eq!(answer, r#"{"gap":{"missed":null},"messages":[{"id":"f-41","data":"y"}],"next":"f-41"}"#);
    running.stop();
}

#[test]
fn a_poll_of_several_channels_is_answered_with_the_gap_of_one() {
    let running = start();
    running.publish("x");
    let path = "/channels?channel=news&since=e-1&channel=chat&since=e-0&wait=20";
    let answer = running.polled(path, Running::gap);
    assert_eq!(
        answer,
        r#"{"messages":[],"next":{"news":"f-40","chat":"e-0"},"gap":{"news":{"missed":null}}}"#
    );
    running.stop();
}

#[test]
fn a_client_of_several_channels_hears_the_same_with_the_name_and_is_told_its_new_position() {
    let running = start();
    let mut client = running.websocket("/channels", Some(ENVELOPE_SUBPROTOCOL));
    client
        .send(Message::text(
            r#"{"event":"fanfare:subscribe","data":[{"channel":"news"},{"channel":"chat"}]}"#,
        ))
        .unwrap();
    assert_eq!(
        texts(&mut client, 2)[1],
        r#"{"event":"fanfare:subscribed","channel":"chat","data":{"since":"e-0"}}"#
    );
    let mut stream = running.get("/channels?channel=news&channel=chat", "Accept: text/event-stream\r\n");
    let begun = streamed(&mut stream, "\"chat\",\"data\":{\"since\":\"e-0\"}}\n\n\r\n");
    assert!(begun.starts_with("retry: 2000\nid: e-0,e-0\n"), "{begun}");
    running.happen();
    let expected = [
        r#"{"channel":"news","id":"e-1","data":"x"}"#,
        r#"{"event":"fanfare:paused","channel":"news","data":{}}"#,
        r#"{"event":"fanfare:gap","channel":"news","data":{"missed":null,"since":"f-40"}}"#,
        r#"{"channel":"news","id":"f-41","data":"y"}"#,
        r#"{"event":"fanfare:resumed","channel":"news","data":{}}"#,
    ];
    assert_eq!(texts(&mut client, 5), expected);
    let mut text = String::new();
    while !(text.contains("fanfare:resumed") && text.ends_with("id: f-41,e-0\n\n\r\n")) {
        let mut byte = [0];
        assert_eq!(stream.read(&mut byte).unwrap(), 1, "it ended after {text:?}");
        text.push(char::from(byte[0]));
    }
    let data: Vec<_> = text.lines().filter_map(|line| line.strip_prefix("data: ")).collect();
    assert_eq!(data, expected);
    running.stop();
}

#[test]
fn who_joins_a_channel_that_is_paused_is_told_so_before_what_it_missed() {
    let running = start();
    running.publish("x");
    running.broker().pause(&name("news"));
    let mut one = running.websocket("/channels/news?since=e-0", Some(ENVELOPE_SUBPROTOCOL));
    let mut many = running.websocket("/channels", Some(ENVELOPE_SUBPROTOCOL));
    let subscribe = r#"{"event":"fanfare:subscribe","data":[{"channel":"news","since":"e-0"}]}"#;
    many.send(Message::text(subscribe)).unwrap();
    let mut plain = running.get("/channels/news?since=e-0", "Accept: text/event-stream\r\n");
    let mut named = running.get("/channels?channel=news&since=e-0", "Accept: text/event-stream\r\n");
    let has_joined = [texts(&mut one, 3), texts(&mut many, 3)];
    let streams = [streamed(&mut plain, "data: x\n\n\r\n"), streamed(&mut named, "id: e-1\n\n\r\n")];
    running.broker().resume(&name("news"));
    let expected = [
        r#"{"event":"fanfare:subscribed","data":{"since":"e-0","idle":30000}}"#,
        r#"{"event":"fanfare:paused","data":{}}"#,
        r#"{"id":"e-1","data":"x"}"#,
    ];
    assert_eq!(has_joined[0], expected);
    assert_eq!(texts(&mut one, 1), [r#"{"event":"fanfare:resumed","data":{}}"#]);
    let expected = [
        r#"{"event":"fanfare:subscribed","channel":"news","data":{"since":"e-0"}}"#,
        r#"{"event":"fanfare:paused","channel":"news","data":{}}"#,
        r#"{"channel":"news","id":"e-1","data":"x"}"#,
    ];
    assert_eq!(has_joined[1], expected);
    assert_eq!(texts(&mut many, 1), [r#"{"event":"fanfare:resumed","channel":"news","data":{}}"#]);
    assert_eq!(streams[0], "retry: 2000\nid: e-0\n\nevent: fanfare:paused\ndata: {}\n\nid: e-1\ndata: x\n\n");
    let data: Vec<_> = streams[1].lines().filter_map(|line| line.strip_prefix("data: ")).collect();
    assert_eq!(data, expected);
    let mut later = running.websocket("/channels/news?since=", Some(ENVELOPE_SUBPROTOCOL));
    running.publish("y");
    assert_eq!(texts(&mut later, 2)[1], r#"{"id":"e-2","data":"y"}"#, "it is not paused any more");
    running.stop();
}
