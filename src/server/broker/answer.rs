//! The answer to a publication that is delivered later than it was made: who waits for it, and what it says.
//!
//! A connection is answered through the mailbox of its loop, a thread is woken.

use std::sync::{Arc, Condvar, Mutex, PoisonError};

use crate::hub::Published;
use crate::server::lock::lock;

/// What a publisher gets for a publication.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Receipt {
    /// The identifier, and the number of subscribers.
    pub published: Published,
    /// Whether the publication was made earlier under the same idempotency key: nothing was published now.
    pub is_replay: bool,
}

impl Receipt {
    /// For the publication that was made now.
    pub fn of_new(published: Published) -> Self {
        Self { published, is_replay: false }
    }

    /// For the publication that was made earlier under the same key.
    pub fn of_earlier(published: Published) -> Self {
        Self { published, is_replay: true }
    }
}

/// What a call of [`Broker::publish`] came to.
///
/// [`Broker::publish`]: super::Broker::publish
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum Publishing {
    /// The publication is in the history and the mailboxes.
    Done(Receipt),
    /// It is with the engine; the [`Waiter`] is answered when it has been delivered.
    Awaited,
}

/// Why a publication that an engine took was not delivered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NotPublished {
    /// The engine cannot be reached or refused it: nothing was published.
    Refused,
    /// The engine did not answer: it may be published. A retry with the same idempotency key is safe.
    Unanswered,
    /// The engine knows the idempotency key from another publication: nothing was published.
    KeyReused,
}

/// Who waits for the answer to a publication.
#[derive(Clone, Debug)]
pub enum Waiter {
    /// No one: the server's own publications.
    Nobody,
    /// A connection; an [`PublishAnswer`] is put into the mailbox of its loop.
    Connection {
        /// The connection's loop.
        loop_index: usize,
        /// The connection's key as a number; returned in the answer. The connection may have been closed by then.
        connection: u64,
        /// Which of the connection's publications it is; returned in the answer.
        request: u64,
    },
    /// A thread that is not a loop's.
    Thread(Arc<Reply>),
}

/// The answer to a publication of a connection, as its loop takes it from the mailbox.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PublishAnswer {
    /// The connection's key, as the [`Waiter`] had it.
    pub connection: u64,
    /// Which of its publications, as the [`Waiter`] had it.
    pub request: u64,
    /// The receipt, or why there is none.
    pub outcome: Result<Receipt, NotPublished>,
}

/// Where a thread waits for the answer to its publication.
#[derive(Debug, Default)]
pub struct Reply {
    outcome: Mutex<Option<Result<Receipt, NotPublished>>>,
    arrived: Condvar,
}

impl Reply {
    /// Puts the answer there and wakes the thread.
    pub fn put(&self, outcome: Result<Receipt, NotPublished>) {
        *lock(&self.outcome) = Some(outcome);
        self.arrived.notify_all();
    }

    /// Waits until the answer is there.
    pub fn wait(&self) -> Result<Receipt, NotPublished> {
        let mut outcome = lock(&self.outcome);
        loop {
            if let Some(outcome) = *outcome {
                return outcome;
            }
            outcome = self.arrived.wait(outcome).unwrap_or_else(PoisonError::into_inner);
        }
    }
}
