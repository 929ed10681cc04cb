//! One call of the backend, by an HTTP client that other people keep well, and what is read of its answer.
//!
//! When calls are made, and for whom, is not known here.

use std::fmt;
use std::io::{self, Read};
use std::time::{Duration, Instant};

use ureq::Agent;
use ureq::http::Response;
use ureq::typestate::WithBody;

use crate::backend::{BODY_LEN_MAX, Call, Fault, Reply, Unreadable, read, signature};
use crate::config::Backend;
use crate::server::clock::{millis, unix_ms};
use crate::server::outbound::{Trouble, Trust, settings};

/// The field with the time and the signature of a call.
const SIGNATURE_HEADER: &str = "Fanfare-Signature";

/// The longest head of an answer, in bytes. Frameworks set cookies in each.
const HEAD_LEN_MAX: usize = 32 * 1024;

/// How long a connection is kept for the next call: less than the 5 s after which servers of Node.js close it.
const KEPT_TIME_MAX: Duration = Duration::from_secs(3);

/// A client with connections to one backend.
#[derive(Debug)]
pub struct Client {
    agent: Agent,
    url: Box<str>,
    secret: Option<Box<str>>,
    /// How long a call may take, from the resolution of the name to the end of the answer.
    within: Duration,
}

/// Why a call failed. `Display` is for the log of the server.
#[derive(Debug)]
pub enum Failure {
    /// There was no answer. A call may take so long.
    Call { trouble: Trouble, within: Duration },
    /// The answer says neither yes nor no.
    Answer(Unreadable),
}

impl Client {
    /// For that many calls at once.
    pub fn new(backend: &Backend, calls_max: usize, trust: &Trust) -> Self {
        let settings = settings()
            .max_idle_connections(calls_max)
            .max_idle_connections_per_host(calls_max)
            .max_idle_age(KEPT_TIME_MAX)
            .max_response_header_size(HEAD_LEN_MAX)
            // What the client of this server has said, or nothing.
            .user_agent("")
            .accept("application/json, text/plain;q=0.9");
        Self {
            agent: trust.apply(settings, &backend.url).build().new_agent(),
            url: backend.url.as_str().into(),
            secret: backend.secret.as_deref().map(Into::into),
            within: backend.timeout,
        }
    }

    /// Asks, and waits for the answer.
    ///
    /// A call whose connection ends before the answer is made once more in the time that is left: the backend may have closed
    /// a kept connection while the call was on its way.
    ///
    /// # Errors
    /// The backend has said neither yes nor no.
    pub fn call(&self, call: &Call) -> Result<Reply, Failure> {
        let end = Instant::now() + self.within;
        match self.attempt(call, self.within) {
            Err(Failure::Call { trouble: Trouble::Io(error), .. }) if is_cut(&error) => {
                let left = end.saturating_duration_since(Instant::now());
                if left.is_zero() { Err(self.failure(Trouble::Timeout)) } else { self.attempt(call, left) }
            }
            outcome => outcome,
        }
    }

    fn attempt(&self, call: &Call, within: Duration) -> Result<Reply, Failure> {
        let body = call.body();
        let answer = self.request(call, &body, within).send(&body);
        let answer = answer.map_err(|error| self.failure(error.into()))?;
        self.read(answer)
    }

    fn request(&self, call: &Call, body: &str, within: Duration) -> ureq::RequestBuilder<WithBody> {
        let request = self.agent.post(&*self.url).config().timeout_global(Some(within)).build();
        let request = request.header("Content-Type", "application/json");
        let request = match &self.secret {
            Some(secret) => request.header(SIGNATURE_HEADER, signature(secret, unix_ms() / 1000, body)),
            None => request,
        };
        call.credentials.fields().fold(request, |request, (name, value)| request.header(name, value))
    }

    fn read(&self, answer: Response<ureq::Body>) -> Result<Reply, Failure> {
        let (head, body) = answer.into_parts();
        let media_type = head.headers.get("content-type").and_then(|value| value.to_str().ok());
        let mut bytes = Vec::new();
        let read_len_max = BODY_LEN_MAX as u64 + 1;
        body.into_reader()
            .take(read_len_max)
            .read_to_end(&mut bytes)
            .map_err(|error| self.failure(ureq::Error::from(error).into()))?;
        read(head.status.as_u16(), media_type, &bytes).map_err(Failure::Answer)
    }

    fn failure(&self, trouble: Trouble) -> Failure {
        Failure::Call { trouble, within: self.within }
    }
}

/// Whether the peer has ended the connection.
fn is_cut(error: &io::Error) -> bool {
    use io::ErrorKind::{BrokenPipe, ConnectionAborted, ConnectionReset, UnexpectedEof};
    matches!(error.kind(), BrokenPipe | ConnectionAborted | ConnectionReset | UnexpectedEof)
}

impl Failure {
    /// What clients are told.
    pub fn fault(&self) -> Fault {
        match self {
            Self::Call { trouble, within } => match trouble {
                Trouble::Timeout => Fault::Timeout(millis(*within)),
                Trouble::HostNotFound | Trouble::Io(_) => Fault::Unreachable,
                Trouble::Client(_) => Fault::Unreadable,
            },
            Self::Answer(unreadable) => unreadable.fault(),
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Call { trouble: Trouble::Timeout, within } => {
                write!(f, "it did not answer within {within:?} (--auth-timeout)")
            }
            Self::Call { trouble, .. } => trouble.fmt(f),
            Self::Answer(unreadable) => unreadable.fmt(f),
        }
    }
}
