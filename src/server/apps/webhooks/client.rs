//! One request to a receiver, by an HTTP client that other people keep well.
//!
//! What is sent, when, and whether again is not known here.

use std::fmt;
use std::io::{self, Read};
use std::time::Duration;

use ureq::Agent;

use crate::pusher::webhook::{CONTENT_TYPE, KEY_HEADER, SIGNATURE_HEADER, signature};
use crate::server::outbound::{Trouble, Trust, USER_AGENT, settings};

/// How long a connection may take to be established.
const CONNECT_TIME_MAX: Duration = Duration::from_secs(5);

/// How long a request may take from the resolution of the name to the end of the answer.
pub const ATTEMPT_TIME_MAX: Duration = Duration::from_secs(10);

/// How much of an answer is read so that its connection can be used again. Nothing is expected in it.
const ANSWER_LEN_MAX: u64 = 16 * 1024;

/// How long a connection is kept for the next request: less than the 5 s after which servers of Node.js close it.
const IDLE_TIME_MAX: Duration = Duration::from_secs(3);

/// The public key of an app, and the secret that signs its webhooks.
#[derive(Debug, PartialEq, Eq)]
pub struct Credentials {
    /// The app's key.
    pub key: String,
    /// Its first secret.
    pub secret: String,
}

/// A client with one connection to one receiver.
#[derive(Debug)]
pub struct Client {
    agent: Agent,
}

/// Why an attempt failed.
#[derive(Debug)]
pub enum Failure {
    /// The receiver answered another status than 2xx. A redirection is not followed: it is one of these.
    Status(u16),
    /// There was no answer.
    Call(Trouble),
}

impl Client {
    /// For a receiver at this URL.
    pub fn new(url: &str, trust: &Trust) -> Self {
        let settings = settings()
            .timeout_connect(Some(CONNECT_TIME_MAX))
            .max_idle_connections(1)
            .max_idle_connections_per_host(1)
            .max_idle_age(IDLE_TIME_MAX)
            .max_response_header_size(ANSWER_LEN_MAX as usize)
            .user_agent(USER_AGENT);
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
        Self::Call(error.into())
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Status(status) => write!(f, "it answered {status}, and 2xx means taken"),
            Self::Call(trouble) => trouble.fmt(f),
        }
    }
}
