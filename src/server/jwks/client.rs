//! One fetch of a JWK set, by an HTTP client that other people keep well.
//!
//! When it is made is not known here.

use std::fmt;
use std::io::Read;
use std::time::Duration;

use ureq::Agent;

use crate::server::outbound::{Trouble, Trust, USER_AGENT, settings};
use crate::token::{KeyFileError, KeyFiles};

/// How long a fetch may take, from the resolution of the name to the end of the answer. The start of the server waits for the
/// first.
const TIME_MAX: Duration = Duration::from_secs(5);

/// The longest set: the most keys there may be, each of RSA with its certificate, have a quarter of it.
const LEN_MAX: u64 = 1024 * 1024;

/// A client for one URL.
#[derive(Debug)]
pub struct Client {
    agent: Agent,
    url: Box<str>,
    place: Box<str>,
}

/// Why there are no keys.
#[derive(Debug)]
pub enum Failure {
    /// It answered another status than 200.
    Status(u16),
    /// There was no answer.
    Call(Trouble),
    /// The answer is longer than the bound.
    TooLong,
    /// The answer is no set of keys.
    Keys(KeyFileError),
}

impl Client {
    pub fn new(url: &str, trust: &Trust) -> Self {
        let settings = settings()
            .timeout_global(Some(TIME_MAX))
            // The next fetch is minutes away.
            .max_idle_connections(0)
            .user_agent(USER_AGENT)
            .accept("application/jwk-set+json, application/json");
        let place = url.split_once('?').map_or(url, |(place, _)| place);
        Self { agent: trust.apply(settings, url).build().new_agent(), url: url.into(), place: place.into() }
    }

    /// The URL without its query, which may hold a password.
    pub fn place(&self) -> &str {
        &self.place
    }

    /// Fetches the keys.
    ///
    /// # Errors
    /// There are none, or they are no good.
    pub fn fetch(&self) -> Result<KeyFiles, Failure> {
        let answer = self.agent.get(&*self.url).call()?;
        let (head, body) = answer.into_parts();
        if head.status.as_u16() != 200 {
            return Err(Failure::Status(head.status.as_u16()));
        }
        let mut bytes = Vec::new();
        body.into_reader().take(LEN_MAX + 1).read_to_end(&mut bytes).map_err(ureq::Error::from)?;
        if bytes.len() as u64 > LEN_MAX {
            return Err(Failure::TooLong);
        }
        KeyFiles::of_url(&self.place, &bytes).map_err(Failure::Keys)
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
            Self::Status(status @ 300..=399) => {
                write!(f, "it answers {status}: give the URL that it redirects to")
            }
            Self::Status(status) => write!(f, "it answers {status}"),
            Self::Call(Trouble::Timeout) => write!(f, "it does not answer within {TIME_MAX:?}"),
            Self::Call(trouble) => trouble.fmt(f),
            Self::TooLong => write!(f, "the answer is longer than {LEN_MAX} bytes"),
            Self::Keys(error) => match &error.kid {
                Some(kid) => write!(f, "key {kid:?}: {}", error.fault),
                None => error.fault.fmt(f),
            },
        }
    }
}
