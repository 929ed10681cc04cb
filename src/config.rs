//! The configuration of a server: plain values, their defaults with the reasons, and which values are refused.
//!
//! Where the values come from (flags, environment, file) is in `cli`, and no text is parsed here.

mod access;
mod access_check;
mod access_checked;
mod apps;
mod error;
mod host;
mod origin;
mod redis;
mod rules;
mod standing;
mod tls;
mod url;

use std::net::SocketAddr;
use std::num::{NonZeroU32, NonZeroUsize};
use std::path::PathBuf;
use std::time::Duration;

#[doc(inline)]
pub use ipnet::IpNet;

pub use self::redis::{NoRedisAddress, Redis, RedisAddress, RedisFault, RedisServer};
pub use access::{AccessKey, AuthRule, Backend, PresenceRule, Rate, SecretDigest};
pub use access_check::AccessFault;
pub use apps::{AppError, AppFault};
pub use error::ConfigError;
pub use host::{Host, NoHost};
pub use origin::{NoOrigin, normalise as normalise_origin};
pub(crate) use rules::by_channel;
pub use rules::{DeadRule, Glob};
pub use tls::{Tls, TlsFault, TlsPair};

#[doc(inline)]
pub use crate::pusher::{App, Webhook, WebhookEvent};
#[doc(inline)]
pub use crate::token::{Key, KeyFault, KeyFileError, KeyFiles, Keys};

const KIB: u64 = 1024;
const MIB: u64 = 1024 * KIB;

/// The highest level of DEFLATE in every library.
const DEFLATE_LEVEL_MAX: u32 = 9;

/// The configuration of a [`Server`](crate::server::Server). `Config::default()` is the development mode on
/// `127.0.0.1:8080`.
///
/// ```
/// use fanfare::config::{AccessKey, App, AuthRule, Config, Glob, Key, Keys};
///
/// let mut token_keys = Keys::default();
/// token_keys.push(Key::secret("2026-09", b"at least 32 bytes, by openssl rand")?)?;
/// let config = Config {
///     listen: vec!["0.0.0.0:80".parse()?],
///     keys: vec![AccessKey::with_all_rights("billing", "the secret of billing")],
///     token_keys,
///     auth: vec![(Glob::new("news-*"), AuthRule::Open)],
///     apps: vec![App::new("1", "app-key", "app-secret")],
///     ..Config::default()
/// };
/// assert_eq!(config.check(), Ok(()));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
pub struct Config {
    /// Addresses to listen on; port 0 takes a free one.
    pub listen: Vec<SocketAddr>,
    /// One more address, which serves only `/metrics`, `/healthz` and `/readyz`, without a key. It may be any address.
    pub metrics_listen: Option<SocketAddr>,
    /// TLS, at addresses of its own. With such an address, `listen` may be empty.
    pub tls: Tls,
    /// Redis, if several servers are to share their channels.
    pub redis: Option<Redis>,
    /// The number of event loops, each on a thread of its own. Default: the number of cores.
    pub threads: NonZeroUsize,
    /// The most threads for the jobs of a program that has the server inside ([`Socket::work`]): they begin when there is
    /// something for them. Jobs wait for others' answers, most of them, so 4 is no matter of cores. A server alone has no jobs.
    ///
    /// [`Socket::work`]: crate::app::Socket::work
    pub workers: NonZeroUsize,
    /// The keys that publishing requires. Without one, everybody who may subscribe may publish, unless tokens or the
    /// backend decide. Names and digests differ.
    pub keys: Vec<AccessKey>,
    /// With a key set, the channels that clients who may subscribe may publish to without it.
    pub client_publish: Vec<Glob>,
    /// Who may subscribe, by channel. The first glob that matches decides, `*` after all others. If none matches:
    /// [`AuthRule::Token`] if there are token keys, else [`AuthRule::Hook`] if there is a backend, else
    /// [`AuthRule::Open`].
    pub auth: Vec<(Glob, AuthRule)>,
    /// The keys by which tokens are signed.
    pub token_keys: Keys,
    /// Where more of them are: a URL of a JWK set, which is fetched at the start, every ten minutes, and when a token names a key
    /// that is not there. Of two keys of one name, that of `token_keys` counts.
    pub token_jwks: Option<String>,
    /// What tokens must have as `aud`.
    pub token_audience: Option<String>,
    /// The cookie that may carry a token. It needs `allow_origin` without `*` and `null`: cookies ride along from any page.
    pub token_cookie: Option<String>,
    /// Whether the parameter `access_token` may carry a token.
    pub token_in_query: bool,
    /// The backend that is asked where the rule is [`AuthRule::Hook`].
    pub backend: Option<Backend>,
    /// A file of certificate authorities, as PEM, that calls to `https://` URLs trust besides those of the system.
    pub ca_file: Option<PathBuf>,
    /// Who is told of whom is there, by channel, as with `auth`. If none matches, nobody is.
    pub presence: Vec<(Glob, PresenceRule)>,
    /// The longest list of members that is told; above it only numbers are. At most [`Config::PRESENCE_MEMBERS_MAX`].
    pub presence_members: usize,
    /// Where a line is written for each publication by a key.
    pub audit: Option<PathBuf>,
    /// The networks of proxies whose `X-Forwarded-For` and PROXY headers are believed.
    pub trust_proxy: Vec<IpNet>,
    /// Those of `listen` at which each connection begins with a PROXY header.
    pub proxy_listen: Vec<SocketAddr>,
    /// The most connections from an address (IPv6: from a /64) that is not of loopback.
    pub ip_connections: Option<usize>,
    /// How many handshakes such an address may begin in a time.
    pub ip_handshakes: Option<Rate>,
    /// The most connections by tokens of one `sub`.
    pub user_connections: Option<usize>,
    /// The most subscriptions of a connection at `/channels`.
    pub client_subscriptions: usize,
    /// How many messages a connection without a key may send in a time, outside development mode: twice as many in a
    /// burst. Above that it is read more slowly.
    pub client_messages: Option<Rate>,
    /// The browser origins that are served, in the form of [`normalise_origin`]; `*` stands for all, `null` for pages
    /// without one. In development mode the origins of loopback are served as well; otherwise an empty list serves all.
    pub allow_origin: Vec<String>,
    /// The host names that are answered to besides those of loopback. Empty: none in development mode, otherwise any.
    /// Without the check, a page whose host name now resolves to 127.0.0.1 has the same origin as the server (DNS
    /// rebinding).
    pub allow_host: Vec<Host>,
    /// The Pusher apps. The channels of the first have plain names, so that `/channels/NAME` reaches them; those of the
    /// others are other channels. In development mode, an empty list stands for [`Config::development_app`].
    pub apps: Vec<App>,
    /// Listen beyond loopback without a key.
    pub insecure: bool,
    /// Serve `/echo` outside development mode too.
    pub echo: bool,
    /// Serve the demo page and its prices outside development mode too.
    pub demo: bool,
    /// The most connections at once. `None`: as many as the descriptor limit allows.
    pub max_connections: Option<usize>,
    /// The longest message, in bytes: one WebSocket message over all its fragments, or one request body. A
    /// publication must also fit in `max_lag`. 16 MiB is what other servers accept (uWebSockets 16 MiB, Go's and
    /// Rust's libraries 32 to 64 MiB). Memory is allocated only as the bytes arrive.
    pub max_message: u64,
    /// How hard payloads are compressed for clients that offer permessage-deflate: 1 (least work) to 9 (smallest);
    /// 0 declines every offer. A publication is compressed once, whatever number of subscribers it has.
    pub deflate_level: u32,
    /// Payloads with fewer bytes are sent uncompressed: compressing them would save a fraction of a packet.
    pub deflate_min: u64,
    /// Let clients compress with reference to their earlier messages. Costs up to 32 KiB per connection, from its
    /// first compressed message on.
    pub deflate_context_takeover: bool,
    /// How many bytes the server holds for clients: histories, logs with lagging readers, messages and bodies under way,
    /// unsent answers, and the connections themselves. 1 GiB fits into the smallest machines that serve ten thousand
    /// clients.
    pub max_memory: u64,
    /// How many unsent bytes of its channels, in its wire form, a subscriber may have for longer than `lag_grace`, unless
    /// they are a single publication. 1 MiB is about ten thousand ticks, or ten seconds of a channel with 100 KB/s. All
    /// lagging subscribers share the bytes. Above 32 times as much there is no grace.
    pub max_lag: u64,
    /// How long a subscriber may exceed `max_lag`, under [`LagPolicy::Close`] and [`LagPolicy::Skip`]. 5 s cover a burst
    /// over a line that carries the channel on average, or a Wi-Fi client that roams. With zero the policy applies at
    /// once.
    pub lag_grace: Duration,
    /// What happens to a subscriber that exceeds `max_lag`, by channel. The first glob that matches decides, `*` after all
    /// others. [`LagPolicy::Close`] if none matches.
    pub lag_policy: Vec<(Glob, LagPolicy)>,
    /// How many publications are kept for reconnecting subscribers, by channel. The first glob that matches decides, `*`
    /// after all others. [`Config::HISTORY`] if none matches; 0 keeps none.
    pub history: Vec<(Glob, usize)>,
    /// How many bytes of them are kept, by channel. [`Config::HISTORY_BYTES`] if none matches.
    pub history_bytes: Vec<(Glob, u64)>,
    /// How long they are kept, by channel. [`Config::HISTORY_AGE`] if none matches.
    pub history_age: Vec<(Glob, Duration)>,
    /// The time from the accept to a complete request head. 10 s: a phone on a bad line needs 2 to 3 round trips of under a
    /// second each, and a client that needs longer only holds a descriptor.
    pub handshake_timeout: Duration,
    /// The time from a request's head to the end of its body. 30 s carry 16 MiB over 5 Mbit/s.
    pub body_timeout: Duration,
    /// The silence after which a WebSocket peer is sent a ping and an HTTP connection between requests is closed, and the
    /// interval of the notice that the server is alive, for subscribers of envelopes. 30 s is half of nginx's and most
    /// load balancers' 60 s limit for a silent connection.
    pub idle_timeout: Duration,
    /// How long the answer to a ping may take. 20 s, as in Python's websockets and Socket.IO.
    pub pong_timeout: Duration,
    /// How long a peer may take to answer a Close frame and to close TCP. 5 s: it has nothing else to do.
    pub close_timeout: Duration,
    /// For how long a stop answers 503 at `/readyz` and serves everything else, before the drain: the time that a load
    /// balancer needs to notice. Default zero: without a load balancer there is nothing to wait for.
    pub lame_duck: Duration,
    /// The time over which a stop spreads its Close frames, so that the clients do not all reconnect at once.
    pub drain: Duration,
}

/// What happens to a subscriber that does not keep up: one that exceeds [`Config::max_lag`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LagPolicy {
    /// It is closed with 1013, and can reconnect.
    Close,
    /// It skips the oldest publications until it is within the bound.
    Skip,
    /// It skips to the newest publication, without a grace; also when it has lagged by any amount for half a second, so
    /// that what it reads is new.
    Latest,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            listen: vec![SocketAddr::from(([127, 0, 0, 1], 8080))],
            metrics_listen: None,
            tls: Tls::default(),
            redis: None,
            threads: std::thread::available_parallelism().unwrap_or(NonZeroUsize::MIN),
            workers: Self::WORKERS,
            keys: Vec::new(),
            client_publish: Vec::new(),
            auth: Vec::new(),
            token_keys: Keys::default(),
            token_jwks: None,
            token_audience: None,
            token_cookie: None,
            token_in_query: false,
            backend: None,
            ca_file: None,
            presence: Vec::new(),
            presence_members: 100,
            audit: None,
            trust_proxy: Vec::new(),
            proxy_listen: Vec::new(),
            ip_connections: None,
            ip_handshakes: None,
            user_connections: None,
            client_subscriptions: 100,
            client_messages: Some(Self::CLIENT_MESSAGES),
            allow_origin: Vec::new(),
            allow_host: Vec::new(),
            apps: Vec::new(),
            insecure: false,
            echo: false,
            demo: false,
            max_connections: None,
            max_message: 16 * MIB,
            max_memory: 1024 * MIB,
            max_lag: MIB,
            lag_grace: Duration::from_secs(5),
            deflate_level: 6,
            deflate_min: 128,
            deflate_context_takeover: false,
            lag_policy: Vec::new(),
            history: Vec::new(),
            history_bytes: Vec::new(),
            history_age: Vec::new(),
            handshake_timeout: Duration::from_secs(10),
            body_timeout: Duration::from_secs(30),
            idle_timeout: Duration::from_secs(30),
            pong_timeout: Duration::from_secs(20),
            close_timeout: Duration::from_secs(5),
            lame_duck: Duration::ZERO,
            drain: Duration::from_secs(5),
        }
    }
}

impl Config {
    /// How many publications of a channel are kept if no rule of [`Config::history`] matches. 100 are a page of a chat, or
    /// the several seconds of a ticker that a reconnect takes.
    pub const HISTORY: usize = 100;

    /// How many bytes of them are kept. 256 KiB are 100 publications of 2.5 KiB.
    pub const HISTORY_BYTES: u64 = 256 * KIB;

    /// How long they are kept. 5 minutes cover a tunnel, a lift, a laptop carried to the next room.
    pub const HISTORY_AGE: Duration = Duration::from_secs(300);

    /// The longest list of members that can be told.
    pub const PRESENCE_MEMBERS_MAX: usize = 1000;

    /// How many threads the jobs of a program have at most.
    pub const WORKERS: NonZeroUsize = NonZeroUsize::new(4).expect("it is above 0");

    /// How many messages a connection may send: a game of 60 frames a second does not notice.
    pub const CLIENT_MESSAGES: Rate =
        Rate { count: NonZeroU32::new(100).expect("it is above 0"), per: Duration::from_secs(1) };

    /// Whether this is the development mode: open to everybody, and therefore on loopback only.
    #[must_use]
    pub fn is_development(&self) -> bool {
        self.lets_everybody_publish()
            && !self.insecure
            && self.addresses().all(|(_, address)| address.ip().is_loopback())
    }

    /// The addresses that clients reach, each with its flag.
    fn addresses(&self) -> impl Iterator<Item = (&'static str, SocketAddr)> {
        let plain = self.listen.iter().map(|&address| ("--listen", address));
        plain.chain(self.tls.listen.iter().map(|&address| ("--tls-listen", address)))
    }

    /// The app of development mode, for servers without one: its key is `app-key`, its secret `app-secret`, and client
    /// events are on.
    #[must_use]
    pub fn development_app() -> App {
        apps::development()
    }

    /// The apps that the server has if these are configured: in development mode, without any, the one of that mode.
    #[must_use]
    pub fn apps_or_development(&self, apps: &[App]) -> Vec<App> {
        if apps.is_empty() && self.is_development() {
            return vec![Self::development_app()];
        }
        apps.to_vec()
    }

    /// Whether nothing is configured that a publisher could be asked for.
    #[must_use]
    pub fn lets_everybody_publish(&self) -> bool {
        self.keys.is_empty() && !self.takes_tokens() && self.backend.is_none() && !self.asks_somebody()
    }

    /// Whether a rule asks the backend, or the program in its place.
    fn asks_somebody(&self) -> bool {
        self.auth.iter().any(|(_, rule)| *rule == AuthRule::Hook)
    }

    /// Whether there are keys by which tokens are signed, or are to be.
    #[must_use]
    pub fn takes_tokens(&self) -> bool {
        !self.token_keys.is_empty() || self.token_jwks.is_some()
    }

    /// Whether `/` is the demo page, and its prices are published.
    #[must_use]
    pub fn serves_demo(&self) -> bool {
        self.demo || self.is_development()
    }

    /// The longest publication, in bytes.
    #[must_use]
    pub fn publication_len_max(&self) -> u64 {
        self.max_message.min(self.max_lag)
    }

    /// The policy for a channel.
    #[must_use]
    pub fn lag_policy(&self, channel: &str) -> LagPolicy {
        by_channel(&self.lag_policy, channel).unwrap_or(LagPolicy::Close)
    }

    /// Checks the values, alone and together.
    ///
    /// # Errors
    /// Names the flag and the remedy.
    pub fn check(&self) -> Result<(), ConfigError> {
        self.check_for_program()?;
        self.check_judge(false)
    }

    /// The same for a program that has the server inside, and may decide itself where a rule is [`AuthRule::Hook`].
    ///
    /// # Errors
    /// As [`Config::check`].
    pub(crate) fn check_for_program(&self) -> Result<(), ConfigError> {
        if self.addresses().next().is_none() {
            return Err(ConfigError::NoListen);
        }
        self.tls.check(&self.listen).map_err(ConfigError::Tls)?;
        if self.ca_file.is_some() && !cfg!(feature = "tls") {
            return Err(ConfigError::Tls(TlsFault::NotBuilt("--ca-file")));
        }
        self.redis.as_ref().map_or(Ok(()), Redis::check).map_err(ConfigError::Redis)?;
        let exposed = self.addresses().find(|(_, address)| !address.ip().is_loopback());
        match exposed {
            Some((flag, address)) if self.lets_everybody_publish() && !self.insecure => {
                Err(ConfigError::Exposed(flag, address))
            }
            _ => self.check_values(),
        }
    }

    /// Checks apps, which need not be those of this configuration: alone, together and with its limits.
    ///
    /// # Errors
    /// Names the flag or the key of the table, and the remedy.
    pub fn check_apps(&self, apps: &[App]) -> Result<(), ConfigError> {
        apps::check(apps, self.publication_len_max()).map_err(ConfigError::App)
    }

    fn check_values(&self) -> Result<(), ConfigError> {
        if self.lets_everybody_publish() && !self.client_publish.is_empty() {
            return Err(ConfigError::ClientPublishWithoutKey);
        }
        if self.deflate_level > DEFLATE_LEVEL_MAX {
            return Err(ConfigError::DeflateLevel);
        }
        self.check_rules()?;
        self.check_access().map_err(ConfigError::Access)?;
        for (flag, value) in [
            ("--max-message", self.max_message),
            ("--max-lag", self.max_lag),
            ("--max-memory", self.max_memory),
        ] {
            if value == 0 {
                return Err(ConfigError::Zero(flag));
            }
        }
        let timeouts = [
            ("--handshake-timeout", self.handshake_timeout),
            ("--body-timeout", self.body_timeout),
            ("--idle-timeout", self.idle_timeout),
            ("--pong-timeout", self.pong_timeout),
            ("--close-timeout", self.close_timeout),
        ];
        match timeouts.iter().find(|(_, timeout)| timeout.is_zero()) {
            Some(&(flag, _)) => Err(ConfigError::Zero(flag)),
            None => {
                self.check_counts()?;
                self.check_apps(&self.apps)
            }
        }
    }

    fn check_counts(&self) -> Result<(), ConfigError> {
        let is_never = |rate: Option<Rate>| rate.is_some_and(|rate| rate.per.is_zero());
        let counts = [
            ("--max-connections", self.max_connections == Some(0)),
            ("--ip-connections", self.ip_connections == Some(0)),
            ("--ip-handshakes", is_never(self.ip_handshakes)),
            ("--user-connections", self.user_connections == Some(0)),
            ("--client-subscriptions", self.client_subscriptions == 0),
            ("--client-messages", is_never(self.client_messages)),
        ];
        match counts.into_iter().find(|(_, is_zero)| *is_zero) {
            Some((flag, _)) => Err(ConfigError::Zero(flag)),
            None => Ok(()),
        }
    }
}

impl Config {
    fn check_rules(&self) -> Result<(), ConfigError> {
        const CLIENT_PUBLISH: &str = "--client-publish";
        const AUTH: &str = "--auth";
        const PRESENCE: &str = "--presence";
        let dead = find_dead("--lag-policy", &self.lag_policy)
            .or_else(|| find_dead("--history", &self.history))
            .or_else(|| find_dead("--history-bytes", &self.history_bytes))
            .or_else(|| find_dead("--history-age", &self.history_age))
            .or_else(|| find_dead(AUTH, &self.auth))
            .or_else(|| rules::find_own(AUTH, self.auth.iter().map(|(glob, _)| glob)))
            .or_else(|| find_dead(PRESENCE, &self.presence))
            .or_else(|| rules::find_own(PRESENCE, self.presence.iter().map(|(glob, _)| glob)))
            .or_else(|| rules::find_unfit(CLIENT_PUBLISH, &self.client_publish))
            .or_else(|| rules::find_own(CLIENT_PUBLISH, &self.client_publish));
        if let Some(dead) = dead {
            return Err(ConfigError::DeadRule(dead));
        }
        let is_sent = |origin: &&String| normalise_origin(origin).as_ref() == Ok(*origin);
        match self.allow_origin.iter().find(|origin| !is_sent(origin)) {
            Some(origin) => Err(ConfigError::Origin(origin.clone())),
            None => Ok(()),
        }
    }
}

fn find_dead<T>(flag: &'static str, rules: &[(Glob, T)]) -> Option<DeadRule> {
    rules::find_unfit(flag, rules.iter().map(|(glob, _)| glob)).or_else(|| rules::find_dead(flag, rules))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn listening_on(address: &str) -> Config {
        Config { listen: vec![address.parse().unwrap()], ..Config::default() }
    }

    #[test]
    fn the_default_is_the_development_mode() {
        assert!(Config::default().is_development());
        assert_eq!(Config::default().check(), Ok(()));
    }

    #[test]
    fn loopback_is_development_in_both_families() {
        for address in ["127.0.0.1:80", "127.9.9.9:80", "[::1]:80"] {
            assert!(listening_on(address).is_development(), "{address}");
        }
    }

    #[test]
    fn another_address_without_a_key_is_refused_with_the_flag_to_add() {
        for address in ["0.0.0.0:80", "[::]:80", "192.168.1.2:80"] {
            let error = listening_on(address).check().unwrap_err();
            assert!(error.to_string().contains("--publish-key KEY"), "{error}");
            assert!(error.to_string().contains("--insecure"), "{error}");
            assert!(error.to_string().contains(address), "{error}");
        }
    }

    #[test]
    fn one_exposed_address_among_loopback_ones_is_refused() {
        let mut config = Config::default();
        config.listen.push("0.0.0.0:81".parse().unwrap());
        assert!(matches!(config.check(), Err(ConfigError::Exposed("--listen", _))));
    }

    #[test]
    fn a_key_or_insecure_opens_other_addresses_and_ends_the_development_mode() {
        let with_key =
            Config { keys: vec![AccessKey::with_all_rights("default", "k")], ..listening_on("0.0.0.0:80") };
        let insecure = Config { insecure: true, ..listening_on("0.0.0.0:80") };
        for config in [with_key, insecure] {
            assert_eq!(config.check(), Ok(()));
            assert!(!config.is_development());
        }
    }

    #[test]
    fn client_publish_without_a_key_is_refused() {
        let config = Config { client_publish: vec![Glob::new("chat")], ..Config::default() };
        assert_eq!(config.check(), Err(ConfigError::ClientPublishWithoutKey));
    }

    #[test]
    fn a_glob_that_fits_no_channel_is_refused_by_its_flag() {
        let glob = || Glob::new("a b");
        let age = Duration::from_secs(1);
        let with_key =
            || Config { keys: vec![AccessKey::with_all_rights("default", "k")], ..Config::default() };
        for (flag, config) in [
            ("--client-publish", Config { client_publish: vec![glob()], ..with_key() }),
            ("--client-publish", Config { client_publish: vec![Glob::new("@fanfare.*")], ..with_key() }),
            ("--lag-policy", Config { lag_policy: vec![(glob(), LagPolicy::Skip)], ..Config::default() }),
            ("--history", Config { history: vec![(Glob::new(""), 5)], ..Config::default() }),
            ("--history-bytes", Config { history_bytes: vec![(Glob::new("é*"), 5)], ..Config::default() }),
            ("--history-age", Config { history_age: vec![(glob(), age)], ..Config::default() }),
        ] {
            let words = config.check().unwrap_err().to_string();
            assert!(words.starts_with(&format!("{flag}: ")), "{words}");
        }
    }

    #[test]
    fn an_origin_that_no_browser_sends_is_refused_with_the_one_that_it_does() {
        let check = |origin: &str| Config { allow_origin: vec![origin.into()], ..Config::default() }.check();
        for origin in ["*", "null", "https://example.com", "http://localhost:3000"] {
            assert_eq!(check(origin), Ok(()), "{origin}");
        }
        let words = check("https://A.example:443").unwrap_err().to_string();
        assert_eq!(
            words,
            "--allow-origin: browsers send https://A.example:443 as https://a.example; give that"
        );
        let words = check("https://*.example.com").unwrap_err().to_string();
        assert!(words.starts_with("--allow-origin") && words.contains("without a path"), "{words}");
    }

    #[test]
    fn a_limit_of_zero_is_refused_by_its_flag() {
        let config = Config { max_lag: 0, ..Config::default() };
        assert!(config.check().unwrap_err().to_string().starts_with("--max-lag"));
        let config = Config { pong_timeout: Duration::ZERO, ..Config::default() };
        assert!(config.check().unwrap_err().to_string().starts_with("--pong-timeout"));
        let config = Config { max_connections: Some(0), ..Config::default() };
        assert!(config.check().unwrap_err().to_string().starts_with("--max-connections"));
        let config = Config { drain: Duration::ZERO, ..Config::default() };
        assert_eq!(config.check(), Ok(()));
    }

    #[test]
    fn the_first_glob_that_matches_decides_the_policy() {
        let lag_policy = vec![(Glob::new("prices*"), LagPolicy::Latest), (Glob::new("*"), LagPolicy::Skip)];
        let config = Config { lag_policy, ..Config::default() };
        assert_eq!(config.lag_policy("prices.eur"), LagPolicy::Latest);
        assert_eq!(config.lag_policy("news"), LagPolicy::Skip);
        assert_eq!(Config::default().lag_policy("news"), LagPolicy::Close);
    }
}
