//! The command line: every flag is also an environment variable and a key of a TOML file. A flag overrides the environment,
//! and the environment overrides the file.
//!
//! How values are parsed is in `values`, the file in `file` and `app_table`. Which values contradict each other is checked
//! by `Config::check`.

mod app_table;
mod file;
mod values;

use std::ffi::OsString;
use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::error::ErrorKind;
use clap::parser::ValueSource;
use clap::{ArgAction, ArgMatches, Command, CommandFactory, FromArgMatches, Parser};

use fanfare::config::{AccessKey, Config, Glob, Host, LagPolicy, normalise_origin};
use fanfare::pusher::App;
use file::{ConfigFile, Known};
use values::{
    parse_address, parse_app, parse_history, parse_history_age, parse_history_bytes, parse_key,
    parse_lag_policy, parse_size, parse_threads, parse_time,
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
    #[arg(long, value_name = "KEY", env = "FANFARE_PUBLISH_KEY", hide_env_values = true, value_parser = parse_key)]
    publish_key: Option<AccessKey>,

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

    /// Pusher app: digits, key and secret
    ///
    /// Pusher clients connect with the key; servers sign with the secret. The channels of the first app are those of
    /// /channels/NAME. Repeatable. In --config FILE, [[app]] tables have more settings and are read again on SIGHUP;
    /// this flag overrides them. Development mode without an app has 1:app-key:app-secret.
    #[arg(help_heading = "Access", hide_env = true)]
    #[arg(long, value_name = "ID:KEY:SECRET", env = "FANFARE_APP", hide_env_values = true, value_delimiter = ',', value_parser = parse_app)]
    app: Vec<App>,

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
    /// Clients above the limit get 503 with `Retry-After`. A Pusher client over HTTP counts as its session and its requests.
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

    /// What the file says, if there is one.
    #[arg(skip)]
    file: Option<ConfigFile>,
}

/// What a process needs to read its `--config` file again.
#[derive(Clone, Debug)]
pub struct Reload {
    words: Vec<OsString>,
    path: PathBuf,
    started_with: ConfigFile,
}

/// What a file says that was read again.
#[derive(Clone, Debug)]
pub struct Reread {
    /// The apps, of the file or of the flags that override it.
    pub apps: Vec<App>,
    /// The keys with other values than at the start, which apply after a restart.
    pub needs_restart: Vec<String>,
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
        let command = Self::command();
        let matches = command.clone().try_get_matches_from(&words)?;
        let Some(path) = matches.get_one::<PathBuf>("config") else {
            return Self::from_arg_matches(&matches);
        };
        let file = ConfigFile::read(path, |key| known(&command, &matches, key))
            .map_err(|what| Self::command().error(ErrorKind::ValueValidation, of_file(path, &what)))?;
        words.extend(file.words());
        let mut args = Self::from_arg_matches(&command.try_get_matches_from(&words)?)?;
        args.app.extend_from_slice(file.apps());
        args.file = Some(file);
        Ok(args)
    }

    /// What is needed to read the `--config` file of this process again; none without one.
    pub fn reload(&self) -> Option<Reload> {
        Some(Reload {
            words: std::env::args_os().collect(),
            path: self.config.clone()?,
            started_with: self.file.clone()?,
        })
    }

    /// The configuration of the server.
    pub fn into_config(self) -> Config {
        Config {
            listen: self.listen,
            metrics_listen: self.metrics_listen,
            threads: self.threads.unwrap_or_else(|| Config::default().threads),
            keys: self.publish_key.into_iter().collect(),
            client_publish: self.client_publish,
            allow_origin: self.allow_origin,
            allow_host: self.allow_host,
            apps: self.app,
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
            ..Config::default()
        }
    }
}

impl Reload {
    /// The file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Reads the file again. All of it has to be right, also what applies only after a restart.
    ///
    /// # Errors
    /// What is wrong with the file, on one line.
    pub fn read(&self) -> Result<Reread, String> {
        // One that has no end, or no content yet, would hold the thread that waits for signals.
        if !self.path.metadata().is_ok_and(|metadata| metadata.is_file()) {
            return Err(of_file(&self.path, "it is no regular file any more"));
        }
        let args = Args::parse_from_words(self.words.clone()).map_err(|error| on_one_line(&error))?;
        let file = args.file.as_ref().filter(|file| !file.is_empty());
        // An editor may empty a file before it writes it. Clients whose app is gone do not come back.
        let file = file.ok_or_else(|| of_file(&self.path, "it is empty"))?;
        Ok(Reread { needs_restart: file.other_keys(&self.started_with), apps: args.app })
    }
}

fn of_file(path: &Path, what: &str) -> String {
    format!("--config {}: {what}", path.display())
}

/// The words of an error without what is printed around them.
fn on_one_line(error: &clap::Error) -> String {
    let text = error.to_string();
    let lines = text.trim_start_matches("error: ").lines().map(str::trim);
    lines.take_while(|line| !line.is_empty()).collect::<Vec<_>>().join(" ")
}

/// What the command line knows of a key of the file.
fn known(command: &Command, matches: &ArgMatches, key: &str) -> Known {
    let is_named = |argument: &&clap::Arg| argument.get_long() == Some(key) && key != "config";
    let Some(flag) = command.get_arguments().find(is_named) else { return Known::Unknown };
    match matches.value_source(flag.get_id().as_str()) {
        Some(ValueSource::CommandLine | ValueSource::EnvVariable) => Known::Overridden,
        _ => Known::Flag,
    }
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
        assert!(help.lines().count() <= 53, "{help}");
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

    const APP_1: &str = "[[app]]\nid = 1\nkey = 'k'\nsecret = 's'\n";

    fn ids(config: &Config) -> Vec<&str> {
        config.apps.iter().map(|app| app.id.as_str()).collect()
    }

    #[test]
    fn apps_are_given_by_the_flag_or_by_tables_and_the_flag_overrides_the_tables() {
        let config = parse(&["--app", "1:key:secret,2:other:secret", "--app", "3:third:s:t"]).unwrap();
        assert_eq!(ids(&config), ["1", "2", "3"]);
        assert_eq!(config.apps[0], App::new("1", "key", "secret"));
        assert!(config.check().unwrap_err().to_string().contains("\"3\": secret: give one of"));
        assert_eq!(ids(&parse_with_file(APP_1, &[]).unwrap()), ["1"]);
        assert_eq!(ids(&parse_with_file(APP_1, &["--app", "2:k:s"]).unwrap()), ["2"]);
        assert_eq!(ids(&parse_with_file("app = ['4:k:s', '5:l:s']", &[]).unwrap()), ["4", "5"]);
        let error = parse(&["--app", "1:key"]).unwrap_err();
        assert!(error.contains("give ID:KEY:SECRET, such as 1:my-key:my-secret"), "{error}");
    }

    #[test]
    fn a_wrong_table_of_an_app_is_named_with_its_file() {
        let error = parse_with_file(&format!("{APP_1}max-conections = 5"), &[]).unwrap_err();
        assert!(
            error.contains("--config ") && error.contains("the nearest is \"max-connections\""),
            "{error}"
        );
    }

    /// The file is read as at the start, then again with `after` in it.
    fn reread(before: &str, after: &str, flags: &[&str]) -> Result<Reread, String> {
        let config = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(config.path(), before).unwrap();
        let path = config.path().to_str().unwrap();
        let words: Vec<_> =
            ["fanfare", "--config", path].iter().chain(flags).copied().map(OsString::from).collect();
        let args = Args::parse_from_words(words.clone()).unwrap();
        std::fs::write(config.path(), after).unwrap();
        Reload { words, ..args.reload().unwrap() }.read()
    }

    #[test]
    fn a_file_that_is_read_again_gives_its_apps_and_names_what_needs_a_restart() {
        let after = format!("max-lag = '2MiB'\nthreads = 3\n{APP_1}");
        let reread_now = reread("max-lag = '1MiB'\nthreads = 3\necho = true\n", &after, &[]).unwrap();
        assert_eq!(reread_now.needs_restart, ["max-lag", "echo"]);
        assert_eq!(reread_now.apps, [App::new("1", "k", "s")]);
        let overridden = reread("threads = 3\n", &after, &["--app", "2:k:s", "--max-lag", "1MiB"]).unwrap();
        assert_eq!((overridden.apps.len(), overridden.apps[0].id.as_str()), (1, "2"));
        assert!(overridden.needs_restart.is_empty(), "flags override both");
    }

    #[test]
    fn a_file_with_a_fault_is_not_read_again_and_the_fault_is_on_one_line() {
        for (after, words) in [
            ("", "it is empty"),
            ("[[app]]\nid = 1\n", "[[app]] \"1\": key: missing"),
            ("max-lag = 'lots'\n", "--max-lag"),
            ("thread = 3\n", "no flag is called \"thread\""),
            ("threads = \n", "line 1: "),
        ] {
            let error = reread(APP_1, after, &[]).unwrap_err();
            assert!(error.contains(words) && !error.contains('\n') && !error.starts_with("error"), "{error}");
        }
        let gone = Reload {
            words: Vec::new(),
            path: "/nowhere/fanfare.toml".into(),
            started_with: ConfigFile::read(Path::new("/dev/null"), |_| Known::Flag).unwrap(),
        };
        assert!(gone.read().unwrap_err().contains("/nowhere/fanfare.toml: it is no regular file"));
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
