//! Which channels a program is told the publications of. They are posted to the first loop too, whoever reads them there: in one
//! mailbox they are in their channel's order, with no lock held while the program is told.
//!
//! What it does with them is not known here.

use std::sync::{PoisonError, RwLock};

use crate::config::Glob;

/// The globs of those channels. It is asked once for each channel that comes into being.
#[derive(Debug, Default)]
pub struct Tapped(RwLock<Vec<Glob>>);

impl Tapped {
    /// Those of this glob too, as far as nothing has been published to them yet.
    pub fn add(&self, glob: Glob) {
        self.0.write().unwrap_or_else(PoisonError::into_inner).push(glob);
    }

    /// Whether the channel is one.
    pub fn has(&self, channel: &str) -> bool {
        self.0.read().unwrap_or_else(PoisonError::into_inner).iter().any(|glob| glob.matches(channel))
    }
}
