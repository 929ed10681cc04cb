//! What follows from the configuration: who may subscribe, publish, see who is there and administer, and the pages of which
//! origins are served. A snapshot: a reload makes another.
//!
//! Whether a proof is good is found in `guard`; what a token allows is known to `token`.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;

use crate::backend::Action;
use crate::config::{AccessKey, AuthRule, Config, Glob, SecretDigest, by_channel, normalise_origin};
use crate::http::Request;
use crate::hub::ChannelName;
use crate::server::access::identity::Identity;
use crate::server::access::origins::{Misnamed, Origins, PageAccess, is_same_origin};
use crate::server::access::proof::{Carriers, basic_password, bearer};
use crate::server::access::refusal::{KeyDenial, Refusal};
use crate::server::access::usage::{KeyUse, Usage};
use crate::token::{BadToken, Error, Keys, Right};

/// Who may do what, as configured.
#[derive(Clone, Debug)]
pub struct Access {
    keys: HashMap<[u8; 32], Arc<AccessKey>>,
    /// How each of them is used.
    usages: HashMap<[u8; 32], Arc<Usage>>,
    token_keys: Arc<Keys>,
    /// Also while the keys at a URL have not been fetched.
    takes_tokens: bool,
    audience: Option<String>,
    cookie: Option<String>,
    is_query_carrier: bool,
    rules: Vec<(Glob, AuthRule)>,
    /// Where no rule fits.
    rule: AuthRule,
    client_publish: Vec<Glob>,
    has_backend: bool,
    lets_everybody_publish: bool,
    is_development: bool,
    origins: Origins,
}

/// Whether a client may do something.
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use]
pub enum Verdict {
    /// It may.
    Yes,
    /// It may not.
    No(Refusal),
    /// The backend is to be asked this: the rule of the channel is [`AuthRule::Hook`], and nothing else decides.
    Ask(Action),
}

/// What the credential of a request is, if it counts at all.
#[derive(Clone, Debug)]
pub(super) enum Credential {
    /// A key.
    Key(Arc<AccessKey>),
    /// To be verified as a token.
    Token,
    /// None of the server's: it is for the backend, or the server asks for no proof.
    Foreign,
}

impl Access {
    /// The rules of a configuration.
    pub fn new(config: &Config) -> Self {
        Self::with_fetched(config, &Keys::default())
    }

    /// The same with keys of tokens that were fetched. Where one has the name of a configured one, that one counts.
    pub fn with_fetched(config: &Config, fetched: &Keys) -> Self {
        let mut token_keys = config.token_keys.clone();
        // Of one name, or one too many.
        let left_out = fetched.iter().filter(|key| token_keys.push((*key).clone()).is_err()).count();
        if left_out > 0 {
            tracing::warn!(
                "--token-jwks: {left_out} keys are left out, since --token-key has some of their names, or too many"
            );
        }
        let keys = config.keys.iter().map(|key| (key.digest.0, Arc::new(key.clone())));
        let rule = match (config.takes_tokens(), &config.backend) {
            (true, _) => AuthRule::Token,
            (false, Some(_)) => AuthRule::Hook,
            (false, None) => AuthRule::Open,
        };
        let usages = config.keys.iter().map(|key| (key.digest.0, Arc::default()));
        Self {
            keys: keys.collect(),
            usages: usages.collect(),
            token_keys: Arc::new(token_keys),
            takes_tokens: config.takes_tokens(),
            audience: config.token_audience.clone(),
            cookie: config.token_cookie.clone(),
            is_query_carrier: config.token_in_query,
            rules: config.auth.clone(),
            rule,
            client_publish: config.client_publish.clone(),
            has_backend: config.backend.is_some(),
            lets_everybody_publish: config.lets_everybody_publish(),
            is_development: config.is_development(),
            origins: Origins::new(config),
        }
    }

    /// The same for a server whose program decides in the place of a backend.
    pub fn decided_by_program(mut self) -> Self {
        if !self.takes_tokens {
            self.rule = AuthRule::Hook;
        }
        (self.has_backend, self.lets_everybody_publish) = (true, false);
        self
    }

    /// Whether the client may subscribe to the channel and read what is kept.
    pub fn may_subscribe(&self, who: Option<&Identity>, channel: &ChannelName) -> Verdict {
        if channel.is_reserved() {
            return Verdict::No(Refusal::Reserved);
        }
        self.may_read(who, channel, Right::Subscribe)
    }

    /// Whether the client may see who is in the channel.
    pub fn may_see(&self, who: Option<&Identity>, channel: &ChannelName) -> Verdict {
        if channel.is_reserved() {
            return Verdict::No(Refusal::Reserved);
        }
        match self.may_read(who, channel, Right::Subscribe) {
            Verdict::Yes => self.may_read(who, channel, Right::Presence),
            refused @ (Verdict::No(_) | Verdict::Ask(_)) => refused,
        }
    }

    /// Whether the client may publish to the channel.
    pub fn may_publish(&self, who: Option<&Identity>, channel: &ChannelName) -> Verdict {
        if channel.is_reserved() {
            return Verdict::No(Refusal::Reserved);
        }
        if self.lets_everybody_publish {
            return Verdict::Yes;
        }
        let own = self.own_right(who, channel, Right::Publish);
        if own == Some(Verdict::Yes) {
            return Verdict::Yes;
        }
        if self.client_publish.iter().any(|glob| glob.matches(channel.local())) {
            match self.may_subscribe(who, channel) {
                decided @ (Verdict::Yes | Verdict::Ask(_)) => return decided,
                Verdict::No(_) => {}
            }
        }
        if self.rule(channel) == AuthRule::Hook {
            return Verdict::Ask(Action::Publish);
        }
        own.unwrap_or_else(|| Verdict::No(self.lacks_publisher(channel)))
    }

    /// Whether the client may list, inspect and revoke, and read the server's state.
    ///
    /// # Errors
    /// It may not.
    pub fn check_admin(&self, who: Option<&Identity>) -> Result<(), Refusal> {
        if self.is_development {
            return Ok(());
        }
        if self.keys.is_empty() {
            return Err(Refusal::NotShown);
        }
        let key = who.and_then(Identity::key).ok_or(Refusal::NoReader)?;
        match self.key(&key.digest) {
            Some(key) if key.admin => Ok(()),
            Some(key) => Err(Refusal::NotAdmin(key.name.clone())),
            None => Err(Refusal::KeyRemoved(key.name.clone())),
        }
    }

    /// Whether the client holds a key that publishes to the channel.
    pub fn has_publishing_key(&self, who: Option<&Identity>, channel: &ChannelName) -> bool {
        who.is_some_and(|who| who.key().is_some())
            && self.own_right(who, channel, Right::Publish) == Some(Verdict::Yes)
    }

    /// Whether what let the client in is still known: its key, or that of its token.
    ///
    /// # Errors
    /// It was removed.
    pub fn check_known(&self, who: &Identity) -> Result<(), Refusal> {
        if let Some(key) = who.key()
            && self.key(&key.digest).is_none()
        {
            return Err(Refusal::KeyRemoved(key.name.clone()));
        }
        if let (Some(token), Some(id)) = (who.token(), who.signed_by())
            && !self.token_keys.contains(id)
        {
            return Err(BadToken::KeyRemoved(token.kid.to_string()).into());
        }
        Ok(())
    }

    /// The holder of a key with the rights that the key has now, if they are others than it had when it was shown.
    pub fn renewed(&self, who: &Identity) -> Option<Identity> {
        let shown = who.key()?;
        let key = self.key(&shown.digest)?;
        (key != shown).then(|| Identity::of_key(key))
    }

    /// Goes on counting the use of the keys that were in `before` too.
    pub(super) fn take_usages(&mut self, before: &Self) {
        for (digest, usage) in &mut self.usages {
            if let Some(before) = before.usages.get(digest) {
                *usage = Arc::clone(before);
            }
        }
    }

    /// Notes that a client showed its key at `now_s`. The key's name, if it was not shown from this address before.
    pub fn note_shown<'a>(&self, who: &'a Identity, from: Option<IpAddr>, now_s: u64) -> Option<&'a str> {
        let key = who.key()?;
        let usage = self.usages.get(&key.digest.0)?;
        usage.note_shown(now_s);
        from.is_some_and(|address| usage.is_new_from(address)).then_some(&key.name)
    }

    /// Notes that a client published. Whether it did so by a key.
    pub fn note_published(&self, who: Option<&Identity>) -> bool {
        let Some(key) = who.and_then(Identity::key) else { return false };
        let usage = self.usages.get(&key.digest.0);
        usage.iter().for_each(|usage| usage.note_published());
        usage.is_some()
    }

    /// How each key is used, in the order of their names.
    pub fn key_uses(&self) -> Vec<KeyUse> {
        let usage = |(digest, key): (_, &Arc<AccessKey>)| Some(self.usages.get(digest)?.of(&key.name));
        let mut uses: Vec<_> = self.keys.iter().filter_map(usage).collect();
        uses.sort_unstable_by(|a, b| a.name.cmp(&b.name));
        uses
    }

    /// The names of the keys that are here and not in `other`.
    pub(super) fn keys_without(&self, other: &Self) -> Vec<String> {
        let keys = self.keys.values().filter(|key| other.key(&key.digest).is_none());
        let mut names: Vec<_> = keys.map(|key| key.name.clone()).collect();
        names.sort_unstable();
        names.extend(self.token_keys.without(&other.token_keys).map(|key| key.kid().to_owned()));
        names
    }

    fn rule(&self, channel: &ChannelName) -> AuthRule {
        by_channel(&self.rules, channel.local()).unwrap_or(self.rule)
    }

    /// For [`Right::Subscribe`] and [`Right::Presence`].
    fn may_read(&self, who: Option<&Identity>, channel: &ChannelName, right: Right) -> Verdict {
        let by_key = who.filter(|who| who.key().is_some()).and_then(|_| self.own_right(who, channel, right));
        if by_key == Some(Verdict::Yes) {
            return Verdict::Yes;
        }
        match self.rule(channel) {
            AuthRule::Open => Verdict::Yes,
            AuthRule::Hook => Verdict::Ask(Action::Subscribe),
            AuthRule::Token => self
                .own_right(who, channel, right)
                .unwrap_or_else(|| Verdict::No(Error::NoToken(channel.clone()).into())),
            AuthRule::Key => by_key.unwrap_or_else(|| Verdict::No(Error::NoKey(channel.clone()).into())),
        }
    }

    /// What the client's own key or token says; `None` if it has neither.
    fn own_right(&self, who: Option<&Identity>, channel: &ChannelName, right: Right) -> Option<Verdict> {
        let who = who?;
        if let Some(token) = who.token() {
            let claims = &token.claims;
            return Some(match claims.grants.check(right, channel, claims.holder()) {
                Ok(()) => Verdict::Yes,
                Err(error) => Verdict::No(error.into()),
            });
        }
        let shown = who.key()?;
        let Some(key) = self.key(&shown.digest) else {
            return Some(Verdict::No(Refusal::KeyRemoved(shown.name.clone())));
        };
        let globs = match right {
            // Who reads a channel may see who else does.
            Right::Subscribe | Right::Presence => &key.read,
            Right::Publish => &key.publish,
        };
        Some(match globs.iter().any(|glob| glob.matches(channel.as_str())) {
            true => Verdict::Yes,
            false => Verdict::No(Refusal::KeyForbids(Box::new(KeyDenial {
                name: key.name.clone(),
                right,
                globs: globs.iter().map(ToString::to_string).collect(),
                channel: channel.clone(),
            }))),
        })
    }

    /// What who has no proof is told.
    fn lacks_publisher(&self, channel: &ChannelName) -> Refusal {
        match self.keys.is_empty() && self.takes_tokens {
            true => Error::NoToken(channel.clone()).into(),
            false => Refusal::NoKey,
        }
    }

    /// The key of this digest at present.
    fn key(&self, digest: &SecretDigest) -> Option<&Arc<AccessKey>> {
        self.keys.get(&digest.0).filter(|key| key.digest.fits(digest))
    }
}

/// Credentials.
impl Access {
    /// Where tokens may travel in this request.
    pub(super) fn carriers(&self, request: &Request) -> Carriers<'_> {
        // A cookie comes along with whatever any page makes a browser send.
        let cookie = self.cookie.as_deref().filter(|_| self.origins.are_listed(request));
        Carriers { cookie, query: self.is_query_carrier }
    }

    /// Whether a proof of a client counts at all: otherwise everybody may do everything, or the backend decides.
    pub(super) fn asks_for_proof(&self) -> bool {
        !self.keys.is_empty() || self.takes_tokens
    }

    /// What a credential is.
    ///
    /// # Errors
    /// It is a key for a time that is over.
    pub(super) fn classify(
        &self,
        credential: &str,
        may_be_key: bool,
        now_s: u64,
    ) -> Result<Credential, Refusal> {
        if may_be_key && let Some(key) = self.key(&SecretDigest::of(credential)) {
            return match key.not_after_s {
                Some(at_s) if now_s >= at_s => Err(Refusal::KeyExpired(key.name.clone(), at_s)),
                Some(_) | None => Ok(Credential::Key(Arc::clone(key))),
            };
        }
        if !self.takes_tokens && (self.has_backend || self.keys.is_empty()) {
            return Ok(Credential::Foreign);
        }
        if may_be_key && !self.keys.is_empty() && !crate::token::is_token(credential) {
            return Err(Refusal::WrongKey);
        }
        Ok(Credential::Token)
    }

    /// What tokens must have as `aud`.
    pub(super) fn audience(&self) -> Option<&str> {
        self.audience.as_deref()
    }

    /// The keys of tokens.
    pub(super) fn token_keys(&self) -> &Arc<Keys> {
        &self.token_keys
    }

    /// Whether a client can prove anything by a token.
    pub fn takes_tokens(&self) -> bool {
        self.takes_tokens
    }

    /// Checks that the request may read the server's state: its metrics, and the dashboard. In development mode every
    /// request may, else those with a key that administers. Browsers prompt for it and send it as the password of Basic,
    /// with any name.
    ///
    /// # Errors
    /// It may not.
    pub fn check_reader(&self, request: &Request, now_s: u64) -> Result<Option<Arc<Identity>>, Refusal> {
        let sent = request.header_str("authorization").unwrap_or("");
        let secret = bearer(sent).map(str::to_owned).or_else(|| own_password(request));
        let who = match secret.map(|secret| self.classify(&secret, true, now_s)) {
            Some(Ok(Credential::Key(key))) => Some(Arc::new(Identity::of_key(&key))),
            Some(Err(expired @ Refusal::KeyExpired(..))) if !self.is_development => return Err(expired),
            Some(Ok(Credential::Token | Credential::Foreign) | Err(_)) | None => None,
        };
        self.check_admin(who.as_deref())?;
        Ok(who)
    }

    /// The holder of a key that a browser sends along as the password of Basic, once it was asked for it at the dashboard.
    /// It counts for what only operators see: whatever a page does by a connection of its own, it does not do by this key.
    pub fn operator(&self, request: &Request, now_s: u64) -> Option<Arc<Identity>> {
        match self.classify(&own_password(request)?, true, now_s) {
            Ok(Credential::Key(key)) => Some(Arc::new(Identity::of_key(&key))),
            Ok(Credential::Token | Credential::Foreign) | Err(_) => None,
        }
    }
}

/// The password of Basic, if no page elsewhere made the request: such a page can open a WebSocket here, which the browser
/// sends the password with.
fn own_password(request: &Request) -> Option<String> {
    basic_password(request.header_str("authorization")?).filter(|_| is_same_origin(request))
}

/// Names and origins.
impl Access {
    /// Checks that the server answers to the host name of the request.
    pub fn check_host(&self, request: &Request) -> Result<(), Refusal> {
        let is_development = self.is_development;
        self.origins.check_host(request).map_err(|Misnamed(asked)| Refusal::Host { asked, is_development })
    }

    /// Checks that the page that made the request is served.
    pub fn check_origin(&self, request: &Request) -> Result<(), Refusal> {
        match self.origins.access(request) {
            PageAccess::Refused => Err(Refusal::Origin { is_development: self.is_development }),
            PageAccess::Read | PageAccess::Full => Ok(()),
        }
    }

    /// Whether the page that made the request is of one of the app's origins or, if the app has none of its own, is served
    /// at all.
    pub fn is_origin_served(&self, request: &Request, app_origins: &[String]) -> bool {
        match request.header_str("origin") {
            Some(origin) if !app_origins.is_empty() => {
                let sent = normalise_origin(origin);
                app_origins.iter().any(|served| served == "*" || sent.as_ref() == Ok(served))
            }
            _ => self.check_origin(request).is_ok(),
        }
    }

    /// As [`Access::is_origin_served`], for a request that is answered with a status.
    pub fn check_app_origin(&self, request: &Request, app_origins: &[String]) -> Result<(), Refusal> {
        match self.is_origin_served(request, app_origins) {
            true => Ok(()),
            false => Err(Refusal::Origin { is_development: self.is_development }),
        }
    }

    /// Checks that the page that made the request, if one did, may do what a client outside a browser may.
    ///
    /// # Errors
    /// It may only read.
    pub fn check_fully_served(&self, request: &Request) -> Result<(), Refusal> {
        match self.origins.access(request) {
            PageAccess::Full => Ok(()),
            PageAccess::Read | PageAccess::Refused => Err(Refusal::NoOrigin),
        }
    }

    /// `*` if pages of all origins may read whatever is answered.
    pub fn any_origin(&self) -> Option<&'static str> {
        self.origins.are_all_served().then_some("*")
    }

    /// The origin whose pages may read the answer, `*` for all; `None` if no page made the request. The request passed
    /// [`Access::check_origin`].
    pub fn allow_origin<'a>(&self, request: &'a Request) -> Option<&'a str> {
        let origin = request.header_str("origin")?;
        match self.any_origin() {
            Some(any) if !self.allows_credentials(request) => Some(any),
            Some(_) | None => Some(origin),
        }
    }

    /// Whether the page that made the request may send its cookies: tokens come by cookie, and its origin is listed.
    pub fn allows_credentials(&self, request: &Request) -> bool {
        self.cookie.is_some() && request.header("origin").is_some() && self.origins.are_listed(request)
    }

    /// Whether answers depend on the origin of the page that made the request.
    pub fn varies_by_origin(&self) -> bool {
        self.cookie.is_some() || !self.origins.are_all_served()
    }
}

#[cfg(test)]
#[path = "rules_tests.rs"]
mod tests;
