//! From a configuration to running loops.
//!
//! What a loop does in a turn is not here.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread;

use mio::Poll;
use mio::net::TcpListener;

use crate::config::{Config, ConfigError};
use crate::server::audit::Audit;
use crate::server::broker::Broker;
use crate::server::broker::arrivals::PresenceRules;
use crate::server::broker::engine::Engine;
use crate::server::broker::mailbox::{FIRST_LOOP, Opening, mailboxes};
use crate::server::broker::retention::Retention;
use crate::server::clock;
use crate::server::event_loop::acceptor::{Acceptor, bind};
use crate::server::event_loop::exchange::Exchange;
use crate::server::event_loop::seed::Seed;
use crate::server::event_loop::ticks::Every;
use crate::server::event_loop::{OPERATORS_MAX, WAKER};
use crate::server::handle::Handle;
use crate::server::handlers::program::Program;
use crate::server::hosting::Hosting;
use crate::server::outbound::{CaFault, Trust};
use crate::server::redis::{Outcome, Redis};
use crate::server::shared::Shared;
use crate::server::tls::Tls;
use crate::server::tls::fault::NoTls;

/// Descriptors that are not for connections: standard streams, the acceptor's 8 spares and up to 32 refused sockets,
/// and those that the program around the server opens.
const DESCRIPTORS_KEPT: u64 = 64;

/// Each loop has an epoll instance and a waker.
const DESCRIPTORS_PER_LOOP: u64 = 2;

/// If the descriptor limit allows fewer connections than this, the server does not start, unless `max_connections` asks
/// for no more: a browser alone takes six, and probes and scrapers take several.
const CONNECTIONS_MIN: usize = 32;

/// A server that listens, and serves once it runs.
///
/// ```
/// use fanfare::config::Config;
/// use fanfare::server::{Draft, Server};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let server = Server::bind(Config { listen: vec!["127.0.0.1:0".parse()?], ..Config::default() })?;
/// println!("listening on http://{}", server.local_addrs()[0]);
/// let handle = server.handle();
/// let serving = std::thread::spawn(|| server.run());
///
/// let published = handle.publish(Draft::text("news", "hello")?)?;
/// println!("{} went to {} subscribers", published.id, published.subscribers);
///
/// handle.shutdown();
/// serving.join().expect("no loop panicked")?;
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct Server {
    pub(super) loops: Vec<Seed>,
    local_addrs: Vec<SocketAddr>,
    tls_addrs: Vec<SocketAddr>,
    metrics_addr: Option<SocketAddr>,
    pub(super) handle: Handle,
    /// What the program brings.
    pub(crate) program: Program,
    /// Whether it has the echo of development mode.
    pub(crate) serves_echo: bool,
    /// Whether it has the demo.
    pub(crate) serves_demo: bool,
    /// What the program has done at intervals.
    pub(crate) ticks: Vec<Every>,
}

impl Server {
    /// Binds every address of the configuration, without routes of a program.
    ///
    /// # Errors
    /// A value of the configuration is refused, or the system refuses an address or a descriptor.
    pub(crate) fn bind_bare(config: Config) -> Result<Self, StartError> {
        let (engine, redis) = engine_of(&config)?;
        Self::bind_with(config, engine, redis)
    }

    /// Serves sockets that something else listens on, without routes of a program. `config.listen` becomes what they are bound
    /// to.
    ///
    /// # Errors
    /// As [`Server::bind_bare`]; also if there is no socket, or if there are such of TLS and no certificate.
    pub(crate) fn with_bare_listeners(
        mut config: Config,
        sockets: Vec<std::net::TcpListener>,
        tls_sockets: Vec<std::net::TcpListener>,
    ) -> Result<Self, StartError> {
        let addresses = |sockets: &[std::net::TcpListener]| -> io::Result<Vec<_>> {
            sockets.iter().map(std::net::TcpListener::local_addr).collect()
        };
        config.listen = addresses(&sockets)?;
        if !tls_sockets.is_empty() {
            config.tls.listen = addresses(&tls_sockets)?;
        }
        config.check_for_program().map_err(StartError::Config)?;
        let tls = match tls_sockets.is_empty() {
            true => bind_tls(&config)?,
            false => (Some(tls_of(&config)?), listeners_of(tls_sockets)?),
        };
        let engine = engine_of(&config)?;
        Self::serve_with(config, listeners_of(sockets)?, tls, engine)
    }

    pub(super) fn bind_with(
        config: Config,
        engine: Engine,
        redis: Option<Redis>,
    ) -> Result<Self, StartError> {
        config.check_for_program().map_err(StartError::Config)?;
        let mut listeners = Vec::new();
        for &address in &config.listen {
            listeners.push(bind(address).map_err(|error| StartError::Bind(address, error))?);
        }
        let tls = bind_tls(&config)?;
        Self::serve_with(config, listeners, tls, (engine, redis))
    }

    fn serve_with(
        config: Config,
        listeners: Vec<TcpListener>,
        (tls, tls_listeners): (Option<Tls>, Vec<TcpListener>),
        (engine, redis): (Engine, Option<Redis>),
    ) -> Result<Self, StartError> {
        let trust = trust(&config)?;
        let connections_max = connections_max(&config)?;
        let metrics = config
            .metrics_listen
            .map(|address| bind(address).map_err(|error| StartError::BindMetrics(address, error)));
        let metrics = metrics.transpose()?;
        let metrics_addr = metrics.as_ref().map(|listener| listener.local_addr()).transpose()?;
        let (local_addrs, tls_addrs) = (addresses_of(&listeners)?, addresses_of(&tls_listeners)?);
        let polls = (0..config.threads.get()).map(|_| Poll::new()).collect::<Result<Vec<_>, _>>();
        let polls = polls.map_err(StartError::Loops)?;
        let mailboxes = mailboxes(&polls, WAKER).map_err(StartError::Loops)?;
        let broker = Broker::new(mailboxes, first_epoch()?, Retention::new(&config), engine)
            .with_presence(PresenceRules::new(&config))
            .with_memory(config.max_memory);
        let audit = match &config.audit {
            Some(path) => Some(Audit::open(path).map_err(|error| StartError::Audit(path.clone(), error))?),
            None => None,
        };
        let shared = Shared::new(config, broker, connections_max, &trust).with_audit(audit);
        let shared = shared.with_redis(redis).with_tls(tls, tls_addrs.first().map(SocketAddr::port));
        let shared = Arc::new(shared);
        let host = Box::new(Hosting::new(Arc::downgrade(&shared)));
        if let Outcome::Unfit(sentence) = shared.start_redis(&trust, host)? {
            return Err(StartError::Redis(sentence));
        }
        if let Some(key_url) = shared.guard.key_url() {
            let shared = Arc::downgrade(&shared);
            key_url.start(move |keys| {
                shared.upgrade().map(|shared| shared.take_fetched_keys(keys).to_string())
            })?;
        }
        let any_origin = shared.access().any_origin();
        // In the order of the addresses.
        let opening = |at| match shared.config.proxy_listen.contains(at) {
            true => Opening::ProxyHeader,
            false => Opening::Request,
        };
        let plain = listeners.into_iter().zip(shared.config.listen.iter().map(opening));
        let secured = tls_listeners.into_iter().map(|listener| (listener, Opening::Tls));
        let listeners = plain.chain(secured).collect();
        let acceptor = Acceptor::new(listeners, metrics, polls[FIRST_LOOP].registry(), any_origin)?;
        let handle = Handle::new(Arc::clone(&shared));
        let mut acceptor = Some(acceptor);
        let exchange = Arc::new(Exchange::new(polls.len()));
        let numbered = polls.into_iter().enumerate();
        let loops = numbered.map(|(index, poll)| {
            let (shared, exchange) = (Arc::clone(&shared), Arc::clone(&exchange));
            Seed { index, shared, exchange, poll, acceptor: acceptor.take() }
        });
        let (loops, program) = (loops.collect(), Program::new(handle.clone(), shared.config.workers));
        let serves_demo = shared.config.serves_demo();
        let serves_echo = shared.config.is_development() || shared.config.echo;
        Ok(Self {
            loops,
            local_addrs,
            tls_addrs,
            metrics_addr,
            handle,
            program,
            serves_echo,
            serves_demo,
            ticks: Vec::new(),
        })
    }

    /// The bound addresses, in the order of the configuration, with the ports that were free.
    #[must_use]
    pub fn local_addrs(&self) -> &[SocketAddr] {
        &self.local_addrs
    }

    /// The bound addresses that speak TLS, in the order of the configuration.
    #[must_use]
    pub fn tls_addrs(&self) -> &[SocketAddr] {
        &self.tls_addrs
    }

    /// The bound address of `metrics_listen`, if it was configured.
    #[must_use]
    pub fn metrics_addr(&self) -> Option<SocketAddr> {
        self.metrics_addr
    }

    /// A handle for other threads. It can be cloned, and may outlive the server.
    #[must_use]
    pub fn handle(&self) -> Handle {
        self.handle.clone()
    }

    /// Serves until the handle says to stop: the first loop on this thread, each other on one of its own.
    ///
    /// # Errors
    /// A loop failed, or there is no thread for it. The others were stopped. Or rules of the configuration ask the program, and it
    /// decides nothing, or the other way round: nothing was served then.
    ///
    /// # Panics
    /// If a loop panicked. The others were stopped: no part of the server continues without it.
    pub fn run(self) -> io::Result<()> {
        let Self { mut loops, handle, program, ticks, .. } = self;
        check_judge(&handle, &program)?;
        let program = Arc::new(program);
        let others = loops.split_off(1);
        let first = loops.pop().expect("there is at least one loop");
        let mut threads = Vec::new();
        let mut result = Ok(());
        for event_loop in others {
            let (guard, program) = (StopAll(handle.clone()), Arc::clone(&program));
            let thread = thread::Builder::new().name("fanfare-loop".into());
            match thread.spawn(|| guard.watch(|| event_loop.run(program, Vec::new()))) {
                Ok(thread) => threads.push(thread),
                Err(error) => {
                    handle.shutdown_now();
                    result = Err(no_thread(&error));
                    break;
                }
            }
        }
        result = result.and(StopAll(handle.clone()).watch(|| first.run(program, ticks)));
        for thread in threads {
            match thread.join() {
                Ok(ended) => result = result.and(ended),
                Err(panic) => std::panic::resume_unwind(panic),
            }
        }
        handle.stop_callers();
        result
    }
}

/// Checks that the rules ask the program if it decides, and only then.
fn check_judge(handle: &Handle, program: &Program) -> io::Result<()> {
    let decides = program.judge.is_some();
    let hint = if decides { "" } else { ". A program that decides itself calls Server::authorize" };
    let refused = |error: ConfigError| io::Error::new(io::ErrorKind::InvalidInput, format!("{error}{hint}"));
    handle.check_judge(decides).map_err(refused)
}

/// Stops all loops when one of them fails or panics.
struct StopAll(Handle);

impl StopAll {
    fn watch(self, run: impl FnOnce() -> io::Result<()>) -> io::Result<()> {
        let result = run();
        if result.is_err() {
            self.0.shutdown_now();
        }
        result
    }
}

impl Drop for StopAll {
    fn drop(&mut self) {
        if thread::panicking() {
            self.0.shutdown_now();
        }
    }
}

fn no_thread(error: &io::Error) -> io::Error {
    let remedy = "Give fewer --threads, or raise the limit on processes or memory (ulimit -u, ulimit -v)";
    io::Error::new(error.kind(), format!("the system refuses a thread for an event loop: {error}. {remedy}"))
}

/// The remedy for an address that cannot be bound.
const BIND_REMEDY: &str = "Give an address of this machine and a port that is free (0 finds one)";

/// Why a server does not start.
#[derive(Debug)]
pub enum StartError {
    /// Values that are refused.
    Config(ConfigError),
    /// An address that cannot be listened on.
    Bind(SocketAddr, io::Error),
    /// An address that was to speak TLS, which cannot be listened on.
    BindTls(SocketAddr, io::Error),
    /// The certificates and keys.
    Tls(NoTls),
    /// The address of the metrics, which cannot be listened on.
    BindMetrics(SocketAddr, io::Error),
    /// Redis, which is there and cannot be used: where it is, why, and what to do.
    Redis(String),
    /// The file of certificate authorities.
    CaFile(PathBuf, CaFault),
    /// The file of the audit, which cannot be opened.
    Audit(PathBuf, io::Error),
    /// The limit on descriptors leaves no room for connections.
    Descriptors {
        /// The limit, as high as this process can raise it.
        limit: u64,
        /// The limit that a start needs.
        needed: u64,
    },
    /// The system refuses the poll or the waker of an event loop.
    Loops(io::Error),
    /// The system refuses something else.
    Io(io::Error),
}

impl From<io::Error> for StartError {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

impl fmt::Display for StartError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Config(error) => error.fmt(f),
            Self::Bind(address, error) => write!(f, "--listen {address}: {error}. {BIND_REMEDY}"),
            Self::BindTls(address, error) => write!(f, "--tls-listen {address}: {error}. {BIND_REMEDY}"),
            Self::Tls(no_tls) => no_tls.fmt(f),
            Self::BindMetrics(address, error) => {
                write!(f, "--metrics-listen {address}: {error}. {BIND_REMEDY}")
            }
            Self::Redis(sentence) => write!(f, "--redis {sentence}"),
            Self::CaFile(path, fault) => write!(f, "--ca-file {}: {fault}", path.display()),
            Self::Audit(path, error) => write!(
                f,
                "--audit {}: {error}. Give a file that the server may write, in a directory that is there",
                path.display()
            ),
            Self::Descriptors { limit, needed } => write!(
                f,
                "the limit on open files is {limit}, and {CONNECTIONS_MIN} connections with the event loops need {needed}. \
                 Raise it (ulimit -n {needed}; LimitNOFILE= of systemd), or give fewer --threads, each of which takes \
                 {DESCRIPTORS_PER_LOOP}; or give --max-connections N if fewer than {CONNECTIONS_MIN} connections are \
                 enough"
            ),
            Self::Loops(error) => write!(
                f,
                "the system refuses what the event loops need: {error}. Give fewer --threads, each of which takes \
                 {DESCRIPTORS_PER_LOOP} open files, or raise the limit on them (ulimit -n)"
            ),
            Self::Io(error) => write!(f, "the system refuses what the server needs: {error}"),
        }
    }
}

impl std::error::Error for StartError {}

/// What draws the numbers of publications.
fn engine_of(config: &Config) -> io::Result<(Engine, Option<Redis>)> {
    let redis = config.redis.as_ref().map(Redis::new).transpose()?;
    Ok((redis.as_ref().map_or(Engine::Local, Redis::engine), redis))
}

/// The certificates, and the sockets that speak TLS; neither where none is asked for.
fn bind_tls(config: &Config) -> Result<(Option<Tls>, Vec<TcpListener>), StartError> {
    if config.tls.listen.is_empty() {
        return Ok((None, Vec::new()));
    }
    let tls = tls_of(config)?;
    let bound = config
        .tls
        .listen
        .iter()
        .map(|&address| bind(address).map_err(|error| StartError::BindTls(address, error)));
    Ok((Some(tls), bound.collect::<Result<_, _>>()?))
}

/// Whom calls to other servers trust.
fn trust(config: &Config) -> Result<Trust, StartError> {
    let ca_file = config.ca_file.as_deref();
    Trust::new(ca_file)
        .map_err(|fault| StartError::CaFile(ca_file.unwrap_or(Path::new("")).to_owned(), fault))
}

/// The certificates, of which the log gets a line.
fn tls_of(config: &Config) -> Result<Tls, StartError> {
    let tls = Tls::new(&config.tls.pairs).map_err(StartError::Tls)?;
    let news = tls.news(clock::unix_ms() / 1000);
    tracing::info!("certificates: {}", news.summary);
    news.warnings.iter().for_each(|warning| tracing::warn!("{warning}"));
    Ok(tls)
}

/// The same sockets for the loops.
fn listeners_of(sockets: Vec<std::net::TcpListener>) -> io::Result<Vec<TcpListener>> {
    let listener = |socket: std::net::TcpListener| {
        socket.set_nonblocking(true)?;
        Ok(TcpListener::from_std(socket))
    };
    sockets.into_iter().map(listener).collect()
}

fn addresses_of(listeners: &[TcpListener]) -> io::Result<Vec<SocketAddr>> {
    listeners.iter().map(TcpListener::local_addr).collect()
}

/// The most connections at once: as configured, otherwise what the raised descriptor limit allows.
fn connections_max(config: &Config) -> Result<usize, StartError> {
    let listeners = (config.listen.len() + config.tls.listen.len()) as u64;
    let operators = if config.metrics_listen.is_some() { 1 + OPERATORS_MAX as u64 } else { 0 };
    let loops = DESCRIPTORS_PER_LOOP * config.threads.get() as u64;
    let kept = DESCRIPTORS_KEPT + listeners + operators + loops;
    let limit = rlimit::increase_nofile_limit(u64::MAX).unwrap_or(u64::MAX);
    let allowed = usize::try_from(limit.saturating_sub(kept)).unwrap_or(usize::MAX);
    if allowed < config.max_connections.unwrap_or(usize::MAX).min(CONNECTIONS_MIN) {
        return Err(StartError::Descriptors { limit, needed: kept + CONNECTIONS_MIN as u64 });
    }
    let connections_max = config.max_connections.unwrap_or(allowed);
    tracing::info!(descriptors = limit, connections_max, "the descriptor limit allows {allowed} connections");
    if connections_max > allowed {
        tracing::warn!(
            "--max-connections {connections_max} is more than the descriptor limit allows; raise it (ulimit -n)"
        );
    }
    Ok(connections_max)
}

/// A different number at every start, from which epochs count up.
fn first_epoch() -> io::Result<u64> {
    let random = getrandom::u64().map_err(io::Error::other)?;
    // 48 bits are 12 digits of an identifier. Two starts draw the same number with a probability of 2^-48.
    Ok(random >> 16)
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::net::TcpStream;

    use super::*;
    use crate::config::Glob;
    use crate::hub::{ChannelName, Content, Source};
    use crate::server::Draft;
    use crate::server::broker::draft::Excluded;

    /// A draft that callers outside the server cannot make: a text that is not UTF-8. Encoding it as an envelope panics.
    fn poison() -> Draft {
        let channel = ChannelName::new("poisoned").unwrap();
        Draft {
            channel,
            event: None,
            content: Content::Text,
            data: b"\xff".as_slice().into(),
            source: Source::Publisher,
            excluded: Excluded::Nobody,
            frame: None,
        }
    }

    #[test]
    fn a_glob_may_hold_what_a_channels_name_may_and_nothing_else() {
        let takes = |glob: &str| Config { history: vec![(Glob::new(glob), 1)], ..Config::default() }.check();
        for character in ('\0'..='\u{ff}').filter(|character| !"*?".contains(*character)) {
            let name = character.to_string();
            assert_eq!(takes(&name).is_ok(), ChannelName::new(&name).is_ok(), "{character:?}");
        }
        // Nor what clients may never publish to.
        let own = Config { client_publish: vec![Glob::new("@fanfare.*")], ..Config::default() };
        assert!(own.check().is_err() && ChannelName::new("@fanfare.x").unwrap().is_reserved());
        for len in [0, 1, 200, 201] {
            let name = "a".repeat(len);
            assert_eq!(takes(&name).is_ok(), ChannelName::new(&name).is_ok(), "{len}");
        }
    }

    #[test]
    fn a_panic_in_one_loop_stops_them_all_and_run_panics() {
        let threads = 3.try_into().unwrap();
        let config = Config { listen: vec!["127.0.0.1:0".parse().unwrap()], threads, ..Config::default() };
        let server = Server::bind(config).unwrap();
        let (address, handle) = (server.local_addrs()[0], server.handle());
        let serving = thread::spawn(|| server.run());
        let mut clients = Vec::new();
        // One on each loop; the first, whichever loop it is on, subscribes to the poisoned channel.
        for channel in ["poisoned", "other", "other"] {
            let mut client = TcpStream::connect(address).unwrap();
            let handshake = format!(
                "GET /channels/{channel} HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
                 Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\
                 Sec-WebSocket-Protocol: fanfare.v1.json\r\n\r\n"
            );
            client.write_all(handshake.as_bytes()).unwrap();
            assert_eq!(client.read(&mut [0; 12]).unwrap(), 12);
            clients.push(client);
        }
        handle.publish(poison()).unwrap();
        assert!(serving.join().is_err(), "run panics too");
        for mut client in clients {
            // The rest of the 101, then the end: every connection is closed.
            let _ = client.read_to_end(&mut Vec::new());
        }
        assert!(TcpStream::connect(address).is_err(), "no listener is left");
    }
}
