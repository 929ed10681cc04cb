//! Webhooks: what is reported to an app's server, how a request is written and signed, and when it is sent.
//!
//! A [`WebhookQueue`] per receiver decides when which events are sent again or dropped; nothing is sent here.
//!
//! Documented are the events, the signature, a delay of up to 3 seconds and retries for 5 minutes. Of our own choice:
//!
//! - A channel that is occupied again, or a member that is back, within the delay cancels the event that waits and is not
//!   reported either: for the receiver nothing has happened. A receiver that does not list `channel_vacated` is told of every
//!   `channel_occupied`, one that does not list `member_removed` of every `member_added`.
//! - Every attempt has the time of the attempt as `time_ms` and its own signature: the Python library refuses a time that is
//!   more than 300 seconds off.
//! - An event is dropped after a failed attempt that began 280 seconds after the event could first be sent and 280 seconds
//!   after the receiver began to fail. So a receiver that is away for less misses nothing, however late it was before.
//! - Requests to one receiver are sent one after the other: their order is that of the events. A request that was received
//!   but whose answer was lost is sent again: receivers may see an event twice.

mod event;
mod queue;

pub use event::{CONTENT_TYPE, Event, KEY_HEADER, Kinds, SIGNATURE_HEADER, body, signature};
pub use queue::{Bounds, Counts, Next, Pushed, Timing, WebhookQueue};
