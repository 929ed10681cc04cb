//! What can be missing or late of a channel.
//!
//! For which reader it is, and how it is told, is not known here.

/// Publications after a position that will not come: they are not kept any more, or never came to this node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Gap {
    /// How many, if known: not if the position is of another epoch.
    pub missed: Option<u64>,
}

/// What happens to a channel whose publications come from other nodes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Interruption {
    /// Publications will never come.
    Gap(Gap),
    /// Publications may come late, and if so without a hole.
    Paused,
    /// Publications come at once again, after those that were late.
    Resumed,
}
