//! Tokens that were verified, so that a client that comes back costs a hash and no signature.
//!
//! Whether it is time for a token, and whether it was revoked, is asked at each use, of what is found here too.
//!
//! How to drive this, with the lock held in 1, 3 and 5 only:
//!
//! 1. [`Known::find`] by the [`TokenDigest`] of what was sent. If it is found, go on at 4.
//! 2. [`Token::verify`] with the [`Keys`] that 1 gave.
//! 3. [`Known::keep`] what was verified. It is refused if its key has gone meanwhile.
//! 4. [`Claims::check`](super::Claims::check) with the time.
//! 5. When keys were reloaded: [`Known::reload`]; what is kept by a removed key is forgotten.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use aws_lc_rs::digest::{SHA256, SHA256_OUTPUT_LEN, digest};

use super::bad::{BadToken, LEEWAY_S};
use super::jwt::Token;
use super::key::Keys;

/// The most tokens: with three globs each, about 10 MB.
pub const KNOWN_MAX: usize = 16_384;

/// The most bytes of tokens: those with the largest lists are 20 times as long as those with three globs.
pub const KNOWN_LEN_MAX: usize = 32 * 1024 * 1024;

/// The SHA-256 of a token as it was sent. It is not the token, and opens nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TokenDigest([u8; SHA256_OUTPUT_LEN]);

/// The keys, and the tokens that were verified by one of them.
///
/// Invariant: each token is of one of `keys`; `by_expiry` has those of `tokens`, each at its `exp`; `held_len` is their sum,
/// and at most `held_len_max`.
#[derive(Debug)]
pub struct Known {
    keys: Arc<Keys>,
    /// The most bytes of tokens.
    held_len_max: usize,
    tokens: HashMap<TokenDigest, Arc<Token>>,
    by_expiry: BTreeSet<(u64, TokenDigest)>,
    held_len: usize,
}

impl TokenDigest {
    /// The digest of a token.
    #[must_use]
    pub fn of(token: &str) -> Self {
        let digest = digest(&SHA256, token.as_bytes());
        Self(digest.as_ref().try_into().expect("a digest of SHA-256 has 32 bytes"))
    }
}

impl Known {
    /// Nothing is known, and these are the keys.
    #[must_use]
    pub fn new(keys: Arc<Keys>) -> Self {
        let (tokens, by_expiry) = (HashMap::new(), BTreeSet::new());
        Self { keys, held_len_max: KNOWN_LEN_MAX, tokens, by_expiry, held_len: 0 }
    }

    /// The same, whose tokens take at most this many bytes, if that is less than [`KNOWN_LEN_MAX`].
    #[must_use]
    pub fn with_len_max(self, held_len_max: usize) -> Self {
        Self { held_len_max: held_len_max.min(KNOWN_LEN_MAX), ..self }
    }

    /// The keys at present.
    #[must_use]
    pub fn keys(&self) -> Arc<Keys> {
        Arc::clone(&self.keys)
    }

    /// The token of this digest, if one of the keys has verified it and it is not forgotten.
    #[must_use]
    pub fn find(&self, digest: TokenDigest) -> Option<Arc<Token>> {
        self.tokens.get(&digest).map(Arc::clone)
    }

    /// Remembers a token until it expires. Where there is no room, those that expire first are forgotten.
    ///
    /// # Errors
    /// [`BadToken::KeyRemoved`], where the keys were reloaded since it was verified, and its own is gone: it is to be refused.
    pub fn keep(&mut self, digest: TokenDigest, token: &Arc<Token>, now_s: u64) -> Result<(), BadToken> {
        if !self.keys.contains(token.key) {
            return Err(BadToken::KeyRemoved(token.kid.to_string()));
        }
        self.expire(now_s);
        if ends_at_s(token) <= now_s || self.tokens.contains_key(&digest) {
            return Ok(());
        }
        self.held_len += held_len(token);
        self.by_expiry.insert((token.claims.exp_s, digest));
        self.tokens.insert(digest, Arc::clone(token));
        while self.tokens.len() > KNOWN_MAX || self.held_len > self.held_len_max {
            self.forget_first();
        }
        Ok(())
    }

    /// Takes other keys, and forgets the tokens of those that are not among them.
    pub fn reload(&mut self, keys: Arc<Keys>) {
        self.keys = keys;
        let is_removed = |token: &Token| !self.keys.contains(token.key);
        let removed = self.tokens.iter().filter(|(_, token)| is_removed(token));
        let removed: Vec<_> = removed.map(|(digest, token)| (token.claims.exp_s, *digest)).collect();
        for place in removed {
            self.forget(place);
        }
    }

    /// Forgets what has expired. [`Self::keep`] does it too: this is for a server to which nobody comes any more.
    pub fn expire(&mut self, now_s: u64) {
        while self.by_expiry.first().is_some_and(|(exp_s, _)| exp_s + LEEWAY_S <= now_s) {
            self.forget_first();
        }
    }

    /// Forgets those that expire first until so many bytes fewer are held. They are verified again when they come back.
    pub fn shed(&mut self, bytes: usize) {
        let aim = self.held_len.saturating_sub(bytes);
        while self.held_len > aim {
            self.forget_first();
        }
    }

    /// How many tokens are known.
    #[must_use]
    pub fn len(&self) -> usize {
        self.tokens.len()
    }

    /// Whether none is known.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.tokens.is_empty()
    }

    /// Bytes held for them, about.
    #[must_use]
    pub fn held_len(&self) -> usize {
        self.held_len
    }

    fn forget_first(&mut self) {
        if let Some(first) = self.by_expiry.first().copied() {
            self.forget(first);
        }
    }

    fn forget(&mut self, place: (u64, TokenDigest)) {
        self.by_expiry.remove(&place);
        if let Some(token) = self.tokens.remove(&place.1) {
            self.held_len -= held_len(&token);
        }
        debug_assert_eq!(self.by_expiry.len(), self.tokens.len());
    }
}

fn ends_at_s(token: &Token) -> u64 {
    token.claims.exp_s + LEEWAY_S
}

/// The token, its digest in both tables, and what they need beside.
fn held_len(token: &Token) -> usize {
    const TABLES_LEN: usize = 160;
    TABLES_LEN + size_of::<Token>() + token.claims.held_len()
}

#[cfg(test)]
#[path = "known_tests.rs"]
mod tests;
