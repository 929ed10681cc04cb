//! The backend of a site as a judge: what it is asked about channels, what it answers, and for how long that is kept. A program
//! that decides in its place gives decisions of the same kind.
//!
//! Bytes and times go in, questions and decisions come out: no socket, thread or clock is known here. Threads that call the
//! backend are `server::hook`.
//!
//! How to drive a [`Desk`], with one lock around it:
//!
//! 1. [`Desk::ask`] when a client wants something. Either all is known, or an answer comes by 3 or 4.
//! 2. [`Desk::take`] by a thread that is free: a call to make, outside the lock.
//! 3. [`Desk::settle`] with what became of the call: the questions that are answered by it.
//! 4. [`Desk::stop`] at the end: what still waits is answered with a fault.

mod breaker;
mod cache;
mod call;
mod credentials;
mod decision;
mod desk;
mod judged;

mod reply;

pub use cache::{CACHE_LEN_MAX, CACHE_MAX};
pub use call::{Action, Call, CallId, QuestionId, Transport, signature};
pub use credentials::{Credentials, CredentialsDigest, Fields};
pub use decision::{Decision, Fault, Grant, Person, ProgramFault, RETRY_AFTER_S, refusal};
pub use desk::{Asked, Bounds, Counts, Desk, Outcomes, Taken, Told};
pub use judged::Judged;
pub use reply::{BODY_LEN_MAX, Reply, Unreadable, read};
