//! The command line: every flag is also an environment variable and a key of a TOML file. A flag overrides the environment,
//! and the environment overrides the file.
//!
//! Flags of access are in `access`, how values are parsed is in `values`, the file in `file` and `app_table`, files of keys in
//! `key_files`. Which values contradict each other is checked by `Config::check`.

mod access;
mod again;
mod app_table;
mod bounded;
mod changes;
mod file;
mod key_files;
mod key_table;
mod redis;
mod table;
mod tls;
mod toml_text;
mod values;

use std::ffi::OsString;
use std::fmt;
use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::parser::ValueSource;
use clap::{ArgAction, ArgMatches, CommandFactory, FromArgMatches, Parser, Subcommand};
use ipnet::IpNet;

use self::redis::RedisArgs;
use access::AccessArgs;
pub use again::{Reload, Reread};
pub use changes::changes;
use fanfare::config::{Config, Glob, LagPolicy, Rate};
use file::{ConfigFile, Known};
use key_files::KeysRead;
pub use key_table::{NewKey, SECRET_LEN};
use tls::TlsArgs;
use values::{
    Addresses, RateOrNone, parse_address, parse_history, parse_history_age, parse_history_bytes,
    parse_lag_policy, parse_listen, parse_name, parse_network, parse_rate, parse_rate_or_none, parse_size,
    parse_threads, parse_time,
};

/// A broadcast server: one URL per channel, for WebSocket clients and curl.
///
/// Without flags it listens on 127.0.0.1:8080 in development mode: everybody on
/// this machine may publish. Every flag is also an environment variable and a key
/// of the --config file. A flag overrides the environment, and the environment
/// overrides the file.
///
///   subscribe  ws://127.0.0.1:8080/channels/news
///   publish    curl -d hello http://127.0.0.1:8080/channels/news
#[derive(Parser)]
#[command(args_conflicts_with_subcommands = true, disable_help_subcommand = true)]
#[command(name = "fanfare", version, verbatim_doc_comment, max_term_width = 100)]
#[command(after_help = "Sizes: 512, 64KiB, 16MiB. Times: 500ms, 30s, 5m. A comma separates values.\n\
    --max-lag 1MiB is FANFARE_MAX_LAG=1MiB, or max-lag = \"1MiB\" in --config FILE.")]
pub struct Args {
    /// Read flags from this TOML file
    ///
    /// Its keys are the names of the flags, without the dashes. A flag on the command line and an environment variable
    /// override the file.
    #[arg(hide_env = true)]
    #[arg(long, value_name = "FILE", env = "FANFARE_CONFIG")]
    config: Option<PathBuf>,

    /// Address to listen on
    ///
    /// An IP address and a port; port 0 takes a free one. Repeatable. Each bound address is printed to standard output.
    /// ADDR,proxy: a proxy of --trust-proxy connects there, and each connection begins with a PROXY header (version 1 or 2).
    #[arg(help_heading = "Listening", hide_env = true)]
    #[arg(long, value_name = "ADDR", env = "FANFARE_LISTEN", default_value = "127.0.0.1:8080", value_parser = parse_listen)]
    listen: Vec<Addresses>,

    /// Address for /metrics and probes, no key
    ///
    /// One more address, which serves /metrics, /healthz and /readyz and nothing else, without a key. Its connections,
    /// at most 32, are not counted in --max-connections.
    #[arg(help_heading = "Listening", hide_env = true)]
    #[arg(long, value_name = "ADDR", env = "FANFARE_METRICS_LISTEN", value_parser = parse_address)]
    metrics_listen: Option<SocketAddr>,

    /// Networks of proxies that are believed
    ///
    /// From these peers, `X-Forwarded-For` tells the address of a client, and PROXY headers do (see --listen ADDR,proxy).
    /// A network such as 10.0.0.0/8, or an address. Repeatable.
    #[arg(help_heading = "Listening", hide_env = true)]
    #[arg(long, value_name = "CIDR", env = "FANFARE_TRUST_PROXY", value_delimiter = ',', value_parser = parse_network)]
    trust_proxy: Vec<IpNet>,

    /// Event loops [default: number of cores]
    ///
    /// Each event loop runs on a thread of its own.
    #[arg(help_heading = "Listening", hide_env = true)]
    #[arg(long, value_name = "N", env = "FANFARE_THREADS", value_parser = parse_threads)]
    threads: Option<NonZeroUsize>,

    #[command(flatten)]
    tls: TlsArgs,

    #[command(flatten)]
    access: AccessArgs,

    #[command(flatten)]
    redis: RedisArgs,

    /// Serve /echo outside development mode
    ///
    /// Development mode serves it in any case: a WebSocket whose messages are sent back.
    #[arg(help_heading = "Listening", hide_env = true)]
    #[arg(long, env = "FANFARE_ECHO", action = ArgAction::SetTrue)]
    echo: bool,

    /// Serve the demo outside development mode
    ///
    /// Development mode serves it in any case: a page at / with prices, a chat and the echo. With a key, its chat needs
    /// --client-publish demo-chat.
    #[arg(help_heading = "Listening", hide_env = true)]
    #[arg(long, env = "FANFARE_DEMO", action = ArgAction::SetTrue)]
    demo: bool,

    /// Connections [default: by descriptor limit]
    ///
    /// Clients above the limit get 503 with `Retry-After`. A Pusher client over HTTP counts as its session and its requests.
    #[arg(help_heading = "Limits", hide_env = true)]
    #[arg(long, value_name = "N", env = "FANFARE_MAX_CONNECTIONS")]
    max_connections: Option<usize>,

    /// Connections from an address [default: any]
    ///
    /// From an IPv6 network of 64 bits likewise. Loopback is not counted. Behind a proxy, give --trust-proxy as well: all
    /// clients have its address otherwise. Clients above the limit get 429.
    #[arg(help_heading = "Limits", hide_env = true)]
    #[arg(long, value_name = "N", env = "FANFARE_IP_CONNECTIONS")]
    ip_connections: Option<usize>,

    /// Handshakes of an address [default: any]
    ///
    /// A number in a time, such as 50/s. See --ip-connections.
    #[arg(help_heading = "Limits", hide_env = true)]
    #[arg(long, value_name = "RATE", env = "FANFARE_IP_HANDSHAKES", value_parser = parse_rate)]
    ip_handshakes: Option<Rate>,

    /// Connections of a user [default: any]
    ///
    /// Of the tokens, or answers of the backend, with one `sub`. Clients above the limit get 429.
    #[arg(help_heading = "Limits", hide_env = true)]
    #[arg(long, value_name = "N", env = "FANFARE_USER_CONNECTIONS")]
    user_connections: Option<usize>,

    /// Subscriptions of a connection
    ///
    /// At /channels, which carries many channels on one connection.
    #[arg(help_heading = "Limits", hide_env = true)]
    #[arg(long, value_name = "N", env = "FANFARE_CLIENT_SUBSCRIPTIONS", default_value = "100")]
    client_subscriptions: usize,

    /// Messages of a connection
    ///
    /// A number in a time, such as 100/s, and twice as many in a burst; `none` for no limit. A client that sends more is
    /// read more slowly, and nothing is lost. Holders of a key and development mode have no limit.
    #[arg(help_heading = "Limits", hide_env = true)]
    #[arg(long, value_name = "RATE", env = "FANFARE_CLIENT_MESSAGES", default_value = "100/s", value_parser = parse_rate_or_none)]
    client_messages: RateOrNone,

    /// Longest message or body
    ///
    /// One WebSocket message over all its fragments, inflated, or one request body. A publication must also fit in
    /// --max-lag.
    #[arg(help_heading = "Limits", hide_env = true)]
    #[arg(long, value_name = "SIZE", env = "FANFARE_MAX_MESSAGE", default_value = "16MiB", value_parser = parse_size)]
    max_message: u64,

    /// Memory held for clients
    ///
    /// Histories, logs, messages and bodies that are under way, answers, and connections. Above it history is evicted,
    /// then the connections that hold most are closed, and new clients get 503.
    #[arg(help_heading = "Limits", hide_env = true)]
    #[arg(long, value_name = "SIZE", env = "FANFARE_MAX_MEMORY", default_value = "1GiB", value_parser = parse_size)]
    max_memory: u64,

    /// Level 1 to 9, or 0 for none
    ///
    /// For clients that offer permessage-deflate. 1 is the least work, 9 the smallest result. A publication is
    /// compressed once, not once per subscriber.
    #[arg(help_heading = "Compression", hide_env = true)]
    #[arg(long, value_name = "N", env = "FANFARE_DEFLATE_LEVEL", default_value = "6")]
    deflate_level: u32,

    /// Smallest payload compressed
    ///
    /// Payloads with fewer bytes are sent uncompressed.
    #[arg(help_heading = "Compression", hide_env = true)]
    #[arg(long, value_name = "SIZE", env = "FANFARE_DEFLATE_MIN", default_value = "128", value_parser = parse_size)]
    deflate_min: u64,

    /// Let clients keep their window (32 KiB each)
    ///
    /// A client may then compress its messages with reference to its earlier ones, which holds up to 32 KiB for each
    /// connection that does.
    #[arg(help_heading = "Compression", hide_env = true)]
    #[arg(long, env = "FANFARE_DEFLATE_CONTEXT_TAKEOVER", action = ArgAction::SetTrue)]
    deflate_context_takeover: bool,

    /// Unsent bytes per subscriber
    ///
    /// How many bytes of its channels a subscriber may lag by.
    #[arg(help_heading = "Subscribers", hide_env = true)]
    #[arg(long, value_name = "SIZE", env = "FANFARE_MAX_LAG", default_value = "1MiB", value_parser = parse_size)]
    max_lag: u64,

    /// Time allowed above --max-lag
    ///
    /// A subscriber may lag by more than --max-lag, up to 32 times as much, for this long; --lag-policy applies after
    /// that. `latest` has no grace.
    #[arg(help_heading = "Subscribers", hide_env = true)]
    #[arg(long, value_name = "TIME", env = "FANFARE_LAG_GRACE", default_value = "5s", value_parser = parse_time)]
    lag_grace: Duration,

    /// Then close, skip or latest [default: close]
    ///
    /// What happens to a subscriber that lags too far: `close` it with 1013, `skip` the oldest publications, or jump to
    /// the `latest`. GLOB=POLICY for the channels that match. Repeatable.
    #[arg(help_heading = "Subscribers", hide_env = true)]
    #[arg(long, value_name = "POLICY", env = "FANFARE_LAG_POLICY", value_delimiter = ',', value_parser = parse_lag_policy)]
    lag_policy: Vec<(Glob, LagPolicy)>,

    /// Publications kept per channel [default: 100]
    ///
    /// They are sent to reconnecting subscribers; 0 keeps none. GLOB=COUNT for the channels that match. Repeatable.
    #[arg(help_heading = "Subscribers", hide_env = true)]
    #[arg(long, value_name = "COUNT", env = "FANFARE_HISTORY", value_delimiter = ',', value_parser = parse_history)]
    history: Vec<(Glob, usize)>,

    /// Bytes kept per channel [default: 256KiB]
    ///
    /// The newest publication is kept in any case. GLOB=SIZE for the channels that match. Repeatable.
    #[arg(help_heading = "Subscribers", hide_env = true)]
    #[arg(long, value_name = "SIZE", env = "FANFARE_HISTORY_BYTES", value_delimiter = ',', value_parser = parse_history_bytes)]
    history_bytes: Vec<(Glob, u64)>,

    /// Time publications are kept [default: 5m]
    ///
    /// GLOB=TIME for the channels that match. Repeatable.
    #[arg(help_heading = "Subscribers", hide_env = true)]
    #[arg(long, value_name = "TIME", env = "FANFARE_HISTORY_AGE", value_delimiter = ',', value_parser = parse_history_age)]
    history_age: Vec<(Glob, Duration)>,

    /// Time to a complete request head
    ///
    /// From the connect. A later request has as long from its first byte. After that the client gets 408.
    #[arg(help_heading = "Times", hide_env = true)]
    #[arg(long, value_name = "TIME", env = "FANFARE_HANDSHAKE_TIMEOUT", default_value = "10s", value_parser = parse_time)]
    handshake_timeout: Duration,

    /// Time to the end of its body
    ///
    /// From the end of the head. After that the client gets 408.
    #[arg(help_heading = "Times", hide_env = true)]
    #[arg(long, value_name = "TIME", env = "FANFARE_BODY_TIMEOUT", default_value = "30s", value_parser = parse_time)]
    body_timeout: Duration,

    /// Silence before a ping or close
    ///
    /// A WebSocket client that has been silent for this long is sent a ping, and an HTTP connection between two
    /// requests is closed. Subscribers of envelopes are told this often that the server is alive.
    #[arg(help_heading = "Times", hide_env = true)]
    #[arg(long, value_name = "TIME", env = "FANFARE_IDLE_TIMEOUT", default_value = "30s", value_parser = parse_time)]
    idle_timeout: Duration,

    /// Time to answer a ping
    ///
    /// A WebSocket client without an answer is closed with 1001.
    #[arg(help_heading = "Times", hide_env = true)]
    #[arg(long, value_name = "TIME", env = "FANFARE_PONG_TIMEOUT", default_value = "20s", value_parser = parse_time)]
    pong_timeout: Duration,

    /// Time to answer a Close frame
    ///
    /// After that the connection is dropped.
    #[arg(help_heading = "Times", hide_env = true)]
    #[arg(long, value_name = "TIME", env = "FANFARE_CLOSE_TIMEOUT", default_value = "5s", value_parser = parse_time)]
    close_timeout: Duration,

    /// On a stop, /readyz says 503 for
    ///
    /// On SIGTERM or SIGINT, /readyz answers 503 for this long while everything else is served, so that a load balancer
    /// finds out before the drain begins.
    #[arg(help_heading = "Times", hide_env = true)]
    #[arg(long, value_name = "TIME", env = "FANFARE_LAME_DUCK", default_value = "0s", value_parser = parse_time)]
    lame_duck: Duration,

    /// Then spread Close frames over
    ///
    /// So that the clients do not all reconnect at once.
    #[arg(help_heading = "Times", hide_env = true)]
    #[arg(long, value_name = "TIME", env = "FANFARE_DRAIN", default_value = "5s", value_parser = parse_time)]
    drain: Duration,

    /// What the --config file says, if there is one.
    #[arg(skip)]
    file: Option<ConfigFile>,

    /// What was in the files of keys.
    #[arg(skip)]
    read: KeysRead,

    #[command(subcommand)]
    task: Option<Task>,
}

/// What the binary does instead of serving.
#[derive(Subcommand)]
pub enum Task {
    /// Make a key for the file of --publish-keys
    ///
    /// Prints the secret on the first line, for whoever publishes, and then the [[key]] table for the file, which has the
    /// SHA-256 of the secret.
    Key {
        /// 1 to 32 of a-z 0-9 _ -
        #[arg(value_parser = parse_name)]
        name: String,
    },
}

impl Args {
    /// Parses the process's arguments and environment, and reads the files that they name.
    ///
    /// # Errors
    /// What is to be printed: a wrong value with its remedy, or the help or version that was asked for.
    pub fn parse_all() -> Result<Self, clap::Error> {
        Self::parse_from_words(&std::env::args_os().collect::<Vec<_>>())
    }

    fn parse_from_words(words: &[OsString]) -> Result<Self, clap::Error> {
        let file = Self::read_file(words)?;
        let mut args = Self::of_words_and_file(words, file, &[])?;
        if args.task.is_none() {
            args.take_apps().map_err(|what| fault(&what))?;
            args.take_pairs().map_err(|what| fault(&what))?;
            args.read_keys().map_err(|what| fault(&what))?;
        }
        Ok(args)
    }

    /// The `--config` file, if these words or the environment name one.
    fn read_file(words: &[OsString]) -> Result<Option<ConfigFile>, clap::Error> {
        let command = Self::command();
        let matches = command.clone().try_get_matches_from(words).map_err(without_secret)?;
        let path = matches.get_one::<PathBuf>("config").filter(|_| matches.subcommand().is_none());
        let Some(path) = path else { return Ok(None) };
        let file = ConfigFile::read(path, |key| known(&command, &matches, key));
        file.map(Some).map_err(|what| fault(&of_file(path, &what)))
    }

    /// The flags of these words, and those of a file but for some. Other files are not read.
    fn of_words_and_file(
        words: &[OsString],
        file: Option<ConfigFile>,
        without: &[&str],
    ) -> Result<Self, clap::Error> {
        let mut words = words.to_vec();
        words.extend(file.iter().flat_map(|file| file.words_without(without)));
        let matches = Self::command().try_get_matches_from(&words).map_err(without_secret)?;
        Ok(Self { file, ..Self::from_arg_matches(&matches)? })
    }

    /// Adds the apps of the tables of the file.
    fn take_apps(&mut self) -> Result<(), String> {
        let (Some(file), Some(path)) = (&self.file, &self.config) else { return Ok(()) };
        let apps = file.apps().map_err(|what| of_file(path, what))?;
        self.access.app.extend_from_slice(apps);
        Ok(())
    }

    /// Adds the certificates of the tables of the file.
    fn take_pairs(&mut self) -> Result<(), String> {
        if let (Some(file), Some(path)) = (&self.file, &self.config) {
            self.tls.tables = file.pairs().map_err(|what| of_file(path, what))?.to_vec();
        }
        self.tls.fault().map_or(Ok(()), Err)
    }

    /// Reads the files of keys.
    fn read_keys(&mut self) -> Result<(), String> {
        let reader = std::mem::take(&mut self.read.reader);
        self.read = key_files::read(reader, self.access.publish_keys.as_deref(), &self.access.token_key)?;
        self.access.fault().or(self.redis.fault()).map_or(Ok(()), Err)
    }

    /// What to do instead of serving.
    pub fn task(&self) -> Option<&Task> {
        self.task.as_ref()
    }

    /// What is to be said of files that are right, but in part of no use.
    pub fn warnings(&self) -> &[String] {
        &self.read.passed_over
    }

    /// The configuration of the server.
    pub fn into_config(self) -> Config {
        let addresses = || self.listen.iter().flat_map(|addresses| &addresses.0);
        let proxied = addresses().filter(|listen| listen.is_proxied);
        Config {
            listen: addresses().map(|listen| listen.address).collect(),
            proxy_listen: proxied.map(|listen| listen.address).collect(),
            metrics_listen: self.metrics_listen,
            ca_file: self.tls.ca_file.clone(),
            tls: self.tls.into_tls(),
            redis: self.redis.into_redis(),
            trust_proxy: self.trust_proxy,
            threads: self.threads.unwrap_or_else(|| Config::default().threads),
            echo: self.echo,
            demo: self.demo,
            max_connections: self.max_connections,
            ip_connections: self.ip_connections,
            ip_handshakes: self.ip_handshakes,
            user_connections: self.user_connections,
            client_subscriptions: self.client_subscriptions,
            client_messages: self.client_messages.0,
            max_message: self.max_message,
            max_memory: self.max_memory,
            max_lag: self.max_lag,
            lag_grace: self.lag_grace,
            deflate_level: self.deflate_level,
            deflate_min: self.deflate_min,
            deflate_context_takeover: self.deflate_context_takeover,
            lag_policy: self.lag_policy,
            history: self.history,
            history_bytes: self.history_bytes,
            history_age: self.history_age,
            handshake_timeout: self.handshake_timeout,
            body_timeout: self.body_timeout,
            idle_timeout: self.idle_timeout,
            pong_timeout: self.pong_timeout,
            close_timeout: self.close_timeout,
            lame_duck: self.lame_duck,
            drain: self.drain,
            ..self.access.into_config(self.read)
        }
    }
}

impl fmt::Debug for Args {
    /// Shows nothing: many flags are secrets.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Args(…)")
    }
}

fn of_file(path: &Path, what: &str) -> String {
    format!("--config {}: {what}", path.display())
}

fn fault(what: &str) -> clap::Error {
    Args::command().error(ErrorKind::ValueValidation, what)
}

/// The error without the value that it quotes, if that is a secret.
fn without_secret(mut error: clap::Error) -> clap::Error {
    let command = Args::command();
    let mut secrets = command.get_arguments().filter(|flag| flag.is_hide_env_values_set());
    if flag_of(&error).is_some_and(|name| secrets.any(|flag| flag.get_long() == Some(&name))) {
        error.insert(ContextKind::InvalidValue, ContextValue::String("…".into()));
    }
    error
}

/// The name of the flag that an error is about.
fn flag_of(error: &clap::Error) -> Option<String> {
    let Some(ContextValue::String(flag)) = error.get(ContextKind::InvalidArg) else { return None };
    let name = flag.strip_prefix("--")?;
    Some(name.split([' ', '=']).next().unwrap_or(name).to_owned())
}

/// What the command line knows of a key of the file.
fn known(command: &clap::Command, matches: &ArgMatches, key: &str) -> Known {
    let key = if key == tls::TLS { tls::TLS_CERT } else { key };
    let is_named = |argument: &&clap::Arg| argument.get_long() == Some(key) && key != "config";
    let Some(flag) = command.get_arguments().find(is_named) else { return Known::Unknown };
    match matches.value_source(flag.get_id().as_str()) {
        Some(ValueSource::CommandLine | ValueSource::EnvVariable) => Known::Overridden,
        _ => Known::Flag,
    }
}

#[cfg(test)]
#[path = "cli/flags_tests.rs"]
mod tests;
