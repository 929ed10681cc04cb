//! Who a client is, by the proof that it gave: a key or a token.
//!
//! What it may do is decided by `rules`, anew after each reload.

use std::sync::Arc;

use crate::config::AccessKey;
use crate::server::access::refusal::Refusal;
use crate::server::clock::Millis;
use crate::token::{KeyId, Token};

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

    /// The user, if it is known.
    pub fn sub(&self) -> Option<&str> {
        self.token().and_then(|token| token.claims.sub.as_deref())
    }

    /// What others are told of the user, as JSON.
    pub fn info(&self) -> Option<&str> {
        self.token().and_then(|token| token.claims.info.as_deref())
    }

    /// The name of its key, if that is its proof.
    pub fn key_name(&self) -> Option<&str> {
        self.key().map(|key| key.name.as_str())
    }

    /// When it must end, on the clock of a server that began at `began_unix_ms` milliseconds since 1970. That is not a
    /// constant: the wall clock may be set.
    pub fn ends_at(&self, began_unix_ms: u64) -> Option<Millis> {
        let ends_ms = self.ends_at_s()?.saturating_mul(1000);
        Some(Millis(ends_ms.saturating_sub(began_unix_ms)))
    }

    /// The seconds in which a token of its user is to be brought to go on; `None` for holders of keys.
    pub fn expires_in_s(&self, now_s: u64) -> Option<u64> {
        match &self.0 {
            Proof::Key(_) => None,
            Proof::Token { token, given_s } => Some(token.claims.expires_in_s(*given_s, now_s)),
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

    /// The key that it showed.
    pub(super) fn key(&self) -> Option<&Arc<AccessKey>> {
        match &self.0 {
            Proof::Key(key) => Some(key),
            Proof::Token { .. } => None,
        }
    }

    /// The token that it showed.
    pub(super) fn token(&self) -> Option<&Arc<Token>> {
        match &self.0 {
            Proof::Key(_) => None,
            Proof::Token { token, .. } => Some(token),
        }
    }

    /// The key by which its token is signed.
    pub(super) fn signed_by(&self) -> Option<KeyId> {
        self.token().map(|token| token.key)
    }

    fn ends_at_s(&self) -> Option<u64> {
        match &self.0 {
            Proof::Key(key) => key.not_after_s,
            Proof::Token { token, given_s } => Some(token.claims.ends_at_s(*given_s)),
        }
    }
}
