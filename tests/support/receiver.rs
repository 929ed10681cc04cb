//! A receiver of webhooks: a listener on a free port that answers as it is told, and keeps what it got.
//!
//! It is used by the unit tests of `src/server/apps/webhooks` as well, so it needs nothing of ours.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

/// A receiver that hears nothing for this long has found a bug.
const WAIT_MAX: Duration = Duration::from_secs(20);

/// A request as it came.
#[derive(Debug)]
pub struct Got {
    /// The number of the connection, from 0.
    pub connection: usize,
    /// The request line and the fields.
    pub head: String,
    /// The body.
    pub body: String,
}

/// The answers that are left, the next one last. Without any, nothing is sent, and the connection stays open.
#[derive(Debug, Default)]
struct Answers(Mutex<Vec<Vec<u8>>>);

/// A running receiver. Its threads end when their connections do, the one that accepts with the process.
#[derive(Debug)]
pub struct Stub {
    pub address: SocketAddr,
    requests: Receiver<Got>,
}

pub const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}";

impl Stub {
    /// Gives these answers, one after the other, then none.
    pub fn answering(answers: &[&str]) -> Self {
        Self::serving(TcpListener::bind("127.0.0.1:0").unwrap(), answers)
    }

    /// The same on a listener that there is.
    pub fn serving(listener: TcpListener, answers: &[&str]) -> Self {
        let address = listener.local_addr().unwrap();
        let answers = answers.iter().rev().map(|answer| answer.as_bytes().to_vec()).collect();
        let answers = Arc::new(Answers(Mutex::new(answers)));
        let (got, requests) = channel();
        thread::spawn(move || {
            for (connection, stream) in listener.incoming().enumerate() {
                let (answers, got) = (Arc::clone(&answers), got.clone());
                let stream = stream.unwrap();
                thread::spawn(move || serve(stream, connection, &answers, &got));
            }
        });
        Self { address, requests }
    }

    pub fn url(&self) -> String {
        format!("http://{}/hook?token=x", self.address)
    }

    /// The next request.
    pub fn next(&self) -> Got {
        self.requests.recv_timeout(WAIT_MAX).expect("the receiver gets a request")
    }

    /// Whether there is no request for that long.
    pub fn is_quiet_for(&self, time: Duration) -> bool {
        matches!(self.requests.recv_timeout(time), Err(RecvTimeoutError::Timeout))
    }
}

impl Got {
    /// The value of a field, if it came once.
    pub fn field(&self, name: &str) -> Option<&str> {
        let fields = self.head.lines().skip(1).filter_map(|line| line.split_once(": "));
        let mut named = fields.filter(|(found, _)| found.eq_ignore_ascii_case(name)).map(|(_, value)| value);
        named.next().filter(|_| named.next().is_none())
    }

    /// `time_ms` and the events.
    pub fn events(&self) -> (u64, Vec<String>) {
        let body: serde_json::Value = serde_json::from_str(&self.body).unwrap();
        let events = body["events"].as_array().unwrap().iter().map(|event| {
            let last = ["data", "subscription_count", "user_id", "channel"].map(|key| &event[key]);
            let last = last.into_iter().find(|value| !value.is_null()).unwrap();
            format!("{} {last}", event["name"].as_str().unwrap()).replace('"', "")
        });
        (body["time_ms"].as_u64().unwrap(), events.collect())
    }
}

/// Reads requests until the connection ends.
fn serve(stream: TcpStream, connection: usize, answers: &Answers, got: &Sender<Got>) {
    let mut reader = BufReader::new(stream.try_clone().unwrap());
    let mut writer = stream;
    loop {
        let mut head = String::new();
        while !head.ends_with("\r\n\r\n") {
            if reader.read_line(&mut head).is_ok_and(|len| len > 0) {
                continue;
            }
            return;
        }
        let mut request = Got { connection, head, body: String::new() };
        let len = request.field("Content-Length").unwrap().parse().unwrap();
        let mut body = vec![0; len];
        reader.read_exact(&mut body).unwrap();
        request.body = String::from_utf8(body).unwrap();
        let answer = answers.0.lock().unwrap().pop();
        // A test that has seen enough does not listen any more.
        let _ = got.send(request);
        if let Some(answer) = answer
            && writer.write_all(&answer).is_err()
        {
            return;
        }
    }
}
