//! Who a client is, by the proof that it gave: a key, a token, or what convinced its backend.
//!
//! What it may do is decided by `rules`, anew after each reload.

use std::sync::Arc;

use crate::backend::{Fault, Person};
use crate::config::AccessKey;
use crate::server::access::refusal::Refusal;
use crate::server::clock::Millis;
use crate::token::{Error, Expiry, KeyId, Token};

/// Who a client is. It does not change: who brings another proof gets another identity.
#[derive(Debug)]
pub struct Identity(Proof);

#[derive(Debug)]
enum Proof {
    /// The key as it was when it was shown: its rights are those of the key of this digest at present.
    Key(Arc<AccessKey>),
    Token {
        token: Arc<Token>,
        /// When the connection was given it, in seconds since 1970: its stay counts from then.
        given_s: u64,
    },
    /// The backend knows who it is. What it may do is asked there.
    Backend(Arc<Person>),
    /// Nobody any more: what it was let in by is good no more, and it is closed at this time.
    Ended { refusal: Refusal, close_at: Millis },
}

impl Identity {
    /// The holder of a key.
    pub(super) fn of_key(key: &Arc<AccessKey>) -> Self {
        Self(Proof::Key(Arc::clone(key)))
    }

    /// The holder of a token that was verified and is valid at `given_s`.
    pub(super) fn of_token(token: Arc<Token>, given_s: u64) -> Self {
        Self(Proof::Token { token, given_s })
    }

    /// Whom the backend says a client is.
    pub fn of_person(person: &Arc<Person>) -> Self {
        Self(Proof::Backend(Arc::clone(person)))
    }

    /// A client that is refused from now on, and closed at `close_at`: many at once would all return at once.
    pub fn ended(refusal: Refusal, close_at: Millis) -> Self {
        Self(Proof::Ended { refusal, close_at })
    }

    /// The user, if it is known.
    pub fn sub(&self) -> Option<&str> {
        match &self.0 {
            Proof::Key(_) | Proof::Ended { .. } => None,
            Proof::Token { token, .. } => token.claims.sub.as_deref(),
            Proof::Backend(person) => person.sub.as_deref(),
        }
    }

    /// What others are told of the user, as JSON.
    pub fn info(&self) -> Option<&str> {
        match &self.0 {
            Proof::Key(_) | Proof::Ended { .. } => None,
            Proof::Token { token, .. } => token.claims.info.as_deref(),
            Proof::Backend(person) => person.info.as_deref(),
        }
    }

    /// The name of its key, if that is its proof.
    pub fn key_name(&self) -> Option<&str> {
        self.key().map(|key| key.name.as_str())
    }

    /// When it must end, on the clock of a server that began at `began_unix_ms` milliseconds since 1970. That is not a
    /// constant: the wall clock may be set.
    pub fn ends_at(&self, began_unix_ms: u64) -> Option<Millis> {
        let ends_s = match &self.0 {
            Proof::Key(key) => key.not_after_s?,
            Proof::Token { token, given_s } => token.claims.ends_at_s(*given_s),
            // The connection asks again itself, and stays while the backend fails.
            Proof::Backend(_) => return None,
            Proof::Ended { close_at, .. } => return Some(*close_at),
        };
        Some(Millis(ends_s.saturating_mul(1000).saturating_sub(began_unix_ms)))
    }

    /// What a client is told whose time is over at `now_s`.
    pub fn end(&self, now_s: u64) -> Refusal {
        match &self.0 {
            Proof::Key(key) => Refusal::KeyExpired(key.name.clone(), key.not_after_s.unwrap_or(now_s)),
            Proof::Token { token, .. } => match token.claims.stay_s {
                Some(stay_s) => Refusal::StayOver(stay_s),
                None => Error::Expired(Expiry { exp_s: token.claims.exp_s, now_s }).into(),
            },
            // It has no end by itself.
            Proof::Backend(_) => Refusal::Unavailable(Fault::Paused),
            Proof::Ended { refusal, .. } => refusal.clone(),
        }
    }

    /// The seconds in which a token of its user is to be brought to go on; `None` for those without a token.
    pub fn expires_in_s(&self, now_s: u64) -> Option<u64> {
        match &self.0 {
            Proof::Token { token, given_s } => Some(token.claims.expires_in_s(*given_s, now_s)),
            Proof::Key(_) | Proof::Backend(_) | Proof::Ended { .. } => None,
        }
    }

    /// Why it is nobody any more, if it is not.
    pub fn ended_by(&self) -> Option<&Refusal> {
        match &self.0 {
            Proof::Ended { refusal, .. } => Some(refusal),
            Proof::Key(_) | Proof::Token { .. } | Proof::Backend(_) => None,
        }
    }

    /// Checks that it may take the place of another on a connection: they are of one user. A key's holder has no user, and
    /// keeps the key.
    ///
    /// # Errors
    /// They are of different users.
    pub fn check_replaces(&self, before: &Self) -> Result<(), Refusal> {
        match (self.token(), before.token()) {
            (Some(token), Some(before)) => Ok(token.claims.check_replaces(&before.claims)?),
            (Some(_), None) | (None, _) => Err(Refusal::TwoProofs),
        }
    }

    /// Checks that it is still whom the backend says its client is. Who has given a proof is known by that, and an answer
    /// that names nobody does not say that it is another.
    ///
    /// # Errors
    /// [`Refusal::AnotherPerson`].
    pub fn check_person(&self, now: &Person) -> Result<(), Refusal> {
        let Proof::Backend(person) = &self.0 else { return Ok(()) };
        match (&person.sub, &now.sub) {
            (Some(own), Some(other)) if own != other => {
                Err(Refusal::AnotherPerson(own.clone(), other.clone()))
            }
            (Some(_) | None, Some(_) | None) => Ok(()),
        }
    }

    /// The key that it showed.
    pub(super) fn key(&self) -> Option<&Arc<AccessKey>> {
        match &self.0 {
            Proof::Key(key) => Some(key),
            Proof::Token { .. } | Proof::Backend(_) | Proof::Ended { .. } => None,
        }
    }

    /// The token that it showed.
    pub(super) fn token(&self) -> Option<&Arc<Token>> {
        match &self.0 {
            Proof::Token { token, .. } => Some(token),
            Proof::Key(_) | Proof::Backend(_) | Proof::Ended { .. } => None,
        }
    }

    /// Whom the backend says it is.
    pub fn person(&self) -> Option<&Arc<Person>> {
        match &self.0 {
            Proof::Backend(person) => Some(person),
            Proof::Key(_) | Proof::Token { .. } | Proof::Ended { .. } => None,
        }
    }

    /// The key by which its token is signed.
    pub(super) fn signed_by(&self) -> Option<KeyId> {
        self.token().map(|token| token.key)
    }

    /// What a log line calls it.
    pub fn log_name(&self) -> &str {
        self.sub().or(self.key_name()).unwrap_or("nobody by name")
    }
}
