//! Channels in the order of a number, so that the first or last is found without a look at the others.
//!
//! What the number means is the caller's.

use std::collections::BTreeSet;

use crate::hub::ChannelName;

/// The number of a channel that is not listed.
pub const UNLISTED: u64 = u64::MAX;

/// Channels by a number each. The channel's state keeps the number under which it is listed.
#[derive(Debug, Default)]
pub struct Listing(BTreeSet<(u64, ChannelName)>);

impl Listing {
    /// Lists the channel under `number` in the place of `listed`; takes it out for [`UNLISTED`].
    pub fn list(&mut self, name: &ChannelName, listed: &mut u64, number: u64) {
        if *listed == number {
            return;
        }
        if *listed != UNLISTED {
            self.0.remove(&(*listed, name.clone()));
        }
        if number != UNLISTED {
            self.0.insert((number, name.clone()));
        }
        *listed = number;
    }

    /// The channel with the lowest number.
    pub fn first(&self) -> Option<&(u64, ChannelName)> {
        self.0.first()
    }

    /// The channel with the highest number.
    pub fn last(&self) -> Option<&(u64, ChannelName)> {
        self.0.last()
    }

    /// How many are listed.
    pub fn len(&self) -> usize {
        self.0.len()
    }
}
