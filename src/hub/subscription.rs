//! The handles that a hub gives out: a log of a channel, and an owner's subscription to one.
//!
//! What a handle stands for is kept in `registry`; a handle alone says only where to look.

use super::WireForm;

/// A log of one channel in one form. Valid until its last subscriber leaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct LogId {
    pub(super) channel: u32,
    pub(super) form: WireForm,
}

/// One owner's place in one log. Valid until it is given to [`Hub::unsubscribe`](super::Hub::unsubscribe).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Subscription {
    pub(super) log: LogId,
    pub(super) slot: u32,
}

impl Subscription {
    /// The form that is read.
    #[must_use]
    pub fn form(self) -> WireForm {
        self.log.form
    }
}
