//! The `fanfare` binary: flags in, a running server out, signals obeyed. Everything else is the library's.

#![cfg_attr(not(test), warn(clippy::unwrap_used))]

mod cli;

use std::error::Error;
use std::io::{IsTerminal, Write};
use std::process::ExitCode;
use std::thread;

use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

use fanfare::server::{Handle, Server};

/// What a process exits with that a signal ended, less the signal's number.
const SIGNAL_EXIT_BASE: i32 = 128;

fn main() -> ExitCode {
    let args = match cli::Args::parse_all() {
        Ok(args) => args,
        Err(error) => error.exit(),
    };
    tracing_subscriber::fmt()
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal())
        // It would say so on standard error, and panic because that fails too.
        .log_internal_errors(false)
        .init();
    match serve(args) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("fanfare: {error}");
            ExitCode::FAILURE
        }
    }
}

fn serve(args: cli::Args) -> Result<(), Box<dyn Error>> {
    let config = args.into_config();
    let is_development = config.is_development();
    let threads = config.threads;
    let server = Server::bind(config)?;
    obey_signals(server.handle())?;
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

/// One line an address to standard output, that of the metrics last, for people and for programs that asked for port 0.
fn announce(server: &Server) -> Result<(), std::io::Error> {
    let mut out = std::io::stdout().lock();
    for address in server.local_addrs() {
        writeln!(out, "listening on http://{address}")?;
    }
    // Behind those: programs read the first line.
    if let Some(address) = server.metrics_addr() {
        writeln!(out, "metrics on http://{address}/metrics")?;
    }
    out.flush()
}

/// The first SIGTERM or SIGINT stops the server gently, the second at once.
fn obey_signals(handle: Handle) -> Result<(), std::io::Error> {
    let mut signals = Signals::new([SIGTERM, SIGINT])?;
    thread::Builder::new().name("fanfare-signals".into()).spawn(move || {
        let mut signals = signals.forever();
        if signals.next().is_some() {
            tracing::info!(
                "stopping: saying goodbye to {} connections; once more to end at once",
                handle.connections_len()
            );
            handle.shutdown();
        }
        if let Some(signal) = signals.next() {
            tracing::warn!("ended at once");
            std::process::exit(SIGNAL_EXIT_BASE + signal);
        }
    })?;
    Ok(())
}
