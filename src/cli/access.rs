//! The flags of who may do what: keys, rules, origins and apps, tokens, the backend, presence.
//!
//! What is in the files that they name is read by `key_files`. Which values contradict each other is checked by
//! `Config::check`.

use std::path::PathBuf;
use std::time::Duration;

use clap::{ArgAction, Args};

use super::key_files::KeysRead;
use super::values::{parse_app, parse_auth, parse_key, parse_presence, parse_time};
use fanfare::config::{AccessKey, AuthRule, Backend, Config, Glob, Host, PresenceRule, normalise_origin};
use fanfare::pusher::App;

/// The flags whose values are taken anew when the files are read again, by their names.
pub const RELOADED: [&str; 10] = [
    "publish-key",
    "publish-keys",
    "client-publish",
    "auth",
    "allow-origin",
    "allow-host",
    "token-key",
    "token-audience",
    "token-cookie",
    "token-in-query",
];

/// The flags under Access, Tokens, Backend and Presence.
#[derive(Args)]
pub struct AccessArgs {
    /// Key that publishing requires
    ///
    /// KEY is a secret, or NAME=SECRET with a name of 1 to 32 of a-z 0-9 _ - for logs and metrics; one without a name is
    /// called `default`. Its holder may publish, subscribe to every channel, and read /metrics and /dashboard, by the
    /// field `Authorization: Bearer SECRET`. Repeatable; a comma is part of the secret. Without a key, a token key or a
    /// backend, only loopback addresses can be listened on (see --insecure).
    #[arg(help_heading = "Access", hide_env = true)]
    #[arg(long, value_name = "KEY", env = "FANFARE_PUBLISH_KEY", hide_env_values = true, value_parser = parse_key)]
    publish_key: Vec<AccessKey>,

    /// TOML file of [[key]] tables
    ///
    /// Each has `name`, `sha256` (or `secret`), and rights: `publish` and `read` are globs of channels, `admin` is true or
    /// false, `not-after` a date. `fanfare key NAME` makes one. The file is read again when it changes and on SIGHUP.
    #[arg(help_heading = "Access", hide_env = true)]
    #[arg(long, value_name = "FILE", env = "FANFARE_PUBLISH_KEYS")]
    pub publish_keys: Option<PathBuf>,

    /// Channels to publish to without a key
    ///
    /// Clients without a key may publish to the channels that match this glob, if they may subscribe to them: `*` stands
    /// for any characters, `?` for one. Repeatable.
    #[arg(help_heading = "Access", hide_env = true)]
    #[arg(long, value_name = "GLOB", env = "FANFARE_CLIENT_PUBLISH", value_delimiter = ',')]
    client_publish: Vec<Glob>,

    /// Who may subscribe: open, token, hook or key
    ///
    /// `open`: everybody. `token`: by a token that names the channel. `hook`: the backend of --auth-url is asked. `key`:
    /// holders of a key alone, who may in any case. GLOB=RULE for the channels that match; the first that matches decides.
    /// Repeatable. Channels without a rule are `token` with --token-key, else `hook` with --auth-url, else `open`.
    #[arg(help_heading = "Access", hide_env = true)]
    #[arg(long, value_name = "RULE", env = "FANFARE_AUTH", value_delimiter = ',', value_parser = parse_auth)]
    auth: Vec<(Glob, AuthRule)>,

    /// Browser origins to serve
    ///
    /// Pages of other origins get 403. Give an origin such as https://example.com; `*` stands for every origin, `null`
    /// for pages that were opened as files. Repeatable. Without this flag every origin is served; in development mode,
    /// the pages of this machine, which are served there in any case.
    #[arg(help_heading = "Access", hide_env = true)]
    #[arg(long, value_name = "ORIGIN", env = "FANFARE_ALLOW_ORIGIN", value_delimiter = ',', value_parser = normalise_origin)]
    allow_origin: Vec<String>,

    /// Host names to answer to besides localhost
    ///
    /// Requests with another name in `Host` get 403. Repeatable. Without this flag every name is answered to; in
    /// development mode only localhost, the names under it, and loopback addresses.
    #[arg(help_heading = "Access", hide_env = true)]
    #[arg(long, value_name = "HOST", env = "FANFARE_ALLOW_HOST", value_delimiter = ',')]
    allow_host: Vec<Host>,

    /// Pusher app: digits, key and secret
    ///
    /// Pusher clients connect with the key; servers sign with the secret. The channels of the first app are those of
    /// /channels/NAME. Repeatable. In --config FILE, [[app]] tables have more settings and are read again when the file
    /// changes and on SIGHUP; this flag overrides them. Development mode without an app has 1:app-key:app-secret.
    #[arg(help_heading = "Access", hide_env = true)]
    #[arg(long, value_name = "ID:KEY:SECRET", env = "FANFARE_APP", hide_env_values = true, value_delimiter = ',', value_parser = parse_app)]
    pub app: Vec<App>,

    /// File of publications by key
    ///
    /// A line of JSON for each publication by a key: time, name of the key, channel, id, bytes and address. The file is
    /// appended to, and opened again on SIGHUP.
    #[arg(help_heading = "Access", hide_env = true)]
    #[arg(long, value_name = "FILE", env = "FANFARE_AUDIT")]
    pub audit: Option<PathBuf>,

    /// Listen beyond loopback without a key
    ///
    /// Everybody who can reach the address may then publish.
    #[arg(help_heading = "Access", hide_env = true)]
    #[arg(long, env = "FANFARE_INSECURE", action = ArgAction::SetTrue)]
    insecure: bool,

    /// JWK set, public key or secret of tokens
    ///
    /// What signs tokens (JWT): a JWK set, a public key as PEM (RSA, P-256 or Ed25519), or one secret of 32 bytes and
    /// more for HS256. A key is called by its kid, else by the name of the file without its ending. Channels without a
    /// rule are then for tokens (see --auth). Repeatable. Files are read again when they change and on SIGHUP.
    #[arg(help_heading = "Tokens", hide_env = true)]
    #[arg(long, value_name = "FILE", env = "FANFARE_TOKEN_KEY", value_delimiter = ',')]
    pub token_key: Vec<PathBuf>,

    /// URL of a JWK set with more of them
    ///
    /// Of an identity provider: it is fetched at the start, every 10 minutes, and when a token names a key that is not there,
    /// then at most once in 30 s. If that fails, the last set is good. Secrets in it are passed over. See --ca-file.
    #[arg(help_heading = "Tokens", hide_env = true)]
    #[arg(long, value_name = "URL", env = "FANFARE_TOKEN_JWKS", hide_env_values = true)]
    token_jwks: Option<String>,

    /// What tokens must have as aud
    ///
    /// Tokens that are for something else are refused.
    #[arg(help_heading = "Tokens", hide_env = true)]
    #[arg(long, value_name = "TEXT", env = "FANFARE_TOKEN_AUDIENCE")]
    token_audience: Option<String>,

    /// Cookie that may carry a token
    ///
    /// For pages whose EventSource has `withCredentials`. It needs --allow-origin with the origins of these pages, since
    /// browsers send cookies along with requests of any page.
    #[arg(help_heading = "Tokens", hide_env = true)]
    #[arg(long, value_name = "NAME", env = "FANFARE_TOKEN_COOKIE")]
    token_cookie: Option<String>,

    /// Accept ?access_token=
    ///
    /// For clients that can set neither fields nor cookies. Proxies write queries to their logs: give such tokens an exp
    /// of 60 s, and stay.
    #[arg(help_heading = "Tokens", hide_env = true)]
    #[arg(long, env = "FANFARE_TOKEN_IN_QUERY", action = ArgAction::SetTrue)]
    token_in_query: bool,

    /// Backend to ask who may subscribe
    ///
    /// A URL that is asked by POST, with the client's Cookie and Authorization, where the rule of a channel is
    /// `hook` (see --auth).
    #[arg(help_heading = "Backend", hide_env = true)]
    #[arg(long, value_name = "URL", env = "FANFARE_AUTH_URL", hide_env_values = true)]
    auth_url: Option<String>,

    /// Secret that signs what it is asked
    ///
    /// Calls then have the field `Fanfare-Signature`: the HMAC-SHA256 of the time, a dot and the body.
    #[arg(help_heading = "Backend", hide_env = true)]
    #[arg(long, value_name = "SECRET", env = "FANFARE_AUTH_SECRET", hide_env_values = true)]
    auth_secret: Option<String>,

    /// Time to its answer
    ///
    /// A client waits meanwhile. After that it is told to come again, and nobody is let in.
    #[arg(help_heading = "Backend", hide_env = true)]
    #[arg(long, value_name = "TIME", env = "FANFARE_AUTH_TIMEOUT", default_value = "2s", value_parser = parse_time)]
    auth_timeout: Duration,

    /// Time without it for who is in
    ///
    /// While the backend fails, clients that it has let in stay for this long after the time that its answer gave.
    #[arg(help_heading = "Backend", hide_env = true)]
    #[arg(long, value_name = "TIME", env = "FANFARE_AUTH_GRACE", default_value = "5m", value_parser = parse_time)]
    auth_grace: Duration,

    /// Channels that tell members or count
    ///
    /// Subscribers may ask who is in a channel: `members` tells who and how many, `count` how many. GLOB=WHAT for the
    /// channels that match; the first that matches decides. Repeatable. Other channels tell nothing.
    #[arg(help_heading = "Presence", hide_env = true)]
    #[arg(long, value_name = "WHAT", env = "FANFARE_PRESENCE", value_delimiter = ',', value_parser = parse_presence)]
    presence: Vec<(Glob, PresenceRule)>,

    /// Longest list of members
    ///
    /// In channels with more members, only how many they are is told. At most 1000.
    #[arg(help_heading = "Presence", hide_env = true)]
    #[arg(long, value_name = "N", env = "FANFARE_PRESENCE_MEMBERS", default_value = "100")]
    presence_members: usize,
}

impl AccessArgs {
    /// What clap cannot tell: a flag that does nothing without another one.
    pub fn fault(&self) -> Option<String> {
        let is_lost = self.auth_secret.is_some() && self.auth_url.is_none();
        is_lost
            .then(|| "--auth-secret signs calls of the backend, and there is none. Add --auth-url URL".into())
    }

    /// A configuration with these values, and what was in the files that they name.
    pub fn into_config(self, read: KeysRead) -> Config {
        let (auth_secret, auth_timeout, auth_grace) = (self.auth_secret, self.auth_timeout, self.auth_grace);
        let backend = self.auth_url.map(|url| Backend {
            secret: auth_secret,
            timeout: auth_timeout,
            grace: auth_grace,
            ..Backend::new(&url)
        });
        let mut keys = self.publish_key;
        keys.extend(read.keys);
        Config {
            keys,
            client_publish: self.client_publish,
            auth: self.auth,
            token_keys: read.token_keys,
            token_jwks: self.token_jwks,
            token_audience: self.token_audience,
            token_cookie: self.token_cookie,
            token_in_query: self.token_in_query,
            backend,
            presence: self.presence,
            presence_members: self.presence_members,
            audit: self.audit,
            allow_origin: self.allow_origin,
            allow_host: self.allow_host,
            apps: self.app,
            insecure: self.insecure,
            ..Config::default()
        }
    }
}
