//! Channels as byte logs, subscribers as offsets into them.
//!
//! Nothing here knows a socket, a clock, a thread or a protocol: a log holds bytes that its caller encoded, and an
//! owner is a number that the caller understands. Who may publish, and what a frame looks like, is decided elsewhere.

mod channel;
mod exclusions;
mod feed;
mod gap;
mod growth;
mod history;
mod log;
mod longest;
mod positions;
mod publication;
mod readers;
mod registry;
mod subscription;

pub use channel::{ChannelName, InvalidChannelName};
pub use gap::{Gap, Interruption};
pub use growth::growth;
pub use history::{History, HistoryLimits, Position, Resumption};
pub use log::{Cursor, Log};
pub use positions::{Lost, Says};
pub use publication::{
    Content, EventName, Frames, InvalidEventName, InvalidPublicationId, Ledger, Owner, Publication,
    PublicationId, Published, Source, WireForm,
};
pub use registry::{Hub, Sending};
pub use subscription::{LogId, Subscription};
