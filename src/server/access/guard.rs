//! Whether the proof of a request is good: the keys and tokens that are known at present, shared by all loops.
//!
//! What follows from a good proof is decided by `rules`.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, RwLock};

use crate::config::Config;
use crate::http::Request;
use crate::server::access::identity::Identity;
use crate::server::access::proof::Proof;
use crate::server::access::refusal::Refusal;
use crate::server::access::rules::{Access, Credential};
use crate::server::lock::{lock, read, write};
use crate::token::{Known, Token, TokenDigest};

/// The rules at present, and the tokens that were verified.
#[derive(Debug)]
pub struct Guard {
    access: RwLock<Arc<Access>>,
    /// Counts the rules.
    generation: AtomicU64,
    known: Mutex<Known>,
}

impl Guard {
    /// With the rules of a configuration.
    pub fn new(config: &Config) -> Self {
        let access = Access::new(config);
        let known = Known::new(Arc::clone(access.token_keys()));
        Self {
            access: RwLock::new(Arc::new(access)),
            generation: AtomicU64::new(0),
            known: Mutex::new(known),
        }
    }

    /// The rules at present.
    pub fn access(&self) -> Arc<Access> {
        Arc::clone(&read(&self.access))
    }

    /// Changes whenever the rules do.
    pub fn generation(&self) -> u64 {
        self.generation.load(Ordering::Acquire)
    }

    /// Takes other rules.
    pub fn reload(&self, config: &Config) {
        let access = Arc::new(Access::new(config));
        // First, so that no token of a removed key is taken after the loops have looked at their connections.
        lock(&self.known).reload(Arc::clone(access.token_keys()));
        *write(&self.access) = access;
        self.generation.fetch_add(1, Ordering::Release);
    }

    /// Who made the request, by what it carries. `None`: nobody in particular.
    ///
    /// # Errors
    /// What it carries is no good, or contradicts itself.
    pub fn identify(
        &self,
        access: &Access,
        request: &Request,
        now_s: u64,
    ) -> Result<Option<Arc<Identity>>, Refusal> {
        if !access.asks_for_proof() {
            return Ok(None);
        }
        let Some(Proof { credential, may_be_key }) = Proof::of(request, access.carriers(request))? else {
            return Ok(None);
        };
        match access.classify(&credential, may_be_key, now_s)? {
            Credential::Key(key) => Ok(Some(Arc::new(Identity::of_key(&key)))),
            Credential::Token => self.identify_token(access, &credential, now_s).map(Some),
            Credential::Foreign => Ok(None),
        }
    }

    /// Who holds the token.
    ///
    /// # Errors
    /// It is no good.
    pub fn identify_token(&self, access: &Access, token: &str, now_s: u64) -> Result<Arc<Identity>, Refusal> {
        let token = self.verify(token, now_s)?;
        token.claims.check(access.audience(), now_s)?;
        Ok(Arc::new(Identity::of_token(token, now_s)))
    }

    /// Signatures are verified outside the lock: one takes as long as a hundred look-ups.
    fn verify(&self, token: &str, now_s: u64) -> Result<Arc<Token>, Refusal> {
        let digest = TokenDigest::of(token);
        let (found, keys) = {
            let known = lock(&self.known);
            (known.find(digest), known.keys())
        };
        if let Some(token) = found {
            return Ok(token);
        }
        let verified = Arc::new(Token::verify(token, &keys)?);
        lock(&self.known).keep(digest, &verified, now_s)?;
        Ok(verified)
    }
}
