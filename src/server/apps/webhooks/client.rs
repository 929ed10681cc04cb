//! One request to a receiver, by an HTTP client that other people keep well.
//!
//! What is sent, when, and whether again is not known here.

use std::fmt;
use std::io::{self, Read};
use std::time::Duration;

use ureq::Agent;

use crate::pusher::webhook::{CONTENT_TYPE, KEY_HEADER, SIGNATURE_HEADER, signature};
use crate::server::outbound::Trust;
use crate::server::outbound::trouble::Words;

/// How long a connection may take to be established.
const CONNECT_TIME_MAX: Duration = Duration::from_secs(5);

/// How long a request may take from the resolution of the name to the end of the answer.
pub const ATTEMPT_TIME_MAX: Duration = Duration::from_secs(10);

/// How much of an answer is read so that its connection can be used again. Nothing is expected in it.
const ANSWER_LEN_MAX: u64 = 16 * 1024;

/// How long a connection is kept for the next request: less than the 5 s after which servers of Node.js close it.
const IDLE_TIME_MAX: Duration = Duration::from_secs(3);

/// What receivers see as the sender.
const USER_AGENT: &str = concat!("fanfare/", env!("CARGO_PKG_VERSION"));

/// The public key of an app, and the secret that signs its webhooks.
#[derive(Debug, PartialEq, Eq)]
pub struct Credentials {
    /// The app's key.
    pub key: String,
    /// Its first secret.
    pub secret: String,
}

/// A client with one connection to one receiver. It asks no proxy: a receiver is where its URL says.
#[derive(Debug)]
pub struct Client {
    agent: Agent,
}

/// Why an attempt failed.
#[derive(Debug)]
pub enum Failure {
    /// The receiver answered another status than 2xx. A redirection is not followed: it is one of these.
    Status(u16),
    /// There was no answer in time.
    Timeout,
    /// There is no such host.
    HostNotFound,
    /// The system says why.
    Io(io::Error),
    /// The client says why: the answer is not HTTP, or too long.
    Client(Box<ureq::Error>),
}

impl Client {
    /// For a receiver at this URL.
    pub fn new(url: &str, trust: &Trust) -> Self {
        let settings = Agent::config_builder()
            .http_status_as_error(false)
            .max_redirects(0)
            .max_redirects_will_error(false)
            .timeout_connect(Some(CONNECT_TIME_MAX))
            .max_idle_connections(1)
            .max_idle_connections_per_host(1)
            .max_idle_age(IDLE_TIME_MAX)
            .max_response_header_size(ANSWER_LEN_MAX as usize)
            .user_agent(USER_AGENT)
            .proxy(None);
        Self { agent: trust.apply(settings, url).build().new_agent() }
    }

    /// Posts a signed body, and waits for the answer.
    ///
    /// # Errors
    /// The receiver has not taken it, as far as is known.
    pub fn post(
        &self,
        url: &str,
        credentials: &Credentials,
        body: &str,
        within: Duration,
    ) -> Result<(), Failure> {
        let request = self.agent.post(url).config().timeout_global(Some(within)).build();
        let answer = request
            .header("Content-Type", CONTENT_TYPE)
            .header(KEY_HEADER, &credentials.key)
            .header(SIGNATURE_HEADER, signature(&credentials.secret, body))
            .send(body)?;
        let (head, answer) = answer.into_parts();
        if head.status.is_success() {
            // It is taken, whatever else the answer says. A connection whose answer was not read to its end is closed.
            let _ = io::copy(&mut answer.into_reader().take(ANSWER_LEN_MAX), &mut io::sink());
            return Ok(());
        }
        Err(Failure::Status(head.status.as_u16()))
    }
}

impl From<ureq::Error> for Failure {
    fn from(error: ureq::Error) -> Self {
        match error {
            ureq::Error::Timeout(_) => Self::Timeout,
            ureq::Error::HostNotFound => Self::HostNotFound,
            ureq::Error::Io(error) => Self::Io(error),
            other => Self::Client(Box::new(other)),
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Status(status) => write!(f, "it answered {status}, and 2xx means taken"),
            Self::Timeout => f.write_str("it did not answer in time"),
            Self::HostNotFound => f.write_str("its host is not found"),
            Self::Io(error) => Words(error).fmt(f),
            Self::Client(error) => error.fmt(f),
        }
    }
}
