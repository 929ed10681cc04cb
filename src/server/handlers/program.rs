//! All that a program has brought to a server: its routes, its workers, and what is done about a panic of its own.
//!
//! Each loop has a share of it. It knows the handle, and nothing that the handle knows leads back to it.

use std::sync::atomic::{AtomicU64, Ordering};

use super::panics::OnPanic;
use super::routes::{Route, Routes};
use super::watching::Watching;
use super::workers::Workers;
use crate::server::handle::Handle;
use crate::server::metrics::snapshot::Snapshot;

/// The threads for work that blocks, unless the program says otherwise: jobs wait for others' answers, most of them, so the
/// number of cores does not matter.
const WORKERS: usize = 4;

/// What a program has brought.
#[derive(Debug)]
pub struct Program {
    pub handle: Handle,
    pub routes: Routes,
    pub workers: Workers,
    pub watching: Watching,
    pub on_panic: OnPanic,
    panics: AtomicU64,
}

impl Program {
    /// Nothing yet.
    pub fn new(handle: Handle) -> Self {
        Self {
            handle,
            routes: Routes::default(),
            workers: Workers::new(WORKERS),
            watching: Watching::default(),
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
        let figures = self.routes.iter().map(|route| {
            let (calls, took) = route.spent.so_far();
            (route.pattern().to_owned(), calls, took)
        });
        snapshot.handlers = figures.collect();
    }

    /// What a log line calls a route.
    pub fn name(&self, route: u16) -> &str {
        self.routes.get(route).map_or("?", Route::pattern)
    }
}
