//! The `fanfare` binary: flags in, a running server out, signals obeyed. Everything else is the library's.

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

/// What a process exits with that a signal ended, less the signal's number.
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
            "development mode: programs and pages of this machine may publish, pages of other sites get 403. \
             For others: --listen 0.0.0.0:8080 --publish-key KEY"
        );
    }
    tracing::info!(%threads, "started");
    server.run()?;
    tracing::info!("stopped");
    Ok(())
}

/// Prints the addresses, on a thread of its own: standard output may be a full pipe too.
fn announce(server: &Server) -> Result<(), io::Error> {
    let (addresses, metrics) = (server.local_addrs().to_vec(), server.metrics_addr());
    thread::Builder::new().name("fanfare-announce".into()).spawn(move || {
        if let Err(error) = print_addresses(&addresses, metrics) {
            tracing::warn!("the addresses could not be printed to standard output: {error}");
        }
    })?;
    Ok(())
}

/// One line an address to standard output, that of the metrics last, for people and for programs that asked for port 0.
fn print_addresses(addresses: &[SocketAddr], metrics: Option<SocketAddr>) -> Result<(), io::Error> {
    let mut out = io::stdout().lock();
    for address in addresses {
        writeln!(out, "listening on http://{address}")?;
    }
    // After those: programs read the first line.
    if let Some(address) = metrics {
        writeln!(out, "metrics on http://{address}/metrics")?;
    }
    out.flush()
}

/// The first SIGTERM or SIGINT stops the server gently, the second at once; that of a lame duck begins the drain, and the
/// third ends it.
fn obey_signals(handle: Handle, lame_duck: Duration, lines: Arc<log::Lines>) -> Result<(), io::Error> {
    let mut signals = Signals::new([SIGTERM, SIGINT])?;
    thread::Builder::new().name("fanfare-signals".into()).spawn(move || {
        let mut signals = signals.forever();
        if signals.next().is_some() {
            let connections = handle.connections_len();
            if lame_duck.is_zero() {
                tracing::info!(
                    "stopping: saying goodbye to {connections} connections; once more to end at once"
                );
            } else {
                tracing::info!(
                    "stopping: /readyz says 503 for {lame_duck:?}, {connections} connections and new ones are served; \
                     once more to say goodbye to them now"
                );
            }
            handle.shutdown();
        }
        for signal in signals {
            if handle.end_lame_duck() {
                let connections = handle.connections_len();
                tracing::info!("draining: saying goodbye to {connections} connections; once more to end at once");
                continue;
            }
            tracing::warn!("ended at once");
            lines.flush();
            std::process::exit(SIGNAL_EXIT_BASE + signal);
        }
    })?;
    Ok(())
}
