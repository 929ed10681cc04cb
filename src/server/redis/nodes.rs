//! Which other nodes live: each says so once a second. One that is silent, or says that it ends, is dead, and is remembered as
//! that for a while: what it has left in Redis is swept by others.
//!
//! What they have is said elsewhere, by channel.

use std::collections::{HashMap, VecDeque};

use crate::server::clock::Millis;

/// A node says that it lives this often.
pub const BEAT_MS: u64 = 1_000;

/// One that has said nothing for this long is dead, if this node has heard itself meanwhile: where that is not so, it is Redis that
/// is silent, or the way to it.
const SILENCE_MS_MAX: u64 = 5_000;

/// The most nodes that are remembered. What else says so on that channel of Redis is no node.
const NODES_MAX: usize = 1_000;

/// The dead ones that are remembered, the latest: each call of the script says them, in 13 bytes. A deployment of 16 nodes that
/// begins anew leaves 16.
const DEAD_MAX: usize = 32;

/// What a node says that ends.
pub const BYE: &str = " ends";

/// The length of a node's identifier, in characters.
pub const ID_LEN: usize = 12;

/// The other nodes.
#[derive(Debug, Default)]
pub struct Nodes {
    heard_at: HashMap<Box<str>, Millis>,
    /// When this node last heard what it says itself.
    own_at: Millis,
    /// The latest last.
    dead: VecDeque<Box<str>>,
    /// The same with commas between.
    dead_text: String,
}

impl Nodes {
    /// A node has said that it lives, or that it ends. True if others live now than before.
    #[must_use]
    pub fn heard(&mut self, text: &[u8], now: Millis) -> bool {
        let Ok(text) = str::from_utf8(text) else { return false };
        if let Some(id) = text.strip_suffix(BYE) {
            return self.heard_at.remove(id).is_some_and(|_| self.bury(id.into()));
        }
        if let Some(at) = self.heard_at.get_mut(text) {
            *at = now;
            return false;
        }
        if !is_id(text) || self.heard_at.len() >= NODES_MAX {
            return false;
        }
        self.heard_at.insert(text.into(), now);
        if self.dead.iter().any(|dead| **dead == *text) {
            self.dead.retain(|dead| **dead != *text);
            self.write_dead();
        }
        true
    }

    /// This node has heard that it lives, by way of Redis. True if the others may have taken it for dead before that.
    #[must_use]
    pub fn heard_own(&mut self, now: Millis) -> bool {
        let before = std::mem::replace(&mut self.own_at, now);
        now.0.saturating_sub(before.0) > SILENCE_MS_MAX - BEAT_MS
    }

    /// Finds those that are silent. True if others live now than before.
    #[must_use]
    pub fn expire(&mut self) -> bool {
        let own_at = self.own_at;
        let is_silent = |at: &Millis| own_at.0.saturating_sub(at.0) > SILENCE_MS_MAX;
        let silent: Vec<_> =
            self.heard_at.iter().filter(|(_, at)| is_silent(at)).map(|(id, _)| id.clone()).collect();
        silent.iter().for_each(|id| {
            self.heard_at.remove(id);
        });
        let has_changed = !silent.is_empty();
        silent.into_iter().for_each(|id| {
            self.bury(id);
        });
        has_changed
    }

    fn bury(&mut self, id: Box<str>) -> bool {
        if self.dead.len() == DEAD_MAX {
            self.dead.pop_front();
        }
        self.dead.push_back(id);
        self.write_dead();
        true
    }

    fn write_dead(&mut self) {
        self.dead_text = self.dead.iter().map(AsRef::as_ref).collect::<Vec<&str>>().join(",");
    }

    /// Begins to listen: that nothing was heard of any for a while is not their fault.
    pub fn begin(&mut self, now: Millis) {
        self.own_at = now;
        self.heard_at.values_mut().for_each(|at| *at = now);
    }

    /// Whether a node lives.
    pub fn lives(&self, node: &str) -> bool {
        self.heard_at.contains_key(node)
    }

    /// Those that were found dead lately, with commas between.
    pub fn dead(&self) -> &str {
        &self.dead_text
    }

    /// Whether a node was found dead lately.
    pub fn is_dead(&self, node: &str) -> bool {
        self.dead.iter().any(|dead| **dead == *node)
    }

    /// How many live.
    pub fn len(&self) -> usize {
        self.heard_at.len()
    }
}

fn is_id(text: &str) -> bool {
    text.len() == ID_LEN && text.bytes().all(|byte| byte.is_ascii_hexdigit())
}

#[cfg(test)]
mod tests {
    use super::*;

    const NODE: &str = "0123456789ab";

    #[test]
    fn a_node_is_dead_that_has_been_silent_for_more_than_five_seconds_and_lives_when_it_is_heard_again() {
        let mut nodes = Nodes::default();
        assert!(nodes.heard(NODE.as_bytes(), Millis(0)) && nodes.lives(NODE));
        assert!(nodes.heard_own(Millis(5_000)), "others may have taken this one for dead");
        assert!(!nodes.expire() && nodes.dead() == "");
        assert!(!nodes.heard(NODE.as_bytes(), Millis(5_001)), "it lived before");
        assert!(nodes.heard_own(Millis(10_001)));
        assert!(!nodes.expire());
        assert!(!nodes.heard_own(Millis(10_002)), "not for a second or four");
        assert!(nodes.expire() && !nodes.lives(NODE));
        assert_eq!((nodes.len(), nodes.dead(), nodes.is_dead(NODE)), (0, NODE, true));
        assert!(nodes.heard(NODE.as_bytes(), Millis(10_003)));
        assert_eq!((nodes.len(), nodes.dead()), (1, ""));
    }

    #[test]
    fn a_node_that_ends_says_so_and_what_is_no_node_is_none() {
        let mut nodes = Nodes::default();
        assert!(nodes.heard(NODE.as_bytes(), Millis(0)));
        assert!(!nodes.heard(b"hello", Millis(0)) && !nodes.heard(b"0123456789a\xff", Millis(0)));
        assert_eq!(nodes.len(), 1);
        assert!(nodes.heard(b"0123456789ab ends", Millis(1)));
        assert_eq!((nodes.len(), nodes.dead()), (0, NODE));
        assert!(!nodes.heard(b"0123456789ab ends", Millis(1)), "once");
    }

    #[test]
    fn nodes_that_could_not_be_heard_are_not_dead() {
        let mut nodes = Nodes::default();
        assert!(nodes.heard(NODE.as_bytes(), Millis(0)));
        assert!(!nodes.expire(), "this node does not hear itself either");
        nodes.begin(Millis(60_000));
        assert!(nodes.heard_own(Millis(65_000)) && !nodes.expire());
    }

    #[test]
    fn so_many_dead_nodes_are_remembered_the_latest_ones() {
        let mut nodes = Nodes::default();
        for number in 0..40 {
            let id = format!("{number:012x}");
            assert!(nodes.heard(id.as_bytes(), Millis(0)));
            assert!(nodes.heard(format!("{id}{BYE}").as_bytes(), Millis(0)));
        }
        let expected: Vec<String> = (8..40).map(|number| format!("{number:012x}")).collect();
        assert_eq!(nodes.dead(), expected.join(","));
    }
}
