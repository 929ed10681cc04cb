//! A loop before it runs: what its thread is given. The rest, which never leaves that thread, is made there.
//!
//! What a loop does is in `mod.rs`.

use std::io;
use std::sync::Arc;

use mio::Poll;

use super::EventLoop;
use super::acceptor::Acceptor;
use super::exchange::Exchange;
use super::ticks::Every;
use crate::server::handlers::program::Program;
use crate::server::shared::Shared;

/// A loop before it runs.
#[derive(Debug)]
pub struct Seed {
    pub index: usize,
    pub shared: Arc<Shared>,
    pub exchange: Arc<Exchange>,
    pub poll: Poll,
    /// The listeners, on the first loop.
    pub acceptor: Option<Acceptor>,
}

impl Seed {
    /// The loop, on the thread that is to run it, with what a program has brought; and what that has done at intervals.
    pub fn grow(self, program: Arc<Program>, ticks: Vec<Every>) -> EventLoop {
        let Self { index, shared, exchange, poll, acceptor } = self;
        let mut event_loop = EventLoop::new(index, shared, exchange, poll, acceptor);
        event_loop.context.program = program;
        event_loop.first_loop.ticks = ticks;
        event_loop
    }

    /// Takes turns until the server stops.
    ///
    /// # Errors
    /// As [`EventLoop::run`].
    pub fn run(self, program: Arc<Program>, ticks: Vec<Every>) -> io::Result<()> {
        self.grow(program, ticks).run()
    }
}
