//! Messages through a session without a call of the allocator, counted by the allocator itself for the thread of the loop.
//!
//! Alone in its binary, since an allocator is a process's. What jemalloc counts is what it gave a thread, in bytes.

#![cfg(all(feature = "jemalloc", target_os = "linux", target_env = "gnu"))]
#![allow(clippy::unwrap_used)] // a helper that fails fails its test

mod support;

use std::io::{Read, Write};
use std::sync::mpsc;

use fanfare::app::{Message, Outcome, Request, Session, Socket};
use fanfare::{ChannelName, Server};
use support::*;

#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

/// What the allocator has given this thread so far, in bytes.
fn given() -> u64 {
    tikv_jemalloc_ctl::thread::allocatedp::read().unwrap().get()
}

/// Answers each message, and tells what was allocated between the first thousand and the last.
struct Counted {
    form: Form,
    count: u64,
    given_then: u64,
    tells: mpsc::Sender<u64>,
}

#[derive(Clone, Copy, PartialEq)]
enum Form {
    Echo,
    Json,
}

const COUNT: u64 = 1_000_000;
const WARM_UP: u64 = 1_000;

impl Session for Counted {
    type Event = ();

    fn message(&mut self, socket: &mut Socket<'_, Self>, message: Message<'_>) -> Outcome {
        self.count += 1;
        match self.form {
            Form::Echo => socket.send(message),
            Form::Json => socket.send_json(&(self.count % 10))?,
        }
        match self.count {
            WARM_UP => self.given_then = given(),
            COUNT => self.tells.send(given() - self.given_then)?,
            _ => {}
        }
        Ok(())
    }
}

/// A million messages of 20 bytes, a hundred at a time: what the loop's thread allocated for them.
fn allocated_for(form: Form) -> u64 {
    let (tells, told) = mpsc::channel();
    let mut server = Server::bind(one_loop()).unwrap();
    let factory = move |_: &Request<'_>| {
        let (count, given_then, tells) = (0, 0, tells.clone());
        Ok(Counted { form, count, given_then, tells })
    };
    server.websocket("/counted", factory).unwrap();
    let server = run(server);
    let mut stream = raw_websocket(server.address, "/counted");
    let answer_len = if form == Form::Echo { 22 } else { 3 };
    const BATCH: usize = 100;
    let (batch, mut answers) = (masked_frame(0x81, &[b'x'; 20]).repeat(BATCH), vec![0; BATCH * answer_len]);
    // Each batch when the one before it is answered, so that none is longer than those of the first thousand messages.
    for _ in 0..COUNT / BATCH as u64 {
        stream.write_all(&batch).unwrap();
        stream.read_exact(&mut answers).unwrap();
    }
    told.recv_timeout(PATIENCE).unwrap()
}

#[test]
fn a_million_echoes_allocate_nothing_after_the_first_thousand() {
    assert_eq!(allocated_for(Form::Echo), 0);
}

#[test]
fn a_million_values_sent_as_json_allocate_nothing_after_the_first_thousand() {
    assert_eq!(allocated_for(Form::Json), 0);
}

#[test]
fn the_allocator_counts_what_a_thread_is_given() {
    let before = given();
    let channel = ChannelName::new("a").unwrap();
    assert!(given() > before, "{channel}");
}
