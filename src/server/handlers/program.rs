//! All that a program has brought to a server: its routes, its workers, and what is done about a panic of its own.
//!
//! Each loop has a share of it. It knows the handle, and nothing that the handle knows leads back to it.

use std::num::NonZeroUsize;
use std::sync::atomic::{AtomicU64, Ordering};

use super::judge::Judge;
use super::panics::OnPanic;
use super::routes::{Route, Routes};
use super::watching::Watching;
use super::workers::Workers;
use crate::server::handle::Handle;
use crate::server::metrics::snapshot::Snapshot;

/// What log lines and metrics call the function that decides: a route begins with `/`.
pub const JUDGE: &str = "authorize";

/// What a program has brought.
#[derive(Debug)]
pub struct Program {
    pub handle: Handle,
    pub routes: Routes,
    pub workers: Workers,
    pub watching: Watching,
    /// Who decides what clients may do, where no rule and no backend does.
    pub judge: Option<Judge>,
    pub on_panic: OnPanic,
    panics: AtomicU64,
}

impl Program {
    /// Nothing yet. The workers have at most that many threads.
    pub fn new(handle: Handle, workers: NonZeroUsize) -> Self {
        Self {
            handle,
            routes: Routes::default(),
            workers: Workers::new(workers),
            watching: Watching::default(),
            judge: None,
            on_panic: OnPanic::default(),
            panics: AtomicU64::new(0),
        }
    }

    /// Counts a panic of one of its handlers.
    pub fn note_panic(&self) {
        self.panics.fetch_add(1, Ordering::Relaxed);
    }

    /// Fills in the numbers of its handlers.
    pub fn report(&self, snapshot: &mut Snapshot) {
        snapshot.handler_panics = self.panics.load(Ordering::Relaxed);
        let routes = self.routes.iter().map(|route| (route.pattern(), &route.spent));
        let judge = self.judge.iter().map(|judge| (JUDGE, &judge.spent));
        let figures = routes.chain(judge).map(|(name, spent)| {
            let (calls, took) = spent.so_far();
            (name.to_owned(), calls, took)
        });
        snapshot.handlers = figures.collect();
    }

    /// What a log line calls a route.
    pub fn name(&self, route: u16) -> &str {
        self.routes.get(route).map_or("?", Route::pattern)
    }
}
