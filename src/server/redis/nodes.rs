//! Which other nodes live: each says so once a second.
//!
//! What they have is said elsewhere, by channel.

use std::collections::HashMap;

use crate::server::clock::Millis;

/// A node says that it lives this often.
pub const BEAT_MS: u64 = 1_000;

/// One that has said nothing for this long is dead.
const SILENCE_MS_MAX: u64 = 5_000;

/// The most nodes that are remembered. What else says so on that channel of Redis is no node.
const NODES_MAX: usize = 1_000;

/// What a node says that ends.
pub const BYE: &str = " ends";

/// The length of a node's identifier, in characters.
pub const ID_LEN: usize = 12;

/// The other nodes, and this one.
#[derive(Debug, Default)]
pub struct Nodes {
    heard_at: HashMap<Box<str>, Millis>,
}

impl Nodes {
    /// A node has said that it lives, or that it ends.
    pub fn heard(&mut self, text: &[u8], now: Millis) {
        let Ok(text) = str::from_utf8(text) else { return };
        if let Some(id) = text.strip_suffix(BYE) {
            self.heard_at.remove(id);
            return;
        }
        let is_id = text.len() == ID_LEN && text.bytes().all(|byte| byte.is_ascii_hexdigit());
        if let Some(at) = self.heard_at.get_mut(text) {
            *at = now;
        } else if is_id && self.heard_at.len() < NODES_MAX {
            self.heard_at.insert(text.into(), now);
        }
    }

    /// Forgets those that are silent.
    pub fn expire(&mut self, now: Millis) {
        self.heard_at.retain(|_, at| now.0 - at.0 <= SILENCE_MS_MAX);
    }

    /// Nothing was heard of any for a while, since Redis was away: that is not their fault.
    pub fn excuse(&mut self, now: Millis) {
        self.heard_at.values_mut().for_each(|at| *at = now);
    }

    /// Whether a node lives.
    pub fn lives(&self, node: &str, now: Millis) -> bool {
        self.heard_at.get(node).is_some_and(|at| now.0 - at.0 <= SILENCE_MS_MAX)
    }

    /// How many live.
    pub fn len(&self) -> usize {
        self.heard_at.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NODE: &str = "0123456789ab";

    #[test]
    fn a_node_is_dead_that_has_been_silent_for_more_than_five_seconds() {
        let mut nodes = Nodes::default();
        nodes.heard(NODE.as_bytes(), Millis(0));
        assert!(nodes.lives(NODE, Millis(5_000)) && !nodes.lives(NODE, Millis(5_001)));
        nodes.heard(NODE.as_bytes(), Millis(5_001));
        nodes.expire(Millis(10_001));
        assert!(nodes.lives(NODE, Millis(10_001)));
        nodes.expire(Millis(10_002));
        assert_eq!(nodes.len(), 0);
    }

    #[test]
    fn a_node_that_ends_says_so_and_what_is_no_node_is_none() {
        let mut nodes = Nodes::default();
        nodes.heard(NODE.as_bytes(), Millis(0));
        nodes.heard(b"hello", Millis(0));
        nodes.heard(b"0123456789a\xff", Millis(0));
        assert_eq!(nodes.len(), 1);
        nodes.heard(b"0123456789ab ends", Millis(1));
        assert_eq!(nodes.len(), 0);
    }

    #[test]
    fn nodes_that_could_not_be_heard_are_not_dead() {
        let mut nodes = Nodes::default();
        nodes.heard(NODE.as_bytes(), Millis(0));
        nodes.excuse(Millis(60_000));
        assert!(nodes.lives(NODE, Millis(65_000)));
    }
}
