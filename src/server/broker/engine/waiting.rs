//! Who waits until channels can be joined whose numbers are drawn by an engine of many nodes, and how it is told.
//!
//! What waits is known to the connection; which channels are ready, to the broker.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

pub use crate::server::broker::mailbox::Unavailable;
use crate::server::broker::mailbox::{JoinAnswer, Mailbox};

/// A question of a connection: whether channels can be joined.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct JoinQuestion {
    /// The connection's loop.
    pub loop_index: usize,
    /// The connection's key as a number.
    pub connection: u64,
    /// Its number among the questions of that loop.
    pub number: u64,
}

/// Whether channels can be joined.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum Prepared {
    /// They can be joined now.
    Ready,
    /// The mailbox of the loop gets a [`JoinAnswer`] when they can, or when one of them cannot.
    Awaited,
}

/// Who waits for one channel. Those of one question share a count, so that the connection is told once.
#[derive(Debug)]
pub struct JoinWaiter {
    question: JoinQuestion,
    /// How many channels of the question are not ready yet; 0 once it is answered.
    left: Arc<AtomicUsize>,
}

impl JoinWaiter {
    /// One for each of that many channels of a question.
    pub fn of(question: JoinQuestion, channels: usize) -> impl Iterator<Item = Self> {
        let left = Arc::new(AtomicUsize::new(channels));
        (0..channels).map(move |_| Self { question, left: Arc::clone(&left) })
    }

    /// The channel is ready, or cannot be joined: the connection is told when all are ready, or when the first is not.
    pub fn tell(self, mailboxes: &[Mailbox], outcome: Result<(), Unavailable>) {
        let JoinQuestion { loop_index, connection, number } = self.question;
        let is_decided = match outcome {
            Ok(()) => {
                let count = |left: usize| left.checked_sub(1);
                self.left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, count) == Ok(1)
            }
            Err(Unavailable) => self.left.swap(0, Ordering::Relaxed) > 0,
        };
        if is_decided {
            mailboxes[loop_index].answer_join(JoinAnswer { connection, question: number, outcome });
        }
    }
}
