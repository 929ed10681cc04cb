//! The `fanfare` binary: it reads the flags, runs a server and handles signals. Everything else is in the library.

mod cli;
mod heap;
mod log;
mod reload;

use std::error::Error;
use std::io::{self, IsTerminal, Write};
use std::net::SocketAddr;
use std::process::ExitCode;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use listenfd::ListenFd;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

use fanfare::config::{Config, Tls};
use fanfare::pusher::App;
use fanfare::server::{Handle, Server};
use reload::Hangups;

/// The exit status of a process that a signal ended is this plus the signal's number.
const SIGNAL_EXIT_BASE: i32 = 128;

#[allow(clippy::print_stderr)] // before there is a log
fn main() -> ExitCode {
    let args = match cli::Args::parse_all() {
        Ok(args) => args,
        Err(error) => error.exit(),
    };
    if let Some(cli::Task::Key { name }) = args.task() {
        return make_key(name);
    }
    let lines = match log::begin() {
        Ok(lines) => lines,
        Err(error) => {
            eprintln!("fanfare: no thread for the log: {error}");
            return ExitCode::FAILURE;
        }
    };
    let _flush = log::FlushAtEnd(Arc::clone(&lines));
    match serve(args, &lines) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            lines.say(&format!("fanfare: {error}"));
            ExitCode::FAILURE
        }
    }
}

/// Prints a new key: the secret, then the table for the file of `--publish-keys`.
#[allow(clippy::print_stderr)] // without a log
fn make_key(name: &str) -> ExitCode {
    let mut random = [0; cli::SECRET_LEN];
    if let Err(error) = getrandom::fill(&mut random) {
        eprintln!("fanfare: the system gives no random bytes: {error}");
        return ExitCode::FAILURE;
    }
    let key = cli::NewKey::new(name, random);
    let mut out = io::stdout().lock();
    match writeln!(out, "{}\n\n{key}", key.secret).and_then(|()| out.flush()) {
        Ok(()) => {
            eprintln!(
                "The first line is the secret, for whoever publishes; it is not kept. The table is for --publish-keys FILE."
            );
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("fanfare: the key could not be printed to standard output: {error}");
            ExitCode::FAILURE
        }
    }
}

fn serve(args: cli::Args, lines: &Arc<log::Lines>) -> Result<(), Box<dyn Error>> {
    let reload = args.reload();
    args.warnings().iter().for_each(|warning| tracing::warn!("{warning}"));
    let config = args.into_config();
    let development_apps = config.is_development().then(|| config.apps_or_development(&config.apps));
    let standing = (!config.is_development()).then(|| config.standing());
    reload::warn_of_ended_keys(&config);
    let (threads, lame_duck) = (config.threads, config.lame_duck);
    heap::return_freed()?;
    let (server, running) = bind(config)?;
    let files = match reload.obeys_hangups() {
        true => Some(reload::begin(reload, running, server.handle())?),
        false => None,
    };
    obey_signals(server.handle(), lame_duck, files, Arc::clone(lines))?;
    announce(&server)?;
    if let Some(apps) = development_apps {
        tracing::info!(
            "development mode: programs and pages of this machine may publish, and pages of other sites get 403. \
             To serve other machines: --listen 0.0.0.0:8080 --publish-key KEY"
        );
        teach_pusher(apps.first(), server.local_addrs().first(), lines);
    }
    if let Some(standing) = standing {
        tracing::info!("{standing}");
    }
    tracing::info!(%threads, "started");
    server.run()?;
    tracing::info!("stopped");
    Ok(())
}

/// The name of sockets where TLS is spoken (`FileDescriptorName=` of systemd's socket units).
const TLS_SOCKET: &str = "https";

/// Listens on the sockets that the supervisor has passed (`LISTEN_FDS`, sd_listen_fds(3)), otherwise on the addresses of
/// `--listen`. Those that are called `https` (`LISTEN_FDNAMES`) speak TLS. Returns the configuration too, with the addresses of
/// these sockets.
fn bind(config: Config) -> Result<(Server, Config), Box<dyn Error>> {
    config.check_judge(false)?;
    let names = std::env::var("LISTEN_FDNAMES").unwrap_or_default();
    let mut passed = ListenFd::from_env();
    if passed.len() == 0 {
        return Ok((Server::bind(config.clone())?, config));
    }
    let (mut plain, mut tls) = (Vec::new(), Vec::new());
    let names = names.split(':').map(Some).chain(std::iter::repeat(None));
    for (index, name) in (0..passed.len()).zip(names) {
        let socket = passed.take_tcp_listener(index).map_err(|error| {
            let remedy = "give the .socket unit ListenStream= with an address and a port";
            format!("LISTEN_FDS: socket {index} does not listen on TCP: {error}; {remedy}")
        })?;
        let socket = socket.ok_or_else(|| format!("LISTEN_FDS: socket {index} is not there"))?;
        if name == Some(TLS_SOCKET) { tls.push(socket) } else { plain.push(socket) }
    }
    let instead = if tls.is_empty() { "--listen is" } else { "--listen and --tls-listen are" };
    tracing::info!("the supervisor has passed sockets that listen, and {instead} not used");
    let server = Server::with_tls_listeners(config.clone(), plain, tls)?;
    let listen = server.local_addrs().to_vec();
    let tls = Tls { listen: server.tls_addrs().to_vec(), ..config.tls };
    Ok((server, Config { listen, tls, ..config }))
}

/// Prints the lines of pusher-js that reach the first app, as they are, so that they can be copied.
fn teach_pusher(app: Option<&App>, address: Option<&SocketAddr>, lines: &log::Lines) {
    let (Some(App { id, key, secrets, .. }), Some(address)) = (app, address) else { return };
    let secret = match app.is_some_and(|app| *app == Config::development_app()) {
        true => format!(", secret {}", secrets.join(", ")),
        false => String::new(),
    };
    let port = address.port();
    let host = match address {
        SocketAddr::V4(address) => address.ip().to_string(),
        SocketAddr::V6(address) => format!("[{}]", address.ip()),
    };
    tracing::info!(
        "Pusher clients and server libraries reach app {id} with key {key}{secret}; pusher-js like this:"
    );
    lines.say(&format!("  const pusher = new Pusher({key:?}, {{"));
    lines.say(&format!("    wsHost: {host:?}, wsPort: {port}, httpHost: {host:?}, httpPort: {port}, forceTLS: false, cluster: \"\","));
    lines.say("  });");
    lines.say("  const channel = pusher.subscribe(\"prices\");");
    lines.say("  channel.bind(\"tick\", (data) => console.log(data));");
}

/// Prints the addresses, on a thread of its own, since standard output may be a full pipe.
fn announce(server: &Server) -> Result<(), io::Error> {
    let plain = server.local_addrs().iter().map(|address| format!("listening on http://{address}"));
    let tls = server.tls_addrs().iter().map(|address| format!("listening on https://{address}"));
    let metrics = server.metrics_addr().map(|address| format!("metrics on http://{address}/metrics"));
    // Programs read the first line.
    let lines: Vec<_> = plain.chain(tls).chain(metrics).collect();
    thread::Builder::new().name("fanfare-announce".into()).spawn(move || {
        if let Err(error) = print_addresses(&lines) {
            tracing::warn!("the addresses could not be printed to standard output: {error}");
        }
    })?;
    Ok(())
}

/// Prints one line per address to standard output, for people and for programs that asked for port 0.
fn print_addresses(lines: &[String]) -> Result<(), io::Error> {
    let mut out = io::stdout().lock();
    for line in lines {
        writeln!(out, "{line}")?;
    }
    out.flush()
}

/// The first SIGTERM or SIGINT stops the server with a drain, the second at once. With a lame duck, the second begins the
/// drain and the third stops at once. SIGHUP has files read again. Where there are none it does nothing, unless the process
/// belongs to a terminal: that is closed by it, and expects its processes to end.
fn obey_signals(
    handle: Handle,
    lame_duck: Duration,
    files: Option<Hangups>,
    lines: Arc<log::Lines>,
) -> Result<(), io::Error> {
    let mut signals = Signals::new([SIGTERM, SIGINT])?;
    let is_of_terminal = io::stdin().is_terminal() || io::stderr().is_terminal();
    if files.is_some() || !is_of_terminal {
        signals.add_signal(SIGHUP)?;
    }
    thread::Builder::new().name("fanfare-signals".into()).spawn(move || {
        let mut is_stopping = false;
        for signal in signals.forever() {
            if signal == SIGHUP {
                match &files {
                    Some(files) => files.ask(),
                    None => tracing::info!(
                        "SIGHUP: there is nothing to read again: no --config, no file of keys or certificates, no --audit"
                    ),
                }
                continue;
            }
            if !std::mem::replace(&mut is_stopping, true) {
                stop(&handle, lame_duck);
                continue;
            }
            if handle.end_lame_duck() {
                let connections = handle.connections_len();
                tracing::info!(
                    "draining: closing {connections} connections; another signal ends the process at once"
                );
                continue;
            }
            tracing::warn!("a signal ended the process at once");
            lines.flush();
            std::process::exit(SIGNAL_EXIT_BASE + signal);
        }
    })?;
    Ok(())
}

fn stop(handle: &Handle, lame_duck: Duration) {
    let connections = handle.connections_len();
    if lame_duck.is_zero() {
        tracing::info!(
            "stopping: closing {connections} connections; a second signal ends the process at once"
        );
    } else {
        tracing::info!(
            "stopping: /readyz answers 503 for {lame_duck:?} while {connections} connections and new ones are \
             served; a second signal begins to close them now"
        );
    }
    handle.shutdown();
}
