//! The way into a running server from other threads.

use std::fmt;
use std::sync::Arc;

use crate::hub::Published;
use crate::server::broker::draft::Draft;
use crate::server::shared::{Shared, Stop};

/// Publishes to a server's channels, and stops it. Clones are handles of the same server; each may be used from
/// any thread, and none keeps the server running.
#[derive(Clone, Debug)]
pub struct Handle {
    shared: Arc<Shared>,
}

impl Handle {
    pub(super) fn new(shared: Arc<Shared>) -> Self {
        Self { shared }
    }

    /// Publishes. The draft is on its way to every subscriber when this returns; nothing has been written yet.
    ///
    /// # Errors
    /// It is too long, or the loops are behind: try again in a millisecond.
    pub fn publish(&self, draft: Draft) -> Result<Published, PublishError> {
        let len_max = self.shared.config.publication_len_max();
        if draft.data.len() as u64 > len_max {
            return Err(PublishError::TooLong { len_max });
        }
        if self.shared.broker.is_congested() {
            return Err(PublishError::Congested);
        }
        self.shared.meters.note_published();
        Ok(self.shared.broker.publish(draft, self.shared.now()))
    }

    /// How many connections there are.
    #[must_use]
    pub fn connections_len(&self) -> usize {
        self.shared.connections_len()
    }

    /// Stops the server: after the configured lame duck, nobody new, 1001 to everybody over the configured drain, then [`Server::run`] returns.
    ///
    /// [`Server::run`]: super::Server::run
    pub fn shutdown(&self) {
        self.shared.request_shutdown();
    }

    /// Begins the drain now if the server is a lame duck; false if it is not.
    pub fn end_lame_duck(&self) -> bool {
        self.shared.end_lame_duck()
    }

    /// Stops the server at once. Connections are cut.
    pub fn shutdown_now(&self) {
        self.shared.request_stop(Stop::Now);
    }
}

/// Why a draft was not published.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PublishError {
    /// Longer than `len_max` bytes: the smaller of `max_message` and `max_lag`.
    TooLong {
        /// The most bytes.
        len_max: u64,
    },
    /// A loop has not yet taken what was published before. Nothing is lost if it is tried again.
    Congested,
}

impl fmt::Display for PublishError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooLong { len_max } => {
                write!(f, "longer than the {len_max} bytes that a publication may have")
            }
            Self::Congested => f.write_str("the event loops are behind; try again in a millisecond"),
        }
    }
}

impl std::error::Error for PublishError {}
