//! The `fanfare` binary: it reads the flags, runs a server and handles signals. Everything else is in the library.

mod cli;
mod heap;
mod log;

use std::error::Error;
use std::io::{self, Write};
use std::net::SocketAddr;
use std::process::ExitCode;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

use fanfare::server::{Handle, Server};

/// The exit status of a process that a signal ended is this plus the signal's number.
const SIGNAL_EXIT_BASE: i32 = 128;

#[allow(clippy::print_stderr)] // before there is a log
fn main() -> ExitCode {
    let args = match cli::Args::parse_all() {
        Ok(args) => args,
        Err(error) => error.exit(),
    };
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

fn serve(args: cli::Args, lines: &Arc<log::Lines>) -> Result<(), Box<dyn Error>> {
    let config = args.into_config();
    let is_development = config.is_development();
    let (threads, lame_duck) = (config.threads, config.lame_duck);
    heap::return_freed()?;
    let server = Server::bind(config)?;
    obey_signals(server.handle(), lame_duck, Arc::clone(lines))?;
    announce(&server)?;
    if is_development {
        tracing::info!(
            "development mode: programs and pages of this machine may publish, and pages of other sites get 403. \
             To serve other machines: --listen 0.0.0.0:8080 --publish-key KEY"
        );
    }
    tracing::info!(%threads, "started");
    server.run()?;
    tracing::info!("stopped");
    Ok(())
}

/// Prints the addresses, on a thread of its own, since standard output may be a full pipe.
fn announce(server: &Server) -> Result<(), io::Error> {
    let (addresses, metrics) = (server.local_addrs().to_vec(), server.metrics_addr());
    thread::Builder::new().name("fanfare-announce".into()).spawn(move || {
        if let Err(error) = print_addresses(&addresses, metrics) {
            tracing::warn!("the addresses could not be printed to standard output: {error}");
        }
    })?;
    Ok(())
}

/// Prints one line per address to standard output, for people and for programs that asked for port 0. The metrics address
/// is last.
fn print_addresses(addresses: &[SocketAddr], metrics: Option<SocketAddr>) -> Result<(), io::Error> {
    let mut out = io::stdout().lock();
    for address in addresses {
        writeln!(out, "listening on http://{address}")?;
    }
    // Last, since programs read the first line.
    if let Some(address) = metrics {
        writeln!(out, "metrics on http://{address}/metrics")?;
    }
    out.flush()
}

/// The first SIGTERM or SIGINT stops the server with a drain, the second at once. With a lame duck, the second begins the
/// drain and the third stops at once.
fn obey_signals(handle: Handle, lame_duck: Duration, lines: Arc<log::Lines>) -> Result<(), io::Error> {
    let mut signals = Signals::new([SIGTERM, SIGINT])?;
    thread::Builder::new().name("fanfare-signals".into()).spawn(move || {
        let mut signals = signals.forever();
        if signals.next().is_some() {
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
        for signal in signals {
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
