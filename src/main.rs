//! The `fanfare` binary: flags in, a running server out, signals obeyed. Everything else is the library's.

#![cfg_attr(not(test), warn(clippy::unwrap_used))]

mod cli;

use std::error::Error;
use std::hint::black_box;
use std::io::{IsTerminal, Write};
use std::process::ExitCode;
use std::thread;

use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

use fanfare::server::{Handle, Server};

/// What a process exits with that a signal ended, less the signal's number.
const SIGNAL_EXIT_BASE: i32 = 128;

/// What glibc may keep of freed memory at the end of each of its heaps. Two copies of what is read in a turn, 256 KiB, and
/// half as much again for what lies between them. Its own 128 KiB are less than two messages of 64 KiB: it would give pages
/// back to the system after every turn and take them again, zeroed, in the next, for half of a publication's time.
const KEPT_LEN: usize = 768 * 1024;

fn main() -> ExitCode {
    keep_freed_memory();
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
            "development mode: everybody on this machine may publish. For others: --listen 0.0.0.0:8080 --publish-key KEY"
        );
    }
    tracing::info!(%threads, "started");
    server.run()?;
    tracing::info!("stopped");
    Ok(())
}

/// Tells glibc how much it may keep in the one way that needs no call into C: as mallopt(3) says of
/// `M_MMAP_THRESHOLD`, when a block that was mapped for itself is freed, free memory is from then on kept up to twice its
/// length. Another allocator does as it always does.
fn keep_freed_memory() {
    drop(black_box(Vec::<u8>::with_capacity(KEPT_LEN / 2)));
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
