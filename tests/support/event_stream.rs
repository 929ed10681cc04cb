//! A reader of event streams, by the standards' own rules and with none of the server's code.
//!
//! `Events` undoes chunks (RFC 9112 §7.1) and the WHATWG event stream format.

use std::collections::VecDeque;
use std::io::Read;
use std::net::{SocketAddr, TcpStream};

use super::{Answer, connect, exchange};

/// An event as an EventSource would dispatch it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    pub id: String,
    pub name: String,
    pub data: String,
}

/// An event stream that is being read.
pub struct Events {
    pub stream: TcpStream,
    pub head: String,
    /// The bytes of chunks that are not lines yet.
    text: Vec<u8>,
    ready: VecDeque<Event>,
    /// What the client would send as `Last-Event-ID`.
    pub last_id: String,
    /// The last `retry` field.
    pub retry: String,
    /// How many comments came.
    pub comments: usize,
    /// Whether an identifier without data is given as an event without name and data. An EventSource only remembers it.
    pub shows_ids: bool,
}

impl Events {
    /// Asks for a stream.
    pub fn open(address: SocketAddr, path: &str, fields: &str) -> Self {
        let stream = connect(address);
        Self::on(stream, path, fields).unwrap_or_else(|answer| panic!("{answer:?}"))
    }

    /// Asks for a stream on this connection.
    pub fn on(mut stream: TcpStream, path: &str, fields: &str) -> Result<Self, Answer> {
        let request =
            format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nAccept: text/event-stream\r\n{fields}\r\n");
        let answer = exchange(&mut stream, request.as_bytes());
        if answer.status != 200 || !answer.head.contains("\r\nTransfer-Encoding: chunked\r\n") {
            return Err(answer);
        }
        Ok(Self {
            stream,
            head: answer.head,
            text: Vec::new(),
            ready: VecDeque::new(),
            last_id: String::new(),
            retry: String::new(),
            comments: 0,
            shows_ids: false,
        })
    }

    /// The next event; `None` at the end of the stream, which must be its last chunk.
    pub fn next(&mut self) -> Option<Event> {
        loop {
            if let Some(event) = self.ready.pop_front() {
                return Some(event);
            }
            if !self.read_chunk() {
                return None;
            }
        }
    }

    /// Waits for the first block, which says where the stream begins.
    pub fn begun(mut self) -> Self {
        while self.last_id.is_empty() {
            assert!(self.read_chunk(), "the stream ended before it began");
        }
        self
    }

    /// Waits for a comment.
    pub fn comment(&mut self) {
        let before = self.comments;
        while self.comments == before {
            assert!(self.read_chunk(), "the stream ended");
        }
    }

    /// Reads one chunk. False at the last.
    fn read_chunk(&mut self) -> bool {
        let len = usize::from_str_radix(&self.line(), 16).unwrap();
        let mut chunk = vec![0; len];
        self.stream.read_exact(&mut chunk).unwrap();
        assert_eq!(self.line(), "", "a chunk ends in CRLF");
        self.text.extend_from_slice(&chunk);
        self.dispatch();
        len > 0
    }

    fn line(&mut self) -> String {
        let mut line = Vec::new();
        while !line.ends_with(b"\r\n") {
            let mut byte = [0];
            self.stream.read_exact(&mut byte).unwrap();
            line.push(byte[0]);
        }
        line.truncate(line.len() - 2);
        String::from_utf8(line).unwrap()
    }

    /// Takes whole blocks. The server ends lines with LF; a CR would be a line's end too, and is not expected.
    fn dispatch(&mut self) {
        while let Some(end) = self.text.windows(2).position(|pair| pair == b"\n\n") {
            let block: Vec<u8> = self.text.drain(..end + 2).collect();
            let block = String::from_utf8(block).unwrap();
            assert!(!block.contains('\r'), "{block:?}");
            let (mut name, mut data, mut has_id) = ("message".to_owned(), None::<String>, false);
            for line in block.lines().filter(|line| !line.is_empty()) {
                let (field, value) = line.split_once(':').unwrap_or((line, ""));
                let value = value.strip_prefix(' ').unwrap_or(value);
                match field {
                    "" => self.comments += 1,
                    "id" => (self.last_id, has_id) = (value.into(), true),
                    "retry" => self.retry = value.into(),
                    "event" => name = value.into(),
                    "data" => match &mut data {
                        None => data = Some(value.into()),
                        Some(data) => {
                            data.push('\n');
                            data.push_str(value);
                        }
                    },
                    other => panic!("no such field: {other:?}"),
                }
            }
            if let Some(data) = data {
                self.ready.push_back(Event { id: self.last_id.clone(), name, data });
            } else if has_id && self.shows_ids {
                let (name, data) = (String::new(), String::new());
                self.ready.push_back(Event { id: self.last_id.clone(), name, data });
            }
        }
    }
}
