//! The room with the sockets, the time, the threads and the randomness: event loops over mio.
//!
//! The rules of the protocols are not here; `http`, `ws` and `hub` know them, and are told bytes and times.

mod acceptor;
mod authority;
mod connection;
mod connections;
mod demo;
mod draft;
mod drain;
mod echo;
mod event_loop;
mod excerpt;
mod exchange;
mod figures;
mod files;
mod forgetting;
mod handle;
mod handlers;
mod history_rules;
mod lag;
mod listing;
mod liveness;
mod mailbox;
mod measuring;
mod metrics;
mod origins;
mod outbox;
mod position;
mod prices;
mod process;
mod read_queue;
mod reading;
mod refusals;
mod relief;
mod render;
mod replay;
mod retries;
mod routes;
mod scraping;
mod shard;
mod shared;
mod spares;
mod start;
mod stopping;
mod subscribing;
mod tally;
mod timers;
mod totals;
mod transmit;
mod writing;

pub use draft::{Draft, DraftError};
pub use exchange::Published;
pub use handle::{Handle, PublishError};
pub use render::ENVELOPE_SUBPROTOCOL;
pub use start::{Server, StartError};
