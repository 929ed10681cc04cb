//! A client of the HTTP transports of the Pusher protocol by hand: requests, lines, and what pusher-js does with them.

use std::collections::VecDeque;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicU64, Ordering};

use serde_json::{Value, json};

use super::pusher::sign;
use super::{Answer, connect, exchange, read_answer};

/// pusher-js aborts a stream once it has read more UTF-16 units than this, and opens the next one.
pub const STREAM_UNITS_MAX: usize = 256 * 1024;

static DRAWN: AtomicU64 = AtomicU64::new(0);

/// The name of a session, as a client draws it.
#[derive(Clone)]
pub struct Session {
    address: SocketAddr,
    path: String,
}

impl Session {
    /// Of the app with the key `app-key`.
    pub fn new(address: SocketAddr) -> Self {
        Self::of(address, "app-key")
    }

    /// Of the app with this key.
    pub fn of(address: SocketAddr, key: &str) -> Self {
        let drawn = DRAWN.fetch_add(1, Ordering::Relaxed);
        Self { address, path: format!("/pusher/app/{key}/{}/s{drawn:07}", drawn % 1000) }
    }

    /// Opens a stream.
    pub fn stream(&self) -> Stream {
        self.stream_on(connect(self.address))
    }

    /// Opens a stream on this connection.
    pub fn stream_on(&self, mut socket: TcpStream) -> Stream {
        socket.write_all(&self.request("xhr_streaming", "")).unwrap();
        let mut reader = BufReader::new(socket);
        let mut head = String::new();
        while !head.ends_with("\r\n\r\n") {
            assert!(reader.read_line(&mut head).unwrap() > 0, "{head}");
        }
        Stream { reader, head, units: 0 }
    }

    /// A connection for polls.
    pub fn polls(&self) -> Polls {
        Polls { session: self.clone(), socket: connect(self.address) }
    }

    /// Posts messages, on a connection of their own: the status.
    pub fn post(&self, messages: &[Value]) -> u16 {
        self.post_on(&mut connect(self.address), messages).status
    }

    /// The same on this connection.
    pub fn post_on(&self, socket: &mut TcpStream, messages: &[Value]) -> Answer {
        let messages: Vec<_> = messages.iter().map(Value::to_string).collect();
        self.post_body(socket, &json!(messages).to_string())
    }

    /// Posts a body as it is.
    pub fn post_body(&self, socket: &mut TcpStream, body: &str) -> Answer {
        exchange(socket, &self.request("xhr_send", body))
    }

    /// A request of the session.
    pub fn request(&self, what: &str, body: &str) -> Vec<u8> {
        format!(
            "POST {}/{what}?protocol=7&client=js&version=8.6.0&t=1&n=1 HTTP/1.1\r\nHost: localhost\r\n\
             Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
            self.path,
            body.len()
        )
        .into_bytes()
    }

    /// The path of its requests for this.
    pub fn path(&self, what: &str) -> String {
        format!("{}/{what}", self.path)
    }
}

/// A stream.
pub struct Stream {
    reader: BufReader<TcpStream>,
    pub head: String,
    /// The UTF-16 units that were read of its body.
    pub units: usize,
}

impl Stream {
    /// The next line without its end; `None` at the end of the response.
    pub fn line(&mut self) -> Option<String> {
        let mut line = String::new();
        let len = self.reader.read_line(&mut line).unwrap();
        self.units += line.encode_utf16().count();
        (len > 0).then(|| line.strip_suffix('\n').expect("a line is whole").to_owned())
    }

    /// The prelude and the frame that opens a session.
    pub fn opened(mut self) -> Self {
        self.begun();
        assert_eq!(self.line().unwrap(), "o{}");
        self
    }

    /// The prelude.
    pub fn begun(&mut self) {
        assert_eq!(self.line().unwrap(), "h".repeat(2048));
    }

    /// Whether bytes have come that are not read.
    pub fn has_more(&self) -> bool {
        let socket = self.reader.get_ref();
        socket.set_nonblocking(true).unwrap();
        let has_more = !self.reader.buffer().is_empty() || socket.peek(&mut [0]).is_ok_and(|len| len > 0);
        socket.set_nonblocking(false).unwrap();
        has_more
    }

    /// All that comes until the response ends.
    pub fn rest(mut self) -> String {
        let mut rest = String::new();
        self.reader.read_to_string(&mut rest).unwrap();
        rest
    }
}

/// A connection on which a session is polled.
pub struct Polls {
    session: Session,
    pub socket: TcpStream,
}

impl Polls {
    /// Sends a poll.
    pub fn ask(&mut self) {
        let request = self.session.request("xhr", "");
        self.socket.write_all(&request).unwrap();
    }

    /// Reads the answer to a poll: its body.
    pub fn answer(&mut self) -> String {
        let answer = read_answer(&mut self.socket);
        assert_eq!(answer.status, 200, "{answer:?}");
        answer.body
    }

    /// Polls: the body of the answer.
    pub fn poll(&mut self) -> String {
        self.ask();
        self.answer()
    }
}

/// The messages in lines.
pub fn messages(lines: &str) -> Vec<Value> {
    let arrays = lines.lines().filter_map(|line| line.strip_prefix('a'));
    let texts = arrays.flat_map(|array| serde_json::from_str::<Vec<String>>(array).unwrap());
    texts.map(|text| serde_json::from_str(&text).unwrap()).collect()
}

/// A client on a stream that does what pusher-js does.
pub struct Page {
    pub session: Session,
    pub stream: Stream,
    pub socket_id: String,
    /// Streams that it has opened.
    pub streams: usize,
    received: VecDeque<Value>,
}

impl Page {
    /// Connects to the app with the key `app-key`.
    pub fn connect(address: SocketAddr) -> Self {
        let session = Session::new(address);
        let stream = session.stream().opened();
        let mut page =
            Self { session, stream, socket_id: String::new(), streams: 1, received: VecDeque::new() };
        let established = page.next();
        assert_eq!(established["event"], "pusher:connection_established");
        let data: Value = serde_json::from_str(established["data"].as_str().unwrap()).unwrap();
        page.socket_id = data["socket_id"].as_str().unwrap().to_owned();
        page
    }

    /// The next message. A stream that is full is replaced; a sign of life is answered.
    pub fn next(&mut self) -> Value {
        loop {
            if let Some(message) = self.received.pop_front() {
                return message;
            }
            if self.stream.units > STREAM_UNITS_MAX {
                // pusher-js aborts here, so nothing may be on its way.
                assert!(!self.stream.has_more(), "{} units", self.stream.units);
                self.stream = self.session.stream();
                self.streams += 1;
            }
            let line = self.stream.line().expect("the stream goes on");
            match line.as_bytes()[0] {
                b'a' => self.received.extend(messages(&line)),
                b'h' => assert_eq!(self.session.post(&[]), 204),
                _ => panic!("{line}"),
            }
        }
    }

    /// The next message, which has this event: its data, parsed if it is a string of JSON.
    pub fn expect(&mut self, event: &str) -> Value {
        let message = self.next();
        assert_eq!(message["event"], event, "{message}");
        match &message["data"] {
            Value::String(data) => serde_json::from_str(data).unwrap_or_else(|_| data.as_str().into()),
            data => data.clone(),
        }
    }

    /// Sends an event.
    pub fn send(&mut self, event: &str, data: Value) {
        assert_eq!(self.session.post(&[json!({"event": event, "data": data})]), 204);
    }

    /// Subscribes to a channel, signed as an app's server does it.
    pub fn subscribe(&mut self, channel: &str) {
        let auth = sign("app-secret", &format!("{}:{channel}", self.socket_id));
        self.send("pusher:subscribe", json!({"channel": channel, "auth": format!("app-key:{auth}")}));
        self.expect("pusher_internal:subscription_succeeded");
    }

    /// Signs in as this user, with a watchlist.
    pub fn sign_in(&mut self, user_id: &str, watchlist: &[&str]) {
        let user_data = json!({"id": user_id, "watchlist": watchlist}).to_string();
        let auth = sign("app-secret", &format!("{}::user::{user_data}", self.socket_id));
        self.send("pusher:signin", json!({"auth": format!("app-key:{auth}"), "user_data": user_data}));
        self.expect("pusher:signin_success");
    }

    /// Joins a presence channel as this user.
    pub fn join(&mut self, channel: &str, user_id: &str) {
        let channel_data = json!({"user_id": user_id}).to_string();
        let auth = sign("app-secret", &format!("{}:{channel}:{channel_data}", self.socket_id));
        let auth = format!("app-key:{auth}");
        self.send(
            "pusher:subscribe",
            json!({"channel": channel, "auth": auth, "channel_data": channel_data}),
        );
        self.expect("pusher_internal:subscription_succeeded");
    }
}
