//! What other nodes have said of their subscribers, by channel.
//!
//! What follows from it is in `counting`.

use std::collections::HashMap;

use crate::hub::ChannelName;

/// What the message begins with by which a channel's subscribers by node are told: no identifier of a publication does.
pub const COUNTS: &[u8] = b"n ";

/// What nodes have said of channels, by the text `NODE:COUNT:UNTIL;…`; only where there is another node.
#[derive(Debug, Default)]
pub struct Counts {
    pub texts: HashMap<ChannelName, Box<[u8]>>,
}

impl Counts {
    /// A channel is forgotten.
    pub fn forget(&mut self, name: &ChannelName) {
        self.texts.remove(name);
        if self.texts.len() < self.texts.capacity() / 4 {
            self.texts.shrink_to_fit();
        }
    }
}

/// The nodes that such a text names.
pub fn nodes_of(text: &[u8]) -> impl Iterator<Item = &str> {
    let entries = text.split(|&byte| byte == b';');
    entries.filter_map(|entry| str::from_utf8(entry).ok()?.split_once(':').map(|(node, _)| node))
}
