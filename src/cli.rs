//! The command line: every flag is also an environment variable and a key of a TOML file. A flag overrides the environment,
//! and the environment overrides the file.
//!
//! Which values contradict each other is checked by `Config::check`, not here.

use std::ffi::OsString;
use std::fs::File;
use std::io::Read;
use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::time::Duration;

use bytesize::ByteSize;
use clap::error::ErrorKind;
use clap::parser::ValueSource;
use clap::{ArgAction, ArgMatches, Command, CommandFactory, FromArgMatches, Parser};

use fanfare::config::{Config, Glob, Host, LagPolicy, normalise_origin};

/// The longest `--config` file: many times the length of all flags with their rules, and small enough to hold in memory. A
/// device that is named by mistake may have no end.
const FILE_LEN_MAX: u64 = 1024 * 1024;

/// A broadcast server: one URL per channel, for WebSocket clients and curl.
///
/// Without flags it listens on 127.0.0.1:8080 in development mode: everybody on
/// this machine may publish. Every flag is also an environment variable and a key
/// of the --config file. A flag overrides the environment, and the environment
/// overrides the file.
///
///   subscribe  ws://127.0.0.1:8080/channels/news
///   publish    curl -d hello http://127.0.0.1:8080/channels/news
#[derive(Debug, Parser)]
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
    #[arg(help_heading = "Listening", hide_env = true)]
    #[arg(long, value_name = "ADDR", env = "FANFARE_LISTEN", value_delimiter = ',', default_value = "127.0.0.1:8080", value_parser = parse_address)]
    listen: Vec<SocketAddr>,

    /// Address for /metrics and probes, no key
    ///
    /// One more address, which serves /metrics, /healthz and /readyz and nothing else, without a key. Its connections,
    /// at most 32, are not counted in --max-connections.
    #[arg(help_heading = "Listening", hide_env = true)]
    #[arg(long, value_name = "ADDR", env = "FANFARE_METRICS_LISTEN", value_parser = parse_address)]
    metrics_listen: Option<SocketAddr>,

    /// Event loops [default: number of cores]
    ///
    /// Each event loop runs on a thread of its own.
    #[arg(help_heading = "Listening", hide_env = true)]
    #[arg(long, value_name = "N", env = "FANFARE_THREADS", value_parser = parse_threads)]
    threads: Option<NonZeroUsize>,

    /// Key that publishing requires
    ///
    /// Publishing then requires the field `Authorization: Bearer KEY`, in a POST or a WebSocket handshake, and /metrics
    /// and /dashboard require the key. Without a key, only loopback addresses can be listened on (see --insecure).
    #[arg(help_heading = "Access", hide_env = true)]
    #[arg(long, value_name = "KEY", env = "FANFARE_PUBLISH_KEY", hide_env_values = true)]
    publish_key: Option<String>,

    /// Channels to publish to without the key
    ///
    /// With --publish-key, clients without the key may publish to the channels that match this glob: `*` stands for any
    /// characters, `?` for one. Repeatable.
    #[arg(help_heading = "Access", hide_env = true)]
    #[arg(long, value_name = "GLOB", env = "FANFARE_CLIENT_PUBLISH", value_delimiter = ',')]
    client_publish: Vec<Glob>,

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

    /// Listen beyond loopback without a key
    ///
    /// Everybody who can reach the address may then publish.
    #[arg(help_heading = "Access", hide_env = true)]
    #[arg(long, env = "FANFARE_INSECURE", action = ArgAction::SetTrue)]
    insecure: bool,

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
    /// Clients above the limit get 503 with `Retry-After`.
    #[arg(help_heading = "Limits", hide_env = true)]
    #[arg(long, value_name = "N", env = "FANFARE_MAX_CONNECTIONS")]
    max_connections: Option<usize>,

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
}

impl Args {
    /// Parses the process's arguments and environment, and the file that they name.
    ///
    /// # Errors
    /// What is to be printed: a wrong value with its remedy, or the help or version that was asked for.
    pub fn parse_all() -> Result<Self, clap::Error> {
        Self::parse_from_words(std::env::args_os().collect())
    }

    fn parse_from_words(mut words: Vec<OsString>) -> Result<Self, clap::Error> {
        let matches = Self::command().try_get_matches_from(&words)?;
        if let Some(path) = matches.get_one::<PathBuf>("config") {
            words.extend(words_of_file(path, &matches)?);
            return Self::from_arg_matches(&Self::command().try_get_matches_from(&words)?);
        }
        Self::from_arg_matches(&matches)
    }

    /// The configuration of the server.
    pub fn into_config(self) -> Config {
        Config {
            listen: self.listen,
            metrics_listen: self.metrics_listen,
            threads: self.threads.unwrap_or_else(|| Config::default().threads),
            publish_key: self.publish_key,
            client_publish: self.client_publish,
            allow_origin: self.allow_origin,
            allow_host: self.allow_host,
            apps: Vec::new(),
            insecure: self.insecure,
            echo: self.echo,
            demo: self.demo,
            max_connections: self.max_connections,
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
        }
    }
}

/// The file's entries as flags, without those that the command line or the environment sets.
fn words_of_file(path: &Path, matches: &ArgMatches) -> Result<Vec<OsString>, clap::Error> {
    let fail = |what: String| {
        Args::command().error(ErrorKind::ValueValidation, format!("--config {}: {what}", path.display()))
    };
    let text = text_of_file(path).map_err(fail)?;
    let table: toml::Table = text.parse().map_err(|error: toml::de::Error| fail(error.to_string()))?;
    let command = Args::command();
    let mut words = Vec::new();
    for (key, value) in table {
        let Some(id) = flag_id(&command, &key) else {
            return Err(fail(format!(
                "no flag is called {key:?}; keys are the flags' names without the dashes (see --help)"
            )));
        };
        let is_set =
            matches!(matches.value_source(&id), Some(ValueSource::CommandLine | ValueSource::EnvVariable));
        let flags = words_of_entry(&key, &value).ok_or_else(|| {
            fail(format!(
                "{key} is a {}; a flag takes a string, a number, true or false, or a list of those",
                value.type_str()
            ))
        })?;
        if !is_set {
            words.extend(flags);
        }
    }
    Ok(words)
}

fn text_of_file(path: &Path) -> Result<String, String> {
    let mut text = String::new();
    let file = File::open(path).map_err(|error| error.to_string())?;
    file.take(FILE_LEN_MAX + 1).read_to_string(&mut text).map_err(|error| error.to_string())?;
    if text.len() as u64 > FILE_LEN_MAX {
        return Err(format!("it is longer than {FILE_LEN_MAX} bytes; give a TOML file of flags"));
    }
    Ok(text)
}

fn flag_id(command: &Command, key: &str) -> Option<String> {
    let flag =
        command.get_arguments().find(|argument| argument.get_long() == Some(key) && key != "config")?;
    Some(flag.get_id().to_string())
}

fn words_of_entry(key: &str, value: &toml::Value) -> Option<Vec<OsString>> {
    let word = |value: &dyn std::fmt::Display| OsString::from(format!("--{key}={value}"));
    Some(match value {
        toml::Value::String(text) => vec![word(text)],
        toml::Value::Integer(number) => vec![word(number)],
        toml::Value::Boolean(true) => vec![format!("--{key}").into()],
        toml::Value::Boolean(false) => vec![],
        toml::Value::Array(values) => {
            let words: Option<Vec<_>> = values.iter().map(|value| words_of_entry(key, value)).collect();
            words?.concat()
        }
        toml::Value::Float(_) | toml::Value::Datetime(_) | toml::Value::Table(_) => return None,
    })
}

fn parse_address(text: &str) -> Result<SocketAddr, String> {
    text.parse()
        .map_err(|_| "give an IP address and a port, such as 127.0.0.1:8080, 0.0.0.0:80 or [::]:80".into())
}

fn parse_threads(text: &str) -> Result<NonZeroUsize, String> {
    text.parse().map_err(|_| "give a whole number above 0, or leave the flag out for one per core".into())
}

fn parse_size(text: &str) -> Result<u64, String> {
    let size: Result<ByteSize, _> = text.parse();
    size.map(|size| size.as_u64()).map_err(|_| "give a size such as 512, 64KiB or 16MiB".into())
}

fn parse_time(text: &str) -> Result<Duration, String> {
    humantime::parse_duration(text).map_err(|_| "give a time with its unit, such as 500ms, 30s or 5m".into())
}

fn parse_lag_policy(text: &str) -> Result<(Glob, LagPolicy), String> {
    let (glob, policy) = glob_and_value(text);
    let policy = match policy {
        "close" => LagPolicy::Close,
        "skip" => LagPolicy::Skip,
        "latest" => LagPolicy::Latest,
        _ => {
            let remedy = "give close, skip or latest, or a glob before it such as prices*=latest; a comma separates several";
            return Err(remedy.into());
        }
    };
    Ok((glob, policy))
}

fn parse_history(text: &str) -> Result<(Glob, usize), String> {
    let (glob, count) = glob_and_value(text);
    let count = count.parse().map_err(|_| {
        "give a number, 0 for none, or a glob before it such as chat*=50; a comma separates several, as in 0,chat*=50"
    })?;
    Ok((glob, count))
}

fn parse_history_bytes(text: &str) -> Result<(Glob, u64), String> {
    let (glob, size) = glob_and_value(text);
    Ok((glob, parse_size(size)?))
}

fn parse_history_age(text: &str) -> Result<(Glob, Duration), String> {
    let (glob, time) = glob_and_value(text);
    Ok((glob, parse_time(time)?))
}

/// `VALUE` for every channel, or `GLOB=VALUE`. A channel name may contain `=`, so the last one separates.
fn glob_and_value(text: &str) -> (Glob, &str) {
    let (glob, value) = text.rsplit_once('=').unwrap_or(("*", text));
    (Glob::new(glob), value)
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    fn parse(words: &[&str]) -> Result<Config, String> {
        let words = std::iter::once("fanfare").chain(words.iter().copied()).map(OsString::from).collect();
        Args::parse_from_words(words).map(Args::into_config).map_err(|error| error.to_string())
    }

    fn parse_with_file(file: &str, words: &[&str]) -> Result<Config, String> {
        let mut config = tempfile::NamedTempFile::new().unwrap();
        config.write_all(file.as_bytes()).unwrap();
        let path = config.path().to_str().unwrap();
        parse(&[&["--config", path], words].concat())
    }

    #[test]
    fn the_flags_are_consistent() {
        Args::command().debug_assert();
    }

    #[test]
    fn without_flags_everything_is_as_the_library_has_it() {
        assert_eq!(format!("{:?}", parse(&[]).unwrap()), format!("{:?}", Config::default()));
    }

    #[test]
    fn the_short_help_has_one_line_a_flag_in_80_columns_under_headings() {
        let help = Args::command().term_width(80).render_help().to_string();
        let flags = Args::command().get_arguments().count() + ["--help", "--version"].len();
        assert_eq!(help.lines().filter(|line| line.starts_with("  ")).count(), flags, "{help}");
        for heading in ["Options", "Listening", "Access", "Limits", "Compression", "Subscribers", "Times"] {
            assert_eq!(help.matches(&format!("\n{heading}:\n")).count(), 1, "{heading}: {help}");
        }
        assert!(help.lines().count() <= 52, "{help}");
    }

    #[test]
    fn every_flag_is_also_an_environment_variable() {
        for argument in Args::command().get_arguments() {
            let Some(flag) = argument.get_long() else { continue };
            if flag == "help" || flag == "version" {
                continue;
            }
            let variable = format!("FANFARE_{}", flag.replace('-', "_").to_uppercase());
            assert_eq!(argument.get_env().and_then(|env| env.to_str()), Some(variable.as_str()));
        }
    }

    #[test]
    fn sizes_and_times_take_units() {
        let config = parse(&[
            "--max-message",
            "512",
            "--max-lag",
            "64KiB",
            "--drain",
            "5m",
            "--pong-timeout",
            "500ms",
        ]);
        let config = config.unwrap();
        assert_eq!((config.max_message, config.max_lag), (512, 65_536));
        assert_eq!(
            (config.drain, config.pong_timeout),
            (Duration::from_secs(300), Duration::from_millis(500))
        );
    }

    #[test]
    fn repeatable_flags_add_up() {
        let config = parse(&[
            "--listen",
            "127.0.0.1:1",
            "--listen",
            "[::1]:2",
            "--lag-policy",
            "a=b*=skip",
            "--lag-policy",
            "latest",
        ]);
        let config = config.unwrap();
        assert_eq!(config.listen.len(), 2);
        assert_eq!(config.lag_policy("a=bc"), LagPolicy::Skip);
        assert_eq!(config.lag_policy("other"), LagPolicy::Latest);
    }

    #[test]
    fn a_wrong_value_names_the_flag_and_the_remedy() {
        for (words, flag, remedy) in [
            (&["--listen", "8080"][..], "--listen", "127.0.0.1:8080"),
            (&["--listen", "localhost:80"], "--listen", "127.0.0.1:8080"),
            (&["--threads", "0"], "--threads", "above 0"),
            (&["--max-lag", "lots"], "--max-lag", "64KiB"),
            (&["--drain", "5"], "--drain", "30s"),
            (&["--lag-policy", "chat=drop"], "--lag-policy", "prices*=latest"),
            (&["--history", "0;chat*"], "--history", "0,chat*=50"),
            (&["--history", "0 chat*"], "--history", "a comma separates"),
            (&["--allow-origin", "https://a.b, https://c.d"], "--allow-origin", "A comma separates several"),
            (&["--allow-origin", "https://*.example.com"], "--allow-origin", "wildcard"),
            (&["--allow-origin", "https://user@example.com"], "--allow-origin", "a user"),
            (&["--allow-origin", "ftp://x"], "--allow-origin", "a page's scheme"),
            (&["--allow-origin", "example.com"], "--allow-origin", "https://example.com"),
            (&["--allow-origin", "https://example.com/"], "--allow-origin", "without a path"),
            (&["--allow-host", "http://example.test"], "--allow-host", "without scheme and port"),
            (&["--allow-host", "example.test:8080"], "--allow-host", "such as example.test"),
            (&["--allow-host", "*"], "--allow-host", "such as example.test"),
            (&["--allow-host", ""], "--allow-host", "such as example.test"),
        ] {
            let error = parse(words).unwrap_err();
            assert!(error.contains(flag) && error.contains(remedy), "{error}");
        }
    }

    #[test]
    fn origins_become_what_browsers_send_and_a_comma_separates_them() {
        let words =
            ["--allow-origin", "https://A.example:443,null", "--allow-origin", "http://b.example:8080"];
        let config = parse(&words).unwrap();
        assert_eq!(config.allow_origin, ["https://a.example", "null", "http://b.example:8080"]);
        assert_eq!(config.check(), Ok(()));
    }

    #[test]
    fn a_comma_separates_the_rules_of_one_value() {
        let config = parse(&["--history", "0,chat*=50", "--lag-policy", "skip,prices*=latest"]).unwrap();
        let history: Vec<usize> = config.history.iter().map(|(_, count)| *count).collect();
        assert_eq!((history, config.lag_policy.len()), (vec![0, 50], 2));
        assert_eq!(config.check(), Ok(()));
    }

    #[test]
    fn hosts_add_up_and_an_address_is_one() {
        let config = parse(&["--allow-host", "Example.test,192.0.2.7", "--allow-host", "[fd00::1]"]).unwrap();
        let hosts: Vec<String> = config.allow_host.iter().map(ToString::to_string).collect();
        assert_eq!(hosts, ["example.test", "192.0.2.7", "[fd00::1]"]);
    }

    #[test]
    fn a_misspelt_flag_is_named_with_the_right_one() {
        let error = parse(&["--publish-keys", "k"]).unwrap_err();
        assert!(error.contains("--publish-key"), "{error}");
    }

    #[test]
    fn a_file_holds_every_kind_of_value() {
        let file = "listen = ['127.0.0.1:1', '127.0.0.1:2']\nthreads = 3\ninsecure = true\necho = false\nmax-lag = '2MiB'\n";
        let config = parse_with_file(file, &[]).unwrap();
        assert_eq!(
            (config.listen.len(), config.threads.get(), config.insecure, config.echo),
            (2, 3, true, false)
        );
        assert_eq!(config.max_lag, 2 * 1024 * 1024);
    }

    #[test]
    fn a_flag_beats_the_file() {
        let config = parse_with_file("threads = 3\nlisten = '127.0.0.1:1'\n", &["--threads", "4"]).unwrap();
        assert_eq!((config.threads.get(), config.listen[0].port()), (4, 1));
    }

    #[test]
    fn an_unknown_key_or_value_in_the_file_is_named() {
        let error = parse_with_file("thread = 3\n", &[]).unwrap_err();
        assert!(error.contains("\"thread\"") && error.contains("--config"), "{error}");
        let error = parse_with_file("threads = 1.5\n", &[]).unwrap_err();
        assert!(error.contains("threads is a float"), "{error}");
        let error = parse_with_file("threads = 'many'\n", &[]).unwrap_err();
        assert!(error.contains("--threads"), "{error}");
        let error = parse_with_file("threads = \n", &[]).unwrap_err();
        assert!(error.contains("line 1"), "{error}");
    }

    #[cfg(unix)] // for its device
    #[test]
    fn a_file_without_an_end_is_read_no_further_than_its_bound() {
        let error = parse(&["--config", "/dev/zero"]).unwrap_err();
        assert!(error.contains("--config /dev/zero") && error.contains("1048576 bytes"), "{error}");
        let filled = |len: usize| "#".repeat(len - 1) + "\n";
        assert!(parse_with_file(&filled(1024 * 1024), &[]).is_ok());
        assert!(parse_with_file(&filled(1024 * 1024 + 1), &[]).is_err());
    }

    #[test]
    fn a_file_that_is_not_there_is_named() {
        let error = parse(&["--config", "/nowhere/fanfare.toml"]).unwrap_err();
        assert!(error.contains("/nowhere/fanfare.toml"), "{error}");
    }
}
