//! Whether the proof of a request is good: the keys, tokens and revocations that are known at present, shared by all loops.
//!
//! What follows from a good proof is decided by `rules`.

use std::fmt;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, RwLock};

use crate::backend::Person;
use crate::config::Config;
use crate::http::Request;
use crate::server::access::identity::Identity;
use crate::server::access::proof::Proof;
use crate::server::access::refusal::Refusal;
use crate::server::access::revoked::{Revoked, Whom, is_issued_until};
use crate::server::access::rules::{Access, Credential};
use crate::server::jwks::KeyUrl;
use crate::server::lock::{lock, read, write};
use crate::token::{BadToken, Keys, Known, Token, TokenDigest};

/// The tokens that were verified may take this part of `--max-memory`: they save the cost of a signature and nothing else.
const KNOWN_PARTS: u64 = 16;

/// The rules at present, the tokens that were verified, and the revocations.
#[derive(Debug)]
pub struct Guard {
    access: RwLock<Arc<Access>>,
    /// What the rules are made of.
    sources: Mutex<Sources>,
    /// Where more keys of tokens are fetched, if they are.
    key_url: Option<KeyUrl>,
    /// Counts the rules and the revocations.
    generation: AtomicU64,
    known: Mutex<Known>,
    /// The bytes of memory of `known`.
    known_len: AtomicUsize,
    revoked: RwLock<Revoked>,
    /// For each loop the revocations that it has not looked at.
    passes: Vec<Mutex<Vec<Arc<Pass>>>>,
}

/// What rules are made of.
#[derive(Debug)]
struct Sources {
    config: Config,
    /// The keys at a URL.
    fetched: Keys,
    /// Whether the program decides in the place of a backend.
    is_program_asked: bool,
}

/// A revocation on its way through the loops, each of which ends the connections that it is about.
#[derive(Debug)]
pub struct Pass {
    whom: Whom,
    /// In seconds since 1970.
    at_s: u64,
    /// Who is told how many they were, if it was asked for here.
    pub asker: Option<Asker>,
    ended: AtomicUsize,
    loops_left: AtomicUsize,
}

/// A connection that waits for the outcome of a revocation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Asker {
    /// Its loop.
    pub loop_index: usize,
    /// Its key as a number.
    pub connection: u64,
}

/// The keys that a reload has added and removed, by name: those of publishers, and those of tokens.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct KeyChanges {
    /// Those that are new.
    pub added: Vec<String>,
    /// Those that are gone.
    pub removed: Vec<String>,
}

impl fmt::Display for KeyChanges {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let all = [("added", &self.added), ("removed", &self.removed)];
        let parts = all.iter().filter(|(_, names)| !names.is_empty());
        let parts: Vec<_> = parts.map(|(what, names)| format!("{what} {}", names.join(", "))).collect();
        match parts.as_slice() {
            [] => f.write_str("no key has changed"),
            parts => write!(f, "keys: {}", parts.join(", ")),
        }
    }
}

impl Pass {
    /// Whether a client's token is one of those that are revoked, or the client is that user by the word of the backend.
    pub fn fits(&self, who: &Identity) -> bool {
        who.person().is_some_and(|person| self.check_person(person).is_err()) || self.fits_token(who)
    }

    /// Checks that whom the backend named is not the user that is revoked. Nothing of it is remembered: at the next request
    /// the backend is asked anew, and decides.
    ///
    /// # Errors
    /// It is that user.
    pub fn check_person(&self, person: &Person) -> Result<(), Refusal> {
        match (&self.whom, person.sub.as_deref()) {
            (Whom::Sub(revoked), Some(sub)) if **revoked == *sub => {
                Err(Refusal::UserRevoked(sub.into(), self.at_s))
            }
            (Whom::Sub(_) | Whom::Jti(_), _) => Ok(()),
        }
    }

    fn fits_token(&self, who: &Identity) -> bool {
        who.token().is_some_and(|token| match &self.whom {
            Whom::Sub(_) => self.whom.fits(&token.claims) && is_issued_until(token.claims.iat_s, self.at_s),
            Whom::Jti(_) => self.whom.fits(&token.claims),
        })
    }

    /// A loop has ended this number of connections. The number of all, if it was the last loop.
    #[must_use]
    pub fn finish(&self, ended: usize) -> Option<usize> {
        self.ended.fetch_add(ended, Ordering::AcqRel);
        let was_last = self.loops_left.fetch_sub(1, Ordering::AcqRel) == 1;
        was_last.then(|| self.ended.load(Ordering::Acquire))
    }
}

impl Guard {
    /// With the rules of a configuration, for this number of loops.
    pub fn new(config: &Config, loops: usize) -> Self {
        let access = Access::new(config);
        let known_len_max = usize::try_from(config.max_memory / KNOWN_PARTS).unwrap_or(usize::MAX);
        let known = Known::new(Arc::clone(access.token_keys())).with_len_max(known_len_max);
        Self {
            access: RwLock::new(Arc::new(access)),
            sources: Mutex::new(Sources {
                config: config.clone(),
                fetched: Keys::default(),
                is_program_asked: false,
            }),
            key_url: None,
            generation: AtomicU64::new(0),
            known: Mutex::new(known),
            known_len: AtomicUsize::new(0),
            revoked: RwLock::default(),
            passes: (0..loops).map(|_| Mutex::default()).collect(),
        }
    }

    /// The same with the keys at a URL.
    pub fn with_key_url(self, key_url: Option<KeyUrl>) -> Self {
        if let Some(key_url) = &key_url {
            self.take_fetched(&key_url.keys());
        }
        Self { key_url, ..self }
    }

    /// The keys at a URL, if there are any to be.
    pub fn key_url(&self) -> Option<&KeyUrl> {
        self.key_url.as_ref()
    }

    /// The rules at present.
    pub fn access(&self) -> Arc<Access> {
        Arc::clone(&read(&self.access))
    }

    /// Changes whenever connections have to be looked at again: the rules have changed, or something was revoked.
    pub fn generation(&self) -> u64 {
        self.generation.load(Ordering::Acquire)
    }

    /// The bytes of memory that the known tokens take.
    pub fn held_len(&self) -> usize {
        self.known_len.load(Ordering::Relaxed)
    }

    /// Forgets known tokens of so many bytes, as memory is short. O(those that are forgotten).
    pub fn shed(&self, bytes: u64) {
        if self.held_len() == 0 {
            return;
        }
        let mut known = lock(&self.known);
        known.shed(usize::try_from(bytes).unwrap_or(usize::MAX));
        self.known_len.store(known.held_len(), Ordering::Relaxed);
    }

    /// Has the program decide in the place of a backend.
    pub fn ask_program(&self) {
        let mut sources = lock(&self.sources);
        sources.is_program_asked = true;
        self.apply(&sources);
    }

    /// Whether the program decides in the place of a backend.
    pub fn is_program_asked(&self) -> bool {
        lock(&self.sources).is_program_asked
    }

    /// Takes other rules.
    pub fn reload(&self, config: &Config) -> KeyChanges {
        let mut sources = lock(&self.sources);
        sources.config = config.clone();
        self.apply(&sources)
    }

    /// Takes other keys that were fetched.
    pub fn take_fetched(&self, keys: &Keys) -> KeyChanges {
        let mut sources = lock(&self.sources);
        sources.fetched = keys.clone();
        self.apply(&sources)
    }

    /// Under the lock of the sources, so that the last to change them is the last to be applied.
    fn apply(&self, sources: &Sources) -> KeyChanges {
        let mut access = Access::with_fetched(&sources.config, &sources.fetched);
        if sources.is_program_asked {
            access = access.decided_by_program();
        }
        access.take_usages(&read(&self.access));
        let access = Arc::new(access);
        // First, so that no token of a removed key is taken after the loops have looked at their connections.
        {
            let mut known = lock(&self.known);
            known.reload(Arc::clone(access.token_keys()));
            self.known_len.store(known.held_len(), Ordering::Relaxed);
        }
        let before = std::mem::replace(&mut *write(&self.access), Arc::clone(&access));
        self.generation.fetch_add(1, Ordering::Release);
        KeyChanges { added: access.keys_without(&before), removed: before.keys_without(&access) }
    }

    /// Revokes tokens at `now_s`. The loops find the connections that live by them, and the last one tells `asker`.
    ///
    /// # Errors
    /// [`Refusal::RevocationsFull`].
    pub fn revoke(&self, whom: Whom, now_s: u64, asker: Option<Asker>) -> Result<(), Refusal> {
        if !write(&self.revoked).add(&whom, now_s) {
            return Err(Refusal::RevocationsFull);
        }
        let (ended, loops_left) = (AtomicUsize::new(0), AtomicUsize::new(self.passes.len()));
        let pass = Arc::new(Pass { whom, at_s: now_s, asker, ended, loops_left });
        for passes in &self.passes {
            lock(passes).push(Arc::clone(&pass));
        }
        self.generation.fetch_add(1, Ordering::Release);
        Ok(())
    }

    /// Whether a revocation of this time, or a later one of the same, is known.
    pub fn has_revoked(&self, whom: &Whom, at_s: u64) -> bool {
        read(&self.revoked).has(whom, at_s)
    }

    /// The revocations that a loop has not looked at. It looks at them and says so by [`Pass::finish`].
    pub fn take_passes(&self, loop_index: usize) -> Vec<Arc<Pass>> {
        std::mem::take(&mut lock(&self.passes[loop_index]))
    }

    /// Checks that no revocation that the loop has still to look at is of this user. A later question to the backend about it is
    /// the backend's to decide.
    ///
    /// # Errors
    /// One is.
    pub fn check_awaited(&self, loop_index: usize, person: &Person) -> Result<(), Refusal> {
        lock(&self.passes[loop_index]).iter().try_for_each(|pass| pass.check_person(person))
    }

    /// Checks that the client's token was not revoked.
    ///
    /// # Errors
    /// It was.
    pub fn check_revoked(&self, who: &Identity) -> Result<(), Refusal> {
        match who.token() {
            Some(token) => Ok(read(&self.revoked).check(&token.claims)?),
            None => Ok(()),
        }
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
        let claims = &token.claims;
        claims
            .check(access.audience(), now_s)
            .and_then(|()| read(&self.revoked).check(claims))
            .map_err(|error| Refusal::of_token(error, claims.sub.as_deref()))?;
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
        let verified = Token::verify(token, &keys).inspect_err(|bad| self.note_bad(bad))?;
        let verified = Arc::new(verified);
        let mut known = lock(&self.known);
        known.keep(digest, &verified, now_s)?;
        self.known_len.store(known.held_len(), Ordering::Relaxed);
        Ok(verified)
    }

    /// A key that nobody knows may be a new one at the URL.
    fn note_bad(&self, bad: &BadToken) {
        if let (BadToken::NoSuchKey(_) | BadToken::NoSuchAlg(_), Some(key_url)) = (bad, &self.key_url) {
            key_url.note_unknown();
        }
    }
}
