//! What other nodes have said of their subscribers, by channel.
//!
//! What follows from it is in `counting`.

use std::collections::{BTreeSet, HashMap};

use super::rosters::DEPARTED_MS;
use crate::hub::ChannelName;
use crate::server::clock::Millis;

/// What the message begins with by which a channel's subscribers by node are told: no identifier of a publication does.
pub const COUNTS: &[u8] = b"n ";

/// What nodes have said of channels, by the text `NODE:COUNT:UNTIL;…`; only where there is another node.
#[derive(Debug, Default)]
pub struct Counts {
    pub texts: HashMap<ChannelName, Box<[u8]>>,
    /// The channels that are vacated by what this node said, since when, as it is to report.
    pub vacated: HashMap<ChannelName, Millis>,
    /// When it is asked whether they still are.
    vacated_due: BTreeSet<(u64, ChannelName)>,
}

impl Counts {
    /// When it is next to be asked whether a channel is still vacated.
    pub fn due(&self) -> Option<Millis> {
        self.vacated_due.first().map(|&(at, _)| Millis(at))
    }

    /// It is to be asked of a channel then.
    pub fn ask_at(&mut self, name: &ChannelName, at: Millis) {
        self.vacated_due.insert((at.0, name.clone()));
    }

    /// The next channel of which it is to be asked now, and since when it is vacated.
    pub fn take_vacated_due(&mut self, now: Millis) -> Option<(ChannelName, Millis)> {
        while self.due().is_some_and(|at| at <= now) {
            let (_, name) = self.vacated_due.pop_first()?;
            // One that was occupied meanwhile, and is vacated again, has its own time.
            let vacated = self.vacated.get(&name).filter(|at| at.0 + DEPARTED_MS <= now.0);
            if let Some(&at) = vacated {
                return Some((name, at));
            }
        }
        None
    }

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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_channel_that_is_vacated_again_is_asked_about_after_its_own_time() {
        let (mut counts, name) = (Counts::default(), ChannelName::new("news").unwrap());
        for at in [Millis(0), Millis(1_000)] {
            counts.vacated.insert(name.clone(), at);
            counts.ask_at(&name, Millis(at.0 + DEPARTED_MS));
        }
        assert_eq!(counts.take_vacated_due(Millis(3_999)), None);
        assert_eq!(counts.take_vacated_due(Millis(4_000)), Some((name.clone(), Millis(1_000))));
        assert_eq!((counts.take_vacated_due(Millis(9_000)), counts.due()), (None, None));
    }
}
