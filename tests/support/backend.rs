//! A backend that is asked who may do what: a listener on a free port that does with each request what a test wants.
//!
//! It is used by the unit tests of `src/server/hook` and `jwks` as well, so it needs nothing of ours.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread;
use std::time::Duration;

/// A backend that hears nothing for this long has found a bug.
const WAIT_MAX: Duration = Duration::from_secs(20);

/// Between two bytes of an answer that drips.
const DRIP_TIME: Duration = Duration::from_millis(20);

/// A request as it came.
#[derive(Clone, Debug)]
pub struct Got {
    /// The number of the connection, from 0.
    pub connection: usize,
    /// The request line and the fields.
    pub head: String,
    /// The body.
    pub body: String,
}

impl Got {
    /// The value of a field, if it came once.
    pub fn field(&self, name: &str) -> Option<&str> {
        let fields = self.head.lines().skip(1).filter_map(|line| line.split_once(": "));
        let mut named = fields.filter(|(found, _)| found.eq_ignore_ascii_case(name)).map(|(_, value)| value);
        named.next().filter(|_| named.next().is_none())
    }
}

/// What is done with a request.
#[derive(Clone, Debug)]
pub enum Act {
    /// This is answered.
    Answer(String),
    /// This is answered, a byte at a time.
    Drip(String),
    /// Nothing; the connection stays open.
    Hang,
    /// The connection is closed.
    Cut,
}

/// A running backend. Its threads end when their connections do, the one that accepts with the process.
#[derive(Debug)]
pub struct Stub {
    pub address: SocketAddr,
    requests: Receiver<Got>,
}

/// A 200 with this JSON.
pub fn json(body: &str) -> Act {
    let len = body.len();
    Act::Answer(format!(
        "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {len}\r\n\r\n{body}"
    ))
}

/// An answer of this status with a text.
pub fn text(status: u16, body: &str) -> Act {
    let len = body.len();
    Act::Answer(format!(
        "HTTP/1.1 {status} x\r\nContent-Type: text/plain\r\nContent-Length: {len}\r\n\r\n{body}"
    ))
}

impl Stub {
    /// Does with each request what `act` says.
    pub fn new(act: impl Fn(&Got) -> Act + Send + Sync + 'static) -> Self {
        Self::serving(TcpListener::bind("127.0.0.1:0").unwrap(), act)
    }

    /// The same on a listener that there is.
    pub fn serving(listener: TcpListener, act: impl Fn(&Got) -> Act + Send + Sync + 'static) -> Self {
        let address = listener.local_addr().unwrap();
        let act: Arc<dyn Fn(&Got) -> Act + Send + Sync> = Arc::new(act);
        let (got, requests) = channel();
        thread::spawn(move || {
            for (connection, stream) in listener.incoming().enumerate() {
                let (act, got) = (Arc::clone(&act), got.clone());
                let stream = stream.unwrap();
                thread::spawn(move || serve(stream, connection, &*act, &got));
            }
        });
        Self { address, requests }
    }

    pub fn url(&self) -> String {
        format!("http://{}/auth?token=x", self.address)
    }

    /// The next request.
    pub fn next(&self) -> Got {
        self.requests.recv_timeout(WAIT_MAX).expect("the backend gets a request")
    }

    /// The number of requests that have come and were not taken by [`Stub::next`], all taken.
    pub fn count(&self) -> usize {
        self.requests.try_iter().count()
    }

    /// Whether there is no request for that long.
    pub fn is_quiet_for(&self, time: Duration) -> bool {
        matches!(self.requests.recv_timeout(time), Err(RecvTimeoutError::Timeout))
    }
}

/// Reads requests until the connection ends.
fn serve(stream: TcpStream, connection: usize, act: &dyn Fn(&Got) -> Act, got: &Sender<Got>) {
    let mut reader = BufReader::new(stream.try_clone().unwrap());
    let mut writer = stream;
    loop {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            if reader.read_until(b'\n', &mut head).is_ok_and(|len| len > 0) {
                continue;
            }
            return;
        }
        let head = String::from_utf8_lossy(&head).into_owned();
        let mut request = Got { connection, head, body: String::new() };
        let len = request.field("Content-Length").map_or(0, |len| len.parse().unwrap());
        let mut body = vec![0; len];
        reader.read_exact(&mut body).unwrap();
        request.body = String::from_utf8(body).unwrap();
        let what = act(&request);
        // A test that has seen enough does not listen any more.
        let _ = got.send(request);
        let written = match what {
            Act::Answer(answer) => writer.write_all(answer.as_bytes()),
            Act::Drip(answer) => drip(&mut writer, answer.as_bytes()),
            Act::Hang => Ok(()),
            Act::Cut => return,
        };
        if written.is_err() {
            return;
        }
    }
}

fn drip(writer: &mut TcpStream, bytes: &[u8]) -> std::io::Result<()> {
    let (_open, never) = channel::<()>();
    for byte in bytes.chunks(1) {
        writer.write_all(byte)?;
        let _ = never.recv_timeout(DRIP_TIME);
    }
    Ok(())
}
